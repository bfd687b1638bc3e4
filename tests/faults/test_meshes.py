"""A run goes on with other devices than it began with, and with other shares of parameters."""

import shutil
from pathlib import Path

import jax
import pytest

from tests.train.test_loop import CONFIG, TINY, losses, run
from vidgan_jax import experiment
from vidgan_jax.data.records import ClipSource
from vidgan_jax.train import beginning, checkpoint, loop, sharding
from vidgan_jax.train.state import moments_of

BATCH = "--config.train.batch_size=8"
# The largest kernels of the tiny networks have 144 numbers.
SMALL_SHARDS = "--config.mesh.min_shard_size=64"


@pytest.fixture(scope="module")
def whole_of_8(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on one device with batches of 8: checkpoints of the steps 3, 6 and 9."""
    workdir = tmp_path_factory.mktemp("whole")
    assert run(data, workdir, BATCH).finished
    return workdir


def train_on(data: Path, workdir: Path, num_devices: int, fsdp: int, num_steps: int) -> None:
    overrides = [*TINY, BATCH, SMALL_SHARDS, f"--config.train.num_steps={num_steps}"]
    exp = experiment.build(experiment.load_config(CONFIG, overrides))
    mesh = sharding.make_mesh(num_devices, fsdp=fsdp)
    source = ClipSource(data, "train")
    assert loop.train(exp, source, workdir, mesh=mesh, show_progress=False).finished


def until_step_3(whole: Path, workdir: Path) -> None:
    shutil.copytree(whole, workdir)
    for step in ("6", "9"):
        shutil.rmtree(workdir / checkpoint.FOLDER / step)


def assert_close(found: dict[str, float], wanted: dict[str, float]) -> None:
    """What D's update is made of tightly; G's comes after that of D, in which Adam makes of each
    rounding of a small gradient a step of full length.
    """
    for name, value in wanted.items():
        of_disc = name.startswith(("D", "reg", "grad_norm_D"))
        assert found[name] == pytest.approx(value, rel=1e-4 if of_disc else 0.05), name


@pytest.mark.parametrize(("num_devices", "fsdp"), [(2, 1), (4, 4), (8, 2)])
def test_a_checkpoint_of_one_device_goes_on_with_many(
    num_devices: int,
    fsdp: int,
    data: Path,
    whole_of_8: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workdir = tmp_path / "run"
    until_step_3(whole_of_8, workdir)
    train_on(data, workdir, num_devices, fsdp, num_steps=4)
    assert losses(workdir)[:3] == losses(whole_of_8)[:3]
    assert (
        f"resumed on 1 process(es), {num_devices // fsdp} data × {fsdp} fsdp devices, before on 1 "
        "process(es), 1 data × 1 fsdp devices: the data goes on at the same place, 24 samples"
    ) in capsys.readouterr().err
    assert_close(losses(workdir)[3], losses(whole_of_8)[3])
    if fsdp > 1:
        # And back: what many have shared, one takes.
        train_on(data, workdir, 1, 1, num_steps=5)
        assert [line["step"] for line in losses(workdir)] == [1, 2, 3, 4, 5]


def test_a_leaf_is_shared_by_its_size_and_axes_alone() -> None:
    partition, spec = sharding.partition, jax.sharding.PartitionSpec
    assert partition((3, 3, 64, 128), 4, 64) == spec(None, None, None, "fsdp")
    assert partition((3, 3, 128, 64), 4, 64) == spec(None, None, "fsdp")
    assert partition((3, 3, 64, 64), 4, 64) == spec(None, None, None, "fsdp")
    assert partition((3, 3, 64, 3), 4, 64) == spec(None, None, "fsdp")
    assert partition((3, 3, 3, 3), 4, 64) == spec()
    assert partition((63,), 3, 64) == partition((), 4, 0) == partition((64,), 1, 64) == spec()


def test_parameters_averages_and_optimisers_are_shared_and_nothing_else() -> None:
    wider = ["--config.model.features=8", "--config.model.max_features=8"]
    overrides = [*TINY, *wider, "--config.model.gen_spectral_norm=True"]
    exp = experiment.build(experiment.load_config(CONFIG, overrides))
    game = beginning.make_game(exp, 9)
    shapes = jax.eval_shape(lambda: beginning.initial_state(exp, game))
    mesh, whole = sharding.make_mesh(8, fsdp=4), jax.sharding.PartitionSpec()
    laid_out = sharding.state_shardings(shapes, mesh, 32)
    assert shapes.gen.collections  # vectors of spectral norm, longer than 32
    for part in (laid_out.gen.collections, laid_out.ema_collections, laid_out.step, laid_out.key):
        assert all(leaf.spec == whole for leaf in jax.tree.leaves(part))
    shared = [leaf.spec != whole for leaf in jax.tree.leaves(laid_out.gen.params)]
    assert any(shared)
    assert not all(shared)
    specs = jax.tree.map(lambda leaf: leaf.spec, laid_out)
    assert specs.ema_params == specs.gen.params
    adam = moments_of(specs.gen.opt_state)
    assert adam["mu"] == adam["nu"] == specs.gen.params
    # As configured, nothing of so small a network is.
    small = sharding.state_shardings(shapes, mesh, exp.config.mesh.min_shard_size)
    assert all(leaf.spec == whole for leaf in jax.tree.leaves(small))


@pytest.mark.parametrize(
    ("data_size", "fsdp", "text"),
    [
        (-1, 3, r"config\.mesh\.data \(=-1\) × config\.mesh\.fsdp \(=3\) must be the 8 devices"),
        (4, 1, r"\(=4\) × config\.mesh\.fsdp \(=1\) .*: 8 × 1, 4 × 2, 2 × 4, 1 × 8; data=-1"),
    ],
)
def test_impossible_meshes_are_refused_with_those_that_work(
    data_size: int, fsdp: int, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        sharding.make_mesh(data=data_size, fsdp=fsdp)


def test_a_batch_must_fall_into_equal_parts() -> None:
    mesh = sharding.make_mesh(8)
    sharding.check_batch_size(32, mesh, num_parts=4)
    with pytest.raises(
        ValueError, match=r"=40\) must divide by the 8 devices in grad_accum.*use 32 or 64"
    ):
        sharding.check_batch_size(40, mesh, num_parts=4)
