"""Checkpoints: found, refused, and whole or not there."""

import errno
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vidgan_jax.train import checkpoint
from vidgan_jax.train.checkpoint import CheckpointError, Checkpoints
from vidgan_jax.train.state import GanState, create_state


def small_state(value: float = 1.0) -> GanState:
    gen: Any = {
        "params": {"fc": {"kernel": jnp.full((2, 3), value)}},
        "stats": {"mean": jnp.ones(3)},
    }
    disc = {"params": {"fc": {"kernel": jnp.full((3, 1), value)}}}
    return create_state(jax.random.key(7), gen, disc, optax.adam(1e-3), optax.rmsprop(1e-3))


def abstract(state: GanState) -> Any:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


META = checkpoint.make_meta({"name": "small"}, fps=8.0)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    state = small_state()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
        checkpoints.save(5, state, {"samples": 40}, META)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 5
        restored, loader, meta = checkpoints.restore(5, abstract(state))
    assert loader == {"samples": 40}
    assert meta == META
    as_data = lambda tree: tree.replace(key=jax.random.key_data(tree.key))  # noqa: E731
    chex.assert_trees_all_equal(as_data(restored), as_data(state))


def test_older_checkpoints_lack_the_average_s_own_collections(tmp_path: Path) -> None:
    """Which are the generator's then, in buffers of their own: a step donates both."""
    kernel = {"fc": {"kernel": jnp.ones((2, 3))}}
    gen: Any = {
        "params": kernel,
        "batch_stats": {"bn": {"mean": jnp.full(3, 2.0)}},
        "spectral": {"fc": {"u": jnp.ones(3), "v": jnp.ones(2), "gain": jnp.full((), 0.5)}},
    }
    sgd = optax.sgd(0.1)
    state = create_state(jax.random.key(7), gen, {"params": kernel}, sgd, sgd)
    for step, kept in ((1, {}), (2, {"batch_stats": state.ema_collections["batch_stats"]})):
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(step, state.replace(ema_collections=kept), {}, META)
            checkpoints.wait()
            restored, _, _ = checkpoints.restore(step, abstract(state))
        chex.assert_trees_all_equal(restored.ema_collections, state.ema_collections)
        assert restored.ema_variables["spectral"]["fc"]["gain"] == 0.5
        jax.block_until_ready(jax.jit(lambda s: s, donate_argnums=0)(restored))


def test_weights_come_back_as_numpy_without_the_optimisers(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, small_state(), {}, META)
    for path in (tmp_path, tmp_path / "checkpoints", tmp_path / "checkpoints" / "5"):
        weights = checkpoint.load_weights(path)
        assert weights.step == 5
        assert set(weights.gen) == {"params", "stats"}
        assert isinstance(weights.disc["params"]["fc"]["kernel"], np.ndarray)
        np.testing.assert_array_equal(weights.ema["params"]["fc"]["kernel"], np.ones((2, 3)))


def test_weights_are_written_once(tmp_path: Path) -> None:
    state = small_state()
    parts: dict[str, Any] = {"gen": state.gen.variables, "disc": state.disc.variables}
    written = checkpoint.save_weights(tmp_path, **parts, ema=state.ema_variables, meta=META)
    assert written == tmp_path / "checkpoints" / "0"
    chex.assert_trees_all_equal(checkpoint.load_weights(tmp_path).gen, state.gen.variables)
    with pytest.raises(CheckpointError, match="has checkpoints already; choose another --out"):
        checkpoint.save_weights(tmp_path, **parts, ema=state.ema_variables, meta=META)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in range(1, 5):
            checkpoints.save(step, small_state(step), {}, META)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]


def test_a_save_that_was_cut_short_is_not_listed(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small_state(), {}, META)
    (tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp").mkdir()
    assert checkpoint.find(tmp_path).name == "1"
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 1
        checkpoints.save(2, small_state(), {}, META)
    assert checkpoint.find(tmp_path).name == "2"


@pytest.mark.parametrize("full", [True, False])
def test_a_full_disk_is_told_and_what_was_saved_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    code = errno.ENOSPC if full else errno.EIO

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, "No space left on device" if full else "Input/output error")

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, small_state(), {}, META)
    checkpoints.wait()
    monkeypatch.setattr(checkpoints._manager, "save", fail)
    hint = "free space and run the same command" if full else "step 1 is whole$"
    with pytest.raises(CheckpointError, match=hint) as error:
        checkpoints.save(2, small_state(), {}, META)
    assert "the checkpoint of step 1 is whole" in str(error.value)
    monkeypatch.undo()
    with checkpoints:
        assert checkpoints.latest_step() == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nowhere", "nowhere does not exist"),
        (lambda p: p, "has no checkpoint in it; give a workdir that was trained"),
    ],
)
def test_no_checkpoint_is_told(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoint.find(make(tmp_path))


def test_another_network_is_refused_with_paths_and_shapes(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small_state(), {}, META)
        checkpoints.wait()
        other = small_state()
        wide = {"fc": {"kernel": jnp.ones((2, 9)), "bias": jnp.ones(9)}}
        like = abstract(other.replace(gen=other.gen.replace(params=wide)))
        with pytest.raises(
            CheckpointError, match="gen/params/fc/bias: missing in the checkpoint"
        ) as error:
            checkpoints.restore(1, like)
        assert "gen/params/fc/kernel: (2, 3) in the checkpoint, (2, 9) wanted" in str(error.value)


def test_code_version_names_the_package() -> None:
    assert checkpoint.code_version().startswith("0.1")
