"""ADE20K's names and colours, ids of label maps, and how maps are resized."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets import make_dataset
from vidgan_jax.data import labels
from vidgan_jax.data.info import check_label_ids, load_info


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


def test_every_id_has_a_colour_of_its_own() -> None:
    """But road and skyscraper, which the benchmark paints alike; only "don't care" is black."""
    colours = labels.colorize(np.arange(256)[None])[0]
    np.testing.assert_array_equal(colours[:150], labels.PALETTE)
    assert len(np.unique(colours, axis=0)) == 255
    assert labels.class_id("road") == 6
    assert labels.class_id("skyscraper") == 48
    np.testing.assert_array_equal(colours[6], colours[48])
    assert (colours.sum(axis=1) == 0).tolist() == [False] * 255 + [True]
    # As in PASCAL VOC's colour map: the bits of 150 in threes are 110, 010, 10.
    assert colours[150].tolist() == [0, 0b11100000, 0b10000000]


@pytest.mark.parametrize("wrong", [-1, 256, 1000])
def test_colorize_names_an_unknown_id(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"holds the id {wrong}; ids are 0 to 254, or 255 for"):
        labels.colorize(np.array([[3, wrong]]))


def test_colorize_refuses_fractions() -> None:
    with pytest.raises(ValueError, match="holds float64; class ids are integers"):
        labels.colorize(np.zeros((2, 2)))


def test_class_id_names_an_unknown_class() -> None:
    with pytest.raises(ValueError, match="class name 'ocean' is not one of"):
        labels.class_id("ocean")


def test_class_names_of_all_ids() -> None:
    assert [labels.class_name(i) for i in (0, 149, 150, 255)] == [
        "wall",
        "flag",
        "class 150",
        "don't care",
    ]


def test_known_ids_become_small_and_dont_care_255() -> None:
    found = labels.known_ids(np.array([[0, 7], [3, 255]], np.int32), 4, dont_care=7)
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 255], [3, 255]]
    # A class's own id may be the one of no class.
    assert labels.known_ids(np.array([0, 1]), 2, dont_care=0).tolist() == [255, 1]


@pytest.mark.parametrize("wrong", [4, -1, 254, 65535])
def test_other_ids_are_refused(wrong: int) -> None:
    message = (
        rf"holds the id {wrong}, but ids are 0 to 3 \(num_labels is 4\), or 7 or 255 for don't"
    )
    with pytest.raises(ValueError, match=message):
        labels.known_ids(np.array([[0, wrong, 255, 7]]), 4, dont_care=7)


@pytest.mark.parametrize("num_labels", [0, 256])
def test_impossible_numbers_of_classes(num_labels: int) -> None:
    message = rf"num_labels \(={num_labels}\) must be from 1 to 255"
    with pytest.raises(ValueError, match=message):
        labels.known_ids(np.zeros((1, 1), np.uint8), num_labels)


@pytest.mark.parametrize("shape", [(32, 32), (8, 8), (20, 30), (16, 16)])
def test_label_maps_are_resized_to_the_nearest(shape: tuple[int, int]) -> None:
    """Pillow's nearest neighbour as the reference; no id is invented."""
    label_map = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for resized in ((16, 16), (16, 32)):
        image = Image.fromarray(label_map).resize(resized[::-1], Image.Resampling.NEAREST)
        whole = np.asarray(image)
        for top, left in ((0, 0), (1, 4), (4, 2)):
            crop = labels.resized_label_crop(label_map, resized, 12, top, left)
            np.testing.assert_array_equal(crop, whole[top : top + 12, left : left + 12])


def test_resizing_keeps_the_type_and_fills_a_square() -> None:
    instances = np.array([[70000, 1, 2], [3, 4, 5]], np.int32)
    resized = labels.resize_label_map(instances, 6)
    assert (resized.shape, resized.dtype) == ((6, 6), np.int32)
    np.testing.assert_array_equal(resized, instances.repeat(3, axis=0).repeat(2, axis=1))


def test_a_data_set_with_unknown_ids_is_refused_before_it_is_read(tmp_path: Path) -> None:
    info = load_info(make_dataset(tmp_path, label_maps=True))
    assert info.label_ids == (0, 1, 2, 3)
    check_label_ids(info, 4)
    check_label_ids(info, 3, dont_care=3)
    check_label_ids(dataclasses.replace(info, label_ids=()), 1)
    message = (
        rf"{tmp_path} holds the id 2, but ids are 0 to 1 \(num_labels is 2\), or 255 for don't "
        "care; set config.model.num_labels"
    )
    with pytest.raises(ValueError, match=message):
        check_label_ids(info, 2, where=str(tmp_path))
