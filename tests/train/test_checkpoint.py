"""Checkpoints: found, refused, whole or not there, and passed over where they are damaged."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from tests.runs import names
from vidgan_jax import version
from vidgan_jax.train import checkpoint
from vidgan_jax.train.checkpoint import (
    CheckpointError,
    Checkpoints,
    DamagedCheckpointError,
    Restored,
)
from vidgan_jax.train.sharding import FSDP_AXIS, make_mesh
from vidgan_jax.train.state import GanState, create_state
from vidgan_jax.train.weights import load_weights, save_weights


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


def newest(checkpoints: Checkpoints, state: GanState) -> Restored:
    found = checkpoints.restore_newest(abstract(state))
    assert found is not None
    return found


def assert_same(one: GanState, other: GanState) -> None:
    as_data = [tree.replace(key=jax.random.key_data(tree.key)) for tree in (one, other)]
    chex.assert_trees_all_equal(*as_data)


META = checkpoint.make_meta({"name": "small"}, fps=8.0)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    state = small_state()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
        checkpoints.save(5, state, {"samples": 40}, META)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 5
        restored = newest(checkpoints, state)
    assert restored.step == 5
    assert restored.loader == {"samples": 40}
    assert restored.meta == META
    assert_same(restored.state, state)


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
            restored = newest(checkpoints, state).state
        chex.assert_trees_all_equal(restored.ema_collections, state.ema_collections)
        assert restored.ema_variables["spectral"]["fc"]["gain"] == 0.5
        jax.block_until_ready(jax.jit(lambda s: s, donate_argnums=0)(restored))


def test_weights_come_back_as_numpy_without_the_optimisers(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, small_state(), {}, META)
    for path in (tmp_path, tmp_path / "checkpoints", tmp_path / "checkpoints" / "5"):
        weights = load_weights(path)
        assert weights.step == 5
        assert set(weights.gen) == {"params", "stats"}
        assert isinstance(weights.disc["params"]["fc"]["kernel"], np.ndarray)
        np.testing.assert_array_equal(weights.ema["params"]["fc"]["kernel"], np.ones((2, 3)))


def test_weights_are_written_once(tmp_path: Path) -> None:
    state = small_state()
    parts: dict[str, Any] = {"gen": state.gen.variables, "disc": state.disc.variables}
    written = save_weights(tmp_path, **parts, ema=state.ema_variables, meta=META)
    assert written == tmp_path / "checkpoints" / "0"
    chex.assert_trees_all_equal(load_weights(tmp_path).gen, state.gen.variables)
    with pytest.raises(CheckpointError, match="has checkpoints already; choose another --out"):
        save_weights(tmp_path, **parts, ema=state.ema_variables, meta=META)


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
    monkeypatch.setattr(ocp.CheckpointManager, "save", fail)
    hint = "free space and run the same command" if full else "step 1 is whole$"
    with pytest.raises(CheckpointError, match=hint) as error:
        checkpoints.save(2, small_state(), {}, META)
    assert "the checkpoint of step 1 is whole" in str(error.value)
    monkeypatch.undo()
    with checkpoints:
        assert checkpoints.latest_step() == 1


def test_a_failed_save_is_warned_of_if_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the background, where it shows at the next save, and at once; but not where it must be."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def told(step: int, whole: int) -> None:
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"step {step}: could not write a checkpoint in {tmp_path}")
        assert f"no space left on the device; the checkpoint of step {whole} is whole" in line
        assert line.endswith("training goes on, and the next save is tried")

    with Checkpoints(tmp_path, keep=1, failed_saves="go_on") as checkpoints:
        checkpoints.save(1, small_state(1), {}, META)
        checkpoints.wait()
        with monkeypatch.context() as patch:
            patch.setattr(ocp.JsonCheckpointHandler, "_save_fn", fail)
            checkpoints.save(2, small_state(2), {}, META)
            checkpoints.wait()
            told(2, whole=1)
            checkpoints.save(3, small_state(3), {}, META)
        checkpoints.save(4, small_state(4), {}, META)
        told(3, whole=1)
        checkpoints.wait()
        assert names(checkpoints.directory) == ["4"]
        with monkeypatch.context() as patch:
            patch.setattr(ocp.CheckpointManager, "save", fail)
            checkpoints.save(5, small_state(5), {}, META)
            told(5, whole=4)
            with pytest.raises(CheckpointError, match="step 4 is whole; free space"):
                checkpoints.save(6, small_state(6), {}, META, must=True)
        assert names(checkpoints.directory) == ["4"]
        with monkeypatch.context() as patch:
            patch.setattr(ocp.JsonCheckpointHandler, "_save_fn", fail)

            def save_and_wait() -> None:  # one of them finds out
                checkpoints.save(7, small_state(7), {}, META, must=True)
                checkpoints.wait()

            with pytest.raises(CheckpointError, match="step 4 is whole; free space"):
                save_and_wait()


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
            checkpoints.restore_newest(like)
        assert "gen/params/fc/kernel: (2, 3) in the checkpoint, (2, 9) wanted" in str(error.value)


def test_code_version_names_the_package() -> None:
    assert version.code_version().startswith("0.1")


# --- damage


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GanState]:
    """A workdir with the checkpoints 1 and 2, and the state that both hold."""
    kernel = np.random.default_rng(0).normal(size=(64, 48)).astype(np.float32)
    one_layer: Any = {"params": {"fc": {"kernel": jnp.asarray(kernel)}}}
    state = create_state(jax.random.key(7), one_layer, one_layer, optax.adam(0.1), optax.sgd(0.1))
    workdir = tmp_path_factory.mktemp("two")
    with Checkpoints(workdir) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state, {"samples": 10 * step}, META)
    return workdir, state


def array_data(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def count_on(path: Path) -> None:
    """Something sensible, but not what was saved."""
    path.write_text(json.dumps({"samples": 21}))


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "array data cut short": (lambda p: cut(array_data(p)), ""),
    "a bit of array data": (lambda p: flip(array_data(p)), "is not what was saved"),
    "array data gone": (lambda p: array_data(p).unlink(), ""),
    "a tree of arrays gone": (lambda p: (p / "state" / "_METADATA").unlink(), "_METADATA"),
    "all arrays gone": (lambda p: empty(p / "state"), ""),
    "meta is garbage": (lambda p: (p / "meta" / "metadata").write_bytes(b"\xff{]"), "decode"),
    "meta is another": (lambda p: (p / "meta" / "metadata").write_text("[]"), "not a JSON object"),
    "the loader's position": (lambda p: count_on(p / "loader" / "metadata"), "loader is not what"),
    "an empty folder": (empty, "loader"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_kept(
    damage: str,
    two: tuple[Path, GanState],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workdir, state = two
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / checkpoint.FOLDER
    spoil, reason = DAMAGES[damage]
    spoil(folder / "2")
    before = {p.relative_to(folder / "2"): p.read_bytes() for p in files_in(folder / "2")}
    if damage != "the loader's position":  # which weights don't need
        with pytest.raises(DamagedCheckpointError, match="2 can't be read"):
            load_weights(tmp_path, moments=True)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        restored = newest(checkpoints, state)
        assert (restored.step, restored.loader, restored.meta) == (1, {"samples": 10}, META)
        assert_same(restored.state, state)
        assert checkpoints.latest_step() == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{folder / '2'} is damaged (")
        assert reason in line
        assert line.endswith(") and is now 2.damaged; going on from step 1")
        kept = {p.relative_to(folder / "2.damaged"): p for p in files_in(folder / "2.damaged")}
        assert {name: p.read_bytes() for name, p in kept.items()} == before
        checkpoints.save(2, state, {"samples": 20}, META)
    # Neither counted among the two to keep, nor deleted.
    assert names(folder) == ["1", "2", "2.damaged"]
    with Checkpoints(tmp_path) as checkpoints:
        assert newest(checkpoints, state).step == 2
    assert capsys.readouterr().err == ""


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_step_that_is_damaged_again_is_kept_again(
    two: tuple[Path, GanState], tmp_path: Path
) -> None:
    workdir, state = two
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / checkpoint.FOLDER
    for _ in range(2):
        flip(array_data(folder / "2"))
        with Checkpoints(tmp_path) as checkpoints:
            assert newest(checkpoints, state).step == 1
            checkpoints.save(2, state, {}, META)
    assert names(folder) == ["1", "2", "2.damaged", "2.damaged-2"]


def test_nothing_is_started_over_damaged_checkpoints(
    two: tuple[Path, GanState], tmp_path: Path
) -> None:
    """Not by the next try, either; and not where only those set aside are left."""
    workdir, state = two
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / checkpoint.FOLDER
    for step in ("1", "2"):
        flip(array_data(folder / step))
    for _ in range(2):
        with (
            Checkpoints(tmp_path) as checkpoints,
            pytest.raises(
                DamagedCheckpointError, match=r"is whole \(2: .*; 1: .*another --workdir"
            ),
        ):
            checkpoints.restore_newest(abstract(state))
    assert names(folder) == ["1", "2"]
    shutil.rmtree(folder / "1")
    (folder / "2").rename(folder / "2.damaged")
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(DamagedCheckpointError, match="all are set aside"),
    ):
        checkpoints.restore_newest(abstract(state))


def test_what_may_not_be_read_is_not_damaged(
    two: tuple[Path, GanState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir, state = two
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(ocp.JsonCheckpointHandler, "restore", refuse)
        with pytest.raises(CheckpointError, match=r"2 can't be read .*Permission denied") as error:
            checkpoints.restore_newest(abstract(state))
    assert not isinstance(error.value, DamagedCheckpointError)
    assert names(tmp_path / checkpoint.FOLDER) == ["1", "2"]


def test_checkpoints_from_before_seals_are_taken(
    two: tuple[Path, GanState], tmp_path: Path
) -> None:
    workdir, state = two
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    (tmp_path / checkpoint.FOLDER / "2" / "meta" / "metadata").write_text(json.dumps(META))
    with Checkpoints(tmp_path) as checkpoints:
        restored = newest(checkpoints, state)
    assert (restored.step, restored.meta) == (2, META)
    assert load_weights(tmp_path).meta == META


def test_damage_is_found_on_any_devices(two: tuple[Path, GanState], tmp_path: Path) -> None:
    """Eight devices that share the parameters read what one has written, and check it."""
    workdir, state = two
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    mesh = make_mesh(fsdp=8)

    def lay_out(leaf: jax.Array) -> jax.ShapeDtypeStruct:
        spec = PartitionSpec(FSDP_AXIS) if leaf.ndim == 2 else PartitionSpec()
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

    like = jax.tree.map(lay_out, state)
    for step in (2, 1):
        with Checkpoints(tmp_path) as checkpoints:
            restored = checkpoints.restore_newest(like)
        assert restored is not None
        assert restored.step == step
        assert restored.state.gen.params["fc"]["kernel"].sharding.spec == PartitionSpec(FSDP_AXIS)
        assert_same(restored.state, state)
        if step == 2:
            flip(array_data(tmp_path / checkpoint.FOLDER / "2"))


def test_a_saved_step_stays_as_it_is(two: tuple[Path, GanState], tmp_path: Path) -> None:
    _, state = two
    with Checkpoints(tmp_path) as checkpoints:
        for position in (1, 2):
            checkpoints.save(3, state, {"samples": position}, META, must=position == 2)
        checkpoints.wait()
        assert newest(checkpoints, state).loader == {"samples": 1}
