"""Convolutions as the networks have them: the forms for CPUs against XLA's own, in turns."""

import functools
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vidgan_jax.benchmarks.measuring import Row
from vidgan_jax.layers import lowering
from vidgan_jax.layers.conv import pads_of, spreading
from vidgan_jax.layers.geometry import Geometry


class Case(NamedTuple):
    """A convolution.

    Attributes:
      what: it is.
      size: of the data that it is strided over, or spread to.
      widths: of its kernel; of one that follows an upsampling, what becomes of it.
      strides: or factors.
      channels: of data and result.
      batch: examples.
      kind: "conv", "transposed", "upsampled".
    """

    what: str
    size: tuple[int, ...]
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    channels: tuple[int, int]
    batch: int
    kind: str = "conv"


_ONE, _THREE = (1, 1, 1), (3, 3, 3)
CASES = (
    Case("3×3, 32×32", (32, 32), (3, 3), (1, 1), (16, 16), 16),
    Case("3×3×3, 8·32×32", (8, 32, 32), _THREE, _ONE, (16, 16), 8),
    Case("3×3×3, 8·64×64", (8, 64, 64), _THREE, _ONE, (64, 64), 2),
    Case("3×3×3, 8·16×16", (8, 16, 16), _THREE, _ONE, (256, 256), 2),
    Case("from colours", (8, 64, 64), _THREE, _ONE, (3, 64), 2),
    Case("to colours", (8, 64, 64), _THREE, _ONE, (64, 3), 2),
    Case("3×4×4 by 1·2·2", (8, 64, 64), (3, 4, 4), (1, 2, 2), (64, 128), 1),
    Case("4×4×4 by 2", (16, 32, 32), (4, 4, 4), (2, 2, 2), (32, 64), 4),
    Case("4×4×4 by 2, transposed", (16, 32, 32), (4, 4, 4), (2, 2, 2), (64, 32), 4, "transposed"),
    Case("3×3×3, upsampled", (8, 32, 32), (3, 4, 4), (1, 2, 2), (32, 16), 8, "upsampled"),
)
_FORMS = {
    "conv": (lowering.CPU_CONV, lowering.NATIVE_CONV),
    "transposed": (lowering.CPU_TRANSPOSED, lowering.NATIVE_TRANSPOSED),
    "upsampled": (lowering.CPU_UPSAMPLED, lowering.NATIVE_UPSAMPLED),
}


def bench_convolutions(repeats: int, cases: Sequence[Case] = CASES) -> list[Row]:
    """Seconds of each form's result and gradients; `…_ratio` is XLA's own over the CPU's form."""
    return [_bench(case, repeats) for case in cases]


def _bench(case: Case, repeats: int) -> Row:
    if case.kind == "conv":
        pads = pads_of(case.widths, "same")
        time_pads = pads[0] if len(case.size) == 3 else (0, 0)
        geometry = Geometry(case.size, case.widths, case.strides, time_pads, tuple(pads[-2:]))
    else:
        before_it = [n // s for n, s in zip(case.size, case.strides, strict=True)]
        geometry = spreading(before_it, case.widths, case.strides)
    small, large = geometry.out, geometry.size
    before, after = (large, small) if case.kind == "conv" else (small, large)
    widths = geometry.widths_upsampled if case.kind == "upsampled" else case.widths
    x = _draw(case.batch, *before, case.channels[0])
    dy = _draw(case.batch, *after, case.channels[1])
    kernel = _draw(*widths, *case.channels)
    row: Row = {"what": f"{case.what}, {case.channels[0]} → {case.channels[1]}"}
    inputs = {"forward": (x, kernel), "data_gradient": (dy, kernel), "kernel_gradient": (x, dy)}
    for name, arrays in inputs.items():
        ours, native = (
            jax.jit(functools.partial(getattr(forms, name), geometry)).lower(*arrays).compile()
            for forms in _FORMS[case.kind]
        )
        seconds: tuple[list[float], list[float]] = ([], [])
        for turn in range(repeats + 1):
            for taken, program in zip(seconds, (ours, native), strict=True):
                start = time.perf_counter()
                jax.block_until_ready(program(*arrays))
                if turn:
                    taken.append(time.perf_counter() - start)
        cpu, xla = map(statistics.median, seconds)
        row |= {f"{name}_s": cpu, f"{name}_ratio": xla / cpu}
    return row


def _draw(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(shape).standard_normal(shape, np.float32))
