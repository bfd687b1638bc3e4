"""From config files to experiments: loading, building, optimisers, objectives."""

import dataclasses
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from ml_collections import ConfigDict

from vidgan_jax import experiment
from vidgan_jax.config import OptimizerConfig
from vidgan_jax.layers import Dense
from vidgan_jax.losses import adversarial
from vidgan_jax.losses.objective import Pass, weighted_sum
from vidgan_jax.models.resnet import ResnetDiscriminator, ResnetGenerator
from vidgan_jax.types import ClipSpec

# ml_collections 1.1 loads config files by importlib's `load_module`.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

CONFIGS = Path(__file__).parents[1] / "configs"
RESNET3D = str(CONFIGS / "resnet3d.py")
SMOKE = f"{RESNET3D}:smoke"
NOT_OF_GANS = ("__init__", "common", "segmenter")
FILES = sorted(path for path in CONFIGS.glob("*.py") if path.stem not in NOT_OF_GANS)


def small(**overrides: Any) -> dict[str, Any]:
    """A config of tiny networks, `section__field=value` changed."""
    raw = experiment.load_config(SMOKE).to_dict()
    raw["model"].update(
        size=16, num_frames=4, z_dim=3, features=4, max_features=8, time_stages=(0,)
    )
    raw["data"].update(resize=64)
    for path, value in overrides.items():
        section, field = path.split("__")
        raw[section][field] = value
    return raw


# --- building


@pytest.mark.parametrize("variant", ["", ":smoke"])
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_config_builds(file: Path, variant: str) -> None:
    built = experiment.build(experiment.load_config(f"{file}{variant}"))
    assert built.config.name == file.stem
    assert len(built.example_shape) == (3 if file.stem.endswith("2d") else 4)


def test_what_a_config_describes() -> None:
    """Networks, clips and objective have what the fields say."""
    built = experiment.build(
        small(
            data__start_frames=5,
            data__flip=False,
            data__stride=2,
            model__time_stages=(1,),
            model__init_scale=0.5,
        )
    )
    assert built.example_shape == (4, 16, 16, 3)
    assert built.generator == ResnetGenerator(16, 4, 4, 8, (1,), init_scale=0.5)
    assert built.discriminator == ResnetDiscriminator(16, 4, 8, (1,), init_scale=0.5)
    assert built.clip_spec == ClipSpec(
        num_frames=4, stride=2, size=16, resize=64, flip=False, start_frames=5
    )
    gen, disc = jax.eval_shape(built.init_variables, jax.random.key(0))
    chex.assert_shape(gen["params"]["fc"]["kernel"], (3, 2 * 16 * 8))
    chex.assert_shape(disc["params"]["fc"]["kernel"], (2 * 16 * 8, 1))


def test_images_and_starts_anywhere() -> None:
    """0 frames stand for images, 0 start frames for every start."""
    built = experiment.build(small(model__num_frames=0, data__start_frames=0))
    assert built.example_shape == (16, 16, 3)
    assert built.clip_spec.is_image
    assert built.clip_spec.start_frames is None


def test_config_dicts_and_mappings_build_the_same() -> None:
    raw = small()
    assert experiment.build(ConfigDict(raw)).config == experiment.build(raw).config


def test_the_networks_start_from_different_keys() -> None:
    """Two equal networks get unequal weights, and others from another key."""
    built = experiment.build(small(model__num_frames=0))
    twins = dataclasses.replace(built, generator=Dense(4), discriminator=Dense(4))
    kernels = [
        variables["params"]["kernel"]
        for seed in (0, 1)
        for variables in twins.init_variables(jax.random.key(seed))
    ]
    for one, other in itertools.combinations(kernels, 2):
        assert one.shape == other.shape == (3, 4)
        assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"model__size": 48}, r"size \(=48\) must be 8, 16, 32, 64, 128"),
        ({"model__num_frames": 7}, r"num_frames \(=7\) must be a multiple of 2"),
        ({"model__time_stages": (2,)}, r"time_stages \(=\(2,\)\) must be different numbers from 0"),
        ({"model__time_stages": (0, 0)}, r"time_stages \(=\(0, 0\)\)"),
        (
            {"model__name": "resnett"},
            r"config\.model\.name \(='resnett'\) must be one of dcgan, resnet",
        ),
        ({"model__gen_batch_norm": True}, r"gen_batch_norm \(=True\): the ResNet GAN has no place"),
        ({"loss__mask_weight": 0.1}, r"mask_weight \(=0\.1\) is of VGAN's mask.*is 'resnet'"),
        ({"init__mode": "exactly"}, r"init\.mode \(='exactly'\) must be one of exact, thesis"),
        ({"init__profile": "mean"}, r"init\.profile \(='mean'\) must be one of average, central"),
        ({"loss__adversarial": "hinged"}, r"loss\.adversarial \(='hinged'\) .*logistic_minimax"),
        ({"gen_optimizer__name": "sgd"}, r"gen_optimizer\.name \(='sgd'\) .*rmsprop, adam"),
        ({"disc_optimizer__name": "sgd"}, r"disc_optimizer\.name \(='sgd'\) .*rmsprop, adam"),
        ({"data__resize": 8}, r"data\.resize \(=8\) must be at least"),
        ({"train__batchsize": 8}, r"config\.train\.batchsize; did you mean .*batch_size\?"),
    ],
)
def test_build_refuses(overrides: dict[str, Any], text: str) -> None:
    """What the networks refuse, too, is refused here, before data or a device is touched."""
    with pytest.raises(ValueError, match=text):
        experiment.build(small(**overrides))


