"""Images out of an LMDB, the file in which LSUN comes: keys to encoded images.

The file is read as a file, not by the library of that name: a database is mapped into memory there,
and one that was cut short, or is damaged, ends the process by a signal. Here every page is checked,
and damage is an error that names the file; a damaged value costs one image. Nothing is written, no
lock is taken.

**Format.** Pages of one size, two of which, the first, are meta pages; the younger valid one gives
the root of a B-tree. Nodes of branch pages point to pages, those of leaf pages hold a key and a
value, or the number of the first of several overflow pages that hold it. Numbers are
little-endian, as on all machines that LSUN was written on.

Source: libraries/liblmdb/mdb.c of OpenLDAP's LMDB 0.9 (MDB_page, MDB_node, MDB_meta, MDB_db).
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

FILE_NAME = "data.mdb"

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, end of pointers, start of nodes
_META = struct.Struct("<IIQQ")  # magic, version, address, size of the map
# Of a database: page size, flags, depth, branch, leaf and overflow pages, entries, root.
_DATABASE = struct.Struct("<IHHQQQQQ")
_END = struct.Struct("<QQ")  # last page, transaction
_NODE = struct.Struct("<HHHH")  # size or page number (low, middle), flags, size of the key
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_IN_OVERFLOW, _IN_LEAF = 1, 0
_META_BYTES = _PAGE.size + _META.size + 2 * _DATABASE.size + _END.size
_NO_PAGE = 2**64 - 1
_PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))


class LmdbError(ValueError):
    """A database, or a value in it, can't be read; the text names the file and what is wrong."""


class Value(NamedTuple):
    """Where a value lies.

    Attributes:
      name: its key as text; of bytes that are no printable UTF-8, in hexadecimal.
      offset: of its first byte in the file.
      num_bytes: its length.
      page: number of its overflow page, which is checked when it is read; None within a leaf.
    """

    name: str
    offset: int
    num_bytes: int
    page: int | None


def data_file(path: str | os.PathLike[str]) -> Path | None:
    """The file of a database: `path`, or data.mdb in it; None where there is none.

    Raises:
      LmdbError: it can't be read.
    """
    path = Path(path)
    if path.is_dir():
        path = path / FILE_NAME
        return path if path.is_file() else None
    try:
        with open(path, "rb") as file:
            start = file.read(_PAGE.size + 4)[_PAGE.size :]
    except OSError as error:
        raise LmdbError(f"{path}: cannot be read: {error.strerror}") from error
    return path if start == _MAGIC.to_bytes(4, "little") else None


def list_values(path: str | os.PathLike[str]) -> list[Value]:
    """Finds all values of a database, reading its tree and none of the values.

    Args:
      path: the file, data.mdb.

    Returns:
      The values in the order of their keys.

    Raises:
      LmdbError: the file can't be read, is no LMDB, was cut short, or its tree is damaged.
    """
    try:
        with open(path, "rb") as file:
            return list(_Tree(file, path))
    except OSError as error:
        raise LmdbError(f"{path}: cannot be read: {error.strerror}") from error


def read_value(path: str | os.PathLike[str], value: Value) -> bytes:
    """Reads one value.

    Args:
      path: the file that `list_values` has listed.
      value: which.

    Raises:
      LmdbError: the file can't be read, or the value's pages are damaged.
    """
    head = 0 if value.page is None else _PAGE.size
    try:
        with open(path, "rb") as file:
            if value.offset + value.num_bytes > file.seek(0, os.SEEK_END):
                raise LmdbError(
                    f"{path}: {value.name}: damaged, it lies beyond the end of the file"
                )
            file.seek(value.offset - head)
            data = file.read(head + value.num_bytes)
    except OSError as error:
        raise LmdbError(f"{path}: {value.name}: cannot be read: {error.strerror}") from error
    if value.page is not None:
        number, _, flags, _, _ = _PAGE.unpack_from(data)
        if number != value.page or not flags & _OVERFLOW:
            raise LmdbError(f"{path}: {value.name}: damaged, page {value.page} is not its own")
    return data[head:]


