"""Statistics, contact sheets and the page say what is in a data set, and nothing else."""

import base64
import csv
import dataclasses
import html.parser
import io
import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.datasets import make_dataset
from vidgan_jax.data import labels, records
from vidgan_jax.data.clip_record import ClipRecord
from vidgan_jax.preparation.overview import page, sheets, statistics
from vidgan_jax.preparation.overview.choice import choose

NASTY = "</script><b> \"quoted\" & 'so' {{DATA}} {{TITLE}} <!-- \u2028"


def _clip(video: str, number: int, ids: list[int] | None, **changes: Any) -> ClipRecord:
    """A clip of 8×4 pixels; its label map has a column for each id."""
    rng = np.random.default_rng(number)
    frames = rng.integers(0, 256, (3, 4, 8, 3), dtype=np.uint8)
    label_map = None if ids is None else np.repeat(np.array(ids, np.uint8)[None], 4, axis=0)
    record = ClipRecord(
        frames=records.encode_frames(frames),
        height=4,
        width=8,
        fps=24.0,
        video_id=video,
        clip_id=f"{video}/{number}",
        label_map=None if label_map is None else records.encode_label_map(label_map),
    )
    return dataclasses.replace(record, **changes)


def _write(directory: Path, **splits: list[ClipRecord]) -> Path:
    for split, members in splits.items():
        with records.ShardWriter(directory / records.shard_name(split, 0, 1)) as writer:
            for record in members:
                writer.write(record)
    records.finalize(directory)
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of three videos; one has no map, and one pixel of eight is of no class."""
    return _write(
        tmp_path_factory.mktemp("data") / "waves & <b>",
        train=[
            _clip("a", 0, [2] * 6 + [26, 255], measures={"zoom": 0.0, "flicker": 1.0}),
            _clip("a", 1, [2] * 8, measures={"zoom": 1.0}, label_map_score=0.5),
            _clip(NASTY, 2, None, measures={"zoom": 4.0}),
        ],
        validation=[_clip("c", 3, [26] * 4 + [200] * 4, measures={"zoom": 3.0})],
    )


@pytest.fixture(scope="module")
def counted(data: Path) -> statistics.Statistics:
    tally = statistics.Tally()
    assert records.verify(data, visit=tally.visit).ok
    return tally.statistics(records.load_info(data))


def test_counts(counted: statistics.Statistics, data: Path) -> None:
    train, total = counted.splits["train"], counted.total
    assert list(counted.splits) == ["train", "validation"]
    assert (train.clips, train.videos, train.frames, train.label_maps) == (3, 2, 9, 2)
    assert (total.clips, total.videos, total.frames, total.label_maps) == (4, 3, 12, 3)
    assert total.seconds == 0.5
    assert total.num_bytes == sum(
        int(records.load_index(path).length.sum()) for path in data.glob("*.tfrecord")
    )
    assert counted.fps == {"24": 4}
    assert counted.sizes == {"8×4": 4}
    assert counted.clip_frames == {"3": 4}
    assert counted.formats == {"jpeg": 4}
    assert (train.clips_per_video.low, train.clips_per_video.high) == (1, 2)


def test_label_frequency(counted: statistics.Statistics) -> None:
    """Of 24 columns 14 are sky, 5 sea, 4 of class 200, and 1 is of none: 23 count."""
    rows = counted.label_frequency
    assert [(row.label, row.pixels, row.clips) for row in rows] == [
        (2, 56, 2),
        (26, 20, 2),
        (200, 16, 1),
    ]
    assert rows[0].pixel_share == 14 / 23
    assert [row.cumulative_share for row in rows] == [14 / 23, 19 / 23, 1.0]
    assert rows[1].clip_share == 2 / 3
    assert rows[1].pixel_share_by_split == {"train": 1 / 15, "validation": 1 / 2}
    assert counted.dont_care_share == 1 / 24
    assert [row.name for row in rows] == ["sky", "sea", "class 200"]


def test_measures(counted: statistics.Statistics) -> None:
    found = counted.total.measures
    assert list(found) == ["flicker", "label_map_score", "zoom"]
    zoom = found["zoom"]
    assert (zoom.count, zoom.mean, zoom.low, zoom.high) == (4, 2.0, 0.0, 4.0)
    assert zoom.std == pytest.approx(2.5**0.5)
    assert zoom.quantiles["median"] == 2.0
    assert sum(zoom.histogram) == 4
    assert [n for n, count in enumerate(zoom.histogram) if count] == [0, 5, 15, 19]
    assert found["flicker"].histogram[0] == found["flicker"].count == 1
    assert "zoom" in counted.splits["validation"].measures
    assert "flicker" not in counted.splits["validation"].measures


def test_files_of_statistics(counted: statistics.Statistics, tmp_path: Path) -> None:
    paths = statistics.write(counted, tmp_path)
    assert {path.name for path in paths} == {
        "label_frequency.csv",
        "label_frequency.md",
        "statistics.json",
    }
    rows = list(csv.DictReader(io.StringIO((tmp_path / "label_frequency.csv").read_text())))
    assert [row["name"] for row in rows] == ["sky", "sea", "class 200"]
    assert float(rows[0]["pixel_share"]) == pytest.approx(14 / 23, abs=1e-6)
    assert float(rows[1]["pixel_share_validation"]) == 0.5
    text = (tmp_path / "label_frequency.md").read_text()
    assert "| sky | 2 | 60.9 % | 60.9 % | 66.7 % | 93.3 % | 0.0 % |" in text
    assert "3 of 3 classes have at least 1.0 %" in text
    assert json.loads((tmp_path / "statistics.json").read_text()) == json.loads(
        json.dumps(counted.to_json())
    )
    assert statistics.load_shares(tmp_path, counted.checksum)[2] == 14 / 23
    assert statistics.load_shares(tmp_path, "another data set") == {}
    assert statistics.load_shares(tmp_path / "nowhere", counted.checksum) == {}


def test_no_label_maps_no_tables(tmp_path: Path) -> None:
    directory = _write(tmp_path / "data", train=[_clip("a", 0, None)])
    (tmp_path / "label_frequency.md").write_text("of an earlier state")
    tally = statistics.Tally()
    records.verify(directory, visit=tally.visit)
    counted = tally.statistics(records.load_info(directory))
    assert [path.name for path in statistics.write(counted, tmp_path)] == ["statistics.json"]
    assert not (tmp_path / "label_frequency.md").exists()
    assert counted.label_frequency == ()
    with pytest.raises(ValueError, match="no clip could be read"):
        statistics.Tally().statistics(records.load_info(directory))


def test_choice_is_spread_over_videos_and_seeded(tmp_path: Path) -> None:
    make_dataset(tmp_path, num_videos=3, clips_per_video=[5, 1, 2], num_frames=1, size=4)
    source = records.ClipSource(tmp_path, "train")
    chosen = [[i for _, i in choose([source], 8, seed)] for seed in range(4)]
    assert all(sorted(clips) == list(range(8)) for clips in chosen)
    videos = [[int(source.video[i]) for i in clips] for clips in chosen]
    assert all(set(some[:3]) == {0, 1, 2} for some in videos)
    assert all(sorted(some[3:5]) == [0, 2] for some in videos)
    assert len({tuple(clips) for clips in chosen}) > 1
    assert [i for _, i in choose([source], 4, 2)] == chosen[2][:4]
    assert choose([source], 4, 0, with_maps=True) == []
    with pytest.raises(ValueError, match=r"num \(=0\) must be at least 1"):
        choose([source], 0, 0)


def test_sheets_show_frames_maps_and_legend(data: Path, tmp_path: Path) -> None:
    paths = sheets.write_sheets(data, tmp_path, seed=1)
    assert [path.name for path in paths] == ["frames.png", "clips.png"]
    for path in paths:
        image = np.asarray(Image.open(path))
        colours = {tuple(colour) for colour in image.reshape(-1, 3).tolist()}
        assert {tuple(labels.COLOURS[label].tolist()) for label in (2, 26, 200, 255)} <= colours
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in sheets.write_sheets(data, tmp_path, seed=1)] == first


def test_a_map_lies_under_its_frame_and_at_the_right_of_its_clip() -> None:
    frame = np.zeros((4, 8, 3), np.uint8)
    frame[..., 0] = 255
    clip = _clip("a", 0, [2] * 8)
    clip = dataclasses.replace(
        clip, frames=records.encode_frames(np.stack([frame] * 3), image_format="png")
    )
    sky, red = labels.COLOURS[2], np.array([255, 0, 0])
    for draw, is_right in ((sheets.frames_sheet, False), (sheets.clips_sheet, True)):
        sheet = draw([clip], "title")
        # The legend's swatch is below the map.
        of_frame, of_map = (np.argwhere((sheet == c).all(-1))[: 128 * 64] for c in (red, sky))
        assert len(of_frame) == len(of_map) == 128 * 64
        axis = 1 if is_right else 0
        assert of_map[:, axis].min() > of_frame[:, axis].max()


class _Reader(html.parser.HTMLParser):
    """Elements, attributes, and the text of title and data."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, str] = {}
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = dict(attrs).get("id") or tag

    def handle_data(self, text: str) -> None:
        self.texts[self._inside] = self.texts.get(self._inside, "") + text

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def _read(path: Path) -> tuple[_Reader, dict[str, Any]]:
    reader = _Reader()
    reader.feed(path.read_text("utf-8"))
    return reader, json.loads(reader.texts["data"])


