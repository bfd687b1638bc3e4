"""Weights without a run: networks read as numpy arrays, and written for a run to start from."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.typing import VariableDict

from vidgan_jax import experiment, files
from vidgan_jax.experiment import Experiment
from vidgan_jax.train import fingerprint, seal, storage
from vidgan_jax.train.checkpoint import (
    FOLDER,
    CheckpointError,
    find,
    has_checkpoint,
    reading,
    variables_of,
)
from vidgan_jax.train.state import (
    average_of,
    averaged_collections,
    moments_of,
    split_variables,
)
from vidgan_jax.types import PyTree
from vidgan_jax.version import __version__

_NETWORK_FOLDER = "network"


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a checkpoint knows of the networks, without the optimisers.

    Attributes:
      gen: the generator's variables, numpy leaves.
      disc: the discriminator's.
      ema: the averaged generator's.
      meta: what was saved beside them: `config`, `fps`, `code`, …
      path: the checkpoint's folder.
      moments: of both optimisers, "gen" and "disc", as `vidgan_jax.train.state.moments_of` finds
        them; None where they were not asked for, or not saved.
    """

    gen: VariableDict
    disc: VariableDict
    ema: VariableDict
    meta: Mapping[str, Any]
    path: pathlib.Path
    moments: Mapping[str, Mapping[str, PyTree]] | None = None

    @property
    def step(self) -> int:
        """The step that the weights are of."""
        return int(self.path.name)


def load_weights(path: str | os.PathLike[str], *, moments: bool = False) -> Weights:
    """Reads both networks as numpy arrays.

    Args:
      path: a workdir (its newest checkpoint) or one checkpoint.
      moments: read the optimisers' moments, too, where there are any.

    Raises:
      CheckpointError: there is none, it is damaged, or it is not one of ours.
    """
    checkpoint = find(path)
    parts = ("params", "collections", *(("opt_state", "moments") if moments else ()))

    def choose(tree: PyTree) -> PyTree:
        return {
            **{k: {n: tree[k][n] for n in parts if n in tree[k]} for k in ("gen", "disc")},
            "ema_params": tree["ema_params"],
            "ema_collections": tree.get("ema_collections", {}),
        }

    state, meta = _read(checkpoint, choose)
    gen = variables_of(state["gen"])
    return Weights(
        gen=gen,
        disc=variables_of(state["disc"]),
        ema=average_of(state["gen"]["collections"], state["ema_params"], state["ema_collections"]),
        meta=meta,
        path=checkpoint,
        moments=_moments(state) if moments else None,
    )


def _read(
    checkpoint: pathlib.Path, choose: Callable[[PyTree], PyTree]
) -> tuple[PyTree, dict[str, Any]]:
    """Reads a part of a checkpoint's state as numpy arrays, and its meta.

    Args:
      checkpoint: the folder.
      choose: takes that part of the whole tree.

    Raises:
      CheckpointError: it can't be read, or is not as it was saved.
    """
    with reading(checkpoint):
        meta, leaves = seal.opened(storage.read_json(checkpoint, "meta"))
        tree = storage.read_structure(checkpoint)
        seal.check_structure(leaves, tree)
        item = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), choose(tree))
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
        state = storage.read_arrays(checkpoint, item, as_numpy, partial=True)
        if leaves is not None:
            seal.check_leaves(leaves, fingerprint.numpy_by_name(state))
    return state, meta


