"""Counts of pixels of clips, against confusion matrices and loops."""

import numpy as np
import pytest

from vidgan_jax.metrics import segmentation
from vidgan_jax.metrics.label_counts import count_labels, image_accuracies, image_mean_ious

NUM = 5


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Maps of four clips, with don't care and an empty one, and what is seen in three frames."""
    rng = np.random.default_rng(0)
    label_maps = rng.choice([0, 1, 2, 4, 255], (4, 6, 7)).astype(np.uint8)
    label_maps[2] = 255
    predicted = rng.integers(0, NUM, (4, 3, 6, 7)).astype(np.uint8)
    return label_maps, np.where(rng.random(predicted.shape) < 0.5, predicted, label_maps[:, None])


def test_matrices_are_those_of_each_frame(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    label_maps, predicted = drawn
    counts = count_labels(label_maps, predicted, NUM)
    assert (counts.matrices.dtype, counts.matrices.shape) == (np.int64, (3, NUM, NUM))
    for i, matrix in enumerate(counts.matrices):
        expected = segmentation.confusion_matrix(label_maps, predicted[:, i], NUM)
        np.testing.assert_array_equal(matrix, expected)
    both = [
        count_labels(label_maps[k], predicted[k], NUM).matrices for k in (slice(1), slice(1, 4))
    ]
    np.testing.assert_array_equal(both[0] + both[1], counts.matrices)


def test_single_frames(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    label_maps, predicted = drawn
    counts = count_labels(label_maps, predicted, NUM)
    assert {counts.labelled.dtype, counts.predicted.dtype, counts.right.dtype} == {np.dtype("u1")}
    accuracies, ious = image_accuracies(counts), image_mean_ious(counts, (0, 3, 4))
    for n, i in np.ndindex(4, 3):
        truth, seen = label_maps[n], predicted[n, i]
        cared = truth != 255
        for label in range(NUM):
            is_label, is_seen = (truth == label) & cared, (seen == label) & cared
            assert counts.labelled[n, label] == is_label.sum()
            assert counts.predicted[n, i, label] == is_seen.sum()
            assert counts.right[n, i, label] == (is_label & is_seen).sum()
        if n == 2:
            assert np.isnan([accuracies[n, i], ious[n, i]]).all()
            continue
        matrix = segmentation.confusion_matrix(truth, seen, NUM)
        assert accuracies[n, i] == pytest.approx(segmentation.pixel_accuracy(matrix))
        # No map has the class 3.
        assert ious[n, i] == pytest.approx(segmentation.mean_iou_of(matrix, (0, 3, 4)))
    assert np.isnan(image_mean_ious(counts, (3,))).all()
    assert np.isnan(image_mean_ious(counts, ())).all()


def test_counts_of_large_frames_fit_their_type() -> None:
    """256×256 pixels are one more than 16 bits count."""
    whole = np.zeros((1, 256, 256), np.uint8)
    counts = count_labels(whole, whole[:, None], 1)
    assert counts.right.tolist() == [[[65536]]]
    assert image_accuracies(counts) == image_mean_ious(counts, (0,)) == 1


def test_what_does_not_fit_is_refused() -> None:
    maps, seen = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 5, 3, 4), np.uint8)
    with pytest.raises(ValueError, match=r"got \[2, 3, 4\] and \[2, 3, 4\]"):
        count_labels(maps, maps, NUM)
    with pytest.raises(ValueError, match=r"of the same n, h and w; got \[2, 3, 4\] and \[2, 5, 3,"):
        count_labels(maps, seen[..., :2], NUM)
    with pytest.raises(ValueError, match=r"holds the id 5; ids must be 0 to 4, or 255 for don't"):
        count_labels(maps + np.uint8(5), seen, NUM)
    with pytest.raises(ValueError, match=r"predicted holds the id 255; ids must be 0 to 4$"):
        count_labels(maps, seen - np.uint8(1), NUM)
    with pytest.raises(ValueError, match="predicted holds float64; class ids are integers"):
        count_labels(maps, seen / 1, NUM)
    ignored = np.full_like(maps, 255)
    assert count_labels(ignored, seen - np.uint8(1), NUM).matrices.sum() == 0
