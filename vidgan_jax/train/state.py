"""Everything that training carries from one step to the next."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct, traverse_util
from flax.typing import VariableDict

from vidgan_jax.types import BATCH_STATS, GAIN, SPECTRAL, PyTree


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
      ema_collections: the same of its batch statistics and of spectral norm's gains, which belong
        to them; empty without any.
    """

    step: jax.Array
    key: jax.Array
    gen: PlayerState
    disc: PlayerState
    ema_params: PyTree
    ema_collections: PyTree

    @property
    def ema_variables(self) -> VariableDict:
        """The averaged generator, for samples."""
        return average_of(self.gen.collections, self.ema_params, self.ema_collections)


def split_variables(variables: VariableDict) -> tuple[PyTree, dict[str, Any]]:
    """Parts what `module.init` gave into `(params, other collections)`."""
    collections = {name: value for name, value in variables.items() if name != "params"}
    return variables["params"], collections


def averaged_collections(collections: Mapping[str, Any]) -> dict[str, Any]:
    """What a generator's average has of its own: batch statistics, and spectral norm's gains.

    A gain belongs to its kernel: inflation with noise gives those of the generator and of its
    average different ones. Singular vectors move with every step, and serve both.
    """
    leaves = traverse_util.flatten_dict(dict(collections))
    own = {
        path: leaf
        for path, leaf in leaves.items()
        if path[0] == BATCH_STATS or (path[0] == SPECTRAL and path[-1] == GAIN)
    }
    return traverse_util.unflatten_dict(own)


def average_of(
    collections: Mapping[str, Any], ema_params: PyTree, ema_collections: Mapping[str, Any]
) -> VariableDict:
    """The averaged generator's variables.

    Args:
      collections: the generator's.
      ema_params: the average's.
      ema_collections: what the average has of its own, see `averaged_collections`; of checkpoints
        from before gains were among them, without these.
    """
    leaves = traverse_util.flatten_dict(dict(collections))
    own = traverse_util.flatten_dict(dict(ema_collections))
    return {"params": ema_params, **traverse_util.unflatten_dict({**leaves, **own})}


def create_state(
    key: jax.Array,
    gen_variables: VariableDict,
    disc_variables: VariableDict,
    gen_optimizer: optax.GradientTransformation,
    disc_optimizer: optax.GradientTransformation,
    ema_variables: VariableDict | None = None,
) -> GanState:
    """A fresh state at step 0 around given variables.

    Args:
      key: typed PRNG key that all later draws derive from.
      gen_variables: as `init` or inflation gives them.
      disc_variables: likewise.
      gen_optimizer: whose state starts fresh.
      disc_optimizer: likewise.
      ema_variables: the average so far; None starts it at the generator's.
    """
    gen_params, gen_collections = split_variables(gen_variables)
    disc_params, disc_collections = split_variables(disc_variables)
    averaged = gen_variables if ema_variables is None else ema_variables
    # A copy: the same buffer may not be donated twice.
    ema_params, ema_collections = split_variables(jax.tree.map(jnp.array, averaged))
    return GanState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        gen=PlayerState(gen_params, gen_collections, gen_optimizer.init(gen_params)),
        disc=PlayerState(disc_params, disc_collections, disc_optimizer.init(disc_params)),
        ema_params=ema_params,
        ema_collections=averaged_collections(ema_collections),
    )


def moments_of(opt_state: PyTree) -> dict[str, PyTree]:
    """The running moments in an optimiser's state, by optax's names: `mu`, `nu`, and their `count`.

    Args:
      opt_state: of optax, or the same as nested dicts and lists, as orbax reads it.

    Returns:
      An empty dict where the optimiser keeps none.
    """
    if isinstance(opt_state, tuple) and hasattr(opt_state, "_asdict"):
        opt_state = opt_state._asdict()
    if isinstance(opt_state, Mapping):
        if opt_state.keys() & {"mu", "nu"}:
            return {name: opt_state[name] for name in ("mu", "nu", "count") if name in opt_state}
        parts: Iterable[Any] = opt_state.values()
    else:
        parts = opt_state if isinstance(opt_state, list | tuple) else ()
    found = [moments for part in parts if (moments := moments_of(part))]
    return found[0] if found else {}


def with_moments(opt_state: PyTree, moments: Mapping[str, PyTree]) -> PyTree:
    """A fresh optax state with the moments of `moments_of` put in; schedules start anew.

    Raises:
      ValueError: the state keeps other moments.
    """
    if moments_of(opt_state).keys() != moments.keys():
        raise ValueError(
            f"the optimiser keeps {sorted(moments_of(opt_state))}, and the checkpoint's kept "
            f"{sorted(moments)}: use the same optimiser, or set config.init.opt_state=False"
        )

    def put(state: Any) -> Any:
        if not isinstance(state, tuple):
            return state
        fields: tuple[str, ...] | None = getattr(state, "_fields", None)
        if fields is None:
            return tuple(map(put, state))
        if {"mu", "nu"} & set(fields):
            return type(state)(**{**dict(zip(fields, state, strict=True)), **moments})
        return type(state)(*map(put, state))

    return put(opt_state)
