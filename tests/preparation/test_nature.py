"""`prepare nature` from videos to shards, with a simple detector and a simple segmenter."""

import csv
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.preparation.numbered import write_video
from vidgan_jax.data import records
from vidgan_jax.preparation import dataset, videos
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.nature import accounts, cutting, recipe, run, works
from vidgan_jax.preparation.nature.cutting import ShotCutting
from vidgan_jax.preparation.nature.recipe import Nature, Preparation, Segmentation
from vidgan_jax.preparation.nature.run import Made, prepare_nature
from vidgan_jax.preparation.nature.shots import Transition
from vidgan_jax.preparation.nature.suitability import Limits
from vidgan_jax.preparation.parts import OutputError

SIZE = 32


def only(**limits: float) -> Limits:
    """These limits and no others."""
    names = [field.name for field in dataclasses.fields(Limits)]
    return Limits(**{name: limits.get(name) for name in names})


class Brightness:
    """A detector of hard cuts: where the mean jumps."""

    height, width = 2, 4

    def __init__(self) -> None:
        self.fed = 0
        self.last: float | None = None

    def feed(self, picture: np.ndarray) -> list[Transition]:
        mean, last = float(picture.mean()), self.last
        self.last = mean
        self.fed += 1
        if last is None or abs(mean - last) < 20:
            return []
        return [Transition(self.fed - 1, self.fed - 1, "cut", abs(mean - last))]

    def finish(self) -> list[Transition]:
        return []

    @property
    def settled(self) -> int:
        return self.fed


class Thresholds:
    """A segmenter: class 12 where it is brightest, else 2 or 26 by level; counts its calls."""

    calls = 0
    interrupt_at = -1

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        Thresholds.calls += 1
        if Thresholds.calls == Thresholds.interrupt_at:
            raise KeyboardInterrupt
        level = frames.mean(-1)
        return np.select([level > 240, level > 120], [12, 2], 26).astype(np.uint8)


def load(where: str) -> Thresholds:
    assert where == "weights"
    return Thresholds()


