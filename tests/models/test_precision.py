"""Networks that compute in bfloat16: what does, what stays float32, and how near the two are."""

import functools
import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.networks import draw_variables
from tests.runs import fields
from vidgan_jax import experiment, networks
from vidgan_jax.experiment import Experiment
from vidgan_jax.layers import Conv, ConvTranspose, Dense, avg_pool
from vidgan_jax.layers.labels import LabelChannels, LabelConv, LabelledConv, read_label_map
from vidgan_jax.layers.precision import enter, leave
from vidgan_jax.models.spade import SpadeNorm
from vidgan_jax.train import beginning
from vidgan_jax.train.passes import forward, to_unit_range
from vidgan_jax.train.step import gan_step
from vidgan_jax.types import OUTPUTS, Batch

BATCH, NUM_LABELS = 4, 5
_SMALL: dict[str, Any] = {
    "model_features": 4,
    "model_max_features": 8,
    "model_z_dim": 3,
    "model_num_frames": 4,
}
# The smallest clips of each family, with every kind of layer and of term.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan": ("dcgan3d.py:smoke", {"model_size": 8, "model_time_stages": (0,)}),
    "resnet": ("resnet3d.py:smoke", {"model_size": 8, "loss_r1_every_steps": 1}),
    "spade": (
        "spade3d.py:smoke_vae",
        {
            "model_size": 16,
            "model_base_size": 8,
            "model_time_stages": (0,),
            "model_encoder_time_stages": (0,),
            "model_label_features": 4,
            "model_disc_features": 4,
            "model_disc_layers": 2,
            "model_num_labels": NUM_LABELS,
            "loss_feature_weight": 10.0,
        },
    ),
    "vgan": ("vgan.py", {"model_size": 8, "model_time_stages": (0,)}),
}
FAMILY = pytest.mark.parametrize("family", FAMILIES)
PRODUCT = re.compile(r"stablehlo\.(convolution|dot_general).* : \((.*)\) ->")


@functools.cache
def build(family: str, gen: str = "bfloat16", disc: str = "bfloat16") -> Experiment:
    config, more = FAMILIES[family]
    overrides = fields(**{**_SMALL, **more, "train_batch_size": BATCH})
    dtypes = [f"--config.model.gen_dtype={gen}", f"--config.model.disc_dtype={disc}"]
    return experiment.build(experiment.load_config(f"configs/{config}", [*overrides, *dtypes]))


def examples(exp: Experiment) -> Batch:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (BATCH, *exp.example_shape), np.uint8)
    if exp.cond_shape is None:
        return Batch(frames)
    return Batch(frames, rng.integers(0, NUM_LABELS + 1, (BATCH, *exp.cond_shape), np.uint8))


def trace_step(exp: Experiment) -> Any:
    """A whole step, traced: state and batch have shapes only."""
    game = beginning.make_game(exp, 100)
    state = jax.eval_shape(lambda: beginning.initial_state(exp, game))
    return state, jax.jit(lambda s, b: gan_step(game, s, b)).trace(state, examples(exp))


def draw(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(shape).standard_normal(shape, np.float32))


def dtypes(tree: Any) -> set[str]:
    """Names of those that its leaves have."""
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


def relative(got: Any, want: Any) -> float:
    """‖got - want‖ / ‖want‖ over all leaves."""
    flat = [
        np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(tree)])
        for tree in (got, want)
    ]
    return float(np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]))


# --- whole networks


@pytest.mark.parametrize("family", ["dcgan", "resnet", "spade"])
def test_a_step_convolves_in_bfloat16_and_keeps_its_state_in_float32(family: str) -> None:
    """Forward, backward and R1's gradient of the gradient; on GPUs, and in what CPUs run."""
    state, traced = trace_step(build(family))
    after, metrics = traced.out_info
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert "bfloat16" not in dtypes(state)
    assert dtypes(metrics) == {"float32"}
    for platform in ("cuda", "cpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        rounded = [
            kind for kind, operands in PRODUCT.findall(text) if operands.count("xbf16>") == 2
        ]
        assert len(rounded) > 10
        # Products of matrices and vectors are spectral norm's, too.
        assert rounded.count("convolution") == text.count("stablehlo.convolution")
        assert not re.search(r"xf(16|64)>", text)


