"""Seconds and bytes of a process, and of its neighbours."""

import pytest

from vidgan_jax.benchmarks import measuring
from vidgan_jax.benchmarks.measuring import OtherWork, forget_peak, held_bytes, peak_bytes


def test_spread() -> None:
    assert measuring.spread([3.0, 1.0, 2.0]) == {
        "seconds": 2.0,
        "fastest_s": 1.0,
        "slowest_s": 3.0,
    }
    assert set(measuring.spread([1.0], "ours_")) == {"ours_s", "ours_fastest_s", "ours_slowest_s"}


def test_quartiles() -> None:
    assert measuring.quartiles([5.0, 1.0, 4.0, 2.0, 3.0]) == (2.0, 3.0, 4.0)
    assert measuring.quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_a_peak_is_seen_and_forgotten() -> None:
    size = 256 << 20
    before = held_bytes()
    block = bytearray(size)
    assert held_bytes() > before + size * 3 // 4
    del block
    high = peak_bytes()
    assert high > before + size * 3 // 4
    if not forget_peak():
        pytest.skip("this system keeps a process's peak")
    assert peak_bytes() < high - size // 2


def test_share_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds of four cores: 16 of 40 were busy, 6 of them with our own work."""
    clock = {"now": 5.0, "busy": 100.0}
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock["now"])
    monkeypatch.setattr(measuring, "_busy_s", lambda: clock["busy"])
    monkeypatch.setattr(measuring.os, "cpu_count", lambda: 4)
    others = OtherWork()
    clock.update(now=15.0, busy=116.0)
    assert others.share(6.0) == pytest.approx(0.25)
    assert others.share(17.0) == 0.0
    monkeypatch.setattr(measuring, "_busy_s", lambda: None)
    assert others.share(6.0) is None


def test_busy_seconds_grow_with_work() -> None:
    before = measuring._busy_s()
    if before is None:
        pytest.skip("this system has no /proc/stat")
    start = measuring.time.process_time()
    while measuring.time.process_time() - start < 0.3:
        pass
    after = measuring._busy_s()
    assert after is not None
    assert after - before > 0.2
