"""Segmenters by where they lie, of both kinds."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.segmenters import TINY, tiny_variables
from vidgan_jax.models.unet import UNet
from vidgan_jax.segmentation import loading, small
from vidgan_jax.segmentation.ade20k import SCALES, Ade20kSegmenter
from vidgan_jax.segmentation.small import Segmenter
from vidgan_jax.train.weights import save_network


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "ade20k"
    save_network(folder, tiny_variables(), {"name": "segmenter"})
    return folder


def test_a_converted_one(converted: Path) -> None:
    found = loading.load(str(converted))
    assert isinstance(found, Ade20kSegmenter)
    assert found.scales == SCALES
    assert found.network == TINY
    assert found.classes == (0, 1, 2, 3, 4)
    assert found.identity == Ade20kSegmenter(tiny_variables()).identity
    of_one = loading.load(str(converted), scales=[300])
    assert of_one.identity == Ade20kSegmenter(tiny_variables(), (300,)).identity
    with pytest.raises(ValueError, match=r"scales \(=\(5000,\)\) must be short sides of frames"):
        loading.load(str(converted), scales=(5000,))


def test_small_ones(tmp_path: Path) -> None:
    """A file, and the workdir that it lies in."""
    network = UNet(2, (3,))
    variables = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
    kept = Segmenter((0, 40), (3,), small.rounded(variables))
    small.save(kept, tmp_path / small.FILE)
    for where in (tmp_path, tmp_path / small.FILE):
        found = loading.load(str(where))
        assert (found.identity, found.classes) == (kept.identity, (0, 40))
    assert set(np.unique(found(np.zeros((2, 4, 6, 3), np.uint8)))) <= {0, 40}
    with pytest.raises(ValueError, match=r"scales \(=\(300,\)\) are of converted segmenters, and"):
        loading.load(str(tmp_path), scales=(300,))


def test_the_one_that_comes_with_the_package() -> None:
    found = loading.load("scenes")
    assert found.identity == small.load(small.SCENES).identity
    assert 2 in found.classes  # sky


def test_what_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"nowhere does not exist\. A segmenter is 'scenes', which"
    ):
        loading.load(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"no segmenter in .*has no network in it.* A segmenter"):
        loading.load(str(tmp_path))
    (tmp_path / "text.npz").write_text("These are not weights.\n")
    with pytest.raises(ValueError, match=r"text\.npz: no segmenter, or damaged"):
        loading.load(str(tmp_path / "text.npz"))
    other = tmp_path / "vgg19"
    save_network(other, {"params": {"conv1_1": {"bias": np.ones(2)}}}, {})
    with pytest.raises(ValueError, match=r"no segmenter in .*lacks 'encoder' and so is no segment"):
        loading.load(str(other))
