"""torchvision's VGG19, as far as `vidgan_jax.models.vgg` has it."""

import itertools
import re

from flax.typing import VariableDict

from vidgan_jax.conversion.state_dicts import Names, StateDict, to_variables
from vidgan_jax.models.vgg import BLOCKS

_CONVOLUTIONS = (2, 2, 4, 4, 4)  # of the whole network's blocks


def layer_names() -> dict[str, str]:
    """Our convolutions' names → torchvision's, which counts ReLUs and poolings, too."""
    indices = {}
    index = 0
    for i, number in enumerate(_CONVOLUTIONS, start=1):
        for j in range(1, number + 1):
            indices[f"conv{i}_{j}"] = f"features.{index}"
            index += 2
        index += 1
    ours = (f"conv{i}_{j}" for i, (n, _) in enumerate(BLOCKS, 1) for j in range(1, n + 1))
    return {name: indices[name] for name in ours}


def variables(wanted: VariableDict, state: StateDict) -> VariableDict:
    """VGG19's variables; its classifier and its last convolutions are left aside.

    Raises:
      ValueError: something is missing, of another shape, or of no VGG19.
    """
    names = layer_names()
    found = to_variables(wanted, state, Names(lambda layer: names[layer[0]]))
    last = max(int(name.split(".")[1]) for name in names.values())
    beyond = {f"features.{last + 2 * i}" for i in range(1, 4)}
    aside = re.compile(r"classifier\.\d+\.(weight|bias)")
    kinds = ("weight", "bias")
    unused = {f"{name}.{kind}" for name, kind in itertools.product(beyond, kinds)}
    state.refuse_the_rest(lambda name: name in unused or bool(aside.fullmatch(name)))
    return found
