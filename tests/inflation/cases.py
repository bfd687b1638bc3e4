"""Networks with drawn variables, and how a 3D one compares with its 2D origin."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from vidgan_jax.layers import BatchNorm, Conv, ConvTranspose, Dense, InstanceNorm
from vidgan_jax.types import BATCH_STATS


class Layer(nn.Module):
    """One layer of a kind, between two dense ones where it needs them; of any rank.

    Attributes:
      kind: "conv", "conv_transpose", "dense_end" or "dense_start".
      widths: of its kernel, time first, which images leave out.
      strides: likewise.
      spectral_norm: of the layer.
      norm: "batch", "instance" or "" after it.
      frames: that "dense_start" makes; 0 for an image.
    """

    kind: str
    widths: Sequence[int] = (3, 3, 3)
    strides: Sequence[int] = (1, 1, 1)
    spectral_norm: bool = True
    norm: str = ""
    frames: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rank = x.ndim - 2
        sn = self.spectral_norm
        if self.kind == "dense_end":
            return Dense(3, spectral_norm=sn, name="layer")(x.reshape(x.shape[0], -1))
        if self.kind == "dense_start":
            axes = ((self.frames,) if self.frames else ()) + (2, 3)
            y = Dense(int(np.prod(axes)) * 4, spectral_norm=sn, name="layer")(x)
            y = y.reshape(x.shape[0], *axes, 4)
        else:
            kind = Conv if self.kind == "conv" else ConvTranspose
            widths, strides = tuple(self.widths)[-rank:], tuple(self.strides)[-rank:]
            y = kind(4, widths, strides, spectral_norm=sn, name="layer")(x)
        if self.norm == "batch":
            y = BatchNorm(name="norm")(y)
        if self.norm == "instance":
            y = InstanceNorm(name="norm")(y)
        return y


def draw_variables(module: nn.Module, *inputs: Any, seed: int = 0) -> Any:
    """Variables of a network that has been trained a little, to all appearances.

    Parameters are drawn anew, biases, scales and running statistics among them; spectral vectors
    are initial ones of other kernels, that is, far from where power iteration would take them.
    """
    variables = module.init(jax.random.key(seed), *inputs)
    rng = np.random.default_rng(seed)
    flat = traverse_util.flatten_dict(variables)
    for path, leaf in flat.items():
        if path[0] == "params":
            flat[path] = rng.normal(0, 0.3, leaf.shape).astype(np.float32)
        if path[0] == BATCH_STATS:
            flat[path] = rng.uniform(0.5, 2, leaf.shape).astype(np.float32)
        if path[-1] == "gain":
            flat[path] = np.asarray(rng.uniform(0.5, 2), np.float32)
    return traverse_util.unflatten_dict(flat)


def stills(images: Any, frames: int) -> jax.Array:
    """Images `[b, ...]` as clips of equal frames, `[b, t, ...]`."""
    return jnp.repeat(jnp.asarray(images)[:, None], frames, axis=1)


def as_still(want: jax.Array, got: jax.Array) -> jax.Array:
    """An image's activation as the clip's would be, where the clip's has time."""
    return want if want.ndim == got.ndim else stills(want, got.shape[1])


def relative_error(got: Any, want: Any) -> float:
    """‖got − want‖ / ‖want‖ over all elements."""
    got64, want64 = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got64.shape == want64.shape
    return float(np.linalg.norm(got64 - want64) / np.linalg.norm(want64))


@dataclasses.dataclass(frozen=True)
class Run:
    """What a network did.

    Attributes:
      output: its result.
      collections: after the call.
    """

    output: jax.Array
    collections: Any


def run(module: nn.Module, variables: Any, *inputs: Any, training: bool) -> Run:
    """Applies a network in one of its two modes."""
    mutable = [name for name in variables if name != "params"] if training else []
    output, changed = jax.jit(lambda v, *a: module.apply(v, *a, mutable=mutable))(
        variables, *inputs
    )
    return Run(output, {**variables, **changed})
