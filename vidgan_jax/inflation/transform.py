"""The transform of variables: a 2D network's become those of the 3D network with the same names.

Every parameter that time touches becomes copies of itself, each with a weight, by one `Spread`:

- a convolution's kernel becomes `a[t] · kernel` along a new axis of time, with the weights a of
  `vidgan_jax.inflation.profiles`;
- the columns of a dense layer that begins time (`z → t·h·w·c`) are repeated for each frame;
- the rows of a dense layer that ends time are repeated and divided by the number of frames.

All else follows from the weights, see `inflate_variables` and `inflate_moments`.
"""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util
from flax.typing import VariableDict

from vidgan_jax.inflation.profiles import temporal_weights
from vidgan_jax.inflation.target import Path, Target
from vidgan_jax.types import SPECTRAL, PyTree

MODES = ("exact", "thesis")
_NEW_AXIS = None
_NOISE_ITERATIONS = 50

Shapes = Mapping[Path, tuple[int, ...]]
Leaves = Mapping[Path, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Spread:
    """How a leaf is spread over time: copy t is `weights[t]` times the leaf.

    Attributes:
      weights: float64 `[t]`.
      axis: along which the copies are joined; `None` stacks them along a new first one.
      stride: of time, where the leaf is the kernel of a transposed convolution.
      gradient: each copy's share of the leaf's gradient, on still clips.
    """

    weights: np.ndarray
    axis: int | None
    stride: int = 1
    gradient: float = 1.0

    @property
    def norm(self) -> float:
        """‖weights‖₂: as many times as large the leaf's singular values become."""
        return float(np.linalg.norm(self.weights))

    def apply(self, leaf: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """The spread leaf, of its own dtype; other `weights` on demand."""
        chosen = (self.weights if weights is None else weights).astype(leaf.dtype)
        if self.axis is _NEW_AXIS:
            return chosen.reshape(-1, *(1,) * leaf.ndim) * leaf
        return np.concatenate([w * leaf for w in chosen], axis=self.axis)


_SAME = Spread(np.ones(1), axis=0)


def inflate_params(
    params: PyTree,
    target: PyTree,
    *,
    profile: str = "average",
    temporal_noise: float = 0.0,
    strides: Mapping[Path, int] | None = None,
) -> PyTree:
    """Turns parameters of a 2D network into those of the 3D network with the same names.

    Args:
      params: nested dicts of arrays, the 2D network's.
      target: nested dicts of anything with `shape`, the 3D network's (`jax.eval_shape` of its
        `init`): the same paths, convolution kernels with one more leading axis, dense layers wider
        by the number of frames at their end.
      profile: a name of `PROFILES`.
      temporal_noise: standard deviation, relative to the kernel's, of noise between the taps of a
        convolution, or the frames of a dense layer that ends time; it sums to 0 over them (over
        each phase of a transposed one). Still clips don't see it, so the contract holds. Moving
        ones do: without it all taps and frames are alike, a saddle that training takes long to
        leave. It depends on the leaf's path alone.
      strides: of transposed convolutions over time, by the layer's path, as `target_of` finds them;
        shapes don't tell them. What is not named is an ordinary convolution.

    Returns:
      Nested dicts like `target` of numpy arrays, dtypes as in `params`; none is left random.

    Raises:
      ValueError: an unknown profile; leaves on one side only; a leaf that no rule fits. The message
        gives paths and shapes.
    """
    if isinstance(target, Target):
        raise ValueError("target is target_of's: give it, and all variables, to inflate_variables")
    leaves = _flat(params)
    spreads = _spreads(_shapes(leaves), _shapes(_flat(target)), profile, strides or {})
    return traverse_util.unflatten_dict(_spread_params(leaves, spreads, temporal_noise))


def inflate_variables(
    variables: VariableDict,
    target: Target,
    *,
    profile: str = "average",
    mode: str = "exact",
    temporal_noise: float = 0.0,
    vectors_of: VariableDict | None = None,
) -> VariableDict:
    """Inflates all collections of a network: parameters, running statistics, spectral norm.

    A spectrally normalised layer computes with `gain · w / σ(w)`. Its 3D kernel's σ is ‖a‖₂ times
    the 2D one's, for the weights a of its taps; so the singular vectors are spread likewise (power
    iteration goes on where it was), and the gain is multiplied by ‖a‖₂. The thesis's formula leaves
    the latter out: there, all such layers come out 1/‖a‖₂ = √T times too strong.

    Args:
      variables: "params" and all other collections of the 2D network.
      target: the 3D network's, from `target_of`.
      profile: as for `inflate_params`.
      mode: "exact", or "thesis", which leaves the gains as they are.
      temporal_noise: as for `inflate_params`; spectral state is found anew where it changes σ.
      vectors_of: inflated variables of the same network whose singular vectors these are to share:
        a generator's, for its average, which has none of its own. Gains are these kernels' then.

    Returns:
      The 3D network's variables, numpy leaves.

    Raises:
      ValueError: as for `inflate_params`; an unknown mode, a missing collection, a target without
        time.
    """
    if mode not in MODES:
        raise ValueError(f"mode (={mode!r}) must be one of {', '.join(MODES)}")
    if not isinstance(target, Target):
        raise ValueError(
            f"target is of type {type(target).__name__}; make it by target_of(module, clip), or "
            "give parameters alone to inflate_params"
        )
    if missing := sorted(target.variables.keys() - variables.keys()):
        raise ValueError(
            f"the 2D variables lack the collection {missing[0]!r}, which the 3D network has; give "
            "all collections that the 2D network's init gave"
        )
    wanted = _shapes(_flat(target.variables))
    _check_paths(_shapes(_flat(variables)), wanted)
    leaves = _flat(variables["params"])
    shapes = _shapes(_flat(target.variables["params"]))
    spreads = _spreads(_shapes(leaves), shapes, profile, target.strides)
    if leaves and all(spread is _SAME for spread in spreads.values()):
        raise ValueError(
            "no parameter of the target has time: give target_of a network of clips, and a clip "
            "[b, t, h, w, c] where it takes one"
        )
    params = _spread_params(leaves, spreads, temporal_noise)
    how = {"exact": mode == "exact", "noisy": temporal_noise > 0}
    inflated: dict[str, Mapping[Path, Any]] = {}
    for name, tree in variables.items():
        if name == "params":
            inflated[name] = params
        elif name == SPECTRAL:
            given = None if vectors_of is None else _flat(vectors_of[SPECTRAL])
            inflated[name] = _spread_spectral(_flat(tree), leaves, params, spreads, given, **how)
        else:
            inflated[name] = _flat(tree)
        for path, leaf in inflated[name].items():
            if tuple(np.shape(leaf)) != wanted[(name, *path)]:
                raise _no_rule((name, *path), tuple(np.shape(leaf)), wanted[(name, *path)])
    return {name: traverse_util.unflatten_dict(tree) for name, tree in inflated.items()}


def inflate_moments(
    moments: Mapping[str, PyTree],
    params: PyTree,
    target: Target,
) -> dict[str, PyTree]:
    """Inflates an optimiser's running moments of gradients.

    On still clips a convolution's tap has the gradient that the 2D kernel had, since each tap meets
    the same frames; a tap of a transposed one meets 1/stride of the output frames, and a frame's
    columns of a dense layer one frame of them. Moments are spread in these shares (second ones
    squared), and not by the kernel's weights: they tell the size of gradients, not of kernels.

    Args:
      moments: of the 2D parameters: "mu" (gradients), "nu" (their squares), either may be missing,
        and whatever else does not depend on time ("count").
      params: the 2D parameters.
      target: the 3D network's, from `target_of`.

    Returns:
      The 3D ones.
    """
    wanted = _shapes(_flat(target.variables["params"]))
    spreads = _spreads(_shapes(_flat(params)), wanted, "average", target.strides)
    inflated = dict(moments)
    for name, power in (("mu", 1), ("nu", 2)):
        if name in moments:
            tree = {
                path: spreads[path].apply(
                    leaf, np.full(len(spreads[path].weights), spreads[path].gradient ** power)
                )
                for path, leaf in _flat(moments[name]).items()
            }
            inflated[name] = traverse_util.unflatten_dict(tree)
    return inflated


def _flat(tree: PyTree) -> dict[Path, Any]:
    return traverse_util.flatten_dict(tree)


def _shapes(leaves: Mapping[Path, Any]) -> dict[Path, tuple[int, ...]]:
    return {path: tuple(np.shape(leaf)) for path, leaf in leaves.items()}


def _check_paths(have: Shapes, want: Shapes) -> None:
    left = [f"{'/'.join(p)} {have[p]} is in the 2D network only" for p in have.keys() - want.keys()]
    new = [f"{'/'.join(p)} {want[p]} is in the 3D network only" for p in want.keys() - have.keys()]
    if left or new:
        shown = "\n  ".join(sorted(left + new)[:8])
        raise ValueError(
            f"{len(left + new)} leaves have no counterpart:\n  {shown}\n"
            "both networks need the same names and numbers of layers"
        )


def _no_rule(path: Path, source: tuple[int, ...], wanted: tuple[int, ...]) -> ValueError:
    return ValueError(
        f"{'/'.join(path)}: no rule turns {source} (2D) into {wanted} (3D); the networks must "
        "differ in time only (same channels, kernel widths and latent length)"
    )


def _spreads(
    have: Shapes, want: Shapes, profile: str, strides: Mapping[Path, int]
) -> dict[Path, Spread]:
    """Each parameter's `Spread`, by the first rule that fits.

    Raises:
      ValueError: leaves on one side only; a leaf that no rule fits.
    """
    temporal_weights(profile, 1)  # refuses an unknown one
    _check_paths(have, want)
    if strange := [path for path in strides if (*path, "kernel") not in want]:
        raise ValueError(f"strides name {'/'.join(strange[0])}, which has no kernel")
    return {path: _spread(path, have, want, profile, strides) for path in have}


def _spread(
    path: Path, have: Shapes, want: Shapes, profile: str, strides: Mapping[Path, int]
) -> Spread:
    source, wanted = have[path], want[path]
    if source == wanted:
        return _SAME
    if path[-1] == "kernel" and len(source) == 4 and wanted[1:] == source:
        # [k, k, i, o] → [t, k, k, i, o]
        stride = strides.get(path[:-1], 1)
        weights = temporal_weights(profile, wanted[0], stride)
        return Spread(weights, _NEW_AXIS, stride, gradient=1 / stride)
    if path[-1] == "kernel" and len(source) == len(wanted) == 2:
        if frames := _columns_repeated(source, wanted):
            return Spread(np.ones(frames), axis=1, gradient=1 / frames)
        if source[1] == wanted[1] and wanted[0] % source[0] == 0:
            frames = wanted[0] // source[0]  # rows of [t·h·w·c] see equal frames: share them out
            return Spread(np.full(frames, 1 / frames), axis=0)
    if path[-1] == "bias" and len(source) == len(wanted) == 1:
        kernel = (*path[:-1], "kernel")
        frames = _columns_repeated(have.get(kernel, ()), want.get(kernel, ()))
        if frames and wanted[0] == frames * source[0]:
            return Spread(np.ones(frames), axis=0, gradient=1 / frames)
    raise _no_rule(path, source, wanted)


def _columns_repeated(source: tuple[int, ...], wanted: tuple[int, ...]) -> int:
    """How many frames a dense layer `[i, o]` → `[i, t·o]` makes; 0 where it is none such."""
    if len(source) == len(wanted) == 2 and source[0] == wanted[0] and wanted[1] % source[1] == 0:
        return wanted[1] // source[1]
    return 0


def _spread_params(
    leaves: Leaves, spreads: Mapping[Path, Spread], temporal_noise: float
) -> dict[Path, np.ndarray]:
    if not temporal_noise >= 0:
        raise ValueError(f"temporal_noise (={temporal_noise}) must be at least 0")
    inflated = {}
    for path, leaf in leaves.items():
        source, spread = np.asarray(leaf), spreads[path]
        value = source if spread is _SAME else spread.apply(source)
        if temporal_noise and _takes_noise(path, source, spread):
            value = _add_still_noise(value, spread, path, temporal_noise)
        inflated[path] = value
    return inflated


def _takes_noise(path: Path, leaf: np.ndarray, spread: Spread) -> bool:
    """Whether copies can differ so that still clips don't see it: kernels that sum over time."""
    sums = spread.axis is _NEW_AXIS or (spread.axis == 0 and leaf.ndim == 2)
    return path[-1] == "kernel" and sums and len(spread.weights) > spread.stride


def _add_still_noise(value: np.ndarray, spread: Spread, path: Path, relative: float) -> np.ndarray:
    """Adds noise over time whose sum over each phase is 0."""
    frames = len(spread.weights)
    rng = np.random.default_rng(zlib.crc32("/".join(path).encode()))
    noise = rng.standard_normal((frames, value.size // frames), dtype=np.float32)
    for phase in range(spread.stride):
        noise[phase :: spread.stride] -= noise[phase :: spread.stride].mean(axis=0)
    noise *= np.float32(relative * value.std())
    return value + noise.reshape(value.shape).astype(value.dtype)


def _spread_spectral(
    state: Leaves,
    before: Leaves,
    after: Leaves,
    spreads: Mapping[Path, Spread],
    given: Leaves | None,
    *,
    exact: bool,
    noisy: bool,
) -> dict[Path, np.ndarray]:
    """Singular vectors (those `given`, if any) and gains, layer by layer.

    `before` and `after` are the kernels.
    """
    inflated: dict[Path, np.ndarray] = {}
    for layer in sorted({path[:-1] for path in state}):
        kernel = (*layer, "kernel")
        spread = spreads[kernel]
        u, v, gain = (np.asarray(state[(*layer, name)]) for name in ("u", "v", "gain"))
        factor = spread.norm
        if spread is not _SAME:
            unit = spread.weights / spread.norm
            if spread.axis == 1:  # columns: outputs are repeated, else inputs are
                u = Spread(unit, axis=0).apply(u)
            else:
                v = Spread(unit, axis=spread.axis).apply(v)
        if noisy and _takes_noise(kernel, np.asarray(before[kernel]), spread):
            old = _sigma(before[kernel], *(state[(*layer, name)] for name in ("u", "v")))
            if given is None:
                u, v = _singular_vectors(after[kernel], u)
            else:
                u, v = (np.asarray(given[(*layer, name)]) for name in ("u", "v"))
            factor = _sigma(after[kernel], u, v) / old
        if exact:
            gain = np.asarray(gain * factor, gain.dtype)
        inflated |= {(*layer, "u"): u, (*layer, "v"): v, (*layer, "gain"): gain}
    return inflated


def _sigma(kernel: np.ndarray, u: np.ndarray, v: np.ndarray) -> float:
    matrix = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
    return float(np.asarray(v, np.float64).reshape(-1) @ matrix @ np.asarray(u, np.float64))


def _singular_vectors(kernel: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest singular value's, as far as some power iterations from `u` on find them."""
    matrix = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
    vector = np.asarray(u, np.float64)
    for _ in range(_NOISE_ITERATIONS):
        left = matrix @ vector
        left /= np.linalg.norm(left)
        vector = left @ matrix
        vector /= np.linalg.norm(vector)
    return vector.astype(u.dtype), left.reshape(kernel.shape[:-1]).astype(u.dtype)
