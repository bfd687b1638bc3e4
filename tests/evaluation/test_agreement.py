"""Agreement of segmented frames with label maps: by an oracle, by wrong ones, and by hand."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.evaluation.oracle import NUM_FRAMES, NUM_LABELS, SIZE, STORED, Oracle, crop, make_scenes
from vidgan_jax.data.labels import CLASS_NAMES, resize_label_map
from vidgan_jax.evaluation.agreement import THESIS_CLASSES, Agreement
from vidgan_jax.evaluation.measure import FAKES, LABELLED, Observation, Part
from vidgan_jax.metrics.maps import read_labelled
from vidgan_jax.types import ClipSpec


@dataclasses.dataclass(frozen=True)
class Red:
    """Says that a pixel's class is its red."""

    classes: tuple[int, ...] = (0, 1, 2)
    identity: str = "red"

    def __call__(
        self, frames: np.ndarray, *, batch_size: int = 8, progress: bool = False
    ) -> np.ndarray:
        return frames[..., 0]


def measure(judge: Any, num_labels: int, min_share: float = 0.01, **more: Any) -> Agreement:
    return Agreement(judge, num_labels, min_share=min_share, made_of={"summary": "X"}, **more)


def joined(observations: list[Observation]) -> Observation:
    """As the engine joins what is seen of parts."""
    rows = {k: np.concatenate([o.rows[k] for o in observations]) for k in observations[0].rows}
    sums = {k: np.sum([o.sums[k] for o in observations], axis=0) for k in observations[0].sums}
    return Observation(rows, sums)


def painted(maps: Any) -> np.ndarray:
    """Frames that `Red` sees as these maps."""
    return np.repeat(np.asarray(maps, np.uint8)[..., None], 3, axis=-1)


def scored(agreement: Agreement, fakes: Part, real: Part) -> dict[str, Any]:
    found = agreement.conclude({FAKES: agreement.observe(fakes), LABELLED: agreement.observe(real)})
    return json.loads(json.dumps(found, allow_nan=False))


# Real frames of the embedded scenes.


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """As the scenes' data set is read for scoring."""
    source = make_scenes(tmp_path_factory.mktemp("scenes"))
    spec = ClipSpec(NUM_FRAMES, stride=1, size=SIZE, resize=STORED, label_maps=True)
    frames, label_maps = read_labelled(source, spec, num=99)
    assert frames.shape == (6, NUM_FRAMES, SIZE, SIZE, 3)
    return Part(0, frames, label_maps)


def test_an_oracle_is_always_right(real: Part) -> None:
    agreement = measure(Oracle(), NUM_LABELS)
    found = scored(agreement, real, real)
    for side in (found["generated"], found["real"]):
        assert side["pixel_accuracy"] == side["mean_iou"] == side["mean_iou_present"] == 1.0
        assert side["images"] == {
            "num": 6 * NUM_FRAMES,
            "pixel_accuracy": 1.0,
            "num_with_classes": 6 * NUM_FRAMES,
            "mean_iou": 1.0,
        }
        assert side["accuracy_by_frame"] == side["mean_iou_by_frame"] == [1.0] * NUM_FRAMES
        assert side["num_pixels"] == 6 * NUM_FRAMES * SIZE * SIZE
        assert {c["iou"] for c in side["classes"].values()} == {1.0}
    assert found["label_offset_suspected"] is None
    assert agreement.headline(found) == {"mIoU": 100.0, "pixel accuracy": 100.0}


def by_mean_ids(whole: np.ndarray) -> np.ndarray:
    """What becomes of a map that is halved and enlarged again by means, as frames are."""
    half = crop(whole).reshape(SIZE // 2, 2, SIZE // 2, 2).mean(axis=(1, 3))
    return half.round().astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)


