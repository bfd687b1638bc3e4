"""Training of the small segmenter: it learns, is the same again, and goes on where it stopped."""

import dataclasses
import functools
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.datasets import make_dataset
from tests.runs import logged, names
from tests.segmentation.labelled import SIZE, SPEC, relabelled, tiny
from vidgan_jax.data.records import ClipSource, RecordError
from vidgan_jax.metrics.maps import read_labelled
from vidgan_jax.metrics.segmentation import compare_maps
from vidgan_jax.segmentation import checkpoint, small, training
from vidgan_jax.segmentation.config import SegmenterConfig
from vidgan_jax.segmentation.frames import Frames
from vidgan_jax.segmentation.small import Segmenter
from vidgan_jax.segmentation.training import Training, known_classes
from vidgan_jax.train import sharding
from vidgan_jax.train.loop import Outcome
from vidgan_jax.train.metrics import TIMES
from vidgan_jax.train.stopping import StopRequests

OFTEN = {"log_every_steps": 1, "save_every_steps": 2, "score_every_steps": 3, "num_scored": 99}
RESULTS = ["checkpoint.npz", "config.json", "metrics.jsonl", "scores.json", small.FILE]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return make_dataset(folder, size=10, label_maps=True, splits=("train", "validation"))


@pytest.fixture(scope="module")
def source(data: Path) -> ClipSource:
    return ClipSource(data, "train")


@pytest.fixture(scope="module", autouse=True)
def same_programs() -> Iterator[None]:
    """Runs of one config are traced once; what they compute is the same."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("make_initial", "make_step"):
            patch.setattr(Training, name, functools.cache(getattr(Training, name)))
        yield


def run(config: SegmenterConfig, source: ClipSource, workdir: Path, **options: Any) -> Outcome:
    mesh = sharding.make_mesh(1)
    return training.train(config, source, workdir, mesh=mesh, show_progress=False, **options)


def trained(config: SegmenterConfig, source: ClipSource, workdir: Path) -> Segmenter:
    assert run(config, source, workdir).finished
    return small.load(workdir / small.FILE)


def metrics(workdir: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k not in TIMES} for line in logged(workdir)]


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def assert_equal_runs(one: Path, other: Path) -> None:
    """Bit for bit, but for times."""
    assert metrics(one) == metrics(other)
    for name in (small.FILE, "checkpoint.npz"):
        first, second = arrays(one / name), arrays(other / name)
        assert first.keys() == second.keys()
        for key in first:
            np.testing.assert_array_equal(first[key], second[key], err_msg=key)
    assert (one / "scores.json").read_bytes() == (other / "scores.json").read_bytes()


def test_it_learns_what_the_maps_say(data: Path, source: ClipSource, tmp_path: Path) -> None:
    """Held-out videos; where pixels tell their class by their colour, nearly all are right."""
    config = tiny(60, segmenter={"features": (24, 32)}, train={"score_sizes": (10,)})
    validation = ClipSource(data, "validation")
    assert run(config, source, tmp_path, held_out=validation).finished
    assert names(tmp_path) == sorted([*RESULTS, "tensorboard"])
    segmenter = small.load(tmp_path / small.FILE)
    assert segmenter.classes == (0, 1, 2, 3)
    frames, label_maps = read_labelled(validation, SPEC, num=99)
    found, by_frame = compare_maps(segmenter(frames), label_maps, 4)
    assert found.pixel_accuracy > 0.9
    assert len(by_frame) == 3
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores == segmenter.trained
    assert list(scores["held_out"]) == ["10"]
    whole = scores["held_out"]["10"]
    assert whole["pixel_accuracy"] > 0.9
    assert whole["num_pixels"] == 100  # as many as `judge_config` wants: one frame
    assert {c["id"] for c in whole["classes"].values()} == {0, 1, 2, 3}
    assert metrics(tmp_path)[-1]["held_out_10/pixel_accuracy"] == whole["pixel_accuracy"]
    assert scores["config"]["train"]["num_steps"] == 60
    assert scores["data"]["spec"] == {"source": "tests"}


def test_a_killed_run_goes_on_as_if_nothing_had_been(
    source: ClipSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between checkpoints, stopped by a signal, or not at all: bit for bit the same."""
    config = tiny(5, data={"resizes": (8, 10)}, train=OFTEN | {"score_sizes": (8,)})
    assert run(config, source, tmp_path / "whole", held_out=source).finished
    lines = metrics(tmp_path / "whole")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert ["held_out_8/mean_iou" in line for line in lines] == [False, False, True, False, True]

    take, taken = Frames.__next__, []

    def die(frames: Frames) -> Any:
        taken.append(frames)
        if len(taken) == 4:
            raise SystemExit  # what a kill leaves is what was on disk
        return take(frames)

    killed = tmp_path / "killed"
    monkeypatch.setattr(Frames, "__next__", die)
    with pytest.raises(SystemExit):
        run(config, source, killed, held_out=source)
    monkeypatch.undo()
    assert not (killed / small.FILE).exists()
    assert run(config, source, killed, held_out=source).finished
    assert_equal_runs(killed, tmp_path / "whole")

    @contextmanager
    def requests() -> Iterator[StopRequests]:
        found = StopRequests()
        found.signalled = signal.SIGTERM
        yield found

    stopped = tmp_path / "stopped"
    monkeypatch.setattr(training, "stop_requests", requests)
    steps = [run(config, source, stopped, held_out=source) for _ in range(5)]
    assert [outcome.step for outcome in steps] == [1, 2, 3, 4, 5]
    assert [outcome.stopped_by for outcome in steps] == [signal.SIGTERM] * 4 + [None]
    # Each stop is logged, too: all steps are in this run.
    assert_equal_runs(stopped, tmp_path / "whole")


