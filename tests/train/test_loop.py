"""The loop: interrupted runs end where uninterrupted ones do, and say why when they stop."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.datasets import make_dataset
from tests.runs import logged
from vidgan_jax import experiment
from vidgan_jax.data.clips import ClipIterator
from vidgan_jax.data.records import ClipSource, RecordError
from vidgan_jax.train import checkpoint, loop, programs, sharding, storage
from vidgan_jax.train.metrics import DATA_WAIT, TIMES
from vidgan_jax.train.samples import SAMPLES
from vidgan_jax.train.workdir import alone
from vidgan_jax.train.writers import METRICS, MetricsWriter
from vidgan_jax.types import Batch

TINY = (
    "--config.model.size=8",
    "--config.model.features=2",
    "--config.model.max_features=4",
    "--config.model.z_dim=3",
    "--config.data.resize=8",
    "--config.train.batch_size=4",
    "--config.train.num_samples=2",
    "--config.train.log_every_steps=1",
    "--config.train.sample_every_steps=6",
    "--config.train.save_every_steps=3",
    "--config.train.num_steps=9",
)
CONFIG = "configs/resnet2d.py:smoke"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"), num_videos=3, size=8)


def run(data: Path, workdir: Path, *overrides: str, path: str = CONFIG) -> loop.Outcome:
    exp = experiment.build(experiment.load_config(path, [*TINY, *overrides]))
    source = ClipSource(data, "train")
    mesh = sharding.make_mesh(1)
    return loop.train(exp, source, workdir, mesh=mesh, show_progress=False)


def saved_state(workdir: Path) -> Any:
    """Every leaf of the newest checkpoint, the optimisers' and the key included."""
    newest = checkpoint.find(workdir)
    tree = storage.read_structure(newest)
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
    return storage.read_arrays(newest, like, as_numpy)


def losses(workdir: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k not in TIMES} for line in logged(workdir)]


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("whole")
    assert run(data, workdir).finished
    return workdir


def command(data: Path, workdir: Path) -> list[str]:
    verb = [sys.executable, "-m", "vidgan_jax.main", f"--config={CONFIG}", f"--workdir={workdir}"]
    return [*verb, f"--config.data.path={data}", *TINY]


def environment() -> dict[str, str]:
    """Without the tests' place for programs: as a user types it."""
    here = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", "JAX_COMPILATION_CACHE_DIR": ""}
    return os.environ | here


def kept_programs(workdir: Path) -> set[Path]:
    return set((workdir / programs.FOLDER).rglob("jit_gan_step*-cache"))


def test_what_a_run_leaves(uninterrupted: Path) -> None:
    samples = sorted(p.name for p in (uninterrupted / SAMPLES).iterdir())
    assert samples == ["00000000.png", "00000006.png", "00000009.png"]
    assert [line["step"] for line in losses(uninterrupted)] == list(range(1, 10))
    assert all(0.0 <= line[DATA_WAIT] <= 1.0 for line in logged(uninterrupted))
    assert {"D_real", "D_fake", "D", "G", "reg"} <= set(losses(uninterrupted)[0])
    steps = sorted(int(p.name) for p in (uninterrupted / checkpoint.FOLDER).iterdir())
    assert steps == [3, 6, 9]
    assert list((uninterrupted / "tensorboard").iterdir())
    meta = json.loads((uninterrupted / "config.json").read_text())
    assert meta["config"]["train"]["num_steps"] == 9
    assert meta["code"].startswith("0.")
    assert meta["fps"] == 8.0


