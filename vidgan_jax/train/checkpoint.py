"""Checkpoints by Orbax: the state, the loader's position, the config and the code version as one.

A checkpoint is the folder `WORKDIR/checkpoints/STEP` with the items `state` (a `GanState`; inflated
weights lack the optimisers' part), `loader` and `meta` (JSON, with a seal). A save that was cut
short leaves a folder that is not listed; the next run clears it. A checkpoint that is found damaged
is kept as `STEP.damaged`, out of the way.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from flax.typing import VariableDict

from vidgan_jax import files
from vidgan_jax.train import agreement, fingerprint, seal, storage
from vidgan_jax.train.state import GanState, averaged_collections, split_variables
from vidgan_jax.types import PyTree
from vidgan_jax.version import code_version

FOLDER = "checkpoints"
_FORMAT = 1
_WHOLE, _DAMAGED, _REFUSED = range(3)


class CheckpointError(ValueError):
    """A checkpoint that is not there, not of these networks, or can't be read or written."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint with files that are missing, cut short, or not as they were written."""


class Restored(NamedTuple):
    """A checkpoint, read.

    Attributes:
      step: its number.
      state: on the devices.
      loader: the loader's state.
      meta: as `make_meta` made it.
    """

    step: int
    state: GanState
    loader: dict[str, Any]
    meta: dict[str, Any]