def test_a_finished_run_stays_and_writes_what_is_lost(source: ClipSource, tmp_path: Path) -> None:
    """Killed after the last checkpoint, before the results."""
    first = trained(tiny(), source, tmp_path)
    (tmp_path / small.FILE).unlink()
    again = trained(tiny(), source, tmp_path)
    assert again.identity == first.identity
    assert len(logged(tmp_path)) == 1


def test_the_same_seed_gives_the_same_segmenter(source: ClipSource, tmp_path: Path) -> None:
    one, again, other = (
        trained(tiny(train={"seed": seed}), source, tmp_path / str(i))
        for i, seed in enumerate((0, 0, 1))
    )
    assert one.identity == again.identity
    for a, b in zip(jax.tree.leaves(one.variables), jax.tree.leaves(other.variables), strict=True):
        assert not np.array_equal(a, b)


def test_a_batch_has_as_many_frames_of_each_size(source: ClipSource) -> None:
    config = tiny(data={"resizes": (8, 10), "flip": False})
    with Frames(config, source) as frames:
        batch, label_maps = map(np.asarray, next(frames))
        assert (batch.shape, label_maps.shape) == ((8, SIZE, SIZE, 3), (8, SIZE, SIZE))
        # The red is the row: where a frame of 10 is squeezed into 8 it rises faster.
        rise = batch[:, :, 0, 0].astype(int)
        spread = rise[:, -1] - rise[:, 0]
        assert spread[:4].min() > 240
        assert spread[4:].max() < 220
        second = next(frames)
        assert frames.samples == 8
        frames.go_to(4)
        np.testing.assert_array_equal(next(frames).frames, second.frames)


def test_ids_need_not_be_dense_and_those_of_no_class_are_not_learnt(tmp_path: Path) -> None:
    source = relabelled(tmp_path, {1: 40, 2: 255, 3: 200})
    config = tiny(segmenter={"num_labels": 41}, data={"dont_care": 200})
    found = trained(config, source, tmp_path / "run")
    assert found.classes == (0, 40)
    frames, _ = read_labelled(source, SPEC, num=2)
    assert set(np.unique(found(frames)).tolist()) <= {0, 40}


def test_a_batch_without_a_labelled_pixel_teaches_nothing_and_breaks_nothing(
    tmp_path: Path,
) -> None:
    source = relabelled(tmp_path, {1: 255, 2: 255, 3: 255})
    corner = {"size": 1, "features": (4,)}
    found = trained(tiny(segmenter=corner, train={"batch_size": 1}), source, tmp_path / "run")
    assert found.classes == (0,)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.variables))