def test_steps_of_a_run() -> None:
    """As given, or epochs · clips / batch, rounded, at least one."""
    assert experiment.build(small(train__num_steps=7)).num_steps(10**6) == 7
    by_epochs = experiment.build(
        small(train__num_steps=0, train__num_epochs=2.5, train__batch_size=4)
    )
    assert [by_epochs.num_steps(n) for n in (1, 16, 1000)] == [1, 10, 625]


# --- config files


def test_overrides_take_the_fields_type() -> None:
    untouched = experiment.load_config(SMOKE)
    size, start_frames = 2 * untouched.model.size, untouched.data.start_frames + 1
    overrides = [
        f"--config.model.size={size}",
        f"--config.data.start_frames={start_frames}",
        "--config.loss.r1_gamma=2",
        "--config.data.flip=false",
        "--config.model.time_stages=(0,1)",
        "--config.data.path=some/where",
        "--config.name=mine",
    ]
    config = experiment.load_config(SMOKE, overrides)
    assert (config.model.size, config.data.start_frames) == (size, start_frames)
    assert (config.loss.r1_gamma, config.data.flip) == (2.0, False)
    assert (config.data.path, config.name) == ("some/where", "mine")
    assert tuple(config.model.time_stages) == (0, 1)
    assert config.train == untouched.train
    assert experiment.load_config(SMOKE) == untouched


def test_the_last_override_holds() -> None:
    sizes = [f"--config.model.size={size}" for size in (16, 32)]
    assert experiment.load_config(SMOKE, sizes).model.size == 32