def make_meta(config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The `meta` item: config, code version and whatever else is told, as JSON takes it."""
    meta = {"format": _FORMAT, "code": code_version(), "config": config, **more}
    return json.loads(json.dumps(meta))


class Checkpoints:
    """The checkpoints of one workdir. A context manager: leaving it waits for the last save.

    Of several processes all call each method, in the same order.

    Attributes:
      directory: that the checkpoints are in.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        *,
        keep: int | None = None,
        failed_saves: str = "stop",
    ) -> None:
        """Opens a workdir's checkpoints, and makes the folder for them.

        Args:
          workdir: on a disk or in a bucket.
          keep: newest ones to keep; None for all. An old one goes once a new one is whole.
          failed_saves: that the storage refuses: "stop" raises, "go_on" warns on stderr.
        """
        self.directory = files.absolute(workdir) / FOLDER
        self._goes_on = failed_saves == "go_on"
        self._keep = keep
        self._writing: tuple[int, bool] | None = None  # step, and whether it must succeed
        self._manager = self._open(clear=True)

    def _open(self, *, clear: bool) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self._keep,
            cleanup_tmp_directories=clear,
            # What one machine has renamed, another one's view of the folder may not show yet.
            single_host_load_and_broadcast=jax.process_count() > 1,
        )
        return storage.open_manager(self.directory, options)

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
        """The newest checkpoint's step, one being written included; None without any."""
        return self._manager.latest_step()

    def save(
        self,
        step: int,
        state: GanState,
        loader: Mapping[str, Any],
        meta: Mapping[str, Any],
        *,
        must: bool = False,
    ) -> None:
        """Starts saving in the background; the state may be donated as soon as this returns.

        A step that is saved already stays as it is.

        Args:
          step: number of the checkpoint.
          state: of the run, global arrays.
          loader: the loader's state, as JSON takes it.
          meta: as `make_meta` makes it.
          must: whether failing raises whatever `failed_saves` is, here or when waiting for it.

        Raises:
          CheckpointError: this save, or the one before it, could not be written. Of several
            processes, what fails before the background is reached raises in any case.
        """
        if must or self._writing is None or self._writing[0] != step:
            self.wait()
        if self.latest_step() == step:
            return
        loader = json.loads(json.dumps(loader))
        prints = fingerprint.by_name(state)
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state),
            loader=ocp.args.JsonSave(loader),
            meta=ocp.args.JsonSave(seal.sealed(meta, loader, state, prints)),
        )
        self._writing = step, must
        try:
            self._manager.save(step, args=items)
        except Exception as error:
            self._writing = None
            self._failed(step, error, must=must or jax.process_count() > 1)

    def wait(self, *, must: bool = False) -> None:
        """Until everything saved is on disk.

        Args:
          must: whether a save that failed raises whatever `failed_saves` is.

        Raises:
          CheckpointError: it could not be written.
        """
        if self._writing is None:
            return
        (step, needed), self._writing = self._writing, None
        error: Exception | None = None
        try:
            self._manager.wait_until_finished()
        except Exception as raised:
            error = raised
        if agreement.worst(int(error is not None)):
            error = error or OSError("another process could not write its part")
            self._failed(step, error, must=must or needed)

    def _failed(self, step: int, error: Exception, *, must: bool) -> None:
        """Raises, or warns and makes ready for the next save."""
        if (cause := storage.system_error(error)) is None:
            raise error
        # Not by the manager: it takes a writer that is still at it for an error of its own.
        if jax.process_index() == 0:
            storage.clear(self.directory)
        whole = [number for number in storage.steps(self.directory) if number != step]
        kept = f"the checkpoint of step {max(whole)} is whole" if whole else "none is whole"
        said = f"could not write a checkpoint in {self.directory}: {storage.said(cause)}; {kept}"
        if must or not self._goes_on:
            hint = "; free space and run the same command again" if storage.is_full(cause) else ""
            raise CheckpointError(said + hint) from error
        if jax.process_index() == 0:
            storage.tell(f"step {step}: {said}; training goes on, and the next save is tried")
        # The manager has the failed step in its books, and not the old ones that it meant to remove
        # for it; a new one reads the folder.
        with contextlib.suppress(Exception):  # the same error once more
            self._manager.close()
        self._manager = self._open(clear=False)

    def restore_newest(self, like: GanState) -> Restored | None:
        """Reads the newest whole checkpoint.

        Damaged ones newer than it are told of on stderr, and renamed; nothing is deleted.

        Args:
          like: the state as `jax.ShapeDtypeStruct`s with shardings, on whatever devices.

        Returns:
          None where there is no checkpoint.

        Raises:
          CheckpointError: the newest one that is not damaged holds other networks or other
            optimisers' state, or may not be read.
          DamagedCheckpointError: none is whole.
        """
        damaged: dict[int, str] = {}
        for step in reversed(agreement.of_first(storage.steps(self.directory))):
            found = self._restore(step, like)
            if isinstance(found, Restored):
                self._set_aside(damaged, step)
                return found
            damaged[step] = found
        aside = agreement.of_first([len(storage.are_aside(self.directory))])[0]
        if not damaged and not aside:
            return None
        reasons = "; ".join(f"{step}: {why}" for step, why in damaged.items())
        raise DamagedCheckpointError(
            f"no checkpoint in {self.directory} is whole ({reasons or 'all are set aside'}); put a "
            "copy of one there, or give another --workdir to start anew"
        )

    def _restore(self, step: int, like: GanState) -> Restored | str:
        """One checkpoint, or why it counts as damaged; the same kind on all processes."""
        where = self.directory / str(step)
        found: tuple[GanState, dict[str, Any], dict[str, Any], Any] | None = None
        error: CheckpointError | None = None
        try:
            with reading(where):
                found = _read(where, like)
        except CheckpointError as raised:
            error = raised
        own = _WHOLE if error is None else _REFUSED
        worst = agreement.worst(_DAMAGED if isinstance(error, DamagedCheckpointError) else own)
        if worst == _REFUSED:
            raise error or CheckpointError(f"another process refuses {where}")
        if worst == _DAMAGED or found is None:
            return _reason(error) if error else "another process can't read it"
        state, loader, meta, leaves = found
        try:
            if leaves is not None:
                seal.check_leaves(leaves, fingerprint.by_name(state))
        except seal.BrokenSealError as broken:
            return str(broken)
        ema_collections = averaged_collections(split_variables(state.ema_variables)[1])
        # Copies: what the checkpoint lacks is the generator's, and can't be donated twice.
        state = state.replace(ema_collections=jax.tree.map(jnp.copy, ema_collections))
        return Restored(step, state, loader, meta)

    def _set_aside(self, damaged: Mapping[int, str], whole: int) -> None:
        if not damaged:
            return
        error: OSError | None = None
        if jax.process_index() == 0:
            try:
                for step, why in damaged.items():
                    kept = storage.set_aside(self.directory / str(step))
                    storage.tell(
                        f"{self.directory / str(step)} is damaged ({why}) and is now {kept.name}; "
                        f"going on from step {whole}"
                    )
            except OSError as raised:
                error = raised
        if agreement.worst(int(error is not None)):
            raise CheckpointError(
                f"damaged checkpoints in {self.directory} can't be renamed ({error}); move "
                f"{', '.join(map(str, damaged))} away"
            )
        self._manager.reload()


