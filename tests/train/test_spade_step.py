"""The GAN step with label maps: terms, encoder, synchronised batch norm, frozen networks."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidgan_jax import experiment
from vidgan_jax.losses import matching
from vidgan_jax.train import beginning, sharding
from vidgan_jax.train.passes import Game, disc_gradients, gen_gradients, generate, to_unit_range
from vidgan_jax.train.state import GanState
from vidgan_jax.train.step import TrainStep, gan_step
from vidgan_jax.types import Batch

BATCH, SIZE, NUM_LABELS, Z_DIM = 8, 16, 5, 3
TINY = (
    f"--config.model.size={SIZE}",
    "--config.model.base_size=8",
    "--config.model.time_stages=(0,)",
    "--config.model.features=2",
    "--config.model.max_features=4",
    "--config.model.label_features=4",
    "--config.model.disc_features=4",
    "--config.model.disc_layers=2",
    f"--config.model.num_labels={NUM_LABELS}",
    f"--config.model.z_dim={Z_DIM}",
    f"--config.train.batch_size={BATCH}",
    "--config.loss.feature_weight=10.0",
)


def tiny(*overrides: str) -> tuple[experiment.Experiment, Game]:
    """A VAE with all terms but VGG19's."""
    path = "configs/spade2d.py:smoke_vae"
    exp = experiment.build(experiment.load_config(path, [*TINY, *overrides]))
    return exp, beginning.make_game(exp, 100)


def start(exp: experiment.Experiment, game: Game, mesh: Any = None) -> GanState:
    everywhere = sharding.replicated(mesh or sharding.make_mesh(1))
    return jax.jit(lambda: beginning.initial_state(exp, game), out_shardings=everywhere)()


def examples(exp: experiment.Experiment, num: int = BATCH) -> Batch:
    """With pixels of no class among the labels."""
    rng = np.random.default_rng(0)
    maps = rng.integers(0, NUM_LABELS + 1, (num, SIZE, SIZE), np.uint8)
    maps[maps == NUM_LABELS] = 255
    return Batch(rng.integers(0, 256, (num, *exp.example_shape), np.uint8), maps)


def test_the_encoder_moves_with_the_generator_and_never_with_the_discriminator() -> None:
    for still, moves in (("gen", "disc"), ("disc", "gen")):
        exp, game = tiny()
        rates = {f"{still}_optimizer": optax.sgd(0.0), f"{moves}_optimizer": optax.sgd(0.1)}
        game = dataclasses.replace(game, **rates)
        state = start(exp, game)
        after, _ = jax.jit(lambda s, b, g=game: gan_step(g, s, b))(state, examples(exp))
        chex.assert_trees_all_equal(getattr(state, still).params, getattr(after, still).params)
        old, new = getattr(state, moves).params, getattr(after, moves).params
        parts = ("encoder", "head", "conv_img") if moves == "gen" else ("scale_0", "scale_1")
        for part in parts:
            kernels = [leaf for leaf in jax.tree.leaves(old[part]) if leaf.ndim > 1]
            after_it = [leaf for leaf in jax.tree.leaves(new[part]) if leaf.ndim > 1]
            # Not of biases: as long as no logit is beyond the hinge, the logits' has no gradient.
            for a, b in zip(kernels, after_it, strict=True):
                assert not np.array_equal(a, b), part


