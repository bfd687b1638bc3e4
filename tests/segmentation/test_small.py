"""The small segmenter as a file, and as a function of frames."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidgan_jax import devices
from vidgan_jax.models.unet import UNet
from vidgan_jax.segmentation import small
from vidgan_jax.segmentation.small import Segmenter

SIZE = 8


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    network = UNet(3, (4, 6, 8))
    variables = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))
    return Segmenter((2, 5, 40), (4, 6, 8), small.rounded(variables), {"step": 7})


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    shape = (2, 3, SIZE, SIZE, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_any_number_of_frames_and_axes(segmenter: Segmenter, frames: np.ndarray) -> None:
    whole = segmenter(frames)
    assert (whole.shape, whole.dtype) == ((2, 3, SIZE, SIZE), np.uint8)
    assert set(np.unique(whole).tolist()) <= set(segmenter.classes)
    np.testing.assert_array_equal(segmenter(frames, batch_size=4), whole)
    np.testing.assert_array_equal(segmenter(frames[1, 2]), whole[1, 2])
    assert segmenter(frames[:0]).shape == (0, 3, SIZE, SIZE)


def test_devices_share_the_frames(
    segmenter: Segmenter, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = segmenter(frames)
    monkeypatch.setattr(devices, "usable", lambda: jax.local_devices()[:2])
    used, predict = [], small._predict

    def watched(*given: Any) -> Any:
        used.append(given[2])
        return predict(*given)

    monkeypatch.setattr(small, "_predict", watched)
    np.testing.assert_array_equal(segmenter(frames, batch_size=3), whole)
    assert [len(batch) for batch in used] == [4, 4]
    assert {len(batch.sharding.device_set) for batch in used} == {2}
    np.testing.assert_array_equal(segmenter(frames[0, 0]), whole[0, 0])  # one has nothing to do


def test_a_stored_one_is_the_same_in_half_the_bytes(segmenter: Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "new" / "s.npz"
    small.save(segmenter, path)
    loaded = small.load(path)
    assert (loaded.classes, loaded.features) == (segmenter.classes, segmenter.features)
    assert loaded.trained == {"step": 7}
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, dict(segmenter.variables))
    assert loaded.identity == segmenter.identity
    with np.load(path) as stored:
        kernels = [stored[name] for name in stored.files if name.endswith("kernel")]
    assert {kernel.dtype for kernel in kernels} == {np.dtype(np.float16)}


def test_the_identity_is_of_weights_and_classes_alone(segmenter: Segmenter) -> None:
    told = dataclasses.replace(segmenter, trained={})
    assert told.identity == segmenter.identity
    others = dataclasses.replace(segmenter, classes=(2, 5, 41))
    params = jax.tree.map(lambda leaf: leaf + 1, segmenter.variables["params"])
    moved = dataclasses.replace(segmenter, variables={**segmenter.variables, "params": params})
    assert len({segmenter.identity, others.identity, moved.identity}) == 3


# Mistakes.


def test_files_that_are_no_segmenter_are_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    small.save(segmenter, tmp_path / "whole.npz")
    cut = (tmp_path / "whole.npz").read_bytes()[:1000]
    for name, content in (("a.npz", b""), ("b.npz", b"nothing"), ("d.npz", cut)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            ValueError, match=r"\.npz: no segmenter, or damaged .*; if it was one, remove it"
        ):
            small.load(tmp_path / name)
    np.savez(tmp_path / "c.npz", other=np.zeros(3))
    with pytest.raises(ValueError, match="no segmenter, or damaged"):
        small.load(tmp_path / "c.npz")


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)],
)
def test_frames_that_are_none_are_refused(segmenter: Segmenter, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"frames must be uint8 \[\.\.\., h, w, 3\]; got"):
        segmenter(wrong)


def test_frames_that_cannot_be_halved_are_refused(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match="h and w multiples of 4"):
        segmenter(np.zeros((1, 10, 8, 3), np.uint8))
