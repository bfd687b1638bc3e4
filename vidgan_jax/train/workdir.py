"""A run's folder: one run at a time in it, and what a resumed run does otherwise than before."""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from flax import traverse_util

from vidgan_jax import files
from vidgan_jax.train import lease


@contextlib.contextmanager
def alone(workdir: Path) -> Iterator[None]:
    """Keeps a second run out of a workdir; the system lets go of it when the process ends.

    In a bucket, where no system does: see `vidgan_jax.train.lease`.

    Raises:
      ValueError: another run is in there.
    """
    if jax.process_index() != 0:
        yield
        return
    if files.is_remote(workdir):
        with lease.held(workdir):
            yield
        return
    folder = os.open(workdir, os.O_RDONLY)  # the folder itself is the lock: no file to leave
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another run is training in {workdir}; wait for it, or give another --workdir"
            ) from error
        yield
    finally:
        os.close(folder)


def tell_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Says on stderr which fields a resumed run has other than its checkpoint.

    Args:
      before: the checkpoint's config, nested.
      now: the run's, as JSON gives it back.
    """
    old, new = (traverse_util.flatten_dict(dict(c), sep=".") for c in (before, now))
    # Fields that are younger than the checkpoint meant for it what their defaults mean.
    changed = [f"{k} {old[k]!r} → {new[k]!r}" for k in new if k in old and old[k] != new[k]]
    if changed and jax.process_index() == 0:
        print(f"resumed with changed fields: {'; '.join(changed)}", file=sys.stderr)
