"""Checkpoints as files: Orbax set up for them, and what the storage says when it fails."""

import contextlib
import errno
import json
import logging
import pathlib
import shutil
import sys
import time
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from vidgan_jax.types import PyTree

# What the system says of a file that is not as it was written. Anything else (no permission, too
# many open files, a server that is away) is no fault of the checkpoint's.
_DAMAGE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.EINVAL, None}
_TEMPORARY = ".orbax-checkpoint-tmp"
_ASIDE = ".damaged"
_CLEAR_S = 5.0


def open_manager(
    directory: pathlib.Path, options: ocp.CheckpointManagerOptions | None = None, **handling: Any
) -> ocp.CheckpointManager:
    """Orbax's manager of a folder of checkpoints, each of the items state, loader and meta.

    Args:
      directory: made where it is missing.
      options: of Orbax.
      **handling: more settings of Orbax's handler of the state.
    """
    quieten()
    handlers = {
        # Trained weights hardly compress, and compression takes longer than writing.
        "state": ocp.PyTreeCheckpointHandler(use_compression=False, **handling),
        "loader": ocp.JsonCheckpointHandler(),
        "meta": ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(directory, item_handlers=handlers, options=options)


def quieten() -> None:
    """Orbax tells its inner life at each save; what goes wrong there it raises as well."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def read_json(checkpoint: pathlib.Path, item: str) -> dict[str, Any]:
    """The item `loader` or `meta` of a checkpoint."""
    with contextlib.closing(ocp.JsonCheckpointHandler()) as handler:
        try:
            value = handler.restore(epath.Path(checkpoint / item))
        except json.JSONDecodeError as error:
            raise ValueError(f"{item} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{item} is not a JSON object")
    return value


def read_structure(checkpoint: pathlib.Path) -> PyTree:
    """The tree of a checkpoint's state, nested dicts and lists, with shapes and dtypes."""
    quieten()
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
        return handler.metadata(epath.Path(checkpoint / "state")).tree


def read_arrays(
    checkpoint: pathlib.Path, item: PyTree, restore_args: PyTree, *, partial: bool = False
) -> PyTree:
    """The arrays of a checkpoint's state. No process waits for another here.

    Args:
      checkpoint: the folder.
      item: `jax.ShapeDtypeStruct`s of what is to be read.
      restore_args: of Orbax, the same tree.
      partial: whether the state may hold more than `item`.
    """
    quieten()
    args = ocp.args.PyTreeRestore(item=item, restore_args=restore_args, partial_restore=partial)
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
        return handler.restore(epath.Path(checkpoint / "state"), args=args)


def steps(directory: pathlib.Path) -> list[int]:
    """The finished checkpoints of a folder, whole or damaged since, in order.

    Unfinished ones have another name, or in buckets no mark.
    """
    if not directory.is_dir():
        return []
    return sorted(
        int(path.name)
        for path in directory.iterdir()
        if path.name.isdigit() and ocp.utils.is_checkpoint_finalized(str(path))
    )


def set_aside(checkpoint: pathlib.Path) -> pathlib.Path:
    """Renames a checkpoint so that nobody takes it for one, and tells its new path.

    Raises:
      OSError: it can't be renamed.
    """
    names = (f"{checkpoint.name}{_ASIDE}{n}" for n in ("", *(f"-{k}" for k in range(2, 1000))))
    free = next(p for p in map(checkpoint.with_name, names) if not p.exists())
    checkpoint.rename(free)
    return free


def are_aside(directory: pathlib.Path) -> list[str]:
    """Names of checkpoints that were set aside in a folder."""
    if not directory.is_dir():
        return []
    return sorted(path.name for path in directory.iterdir() if _ASIDE in path.name)


def clear(directory: pathlib.Path) -> None:
    """Removes what saves that failed have left half-written, while nothing is being saved.

    Writers of such a save that don't know yet of the failure may put files there meanwhile. What
    can't be removed after a while stays for the next run to clear.
    """
    deadline = time.monotonic() + _CLEAR_S
    while time.monotonic() < deadline:
        if not (left := list(directory.glob(f"*{_TEMPORARY}*"))):
            return
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.1)


def system_error(error: BaseException | None) -> BaseException | None:
    """What the operating system or the storage layer said, somewhere in a chain of errors."""
    while error is not None:
        text = str(error)
        if isinstance(error, OSError) or "RESOURCE_EXHAUSTED" in text or "No space left" in text:
            return error
        error = error.__cause__ or error.__context__
    return None


def is_full(error: BaseException) -> bool:
    """Whether it says that the disk is full."""
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)


def said(error: BaseException) -> str:
    """The first line of an error, without tensorstore's own settings."""
    lines = str(error).split(" [tensorstore_spec")[0].splitlines()
    return "no space left on the device" if is_full(error) else (lines or [repr(error)])[0]


def first_cause(error: BaseException) -> BaseException:
    """What an error was raised from, in the end."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def is_damage(error: BaseException) -> bool:
    """Whether an error of reading tells of files that are not as they were written."""
    number = error.errno if isinstance(error, OSError) else None
    return number in _DAMAGE and "PERMISSION_DENIED" not in str(error)


def tell(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr, flush=True)