def picture(level: int, white: int = 0, shift: int = 0) -> np.ndarray:
    """Grey with a brighter right half that begins `shift` columns off, and white rows on top."""
    image = np.full((SIZE, SIZE, 3), level, np.uint8)
    image[:, SIZE // 2 + shift :] = 200
    image[:white] = 255
    return image


def still(level: int, **options: int) -> list[np.ndarray]:
    return [picture(level, **options)] * 20


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three videos: shots that stand, one with people, one that moves, and a broken file."""
    monkeypatch.setattr(cutting, "make_detector", lambda name, fps: Brightness())
    monkeypatch.setattr(Thresholds, "calls", 0)
    monkeypatch.setattr(Thresholds, "interrupt_at", -1)
    works._loaded.cache_clear()
    folder = tmp_path / "source"
    folder.mkdir()
    moving = [picture(20, shift=i - 10) for i in range(20)]
    write_video(folder / "a.mp4", still(20) + still(90) + still(20, white=16))
    write_video(folder / "b.mp4", moving + still(90) + [picture(0)] * 5)
    write_video(folder / "c.mp4", still(60))
    (folder / "d.mp4").write_text("no video")
    return folder


def nature(limits: Limits | None = None, **changes: Any) -> Nature:
    base: dict[str, Any] = {"num_frames": 8, "size": SIZE, "fit": "stretch", "margin_s": 0.1}
    segmentation = Segmentation(load, "weights", "thresholds", segmented_frames=3)
    return Nature(ShotCutting(**base | changes), Encoding("png"), limits or only(), segmentation)


def made(source: Path, out: Path, settings: Nature | None = None, **options: Any) -> Made:
    preparation = Preparation([source], settings or nature(), out, workers=0)
    layout = dataset.Layout(validation_fraction=0.4, clips_per_shard=2)
    return prepare_nature(preparation, layout=layout, workers=0, progress=False, **options)


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.tfrecord"))}


def clips(out: Path) -> dict[str, records.ClipRecord]:
    found: dict[str, records.ClipRecord] = {}
    for split in records.load_info(out).splits:
        clip_source = records.ClipSource(out, split)
        found |= {clip_source[i].clip_id: clip_source[i] for i in range(len(clip_source))}
        clip_source.close()
    return found


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_clip_of_every_shot_with_its_map(source: Path, tmp_path: Path) -> None:
    found = made(source, tmp_path / "out")
    kept = clips(tmp_path / "out")
    by_shot = sorted(clip.split("@")[0] for clip in kept)
    names = ("a.mp4#00000", "a.mp4#00001", "a.mp4#00002")
    assert by_shot == [*names, "b.mp4#00000", "b.mp4#00001", "c.mp4#00000"]
    for record in kept.values():
        assert len(record.frames) == 8
        assert record.label_map is not None
        label_map = records.decode_label_map(record.label_map)
        middle = records.decode_frame(record.frames[4])
        np.testing.assert_array_equal(label_map, Thresholds()(middle))
        # Stored as float32.
        assert record.label_map_score == pytest.approx(record.measures["constancy"], abs=1e-7)
        assert {"people", "camera_movement", "zoom"} <= set(record.measures)
    assert found.result is not None
    assert [outcome.video_id for outcome in found.result.failed] == ["d.mp4"]
    assert found.accounts is not None
    steps = {step.stage: (step.num_in, step.num_out) for step in found.accounts.steps}
    assert steps == {
        "shots": (4, 7),
        "clips": (7, 6),
        "suitability": (6, 6),
        "segmentation": (6, 6),
    }
    assert list(found.accounts.errors) == ["d.mp4"]


def test_limits_drop_clips_and_say_why(source: Path, tmp_path: Path) -> None:
    limits = only(people=0.1, constancy=0.9)
    found = made(source, tmp_path / "out", nature(limits))
    fates = {row["clip"].split("@")[0]: row for row in rows(tmp_path / "out" / "clips.csv")}
    dropped = {clip: row for clip, row in fates.items() if row["kept"] == "no"}
    assert set(dropped) == {"a.mp4#00002", "b.mp4#00000"}
    assert "people" in dropped["a.mp4#00002"]["reasons"]
    assert "constancy" in dropped["b.mp4#00000"]["reasons"]
    assert {row["dropped_by"] for row in dropped.values()} == {"segmentation"}
    assert float(fates["a.mp4#00002"]["people"]) == pytest.approx(0.5, abs=0.05)
    assert len(clips(tmp_path / "out")) == 4
    assert found.accounts is not None
    assert dict(found.accounts.steps[-1].dropped) == {"people": 1, "constancy": 1}
    shots = rows(tmp_path / "out" / "shots.csv")
    assert [row["dropped"] for row in shots if row["video"] == "b.mp4"][-1].startswith("too short")
    assert "text file" in shots[-1]["dropped"]


def test_interrupted_twice_it_makes_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(source, tmp_path / "whole")
    for at in (1, 2):
        monkeypatch.setattr(Thresholds, "calls", 0)
        monkeypatch.setattr(Thresholds, "interrupt_at", at)
        with pytest.raises(KeyboardInterrupt):
            made(source, tmp_path / "out")
        assert not (tmp_path / "out" / "info.json").exists()
    monkeypatch.setattr(Thresholds, "interrupt_at", -1)
    made(source, tmp_path / "out")
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The videos that are opened for a pass, in order."""
    found: list[str] = []
    real = videos.open_grid

    def counted(path: Path, *args: Any, **kwargs: Any) -> Any:
        found.append(path.name)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(videos, "open_grid", counted)
    return found


def test_one_pass_over_each_video(source: Path, tmp_path: Path, passes: list[str]) -> None:
    made(source, tmp_path / "out")
    assert sorted(passes) == ["a.mp4", "b.mp4", "c.mp4"]
    passes.clear()
    again = made(source, tmp_path / "out")
    assert again.result is not None
    assert again.result.was_there
    assert not passes


def test_stages_one_by_one_make_the_same(source: Path, tmp_path: Path, passes: list[str]) -> None:
    made(source, tmp_path / "whole")
    passes.clear()
    for stage in recipe.STAGES:
        found = made(source, tmp_path / "out", until=stage)
        assert (found.result is not None) == (stage == "shards")
    assert sorted(passes) == sorted(2 * ["a.mp4", "b.mp4", "c.mp4"])  # shots, then clips
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")


def test_other_limits_cost_no_pass(source: Path, tmp_path: Path, passes: list[str]) -> None:
    made(source, tmp_path / "out")
    passes.clear()
    limits = nature(only(constancy=0.9))
    with pytest.raises(ValueError, match=r"made differently.*constancy"):
        made(source, tmp_path / "out", limits)
    calls = Thresholds.calls
    made(source, tmp_path / "out", limits, overwrite=True)
    assert not passes
    assert Thresholds.calls == calls
    assert len(clips(tmp_path / "out")) == 5


def test_another_seed_uses_the_shots_that_are_known(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(source, tmp_path / "out")
    before = clips(tmp_path / "out")

    def forbidden(name: str, fps: float) -> Any:
        raise AssertionError("the shots are known")

    monkeypatch.setattr(cutting, "make_detector", forbidden)
    made(source, tmp_path / "out", nature(seed=1), overwrite=True)
    after = clips(tmp_path / "out")
    assert len(after) == len(before)
    assert set(after) != set(before)


def test_a_stage_is_made_again(source: Path, tmp_path: Path, passes: list[str]) -> None:
    made(source, tmp_path / "out")
    before = shards(tmp_path / "out")
    passes.clear()
    calls = Thresholds.calls
    made(source, tmp_path / "out", redo="segmentation")
    assert Thresholds.calls == 2 * calls
    assert not passes
    made(source, tmp_path / "out", redo="shots")
    assert len(passes) == 3
    assert shards(tmp_path / "out") == before


def test_other_settings_are_refused_where_a_stage_is_to_be_made_again(
    source: Path, tmp_path: Path
) -> None:
    made(source, tmp_path / "out")
    with pytest.raises(ValueError, match=r"made differently.*seed was 0, now 1"):
        made(source, tmp_path / "out", nature(seed=1), redo="clips")


def test_stages_can_be_thrown_away(source: Path, tmp_path: Path) -> None:
    made(source, tmp_path / "out")
    run.discard_stages(Preparation([source], nature(), tmp_path / "out"))
    assert not (tmp_path / "out" / ".stages").exists()
    assert records.verify(tmp_path / "out").ok


def test_without_a_segmenter_there_are_no_maps(source: Path, tmp_path: Path) -> None:
    settings = nature(only(constancy=0.9))
    settings = Nature(settings.cutting, settings.encoding, settings.limits, None)
    made(source, tmp_path / "out", settings)
    kept = clips(tmp_path / "out")
    assert len(kept) == 6
    assert all(record.label_map is None for record in kept.values())
    assert not any("constancy" in record.measures for record in kept.values())


def test_the_split_by_a_list(source: Path, tmp_path: Path) -> None:
    preparation = Preparation([source], nature(), tmp_path / "out", workers=0)
    make: Callable[..., Made] = functools.partial(
        prepare_nature, preparation, workers=0, progress=False
    )
    with pytest.raises(ValueError, match=r"names 1 that are not there, such as 'x.mp4'"):
        make(layout=dataset.Layout(validation_videos=("x.mp4",)))
    make(layout=dataset.Layout(validation_videos=("b.mp4",)))
    assert records.ClipSource(tmp_path / "out", "validation").video_ids == ["b.mp4"]
    assert records.ClipSource(tmp_path / "out", "train").video_ids == ["a.mp4", "c.mp4"]


def test_damaged_work_is_made_again(source: Path, tmp_path: Path, passes: list[str]) -> None:
    """It must not cost a sound video its place, which would move the others between splits."""
    out = tmp_path / "out"
    made(source, out)
    before = shards(out)
    (part, *_) = sorted((out / ".stages" / "clips").glob("*.tfrecord"))
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    for redo in ("suitability", "segmentation", "shards"):
        part.write_bytes(damaged)
        passes.clear()
        with pytest.raises(OutputError, match=r"the clips of .\.mp4 were damaged.*repeat the same"):
            made(source, out, redo=redo)
        made(source, out, redo=redo)
        assert len(passes) == 1
        assert shards(out) == before


def test_a_video_that_fails_in_a_stage_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(task: Any, write: Any) -> Any:
        if task.video_id == "b.mp4":
            raise ValueError("b.mp4: can't be measured")
        return works.measure_clips(task, write)

    real = recipe.Preparation.stages

    def stages(self: Preparation, until: str = "shards") -> Any:
        return [
            dataclasses.replace(stage, work=fails) if stage.name == "suitability" else stage
            for stage in real(self, until)
        ]

    monkeypatch.setattr(recipe.Preparation, "stages", stages)
    found = made(source, tmp_path / "out")
    assert found.result is not None
    assert {o.video_id: o.error for o in found.result.failed}["b.mp4"] == "b.mp4: can't be measured"
    assert {clip[0] for clip in clips(tmp_path / "out")} == {"a", "c"}
    told = {row["video"]: row["dropped"] for row in rows(tmp_path / "out" / "shots.csv")}
    assert told["b.mp4"] == "b.mp4: can't be measured"


def test_a_finished_set_keeps_its_tables(source: Path, tmp_path: Path) -> None:
    made(source, tmp_path / "out")
    before = (tmp_path / "out" / "shots.csv").read_bytes()
    made(source, tmp_path / "out", until="shots")
    assert (tmp_path / "out" / "shots.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"until": "segmentation"}, "no stage 'segmentation' where there is no segmenter"),
        ({"redo": "segmentation"}, "no such stage where there is no segmenter"),
        ({"until": "shots", "redo": "clips"}, r"redo \(='clips'\) must not come after until"),
    ],
)
def test_stages_that_are_not_there(
    source: Path, tmp_path: Path, options: dict[str, str], said: str
) -> None:
    settings = nature()
    settings = Nature(settings.cutting, settings.encoding, settings.limits, None)
    with pytest.raises(ValueError, match=said):
        made(source, tmp_path / "out", settings, **options)


def test_sizes_that_can_not_be_measured_are_refused() -> None:
    with pytest.raises(ValueError, match=r"size \(=31\) must be at least 32"):
        nature(size=31)
    with pytest.raises(ValueError, match=r"segmented_frames \(=3\) must be at most 2"):
        nature(num_frames=2)


@pytest.mark.parametrize(
    ("total", "num", "shown"),
    [(72, 5, [0, 18, 36, 54, 71]), (8, 3, [0, 4, 7]), (3, 3, [0, 1, 2]), (2, 3, [0, 1, 1])],
)
def test_frames_looked_at(total: int, num: int, shown: list[int]) -> None:
    assert works.looked_at(total, num) == shown


def test_an_even_number_of_frames_is_refused() -> None:
    with pytest.raises(ValueError, match=r"segmented_frames \(=4\) must be odd"):
        Segmentation(load, "weights", "thresholds", segmented_frames=4)


def test_nothing_kept_is_told_with_reasons(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no clip of its 3 is suitable: constancy, people"):
        made(source, tmp_path / "out", nature(only(people=0.0, constancy=1.01)))
    assert rows(tmp_path / "out" / accounts.CLIPS_NAME)
