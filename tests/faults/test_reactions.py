"""What `config.faults` and `config.watch` have a run do: numbers that are not finite, a collapse,
damaged records.
"""

import signal
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import pytest

from tests.datasets import make_dataset
from tests.train.test_loop import losses, run, saved_state
from vidgan_jax.train import checkpoint, stopping
from vidgan_jax.train.finite import FirstFaults, NotFiniteError, check
from vidgan_jax.train.state import GanState
from vidgan_jax.train.step import TrainStep
from vidgan_jax.train.watch import CollapseError
from vidgan_jax.types import Batch, Metrics

GO_BACK = "--config.faults.not_finite=rollback"
# Nothing is logged, and so nothing fetched, at the step that breaks.
SELDOM = "--config.train.log_every_steps=4"


def break_weights(monkeypatch: pytest.MonkeyPatch, number: int, times: int = 1) -> None:
    """One of the generator's weights turns to NaN before step `number`, as in bad memory."""
    whole_step, left = TrainStep.__call__, [times]

    def call(self: TrainStep, state: GanState, batch: Batch, step: int) -> tuple[GanState, Metrics]:
        if step + 1 == number and left[0]:
            left[0] -= 1
            leaves, tree = jax.tree.flatten(state.gen.params)
            leaves[0] = leaves[0] * jnp.nan
            state = state.replace(gen=state.gen.replace(params=jax.tree.unflatten(tree, leaves)))
        return whole_step(self, state, batch, step)

    monkeypatch.setattr(TrainStep, "__call__", call)


def stop_at_7(requests: stopping.StopRequests, step: int) -> signal.Signals | None:
    return signal.SIGTERM if step == 7 else None


def test_a_run_stops_with_the_step_and_what_was_not_finite(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_weights(monkeypatch, 5)
    with pytest.raises(NotFiniteError, match=r"D_fake.* not finite at step 5; .*rollback") as error:
        run(data, tmp_path, SELDOM)
    assert {"D_fake", "G", "grad_norm_D", "grad_norm_G"} <= set(error.value.names)
    assert "D_real" not in error.value.names
    assert "the generator's gradients" in str(error.value)
    assert checkpoint.find(tmp_path).name == "3"


def test_a_run_goes_back_and_on_with_other_numbers(
    data: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same to the bit up to where it goes back to, and whenever that happens again."""
    with monkeypatch.context() as patch:
        break_weights(patch, 5)
        assert run(data, tmp_path / "a", GO_BACK).finished
    told = capsys.readouterr().err
    assert "not finite at step 5; going back to step 3 with other random numbers (1 of 3" in told
    assert losses(tmp_path / "a")[:3] == losses(whole)[:3]
    assert [line["step"] for line in losses(tmp_path / "a")] == list(range(1, 10))
    assert losses(tmp_path / "a")[3] != losses(whole)[3]
    steps = sorted(int(p.name) for p in (tmp_path / "a" / checkpoint.FOLDER).iterdir())
    assert steps == [3, 6, 9]

    # The same again, stopped and gone on from in between.
    with monkeypatch.context() as patch:
        break_weights(patch, 5)
        patch.setattr(stopping.StopRequests, "asked", stop_at_7)
        assert run(data, tmp_path / "b", GO_BACK).step == 7
    assert run(data, tmp_path / "b", GO_BACK).finished
    assert losses(tmp_path / "b") == losses(tmp_path / "a")
    chex.assert_trees_all_equal(saved_state(tmp_path / "b"), saved_state(tmp_path / "a"))


def test_going_back_ends(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before the first checkpoint it begins anew; what breaks each time ends the run."""
    break_weights(monkeypatch, 2, times=100)
    text = r"not finite at step 2; the run has gone back 2 time\(s\), config.faults.max_rollbacks"
    with pytest.raises(NotFiniteError, match=text):
        run(data, tmp_path, GO_BACK, "--config.faults.max_rollbacks=2")
    assert capsys.readouterr().err.count("going back to step 0") == 2


def note(faults: FirstFaults, step: int, **values: float) -> None:
    faults.note(jnp.int32(step), {name: jnp.float32(value) for name, value in values.items()})


def test_the_first_fault_counts_whatever_is_looked_at_later() -> None:
    faults, nan = FirstFaults(), float("nan")
    for step in (1, 2):
        note(faults, step, G=1.0, D=2.0)
    check(jax.device_get(faults.so_far()))
    note(faults, 3, G=1.0, D=2.0, reg=float("inf"))
    note(faults, 4, G=nan, D=2.0)
    note(faults, 5, G=1.0, D=nan, reg=0.0)
    with pytest.raises(NotFiniteError, match=r"^reg not finite at step 3; lower") as error:
        check(jax.device_get(faults.so_far()))
    assert (error.value.step, error.value.names) == (3, ["reg"])


def test_all_that_broke_at_once_is_named() -> None:
    faults, nan = FirstFaults(), float("nan")
    note(faults, 7, D=nan, G=1.0, grad_norm_D=nan)
    note(faults, 8, D=nan, G=nan, grad_norm_D=nan)
    with pytest.raises(NotFiniteError, match="D, the discriminator's gradients not finite at step"):
        check(jax.device_get(faults.so_far()))


def test_a_collapsed_run_is_saved_and_ends_if_the_config_says_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever sets another limit goes on."""
    limits = ["--config.watch.every_steps=2", "--config.watch.patience_steps=4"]
    stop = [*limits, "--config.watch.on_collapse=stop", "--config.watch.min_contrast=1.9"]
    with pytest.raises(CollapseError, match=r"watch/contrast is .*\n  step \d is saved"):
        run(data, tmp_path, *stop)
    stopped_at = int(checkpoint.find(tmp_path).name)
    assert 4 <= stopped_at < 9
    assert run(data, tmp_path, *limits, "--config.watch.min_contrast=0.0").finished
    assert "resumed with changed fields" in capsys.readouterr().err
    watched = [line for line in losses(tmp_path) if "watch/contrast" in line]
    assert [line["step"] for line in watched] == [2, 4, 6, 8]
    assert all(0 <= line["D_accuracy"] <= 1 for line in losses(tmp_path))


def damage_one_record(data: Path) -> None:
    (shard,) = data.glob("*.tfrecord")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def test_damaged_records_are_skipped_if_the_config_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_dataset(tmp_path / "data", num_videos=3, size=8)
    damage_one_record(data)
    skip = "--config.faults.damaged_records=skip"
    for name in ("a", "b"):
        assert run(data, tmp_path / name, skip).finished
        told = capsys.readouterr().err
        assert told.count("warning: skipped damaged record number 1: ") == 1
        assert "train-00000-of-00001.tfrecord" in told
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    with pytest.raises(ValueError, match=r"more than config.faults.max_skipped_records \(=0\)"):
        run(data, tmp_path / "c", skip, "--config.faults.max_skipped_records=0")
