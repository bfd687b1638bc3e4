"""ADE20K's names and colours."""

import numpy as np
import pytest

from vidgan_jax.data import labels


def test_table_is_that_of_ade20k() -> None:
    assert len(labels.CLASS_NAMES) == len(set(labels.CLASS_NAMES)) == 150
    assert labels.PALETTE.shape == (150, 3)
    assert labels.PALETTE.dtype == np.uint8
    # Spot checks against the benchmark's own list, whose ids count from 1.
    known = {"wall": 0, "sky": 2, "tree": 4, "sea": 26, "river": 60, "waterfall": 113, "flag": 149}
    assert {name: labels.class_id(name) for name in known} == known
    assert labels.PALETTE[26].tolist() == [9, 7, 230]
    assert labels.PALETTE[149].tolist() == [92, 0, 255]


def test_colorize_paints_classes_and_dont_care() -> None:
    label_map = np.array([[2, 26], [labels.DONT_CARE, 149]], np.uint8)
    picture = labels.colorize(label_map)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[0], labels.PALETTE[[2, 26]])
    np.testing.assert_array_equal(picture[1], [[0, 0, 0], labels.PALETTE[149]])


def test_colorize_takes_batches_and_wide_integers() -> None:
    assert labels.colorize(np.full((2, 3, 4), 9, np.int64)).shape == (2, 3, 4, 3)


@pytest.mark.parametrize("wrong", [150, 254, -1, 256])
def test_colorize_names_an_unknown_id(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"holds the id {wrong}; ids are 0 to 149"):
        labels.colorize(np.array([[3, wrong]]))


def test_colorize_refuses_fractions() -> None:
    with pytest.raises(ValueError, match="holds float64; class ids are integers"):
        labels.colorize(np.zeros((2, 2)))


def test_class_id_names_an_unknown_class() -> None:
    with pytest.raises(ValueError, match="class name 'ocean' is not one of"):
        labels.class_id("ocean")
