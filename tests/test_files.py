"""Files are whole or not there, on disks and in buckets."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.buckets import Buckets, listed, opened
from vidgan_jax import files


def test_atomic_path_renames_at_the_end(tmp_path: Path) -> None:
    """Until the block ends there is no such file, then there is nothing else."""
    path = tmp_path / "new" / "folder" / "clip.mp4"
    with files.atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".mp4"
        assert temporary != path
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("exists", [False, True])
def test_a_failed_block_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException], exists: bool
) -> None:
    path = tmp_path / "a.json"
    if exists:
        path.write_bytes(b"old")
    with pytest.raises(error, match="half-way"), files.atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_bytes(b"ne")
        raise error("half-way")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.json", b"old")] * exists


def test_an_existing_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Who has the old file open reads on in the old file."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        files.write_bytes(path, b"new and longer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.atomic_path(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        files.write_bytes(tmp_path / "file" / "a", b"")


def test_json_is_for_people_and_programs(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, "é"], "b": {"c": True}}
    files.write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == value
    assert text.endswith("}\n")
    assert len(text.splitlines()) > len(value)


@pytest.mark.parametrize("value", [{"a": {1, 2}}, {math.pi: math}])
def test_what_is_not_json_leaves_the_old_file(tmp_path: Path, value: object) -> None:
    files.write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError, match="not JSON serializable"):
        files.write_json(tmp_path / "a.json", value)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["1\n"]


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    with opened(tmp_path / "buckets") as name:
        yield name


def test_paths_by_their_names(bucket: str, tmp_path: Path) -> None:
    assert files.path(f"{tmp_path}/a") == tmp_path / "a"
    assert type(files.path("a/b")) is type(Path("a/b"))
    for name in (f"{bucket}/runs/a", "s3://other/a"):
        path = files.path(name)
        assert str(path) == str(files.path(path)) == str(files.absolute(path)) == name
        assert str(path.parent / "b.json") == name[:-1] + "b.json"
        assert files.is_remote(path)
    assert not files.is_remote(tmp_path)
    assert files.absolute("a") == Path.cwd() / "a"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ftp://host/a", "files are on disks, gs:// and s3://, not on ftp://"),
        ("gs://", "names no bucket; write gs://BUCKET/FOLDER"),
        ("s3:///a", "names no bucket"),
        ("gs:/bucket/a", "a bucket is named by two slashes, gs://BUCKET/"),
        ("s3:bucket", "a bucket is named by two slashes, s3://BUCKET/"),
        ("a/gs://b", "a bucket stands at the beginning of a path"),
    ],
)
def test_names_that_are_no_paths(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        files.path(name)


def test_a_folder_is_removed_with_all_that_is_in_it(bucket: str, tmp_path: Path) -> None:
    for place in (f"{bucket}/run", str(tmp_path / "run")):
        folder = files.path(place)
        for name in ("a.json", "parts/b.json", "parts/deep/c.json"):
            files.write_json(folder / name, 1)
        files.remove_folder(folder / "parts")
        assert (folder / "a.json").exists()
        assert not (folder / "parts" / "deep" / "c.json").exists()
        files.remove_folder(folder / "parts")  # which is gone


def test_the_extra_that_reads_a_bucket_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # as where it is not installed
    files._filesystem.cache_clear()
    with pytest.raises(ValueError, match=r'gs:// needs a package .* install "vidgan-jax\[gcs\]"'):
        files.path("gs://bucket/a")


def test_objects_are_whole_or_not_there(bucket: str) -> None:
    where = f"{bucket}/new/clip.mp4"
    with files.atomic_path(where) as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_bytes(b"whole")
        assert not files.path(where).exists()
    assert files.read_bytes(where) == b"whole"
    assert not temporary.exists()
    with pytest.raises(RuntimeError, match="half-way"), files.atomic_path(where) as temporary:  # noqa: PT012
        temporary.write_bytes(b"ne")
        raise RuntimeError("half-way")
    with pytest.raises(FileNotFoundError), files.atomic_path(where):
        pass
    assert listed(bucket) == ["new/clip.mp4"]
    assert files.read_bytes(where) == b"whole"


def test_bytes_and_sizes_of_objects(bucket: str) -> None:
    files.write_json(f"{bucket}/a/b.json", {"a": 1})
    assert json.loads(files.path(f"{bucket}/a/b.json").read_text()) == {"a": 1}
    assert files.size(f"{bucket}/a/b.json") == len(files.read_bytes(f"{bucket}/a/b.json"))
    assert files.read_range(f"{bucket}/a/b.json", 4, 3) == b'"a"'
    for wanted in (files.size, files.read_bytes):
        with pytest.raises(FileNotFoundError):
            wanted(f"{bucket}/a/c")
    with pytest.raises(FileNotFoundError, match="is no file"):
        files.size(f"{bucket}/a")


def test_an_object_is_created_once(bucket: str) -> None:
    files.create(f"{bucket}/a", b"1")
    with pytest.raises(FileExistsError):
        files.create(f"{bucket}/a", b"2")
    assert files.read_bytes(f"{bucket}/a") == b"1"
    files.remove(f"{bucket}/a")
    files.remove(f"{bucket}/a")
    assert listed(bucket) == []


def test_errors_of_a_bucket_are_os_errors(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Buckets, "broken", True)
    for write in (lambda: files.write_bytes(f"{bucket}/a", b""), lambda: _write_at(f"{bucket}/a")):
        with pytest.raises(OSError, match="gs://bucket/a: RuntimeError: the store has no time"):
            write()


def _write_at(where: str) -> None:
    with files.atomic_path(where) as temporary:
        temporary.write_bytes(b"1")
