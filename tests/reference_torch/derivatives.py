"""Derivatives by PyTorch's autograd."""

from collections.abc import Callable

import torch


def r1(critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor) -> torch.Tensor:
    """‖∇D(real)‖², one value an example, itself differentiable."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return gradient.pow(2).flatten(1).sum(1)
