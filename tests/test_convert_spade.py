"""Conversion of SPADE's public networks: theirs in evaluation, ours after it, on the same maps."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from torch import nn

from tests.reference_torch import spade_public
from tests.runs import refuse, succeed, trained
from vidgan_jax import convert
from vidgan_jax.config import ModelConfig
from vidgan_jax.conversion.spade import Files, Told, model_config
from vidgan_jax.conversion.state_dicts import Names, StateDict, to_variables
from vidgan_jax.experiment import Experiment
from vidgan_jax.train.checkpoint import check_same_networks
from vidgan_jax.train.weights import Weights
from vidgan_jax.types import OUTPUTS

NUM_LABELS, NF, Z_DIM = 4, 2, 5
CHANNELS = NUM_LABELS + 2
FLAGS = ("--num-labels", f"{NUM_LABELS}", "--dont-care-channel", "--instance-edges")
# PyTorch's own float32 is up to 7e-6 from its float64, without spectral norm.
TOLERANCE = 2e-5


@dataclasses.dataclass(frozen=True)
class Case:
    """Networks of the public code, and what was made of them.

    Attributes:
      theirs: by "generator", "discriminator", "encoder".
      exp: what the checkpoint describes.
      weights: the checkpoint's.
    """

    theirs: dict[str, nn.Module]
    exp: Experiment
    weights: Weights

    @property
    def model(self) -> ModelConfig:
        return self.exp.config.model


def label_maps(size: int) -> tuple[np.ndarray, torch.Tensor]:
    """Ids of classes (some of none) and of instances, and what the public code makes of them."""
    rng = np.random.default_rng(size)
    blocks = rng.integers(0, NUM_LABELS + 1, (2, size // 8, size // 8))
    classes = np.kron(blocks, np.ones((1, 8, 8), int))
    instances = np.kron(rng.integers(0, 9, blocks.shape), np.ones((1, 8, 8), int))
    one_hot = np.zeros((2, CHANNELS, size, size), np.float32)
    for i in range(NUM_LABELS + 1):
        one_hot[:, i] = classes == i
    for axis in (1, 2):
        differs = np.diff(instances, axis=axis) != 0
        for side in ((1, 0), (0, 1)):
            pads = [(0, 0)] * 3
            pads[axis] = side
            one_hot[:, -1] = np.maximum(one_hot[:, -1], np.pad(differs, pads))
    ids = np.where(classes == NUM_LABELS, 255, classes)
    return np.stack([ids, instances], axis=-1), torch.from_numpy(one_hot)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def train_a_little(module: nn.Module, *inputs: torch.Tensor) -> None:
    """Larger weights than at a start, then steps that move statistics and singular vectors."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5)
        for i in range(3):
            module(*(x + 0.1 * i for x in inputs))
    module.eval()


def save(module: nn.Module, path: Path) -> Path:
    torch.save(module.state_dict(), path)
    return path


