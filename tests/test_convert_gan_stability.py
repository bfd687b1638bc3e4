"""Conversion of GAN_stability's checkpoints: all layouts, several classes, averages."""

import copy
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from torch import nn

from tests.datasets import make_dataset
from tests.reference_torch import gan_stability
from tests.runs import fields, refuse, succeed, trained
from vidgan_jax import convert, generate, inflate, main
from vidgan_jax.types import PyTree

Z_DIM, EMBED = 5, 3
# Layout → size, nf, nf_max. Its small end is 4×4, 2×2, 1×1 and 1×1.
SIZES = {
    "resnet": (16, 2, 4),
    "resnet2": (64, 1, 16),
    "resnet3": (64, 1, 32),
    "resnet4": (64, 1, 16),
}


def networks(layout: str, nlabels: int, **other: int) -> tuple[nn.Module, nn.Module]:
    """A generator and a discriminator with weights that give frames of some contrast."""
    size, nf, nf_max = SIZES[layout]
    torch.manual_seed(nlabels)
    sizes = {"nlabels": nlabels, "size": size, "nf": nf, "nf_max": nf_max} | other
    generator = gan_stability.Generator(layout, z_dim=Z_DIM, embed=EMBED, **sizes)
    discriminator = gan_stability.Discriminator(layout, **sizes)
    with torch.no_grad():
        for parameter in (*generator.parameters(), *discriminator.parameters()):
            parameter.mul_(2.0)
    return generator, discriminator


def checkpoint_of(generator: nn.Module, discriminator: nn.Module, **more: Any) -> dict[str, Any]:
    """As the public code saves it: networks within DataParallel, optimisers with state."""
    optimisers = {}
    for name, module in (("g_optimizer", generator), ("d_optimizer", discriminator)):
        optimiser = torch.optim.RMSprop(module.parameters(), lr=1e-4, alpha=0.99)
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()
        optimisers[name] = optimiser.state_dict()
    return {
        "it": 7,
        "generator": nn.DataParallel(generator).state_dict(),
        "discriminator": nn.DataParallel(discriminator).state_dict(),
        **optimisers,
        **more,
    }


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def check(ours: Any, theirs: torch.Tensor) -> None:
    wanted = theirs.detach().numpy()
    assert np.std(wanted) > 1e-3
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize(("layout", "nlabels"), [("resnet", 3), ("resnet2", 1), ("resnet3", 2)])
def test_checkpoints_with_an_average(layout: str, nlabels: int, tmp_path: Path) -> None:
    """Generator, average and discriminator, of every class."""
    generator, discriminator = networks(layout, nlabels)
    average = copy.deepcopy(generator)
    whole = checkpoint_of(generator, discriminator, generator_test=average.state_dict())
    torch.save(whole, tmp_path / "model.pt")
    out = tmp_path / "out"
    succeed(convert.main, "gan_stability", tmp_path / "model.pt", "--out", out)
    exp, weights = trained(out)
    model, (size, nf, nf_max) = exp.config.model, SIZES[layout]
    assert (model.layout, model.size, model.num_classes) == (layout, size, nlabels)
    assert (model.features, model.max_features, model.z_dim) == (nf, nf_max, Z_DIM)

    z, x = draw(3, Z_DIM), np.tanh(draw(3, size, size, 3))
    classes = np.arange(3) % nlabels
    z_torch, x_torch, y = map(torch.from_numpy, (z, x, classes))
    run = jax.jit(exp.generator.apply)
    check(run(weights.gen, z, classes), generator(z_torch, y))
    check(run(weights.ema, z, classes), average(z_torch, y))
    logits = jax.jit(exp.discriminator.apply)(weights.disc, x, classes)
    check(logits, discriminator(x_torch, y))
    record = weights.meta["converted"]
    assert (record["iterations"], record["averaged"]) == (7, True)


def test_one_class_of_several_without_an_average(tmp_path: Path) -> None:
    """Then no class need be named; the average is the generator."""
    generator, discriminator = networks("resnet4", 3)
    torch.save(checkpoint_of(generator, discriminator), tmp_path / "model.pt")
    out = tmp_path / "out"
    one = ("--class-id", "2")
    succeed(convert.main, "gan_stability", tmp_path / "model.pt", *one, "--out", out)
    exp, weights = trained(out)
    assert exp.config.model.num_classes == 1
    z, x, y = draw(2, Z_DIM), np.tanh(draw(2, 64, 64, 3)), torch.full((2,), 2)
    run = jax.jit(exp.generator.apply)
    check(run(weights.gen, z), generator(torch.from_numpy(z), y))
    np.testing.assert_array_equal(run(weights.ema, z), run(weights.gen, z))
    logits = jax.jit(exp.discriminator.apply)(weights.disc, x)
    check(logits, discriminator(torch.from_numpy(x), y))


