"""Label maps that people draw for their videos: found, laid on the frames, stored, refused."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.preparation.numbered import write_numbered, write_video
from vidgan_jax.data import records
from vidgan_jax.data.labels import DONT_CARE, colorize
from vidgan_jax.preparation import dataset, footage, picture
from vidgan_jax.preparation.drawn import LabelSettings, find_label_maps
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.videos import Cutting

STEP = 28  # between the shades of two ids


def blocks(height: int, width: int) -> np.ndarray:
    """A map of 9 ids, each a block, none like another under any turn; uint8 `[h, w]`."""
    rows = np.digitize(np.arange(height), [0.3 * height, 0.6 * height])
    columns = np.digitize(np.arange(width), [0.25 * width, 0.65 * width])
    return (3 * rows[:, None] + columns).astype(np.uint8)


def shaded(label_map: np.ndarray) -> np.ndarray:
    """A frame in which an id is a shade of grey."""
    return (label_map * STEP + 10)[..., None].repeat(3, axis=2).astype(np.uint8)


def save_map(path: Path, label_map: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_map).save(path)
    return path


def prepare(
    source: Path, out: Path, label_maps: Path, labels: Any = None, **cutting: Any
) -> dataset.Result:
    options: dict[str, Any] = {"num_frames": 2, "size": 32, "max_clips": 1}
    recipe = footage.videos_recipe(
        [source],
        Cutting(**options | cutting),
        Encoding("png"),
        label_maps=label_maps,
        labels=labels,
    )
    layout = dataset.Layout(0.0)
    return dataset.prepare(recipe, out, layout=layout, workers=0, progress=False)


def assert_on_frames(record: records.ClipRecord) -> None:
    """A frame's shade is its map's id wherever all neighbours have the same id."""
    assert record.label_map is not None
    label_map = records.decode_label_map(record.label_map).astype(int)
    frame = records.decode_frame(record.frames[0])[..., 0]
    n = len(label_map) - 2
    still = np.ones((n, n), bool)
    for y in range(3):
        for x in range(3):
            still &= label_map[y : y + n, x : x + n] == label_map[1:-1, 1:-1]
    seen = np.round((frame[1:-1, 1:-1].astype(float) - 10) / STEP).astype(int)
    assert still.mean() > 0.5
    np.testing.assert_array_equal(seen[still], label_map[1:-1, 1:-1][still])


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("shape", [(64, 98), (130, 66), (48, 48)])
@pytest.mark.parametrize("scale", [1, 2, Fraction(1, 2)])
def test_maps_lie_on_the_frames(
    tmp_path: Path, shape: tuple[int, int], fit: str, scale: Fraction | int
) -> None:
    """Of any size of the same proportions."""
    height, width = shape
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "a.mp4", [shaded(blocks(height, width))] * 4)
    save_map(tmp_path / "maps" / "a.png", blocks(int(height * scale), int(width * scale)))
    prepare(tmp_path / "in", tmp_path / "out", tmp_path / "maps", fit=fit)
    assert_on_frames(records.ClipSource(tmp_path / "out", "train")[0])


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"),
    reason="this PyAV cannot write rotations",
)
@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("mirror", [(False, False), (True, False)])
def test_maps_are_drawn_on_what_a_player_shows(
    tmp_path: Path, rotation: int, mirror: tuple[bool, bool]
) -> None:
    stored = blocks(64, 99)[:, :98]
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "a.mp4", [shaded(stored)] * 4, rotation=(rotation, *mirror))
    shown = np.rot90(stored, rotation // 90)
    if mirror[0]:
        shown = shown[:, ::-1]
    save_map(tmp_path / "maps" / "a.png", np.ascontiguousarray(shown))
    prepare(tmp_path / "in", tmp_path / "out", tmp_path / "maps", size=31)
    assert_on_frames(records.ClipSource(tmp_path / "out", "train")[0])


def test_maps_are_drawn_on_square_pixels(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    frame = shaded(blocks(64, 64))
    write_video(tmp_path / "in" / "a.mp4", [frame] * 4, pixel_aspect=Fraction(3, 2))
    save_map(tmp_path / "maps" / "a.png", blocks(64, 96))
    prepare(tmp_path / "in", tmp_path / "out", tmp_path / "maps")
    assert_on_frames(records.ClipSource(tmp_path / "out", "train")[0])


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("columns", [False, True])
def test_turning_back_undoes_turning(transpose: bool, rows: bool, columns: bool) -> None:
    turn = picture.Orientation(transpose, rows, columns)
    image = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(turn.undo(turn.apply(image)), image)
    np.testing.assert_array_equal(turn.apply(turn.undo(image)), image)


def shape_of(width: int, height: int) -> picture.Shape:
    return picture.Shape(width, height, Fraction(1), picture.Orientation())


@pytest.mark.parametrize(
    ("video", "size"),
    [((1920, 1080), (854, 480)), ((854, 480), (1920, 1080)), ((426, 240), (1920, 1080))],
)
def test_part_of_a_pixel_is_forgiven(video: tuple[int, int], size: tuple[int, int]) -> None:
    width, height = size
    label_map = np.zeros((height, width), np.uint8)
    assert picture.square_label_map(label_map, shape_of(*video), 8, "crop").shape == (8, 8)


@pytest.mark.parametrize("transpose", [False, True])
def test_maps_may_be_as_stored_or_as_shown(transpose: bool) -> None:
    """Pixels that are not square: left half 0, right half 1, drawn on either."""
    turn = picture.Orientation(transpose=transpose)
    shape = picture.Shape(64, 32, Fraction(3, 2), turn)
    found = []
    for width in (64, 96):
        stored = np.zeros((32, width), np.uint8)
        stored[:, width // 2 :] = 1
        found.append(picture.square_label_map(turn.apply(stored), shape, 8, "crop"))
    np.testing.assert_array_equal(found[0], found[1])
    assert found[0].mean() == 0.5


@pytest.mark.parametrize("size", [(480, 480), (640, 480), (1080, 1920), (1920, 1076)])
def test_other_proportions_are_refused(size: tuple[int, int]) -> None:
    width, height = size
    label_map = np.zeros((height, width), np.uint8)
    message = f"is {width}×{height}, but must have the proportions of the video, which is 1920×1080"
    with pytest.raises(ValueError, match=message):
        picture.square_label_map(label_map, shape_of(1920, 1080), 8, "stretch")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder: Path, *videos: str) -> dict[str, str]:
    maps = find_label_maps(folder, videos, LabelSettings()).files
    return {video: str(file.path.relative_to(folder)) for video, file in maps.items()}


def test_maps_are_found_by_name(tmp_path: Path) -> None:
    """The nearest name first; a file beside the videos is no mistake."""
    touch(*(tmp_path / name for name in ("a.png", "a.mp4.png", "park/b.png", "c.png", "d.mp4")))
    videos = ("a.mp4", "a.webm", "park/b.mp4", "deep/er/c.mov", "d.mp4")
    assert found(tmp_path, *videos) == {
        "a.mp4": "a.mp4.png",
        "a.webm": "a.png",
        "park/b.mp4": "park/b.png",
        "deep/er/c.mov": "c.png",
    }
    (note,) = find_label_maps(tmp_path, videos, LabelSettings()).notes
    assert note == (
        f"1 of 5 videos have no label map in {tmp_path}, and their clips none either: d.mp4"
    )


def test_maps_of_no_video_are_told(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "sub" / "typo.png", tmp_path / "._a.png")
    (note,) = find_label_maps(tmp_path, ["a.mp4"], LabelSettings()).notes
    assert note == f"1 files in {tmp_path} are not named after a video: sub/typo.png"


def test_names_outside_the_folder_are_not_tried(tmp_path: Path) -> None:
    touch(tmp_path / "x.png", tmp_path / "maps" / "y.png")
    assert found(tmp_path / "maps", "../x.mp4", "y.mp4") == {"y.mp4": "y.png"}


def test_folders_without_maps_and_maps_of_two_videos(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--label-maps .*gone: no such folder"):
        found(tmp_path / "gone", "a.mp4")
    touch(tmp_path / "b.png")
    message = r"holds no label map of any of the 1 videos; that of sub/a.mp4 would be .*/a\.png"
    with pytest.raises(ValueError, match=message):
        found(tmp_path, "sub/a.mp4")
    message = r"b\.png: is it of the video b\.mp4 or of b\.webm\? Name each .* as b\.webm\.png"
    with pytest.raises(ValueError, match=message):
        found(tmp_path, "b.mp4", "b.webm")


def test_a_bad_map_costs_its_video_and_a_missing_one_its_clips_map(tmp_path: Path) -> None:
    for name in ("good", "high", "wide", "none"):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_numbered(tmp_path / "in" / f"{name}.mp4", 4)
    maps = tmp_path / "maps"
    painted = colorize(np.full((64, 64), 26))
    painted[:8] = 0
    save_map(maps / "good.png", painted)
    save_map(maps / "high.png", np.full((64, 64), 150, np.uint8))
    save_map(maps / "wide.png", np.zeros((64, 80), np.uint8))
    result = prepare(tmp_path / "in", tmp_path / "out", maps)
    errors = {outcome.video_id: str(outcome.error) for outcome in result.failed}
    assert set(errors) == {"high.mp4", "wide.mp4"}
    assert errors["high.mp4"] == (
        f"{maps / 'high.png'}: holds the id 150, but ids are 0 to 149 (num_labels is 150), or 255 "
        "for don't care; files that count from 1 need 1 subtracted first"
    )
    assert errors["wide.mp4"].startswith(
        f"{maps / 'wide.png'} is 80×64, but must have the proportions of the video, which is 64×64"
    )
    assert str(tmp_path / "in" / "wide.mp4") in errors["wide.mp4"]
    split = result.info.splits["train"]
    assert (split.num_clips, split.num_label_maps) == (2, 1)
    assert result.info.label_ids == (26,)
    source = records.ClipSource(tmp_path / "out", "train")
    stored = {record.video_id: record.label_map for record in map(source.__getitem__, range(2))}
    assert stored["none.mp4"] is None
    label_map = records.decode_label_map(stored["good.mp4"] or b"")
    assert label_map[0, 0] == DONT_CARE
    assert label_map[-1, -1] == 26


def test_settings_reach_the_files_and_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_numbered(tmp_path / "in" / "a.mp4", 4)
    path = save_map(tmp_path / "maps" / "a.png", np.full((64, 64), 200, np.uint8))
    labels = LabelSettings(num_labels=5, dont_care=200)
    made = prepare(tmp_path / "in", tmp_path / "out", tmp_path / "maps", labels)
    assert made.info.label_ids == ()
    assert made.info.spec["settings"]["label_maps"] == {
        "num_labels": 5,
        "dont_care": 200,
        "nearest_colours": False,
    }
    assert prepare(tmp_path / "in", tmp_path / "out", tmp_path / "maps", labels).was_there
    save_map(path, np.full((64, 64), 3, np.uint8))
    with pytest.raises(ValueError, match="source videos are not the same: 1 then, 1 now"):
        prepare(tmp_path / "in", tmp_path / "out", tmp_path / "maps", labels)
    with pytest.raises(ValueError, match="num_labels was 5, now 6"):
        prepare(tmp_path / "in", tmp_path / "out", tmp_path / "maps", LabelSettings(6, 200))
    with pytest.raises(ValueError, match=r"num_labels \(=256\) must be from 1 to 255"):
        LabelSettings(256)