def test_the_same_seed_gives_the_same_numbers(
    data: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    run(data, tmp_path)
    assert losses(tmp_path) == losses(uninterrupted)
    chex.assert_trees_all_equal(saved_state(tmp_path), saved_state(uninterrupted))


def test_killed_at_any_moment_it_goes_on_bit_for_bit(
    data: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    """SIGKILL, again and again at odd moments, until a run gets through."""
    kills = 0
    for wait_lines in (2, 5, 7):  # killed once so many steps are logged: between two checkpoints
        process = subprocess.Popen(
            command(data, tmp_path), env=environment(), stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            path = tmp_path / METRICS
            if path.exists() and len(path.read_text().splitlines()) >= wait_lines:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        process.wait()
    assert kills
    kept = kept_programs(tmp_path)
    with (tmp_path / METRICS).open("a") as lines:
        lines.write('{"step": 9, "D": 0.1')  # a line cut short
    subprocess.run(command(data, tmp_path), env=environment(), check=True, capture_output=True)
    assert losses(tmp_path) == losses(uninterrupted)
    assert kept  # in spite of the kills
    assert kept_programs(tmp_path) == kept
    chex.assert_trees_all_equal(saved_state(tmp_path), saved_state(uninterrupted))


def test_sigterm_saves_and_says_so(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*command(data, tmp_path), "--config.train.save_every_steps=1000"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    while not (tmp_path / METRICS).exists() or not (tmp_path / METRICS).read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    # The signal may come too late to stop anything.
    assert "run the same command to go on" in out or "done: 9 steps" in out
    run(data, tmp_path)
    assert losses(tmp_path) == losses(uninterrupted)


def test_a_finished_run_is_not_trained_on(data: Path, uninterrupted: Path) -> None:
    before = saved_state(uninterrupted)
    assert run(data, uninterrupted) == loop.Outcome(9, 9)
    chex.assert_trees_all_equal(saved_state(uninterrupted), before)


def test_other_networks_are_refused_by_path_and_shape(data: Path, uninterrupted: Path) -> None:
    with pytest.raises(
        checkpoint.CheckpointError, match=r"disc/params/block_0/conv_1/bias: \(4,\) in the"
    ):
        run(data, uninterrupted, "--config.model.max_features=3")


def test_losses_that_are_not_finite_end_the_run(data: Path, tmp_path: Path) -> None:
    rates = [f"--config.{p}_optimizer.learning_rate=1e30" for p in ("gen", "disc")]
    with pytest.raises(FloatingPointError, match=r"not finite at step \d"):
        run(data, tmp_path, *rates)


def test_a_workdir_takes_one_run_at_a_time(data: Path, tmp_path: Path) -> None:
    with (
        alone(tmp_path),
        pytest.raises(ValueError, match=r"another run is training in .*give another --workdir"),
    ):
        run(data, tmp_path)
    assert not list(tmp_path.iterdir())


def test_changed_fields_are_told(
    data: Path, uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(data, uninterrupted, "--config.loss.r1_gamma=3.0")
    assert "resumed with changed fields: loss.r1_gamma 0.2 → 3.0\n" in capsys.readouterr().err


def test_a_loader_that_cannot_keep_up_shows(
    data: Path, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ClipIterator.__next__

    def slow(loader: ClipIterator) -> Batch:
        time.sleep(0.2)
        return whole(loader)

    monkeypatch.setattr(ClipIterator, "__next__", slow)
    run(data, tmp_path, "--config.train.sample_every_steps=1000")
    steady = [line[DATA_WAIT] for line in logged(tmp_path) if line["step"] in (5, 6, 8, 9)]
    assert min(steady) > 0.5
    assert losses(tmp_path) == losses(uninterrupted)


def test_weights_that_are_not_finite_are_not_saved(data: Path, tmp_path: Path) -> None:
    """Not even where no loss tells: here the last step's update breaks them."""
    rates = [f"--config.{p}_optimizer.learning_rate=1e38" for p in ("gen", "disc")]
    short = ["--config.train.num_steps=1", "--config.gen_optimizer.eps=0.0"]
    with pytest.raises(FloatingPointError, match="not finite at step 1"):
        run(data, tmp_path, *rates, *short)
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint"):
        checkpoint.find(tmp_path)


def test_a_damaged_record_costs_no_steps(data: Path, tmp_path: Path) -> None:
    """What was trained until a bad record turns up is saved."""
    damaged = tmp_path / "data"
    shutil.copytree(data, damaged)
    (shard,) = damaged.glob("*.tfrecord")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(RecordError, match=shard.name):
        run(damaged, tmp_path / "run", "--config.train.num_steps=1000")
    steps = losses(tmp_path / "run")
    if steps:  # the bad record may come first
        assert checkpoint.find(tmp_path / "run").name == str(steps[-1]["step"])


def test_a_workdir_below_a_file_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        run(data, tmp_path / "file" / "workdir")


def test_clips_too_long_for_the_data_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stride"):
        run(data, tmp_path, "--config.data.stride=50", path="configs/resnet3d.py:smoke")


def test_the_writer_drops_what_was_not_saved(tmp_path: Path) -> None:
    lines = "".join(f'{{"step": {step}, "D": 1.0}}\n' for step in range(1, 6))
    (tmp_path / METRICS).write_text(lines + '{"step": 6, "D"')
    with MetricsWriter(tmp_path, resumed_step=3) as writer:
        writer.write(4, {"D": 2.0})
    assert losses(tmp_path) == [{"step": s, "D": 1.0} for s in (1, 2, 3)] + [{"step": 4, "D": 2.0}]
