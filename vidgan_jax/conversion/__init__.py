"""Import of PyTorch's weights: other people's names and layouts, and what becomes of them here."""
