"""What the loop logs: one logged step late, with its rate and its wait for data."""

import contextlib
import json
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from tests.runs import logged
from vidgan_jax.progress import ProgressReport
from vidgan_jax.train import metrics
from vidgan_jax.train.metrics import DATA_WAIT, RATE, LateMetrics
from vidgan_jax.train.writers import TENSORBOARD, MetricsWriter


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def steps(
        self, late: LateMetrics, num: int, *, waiting: float, computing: float, busy: bool = False
    ) -> None:
        """Steps that wait for data, while the devices are `busy` or not, then compute."""
        results: Any = {"D": types.SimpleNamespace(is_ready=lambda: not busy)}
        for _ in range(num):
            with late.waiting_for_data(results):
                self.now += waiting
            self.now += computing


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_wait_is_its_share_of_the_time_since_the_last_logged_step(
    clock: Clock, tmp_path: Path
) -> None:
    report = ProgressReport("test", total=30, shown=False)
    with MetricsWriter(tmp_path, resumed_step=0) as writer:
        late = LateMetrics(writer, report, 0, batch_size=4)
        clock.steps(late, 10, waiting=0.25, computing=0.75)
        late.push(10, {"D": jnp.float32(1.5)})
        assert not logged(tmp_path)  # it is late
        clock.steps(late, 10, waiting=0.0, computing=1.0)
        late.push(20, {"D": jnp.float32(1.25)})
        clock.steps(late, 10, waiting=1.0, computing=0.0)
        late.push(30, {"D": jnp.float32(1.0)})
        late.flush()
    shares = [line[DATA_WAIT] for line in logged(tmp_path)]
    assert shares == pytest.approx([0.25, 0.0, 1.0])
    assert [line["D"] for line in logged(tmp_path)] == [1.5, 1.25, 1.0]


def test_waiting_while_the_devices_compute_costs_nothing(clock: Clock, tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, resumed_step=0) as writer:
        late = LateMetrics(writer, ProgressReport("test", total=8, shown=False), 0, batch_size=4)
        clock.steps(late, 4, waiting=0.5, computing=0.5, busy=True)
        clock.steps(late, 4, waiting=0.5, computing=0.5)
        late.push(8, {})
        late.flush()
    assert logged(tmp_path)[0][DATA_WAIT] == pytest.approx(0.25)


def test_a_wait_that_ends_in_an_error_counts(clock: Clock, tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, resumed_step=0) as writer:
        late = LateMetrics(writer, ProgressReport("test", total=3, shown=False), 0, batch_size=4)
        with contextlib.suppress(OSError), late.waiting_for_data({}):
            clock.now += 3.0
            raise OSError
        clock.now += 1.0
        late.push(1, {})
        late.flush()
    assert logged(tmp_path)[0][DATA_WAIT] == pytest.approx(0.75)


@pytest.mark.parametrize(("waiting", "said"), [(0.05, False), (0.5, True)])
def test_only_much_waiting_is_told(
    clock: Clock,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    waiting: float,
    said: bool,
) -> None:
    with MetricsWriter(tmp_path, resumed_step=0) as writer:
        late = LateMetrics(writer, ProgressReport("test", total=20), 0, batch_size=4)
        clock.steps(late, 1, waiting=waiting, computing=1.0 - waiting)
        late.push(1, {"D": jnp.float32(2.0), "G": jnp.float32(0.5)})
        late.progress(1)
        clock.now += 100.0
        late.progress(2, last=True)
    line = capsys.readouterr().err
    assert "step 2, D 2.000, G 0.500, " in line
    assert ("50% of the time waiting for data, " in line) == said


def test_all_readers_get_names_with_a_slash(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, resumed_step=0) as writer:
        late = LateMetrics(writer, ProgressReport("test", total=2, shown=False), 0, batch_size=4)
        late.push(1, {"D": jnp.float32(2.0)})
        late.flush()
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert set(json.loads(line)) == {"step", "D", RATE, DATA_WAIT}
    (events,) = (tmp_path / TENSORBOARD).iterdir()
    tags = {value.tag for e in EventFileLoader(str(events)).Load() for value in e.summary.value}
    assert tags == {"D", RATE, DATA_WAIT}
    assert set(metrics.TIMES) == {RATE, DATA_WAIT}


def test_a_value_that_is_not_finite_ends_the_run_and_is_not_written(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, resumed_step=0) as writer:
        late = LateMetrics(writer, ProgressReport("test", total=2, shown=False), 0, batch_size=4)
        late.push(1, {"D": jnp.float32(jnp.nan), "G": jnp.float32(1.0)})
        with pytest.raises(FloatingPointError, match="D not finite at step 1; lower the learning"):
            late.flush()
    assert not logged(tmp_path)


def test_values_are_handed_on_once_written(tmp_path: Path) -> None:
    """Rows of other names, without the times; none that is not finite."""
    heard: list[tuple[int, dict[str, float]]] = []

    def listen(step: int, values: Mapping[str, float]) -> None:
        assert logged(tmp_path)[-1]["step"] == step
        heard.append((step, dict(values)))

    with MetricsWriter(tmp_path, resumed_step=0) as writer:
        report = ProgressReport("test", total=3, shown=False)
        late = LateMetrics(writer, report, 0, batch_size=4, on_values=listen)
        late.push(1, {"D": jnp.float32(2.0)})
        assert not heard
        late.push(2, {"D": jnp.float32(1.0), "watch/motion": jnp.float32(0.5)})
        assert heard == [(1, {"D": 2.0})]
        late.flush()
        late.push(3, {"D": jnp.float32(jnp.inf)})
        with pytest.raises(FloatingPointError):
            late.flush()
    assert heard == [(1, {"D": 2.0}), (2, {"D": 1.0, "watch/motion": 0.5})]
    assert [set(row) - {"step", RATE, DATA_WAIT} for row in logged(tmp_path)] == [
        {"D"},
        {"D", "watch/motion"},
    ]