def _read(
    where: pathlib.Path, like: GanState
) -> tuple[GanState, dict[str, Any], dict[str, Any], Any]:
    """`(state, loader, meta, leaves)` of a checkpoint, its arrays not yet compared."""
    loader = storage.read_json(where, "loader")
    meta, leaves = seal.opened(storage.read_json(where, "meta"), loader)
    found = storage.read_structure(where)
    seal.check_structure(leaves, found)
    check_same_networks(
        {k: variables_of(found[k]) for k in ("gen", "disc")},
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
    arrays = storage.read_arrays(where, parts, restore_args)
    return GanState(**{"ema_collections": {}, **arrays}), loader, meta, leaves


def _reason(error: BaseException) -> str:
    """What was wrong, without the advice around it."""
    return storage.said(storage.first_cause(error))


@contextlib.contextmanager
def reading(checkpoint: pathlib.Path) -> Iterator[None]:
    """Tells whatever is said of a checkpoint that can't be read as a `CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    # At bytes that make no sense, Orbax and the decoders below it raise whatever they happen to.
    except Exception as error:
        cause = storage.first_cause(error)
        if isinstance(cause, MemoryError | jax.errors.JaxRuntimeError):
            raise cause from error
        said = storage.said(cause)
        if not storage.is_damage(cause):
            raise CheckpointError(f"{checkpoint} can't be read ({said})") from error
        raise DamagedCheckpointError(
            f"{checkpoint} can't be read ({said}): it is damaged, or not of vidgan_jax; without "
            "that folder, the checkpoint before it is used"
        ) from error


def _check_same_optimizers(found: PyTree, wanted: GanState, where: pathlib.Path) -> None:
    for name, player in (("gen", wanted.gen), ("disc", wanted.disc)):
        if "opt_state" not in found[name]:
            raise CheckpointError(
                f"{where} holds weights without optimisers, which can't be gone on from: give it "
                "as config.init.path, and another --workdir"
            )
        if seal.shapes(found[name]["opt_state"]) != seal.shapes(player.opt_state):
            raise CheckpointError(
                f"{where} was trained with another config.{name}_optimizer.name; set it as it was, "
                "or give another --workdir"
            )


def check_same_networks(found: PyTree, wanted: PyTree, *, where: str) -> None:
    """Compares variables by path and shape.

    Raises:
      CheckpointError: names the first few leaves that differ.
    """
    have, want = seal.shapes(found), seal.shapes(wanted)
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


def has_checkpoint(workdir: str | os.PathLike[str]) -> bool:
    """Whether a checkpoint lies in a workdir."""
    return bool(storage.steps(files.path(workdir) / FOLDER))


def find(path: str | os.PathLike[str]) -> pathlib.Path:
    """The newest checkpoint that a path means: a workdir, its `checkpoints`, or one checkpoint.

    Raises:
      CheckpointError: there is none.
    """
    given = files.absolute(path)
    if given.name.isdigit() and (given / "meta").is_dir():
        return given
    for directory in (given / FOLDER, given):
        if steps := storage.steps(directory):
            return directory / str(max(steps))
    what = "has no checkpoint in it" if given.exists() else "does not exist"
    raise CheckpointError(f"{path} {what}; give a workdir that was trained, or an inflated one")


def variables_of(player: Mapping[str, Any]) -> VariableDict:
    """A player's variables, of a state as Orbax reads it."""
    return {"params": player["params"], **player["collections"]}
