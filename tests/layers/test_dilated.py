"""Dilated convolution: PyTorch's values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from vidgan_jax.layers.dilated import DilatedConv


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_it_is_pytorchs(dilation: int) -> None:
    """On images smaller than the kernel reaches, too."""
    rng = np.random.default_rng(dilation)
    x, toward = (rng.standard_normal((2, 7, 5, c), np.float32) for c in (3, 4))
    layer = DilatedConv(4, 3, dilation)
    params = layer.init(jax.random.key(0), x)
    found, pullback = jax.vjp(jax.jit(layer.apply), params, x)
    gradients, dx = pullback(jnp.asarray(toward))
    theirs = torch.from_numpy(x).movedim(-1, 1).requires_grad_()
    kernel = torch.from_numpy(np.array(params["params"]["kernel"])).permute(3, 2, 0, 1)
    kernel = kernel.clone().requires_grad_()
    wanted = torch.conv2d(theirs, kernel, padding=dilation, dilation=dilation)
    wanted.backward(torch.from_numpy(toward).movedim(-1, 1))
    assert theirs.grad is not None
    assert kernel.grad is not None
    np.testing.assert_allclose(found, wanted.detach().movedim(1, -1), atol=1e-5)
    np.testing.assert_allclose(dx, theirs.grad.movedim(1, -1), atol=1e-5)
    of_kernel = kernel.grad.permute(2, 3, 1, 0)
    np.testing.assert_allclose(gradients["params"]["kernel"], of_kernel, atol=3e-5)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (DilatedConv(4, 2), (1, 4, 4, 3)),
        (DilatedConv(4, 3, 0), (1, 4, 4, 3)),
        (DilatedConv(4), (1, 2, 4, 4, 3)),
    ],
)
def test_what_it_cannot_do_is_refused(layer: DilatedConv, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="an odd number, and at least 1"):
        layer.init(jax.random.key(0), jnp.zeros(shape))