@pytest.mark.usefixtures("fast")
def test_what_was_converted_is_of_use_to_the_other_verbs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Generated, trained and inflated, by the config beside it; from an average alone."""
    generator, _ = networks("resnet", 1)
    torch.save({"generator_test": generator.state_dict()}, tmp_path / "model.pt")
    out = tmp_path / "out"
    succeed(convert.main, "gan_stability", tmp_path / "model.pt", "--out", out)
    told = capsys.readouterr()
    assert "layout 'resnet', of images of 16×16, 2 to 4 channels, 5 latents and an" in told.out
    assert f"next: python -m vidgan_jax.generate --checkpoint {out} --num 16" in told.out
    assert f"inflate --from {out} --config {out}/config.py --config.model.num_frames=8" in told.out
    assert "no discriminator: it is drawn at random" in told.err
    succeed(generate.main, "--checkpoint", out, "--num", "2", "--out", tmp_path / "images")
    config = f"--config={out / 'config.py'}"
    clips = fields(model_num_frames=4)
    succeed(inflate.main, "--from", out, config, *clips, "--out", tmp_path / "clips")
    assert trained(tmp_path / "clips")[0].config.model.num_frames == 4
    few = fields(train_num_epochs=0.0, train_num_steps=2, train_batch_size=8, train_num_samples=2)
    start = fields(data_path=make_dataset(tmp_path / "data", size=20), init_path=out)
    succeed(main.main, config, *few, *start, "--workdir", tmp_path / "run")
    assert trained(tmp_path / "run")[1].step == 2


def test_training_knows_one_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(checkpoint_of(*networks("resnet", 2, size=8)), tmp_path / "model.pt")
    succeed(convert.main, "gan_stability", tmp_path / "model.pt", "--out", tmp_path / "out")
    told = capsys.readouterr()
    assert "2 classes" in told.out
    assert "--class-id 0" in told.out
    assert "training on knows no classes, of which this GAN has 2" in told.err


# --- refusals


def changed(state: PyTree, **entries: Any) -> PyTree:
    """A state dict with entries changed, or left out where None; `__` stands for a dot."""
    new = {**state, **{name.replace("__", "."): value for name, value in entries.items()}}
    return {name: value for name, value in new.items() if value is not None}


def test_mistakes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator, discriminator = networks("resnet", 2, size=8)
    gen, disc = generator.state_dict(), discriminator.state_dict()
    good = {"generator": gen, "discriminator": disc}
    _, narrow = networks("resnet", 2, size=8, nf_max=2)
    file = tmp_path / "model.pt"

    def refused(value: Any, *flags: str) -> str:
        torch.save(value, file)
        text = refuse(
            capsys, convert.main, "gan_stability", file, *flags, "--out", tmp_path / "out"
        )
        assert not (tmp_path / "out" / "checkpoints").exists()
        return text

    lacks = {**good, "generator": changed(gen, resnet__0__conv_1__bias=None)}
    text = refused(lacks)
    assert f"{file}, generator lacks resnet.0.conv_1.bias, which GAN_stability's generator" in text
    more = {**good, "discriminator": changed(disc, resnet__0__conv_9__bias=torch.ones(2))}
    assert "discriminator has what GAN_stability's discriminator has not: resnet.0.conv" in refused(
        more
    )
    other = {**good, "generator": changed(gen, conv_img__bias=torch.ones(4))}
    assert "conv_img.bias is (4,), and (3,) is wanted for GAN" in refused(other)
    odd = {**good, "generator": changed(gen, conv_img__bias=torch.full((3,), torch.nan))}
    assert "conv_img.bias has values that are not finite" in refused(odd)
    tensorless = {**good, "generator": changed(gen, conv_img__bias=[1.0])}
    assert "'conv_img.bias' is list; a state dict has tensors only" in refused(tensorless)
    assert "has the entry 'encoder'; known are generator, discr" in refused({**good, "encoder": {}})
    assert "is no checkpoint of GAN_stability: it has no entry 'generator'" in refused(gen)
    assert "is no checkpoint of GAN_stability" in refused([1])
    assert "generator holds an empty mapping" in refused({"generator": {}})
    assert "no block resnet.0 or resnet_0_0" in refused({"generator": {"a": torch.ones(1)}})
    wide = {**good, "discriminator": narrow.state_dict()}
    assert "nfilter_max is 4 and the discriminator's 2, and a config has one" in refused(wide)
    assert "--class-id (=2) must be below 2, the number of cl" in refused(good, "--class-id", "2")
    assert "--class-id (=-1) must be below 2" in refused(good, "--class-id=-1")
    fc = {**good, "generator": changed(gen, fc__weight=torch.ones(50, Z_DIM + EMBED))}
    assert "fc makes 50 numbers, which are no square map of 3 channels" in refused(fc)
    short = {**good, "generator": changed(gen, fc__weight=torch.ones(64, EMBED))}
    assert "none is left for latents" in refused(short)

    torch.save(wide, file)
    succeed(convert.main, "gan_stability", file, "--new-disc", "--out", tmp_path / "out")
    text = refuse(capsys, convert.main, "gan_stability", file, "--out", tmp_path / "out")
    assert "has checkpoints already; choose another --out" in text
