"""Checkpoints by orbax: the state, the loader's position, the config and the code version as one.

A checkpoint is the folder `WORKDIR/checkpoints/STEP` with the items `state` (a `GanState`; inflated
weights lack the optimisers' part), `loader` and `meta` (JSON). A save that was cut short leaves a
folder that is not listed; the next run clears it.
"""

import contextlib
import dataclasses
import errno
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax.typing import VariableDict

from vidgan_jax import experiment
from vidgan_jax.experiment import Experiment
from vidgan_jax.train.state import (
    GanState,
    average_of,
    averaged_collections,
    moments_of,
    split_variables,
)
from vidgan_jax.types import PyTree
from vidgan_jax.version import __version__

FOLDER = "checkpoints"
_NETWORK_FOLDER = "network"
_FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that is not there, not of these networks, or can't be read or written."""


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
    path: Path
    moments: Mapping[str, Mapping[str, PyTree]] | None = None

    @property
    def step(self) -> int:
        """The step that the weights are of."""
        return int(self.path.name)


def code_version() -> str:
    """The package's version, with the git commit where it runs from its own checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # installed, maybe inside somebody else's repository
        return __version__
    git = ("git", "-C", str(root), "describe", "--always", "--dirty")
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return __version__  # no git here: the version must do
    return f"{__version__}+{commit.strip()}"


def make_meta(config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The `meta` item: config, code version and whatever else is told, as JSON takes it."""
    meta = {"format": _FORMAT, "code": code_version(), "config": config, **more}
    return json.loads(json.dumps(meta))


class Checkpoints:
    """The checkpoints of one workdir. A context manager: leaving it waits for the last save."""

    def __init__(self, workdir: str | os.PathLike[str], *, keep: int | None = None) -> None:
        self.directory = Path(workdir).absolute() / FOLDER
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        self._manager = _manager(self.directory, options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        except CheckpointError:
            if kind is None:  # else the error on its way out comes first
                raise
        finally:
            self._manager.close()

    def latest_step(self) -> int | None:
        """The newest whole checkpoint's step, None without any."""
        return self._manager.latest_step()

    def save(
        self, step: int, state: GanState, loader: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> None:
        """Starts saving in the background; the state may be donated as soon as this returns.

        Raises:
          CheckpointError: this save, or the one before it, could not be written.
        """
        self._guard(
            lambda: self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state),
                    loader=ocp.args.JsonSave(dict(loader)),
                    meta=ocp.args.JsonSave(dict(meta)),
                ),
            )
        )

    def wait(self) -> None:
        """Until everything saved is on disk.

        Raises:
          CheckpointError: it could not be written.
        """
        self._guard(self._manager.wait_until_finished)

    def restore(self, step: int, like: PyTree) -> tuple[GanState, dict[str, Any], dict[str, Any]]:
        """Reads a checkpoint.

        Args:
          step: one that exists.
          like: the state as `jax.ShapeDtypeStruct`s with shardings.

        Returns:
          `(state, loader's state, meta)`.

        Raises:
          CheckpointError: it holds other networks or other optimisers' state, or is damaged.
        """
        with _reading(self.directory / str(step)) as where:
            found = self._manager.item_metadata(step)["state"].tree
            check_same_networks(
                {k: _variables(found[k]) for k in ("gen", "disc")},
                {"gen": like.gen.variables, "disc": like.disc.variables},
                where=str(where),
            )
            _check_same_optimizers(found, like, where)
            parts = {f.name: getattr(like, f.name) for f in dataclasses.fields(like)}
            # Older checkpoints lack a collection of the average's, or all.
            own = parts.pop("ema_collections")
            if "ema_collections" in found:
                had = found["ema_collections"]
                parts["ema_collections"] = {name: own[name] for name in own if name in had}
            restore_args = ocp.checkpoint_utils.construct_restore_args(parts)
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeRestore(item=parts, restore_args=restore_args),
                    loader=ocp.args.JsonRestore(),
                    meta=ocp.args.JsonRestore(),
                ),
            )
        state = GanState(**{"ema_collections": {}, **restored["state"]})
        ema_collections = averaged_collections(split_variables(state.ema_variables)[1])
        # Copies: what the checkpoint lacks is the generator's, and can't be donated twice.
        state = state.replace(ema_collections=jax.tree.map(jnp.copy, ema_collections))
        return state, restored["loader"], restored["meta"]

    def _guard(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except Exception as error:
            if (cause := _os_error(error)) is None:
                raise
            # Off the disk: the manager counts the save that failed.
            whole = _steps(self.directory)
            kept = f"the checkpoint of step {max(whole)} is whole" if whole else "none is whole"
            hint = "; free space and run the same command again" if _is_full(cause) else ""
            raise CheckpointError(
                f"could not write a checkpoint in {self.directory}: {_said(cause)}; {kept}{hint}"
            ) from error


def _manager(
    directory: Path, options: ocp.CheckpointManagerOptions | None = None, **handling: Any
) -> ocp.CheckpointManager:
    # orbax tells its inner life at each save; what goes wrong there it raises as well.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    handlers = {
        # Trained weights hardly compress, and compression takes longer than writing.
        "state": ocp.PyTreeCheckpointHandler(use_compression=False, **handling),
        "loader": ocp.JsonCheckpointHandler(),
        "meta": ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(directory, item_handlers=handlers, options=options)


def _os_error(error: BaseException | None) -> BaseException | None:
    """What the operating system or the storage layer said, somewhere in a chain of errors."""
    while error is not None:
        text = str(error)
        if isinstance(error, OSError) or "RESOURCE_EXHAUSTED" in text or "No space left" in text:
            return error
        error = error.__cause__ or error.__context__
    return None


def _is_full(error: BaseException) -> bool:
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)


