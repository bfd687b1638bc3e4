"""The dense layer, against PyTorch's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from vidgan_jax.layers import Dense


def test_dense_is_pytorchs() -> None:
    """On any number of leading axes."""
    rng = np.random.default_rng(0)
    x, kernel, bias = (rng.standard_normal(s, np.float32) for s in ((2, 5, 3), (3, 4), (4,)))
    y: Any = Dense(4).apply({"params": {"kernel": kernel, "bias": bias}}, jnp.asarray(x))
    expected = torch.nn.functional.linear(*map(torch.from_numpy, (x, kernel.T, bias)))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_parameters_of_dense() -> None:
    x = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    params = jax.eval_shape(Dense(4).init, jax.random.key(0), x)["params"]
    assert {name: p.shape for name, p in params.items()} == {"kernel": (3, 4), "bias": (4,)}