@functools.cache
def frames(size: int) -> np.ndarray:
    return np.tanh(draw(2, 3, size, size))


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Of a latent, with an encoder at another size and a discriminator of the present version."""
    torch.manual_seed(0)
    folder, size = tmp_path_factory.mktemp("vae"), 64
    maps, images = label_maps(size)[1], torch.from_numpy(frames(size))
    theirs: dict[str, nn.Module] = {
        "generator": spade_public.Generator(NF, CHANNELS, size, z_dim=Z_DIM),
        "discriminator": spade_public.Discriminator(CHANNELS, 4, layers=4, last_stride=1),
        "encoder": spade_public.Encoder(NF, Z_DIM, layers=5),
    }
    train_a_little(theirs["generator"], maps, torch.from_numpy(draw(2, Z_DIM)))
    train_a_little(theirs["discriminator"], maps, images)
    train_a_little(theirs["encoder"], images)
    files = {name: save(module, folder / f"{name}.pth") for name, module in theirs.items()}
    of_others = ("--disc", files["discriminator"], "--encoder", files["encoder"])
    out = ("--out", folder / "converted")
    succeed(convert.main, "spade", files["generator"], *of_others, *FLAGS, *out)
    return Case(theirs, *trained(folder / "converted"))


def check(ours: Any, theirs: torch.Tensor) -> None:
    """Equal, channels last here and first there."""
    wanted = theirs.detach().numpy()
    if wanted.ndim == 4:
        wanted = np.moveaxis(wanted, 1, -1)
    assert np.std(wanted) > 1e-3
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=TOLERANCE * max(1, np.abs(wanted).max()))


def test_the_generator_of_a_vae(vae: Case) -> None:
    """Its latent becomes a map of 2×2; both weights are those of the file, as there is no EMA."""
    ids, maps = label_maps(64)
    z = draw(2, Z_DIM)
    expected = vae.theirs["generator"](maps, torch.from_numpy(z))
    run = jax.jit(vae.exp.generator.apply)
    check(run(vae.weights.gen, z, ids), expected)
    check(run(vae.weights.ema, z, ids), expected)
    assert (vae.model.size, vae.model.base_size, vae.model.start) == (64, 2, "dense")
    assert (vae.model.z_dim, vae.model.label_features) == (Z_DIM, spade_public.HIDDEN)


def test_the_encoder(vae: Case) -> None:
    """It sees 128×128 of 64×64 frames."""
    generator: Any = vae.exp.generator
    images = frames(64)
    variables = {c: tree["encoder"] for c, tree in vae.weights.gen.items() if "encoder" in tree}
    moments = jax.jit(generator.encoder.apply)(variables, np.moveaxis(images, 1, -1))
    for ours, theirs in zip(moments, vae.theirs["encoder"](torch.from_numpy(images)), strict=True):
        check(ours, theirs)
    assert (vae.model.encoder, vae.model.encoder_size) == (True, 128)


def test_the_discriminator(vae: Case) -> None:
    """All logits and features of both scales."""
    ids, maps = label_maps(64)
    images = frames(64)

    @jax.jit
    def run(variables: Any, x: Any, ids: Any) -> Any:
        logits, beside = vae.exp.discriminator.apply(variables, x, ids, mutable=[OUTPUTS])
        return logits, beside[OUTPUTS]["features"]

    logits, features = run(vae.weights.disc, np.moveaxis(images, 1, -1), ids)
    expected = vae.theirs["discriminator"](maps, torch.from_numpy(images))
    assert len(logits) == len(features) == len(expected) == 2
    for of_scale, layers, theirs in zip(logits, features, expected, strict=True):
        check(of_scale[..., None], theirs[-1])
        for ours, layer in zip(layers, theirs[:-1], strict=True):
            check(ours, layer)
    assert (vae.model.disc_layers, vae.model.disc_last_stride) == (4, 1)
    assert (vae.model.disc_padding, vae.model.disc_features) == (2, 4)


def test_variables_are_those_of_the_networks(vae: Case) -> None:
    """Leaf by leaf, scalars among them: as training and inflation want them."""
    gen, disc = jax.eval_shape(vae.exp.init_variables, jax.random.key(0))
    found = {"gen": vae.weights.gen, "disc": vae.weights.disc, "ema": vae.weights.ema}
    check_same_networks(found, {"gen": gen, "disc": disc, "ema": gen}, where="converted")


def test_what_was_converted_is_on_record(vae: Case) -> None:
    record = vae.weights.meta["converted"]
    assert record["format"] == "spade"
    assert record["discriminator"] == "converted"
    assert [f["file"] for f in record["files"]] == [
        "generator.pth", "discriminator.pth", "encoder.pth"
    ]  # fmt: skip
    assert all(len(f["sha256"]) == 64 for f in record["files"])


@pytest.mark.parametrize(
    ("upsampling", "instance", "sn"), [("more", True, False), ("most", False, True)]
)
def test_generators_of_a_label_map(
    upsampling: str,
    instance: bool,
    sn: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The public code without a VAE, with more upsamplings; a discriminator is drawn."""
    torch.manual_seed(1)
    size = 128
    ids, maps = label_maps(size)
    theirs = spade_public.Generator(
        NF, CHANNELS, size, upsampling=upsampling, instance=instance, sn=sn
    )
    train_a_little(theirs, maps)
    out, file = tmp_path / "out", save(theirs, tmp_path / "g.pth")
    how = ("--upsampling", upsampling) if upsampling == "more" else ()
    succeed(convert.main, "spade", file, *FLAGS, "--size", f"{size}", *how, "--out", out)
    told = capsys.readouterr()
    exp, weights = trained(out)
    check(jax.jit(exp.generator.apply)(weights.gen, draw(2, 256), ids), theirs(maps))
    model = exp.config.model
    assert (model.gen_batch_norm, model.gen_spectral_norm) == (not instance, sn)
    assert (model.start, model.middle_upsampling) == ("labels", True)
    assert f"4 classes + don't care + edges to images of {size}×{size}" in told.out
    assert "no discriminator: it is drawn at random, with seed 0" in told.err
    assert weights.meta["converted"]["discriminator"] == "drawn, seed 0"
    assert exp.config.model.disc_layers == 3