def _said(error: BaseException) -> str:
    """The first line of an error, without tensorstore's own settings."""
    lines = str(error).split(" [tensorstore_spec")[0].splitlines()
    return "no space left on the device" if _is_full(error) else (lines or [repr(error)])[0]


@contextlib.contextmanager
def _reading(checkpoint: Path) -> Iterator[Path]:
    """Tells whatever orbax says of a damaged checkpoint as a `CheckpointError`."""
    try:
        yield checkpoint
    except CheckpointError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(
            f"{checkpoint} can't be read ({_said(error)}): it is damaged, or not of vidgan_jax; "
            "without that folder, the checkpoint before it is used"
        ) from error


def _check_same_optimizers(found: PyTree, wanted: GanState, where: Path) -> None:
    for name, player in (("gen", wanted.gen), ("disc", wanted.disc)):
        if "opt_state" not in found[name]:
            raise CheckpointError(
                f"{where} holds weights without optimisers, which can't be gone on from: give it "
                "as config.init.path, and another --workdir"
            )
        if _shapes(found[name]["opt_state"]) != _shapes(player.opt_state):
            raise CheckpointError(
                f"{where} was trained with another config.{name}_optimizer.name; set it as it was, "
                "or give another --workdir"
            )


def check_same_networks(found: PyTree, wanted: PyTree, *, where: str) -> None:
    """Compares variables by path and shape.

    Raises:
      CheckpointError: names the first few leaves that differ.
    """
    have, want = _shapes(found), _shapes(wanted)
    if have == want:
        return
    lines = [
        f"{path}: {have.get(path, 'missing')} in the checkpoint, {want.get(path, 'missing')} wanted"
        for path in sorted(have.keys() | want.keys())
        if have.get(path) != want.get(path)
    ]
    more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
    raise CheckpointError(
        f"{where} holds other networks than the config describes: {'; '.join(lines[:3])}{more}. "
        "Use the config that it was trained with, or another --workdir"
    )


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    """Shapes by path; tuples and dicts, which orbax takes for one another, look the same."""

    def name(key: Any) -> str:
        return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(map(name, path)): tuple(leaf.shape) for path, leaf in leaves}


def has_checkpoint(workdir: str | os.PathLike[str]) -> bool:
    """Whether a whole checkpoint lies in a workdir."""
    return bool(_steps(Path(workdir) / FOLDER))


def find(path: str | os.PathLike[str]) -> Path:
    """The newest checkpoint that a path means: a workdir, its `checkpoints`, or one checkpoint.

    Raises:
      CheckpointError: there is none.
    """
    given = Path(path).absolute()
    if given.name.isdigit() and (given / "meta").is_dir():
        return given
    for directory in (given / FOLDER, given):
        if steps := _steps(directory):
            return directory / str(max(steps))
    what = "has no checkpoint in it" if given.exists() else "does not exist"
    raise CheckpointError(f"{path} {what}; give a workdir that was trained, or an inflated one")


