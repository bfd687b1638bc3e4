"""The GAN step: who moves, on what, by how much, on how many devices."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vidgan_jax import experiment
from vidgan_jax.train import beginning, sharding
from vidgan_jax.train.passes import (
    Game,
    disc_gradients,
    gen_gradients,
    generate,
    to_uint8,
    to_unit_range,
)
from vidgan_jax.train.state import GanState
from vidgan_jax.train.step import TrainStep, gan_step
from vidgan_jax.types import Batch

BATCH = 8
ALWAYS_LOGGED = {"D_real", "D_fake", "D", "G_fake", "G", "grad_norm_D", "grad_norm_G"}
TINY = (
    "--config.model.size=8",
    "--config.model.features=4",
    "--config.model.max_features=8",
    "--config.model.z_dim=3",
    f"--config.train.batch_size={BATCH}",
)


def tiny(*overrides: str, clips: bool = False) -> tuple[experiment.Experiment, Game]:
    path = f"configs/resnet{3 if clips else 2}d.py:smoke"
    exp = experiment.build(experiment.load_config(path, [*TINY, *overrides]))
    return exp, beginning.make_game(exp, 100)


def start(exp: experiment.Experiment, game: Game, mesh: Any = None) -> GanState:
    everywhere = sharding.replicated(mesh or sharding.make_mesh(1))
    return jax.jit(lambda: beginning.initial_state(exp, game), out_shardings=everywhere)()


def frames(exp: experiment.Experiment, num: int = BATCH, seed: int = 0) -> Batch:
    shape = (num, *exp.example_shape)
    return Batch(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def assert_moved(before: Any, after: Any) -> None:
    """Every leaf has changed."""
    for path, (a, b) in jax.tree_util.tree_leaves_with_path(
        jax.tree.map(lambda *x: x, before, after), is_leaf=lambda x: isinstance(x, tuple)
    ):
        assert not np.array_equal(a, b), f"{jax.tree_util.keystr(path)} did not move"


def frozen(optimizer: str) -> tuple[experiment.Experiment, Game]:
    """A game in which one player's rate is 0."""
    return tiny(f"--config.{optimizer}.learning_rate=0.0")


def test_a_discriminator_update_leaves_the_generator_and_the_other_way_round() -> None:
    for still, moves in (("gen", "disc"), ("disc", "gen")):
        exp, game = frozen(f"{still}_optimizer")
        state = start(exp, game)
        after, _ = jax.jit(lambda s, b, g=game: gan_step(g, s, b))(state, frames(exp))
        chex.assert_trees_all_equal(getattr(state, still).params, getattr(after, still).params)
        assert_moved(getattr(state, moves).params, getattr(after, moves).params)
        chex.assert_trees_all_equal(state.key, after.key)
        assert int(after.step) == 1


def test_the_average_follows_the_generator() -> None:
    exp, game = tiny("--config.train.ema_decay=0.75")
    state = start(exp, game)
    after, _ = jax.jit(lambda s, b: gan_step(game, s, b))(state, frames(exp))
    want = jax.tree.map(
        lambda old, new: 0.75 * old + 0.25 * new, state.ema_params, after.gen.params
    )
    chex.assert_trees_all_close(after.ema_params, want, rtol=1e-5, atol=1e-7)


def test_one_trace_over_many_steps() -> None:
    exp, game = tiny("--config.loss.r1_every_steps=1")
    traces = []
    generator = game.generator

    class Counted(type(generator)):  # type: ignore[misc]
        def __call__(self, z: jax.Array, cond: jax.Array | None = None) -> jax.Array:
            traces.append(z.shape)
            return super().__call__(z, cond)

    fields = {f: getattr(generator, f) for f in ("size", "features", "max_features")}
    game = dataclasses.replace(game, generator=Counted(**fields))
    mesh = sharding.make_mesh(1)
    train_step, state = TrainStep(game, mesh), start(exp, game, mesh)
    state, _ = train_step(state, sharding.put_batch(frames(exp), mesh), 0)
    once = len(traces)
    for step in range(1, 4):
        batch = sharding.put_batch(frames(exp, seed=step), mesh)
        state, _ = train_step(state, batch, step)
    assert len(traces) == once
    assert int(state.step) == 4


