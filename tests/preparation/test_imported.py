"""Taking over clips from tar archives, as WebDataset's, and from folders."""

import contextlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.preparation.numbered import numbered_frame, read_number, write_numbered, write_video
from vidgan_jax import prepare
from vidgan_jax.data import records
from vidgan_jax.preparation import archives, dataset, imported
from vidgan_jax.preparation.encoding import Encoding


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Ten numbered frames of 32×32, 12 a second."""
    return write_numbered(tmp_path_factory.mktemp("v") / "v.mp4", 10, size=32, fps=12).read_bytes()


def _map(label: int, width: int = 32, height: int = 32) -> bytes:
    """A label map, class 3 in its left half."""
    ids = np.full((height, width), label, np.uint8)
    ids[:, : width // 2] = 3
    buffer = io.BytesIO()
    Image.fromarray(ids).save(buffer, "PNG")
    return buffer.getvalue()


def _tar(path: Path, members: Sequence[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(str(path), mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def _import(
    out: Path, *sources: Path, fraction: float = 0.0, **options: Any
) -> tuple[dict[str, records.ClipRecord], dataset.Result]:
    """The clips by name, and the result."""
    recipe = imported.import_recipe(
        sources, imported.Importing(**options), Encoding("png"), workers=0
    )
    layout = dataset.Layout(validation_fraction=fraction)
    result = dataset.prepare(recipe, out, layout=layout, workers=0, progress=False)
    clips: dict[str, records.ClipRecord] = {}
    for split in result.info.splits:
        with contextlib.closing(records.ClipSource(out, split)) as source:
            clips |= {source[i].clip_id: source[i] for i in range(len(source))}
    return clips, result


def _numbers(clip: records.ClipRecord) -> list[int]:
    return [read_number(records.decode_frame(frame)) for frame in clip.frames]


def _notes(result: dataset.Result) -> str:
    return "\n".join(note for outcome in result.outcomes for note in outcome.notes)


@pytest.mark.parametrize("name", ["s.tar", "s.tar.gz", "s.tgz", "s.tar.xz"])
def test_a_webdataset(tmp_path: Path, video: bytes, name: str) -> None:
    mode = {"gz": "w:gz", "tgz": "w:gz", "xz": "w:xz"}.get(name.rsplit(".", 1)[-1], "w")
    path = _tar(
        tmp_path / name,
        [
            ("a/000.json", json.dumps({"fps": 30, "video_id": "lake", "text": "a lake"}).encode()),
            ("a/000.mp4", video),
            ("a/000.seg.png", _map(5)),
            ("a/000.png", b"a thumbnail, perhaps"),
            ("a/000.cls", b"7"),
            ("a/001.mp4", video),
            ("a/001.png", _map(6)),
            ("a/002.mp4", video),
            ("a/._002.mp4", b"rubbish"),
        ],
        mode,
    )
    clips, result = _import(tmp_path / "out", path)
    assert not result.failed
    assert not _notes(result)
    assert sorted(clips) == ["s/a/000", "s/a/001", "s/a/002"]
    assert [clips[name].video_id for name in sorted(clips)] == ["lake", "s/a/001", "s/a/002"]
    assert [clips[name].fps for name in sorted(clips)] == [30, 12, 12]
    assert records.verify(tmp_path / "out").ok  # rates are the clips' own
    for clip in clips.values():
        assert _numbers(clip) == list(range(10))
        assert (clip.height, clip.width) == (32, 32)
    labels = [
        None if clip.label_map is None else records.decode_label_map(clip.label_map)[0, [0, -1]]
        for _, clip in sorted(clips.items())
    ]
    np.testing.assert_array_equal(labels[0], [3, 5])
    np.testing.assert_array_equal(labels[1], [3, 6])
    assert labels[2] is None


def test_a_folder_gives_what_its_tar_does(tmp_path: Path, video: bytes) -> None:
    files = {
        "x/a.b.mp4": video,
        "x/a.b.png": _map(5),
        "x/a.b.json": b'{"video_id": 17}',
        "y/c.webm": write_numbered(
            tmp_path / "c.webm", 6, size=32, codec="libvpx-vp9"
        ).read_bytes(),
        "y/c.seg.png": _map(6),
        "y/alone.png": _map(6),
    }
    folder = _folder(tmp_path / "in", files)
    path = _tar(tmp_path / "in.tar", list(files.items())[:-1])
    of_folder, result = _import(tmp_path / "a", folder)
    of_tar, _ = _import(tmp_path / "b", path)
    assert sorted(of_folder) == ["x/a.b", "y/c"]
    assert of_folder["x/a.b"].video_id == "17"
    for name, clip in of_folder.items():
        same = of_tar[f"in/{name}"]
        assert (clip.frames, clip.label_map, clip.fps) == (same.frames, same.label_map, same.fps)
    assert not result.failed
    recipe = imported.import_recipe([folder], imported.Importing(), Encoding())
    assert [Path(name).name for name, _ in recipe.skipped] == ["alone.png"]


def test_rate_length_and_size(tmp_path: Path, video: bytes) -> None:
    path = _tar(tmp_path / "s.tar", [("a.mp4", video), ("b.mp4", video)])
    clips, _ = _import(tmp_path / "twice", path, fps=24.0, size=16)
    assert _numbers(clips["s/a"]) == [number // 2 for number in range(20)]
    assert (clips["s/a"].fps, clips["s/a"].width) == (24, 16)
    clips, result = _import(tmp_path / "short", path, max_frames=4)
    assert [_numbers(clip) for clip in clips.values()] == [[0, 1, 2, 3]] * 2
    assert "2 of its videos have more than max_frames (=4), of which the first are taken: a, b" in (
        _notes(result)
    )
    clips, result = _import(tmp_path / "exact", path, max_frames=10)
    assert not _notes(result)


def test_gifs_and_wide_videos(tmp_path: Path) -> None:
    """A wide video's clip is the square in its middle, and the map's square lies on it."""
    frames = [Image.fromarray(numbered_frame(number, 64, 64)) for number in range(4)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=100)
    wide = [np.zeros((32, 64, 3), np.uint8) for _ in range(3)]
    for image in wide:
        image[:, 32:] = 255
    film = write_video(tmp_path / "wide.mp4", wide).read_bytes()
    path = _tar(
        tmp_path / "s.tar",
        [("a.gif", buffer.getvalue()), ("b.mp4", film), ("b.png", _map(9, 64, 32))],
    )
    clips, _ = _import(tmp_path / "out", path)
    assert _numbers(clips["s/a"]) == [0, 1, 2, 3]
    assert clips["s/a"].fps == 10
    clip = clips["s/b"]
    assert (clip.height, clip.width) == (32, 32)
    picture = records.decode_frame(clip.frames[0])[..., 0]
    assert clip.label_map is not None
    ids = records.decode_label_map(clip.label_map)
    assert ((picture > 128) == (ids == 9)).mean() > 0.95


def test_videos_by_pattern(tmp_path: Path, video: bytes) -> None:
    names = ("lake_0", "lake_1", "wood_0", "odd")
    path = _tar(tmp_path / "s.tar", [(f"{name}.mp4", video) for name in names])
    clips, result = _import(tmp_path / "out", path, video_id_pattern=r"^(.*)_\d+$", fraction=0.5)
    assert {name: clip.video_id for name, clip in clips.items()} == {
        "s/lake_0": "lake",
        "s/lake_1": "lake",
        "s/wood_0": "wood",
    }
    assert sorted(split.num_videos for split in result.info.splits.values()) == [1, 1]
    assert "s.tar: odd: video_id_pattern (='^(.*)_" in _notes(result)
    with pytest.raises(ValueError, match=r"video_id_pattern \(='\('\) is no regular expression"):
        imported.Importing(video_id_pattern="(")


def test_bad_samples_cost_themselves(tmp_path: Path, video: bytes) -> None:
    path = _tar(
        tmp_path / "s.tar",
        [
            ("good.mp4", video),
            ("text.mp4", b"no film\n" * 99),
            ("empty.mp4", b""),
            ("playlist.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n"),
            ("ids.mp4", video),
            ("ids.png", _map(222)),
            ("shape.mp4", video),
            ("shape.png", _map(5, 64, 32)),
            ("json.mp4", video),
            ("json.json", b"{"),
            ("list.mp4", video),
            ("list.json", b"[]"),
            ("rate.mp4", video),
            ("rate.json", b'{"fps": "fast"}'),
            ("nameless.mp4", video),
            ("nameless.json", b'{"video_id": ""}'),
            ("map.png", _map(5)),
            ("both.mp4", video),
            ("both.webm", video),
            ("double.mp4", video),
            ("double.mp4", video),
            ("last.mp4", video),
        ],
    )
    clips, result = _import(tmp_path / "out", path)
    assert sorted(clips) == ["s/good", "s/last"]
    notes = _notes(result)
    for problem in (
        "s.tar: text.mp4: is a text file, not a video",
        "s.tar: empty.mp4: is empty",
        "s.tar: playlist.mp4: is a text file",
        "s.tar: ids.png: ",
        "s.tar: shape.png is 64×32, but must have the proportions of the video",
        "s.tar: json.json: is no JSON",
        "s.tar: list.json: must be an object",
        "s.tar: rate.json: fps (='fast')",
        "s.tar: nameless.json: video_id (='')",
        "s.tar: map: has no video (.png)",
        "s.tar: both: has several videos (.mp4, .webm)",
        "s.tar: double: has two .mp4",
    ):
        assert f"not used: {problem}" in notes
    assert notes.count("not used") == 12
    # Other pictures beside the videos can be left alone.
    clips, _ = _import(tmp_path / "maps", path, label_maps=False)
    assert {"s/ids", "s/shape"} < set(clips)


def test_archives_cut_short_or_damaged_are_told(tmp_path: Path, video: bytes) -> None:
    members = [(f"{number}.{ext}", video) for number in range(4) for ext in ("mp4", "txt")]
    whole = _tar(tmp_path / "whole.tar", members).read_bytes()
    block = 512 + -(-len(video) // 512) * 512
    damaged = bytearray(whole)
    damaged[4 * block : 4 * block + 100] = b"\xff" * 100
    for name, data, kept in (
        ("within", whole[: 4 * block + 700], 2),
        # There a label map of the last sample may have been lost.
        ("header", whole[: 4 * block + 100], 1),
        ("between", whole[: 4 * block], 1),
        ("damaged", bytes(damaged), 1),
    ):
        path = tmp_path / f"{name}.tar"
        path.write_bytes(data)
        clips, result = _import(tmp_path / name, path)
        assert sorted(clips) == [f"{name}/{number}" for number in range(kept)], name
        assert f"{path}: cut short or damaged after" in _notes(result), name
    packed = _tar(tmp_path / "p.tar.gz", members, "w:gz").read_bytes()
    (tmp_path / "p.tar.gz").write_bytes(packed[: len(packed) // 2])
    _, result = _import(
        tmp_path / "packed", tmp_path / "p.tar.gz", _tar(tmp_path / "w.tar", members)
    )
    assert "p.tar.gz: cut short or damaged" in _notes(result)


def test_an_archive_is_read_once_from_start_to_end(
    tmp_path: Path, video: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _tar(tmp_path / "s.tar", [(f"{number}.mp4", video) for number in range(30)])
    archive = archives.Archive(path)
    shares = []
    for sample in archive.samples():
        assert isinstance(sample, archives.Sample)
        assert sample.read(".mp4") == video
        shares.append(archive.share)
    assert shares == sorted(shares)
    assert 0 < shares[0] < 1
    assert archive.damage is None
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", len(video) - 1)
    assert [type(sample) for sample in archives.Archive(path).samples()] == (
        [archives.SampleError] * 30
    )


@pytest.mark.parametrize(
    ("name", "key", "suffix"),
    [
        ("a/b.mp4", "a/b", ".mp4"),
        ("a/b.MP4", "a/b", ".mp4"),
        ("a.d/b.c.seg.png", "a.d/b.c", ".seg.png"),
        ("b.png", "b", ".png"),
    ],
)
def test_names_are_keys_and_suffixes(name: str, key: str, suffix: str) -> None:
    assert archives.split_name(name) == (key, suffix)


@pytest.mark.parametrize("name", ["a/.mp4", "a/._b.mp4", "b.txt", "b", "mp4", ""])
def test_other_names_are_of_no_sample(name: str) -> None:
    assert archives.split_name(name) is None


def test_the_command(tmp_path: Path, video: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    _tar(tmp_path / "in.tar", [("a.mp4", video), ("b.mp4", b"?"), ("c.mp4", video)])
    command = ["import", "--source", str(tmp_path / "in.tar"), "--out", str(tmp_path / "out")]
    assert prepare.main([*command, "--workers", "0", "--quiet"]) == 0
    said = capsys.readouterr()
    assert "not used: in.tar: b.mp4: " in said.err
    assert "32×32 pixels, 12 frames/s" in said.out
    assert prepare.main([*command, "--workers", "0", "--quiet", "--strict"]) == 1
    assert prepare.main(["check", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.tar"], "no such file or folder"),
        (["hollow"], "no videos and no tar archives in"),
        (["notes.dat"], "notes.dat: is no tar archive"),
        (["void.tar"], "void.tar: is no tar archive (empty file)"),
        (["zeros.tar"], "zeros.tar: holds no videos, label maps or descriptions"),
        (["a.mp4", "--fps", "0"], "fps (=0) must be above 0"),
        (["a.mp4", "--max-frames", "0"], "max_frames (=0) must be at least 1"),
        (["a.mp4", "--size", "0"], "size (=0) must be at least 1"),
        (["a.mp4", "--num-labels", "0"], "num_labels (=0)"),
        (["a.mp4", "--video-id-pattern", "["], "is no regular expression"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    video: bytes,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _folder(tmp_path, {"a.mp4": video, "notes.dat": b"buy film\n" * 99, "void.tar": b""})
    _tar(tmp_path / "zeros.tar", [])
    (tmp_path / "hollow").mkdir()
    source, *flags = arguments
    command = ["import", "--source", str(tmp_path / source), "--out", str(tmp_path / "out"), *flags]
    assert prepare.main([*command, "--workers", "0", "--quiet"]) == 2
    assert message in capsys.readouterr().err
