"""What a model has learned to draw: told by its data set, by embedded scenes, or by its config."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets import clip_record
from tests.models_on_disk import save_model
from tests.runs import ROOT, fields
from vidgan_jax import experiment
from vidgan_jax.data import records
from vidgan_jax.data.info import INFO_NAME
from vidgan_jax.data.scenes import SCENE_LABELS
from vidgan_jax.data.tfexample import RecordError
from vidgan_jax.serving.vocabulary import MAX_EXAMPLES, Vocabulary, vocabulary_of
from vidgan_jax.train.weights import Weights

SIZE = 8
# Far from each other in the colours' table, and none of them the first.
WATER, SKY, HILL, DONT_CARE = 21, 2, 68, 255
TINY = (
    *fields(model_size=SIZE, model_features=2, model_max_features=2, model_z_dim=3),
    *fields(model_label_features=2, model_disc_features=2, model_disc_scales=1),
    *fields(model_disc_layers=1, data_resize=SIZE),
)


def write_maps(folder: Path, maps: Sequence[np.ndarray]) -> Path:
    """A data set of two frames of one colour for each map."""
    with records.ShardWriter(folder / records.shard_name("train", 0, 1)) as writer:
        for i, label_map in enumerate(maps):
            frames = np.full((2, *label_map.shape, 3), i, np.uint8)
            writer.write(
                clip_record(
                    frames=records.encode_frames(frames, image_format="png"),
                    height=label_map.shape[0],
                    width=label_map.shape[1],
                    label_map=records.encode_label_map(label_map),
                    video_id=f"video-{i}",
                    clip_id=f"clip-{i}",
                )
            )
    records.finalize(folder, spec={})
    return folder


def shares(**pixels: int) -> np.ndarray:
    """A map with so many pixels of each class, in their order; sky is the rest."""
    ids = {"water": WATER, "hill": HILL, "nothing": DONT_CARE}
    flat = np.concatenate([np.full(n, ids[name], np.uint8) for name, n in pixels.items()])
    rest = np.full(SIZE * SIZE - len(flat), SKY, np.uint8)
    return np.concatenate([flat, rest]).reshape(SIZE, SIZE)


def found(*overrides: str, **told: Any) -> Vocabulary:
    """Of a model with such a config and such words in its checkpoint."""
    raw = experiment.load_config(str(ROOT / "configs/spade2d.py:smoke"), (*TINY, *overrides))
    weights = Weights({}, {}, {}, {"config": raw.to_dict(), **told}, Path("workdir/checkpoints/0"))
    return vocabulary_of(weights, experiment.build(raw))


def test_labels_are_those_of_the_data_the_most_frequent_first(tmp_path: Path) -> None:
    maps = [shares(water=40, hill=1), shares(water=50), shares(nothing=5, water=30)]
    data = write_maps(tmp_path / "data", maps)
    known = found(*fields(data_path=data))
    assert known.labels == (WATER, SKY, HILL)
    assert str(data) in known.said
    for (_, example), label_map in zip(known.examples, maps, strict=True):
        np.testing.assert_array_equal(example, label_map)


def test_a_label_that_no_map_read_has_is_known_all_the_same(tmp_path: Path) -> None:
    """The index knows all labels; frequencies are counted on some maps. Here all but one."""
    maps = [shares(water=i) for i in range(49)]
    maps[1] = shares(hill=64)
    data = write_maps(tmp_path / "data", maps)
    known = found(*fields(data_path=data))
    assert known.labels[-1] == HILL
    assert len(known.labels) == 3
    assert len(known.examples) == MAX_EXAMPLES


def test_examples_are_distinct_and_named_by_what_is_on_them(tmp_path: Path) -> None:
    same = shares(water=20)
    maps = [same, same, shares(water=21), shares(water=40, hill=1), shares(nothing=64)]
    data = write_maps(tmp_path / "data", maps)
    known = found(*fields(data_path=data))
    names = ["sky, water (1)", "sky, water (2)", "water, sky", "no class"]
    assert [name for name, _ in known.examples] == names


def test_embedded_scenes_are_not_rendered_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    known = found(*fields(model_size=16, data_resize=20))
    assert set(known.labels) == frozenset().union(*SCENE_LABELS.values())
    assert not (tmp_path / "cache").exists()
    assert len({name for name, _ in known.examples}) == MAX_EXAMPLES
    counts = np.zeros(256, int)
    for _, example in known.examples:
        assert (example.dtype, example.shape) == (np.uint8, (16, 16))
        assert set(np.unique(example).tolist()) <= set(known.labels)
        counts += np.bincount(example.ravel(), minlength=256)
    assert known.labels[0] == counts.argmax()


def test_without_its_data_a_model_has_all_labels_of_its_config(tmp_path: Path) -> None:
    gone = fields(data_path=tmp_path / "gone", model_num_labels=25)
    known = found(*gone)
    assert known.labels == tuple(range(25))
    assert f"{tmp_path / 'gone'}, is not here" in known.said
    for _, example in known.examples:  # of scenes those that have no label beyond
        assert example.max() < 25


def test_beyond_ade20k_nobody_knows_what_ids_mean(tmp_path: Path) -> None:
    gone = fields(data_path=tmp_path / "gone", model_num_labels=182)
    known = found(*gone)
    assert (len(known.labels), known.examples) == (182, ())


def test_damaged_data_are_told(tmp_path: Path) -> None:
    data = write_maps(tmp_path / "data", [shares(water=9)])
    (data / INFO_NAME).write_text("{")
    with pytest.raises(RecordError, match="damaged"):
        found(*fields(data_path=data))


def test_inflated_weights_know_what_the_2d_ones_were_trained_on(tmp_path: Path) -> None:
    data = write_maps(tmp_path / "data", [shares(hill=9)])
    origin = tmp_path / "trained"
    save_model(origin, "spade2d.py:smoke", (*TINY, *fields(data_path=data)))
    assert found(inflated={"from": {"path": str(origin)}}).labels == (SKY, HILL)


@pytest.mark.parametrize(
    "told",
    [{"inflated": {"from": {"path": "no/where"}}}, {"converted": {}}],
    ids=["inflated", "converted"],
)
def test_weights_that_tell_of_no_data_have_all_labels(told: dict[str, Any]) -> None:
    known = found(**told)
    assert known.labels == tuple(range(150))
    assert "does not tell" in known.said