@FAMILY
def test_networks_have_each_their_own_dtype(family: str) -> None:
    """A network of float32 has nothing of bfloat16, whatever the other one computes in."""
    for gen, disc in (("bfloat16", "float32"), ("float32", "bfloat16")):
        exp = build(family, gen, disc)
        for module, inputs, dtype in (
            (exp.generator, exp.gen_inputs(2), gen),
            (exp.discriminator, exp.disc_inputs(2), disc),
        ):
            variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
            jaxpr = jax.make_jaxpr(functools.partial(forward, module))(variables, *inputs)
            assert ("bf16" in str(jaxpr)) == (dtype == "bfloat16")


@FAMILY
def test_results_are_float32(family: str) -> None:
    """Frames, logits, and what the generators give beside; D's features wait for the loss."""
    exp = build(family)
    for module, inputs in (
        (exp.generator, exp.gen_inputs(2)),
        (exp.discriminator, exp.disc_inputs(2)),
    ):
        variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
        assert dtypes(variables) == {"float32"}
        apply = functools.partial(module.apply, mutable=[OUTPUTS])
        result, beside = jax.eval_shape(apply, variables, *inputs)
        features = beside.get(OUTPUTS, {}).pop("features", ())
        assert dtypes([result, beside]) == {"float32"}
        assert dtypes(features) <= {"bfloat16"}


@pytest.mark.parametrize("family", ["resnet", "spade"])
def test_results_are_near_those_of_float32(family: str) -> None:
    """Within a few of bfloat16's roundings, and not the same: equal weights, equal inputs."""
    exp = build(family)
    exact = networks.in_float32(exp.config.model)
    batch = examples(exp)
    cond = () if batch.label_map is None else (jnp.asarray(batch.label_map),)
    real = to_unit_range(jnp.asarray(batch.frames))
    style = (real,) if exp.config.model.encoder else ()
    inputs = ((draw(BATCH, exp.config.model.z_dim), *cond, *style), (real, *cond))
    for rough, module, given in zip((exp.generator, exp.discriminator), exact, inputs, strict=True):
        variables = draw_variables(module, *given)
        got, want = (
            jax.jit(functools.partial(forward, m))(variables, *given) for m in (rough, module)
        )
        assert 1e-4 < relative(got, want) < 0.03