def test_lazy_terms_make_two_programs_and_enter_with_their_interval() -> None:
    exp, game = tiny("--config.loss.r1_every_steps=4")
    mesh = sharding.make_mesh(1)
    train_step, state = TrainStep(game, mesh), start(exp, game, mesh)
    assert train_step.program(0, state) is train_step.program(4, state)
    assert train_step.program(1, state) is train_step.program(3, state)
    assert train_step.program(0, state) is not train_step.program(1, state)
    batch = sharding.put_batch(frames(exp), mesh)
    real = to_unit_range(jnp.asarray(batch.frames))
    fake = jnp.zeros_like(real)

    def gradients(due_at: int, every: int) -> Any:
        disc = tuple(
            dataclasses.replace(t, every_steps=every) if t.name == "reg" else t
            for t in game.objective.disc
        )
        objective = dataclasses.replace(game.objective, disc=disc).due(due_at)
        due = dataclasses.replace(game, objective=objective)
        return jax.jit(lambda: disc_gradients(due, state, real, None, fake)[0])()

    without, once, lazy = gradients(1, 4), gradients(0, 1), gradients(0, 4)
    # The regulariser's own gradient, four times.
    want = jax.tree.map(lambda a, b: a + 4 * (b - a), without, once)
    chex.assert_trees_all_close(lazy, want, rtol=1e-4, atol=1e-6)
    state, metrics = train_step(state, batch, 0)
    assert set(metrics) == {*ALWAYS_LOGGED, "D_accuracy", "reg"}
    state, metrics = train_step(state, batch, 1)
    assert "reg" not in metrics


def test_metrics_are_the_losses() -> None:
    exp, game = tiny()
    state = start(exp, game)
    real = to_unit_range(jnp.asarray(frames(exp).frames))
    fake = jnp.zeros_like(real)
    _, _, metrics = jax.jit(lambda: disc_gradients(game, state, real, None, fake))()
    logits = game.discriminator.apply(state.disc.variables, real)
    np.testing.assert_allclose(
        metrics["D_real"], np.mean(np.log1p(np.exp(-np.asarray(logits)))), rtol=1e-5
    )
    np.testing.assert_allclose(metrics["D"], metrics["D_real"] + metrics["D_fake"], rtol=1e-6)


def test_each_discriminator_step_has_reals_and_latents_of_its_own() -> None:
    """Two D steps on halves [0::2] and [1::2] are two steps, and not one on the same half twice."""
    exp, game = tiny("--config.train.num_disc_steps=2")
    state, batch = start(exp, game), frames(exp, 2 * BATCH)
    step = jax.jit(lambda s, b: gan_step(game, s, b))
    after, _ = step(state, batch)
    doubled = Batch(np.repeat(np.asarray(batch.frames)[::2], 2, axis=0))
    other, _ = step(state, doubled)
    assert_moved(after.disc.params, other.disc.params)


def test_steps_draw_anew_and_seeds_repeat() -> None:
    exp, game = tiny("--config.gen_optimizer.learning_rate=0.0")
    game = dataclasses.replace(game, disc_optimizer=optax.sgd(0.0))
    step = jax.jit(lambda s, b: gan_step(game, s, b))
    state, batch = start(exp, game), frames(exp)
    first, first_metrics = step(state, batch)
    _, second_metrics = step(first, batch)
    # Nothing learns here: the latents alone make the difference.
    assert float(first_metrics["D_fake"]) != float(second_metrics["D_fake"])
    assert float(first_metrics["D_real"]) == float(second_metrics["D_real"])
    _, again_metrics = step(start(exp, game), batch)
    chex.assert_trees_all_equal(first_metrics, again_metrics)


def test_no_host_transfer_in_the_step() -> None:
    exp, game = tiny()
    mesh = sharding.make_mesh(1)
    train_step, state = TrainStep(game, mesh), start(exp, game, mesh)
    batch = sharding.put_batch(frames(exp), mesh)
    with jax.transfer_guard("disallow"):
        state, metrics = train_step(state, batch, 0)
        jax.block_until_ready(metrics)


# --- networks with collections, and the other losses


def tiny_dcgan(*overrides: str) -> tuple[experiment.Experiment, Game]:
    """Of 16×16: with a stage less, the discriminator has no batch norm."""
    fields = [*TINY, "--config.model.size=16", *overrides]
    exp = experiment.build(experiment.load_config("configs/dcgan2d.py:smoke", fields))
    return exp, beginning.make_game(exp, 100)