def test_the_page_holds_the_clips(data: Path, tmp_path: Path) -> None:
    written = page.write_page(data, tmp_path / "page.html", num=10, workers=2)
    assert (written.num_clips, written.num_total, written.is_full) == (4, 4, False)
    assert written.num_bytes == (tmp_path / "page.html").stat().st_size
    reader, said = _read(tmp_path / "page.html")
    assert reader.texts["title"] == said["name"] == "waves & <b>"
    assert said["splits"] == ["train", "validation"]
    clips = {clip["id"]: clip for clip in said["clips"]}
    assert set(clips) == {"a/0", "a/1", f"{NASTY}/2", "c/3"}
    clip = clips["a/0"]
    assert clip["classes"] == {"2": 0.75, "26": 0.125, "255": 0.125}
    assert clip["measures"] == {"flicker": 1.0, "zoom": 0.0}
    painted = Image.open(io.BytesIO(base64.b64decode(clip["map"]))).convert("RGB")
    assert np.asarray(painted)[0, 6].tolist() == labels.COLOURS[26].tolist()
    assert Image.open(io.BytesIO(base64.b64decode(clip["poster"]))).size == (8, 4)
    with av.open(io.BytesIO(base64.b64decode(clip["film"])), "r") as film:
        assert len(list(film.decode(video=0))) == 3
    assert "map" not in clips[f"{NASTY}/2"]
    assert clips[f"{NASTY}/2"]["video"] == NASTY


