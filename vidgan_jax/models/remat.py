"""Memory for time: the insides of a network's blocks are computed anew in the backward pass.

Source: Chen, Xu, Zhang, Guestrin 2016, arXiv:1604.06174, section 4.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn


def run_block(
    run: Callable[..., jax.Array], module: nn.Module, *args: Any, remat: bool
) -> jax.Array:
    """`run(module, *args)`, a block of a network.

    With `remat` its backward pass keeps `args` and the block's variables only, and runs the block
    once more for all between them and the result. Values, gradients of any order, variables and
    what becomes of collections are the same.

    Args:
      run: takes the module and the arguments; makes submodules as the module's own methods do. A
        submodule made before, which it closes over, would be of another scope: give it as `module`.
      module: whose variables the block uses: the block itself, or the network that it is part of.
      args: arrays, or pytrees of them.
      remat: of the network's attributes.
    """
    # Initialising has no backward pass, and draws the same numbers so.
    if not remat or module.is_initializing():
        return run(module, *args)
    return nn.remat(run)(module, *args)
