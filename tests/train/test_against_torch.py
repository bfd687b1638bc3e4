"""The GAN step against PyTorch's, which `bench step --against torch` times: same numbers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import traverse_util
from torch import nn

from tests.models.networks import draw_variables
from tests.reference_torch import networks, weights
from tests.reference_torch.training import TorchStep
from tests.runs import TINY_2D, TINY_3D, fields
from vidgan_jax import experiment
from vidgan_jax.experiment import Experiment
from vidgan_jax.train import beginning
from vidgan_jax.train.passes import Game, disc_gradients, gen_gradients, generate, to_unit_range
from vidgan_jax.train.state import GanState, create_state
from vidgan_jax.train.step import gan_step
from vidgan_jax.types import SPECTRAL, Batch

_SMALL = fields(model_size=16, model_features=2, model_max_features=4, model_z_dim=3)
_DCGAN = ("configs/dcgan3d.py:smoke", *_SMALL, *fields(model_num_frames=4))
_SPADE = (
    "configs/spade3d.py:smoke",
    *_SMALL,
    *fields(model_num_frames=4, model_time_stages="(0,1)", model_num_labels=5),
    *fields(model_label_features=4, model_disc_features=4, model_disc_layers=2),
)
# What the reference does not log.
WITHOUT_REFERENCE = {"grad_norm_D", "grad_norm_G", "D_accuracy"}
CASES: dict[str, tuple[str, ...]] = {
    "resnet, images": (*TINY_2D, "--config.loss.r1_every_steps=2"),
    "resnet, clips": TINY_3D,
    "dcgan, clips": (*_DCGAN, "--config.model.time_stages=(0,1)"),
    "spade, clips": _SPADE,
}


@dataclasses.dataclass(frozen=True)
class Both:
    """The same networks and data for both frameworks."""

    exp: Experiment
    game: Game
    state: GanState
    torch_step: TorchStep
    batch: Batch

    @property
    def torch_data(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Frames and label maps."""
        maps = self.batch.label_map
        frames = torch.from_numpy(np.asarray(self.batch.frames))
        return frames, None if maps is None else torch.from_numpy(np.asarray(maps))


def both(config: tuple[str, ...], batch_size: int = 3) -> Both:
    path, *overrides = config
    exp = experiment.build(experiment.load_config(path.removeprefix("--config="), overrides))
    game = beginning.make_game(exp, 100)
    inputs = exp.gen_inputs(), exp.disc_inputs()
    modules = exp.generator, exp.discriminator
    variables = [
        at_rest(draw_variables(module, *given))
        for module, given in zip(modules, inputs, strict=True)
    ]
    theirs = networks.build_networks(exp.config.model)
    for network, found in zip(theirs, variables, strict=True):
        weights.load(network, found["params"], found)
        network.double()
    gen, disc = variables
    optimizers = game.gen_optimizer, game.disc_optimizer
    state = create_state(jax.random.key(0), gen, disc, *optimizers)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (batch_size, *exp.example_shape), np.uint8)
    maps = None
    if exp.cond_shape is not None:
        maps = rng.integers(0, exp.config.model.num_labels, (batch_size, *exp.cond_shape), np.uint8)
    step = TorchStep(exp.config, networks=theirs)
    return Both(exp, game, state, step, Batch(frames, maps))


def at_rest(variables: Mapping[str, Any]) -> Any:
    """With the singular vectors themselves, which iterations leave: PyTorch iterates more often."""
    flat = dict(traverse_util.flatten_dict(variables))
    for path in [path for path in flat if path[0] == SPECTRAL and path[-1] == "u"]:
        kernel = np.asarray(flat["params", *path[1:-1], "kernel"], np.float64)
        left, _, right = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), full_matrices=False)
        flat[path] = right[0].astype(np.float32)
        flat[*path[:-1], "v"] = left[:, 0].reshape(kernel.shape[:-1]).astype(np.float32)
    return traverse_util.unflatten_dict(flat)


def check_gradients(theirs: nn.Module, gradients: Any) -> None:
    """Each leaf's, to 1e-4; tiny ones, as of a bias before batch norm, beside the largest."""
    found = weights.as_torch(jax.tree.map(np.asarray, gradients), weights.transposed(theirs))
    wanted = {k: p.grad for k, p in weights.named_parameters(theirs).items()}
    assert found.keys() == wanted.keys()
    norms = {name: float(torch.linalg.norm(g)) for name, g in wanted.items() if g is not None}
    assert len(norms) == len(found)
    for name, norm in norms.items():
        expected = wanted[name]
        assert expected is not None
        error = float(torch.linalg.norm(found[name].double() - expected))
        assert error < 1e-4 * norm + 1e-6 * max(norms.values()), name


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_pytorchs(name: str) -> None:
    """Of both players at the same weights, R1 among the terms; every term's share, too."""
    case = both(CASES[name])
    step, (frames, maps) = case.torch_step, case.torch_data
    z = np.random.default_rng(1).standard_normal((len(frames), case.game.z_dim), np.float32)
    game = dataclasses.replace(case.game, objective=case.game.objective.due(0))

    @jax.jit
    def gradients(state: GanState, batch: Batch, z: jax.Array) -> Any:
        real, cond = to_unit_range(jnp.asarray(batch.frames)), batch.label_map
        generation = generate(game, state, real, cond, z)
        of_disc, _, disc_terms = disc_gradients(game, state, real, cond, generation.fake)
        return of_disc, disc_terms, gen_gradients(game, state, real, cond, generation)

    of_disc, disc_terms, (of_gen, gen_terms) = gradients(case.state, case.batch, z)
    real, seg = frames.double() / 127.5 - 1, step.one_hot(maps)
    if seg is not None:
        seg = seg.double()
    fake = step.generate(torch.from_numpy(z).double(), seg)
    found = step.disc_gradients(real, fake, seg, 0)
    check_gradients(step.discriminator, of_disc)
    found |= step.gen_gradients(real, fake, seg)
    check_gradients(step.generator, of_gen)
    terms = {k: v for k, v in {**disc_terms, **gen_terms}.items() if k not in WITHOUT_REFERENCE}
    assert found.keys() == terms.keys()
    assert ("reg" in terms) == name.startswith("resnet")
    for term, value in terms.items():
        assert float(value) == pytest.approx(float(found[term].detach()), rel=1e-5), term


