"""Finds the first step that gave a number that is not finite, without waiting for any step."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidgan_jax.types import Metrics

Found = Mapping[tuple[str, ...], Any]
"""Int32 `[n]` for each set of n names: the first step with a fault, of each."""
NOTHING_FOUND: Found = {}
_NEVER = np.iinfo(np.int32).max
_HINT = (
    "lower the learning rates and go on from the last checkpoint, or set "
    "config.faults.not_finite='rollback', which goes on from there with other random numbers"
)
_WORDS = {
    "grad_norm_D": "the discriminator's gradients",
    "grad_norm_G": "the generator's gradients",
}


class NotFiniteError(FloatingPointError):
    """Numbers that are not finite.

    Attributes:
      step: the first that gave any, counted from 1.
      names: of the losses, the gradients, or the weights.
    """

    def __init__(self, step: int, names: list[str], hint: str = _HINT) -> None:
        self.step, self.names = step, names
        super().__init__(f"{self.what} at step {step}; {hint}")

    @property
    def what(self) -> str:
        """In words, what is wrong."""
        return f"{', '.join(_WORDS.get(name, name) for name in self.names)} not finite"


class FirstFaults:
    """The first step at which each of a step's metrics was not finite, kept on the devices.

    The gradients' norms are among the metrics, so that nothing that enters the state escapes. What
    it costs is one small program a step, which waits for nothing.
    """

    def __init__(self) -> None:
        self._first: dict[tuple[str, ...], jax.Array] = {}

    def note(self, step: jax.Array, metrics: Metrics) -> None:
        """Looks at the metrics of the step after which the state's counter is `step`."""
        names = tuple(sorted(metrics))
        values = [metrics[name] for name in names]
        before = self._first.get(names)
        self._first[names] = (
            _begin(step, values) if before is None else _go_on(step, values, before)
        )

    def so_far(self) -> Found:
        """What has been found, still on the devices, for `check`."""
        return dict(self._first)


def check(found: Found) -> None:
    """Refuses what `FirstFaults.so_far` gave, fetched.

    Raises:
      NotFiniteError: names the first step with a fault, and all that was not finite then.
    """
    steps: dict[str, int] = {}
    # Lazy terms make for two sets of names: a name counts with its earlier step.
    for names, first in found.items():
        for name, step in zip(names, first, strict=True):
            steps[name] = min(steps.get(name, _NEVER), int(step))
    earliest = min(steps.values(), default=_NEVER)
    if earliest < _NEVER:
        raise NotFiniteError(earliest, sorted(n for n, step in steps.items() if step == earliest))


@jax.jit
def _begin(step: jax.Array, values: list[jax.Array]) -> jax.Array:
    never = jnp.full(len(values), _NEVER, jnp.int32)
    return _earliest(step, values, never)


@jax.jit
def _go_on(step: jax.Array, values: list[jax.Array], before: jax.Array) -> jax.Array:
    return _earliest(step, values, before)


def _earliest(step: jax.Array, values: list[jax.Array], before: jax.Array) -> jax.Array:
    bad = ~jnp.isfinite(jnp.stack([jnp.asarray(value, jnp.float32) for value in values]))
    return jnp.where(bad, jnp.minimum(before, step), before)
