"""Scores of label maps, against closed forms worked out by hand."""

import numpy as np
import pytest

from vidgan_jax.metrics import segmentation
from vidgan_jax.metrics.segmentation import confusion_matrix

# Four pixels of class 0, two of class 2, one of no class.
REFERENCE = np.array([[0, 0, 0, 0], [2, 2, 255, 255]], np.uint8)
PREDICTED = np.array([[0, 0, 0, 1], [2, 0, 1, 2]], np.uint8)
MATRIX = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 1]])


def test_confusion_counts_pixels_by_class_and_prediction() -> None:
    found = confusion_matrix(REFERENCE, PREDICTED, 3)
    np.testing.assert_array_equal(found, MATRIX)
    assert found.dtype == np.int64


def test_parts_add_up_and_don_t_care_is_left_out_whatever_is_predicted() -> None:
    halves = [confusion_matrix(r, p, 3) for r, p in zip(REFERENCE, PREDICTED, strict=True)]
    np.testing.assert_array_equal(sum(halves), MATRIX)
    other = np.where(REFERENCE == 255, 77, PREDICTED)
    np.testing.assert_array_equal(confusion_matrix(REFERENCE, other, 3), MATRIX)
    np.testing.assert_array_equal(
        confusion_matrix(REFERENCE[:1].astype(np.int64), PREDICTED[:1], 3, dont_care=0), 0
    )


def test_accuracy_and_iou() -> None:
    assert segmentation.pixel_accuracy(MATRIX) == 4 / 6
    # Class 0: 3 shared of 4 + 4 - 3; class 1 is only predicted; class 2: 1 of 2 + 1 - 1.
    np.testing.assert_allclose(segmentation.class_iou(MATRIX), [3 / 5, 0, 1 / 2])
    assert segmentation.mean_iou(MATRIX) == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert segmentation.mean_iou(MATRIX, min_share=0.5) == pytest.approx(3 / 5)


def test_a_class_that_is_nowhere_has_no_iou() -> None:
    matrix = np.zeros((3, 3), np.int64)
    matrix[1, 1] = 5
    np.testing.assert_array_equal(segmentation.class_iou(matrix), [np.nan, 1, np.nan])
    found = segmentation.agreement(matrix)
    assert (dict(found.iou), dict(found.share), found.num_pixels) == ({1: 1.0}, {1: 1.0}, 5)
    assert found.pixel_accuracy == found.mean_iou == found.mean_iou_present == 1


def test_rare_classes_count_among_the_present_ones_only() -> None:
    """Exactly one in a hundred is enough, one in 101 is not; predictions make nothing frequent."""
    matrix = np.array([[99, 0, 0], [1, 0, 0], [0, 0, 0]])
    assert segmentation.mean_iou(matrix) == pytest.approx(0.99 / 2)
    matrix[0, 0] = 100
    found = segmentation.agreement(matrix)
    assert found.mean_iou == pytest.approx(100 / 101)
    assert found.mean_iou_present == pytest.approx(100 / 101 / 2)
    matrix[0, 2] = 50
    assert segmentation.mean_iou(matrix, min_share=0) == pytest.approx(100 / 151 / 2)


def test_classes_are_counted_by_their_share_or_by_name() -> None:
    num_pixels = np.array([980, 0, 10, 9, 1])
    assert segmentation.frequent_classes(num_pixels) == (0, 2)
    assert segmentation.frequent_classes(num_pixels, min_share=0) == (0, 2, 3, 4)
    assert segmentation.frequent_classes(num_pixels, min_share=0.99) == ()
    # Class 1 is only predicted.
    assert segmentation.mean_iou_of(MATRIX, (1, 2)) == 1 / 2
    with pytest.raises(ValueError, match=r"reference maps have none of the classes \[1\]"):
        segmentation.mean_iou_of(MATRIX, (1,))


def test_a_permutation_of_classes_changes_no_score() -> None:
    rng = np.random.default_rng(0)
    reference, predicted = rng.integers(0, 5, (2, 3, 8, 8))
    order = rng.permutation(5)
    one = segmentation.agreement(confusion_matrix(reference, predicted, 5))
    other = segmentation.agreement(confusion_matrix(order[reference], order[predicted], 5))
    assert one.pixel_accuracy == pytest.approx((reference == predicted).mean())
    assert one.mean_iou == pytest.approx(other.mean_iou)
    for i, iou in one.iou.items():
        shared = ((reference == i) & (predicted == i)).sum()
        assert iou == pytest.approx(shared / ((reference == i) | (predicted == i)).sum())
        assert other.iou[order[i]] == pytest.approx(iou)


def test_a_clip_is_scored_frame_by_frame_against_its_one_map() -> None:
    maps = np.array([[[0, 1]], [[1, 255]]], np.uint8)
    clips = np.array([[[[0, 1]], [[0, 0]]], [[[1, 0]], [[0, 0]]]], np.uint8)
    found, by_frame = segmentation.compare_maps(clips, maps, 2)
    assert by_frame == (1.0, 1 / 3)
    assert found.pixel_accuracy == 4 / 6
    assert found.num_pixels == 6
    images, nothing = segmentation.compare_maps(clips[:, 1], maps, 2)
    assert (images.pixel_accuracy, nothing) == (1 / 3, ())


@pytest.mark.parametrize(
    ("reference", "predicted", "text"),
    [
        ([[0, 3]], [[0, 0]], r"reference holds the id 3; ids must be 0 to 2, or 255 for don't"),
        ([[0, -1]], [[0, 0]], "reference holds the id -1"),
        ([[0, 1]], [[0, 255]], r"predicted holds the id 255; ids must be 0 to 2$"),
        ([[0, 1]], [[0.0, 1.0]], "predicted holds float64; class ids are integers"),
        ([[0, 1]], [[0]], r"of one shape, got \[1, 2\] and \[1, 1\]"),
    ],
)
def test_maps_that_do_not_fit_are_refused(
    reference: list[list[int]], predicted: list[list[float]], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        confusion_matrix(np.array(reference), np.array(predicted), 3)


def test_scores_of_nothing_are_refused() -> None:
    for score in (segmentation.pixel_accuracy, segmentation.mean_iou, segmentation.agreement):
        with pytest.raises(ValueError, match="no pixel of the reference maps has a class"):
            score(np.zeros((2, 2), np.int64))
    with pytest.raises(ValueError, match=r"min_share \(=2\) must be from 0 to 1"):
        segmentation.mean_iou(MATRIX, min_share=2)
    with pytest.raises(ValueError, match=r"no class makes up min_share \(=0.9\) .* has 0.67"):
        segmentation.mean_iou(MATRIX, min_share=0.9)