def test_names_cannot_break_the_page_and_it_asks_nothing_of_anyone(
    data: Path, tmp_path: Path
) -> None:
    page.write_page(data, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    reader, _ = _read(tmp_path / "page.html")
    assert text.count("</script>") == 2
    assert text.count("<script") == 2
    assert not re.search(r"https?:|//[a-z]+\.|@import|\burl\(", text)
    assert not [a for a in reader.attributes if a[1] in ("src", "href", "srcset", "action")]
    policy = next(value for tag, name, value in reader.attributes if value.startswith("default-"))
    assert policy.startswith("default-src 'none'; img-src data: blob:; media-src data: blob:;")
    assert "innerHTML" not in text


def test_the_page_is_bounded(data: Path, tmp_path: Path) -> None:
    whole = page.write_page(data, tmp_path / "whole.html")
    most = whole.num_bytes - 100
    some = page.write_page(data, tmp_path / "some.html", most_bytes=most)
    assert some.is_full
    assert 0 < some.num_clips < 4
    assert some.num_bytes <= most
    few = page.write_page(data, tmp_path / "few.html", num=2)
    assert (few.num_clips, few.num_total, few.is_full) == (2, 4, False)
    one = page.write_page(data, tmp_path / "one.html", splits=["validation"])
    assert [clip["id"] for clip in _read(one.path)[1]["clips"]] == ["c/3"]
    with pytest.raises(ValueError, match=r"too little for a single clip"):
        page.write_page(data, tmp_path / "none.html", most_bytes=1000)
    assert not (tmp_path / "none.html").exists()
    with pytest.raises(ValueError, match=r"must end in \.html"):
        page.write_page(data, tmp_path / "page.txt")
    with pytest.raises(records.RecordError, match="no split 'test'"):
        page.write_page(data, tmp_path / "page.html", splits=["test"])


def test_the_legend_has_the_shares_of_the_whole_data_set_where_they_are_known(
    data: Path, counted: statistics.Statistics, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    page.write_page(data, out, num=1, statistics=tmp_path)
    assert _read(out)[1]["shares"] == {}
    statistics.write(counted, tmp_path)
    page.write_page(data, out, num=1, statistics=tmp_path)
    assert _read(out)[1]["shares"]["26"] == 5 / 23


def test_long_clips_and_large_frames_are_cut_down_to_looking_at(tmp_path: Path) -> None:
    frames = np.zeros((13, 300, 400, 3), np.uint8)
    clip = _clip("a", 0, None, height=300, width=400, fps=1.0)
    clip = dataclasses.replace(clip, frames=records.encode_frames(frames))
    _write(tmp_path, train=[clip])
    (found,) = _read(page.write_page(tmp_path, tmp_path / "page.html").path)[1]["clips"]
    assert (found["frames"], found["shown"], found["width"]) == (13, 6, 400)
    with av.open(io.BytesIO(base64.b64decode(found["film"])), "r") as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height) == (192, 144)
        assert len(list(film.decode(stream))) == 6