def test_gradients_are_near_those_of_float32() -> None:
    """Through logits and through the square of their gradient, as R1 has it."""
    exp = build("resnet")
    real = to_unit_range(jnp.asarray(examples(exp).frames))
    variables = draw_variables(exp.discriminator, real)

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(module: Any, params: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            logits = functools.partial(forward, module, {**variables, "params": params})
            total, towards_real = jax.value_and_grad(lambda x: jnp.sum(logits(x)))(real)
            assert towards_real.dtype == jnp.float32
            return total + jnp.sum(jnp.square(towards_real))

        return jax.grad(loss)(params)

    modules = (exp.discriminator, networks.in_float32(exp.config.model)[1])
    got, want = (gradients(module, variables["params"]) for module in modules)
    chex.assert_trees_all_equal_dtypes(got, want)
    assert 1e-4 < relative(got, want) < 0.05


def test_float64_goes_through_float32s_networks() -> None:
    with jax.enable_x64():
        exp = build("resnet", "float32", "float32")
        z = jnp.zeros((2, exp.config.model.z_dim), jnp.float64)
        variables = jax.eval_shape(exp.generator.init, jax.random.key(0), z)
        assert jax.eval_shape(exp.generator.apply, variables, z).dtype == jnp.float64


# --- layers


def test_entrance_and_exit() -> None:
    x = draw(2, 3)
    assert enter(x, None) is x
    assert enter(x, "bfloat16").dtype == jnp.bfloat16
    for before, after in ((jnp.bfloat16, jnp.float32), (jnp.float32, jnp.float32)):
        assert leave(x.astype(before)).dtype == after


LAYERS = {
    "conv": (Conv(2), (4, 8, 32, 32, 3)),
    "conv, spectral": (Conv(2, 4, 2, spectral_norm=True), (4, 8, 32, 32, 3)),
    "conv_transpose": (ConvTranspose(2), (4, 4, 16, 16, 3)),
    "dense": (Dense(2, spectral_norm=True), (2000, 3)),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_compute_in_the_datas_dtype_and_sum_gradients_in_float32(layer: str) -> None:
    """A bias's gradient counts thousands of positions; bfloat16 would not get beyond 256."""
    module, shape = LAYERS[layer]
    x = draw(*shape)
    variables = module.init(jax.random.key(0), x)
    params = variables.pop("params")

    @jax.jit
    def derivatives(params: Any, x: jax.Array) -> Any:
        def apply(params: Any, x: jax.Array) -> Any:
            return module.apply({"params": params, **variables}, x)

        y, pullback = jax.vjp(apply, params, x)
        return y, pullback(jnp.ones_like(y))

    y, (gradient, towards_x) = derivatives(params, x.astype(jnp.bfloat16))
    expected = jax.jit(module.apply)({"params": params, **variables}, x)
    assert y.dtype == towards_x.dtype == jnp.bfloat16
    chex.assert_trees_all_equal_dtypes(gradient, params)
    np.testing.assert_array_equal(gradient["bias"], y.size / 2)
    assert 1e-4 < relative(y, expected) < 0.01


def test_gradients_of_label_maps_rows_are_summed_in_float32() -> None:
    """Two examples of one class only: each tap's row is added once for each pixel that it sees."""
    size = 64
    labels = read_label_map(
        jnp.zeros((2, size, size), jnp.uint8), LabelChannels(NUM_LABELS), size, 2
    )
    module = LabelConv(1, dtype="bfloat16")
    params = module.init(jax.random.key(0), labels)["params"]
    assert params["kernel"].dtype == jnp.float32

    def total(params: Any) -> jax.Array:
        y: Any = module.apply({"params": params}, labels)
        assert y.dtype == jnp.bfloat16
        return jnp.sum(y, dtype=jnp.float32)

    kernel = jax.jit(jax.grad(total))(params)["kernel"]
    seen = np.array([size - 1, size, size - 1])
    np.testing.assert_array_equal(kernel[:, :, 0, 0], 2 * np.outer(seen, seen))


@pytest.mark.parametrize("frames", [0, 3])
def test_layers_of_label_maps_compute_in_the_frames_dtype(frames: int) -> None:
    rng = np.random.default_rng(0)
    cond = jnp.asarray(rng.integers(0, NUM_LABELS, (2, 8, 8), np.uint8))
    labels = read_label_map(cond, LabelChannels(NUM_LABELS), 8, 2)
    x = draw(2, *((frames,) if frames else ()), 8, 8, 3)
    conv, norm = LabelledConv(4, (3,) * (x.ndim - 2)), SpadeNorm(4, batch_norm=False)
    cases: list[tuple[Any, Any]] = [(conv, labels), (norm, {8: labels})]
    for module, beside in cases:
        variables = draw_variables(module, x, beside)
        apply = jax.jit(module.apply)
        got, want = (apply(variables, x.astype(d), beside) for d in (jnp.bfloat16, jnp.float32))
        assert got.dtype == jnp.bfloat16
        assert want.dtype == jnp.float32
        assert 1e-4 < relative(got, want) < 0.02


@pytest.mark.parametrize("count_padding", [True, False])
def test_means_of_windows_are_rounded_once(count_padding: bool) -> None:
    """Float32's mean of the same numbers, in the data's dtype."""
    x = draw(2, 9, 9, 3).astype(jnp.bfloat16)
    pool = functools.partial(avg_pool, window=(3, 3), strides=(2, 2), count_padding=count_padding)
    chex.assert_trees_all_equal(pool(x), pool(x.astype(jnp.float32)).astype(jnp.bfloat16))