def experiment_of(weights: Weights) -> Experiment:
    """The experiment that weights were saved with.

    Raises:
      CheckpointError: this version of the code does not know its config.
    """
    try:
        return experiment.build(weights.meta["config"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{weights.path} has a config that this version ({__version__}) can't use ({error}); "
            f"it was saved by {weights.meta.get('code', 'an unknown one')}: use that"
        ) from error


def _moments(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Both optimisers' moments, of a checkpoint of training or of inflated weights."""
    found = {
        name: state[name].get("moments") or moments_of(state[name].get("opt_state", {}))
        for name in ("gen", "disc")
    }
    return found if all(found.values()) else None


def save_weights(
    directory: str | os.PathLike[str],
    *,
    gen: VariableDict,
    disc: VariableDict,
    ema: VariableDict,
    meta: Mapping[str, Any],
    moments: Mapping[str, Mapping[str, PyTree]] | None = None,
    step: int = 0,
) -> pathlib.Path:
    """Writes weights as a checkpoint of `directory`, from which a run can start but not go on.

    Args:
      directory: without checkpoints so far.
      gen: the generator's variables.
      disc: the discriminator's.
      ema: the averaged generator's.
      meta: as `make_meta` makes it.
      moments: of both optimisers, "gen" and "disc"; None for none.
      step: number of the checkpoint.

    Returns:
      The checkpoint's folder.

    Raises:
      CheckpointError: `directory` has checkpoints already, or can't be written.
    """

    def player(name: str, variables: VariableDict) -> dict[str, Any]:
        params, collections = split_variables(variables)
        more = {"moments": dict(moments[name])} if moments else {}
        return {"params": params, "collections": collections, **more}

    if has_checkpoint(directory):
        raise CheckpointError(f"{directory} has checkpoints already; choose another --out")
    ema_params, collections = split_variables(ema)
    state = {
        "gen": player("gen", gen),
        "disc": player("disc", disc),
        "ema_params": ema_params,
        "ema_collections": averaged_collections(collections),
    }
    return _write(files.absolute(directory) / FOLDER, step, state, meta)


def _write(target: pathlib.Path, step: int, state: PyTree, meta: Mapping[str, Any]) -> pathlib.Path:
    """Writes one checkpoint of a folder, whole or not at all.

    Raises:
      CheckpointError: it can't be written.
    """
    told = seal.sealed(meta, {}, state, fingerprint.numpy_by_name(state))
    try:
        options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
        # Nothing changes the arrays while they are written: orbax need not copy them all first.
        as_is = ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)
        handlers = (np.ndarray, as_is), (jax.Array, ocp.type_handlers.ArrayHandler())
        registry = ocp.type_handlers.create_type_handler_registry(*handlers)
        sparing = {"type_handler_registry": registry, "save_concurrent_gb": 1}
        with contextlib.closing(storage.open_manager(target, options, **sparing)) as manager:
            manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state),
                    loader=ocp.args.JsonSave({}),
                    meta=ocp.args.JsonSave(told),
                ),
            )
    except Exception as error:
        storage.clear(target)
        if (cause := storage.system_error(error)) is None:
            raise
        raise CheckpointError(f"could not write {target}: {storage.said(cause)}") from error
    return target / str(step)


def save_network(
    directory: str | os.PathLike[str], variables: VariableDict, meta: Mapping[str, Any]
) -> pathlib.Path:
    """Writes one network that nobody trains, such as VGG19.

    It goes to the folder `network` of `directory`: no GAN's checkpoint can be taken for it.

    Args:
      directory: without a network so far.
      variables: the network's.
      meta: whatever is to be known of it, as JSON takes it.

    Returns:
      The folder that it is in.

    Raises:
      CheckpointError: `directory` has a network already, or can't be written.
    """
    target = files.absolute(directory) / _NETWORK_FOLDER
    if storage.steps(target):
        raise CheckpointError(f"{directory} has a network already; choose another --out")
    return _write(target, 0, {"variables": variables}, meta)


def load_network(path: str | os.PathLike[str]) -> VariableDict:
    """Reads what `save_network` wrote, as numpy arrays.

    Args:
      path: the `directory` that was given there, or the folder that it told.

    Raises:
      CheckpointError: there is none, or it is damaged.
    """
    given = files.absolute(path)
    target = given.parent if given.parent.name == _NETWORK_FOLDER else given / _NETWORK_FOLDER
    if not (steps := storage.steps(target)):
        what = "has no network in it" if given.exists() else "does not exist"
        raise CheckpointError(f"{path} {what}; python -m vidgan_jax.convert writes them")
    state, _ = _read(target / str(max(steps)), lambda tree: tree)
    variables: VariableDict = state["variables"]
    return variables