def test_progress_has_loss_and_rate(
    source: ClipSource, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.train(tiny(), source, tmp_path, mesh=sharding.make_mesh(1))
    said = capsys.readouterr().err
    assert "training the segmenter: 100 %, step 2, loss " in said
    assert "clips/s" in said


def test_all_devices_share_a_batch(source: ClipSource, tmp_path: Path) -> None:
    """Batch norm is over the whole batch: as on one device, but for rounding."""
    config = tiny(1)
    assert len(sharding.make_mesh().devices) == 8
    training.train(config, source, tmp_path / "8", show_progress=False)
    one = trained(config, source, tmp_path / "1")
    shared = small.load(tmp_path / "8" / small.FILE)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3),
        dict(one.variables["batch_stats"]),
        dict(shared.variables["batch_stats"]),
    )


# Mistakes.


def test_ids_beyond_the_classes_are_refused(source: ClipSource, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"hold the id 3, but num_labels \(=3\) allows 0 to 2"):
        run(tiny(segmenter={"num_labels": 3}), source, tmp_path / "no")
    assert known_classes(source, 3, dont_care=3) == (0, 1, 2)
    assert not (tmp_path / "no").exists()


def test_data_without_label_maps_are_refused(tmp_path: Path) -> None:
    bare = ClipSource(make_dataset(tmp_path / "bare", size=10), "train")
    with pytest.raises(ValueError, match="has no label maps, or none with a class"):
        run(tiny(), bare, tmp_path / "no")
    with pytest.raises(ValueError, match="0 have a label map"):
        read_labelled(bare, SPEC, num=4)


def test_a_workdir_of_another_run_is_refused(source: ClipSource, tmp_path: Path) -> None:
    trained(tiny(), source, tmp_path / "run")
    wider = tiny(segmenter={"features": (5,)})
    with pytest.raises(ValueError, match=r"of another network .*\(.*4.* there, .*5.* wanted\)"):
        run(wider, source, tmp_path / "run")
    others = relabelled(tmp_path / "others", {3: 9})
    with pytest.raises(ValueError, match=r"learnt the classes \[0, 1, 2, 3\], and the data set"):
        run(tiny(segmenter={"num_labels": 10}), others, tmp_path / "run")
    (tmp_path / "run" / checkpoint.FILE).write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"checkpoint\.npz can't be read .*damaged"):
        run(tiny(), source, tmp_path / "run")
    (tmp_path / "gan" / "checkpoints" / "2" / "state").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds the checkpoints of a GAN"):
        run(tiny(), source, tmp_path / "gan")


def test_changed_fields_are_told(
    source: ClipSource, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tiny(), source, tmp_path)
    assert run(tiny(3), source, tmp_path).step == 3
    assert "train.num_steps 2 → 3" in capsys.readouterr().err


def test_numbers_that_are_not_finite_are_not_saved(source: ClipSource, tmp_path: Path) -> None:
    hot = dataclasses.asdict(tiny().optimizer) | {"learning_rate": 1e38, "warm_up": 0.0}
    with pytest.raises(FloatingPointError, match=r"not finite at step .*lower"):
        run(tiny(4, optimizer=hot, train=OFTEN), source, tmp_path)
    assert not (tmp_path / small.FILE).exists()


def test_a_damaged_record_costs_no_step(
    source: ClipSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = Frames.__next__, []

    def fail(frames: Frames) -> Any:
        taken.append(frames)
        if len(taken) == 2:
            raise RecordError("shard 0, record 1 is damaged")
        return take(frames)

    monkeypatch.setattr(Frames, "__next__", fail)
    with pytest.raises(RecordError):
        run(tiny(), source, tmp_path)
    assert run(tiny(), source, tmp_path).finished
    assert len(taken) == 3


def test_a_batch_that_sizes_cannot_share_is_refused(source: ClipSource) -> None:
    with pytest.raises(ValueError, match=r"batch_size \(=8\) must divide by 3"):
        Frames(tiny(data={"resizes": (8, 9, 10)}), source)
