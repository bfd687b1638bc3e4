"""One at a time, a short queue, and so many requests of each client."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from vidgan_jax.serving.gate import BusyError, Gate, GoneError, LateError, RateLimit


async def stay() -> None:
    """A client that never goes."""
    await asyncio.Event().wait()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.001)


class Work:
    """Work that goes on until it may end, and is counted."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.begun: list[int] = []
        self._running = threading.Lock()

    def of(self, number: int) -> Callable[[], int]:
        def work() -> int:
            assert self._running.acquire(blocking=False), "two at once"
            self.begun.append(number)
            assert self.may_end.wait(20)
            self._running.release()
            return number

        return work


def test_work_runs_one_at_a_time_and_in_order() -> None:
    async def run() -> tuple[list[int], list[int]]:
        gate, work = Gate(waiting=5), Work()
        tasks = [asyncio.ensure_future(gate.run(work.of(i), stay)) for i in range(6)]
        await until(lambda: gate.in_line == 6)
        await asyncio.sleep(0.02)
        assert work.begun == [0]
        work.may_end.set()
        return await asyncio.gather(*tasks), work.begun

    done, begun = asyncio.run(run())
    assert done == begun == [0, 1, 2, 3, 4, 5]


def test_a_full_queue_refuses_and_is_free_again() -> None:
    async def run() -> None:
        gate, work = Gate(waiting=2), Work()
        tasks = [asyncio.ensure_future(gate.run(work.of(i), stay)) for i in range(3)]
        await until(lambda: gate.in_line == 3)
        with pytest.raises(BusyError, match="2 requests are waiting") as caught:
            gate.check()
        assert caught.value.retry_after_s >= 1
        with pytest.raises(BusyError):
            await gate.run(work.of(9), stay)
        work.may_end.set()
        await asyncio.gather(*tasks)
        assert await gate.run(work.of(10), stay) == 10
        assert 9 not in work.begun

    asyncio.run(run())


def test_who_goes_while_waiting_leaves_the_queue() -> None:
    async def run() -> None:
        gate, work = Gate(waiting=1), Work()
        first = asyncio.ensure_future(gate.run(work.of(0), stay))
        leave = asyncio.Event()

        async def gone() -> None:
            await leave.wait()

        second = asyncio.ensure_future(gate.run(work.of(1), gone))
        await until(lambda: gate.in_line == 2)
        leave.set()
        with pytest.raises(GoneError):
            await second
        assert gate.in_line == 1
        third = asyncio.ensure_future(gate.run(work.of(2), stay))
        await asyncio.sleep(0)
        work.may_end.set()
        assert await asyncio.gather(first, third) == [0, 2]
        assert work.begun == [0, 2]

    asyncio.run(run())


def test_work_that_nobody_waits_for_holds_its_place_until_it_is_done() -> None:
    async def run() -> None:
        gate, work = Gate(waiting=1, timeout_s=0.02), Work()
        with pytest.raises(LateError, match=r"0\.02 s"):
            await gate.run(work.of(0), stay)
        assert (gate.in_line, work.begun) == (1, [0])
        with pytest.raises(LateError):
            await gate.run(work.of(1), stay)
        assert gate.in_line == 1
        work.may_end.set()
        await until(lambda: gate.in_line == 0)
        assert work.begun == [0]

    asyncio.run(run())


def test_a_request_that_is_cancelled_leaves_the_queue() -> None:
    async def run() -> None:
        gate, work = Gate(), Work()
        first = asyncio.ensure_future(gate.run(work.of(0), stay))
        second = asyncio.ensure_future(gate.run(work.of(1), stay))
        await until(lambda: gate.in_line == 2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert gate.in_line == 1
        work.may_end.set()
        assert await first == 0

    asyncio.run(run())


def test_what_work_raises_is_raised_and_frees_the_place() -> None:
    def fail() -> None:
        raise KeyError("in the thread")

    async def run() -> None:
        gate = Gate(waiting=1)
        for _ in range(4):
            with pytest.raises(KeyError, match="in the thread"):
                await gate.run(fail, stay)
        assert gate.in_line == 0

    asyncio.run(run())


def test_uploads_are_counted() -> None:
    gate = Gate(uploads=2)
    with gate.upload():
        with gate.upload(), pytest.raises(BusyError, match="2 uploads"), gate.upload():
            pass
        with gate.upload():
            pass


def test_a_closed_gate_drops_who_waits() -> None:
    async def run() -> None:
        gate, work = Gate(), Work()
        first = asyncio.ensure_future(gate.run(work.of(0), stay))
        second = asyncio.ensure_future(gate.run(work.of(1), stay))
        await until(lambda: work.begun == [0])
        began = time.monotonic()
        gate.close()
        assert time.monotonic() - began < 5
        with pytest.raises(asyncio.CancelledError):
            await second
        work.may_end.set()
        assert await first == 0

    asyncio.run(run())


@pytest.mark.parametrize("wrong", [{"waiting": 0}, {"uploads": -1}, {"timeout_s": 0.0}])
def test_a_gate_has_room(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be above 0"):
        Gate(**wrong)


# --- The rate


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def asked(rate: RateLimit, address: str, times: int) -> int:
    """How many of so many requests are let through."""
    passed = 0
    for _ in range(times):
        try:
            rate.check(address)
        except BusyError:
            continue
        passed += 1
    return passed


def test_a_burst_and_then_so_many_a_second() -> None:
    clock = Clock()
    rate = RateLimit(burst=5, per_s=2.0, clock=clock)
    assert asked(rate, "10.0.0.1", 9) == 5
    with pytest.raises(BusyError, match="2 times a second") as caught:
        rate.check("10.0.0.1")
    assert caught.value.retry_after_s == 1
    clock.now += 1.0
    assert asked(rate, "10.0.0.1", 9) == 2
    clock.now += 1000.0
    assert asked(rate, "10.0.0.1", 9) == 5


def test_clients_are_counted_apart() -> None:
    rate = RateLimit(burst=3, per_s=1.0, clock=Clock())
    assert asked(rate, "10.0.0.1", 5) == 3
    assert asked(rate, "10.0.0.2", 5) == 3
    assert asked(rate, "::ffff:10.0.0.2", 5) == 0
    assert asked(rate, "2001:db8::1", 5) == 3
    assert asked(rate, "2001:db8::ffff:1", 5) == 0
    assert asked(rate, "2001:db8:0:1::1", 5) == 3
    assert asked(rate, "testclient", 5) == 3


def test_not_all_clients_are_remembered() -> None:
    clock = Clock()
    rate = RateLimit(burst=2, per_s=1.0, clock=clock)
    for i in range(5000):
        rate.check(f"10.0.{i // 256}.{i % 256}")
        assert rate.clients <= 1024
    # The latest are.
    assert asked(rate, "10.0.19.135", 5) == 1
    clock.now += 10
    for i in range(600):
        rate.check(f"10.1.{i // 256}.{i % 256}")
    assert rate.clients <= 1024


@pytest.mark.parametrize("wrong", [{"burst": 0}, {"per_s": 0.0}, {"per_s": float("inf")}])
def test_a_rate_is_a_rate(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        RateLimit(**wrong)  # type: ignore[arg-type]