def test_a_config_finds_its_neighbours_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves the import path as it was, also when it fails."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "pieces_of_mine.py").write_text("SIZE = 48\n")
    (tmp_path / "recipes" / "mine.py").write_text(
        "from ml_collections import ConfigDict\n"
        "from recipes import pieces_of_mine\n"
        "def get_config(variant=''):\n"
        "    if variant:\n"
        "        raise ValueError(f'no variant {variant!r}')\n"
        "    return ConfigDict({'size': pieces_of_mine.SIZE})\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = list(sys.path)
    assert experiment.load_config("../recipes/mine.py").size == 48
    with pytest.raises(ValueError, match="no variant 'x'"):
        experiment.load_config("../recipes/mine.py:x")
    assert sys.path == before


@pytest.mark.parametrize(
    ("path", "overrides", "text"),
    [
        ("no/such.py", [], r"--config no/such\.py: no such file; this package's are in configs/"),
        (f"{RESNET3D}:huge", [], r"resnet3d\.py has no variant 'huge'; there are :smoke, :study$"),
        (SMOKE, ["--config.model.sise=3"], r"config\.model\.sise: .*'sise'; did you mean size\?"),
        (SMOKE, ["--config.modle.size=3"], r"config\.modle\.size: .*'modle'; did you mean model\?"),
        (SMOKE, ["--config.zzz=3"], r"config\.zzz: .*'zzz'; known there: data, disc_optimizer, "),
        (SMOKE, ["--config.name.more=3"], r"unknown field config\.name\.more"),
        (SMOKE, ["--config.model.size=big"], r"model\.size=big: invalid literal for int\(\)"),
        (SMOKE, ["--config.model.size=32.5"], r"model\.size=32\.5: invalid literal for int\(\)"),
        (SMOKE, ["--config.loss.r1_gamma=a"], r"r1_gamma=a: could not convert string to float"),
        (SMOKE, ["--config.data.flip=no"], r"data\.flip=no: .*[Nn]on-boolean"),
        (SMOKE, ["--config.model=5"], r"config\.model=5: Failed to parse"),
        (SMOKE, ["--config.model.size"], r"unknown argument --config\.model\.size; fields are set"),
        (
            SMOKE,
            ["--model.size=3"],
            r"unknown argument --model\.size=3; .*--config\.SECTION\.FIELD",
        ),
    ],
)
def test_load_config_refuses(path: str, overrides: list[str], text: str) -> None:
    """In one line, without a traceback."""
    with pytest.raises(ValueError, match=text) as refusal:
        experiment.load_config(path, overrides)
    assert "\n" not in str(refusal.value)


# --- optimisers


def optimizer_config(**changes: Any) -> OptimizerConfig:
    values = {
        "name": "rmsprop", "learning_rate": 0.02, "decay": 0.9, "beta1": 0.5, "beta2": 0.95,
        "eps": 1e-3, "decay_from": 1.0,
    }  # fmt: skip
    return OptimizerConfig(**{**values, **changes})


def torch_rmsprop(params: Any, config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(params, config.learning_rate, alpha=config.decay, eps=config.eps)


def torch_adam(params: Any, config: OptimizerConfig) -> torch.optim.Optimizer:
    betas = (config.beta1, config.beta2)
    return torch.optim.Adam(params, config.learning_rate, betas=betas, eps=config.eps)


@pytest.mark.parametrize("eps", [1e-8, 0.3])
@pytest.mark.parametrize("decay_from", [1.0, 0.5])
@pytest.mark.parametrize(
    ("name", "make_reference"), [("rmsprop", torch_rmsprop), ("adam", torch_adam)]
)
def test_optimizers_are_pytorchs(
    name: str, make_reference: Callable[..., torch.optim.Optimizer], decay_from: float, eps: float
) -> None:
    """Eight steps on the same gradients; a large eps tells whether it stands behind the root."""
    config = optimizer_config(name=name, decay_from=decay_from, eps=eps)
    rng = np.random.default_rng(0)
    start = rng.standard_normal(5, np.float32)
    scales = np.array([1, 1e-2, 10, 1, 0], np.float32)
    gradients = rng.standard_normal((8, 5), np.float32) * scales

    schedule = experiment.learning_rate(config, num_updates=8)
    optimizer = experiment.OPTIMIZERS[name](config, schedule)
    update = jax.jit(optimizer.update)
    params = jnp.asarray(start)
    state = optimizer.init(params)
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    reference = make_reference([parameter], config)
    for step, gradient in enumerate(gradients):
        updates, state = update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        # By hand: constant in the first half, then down by a quarter each step.
        falling = 1 if decay_from == 1.0 or step < 4 else (8 - step) / 4
        reference.param_groups[0]["lr"] = config.learning_rate * falling
        parameter.grad = torch.from_numpy(gradient)
        reference.step()
        np.testing.assert_allclose(params, parameter.detach(), rtol=2e-6, atol=1e-6)
    assert float(jnp.max(jnp.abs(params[:-1] - start[:-1]))) > 0.01
    assert params[-1] == start[-1]


def test_the_rate_falls_linearly_from_the_half() -> None:
    config = optimizer_config(decay_from=0.5, learning_rate=1e-4)
    rate = experiment.learning_rate(config, num_updates=1000)
    updates = [0, 1, 499, 500, 501, 750, 999, 1000, 2000]
    expected = [1, 1, 1, 1, 499 / 500, 0.5, 1 / 500, 0, 0]
    np.testing.assert_allclose([rate(n) for n in updates], np.multiply(expected, 1e-4), rtol=1e-4)


def test_the_rate_never_falls_or_from_the_start() -> None:
    never = experiment.learning_rate(optimizer_config(decay_from=1.0), num_updates=10)
    np.testing.assert_allclose([never(n) for n in (0, 9, 99)], [0.02] * 3)
    always = experiment.learning_rate(optimizer_config(decay_from=0.0), num_updates=10)
    np.testing.assert_allclose([always(n) for n in (0, 5, 10)], [0.02, 0.01, 0], atol=1e-9)


def test_players_have_their_own_rates_and_numbers_of_updates() -> None:
    """D is updated 3 times for each update of G, and ends its run at the same time."""
    raw = small(
        train__num_disc_steps=3,
        gen_optimizer__learning_rate=0.5,
        disc_optimizer__learning_rate=0.25,
        gen_optimizer__decay_from=0.5,
        disc_optimizer__decay_from=0.5,
        gen_optimizer__decay=0.0,
        disc_optimizer__decay=0.0,
    )
    rates: list[list[float]] = []
    # RMSProp without memory moves by the rate times the gradient's sign.
    for optimizer, num_updates in zip(experiment.build(raw).optimizers(4), (4, 12), strict=True):
        params, state = jnp.ones(()), optimizer.init(jnp.ones(()))
        rates.append([])
        for _ in range(num_updates):
            update, state = optimizer.update(jnp.ones(()), state, params)
            rates[-1].append(-float(update))
    np.testing.assert_allclose(rates[0], [0.5, 0.5, 0.5, 0.25], rtol=1e-5)
    np.testing.assert_allclose(rates[1][:7], [0.25] * 7, rtol=1e-5)
    np.testing.assert_allclose(np.diff(rates[1][6:]), [-0.25 / 6] * 5, rtol=1e-4)


# --- objective


def objective_of(**loss: Any) -> Any:
    overrides = {f"loss__{name}": value for name, value in loss.items()}
    return experiment.build(small(**overrides)).objective


def test_terms_have_the_thesiss_names_and_weights() -> None:
    """γ stands for ½γ·‖∇D‖²."""
    objective = objective_of(r1_gamma=10.0, r1_every_steps=4)
    assert [(t.name, t.weight, t.every_steps) for t in objective.gen] == [("G_fake", 1.0, 1)]
    assert [(t.name, t.weight, t.every_steps) for t in objective.disc] == [
        ("D_real", 1.0, 1),
        ("D_fake", 1.0, 1),
        ("reg", 5.0, 4),
    ]


def test_no_gamma_no_penalty() -> None:
    assert [t.name for t in objective_of(r1_gamma=0.0).disc] == ["D_real", "D_fake"]


@pytest.mark.parametrize(
    ("name", "gen_loss"),
    [
        ("logistic", adversarial.logistic_non_saturating),
        ("logistic_minimax", adversarial.logistic_minimax),
    ],
)
def test_objective_by_hand(name: str, gen_loss: Callable[[jax.Array], jax.Array]) -> None:
    """A critic `2·Σx` over 12 numbers an example has the squared gradient 48."""
    objective = objective_of(adversarial=name, r1_gamma=10.0, r1_every_steps=1)
    real, fake = jnp.full((2, 2, 2, 3), 0.01), jnp.full((2, 2, 2, 3), -0.02)

    def critic(x: jax.Array) -> jax.Array:
        return 2 * jnp.sum(x, axis=(1, 2, 3))

    outputs = Pass(real, fake, critic(fake), real_logits=critic(real), critic=critic)
    total, shares = weighted_sum(objective.disc, outputs)
    expected = {
        "D_real": np.log1p(np.exp(-0.24)),
        "D_fake": np.log1p(np.exp(-0.48)),
        "reg": 5.0 * 48,
    }
    chex.assert_trees_all_close({k: float(v) for k, v in shares.items()}, expected, rtol=1e-5)
    np.testing.assert_allclose(total, sum(expected.values()), rtol=1e-5)
    total, shares = weighted_sum(objective.gen, Pass(real, fake, critic(fake)))
    np.testing.assert_allclose(total, gen_loss(jnp.float32(-0.48)), rtol=1e-5)
    assert list(shares) == ["G_fake"]


def test_disc_terms_refuse_the_generators_pass() -> None:
    outputs = Pass(jnp.zeros((1, 2, 2, 3)), jnp.zeros((1, 2, 2, 3)), jnp.zeros(1))
    real, _, reg = objective_of().disc
    for term in (real, reg):
        with pytest.raises(ValueError, match="a pass that lacks what it looks at"):
            term.loss(outputs)


def test_registries_and_sections_agree() -> None:
    """Every registered name builds."""
    names = itertools.product(experiment.MODELS, experiment.ADVERSARIAL, experiment.OPTIMIZERS)
    for model, loss, optimizer in names:
        needed = {"spade": {"model__num_labels": 3, "loss__r1_gamma": 0.0}}.get(model, {})
        experiment.build(
            small(
                model__name=model,
                loss__adversarial=loss,
                gen_optimizer__name=optimizer,
                disc_optimizer__name=optimizer,
                **needed,
            )
        ).optimizers(10)