def test_terms_are_what_their_names_say() -> None:
    exp, game = tiny()
    state, batch = start(exp, game), examples(exp)
    real = to_unit_range(jnp.asarray(batch.frames))
    maps = jnp.asarray(batch.label_map)
    z = jax.random.normal(jax.random.key(2), (BATCH, Z_DIM))

    @jax.jit
    def of_both() -> Any:
        made = generate(game, state, real, maps, z)
        _, _, disc = disc_gradients(game, state, real, maps, made.fake)
        return disc, gen_gradients(game, state, real, maps, made)[1]

    disc, gen = of_both()

    @jax.jit
    def by_hand() -> Any:
        mutable = ["batch_stats", "spectral", "outputs"]
        own, said = game.generator.apply(state.gen.variables, z, maps, real, mutable=mutable)
        others, _ = game.generator.apply(
            state.gen.variables, z, maps, real, mutable=["batch_stats"]
        )
        judge = game.discriminator.apply
        _, moved = judge(state.disc.variables, real, maps, mutable=["spectral"])
        updating = {**state.disc.variables, **moved}
        return (
            own,
            said["outputs"]["posterior"],
            judge(state.disc.variables, own, maps, mutable=["outputs"]),
            judge(state.disc.variables, real, maps, mutable=["outputs"]),
            judge(updating, others, maps),
            judge(updating, real, maps),
        )

    own, posterior, (fooled, fake_beside), (_, real_beside), d_fake, d_real = by_hand()
    assert [logits.shape for logits in d_fake] == [(BATCH, 4, 4), (BATCH, 2, 2)]
    mean = lambda f, scales: np.mean([np.mean(f(np.asarray(x))) for x in scales])  # noqa: E731
    want = {
        "G_fake": mean(lambda x: -x, fooled),
        "G_l1": 10 * np.mean(np.abs(own - real)),
        "G_feature": 10
        * np.mean(
            matching.feature_matching(
                fake_beside["outputs"]["features"], real_beside["outputs"]["features"]
            )
        ),
        "G_kl": 0.05 * np.mean(matching.kl_divergence(**posterior)),
    }
    assert set(gen) == {*want, "G"}
    for name, value in want.items():
        np.testing.assert_allclose(gen[name], value, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(gen["G"], sum(want.values()), rtol=1e-4)
    hinge = {
        "D_fake": mean(lambda x: np.maximum(0, 1 + x), d_fake),
        "D_real": mean(lambda x: np.maximum(0, 1 - x), d_real),
    }
    right = 0.5 * (mean(lambda x: x > 0, d_real) + mean(lambda x: x < 0, d_fake))
    assert set(disc) == {*hinge, "D", "D_accuracy"}
    for name, value in {**hinge, "D_accuracy": right}.items():
        np.testing.assert_allclose(disc[name], value, rtol=1e-4, err_msg=name)


def test_latents_are_drawn_around_the_code_of_the_reals() -> None:
    """Other reals under the same maps and noise make other fakes; without an encoder the same."""
    batches = []
    for seed in (0, 1):
        exp, game = tiny()
        batch = examples(exp)
        frames = np.random.default_rng(seed).integers(0, 256, batch.frames.shape, np.uint8)
        batches.append(to_unit_range(jnp.asarray(frames)))
    maps, z = jnp.asarray(batch.label_map), jnp.zeros((BATCH, Z_DIM))
    for variant, same in (("smoke_vae", False), ("smoke", True)):
        exp = experiment.build(experiment.load_config(f"configs/spade2d.py:{variant}", TINY))
        game = beginning.make_game(exp, 100)
        state = start(exp, game)
        run = jax.jit(lambda x, g=game, s=state: jnp.sum(generate(g, s, x, maps, z).fake))
        # At the start the difference is small: the last layer is.
        assert (float(run(batches[0])) == float(run(batches[1]))) == same


def test_terms_look_through_frozen_networks() -> None:
    """VGG19's variables are an argument of the program, and what they are matters."""
    exp, _ = tiny("--config.loss.vgg_weight=10.0", "--config.loss.feature_weight=0.0")
    assert exp.vgg is not None
    game = beginning.make_game(exp, 100)
    mesh = sharding.make_mesh(1)
    shapes = jax.eval_shape(exp.vgg.init, jax.random.key(0), exp.disc_inputs()[0])
    rng = np.random.default_rng(0)
    vgg = jax.tree.map(
        lambda s: (
            rng.standard_normal(s.shape, np.float32) * (2 / max(1, np.prod(s.shape[:-1]))) ** 0.5
        ),
        shapes,
    )
    batch = sharding.put_batch(examples(exp), mesh)
    shares = []
    for scale in (1.0, 0.5):
        frozen = {"vgg": jax.tree.map(lambda x, k=scale: k * x, vgg)}
        train_step = TrainStep(game, mesh, frozen)
        state, metrics = train_step(start(exp, game, mesh), batch, 0)
        shares.append(float(metrics["G_vgg"]))
        assert not any(
            "vgg" in jax.tree_util.keystr(path)
            for path, _ in jax.tree_util.tree_leaves_with_path(state.gen.params)
        )
    assert shares[0] > 2 * shares[1] > 0
