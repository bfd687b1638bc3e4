"""Files of records, read one record at a time from several threads: TFRecord here.

`array_records.ArrayRecordFiles` does the same for ArrayRecord files.
"""

import collections
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from vidgan_jax import files
from vidgan_jax.data import tfexample
from vidgan_jax.data.tfexample import DatasetError, RecordError

_MAX_OPEN_FILES = 128

File = TypeVar("File")


class RecordFiles(Protocol):
    """Reads records of one kind of file. Safe between threads; pickled without open files.

    An offset is what finds a record in its file: a byte, or the record's number.
    """

    def scan(self, path: Path) -> Iterator[tuple[int, bytes | memoryview]]:
        """Reads a whole file, checking it; (offset, payload) of every record.

        Raises:
          RecordError: at the first record that is truncated or corrupted; an empty file.
        """
        ...

    def read(self, path: Path, offset: int, length: int, where: str) -> bytes | memoryview:
        """Reads and checks one record.

        Args:
          path: of the file.
          offset: of the record.
          length: of its payload, bytes.
          where: names the record in errors.

        Returns:
          The payload.

        Raises:
          RecordError: the record is corrupted, truncated or of another length.
          DatasetError: the file is gone.
        """
        ...

    def locate(self, name: str, number: int, offset: int) -> str:
        """How errors name a record."""
        ...

    def close(self) -> None:
        """Closes the files that are open; reading opens them again."""
        ...


class TFRecordFiles:
    """Reads TFRecord files: `RecordFiles`; every read checks both CRCs."""

    def __init__(self) -> None:
        self._open = OpenFiles(_open)

    def scan(self, path: Path) -> Iterator[tuple[int, bytes | memoryview]]:
        """See `RecordFiles`."""
        with path.open("rb") as file:
            yield from tfexample.scan(file, files.size(path), path.name)

    def read(self, path: Path, offset: int, length: int, where: str) -> bytes | memoryview:
        """See `RecordFiles`."""
        num_bytes = length + tfexample.FRAMING_BYTES
        data = self._open.get(path).read(offset, num_bytes)
        if len(data) < num_bytes:
            raise RecordError(f"{where}: truncated, the file ends within the record")
        return tfexample.unframe(data, where)

    def locate(self, name: str, number: int, offset: int) -> str:
        """See `RecordFiles`."""
        return tfexample.locate(name, number, offset)

    def close(self) -> None:
        """See `RecordFiles`."""
        self._open.clear()


class OpenFiles(Generic[File]):
    """Open files by path, at most so many; safe between threads; pickled empty.

    Args:
      open_file: opens one; what it returns closes itself with its last user, be that a thread that
        is still reading.
    """

    def __init__(self, open_file: Callable[[Path], File]) -> None:
        self._open_file = open_file
        self._lock = threading.Lock()
        self._files: collections.OrderedDict[Path, File] = collections.OrderedDict()

    def get(self, path: Path) -> File:
        """The open file."""
        with self._lock:
            file = self._files.get(path)
            if file is None:
                file = self._files[path] = self._open_file(path)
            self._files.move_to_end(path)
            if len(self._files) > _MAX_OPEN_FILES:
                self._files.popitem(last=False)
        return file

    def clear(self) -> None:
        """Lets go of all."""
        with self._lock:
            self._files.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return (OpenFiles, (self._open_file,))


def _open(path: Path) -> "_Descriptor | _Object":
    return _Object(path) if files.is_remote(path) else _Descriptor(path)


def _gone(path: Path) -> str:
    return f"{path}: the shard is gone; restore it or prepare again"


class _Object:
    """An object in a bucket: nothing is open, each read is a request of its own."""

    def __init__(self, path: Path):
        self._path = path

    def read(self, offset: int, num_bytes: int) -> bytes:
        """Fewer bytes where the object ends."""
        try:
            return files.read_range(self._path, offset, num_bytes)
        except FileNotFoundError as error:
            raise DatasetError(_gone(self._path)) from error


class _Descriptor:
    """A descriptor that is closed with this object."""

    def __init__(self, path: Path):
        try:
            self._number = os.open(path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise DatasetError(_gone(path)) from error

    def read(self, offset: int, num_bytes: int) -> bytes:
        """Fewer bytes where the file ends."""
        return tfexample.pread(self._number, num_bytes, offset)

    # Bound here: when Python ends, the module's names may be gone before this object.
    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "_number"):
            close(self._number)