# --- files of old PyTorch


def one_layer(keep: tuple[str, ...]) -> tuple[dict[str, np.ndarray], torch.Tensor]:
    """The state of a convolution with spectral norm, not converged, and its divided kernel."""
    torch.manual_seed(2)
    conv = torch.nn.utils.spectral_norm(nn.Conv2d(3, 5, 3, bias=False))
    conv(torch.randn(1, 3, 4, 4))
    conv.eval()(torch.randn(1, 3, 4, 4))
    state = {**conv.state_dict(), "weight": conv.weight}
    return {f"c.{k}": state[k].detach().numpy() for k in keep}, conv.weight.detach()


@pytest.mark.parametrize("kept", [("weight",), ("weight", "weight_v"), ("weight_v",)])
def test_sigma_of_files_without_v(kept: tuple[str, ...]) -> None:
    """It is the one that the divided kernel beside the original was divided by."""
    arrays, divided = one_layer(("weight_orig", "weight_u", *kept))
    found = _convert_layer(arrays)
    kernel = found["params"]["c"]["kernel"]
    u, v, gain = (found["spectral"]["c"][name] for name in ("u", "v", "gain"))
    sigma = np.einsum("hwio,hwi,o", kernel, v, u)
    ours = np.moveaxis(gain * kernel / sigma, (-1, -2), (0, 1))
    np.testing.assert_allclose(ours, divided, rtol=1e-5)
    if "weight_v" in kept:
        np.testing.assert_allclose(np.linalg.norm(v), 1, rtol=1e-6)


def test_without_the_divided_kernel_v_is_the_best_for_u() -> None:
    arrays, _ = one_layer(("weight_orig", "weight_u"))
    found = _convert_layer(arrays)
    v, kernel = found["spectral"]["c"]["v"], found["params"]["c"]["kernel"]
    toward = kernel @ arrays["c.weight_u"]
    np.testing.assert_allclose(v, toward / np.linalg.norm(toward), rtol=1e-5, atol=1e-7)


def _convert_layer(arrays: dict[str, np.ndarray]) -> Any:
    shape = {"kernel": (3, 3, 3, 5), "u": (5,), "v": (3, 3, 3), "gain": ()}
    leaves = {name: jax.ShapeDtypeStruct(s, np.float32) for name, s in shape.items()}
    kernel = {"kernel": leaves.pop("kernel")}
    state = StateDict(arrays, "a.pth", "a layer")
    found = to_variables(
        {"params": {"c": kernel}, "spectral": {"c": leaves}}, state, Names(".".join)
    )
    state.refuse_the_rest()
    return found


# --- what weights don't tell, and what they refuse