def leaves_called(tree: Any, name: str) -> list[np.ndarray]:
    """All leaves of a name, in the tree's order."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    return [np.asarray(leaf) for path, leaf in found if path[-1].key == name]


@pytest.mark.parametrize("disc_steps", [1, 2])
def test_spectral_vectors_move_once_in_each_update_of_their_own_network(disc_steps: int) -> None:
    """From the kernels before it, though D sees two batches and R1 in one update, and G's pass."""
    exp, game = tiny_dcgan(
        f"--config.train.num_disc_steps={disc_steps}",
        "--config.model.disc_batch_norm=False",
        "--config.loss.r1_gamma=1.0",
    )
    game = dataclasses.replace(game, gen_optimizer=optax.sgd(0.0), disc_optimizer=optax.sgd(0.0))
    state = start(exp, game)
    batch = frames(exp, disc_steps * BATCH)
    after, _ = jax.jit(lambda s, b: gan_step(game, s, b))(state, batch)
    for old, new, updates in ((state.gen, after.gen, 1), (state.disc, after.disc, disc_steps)):
        kernels = leaves_called(old.params, "kernel")
        before, vectors = (leaves_called(p.collections["spectral"], "u") for p in (old, new))
        assert len(kernels) == len(vectors) > 2
        for kernel, u, want in zip(kernels, before, vectors, strict=True):
            matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
            for _ in range(updates):
                u = matrix.T @ (matrix @ u)
                u = u / np.linalg.norm(u)
            np.testing.assert_allclose(want, u, atol=1e-6)
        assert all(gain == 1 for gain in leaves_called(new.collections["spectral"], "gain"))


def test_gradients_of_a_player_leave_the_other_s_collections() -> None:
    """The generator's pass through D uses the batch's statistics and keeps nothing of them."""
    exp, game = tiny_dcgan()
    state = start(exp, game)
    real = to_unit_range(jnp.asarray(frames(exp).frames))
    z = jax.random.normal(jax.random.key(2), (BATCH, 3))

    @jax.jit
    def both() -> Any:
        made = generate(game, state, real, None, z)
        _, disc_after, _ = disc_gradients(game, state, real, None, made.fake)
        return disc_after, made.collections, gen_gradients(game, state, real, None, made)[1]

    disc_after, gen_after, metrics = both()
    chex.assert_trees_all_equal_structs(disc_after, dict(state.disc.collections))
    chex.assert_trees_all_equal_structs(gen_after, dict(state.gen.collections))
    assert_moved(state.disc.collections["batch_stats"], disc_after["batch_stats"])
    assert_moved(state.gen.collections["batch_stats"], gen_after["batch_stats"])
    passing = ["batch_stats", "spectral"]
    fake, _ = game.generator.apply(state.gen.variables, z, mutable=passing)
    logits, _ = game.discriminator.apply(state.disc.variables, fake, mutable=["batch_stats"])
    np.testing.assert_allclose(metrics["G_fake"], -np.mean(logits), rtol=1e-4)


def test_running_statistics_see_both_of_the_discriminator_s_batches() -> None:
    """First the reals, then the fakes, as two calls of PyTorch's would."""
    exp, game = tiny_dcgan()
    state = start(exp, game)
    real = to_unit_range(jnp.asarray(frames(exp).frames))
    z = jax.random.normal(jax.random.key(2), (BATCH, 3))
    fake, _ = game.generator.apply(state.gen.variables, z, mutable=["batch_stats"])
    _, got, _ = jax.jit(lambda: disc_gradients(game, state, real, None, fake))()
    _, first = game.discriminator.apply(
        state.disc.variables, real, mutable=["batch_stats", "spectral"]
    )
    variables = {"params": state.disc.params, **first}
    _, second = game.discriminator.apply(variables, fake, mutable=["batch_stats"])
    chex.assert_trees_all_close(got["batch_stats"], second["batch_stats"], rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(got["spectral"], first["spectral"], rtol=1e-4, atol=1e-6)


def test_the_average_has_batch_statistics_of_its_own() -> None:
    exp, game = tiny_dcgan("--config.train.ema_decay=0.75")
    state = start(exp, game)
    after, _ = jax.jit(lambda s, b: gan_step(game, s, b))(state, frames(exp))
    assert set(state.ema_collections) == {"batch_stats", "spectral"}
    want = jax.tree.map(
        lambda old, new: 0.75 * old + 0.25 * new,
        state.ema_collections["batch_stats"],
        after.gen.collections["batch_stats"],
    )
    got = after.ema_collections["batch_stats"]
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-6)
    # Gains of 1 stay so; the vectors are the generator's.
    chex.assert_trees_all_equal(after.ema_variables["spectral"], after.gen.collections["spectral"])


