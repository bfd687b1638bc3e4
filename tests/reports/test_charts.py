"""Curves of several runs: their order, and what is left of long ones."""

import math

import numpy as np
import pytest

from vidgan_jax.reports.charts import charts_of, thin
from vidgan_jax.reports.runs import Curve

ONE = Curve([1], [1.0])


def test_players_losses_come_first_and_times_last() -> None:
    first = dict.fromkeys(("clips_per_s", "time/data_wait", "G_l1", "G", "reg", "accuracy"), ONE)
    second = dict.fromkeys(("D_real", "watch/motion", "D", "other/x", "D_fake", "G"), ONE)
    found = charts_of([first, second])
    assert [chart.name for chart in found] == [
        *("D_real", "D_fake", "D", "G", "reg", "G_l1", "accuracy"),
        *("other/x", "watch/motion", "clips_per_s", "time/data_wait"),
    ]
    assert [chart.group for chart in found[7:]] == ["other", "watch", "time", "time"]
    assert {chart.name: list(chart.curves) for chart in found if chart.name in ("G", "D")} == {
        "G": [0, 1],
        "D": [1],
    }


@pytest.mark.parametrize("num", [1, 99, 100, 101, 250, 1999])
def test_thinning_keeps_spikes_and_the_end(num: int) -> None:
    values = np.sin(np.arange(num)).tolist()
    values[num // 2], values[num // 3] = 50.0, -50.0
    kept = thin(values, 100)
    assert len(kept) <= 100
    assert kept == sorted(set(kept))
    assert {num // 2, num // 3, num - 1} <= {*kept} or num == 1
    if num <= 100:
        assert kept == list(range(num))


def test_thinning_keeps_what_is_not_finite() -> None:
    values = [0.0] * 1000
    values[500] = values[501] = math.nan
    values[900] = math.inf
    kept = thin(values, 100)
    assert {500, 900, 999} <= {*kept}
    assert thin([math.nan] * 1000, 100)[-1] == 999
