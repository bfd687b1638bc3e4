"""The small segmenter: it learns, is the same again, and is kept."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.datasets import make_dataset
from vidgan_jax.data import records
from vidgan_jax.data.records import ClipSource
from vidgan_jax.metrics import maps, segmenter
from vidgan_jax.metrics.segmentation import compare_maps
from vidgan_jax.metrics.segmenter import Segmenter, Settings
from vidgan_jax.types import ClipSpec

SIZE = 8
SETTINGS = Settings(size=SIZE, resize=10, num_labels=4, num_steps=60, batch_size=8)
SPEC = ClipSpec(num_frames=3, stride=2, size=SIZE, resize=10, label_maps=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return make_dataset(folder, size=10, label_maps=True, splits=("train", "validation"))


@pytest.fixture(scope="module")
def source(data: Path) -> ClipSource:
    return ClipSource(data, "train")


@pytest.fixture(scope="module")
def trained(source: ClipSource) -> Segmenter:
    return segmenter.train_segmenter(source, SETTINGS, progress=False)


def relabelled(folder: Path, ids: dict[int, int], *, split: str = "train") -> ClipSource:
    """A data set of the tests with other ids in its label maps."""
    made = ClipSource(make_dataset(folder / "first", size=10, label_maps=True), "train")
    table = np.arange(256).astype(np.uint8)
    for before, after in ids.items():
        table[before] = after
    with records.ShardWriter(folder / "then" / records.shard_name(split, 0, 1)) as writer:
        for i in range(len(made)):
            label_map = records.decode_label_map(made[i].label_map or b"")
            encoded = records.encode_label_map(table[label_map])
            writer.write(dataclasses.replace(made[i], label_map=encoded))
    records.finalize(folder / "then")
    return ClipSource(folder / "then", split)


def test_it_learns_what_the_maps_say(data: Path, trained: Segmenter) -> None:
    """Held-out videos; where pixels tell their class by their colour, nearly all are right."""
    frames, label_maps = segmenter.read_labelled(ClipSource(data, "validation"), SPEC, num=99)
    found, by_frame = compare_maps(trained(frames), label_maps, 4)
    assert found.pixel_accuracy > 0.9
    assert len(by_frame) == 3
    assert found.num_pixels == 6 * 3 * SIZE**2


def test_any_number_of_frames_and_axes(source: ClipSource, trained: Segmenter) -> None:
    frames, _ = segmenter.read_labelled(source, SPEC, num=4)
    whole = trained(frames)
    assert (whole.shape, whole.dtype) == ((4, 3, SIZE, SIZE), np.uint8)
    np.testing.assert_array_equal(trained(frames, batch_size=5), whole)
    np.testing.assert_array_equal(trained(frames[1, 2]), whole[1, 2])
    assert trained(frames[:0]).shape == (0, 3, SIZE, SIZE)


def test_label_maps_are_read_in_order_and_no_more_than_asked_for(source: ClipSource) -> None:
    frames, label_maps = segmenter.read_labelled(source, SPEC, num=99)
    assert (frames.shape, label_maps.shape) == ((6, 3, SIZE, SIZE, 3), (6, SIZE, SIZE))
    fewer, their_maps = segmenter.read_labelled(source, SPEC, num=4)
    np.testing.assert_array_equal(fewer, frames[:4])
    np.testing.assert_array_equal(their_maps, label_maps[:4])


def test_the_same_seed_gives_the_same_segmenter(source: ClipSource) -> None:
    few = dataclasses.replace(SETTINGS, num_steps=2)
    one, again, other = (
        segmenter.train_segmenter(source, dataclasses.replace(few, seed=seed), progress=False)
        for seed in (0, 0, 1)
    )
    for a, b, c in zip(
        *(jax.tree.leaves(found.variables) for found in (one, again, other)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_a_stored_one_is_the_trained_one_in_half_the_bytes(
    trained: Segmenter, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "s.npz"
    segmenter.save(trained, path)
    loaded = segmenter.load(path)
    assert (loaded.classes, loaded.features) == (trained.classes, trained.features)
    assert trained.classes == (0, 1, 2, 3)
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, trained.variables)
    assert path.stat().st_size < 2.2 * trained.num_params < 2e6


def test_it_is_trained_once_for_data_and_settings(
    source: ClipSource, trained: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def train(source: ClipSource, settings: Settings, *, progress: bool) -> Segmenter:
        calls.append(settings)
        return trained

    monkeypatch.setattr(segmenter, "train_segmenter", train)
    first = segmenter.cached_segmenter(source, SETTINGS)
    again = segmenter.cached_segmenter(source, SETTINGS)
    assert calls == [SETTINGS]
    jax.tree.map(np.testing.assert_array_equal, first.variables, again.variables)
    other = dataclasses.replace(SETTINGS, num_steps=61)
    segmenter.cached_segmenter(source, other)
    assert calls == [SETTINGS, other]
    path = segmenter.cache_path(source, SETTINGS)
    assert path.parent == tmp_path / "vidgan_jax" / "segmenters"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"\.npz: no segmenter, or damaged .*; remove it"):
        segmenter.cached_segmenter(source, SETTINGS)


def test_files_that_are_no_segmenter_are_refused(tmp_path: Path) -> None:
    for name, content in (("a.npz", b""), ("b.npz", b"nothing")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="no segmenter, or damaged"):
            segmenter.load(tmp_path / name)
    np.savez(tmp_path / "c.npz", other=np.zeros(3))
    with pytest.raises(ValueError, match="no segmenter, or damaged"):
        segmenter.load(tmp_path / "c.npz")


def test_ids_need_not_be_dense_and_those_of_no_class_are_not_learnt(tmp_path: Path) -> None:
    source = relabelled(tmp_path, {1: 40, 2: 255, 3: 200})
    few = dataclasses.replace(SETTINGS, num_labels=41, dont_care=200, num_steps=2)
    found = segmenter.train_segmenter(source, few, progress=False)
    assert found.classes == (0, 40)
    frames, _ = segmenter.read_labelled(source, SPEC, num=2)
    assert set(np.unique(found(frames)).tolist()) <= {0, 40}


def test_a_batch_without_a_labelled_pixel_teaches_nothing_and_breaks_nothing(
    tmp_path: Path,
) -> None:
    source = relabelled(tmp_path, {1: 255, 2: 255, 3: 255})
    corner = dataclasses.replace(SETTINGS, size=1, resize=10, num_steps=2, batch_size=1)
    found = segmenter.train_segmenter(source, corner, progress=False)
    assert found.features == (24,)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.variables))


def test_progress_is_on_stderr(source: ClipSource, capsys: pytest.CaptureFixture[str]) -> None:
    segmenter.train_segmenter(source, dataclasses.replace(SETTINGS, num_steps=2))
    assert "training the segmenter: 100 %, step 2 of 2, loss " in capsys.readouterr().err


# Maps that generators are judged by.


def test_maps_and_agreements(
    data: Path, source: ClipSource, trained: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmenter, "cached_segmenter", lambda *given: trained)
    validation = ClipSource(data, "validation")
    found = maps.prepare_maps(validation, SPEC, SETTINGS, num=4, learnt=source, held_out=validation)
    assert found.made_of["split"] == "train"
    assert found.held_out is not None
    assert found.held_out["pixel_accuracy"] > 0.8
    conditions = found.conditions(6)
    np.testing.assert_array_equal(conditions[:4], found.label_maps)
    np.testing.assert_array_equal(conditions[4:], found.label_maps[:2])
    # Whoever generates the real clips scores as they do; images of noise do not.
    report = maps.agreements(found.real, found)
    assert report["generated"] == report["real"]
    assert report["num_maps"] == 4
    assert report["real"]["pixel_accuracy"] > 0.9
    assert len(report["real"]["accuracy_by_frame"]) == 3
    assert set(report["real"]["classes"]) == {"wall", "building", "sky", "floor"}
    assert report["real"]["classes"]["sky"]["id"] == 2
    noise = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3)).astype(np.uint8)
    judged = maps.agreements(noise, found)["generated"]
    assert judged["pixel_accuracy"] < 0.6
    assert judged["accuracy_by_frame"] is None


# Mistakes.


def test_ids_beyond_the_classes_are_refused(source: ClipSource) -> None:
    with pytest.raises(ValueError, match=r"hold the id 3, but num_labels \(=3\) allows 0 to 2"):
        segmenter.train_segmenter(source, dataclasses.replace(SETTINGS, num_labels=3))
    assert segmenter.known_classes(source, 3, dont_care=3) == (0, 1, 2)


def test_data_without_label_maps_are_refused(tmp_path: Path) -> None:
    bare = ClipSource(make_dataset(tmp_path, size=10), "train")
    with pytest.raises(ValueError, match="has no label maps, or none with a class"):
        segmenter.train_segmenter(bare, SETTINGS)
    with pytest.raises(ValueError, match="0 have a label map"):
        segmenter.read_labelled(bare, SPEC, num=4)


@pytest.mark.parametrize("name", ["size", "num_steps", "batch_size"])
def test_settings_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} \(=0\) must be at least 1"):
        dataclasses.replace(SETTINGS, **{name: 0})
    with pytest.raises(ValueError, match=r"num_labels \(=256\) must be from 1 to 255"):
        dataclasses.replace(SETTINGS, num_labels=256)


@pytest.mark.parametrize(
    "frames",
    [np.zeros((1, 8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)],
)
def test_frames_that_are_none_are_refused(trained: Segmenter, frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"frames must be uint8 \[\.\.\., h, w, 3\]; got"):
        trained(frames)


def test_frames_that_cannot_be_halved_are_refused(trained: Segmenter) -> None:
    with pytest.raises(ValueError, match="h and w multiples of 8"):
        trained(np.zeros((1, 12, 8, 3), np.uint8))
