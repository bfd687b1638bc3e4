"""What a convolution looks like, apart from its channels and numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax

Pads = tuple[int, int]


class Geometry(NamedTuple):
    """Of a convolution.

    Attributes:
      size: of the data along its axes: two of space, or time and two of space.
      widths: of the kernel along them.
      strides: likewise.
      time: how often a clip's first frame stands before it, and its last one behind it.
      space: zeros before and behind each of the two axes of space.
    """

    size: tuple[int, ...]
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    time: Pads
    space: tuple[Pads, ...]

    @property
    def pads(self) -> tuple[Pads, ...]:
        """Along all axes."""
        return (*(self.time,) * (len(self.size) - 2), *self.space)

    @property
    def out(self) -> tuple[int, ...]:
        """Size of the result."""
        axes = zip(self.size, self.widths, self.strides, self.pads, strict=True)
        return tuple((n + sum(p) - k) // s + 1 for n, k, s, p in axes)

    @property
    def widths_upsampled(self) -> tuple[int, ...]:
        """Of the kernel that does to upsampled data what this does to the data as they are."""
        return tuple(k - s + 1 for k, s in zip(self.widths, self.strides, strict=True))

    @property
    def of_frame(self) -> Geometry:
        """What happens in space."""
        return Geometry(self.size[-2:], self.widths[-2:], self.strides[-2:], (0, 0), self.space)


Form = Callable[[Geometry, jax.Array, jax.Array], jax.Array]
"""One way to compute a convolution, or one of its gradients, from two arrays."""