class _Tree:
    """The values of an open database, in order."""

    def __init__(self, file: BinaryIO, path: str | os.PathLike[str]):
        self._file, self._path = file, path
        self._num_bytes = file.seek(0, os.SEEK_END)
        self._page_size = 0
        first = self._meta(0)
        if first is None:
            raise LmdbError(
                f"{path}: is no LMDB, or is damaged at its start; give the folder that holds "
                f"LSUN's {FILE_NAME}, or a folder of images"
            )
        self._page_size = first.page_size
        metas = [first, self._meta(self._page_size)]
        self._meta_page = max((meta for meta in metas if meta), key=lambda meta: meta.transaction)
        needed = (self._meta_page.last_page + 1) * self._page_size
        if self._num_bytes < needed:
            raise LmdbError(
                f"{path}: was cut short: it has {self._num_bytes:,} of {needed:,} bytes; copy or "
                "download it again"
            )

    def __iter__(self) -> Iterator[Value]:
        count = 0
        waiting = [] if self._meta_page.root == _NO_PAGE else [self._meta_page.root]
        seen: set[int] = set()
        while waiting:
            number = waiting.pop()
            if number in seen:
                raise self._damaged(number, "is reached twice")
            seen.add(number)
            page, flags, nodes = self._page(number)
            if flags == _BRANCH:
                waiting += [self._child(page, node) for node in reversed(nodes)]
            else:
                for node in nodes:
                    yield self._value(number, page, node)
                count += len(nodes)
        if count != self._meta_page.num_entries:
            raise LmdbError(
                f"{self._path}: damaged: {count:,} of its {self._meta_page.num_entries:,} values "
                "are found; copy or download it again"
            )

    def _meta(self, offset: int) -> "_Meta | None":
        self._file.seek(offset)
        data = self._file.read(_META_BYTES)
        if len(data) < _META_BYTES:
            return None
        magic, version, _, _ = _META.unpack_from(data, _PAGE.size)
        if magic != _MAGIC:
            return None
        if version != _VERSION:
            raise LmdbError(
                f"{self._path}: is an LMDB of format {version}, and only {_VERSION} is known"
            )
        start = _PAGE.size + _META.size
        page_size, *_ = _DATABASE.unpack_from(data, start)
        *_, num_entries, root = _DATABASE.unpack_from(data, start + _DATABASE.size)
        last_page, transaction = _END.unpack_from(data, start + 2 * _DATABASE.size)
        if page_size not in ((self._page_size,) if self._page_size else _PAGE_SIZES):
            return None
        return _Meta(page_size, num_entries, root, last_page, transaction)

    def _page(self, number: int) -> tuple[bytes, int, tuple[int, ...]]:
        """A page of the tree, its kind, and the places of its nodes."""
        if not 2 <= number <= self._meta_page.last_page:
            raise self._damaged(number, "is none of the file")
        self._file.seek(number * self._page_size)
        page = self._file.read(self._page_size)
        if len(page) < self._page_size:
            raise self._damaged(number, "lies beyond the end of the file")
        own, _, flags, lower, upper = _PAGE.unpack_from(page)
        if own != number or flags not in (_BRANCH, _LEAF):
            raise self._damaged(number, "is no page of the tree")
        if not _PAGE.size <= lower <= upper <= self._page_size:
            raise self._damaged(number, "has impossible bounds")
        nodes = struct.unpack_from(f"<{(lower - _PAGE.size) // 2}H", page, _PAGE.size)
        if any(not upper <= node <= self._page_size - _NODE.size for node in nodes):
            raise self._damaged(number, "has a node outside of it")
        return page, flags, nodes

    @staticmethod
    def _child(page: bytes, node: int) -> int:
        low, middle, high, _ = _NODE.unpack_from(page, node)
        return int(low | middle << 16 | high << 32)

    def _value(self, number: int, page: bytes, node: int) -> Value:
        low, high, flags, key_bytes = _NODE.unpack_from(page, node)
        num_bytes = low | high << 16
        start = node + _NODE.size
        end = start + key_bytes
        inside = end + (8 if flags == _IN_OVERFLOW else num_bytes)
        if flags not in (_IN_LEAF, _IN_OVERFLOW):
            raise LmdbError(
                f"{self._path}: holds tables or several values to a key, or is damaged; LSUN's "
                "databases have one image to a key"
            )
        if not key_bytes or inside > len(page):
            raise self._damaged(number, "has a node that reaches out of it")
        name = _text(page[start:end])
        if flags == _IN_LEAF:
            return Value(name, number * self._page_size + end, num_bytes, None)
        (first,) = struct.unpack_from("<Q", page, end)
        return Value(name, first * self._page_size + _PAGE.size, num_bytes, first)

    def _damaged(self, number: int, what: str) -> LmdbError:
        return LmdbError(f"{self._path}: damaged: page {number} {what}; copy or download it again")


class _Meta(NamedTuple):
    """What a meta page says; `root` is a page's number, and so is `last_page`."""

    page_size: int
    num_entries: int
    root: int
    last_page: int
    transaction: int


def _text(key: bytes) -> str:
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return key.hex()
    return text if text.isprintable() else key.hex()
