"""From PyTorch's state dicts to variables: leaf by leaf, none missing, none left over.

PyTorch keeps kernels as `[o, i, *widths]`, dense ones as `[o, i]`, and flattens maps channels
first. Its spectral norm keeps the kernel as `weight_orig`, the singular vectors as `weight_u` `[o]`
and `weight_v` `[i·widths]`, and in evaluation divides by σ = uᵀ·W·v of these, as
`vidgan_jax.layers.spectral` does where its collection may not change.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from flax import traverse_util
from flax.typing import VariableDict

from vidgan_jax.types import BATCH_STATS, SPECTRAL

Path = tuple[str, ...]
_STATISTICS = {"mean": "running_mean", "var": "running_var"}
_SHOWN = 3


class StateDict:
    """Arrays by PyTorch's names, each to be taken by one of our variables.

    Args:
      arrays: by name.
      origin: what to call them in errors.
      network: what they should be of, likewise.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], origin: str, network: str) -> None:
        self._arrays = dict(arrays)
        self._origin, self._network = origin, network
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """An array's shape, from which the network's sizes are read.

        Raises:
          ValueError: there is none of that name, or it has another rank.
        """
        shape = self._get(name).shape
        if len(shape) != rank or 0 in shape:
            raise ValueError(f"{self._origin}: {name} {shape} must have {rank} axes, none empty")
        return shape

    def rank(self, name: str) -> int:
        """An array's number of axes.

        Raises:
          ValueError: there is none of that name.
        """
        return self._get(name).ndim

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """An array that one of our variables is made of.

        Raises:
          ValueError: there is none of that name, or it has another shape, or not only finite
            numbers.
        """
        array = self._get(name)
        if array.shape != shape:
            raise ValueError(
                f"{self._origin}: {name} is {array.shape}, and {shape} is wanted for "
                f"{self._network}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{self._origin}: {name} has values that are not finite")
        self._taken.add(name)
        return array

    def refuse_the_rest(self, ignored: Callable[[str], bool] = lambda name: False) -> None:
        """Checks that every array was taken, but for those that are `ignored` by name.

        Raises:
          ValueError: names the first few that were not.
        """
        rest = [name for name in self._arrays if name not in self._taken and not ignored(name)]
        if rest:
            more = f" and {len(rest) - _SHOWN} more" if len(rest) > _SHOWN else ""
            raise ValueError(
                f"{self._origin} has what {self._network} has not: {', '.join(rest[:_SHOWN])}"
                f"{more}; it is of another network, or of a version that this code does not know"
            )

    def _get(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise ValueError(
                f"{self._origin} lacks {name}, which {self._network} has; it is of another "
                "network, or not all of it"
            )
        return self._arrays[name]


@dataclasses.dataclass(frozen=True)
class Names:
    """How PyTorch calls our layers, and which of its dense layers see or make a map.

    Attributes:
      layer: our layer's path → PyTorch's name.
      makes_map: dense layers that make a map `[c, *axes]`, and its number of positions, by path.
      sees_map: dense layers that see one, likewise.
    """

    layer: Callable[[Path], str]
    makes_map: Mapping[Path, int] = dataclasses.field(default_factory=dict)
    sees_map: Mapping[Path, int] = dataclasses.field(default_factory=dict)


def to_variables(wanted: VariableDict, state: StateDict, names: Names) -> VariableDict:
    """A network's variables out of a state dict.

    Args:
      wanted: collections whose leaves have `shape`: `jax.eval_shape` of the network's `init`.
      state: the arrays; what is taken is noted there.
      names: of the layers.

    Returns:
      Collections like `wanted`, float32 numpy leaves.

    Raises:
      ValueError: something is missing, or of another shape.
    """
    shapes = {p: tuple(leaf.shape) for p, leaf in traverse_util.flatten_dict(wanted).items()}
    normalised = {path[1:-1] for path in shapes if path[0] == SPECTRAL}
    leaves: dict[Path, np.ndarray] = {}
    for (collection, *layer_path, leaf), shape in shapes.items():
        layer = tuple(layer_path)
        name = names.layer(layer) if layer else ""
        if collection == BATCH_STATS:
            leaves[(collection, *layer, leaf)] = state.take(f"{name}.{_STATISTICS[leaf]}", shape)
        elif collection == "params" and leaf == "bias":
            positions = names.makes_map.get(layer, 1)
            bias = state.take(f"{name}.bias", shape)
            leaves[(collection, *layer, leaf)] = _channels_last(bias, 0, positions)
        elif collection == "params" and leaf == "kernel":
            weight = "weight_orig" if layer in normalised else "weight"
            kernel = state.take(f"{name}.{weight}", _theirs(shape))
            kernel = _channels_last(kernel, 0, names.makes_map.get(layer, 1))
            kernel = _channels_last(kernel, 1, names.sees_map.get(layer, 1))
            leaves[(collection, *layer, leaf)] = _ours(kernel)
            if layer in normalised:
                for part, array in _spectral(state, name, _theirs(shape)).items():
                    leaves[(SPECTRAL, *layer, part)] = array
        elif collection == "params" and leaf == "scale":
            leaves[(collection, *layer, leaf)] = state.take(f"{name}.weight", shape)
        elif collection == "params":  # an embedding, which has its layer's name
            leaves[(collection, *layer, leaf)] = state.take(f"{leaf}.weight", shape)
    if missing := shapes.keys() - leaves.keys():
        raise ValueError(f"{'/'.join(min(missing))} has no counterpart in PyTorch")
    return traverse_util.unflatten_dict({p: np.asarray(a, order="C") for p, a in leaves.items()})


def _theirs(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`[*widths, i, o]` → `[o, i, *widths]`."""
    return (shape[-1], shape[-2], *shape[:-2])


def _ours(kernel: np.ndarray) -> np.ndarray:
    return np.moveaxis(kernel, (0, 1), (-1, -2))


def _channels_last(array: np.ndarray, axis: int, positions: int) -> np.ndarray:
    """Turns an axis of `c·positions` numbers into one of `positions·c`."""
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    apart = array.reshape(*before, -1, positions, *after)
    return np.swapaxes(apart, axis, axis + 1).reshape(array.shape)


def _spectral(state: StateDict, name: str, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The state of one layer's spectral norm.

    PyTorch kept no v before version 1.1, but the divided kernel beside the original: their ratio is
    the σ that it computed with, and v is made to give that σ, even if it is not of length 1 then.
    (The first step of training moves v, and its length with it.)
    """
    u = state.take(f"{name}.weight_u", shape[:1])
    divided = state.take(f"{name}.weight", shape) if f"{name}.weight" in state else None
    if f"{name}.weight_v" in state:
        v = state.take(f"{name}.weight_v", (int(np.prod(shape[1:])),))
    else:
        kernel = state.take(f"{name}.weight_orig", shape).astype(np.float64)
        toward = u.astype(np.float64) @ kernel.reshape(shape[0], -1)
        length = np.linalg.norm(toward)
        if not length > 0:
            raise ValueError(f"{name}.weight_orig gives 0 in the direction of {name}.weight_u")
        v = toward / length
        if divided is not None:
            v = v * (np.linalg.norm(kernel) / np.linalg.norm(divided.astype(np.float64)) / length)
    as_map = v.reshape(shape[1:]).astype(np.float32)
    return {"u": u, "v": np.moveaxis(as_map, 0, -1), "gain": np.ones((), np.float32)}