def shapes_only(**others: tuple[int, ...]) -> StateDict:
    """As much of a generator (nf 2, 6 label channels, of the label map) as sizes are read from."""
    shapes = {
        "conv_img.weight": (3, 2, 3, 3),
        "fc.weight": (32, 6, 3, 3),
        "head_0.norm_0.mlp_shared.0.weight": (128, 6, 3, 3),
    } | {name.replace("__", "."): shape for name, shape in others.items()}
    arrays = {k: np.broadcast_to(np.float32(0), shape) for k, shape in shapes.items()}
    return StateDict(arrays, "g.pth", "SPADE's generator")


@pytest.mark.parametrize(
    ("channels", "told", "expected"),
    [
        (151, Told(), (150, True, False)),
        (184, Told(), (182, True, True)),
        (36, Told(), (35, False, True)),
        (151, Told(dont_care=False), (151, False, False)),
        (40, Told(edges=True), (39, False, True)),
        (12, Told(num_labels=10, dont_care=True, edges=True), (10, True, True)),
    ],
)
def test_label_channels(channels: int, told: Told, expected: tuple[int, bool, bool]) -> None:
    state = shapes_only(head_0__norm_0__mlp_shared__0__weight=(128, channels, 3, 3))
    model = model_config(Files(state), told)
    assert (model.num_labels, model.dont_care_channel, model.instance_edges) == expected


@pytest.mark.parametrize(
    ("told", "more", "text"),
    [
        (Told(), {}, r"maps have 6 channels, and which they are can't be told.*give --num-labels"),
        (Told(num_labels=4, edges=True), {}, r"make 5 channels, and the generator's .* have 6"),
        (Told(num_labels=6, size=100), {}, r"--size \(=100\) must be a multiple of 32: --upsam"),
        (Told(num_labels=6, upsampling="most"), {}, r"the generator lacks the block up_4, which"),
        (
            Told(num_labels=6, size=256),
            {"fc__weight": (32 * 16, 8)},
            r"makes 4×4, from where --upsampling \(=normal\) makes 128; .* 256 with 'more', 512",
        ),
        (Told(num_labels=6), {"fc__weight": (32 * 8, 8)}, r"makes 256 numbers, which are no squa"),
        (Told(num_labels=6), {"conv_img__weight": (3, 2)}, r"conv_img.weight .3, 2. must have 4"),
    ],
)
def test_what_cannot_be_told_is_asked_for(told: Told, more: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        model_config(Files(shapes_only(**more)), told)


def test_files_that_do_not_go_together(
    vae: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = save(vae.theirs["generator"], tmp_path / "g.pth")
    disc = save(vae.theirs["discriminator"], tmp_path / "d.pth")
    encoder = save(vae.theirs["encoder"], tmp_path / "e.pth")
    wide = save(spade_public.Encoder(4, Z_DIM, layers=5), tmp_path / "wide.pth")
    start = save(spade_public.Generator(NF, CHANNELS, 32), tmp_path / "start.pth")
    six = spade_public.Discriminator(CHANNELS, 2, layers=5, last_stride=1)
    deep = save(six, tmp_path / "deep.pth")
    out = (*FLAGS, "--out", tmp_path / "out")

    def refused(*arguments: str | Path) -> str:
        return refuse(capsys, convert.main, "spade", *arguments, *out)

    assert f"{disc} lacks conv_img.weight, which SPADE's generator has" in refused(disc)
    assert "begins with 4 channels and the generator ends" in refused(generator, "--encoder", wide)
    assert "has no use for latents; leave --encoder" in refused(start, "--encoder", encoder)
    assert "has 5 layers before the logits; give" in refused(generator, "--disc", deep)
    text = refused(generator, "--disc", generator)
    assert "lacks discriminator_0.model0.0.weight, which SPADE's discriminator has" in text
    text = refused(generator, "--encoder", disc)
    assert "lacks layer1.0.weight_orig, which SPADE's encoder has" in text
    assert not (tmp_path / "out" / "checkpoints").exists()
