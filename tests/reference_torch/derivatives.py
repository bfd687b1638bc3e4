"""Derivatives by PyTorch's autograd."""

from collections.abc import Callable

import torch


def r1(critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor) -> torch.Tensor:
    """‖∇D(real)‖², one value an example, itself differentiable."""
    real = real.detach().requires_grad_()
    return squared_slope(critic(real), real)


def squared_slope(logits: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """‖∇D(x)‖² of logits that were made of `x`, one value an example, itself differentiable."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.pow(2).flatten(1).sum(1)


def wgan_gp(
    critic: Callable[[torch.Tensor], torch.Tensor],
    real: torch.Tensor,
    fake: torch.Tensor,
    mix: torch.Tensor,
) -> torch.Tensor:
    """(‖∇D‖ - 1)² between real and fake, `mix` being the real one's share; differentiable.

    Example by example, so that nothing rests on a batch's sum. PyTorch takes a norm's derivative
    at 0 for 0.
    """
    penalties = []
    for one_real, one_fake, share in zip(real, fake, mix, strict=True):
        between = torch.lerp(one_fake, one_real, share).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between[None]), between, create_graph=True)
        penalties.append((torch.linalg.vector_norm(gradient) - 1) ** 2)
    return torch.stack(penalties)
