"""Files are whole or not there."""

import json
import math
from pathlib import Path

import pytest

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
