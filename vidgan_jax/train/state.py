"""Everything that training carries from one step to the next."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.typing import VariableDict

from vidgan_jax.types import PyTree


class PlayerState(struct.PyTreeNode):
    """One player: a network's variables and its optimiser's state.

    Attributes:
      params: trained leaves, float32.
      collections: the other variable collections (batch statistics, spectral norm); may be empty.
      opt_state: optax state of `params`.
    """

    params: PyTree
    collections: PyTree
    opt_state: PyTree

    @property
    def variables(self) -> VariableDict:
        """What `module.apply` takes."""
        return {"params": self.params, **self.collections}


class GanState(struct.PyTreeNode):
    """The state of training.

    Attributes:
      step: updates of the generator so far, int32 scalar.
      key: typed PRNG key; step `n` draws from `fold_in(key, n)` only.
      gen: the generator.
      disc: the discriminator.
      ema_params: exponential moving average of the generator's parameters.
    """

    step: jax.Array
    key: jax.Array
    gen: PlayerState
    disc: PlayerState
    ema_params: PyTree

    @property
    def ema_variables(self) -> VariableDict:
        """The averaged generator, for samples."""
        return {"params": self.ema_params, **self.gen.collections}


def split_variables(variables: VariableDict) -> tuple[PyTree, dict[str, Any]]:
    """Parts what `module.init` gave into `(params, other collections)`."""
    collections = {name: value for name, value in variables.items() if name != "params"}
    return variables["params"], collections


def create_state(
    key: jax.Array,
    gen_variables: VariableDict,
    disc_variables: VariableDict,
    gen_optimizer: optax.GradientTransformation,
    disc_optimizer: optax.GradientTransformation,
    ema_params: PyTree | None = None,
) -> GanState:
    """A fresh state at step 0 around given variables.

    Args:
      key: typed PRNG key that all later draws derive from.
      gen_variables: as `init` or inflation gives them.
      disc_variables: likewise.
      gen_optimizer: whose state starts fresh.
      disc_optimizer: likewise.
      ema_params: the average so far; None starts it at the generator's parameters.
    """
    gen_params, gen_collections = split_variables(gen_variables)
    disc_params, disc_collections = split_variables(disc_variables)
    # A copy: the same buffer may not be donated twice.
    ema = jax.tree.map(jnp.array, gen_params if ema_params is None else ema_params)
    return GanState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        gen=PlayerState(gen_params, gen_collections, gen_optimizer.init(gen_params)),
        disc=PlayerState(disc_params, disc_collections, disc_optimizer.init(disc_params)),
        ema_params=ema,
    )