def test_steps_are_pytorchs() -> None:
    """Two of them, R1 in the first: both optimisers, the average, lazy terms."""
    optimizers = {
        "gen_name": "rmsprop",
        "gen_eps": 1.0,  # So large, small gradients make small steps: no rounding is blown up.
        "gen_learning_rate": 0.1,
        "disc_name": "adam",
        "disc_eps": 1.0,
        "disc_learning_rate": 0.1,
        "disc_beta1": 0.5,
    }
    case = both((*CASES["resnet, images"], *fields(train_ema_decay=0.75, **optimizers)))
    state, step = case.state, case.torch_step
    before = jax.tree.map(np.array, (state.gen.params, state.disc.params))
    frames, maps = case.torch_data
    for number in range(2):
        keys = jax.random.split(jax.random.fold_in(state.key, number), 2)
        z = np.array(jax.random.normal(keys[0], (len(frames), case.game.z_dim)))
        game = dataclasses.replace(case.game, objective=case.game.objective.due(number))
        state, metrics = jax.jit(lambda s, b, game=game: gan_step(game, s, b))(state, case.batch)
        found = step(frames, maps, torch.from_numpy(z).double(), number)
        assert ("reg" in found) == (number == 0)
        ours = {k: v for k, v in metrics.items() if k not in WITHOUT_REFERENCE}
        assert found == {k: pytest.approx(float(v), rel=1e-4) for k, v in ours.items()}
    for params, start, network in (
        (state.gen.params, before[0], step.generator),
        (state.disc.params, before[1], step.discriminator),
        (state.ema_params, before[0], step.average.module),
    ):
        moved = weights.as_torch(optax.tree.sub(jax.tree.map(np.asarray, params), start))
        began = weights.as_torch(start)
        for name, parameter in weights.named_parameters(network).items():
            expected = parameter.detach() - began[name]
            error = float(torch.linalg.norm(moved[name] - expected))
            assert error < 1e-3 * float(torch.linalg.norm(expected)) + 1e-7, name


def test_same_weights_in_bfloat16() -> None:
    """Autocast runs in the networks only: losses near, weights and gradients float32."""
    case = both(CASES["resnet, images"])
    frames, _ = case.torch_data
    losses = []
    for bf16 in (False, True):
        modules = case.torch_step.generator.float(), case.torch_step.discriminator.float()
        step = TorchStep(case.exp.config, bf16=bf16, networks=modules)
        z = torch.randn(len(frames), case.game.z_dim, generator=torch.Generator().manual_seed(0))
        real, fake = frames.float() / 127.5 - 1, step.generate(z, None)
        terms = step.disc_gradients(real, fake, None, 0) | step.gen_gradients(real, fake, None)
        losses.append([float(terms[name].detach()) for name in ("D", "reg", "G")])
        grads = [p.grad for network in modules for p in network.parameters()]
        assert {g.dtype for g in grads if g is not None} == {torch.float32}
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ("configs/vgan.py:smoke", "--config.loss.mask_weight=0"),
            "'vgan'.* has no PyTorch networks here; resnet, dcgan, spade",
        ),
        (("configs/spade2d.py:smoke_vae",), r"encoder \(=True\).*set it to False"),
        (
            ("configs/spade2d.py:small",),
            r"config.loss.vgg_weight \(=10.0\) is not in the PyTorch step; set it to 0",
        ),
        (
            ("configs/dcgan2d.py:smoke", "--config.loss.adversarial=wasserstein"),
            "'wasserstein'.* is not in the PyTorch step; logistic, hinge",
        ),
        (
            ("configs/resnet2d.py:smoke", "--config.train.num_disc_steps=2"),
            r"num_disc_steps \(=2\) must be 1",
        ),
        (
            ("configs/resnet2d.py:smoke", "--config.model.gen_spectral_norm=True"),
            r"gen_spectral_norm \(=True\): the PyTorch resnet has none; set it to False",
        ),
    ],
)
def test_what_pytorchs_step_lacks_is_refused(config: tuple[str, ...], message: str) -> None:
    path, *overrides = config
    if "vae" in path:
        overrides.append("--config.loss.kl_weight=0")
    exp = experiment.build(experiment.load_config(path, overrides))
    with pytest.raises(ValueError, match=message):
        TorchStep(exp.config)