def test_the_average_has_gains_of_its_own_which_go_to_the_generator_s() -> None:
    """After inflation with noise they differ; none of a fixed value creeps off by rounding."""
    exp, game = tiny_dcgan("--config.train.ema_decay=0.75")
    state = start(exp, game)
    doubled = jax.tree.map(lambda gain: 2 * gain, state.ema_collections["spectral"])
    own = {**state.ema_collections, "spectral": doubled}
    state = state.replace(ema_collections=own)
    gains = leaves_called(state.ema_variables, "gain")
    assert len(gains) > 2
    assert all(gain == 2 for gain in gains)
    after, _ = jax.jit(lambda s, b: gan_step(game, s, b))(state, frames(exp))
    assert all(gain == 1.75 for gain in leaves_called(after.ema_variables, "gain"))
    for name in ("u", "v"):
        ours, theirs = (leaves_called(v, name) for v in (after.ema_variables, after.gen.variables))
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


LOSSES = {
    "hinge": ("adversarial=hinge",),
    "least_squares": ("adversarial=least_squares", "least_squares=(0.,1.,1.)"),
    "wasserstein": ("adversarial=wasserstein", "weight_clip=0.01"),
    "wgan_gp": ("adversarial=wasserstein", "gp_weight=10.0"),
    "r1 and r2": ("adversarial=logistic", "r1_gamma=1.0", "r2_gamma=2.0"),
    "minimax": ("adversarial=logistic_minimax",),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", ["resnet", "dcgan"])
def test_every_loss_trains_every_model(model: str, loss: str) -> None:
    """One step of each: its terms are logged, and both players move."""
    plain = ("r1_gamma=0.0", "r1_every_steps=1") if model == "resnet" else ()
    overrides = [f"--config.loss.{field}" for field in (*plain, *LOSSES[loss])]
    if model == "dcgan":
        overrides.append("--config.model.disc_batch_norm=False")
    exp, game = tiny(*overrides) if model == "resnet" else tiny_dcgan(*overrides)
    state = start(exp, game)
    after, metrics = jax.jit(lambda s, b: gan_step(game, s, b))(state, frames(exp))
    extra = {"wgan_gp": {"gp"}, "r1 and r2": {"reg", "reg_fake"}}.get(loss, set())
    if "adversarial=wasserstein" not in LOSSES[loss]:  # whose logits have no right side
        extra = {*extra, "D_accuracy"}
    assert set(metrics) == ALWAYS_LOGGED | extra
    assert all(np.isfinite(value) for value in metrics.values())
    assert_moved(
        leaves_called(state.gen.params, "kernel"), leaves_called(after.gen.params, "kernel")
    )
    assert_moved(
        leaves_called(state.disc.params, "kernel"), leaves_called(after.disc.params, "kernel")
    )
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(after.disc.params))
    assert (largest <= 0.01) == (loss == "wasserstein")


def test_the_mask_s_mean_is_a_term_of_vgan() -> None:
    path = "configs/vgan.py:smoke2d"
    exp = experiment.build(experiment.load_config(path, list(TINY)))
    game = beginning.make_game(exp, 100)
    state = start(exp, game)
    real = to_unit_range(jnp.asarray(frames(exp).frames))
    z = jax.random.normal(jax.random.key(2), (BATCH, 3))

    @jax.jit
    def of_generator() -> Any:
        made = generate(game, state, real, None, z)
        return made.collections, gen_gradients(game, state, real, None, made)[1]

    collections, metrics = of_generator()
    assert set(collections) == {"batch_stats"}
    _, beside = game.generator.apply(state.gen.variables, z, mutable=["batch_stats", "outputs"])
    mask = beside["outputs"]["streams"]["mask"]
    np.testing.assert_allclose(metrics["G_mask"], 0.1 * np.mean(mask), rtol=1e-5)
    np.testing.assert_allclose(metrics["G"], metrics["G_fake"] + metrics["G_mask"], rtol=1e-5)


def test_bytes_and_unit_range_are_inverse() -> None:
    every = jnp.arange(256, dtype=jnp.uint8)
    unit = to_unit_range(every)
    chex.assert_type(unit, jnp.float32)
    assert float(unit[0]) == -1.0
    assert float(unit[-1]) == 1.0
    np.testing.assert_array_equal(to_uint8(unit), every)
    np.testing.assert_array_equal(to_uint8(jnp.array([-3.0, 3.0])), [0, 255])


def test_a_batch_that_the_devices_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size \(=6\) must divide by the 4 devices; use 4"):
        sharding.check_batch_size(6, sharding.make_mesh(4))
    with pytest.raises(ValueError, match=r"use 8$"):
        sharding.check_batch_size(3, sharding.make_mesh(8))
    sharding.check_batch_size(16, sharding.make_mesh(8))