def by_nearest_ids(whole: np.ndarray) -> np.ndarray:
    return resize_label_map(resize_label_map(crop(whole), SIZE // 2), SIZE)


@pytest.mark.parametrize(
    ("change", "offset"),
    [
        (lambda whole: crop(whole) + np.uint8(1), -1),
        (lambda whole: crop(whole) - np.uint8(1), 1),
        (lambda whole: crop(whole, 1), None),
        (lambda whole: crop(whole)[:, ::-1], None),
        (by_mean_ids, None),
        (by_nearest_ids, None),
    ],
)
def test_who_counts_crops_or_resizes_otherwise_is_not(
    real: Part, change: Callable[[np.ndarray], np.ndarray], offset: int | None
) -> None:
    agreement = measure(Oracle(change), NUM_LABELS)
    found = scored(agreement, real, real)
    assert found["real"]["pixel_accuracy"] < 1
    assert found["real"]["images"]["mean_iou"] < 1
    assert found["label_offset_suspected"] == offset
    warned = "agree better with its ids" in agreement.tables(found)[0].caption
    assert warned == (offset is not None)


# By hand: three classes, of which the third is rare.

# Three clips of two frames; of the maps' pixels, 7 are of class 0, 4 of class 1 and 1 of class 2.
MAPS = np.array([[[0, 0, 0, 0]], [[0, 0, 1, 1]], [[0, 1, 1, 2]]], np.uint8)
SEEN = [
    [[[0, 0, 0, 0]], [[0, 0, 0, 1]]],
    [[[0, 0, 1, 1]], [[1, 1, 1, 1]]],
    [[[0, 1, 1, 0]], [[0, 1, 1, 2]]],
]


@pytest.fixture
def by_hand() -> dict[str, Any]:
    return scored(
        measure(Red(), 3, min_share=0.1), Part(0, painted(SEEN), MAPS), Part(0, painted(MAPS), MAPS)
    )


def test_sums_over_the_set(by_hand: dict[str, Any]) -> None:
    generated = by_hand["generated"]
    assert (generated["num_examples"], generated["num_pixels"]) == (3, 24)
    assert generated["pixel_accuracy"] == 20 / 24
    # Class 0: 11 right of 14 + 12 - 11; class 1: 8 of 8 + 11 - 8; class 2: 1 of 2 + 1 - 1.
    ious = {"wall": 11 / 15, "building": 8 / 11, "sky": 1 / 2}
    assert {name: c["iou"] for name, c in generated["classes"].items()} == pytest.approx(ious)
    assert generated["mean_iou"] == pytest.approx((11 / 15 + 8 / 11) / 2)
    assert generated["mean_iou_present"] == pytest.approx((11 / 15 + 8 / 11 + 1 / 2) / 3)
    assert by_hand["classes_counted"] == [{"id": 0, "name": "wall"}, {"id": 1, "name": "building"}]
    assert generated["classes"]["sky"]["share"] == 1 / 12


def test_curves_over_time(by_hand: dict[str, Any]) -> None:
    generated = by_hand["generated"]
    assert generated["accuracy_by_frame"] == pytest.approx([11 / 12, 9 / 12])
    # First frame: class 0, 7 of 7 + 8 - 7; class 1, 4 of 4.
    # Second: class 0, 4 of 7 + 4 - 4; class 1, 4 of 4 + 7 - 4.
    assert generated["mean_iou_by_frame"] == pytest.approx([(7 / 8 + 1) / 2, 4 / 7])
    assert by_hand["real"]["accuracy_by_frame"] is None  # of images


def test_means_over_images(by_hand: dict[str, Any]) -> None:
    """Each frame by itself, over the frequent classes that its map has."""
    images = by_hand["generated"]["images"]
    assert (images["num"], images["num_with_classes"]) == (6, 6)
    assert images["pixel_accuracy"] == pytest.approx((1 + 3 / 4 + 1 + 2 / 4 + 3 / 4 + 1) / 6)
    ious = [1, 3 / 4, 1, (0 + 2 / 4) / 2, (1 / 2 + 1) / 2, 1]
    assert images["mean_iou"] == pytest.approx(sum(ious) / 6)


def test_parts_of_any_length_give_the_same(by_hand: dict[str, Any]) -> None:
    agreement = measure(Red(), 3, min_share=0.1)
    frames = painted(SEEN)
    parts = [agreement.observe(Part(i, frames[i:j], MAPS[i:j])) for i, j in ((0, 1), (1, 3))]
    real = agreement.observe(Part(0, painted(MAPS), MAPS))
    found = agreement.conclude({FAKES: joined(parts), LABELLED: real})
    assert json.dumps(found) == json.dumps(by_hand)


def test_real_maps_decide_which_classes_count() -> None:
    """Maps are given in turn: those given more often make nothing frequent."""
    fakes = Part(0, painted(MAPS[[2, 2, 2]]), MAPS[[2, 2, 2]])
    found = scored(measure(Red(), 3, min_share=0.1), fakes, Part(0, painted(MAPS), MAPS))
    assert found["generated"]["classes"]["sky"]["share"] == 1 / 4
    assert [c["id"] for c in found["classes_counted"]] == [0, 1]


def test_don_t_care_never_counts() -> None:
    maps = np.where(MAPS == 2, 255, MAPS).astype(np.uint8)
    maps[0] = 255
    agreement = measure(Red(), 3, min_share=0)
    real = Part(0, painted(np.where(maps == 255, 2, maps)), maps)
    found = scored(agreement, real, real)["real"]
    assert (found["pixel_accuracy"], found["mean_iou"], found["num_pixels"]) == (1, 1, 7)
    assert (found["images"]["num"], found["images"]["num_with_classes"]) == (2, 2)
    assert set(found["classes"]) == {"wall", "building"}
    nothing = Part(0, real.frames, np.full_like(maps, 255))
    with pytest.raises(ValueError, match="no pixel of the reference maps has a class"):
        scored(agreement, nothing, nothing)


def test_classes_may_be_chosen() -> None:
    agreement = measure(Red(), 4, classes=[3, 2, 1])
    found = scored(agreement, Part(0, painted(SEEN), MAPS), Part(0, painted(MAPS), MAPS))
    assert found["classes_asked_for"] == [1, 2, 3]
    assert [c["id"] for c in found["classes_counted"]] == [1, 2]
    assert found["generated"]["mean_iou"] == pytest.approx((8 / 11 + 1 / 2) / 2)
    assert "2 of 3 chosen" in " ".join(agreement.tables(found)[0].columns)


def test_the_thesis_s_classes() -> None:
    """Table 4.1's names; without the rare palm, earth and waterfall, which come next."""
    names = {CLASS_NAMES[i] for i in THESIS_CLASSES}
    water = {"sea", "water", "river"}
    assert names == {"sky", "sand", "rock", "tree", "mountain", "plant", "grass"} | water


def test_no_frequent_class_is_no_score_and_no_failure() -> None:
    part = Part(0, painted(MAPS), MAPS)
    agreement = measure(Red(), 3, min_share=0.9)
    found = scored(agreement, part, part)
    assert found["generated"]["mean_iou"] is found["generated"]["images"]["mean_iou"] is None
    assert found["generated"]["mean_iou_present"] == 1
    assert agreement.headline(found) == {"pixel accuracy": 100.0}
    assert "no class counts" in agreement.tables(found)[0].caption


def test_tables(by_hand: dict[str, Any]) -> None:
    held_out = {"split": "validation", "pixel_accuracy": 0.875, "mean_iou": 0.5}
    summary, classes = measure(Red(), 3).tables(by_hand | {"held_out": held_out})
    assert summary.columns[1:4] == ("pixel accuracy", "mIoU (2 of ≥ 10 %)", "mIoU (all 3 present)")
    assert summary.rows[0][:2] == ("generated", "83.33")
    assert summary.rows[1] == ("real, of these maps", *["100.00"] * 5)
    assert summary.caption == "by X; 87.5% right in the split 'validation'"
    assert classes.rows[0] == ("wall", "0", "58.33", "73.33", "100.00")
    assert [row[0] for row in classes.rows] == ["wall", "building"]
    assert all(len(row) == len(t.columns) for t in (summary, classes) for row in t.rows)


# What does not fit.


def test_judges_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"may give the id 2, but num_labels \(=2\) allows 0 to 1"):
        measure(Red(), 2)
    with pytest.raises(ValueError, match=r"may give the id 150.*label_offset"):
        measure(Red(tuple(range(1, 151))), 150)
    unknowing = measure(Red((0, 1)), 3)
    with pytest.raises(ValueError, match=r"hold the id 2 \(sky\), which the .* 2 classes are 0 to"):
        unknowing.observe(Part(0, painted(MAPS), MAPS))
    lying = measure(Red((0, 1)), 2)
    with pytest.raises(ValueError, match="predicted holds the id 2; ids must be 0 to 1"):
        lying.observe(Part(0, painted(MAPS), np.zeros_like(MAPS)))


def test_parts_without_maps_or_with_others_are_refused() -> None:
    agreement = measure(Red(), 3)
    with pytest.raises(ValueError, match="needs the label map of each example"):
        agreement.observe(Part(0, painted(MAPS)))
    with pytest.raises(ValueError, match=r"\[3, 1, 3\] are not of the size of their frames"):
        agreement.observe(Part(0, painted(MAPS), MAPS[..., :3]))


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"min_share \(=1\) must be from 0 to below 1"):
        measure(Red(), 3, min_share=1)
    for wrong in ([], [3]):
        with pytest.raises(ValueError, match="must be ids from 0 to 2, one at least"):
            measure(Red(), 3, classes=wrong)


def test_settings_tell_the_judge_but_not_what_is_chosen_afterwards() -> None:
    """Other classes may count without anything being segmented again."""
    one, other = measure(Red(), 3, min_share=0.1), measure(Red(), 3, classes=[1])
    assert one.settings() == other.settings()
    assert one.settings() != measure(Red(identity="other"), 3).settings()
    assert one.settings() != measure(Red(), 4).settings()
