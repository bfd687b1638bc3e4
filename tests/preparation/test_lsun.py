"""Reading LMDBs, against the library that writes them, and against damage."""

import random
import struct
from pathlib import Path

import lmdb
import numpy as np
import pytest

from vidgan_jax.preparation import lsun

_PAGE = 4096


def _write(folder: Path, values: dict[bytes, bytes], num_transactions: int = 1) -> Path:
    """An LMDB, written in so many transactions, and its file."""
    with lmdb.open(str(folder), map_size=1 << 26) as environment:
        items = list(values.items())
        for part in range(num_transactions):
            with environment.begin(write=True) as transaction:
                for key, value in items[part::num_transactions]:
                    transaction.put(key, value)
    return folder / lsun.FILE_NAME


def _values(count: int, most_bytes: int = 9000) -> dict[bytes, bytes]:
    rng = np.random.default_rng(0)
    return {
        rng.bytes(20).hex().encode(): rng.bytes(int(rng.integers(most_bytes))) for _ in range(count)
    }


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of one with a tree of two levels, and values in and out of it."""
    return _write(tmp_path_factory.mktemp("lmdb"), _values(300), 3).read_bytes()


@pytest.mark.parametrize(("count", "num_transactions"), [(1, 1), (300, 1), (3000, 7)])
def test_it_reads_what_the_library_wrote(tmp_path: Path, count: int, num_transactions: int) -> None:
    written = _values(count, most_bytes=5000 if count < 1000 else 300)
    path = _write(tmp_path, written, num_transactions)
    assert lsun.data_file(tmp_path) == path == lsun.data_file(path)
    values = lsun.list_values(path)
    assert [value.name for value in values] == [key.decode() for key in sorted(written)]
    read = {value.name.encode(): lsun.read_value(path, value) for value in values}
    assert read == written


def test_deleted_values_are_gone_and_keys_become_text(tmp_path: Path) -> None:
    path = _write(tmp_path, {b"a": b"1", b"b\n": b"2", b"\xff\x00": b"3", "é".encode(): b"4"})
    with (
        lmdb.open(str(tmp_path), map_size=1 << 26) as environment,
        environment.begin(write=True) as transaction,
    ):
        assert transaction.delete(b"a")
    assert [value.name for value in lsun.list_values(path)] == ["620a", "é", "ff00"]
    with lmdb.open(str(tmp_path / "empty"), map_size=1 << 20) as environment:
        environment.sync()
    assert lsun.list_values(tmp_path / "empty" / lsun.FILE_NAME) == []


def test_what_is_no_database(tmp_path: Path) -> None:
    text = tmp_path / "notes.mdb"
    text.write_text("buy film\n" * 1000)
    (tmp_path / "empty.mdb").touch()
    assert lsun.data_file(text) is None
    assert lsun.data_file(tmp_path) is None
    for path in (text, tmp_path / "empty.mdb"):
        with pytest.raises(lsun.LmdbError, match=f"{path}: is no LMDB"):
            lsun.list_values(path)
    with pytest.raises(lsun.LmdbError, match="cannot be read: Is a directory"):
        lsun.list_values(tmp_path)


def test_several_values_to_a_key_are_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), map_size=1 << 24, max_dbs=1) as environment:
        environment.open_db(b"table")
    with pytest.raises(lsun.LmdbError, match="LSUN's databases have one image to a key"):
        lsun.list_values(tmp_path / lsun.FILE_NAME)


def test_a_file_cut_short_is_told(tmp_path: Path, database: bytes) -> None:
    path = tmp_path / lsun.FILE_NAME
    for num_bytes in (2 * _PAGE, len(database) // 2, len(database) - 1):
        path.write_bytes(database[:num_bytes])
        with pytest.raises(lsun.LmdbError, match=f"cut short: it has {num_bytes:,} of"):
            lsun.list_values(path)
    path.write_bytes(database[:100])
    with pytest.raises(lsun.LmdbError, match="is no LMDB"):
        lsun.list_values(path)


def test_a_damaged_value_costs_itself(tmp_path: Path, database: bytes) -> None:
    path = tmp_path / lsun.FILE_NAME
    path.write_bytes(database)
    values = lsun.list_values(path)
    victim = next(value for value in values if value.page is not None)
    damaged = bytearray(database)
    damaged[victim.offset - 16] ^= 1  # the page's number
    path.write_bytes(damaged)
    assert lsun.list_values(path) == values
    with pytest.raises(lsun.LmdbError, match=f"{victim.name}: damaged, page {victim.page}"):
        lsun.read_value(path, victim)
    other = next(value for value in values if value.page not in (None, victim.page))
    assert len(lsun.read_value(path, other)) == other.num_bytes
    beyond = victim._replace(offset=1 << 70)
    with pytest.raises(lsun.LmdbError, match="lies beyond the end"):
        lsun.read_value(path, beyond)


def test_a_tree_that_bites_its_tail_ends(tmp_path: Path, database: bytes) -> None:
    """The root's first child is the root."""
    roots = {
        struct.unpack_from("<Q", database, meta * _PAGE + 144)[0]: struct.unpack_from(
            "<Q", database, meta * _PAGE + 128
        )[0]
        for meta in (0, 1)
    }
    root = roots[max(roots)]
    (node,) = struct.unpack_from("<H", database, root * _PAGE + 16)
    damaged = bytearray(database)
    struct.pack_into("<HHH", damaged, root * _PAGE + node, root, 0, 0)
    path = tmp_path / lsun.FILE_NAME
    path.write_bytes(damaged)
    with pytest.raises(lsun.LmdbError, match=f"page {root} is reached twice"):
        lsun.list_values(path)


def test_any_damage_is_an_error_or_none(tmp_path: Path, database: bytes) -> None:
    """No crash, no endless loop, no other exception, whatever is overwritten."""
    path = tmp_path / lsun.FILE_NAME
    chance = random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(database)
        start = chance.randrange(len(damaged) // _PAGE) * _PAGE if chance.random() < 0.7 else 0
        for _ in range(chance.choice([1, 8, 64])):
            damaged[start + chance.randrange(chance.choice([32, 160, _PAGE]))] = chance.randrange(
                256
            )
        path.write_bytes(damaged)
        try:
            for value in lsun.list_values(path):
                lsun.read_value(path, value)
        except lsun.LmdbError:
            refused += 1
    assert refused > 20
