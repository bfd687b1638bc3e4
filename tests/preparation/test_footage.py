"""Finding video files, and cutting them as jobs."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.preparation.numbered import read_numbers, write_numbered
from vidgan_jax.data import records
from vidgan_jax.preparation import dataset, footage
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.videos import Cutting


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _names(*sources: Path, **options: Any) -> list[str]:
    return [file.video_id for file in footage.find_videos(sources, **options)[0]]


def test_folders_are_searched_and_files_taken_whatever_their_suffix(tmp_path: Path) -> None:
    _touch(tmp_path / "b.MP4", tmp_path / "sub" / "deep" / "a.webm", tmp_path / "odd.data")
    assert _names(tmp_path) == ["b.MP4", "sub/deep/a.webm"]
    assert _names(tmp_path / "odd.data", tmp_path / "sub") == ["deep/a.webm", "odd.data"]


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    _touch(tmp_path / "a.mp4", tmp_path / "notes.txt", tmp_path / "._a.mp4", tmp_path / "README")
    os.symlink(tmp_path / "nothing.mp4", tmp_path / "broken.mp4")
    found, skipped = footage.find_videos([tmp_path])
    assert [file.video_id for file in found] == ["a.mp4"]
    assert {(Path(name).name, reason) for name, reason in skipped} == {
        ("notes.txt", "suffix .txt is not a video's"),
        ("README", "suffix (none) is not a video's"),
        ("._a.mp4", "hidden file"),
        ("broken.mp4", "not a file, or a link to nothing"),
    }


def test_a_file_found_twice_is_taken_once(tmp_path: Path) -> None:
    _touch(tmp_path / "a.mp4")
    os.symlink(tmp_path / "a.mp4", tmp_path / "b.mp4")
    os.symlink(tmp_path, tmp_path / "loop")
    assert _names(tmp_path, tmp_path / "a.mp4") == ["a.mp4"]


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    _touch(tmp_path / "x" / "a.mp4", tmp_path / "y" / "a.mp4", tmp_path / "y" / "b.mp4")
    assert _names(tmp_path / "x", tmp_path / "y") == ["x/a.mp4", "y/a.mp4", "y/b.mp4"]
    assert _names(tmp_path / "x" / "a.mp4", tmp_path / "y" / "a.mp4") == ["x/a.mp4", "y/a.mp4"]


def test_the_data_set_itself_is_not_searched(tmp_path: Path) -> None:
    _touch(tmp_path / "a.mp4", tmp_path / "out" / "b.mp4")
    assert _names(tmp_path, leave_out=tmp_path / "out") == ["a.mp4"]


def test_empty_folder_and_missing_source(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no video files in {tmp_path}"):
        _names(tmp_path)
    _touch(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match=r"left out: .*notes\.txt"):
        _names(tmp_path)
    with pytest.raises(ValueError, match=r"--source .*gone: no such file or folder"):
        _names(tmp_path / "gone")


def test_names_that_are_no_utf8_can_be_stored(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    _touch(tmp_path / name)
    assert _names(tmp_path) == ["caf\N{REPLACEMENT CHARACTER}.mp4"]


def _prepare(source: Path, out: Path, **cutting: Any) -> dataset.Result:
    options: dict[str, Any] = {"num_frames": 8, "size": 32, "fit": "stretch"}
    recipe = footage.videos_recipe([source], Cutting(**options | cutting), Encoding("png"))
    layout = dataset.Layout(0.0)
    return dataset.prepare(recipe, out, layout=layout, workers=0, progress=False)


def test_clips_hold_the_frames_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_numbered(tmp_path / "in" / "a.mp4", 30)
    write_numbered(tmp_path / "in" / "b.mkv", 60, fps=30)
    _prepare(tmp_path / "in", tmp_path / "out")
    source = records.ClipSource(tmp_path / "out", "train")
    assert source.clip_ids[:4] == [
        "a.mp4#00000@0.00s",
        "a.mp4#00001@0.33s",
        "a.mp4#00002@0.67s",
        "b.mkv#00000@0.00s",
    ]
    assert source.video_ids == ["a.mp4", "b.mkv"]
    clip = source[1]
    assert (clip.fps, clip.height, clip.width) == (24, 32, 32)
    frames = [records.decode_frame(frame) for frame in clip.frames]
    assert [read_numbers(frame[None])[0] for frame in frames] == list(range(8, 16))


def test_one_bad_file_of_each_kind_costs_only_itself(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_numbered(folder / "good.mp4", 30)
    (folder / "text.mp4").write_text("not a film\n" * 50)
    (folder / "zero.mp4").touch()
    whole = write_numbered(folder / "cut.mp4", 30)
    whole.write_bytes(whole.read_bytes()[:-800])
    write_numbered(folder / "short.mp4", 5)
    result = _prepare(folder, tmp_path / "out")
    assert result.info.splits["train"].num_clips == 3
    errors = {outcome.video_id: str(outcome.error) for outcome in result.failed}
    assert set(errors) == {"text.mp4", "zero.mp4", "cut.mp4"}
    assert all(str(folder / name) in error for name, error in errors.items())
    (short,) = (o for o in result.outcomes if o.video_id == "short.mp4")
    assert short.error is None
    assert "short.mp4: too short for a clip: 0.21 s, and a clip takes 0.33 s" in short.notes[0]


def test_a_changed_file_makes_another_data_set(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_numbered(tmp_path / "in" / "a.mp4", 30)
    _prepare(tmp_path / "in", tmp_path / "out")
    assert _prepare(tmp_path / "in", tmp_path / "out").was_there
    os.utime(tmp_path / "in" / "a.mp4", (1, 1))
    with pytest.raises(ValueError, match="source videos are not the same: 1 then, 1 now"):
        _prepare(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_format": "gif"}, r"image_format \(='gif'\) must be one of jpeg, png"),
        ({"quality": 0}, r"quality \(=0\) must be from 1 to 100"),
    ],
)
def test_encoding_out_of_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoding(**fields)