def _steps(directory: Path) -> list[int]:
    """The whole checkpoints of a folder; orbax gives unfinished ones another name."""
    if not directory.is_dir():
        return []
    steps = (p for p in directory.iterdir() if p.name.isdigit() and (p / "state").is_dir())
    return [int(p.name) for p in steps]


def load_weights(path: str | os.PathLike[str], *, moments: bool = False) -> Weights:
    """Reads both networks as numpy arrays.

    Args:
      path: a workdir (its newest checkpoint) or one checkpoint.
      moments: read the optimisers' moments, too, where there are any.

    Raises:
      CheckpointError: there is none, it is damaged, or it is not one of ours.
    """
    checkpoint = find(path)
    step = int(checkpoint.name)
    with _reading(checkpoint), contextlib.closing(_manager(checkpoint.parent)) as manager:
        tree = manager.item_metadata(step)["state"].tree
        parts = ("params", "collections", *(("opt_state", "moments") if moments else ()))
        wanted = {
            **{k: {n: tree[k][n] for n in parts if n in tree[k]} for k in ("gen", "disc")},
            "ema_params": tree["ema_params"],
            "ema_collections": tree.get("ema_collections", {}),
        }
        item = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), wanted)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
        of_state = ocp.args.PyTreeRestore(item=item, restore_args=as_numpy, partial_restore=True)
        items = ocp.args.Composite(state=of_state, meta=ocp.args.JsonRestore())
        restored = manager.restore(step, args=items)
    state = restored["state"]
    gen = _variables(state["gen"])
    return Weights(
        gen=gen,
        disc=_variables(state["disc"]),
        ema=average_of(state["gen"]["collections"], state["ema_params"], state["ema_collections"]),
        meta=restored["meta"],
        path=checkpoint,
        moments=_moments(state) if moments else None,
    )


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


def _variables(player: Mapping[str, Any]) -> VariableDict:
    return {"params": player["params"], **player["collections"]}


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
) -> Path:
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
    return _write(Path(directory).absolute() / FOLDER, step, state, meta)


def _write(target: Path, step: int, state: PyTree, meta: Mapping[str, Any]) -> Path:
    """Writes one checkpoint of a folder, whole or not at all.

    Raises:
      CheckpointError: it can't be written.
    """
    try:
        options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
        # Nothing changes the arrays while they are written: orbax need not copy them all first.
        as_is = ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)
        handlers = (np.ndarray, as_is), (jax.Array, ocp.type_handlers.ArrayHandler())
        registry = ocp.type_handlers.create_type_handler_registry(*handlers)
        sparing = {"type_handler_registry": registry, "save_concurrent_gb": 1}
        with contextlib.closing(_manager(target, options, **sparing)) as manager:
            manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state),
                    loader=ocp.args.JsonSave({}),
                    meta=ocp.args.JsonSave(dict(meta)),
                ),
            )
    except Exception as error:
        for cut_short in target.glob(f"{step}.*"):
            shutil.rmtree(cut_short, ignore_errors=True)
        if (cause := _os_error(error)) is None:
            raise
        raise CheckpointError(f"could not write {target}: {_said(cause)}") from error
    return target / str(step)


def save_network(
    directory: str | os.PathLike[str], variables: VariableDict, meta: Mapping[str, Any]
) -> Path:
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
    target = Path(directory).absolute() / _NETWORK_FOLDER
    if _steps(target):
        raise CheckpointError(f"{directory} has a network already; choose another --out")
    return _write(target, 0, {"variables": variables}, meta)


def load_network(path: str | os.PathLike[str]) -> VariableDict:
    """Reads what `save_network` wrote, as numpy arrays.

    Args:
      path: the `directory` that was given there, or the folder that it told.

    Raises:
      CheckpointError: there is none, or it is damaged.
    """
    given = Path(path).absolute()
    target = given.parent if given.parent.name == _NETWORK_FOLDER else given / _NETWORK_FOLDER
    if not (steps := _steps(target)):
        what = "has no network in it" if given.exists() else "does not exist"
        raise CheckpointError(f"{path} {what}; python -m vidgan_jax.convert writes them")
    step = max(steps)
    with _reading(target / str(step)), contextlib.closing(_manager(target)) as manager:
        tree = manager.item_metadata(step)["state"].tree
        item = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
        of_state = ocp.args.PyTreeRestore(item=item, restore_args=as_numpy)
        found = manager.restore(step, args=ocp.args.Composite(state=of_state))["state"]
        variables: VariableDict = found["variables"]
    return variables
