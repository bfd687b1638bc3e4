"""Maps that generators are judged by."""

from pathlib import Path

import numpy as np
import pytest

from tests.datasets import label_of, make_dataset
from vidgan_jax.data.records import ClipSource
from vidgan_jax.metrics import maps
from vidgan_jax.types import ClipSpec

SIZE = 8
SPEC = ClipSpec(num_frames=3, stride=2, size=SIZE, resize=10, label_maps=True)


def colour_judge(frames: np.ndarray, *, batch_size: int = 1, progress: bool = False) -> np.ndarray:
    """Knows how the data of the tests are made."""
    return label_of(frames)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ClipSource:
    folder: Path = tmp_path_factory.mktemp("data")
    return ClipSource(make_dataset(folder, size=10, label_maps=True), "train")


def test_label_maps_are_read_in_order_and_no_more_than_asked_for(source: ClipSource) -> None:
    frames, label_maps = maps.read_labelled(source, SPEC, num=99)
    assert (frames.shape, label_maps.shape) == ((6, 3, SIZE, SIZE, 3), (6, SIZE, SIZE))
    fewer, their_maps = maps.read_labelled(source, SPEC, num=4)
    np.testing.assert_array_equal(fewer, frames[[0, 2, 3, 5]])
    np.testing.assert_array_equal(their_maps, label_maps[[0, 2, 3, 5]])


def test_a_judge_is_measured_on_single_frames(source: ClipSource) -> None:
    found = maps.measure_judge(colour_judge, source, SPEC, 4, num=99)
    assert found == {"split": "train", "pixel_accuracy": 1.0, "mean_iou": 1.0}

    def mistaken(frames: np.ndarray, *, batch_size: int = 1, progress: bool = False) -> np.ndarray:
        assert frames.ndim == 4
        seen = label_of(frames)
        return np.where(seen == 3, 2, seen).astype(np.uint8)

    share = (label_of(maps.read_labelled(source, SPEC, num=1)[0][0, 0]) == 3).mean()
    wrong = maps.measure_judge(mistaken, source, SPEC, 4, num=99)
    assert wrong["pixel_accuracy"] == pytest.approx(1 - share)
