"""The networks in plain PyTorch, written apart from this package: what it is compared with."""
