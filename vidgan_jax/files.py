"""Files that are whole or not there: write under a temporary name, then rename."""

import contextlib
import json
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

# Processes on two machines that write to one shared folder may have the same number.
_PROCESS = secrets.token_hex(4)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary name beside `path`, which becomes `path` when the block ends well.

    The temporary file keeps `path`'s suffix, since encoders choose their format by it. Whatever
    ends the block early, an interrupt included, removes the temporary file.

    Raises:
      OSError: of the block's own writing, or of the rename.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp-{os.getpid()}-{_PROCESS}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # The system tells of a full disk without a name; what has no number is not its own.
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` to `path` as indented JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())
