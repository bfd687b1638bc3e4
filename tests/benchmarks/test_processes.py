"""Processes that answer: what goes right, what goes wrong, and an end without a word."""

import os
from multiprocessing.connection import Connection

import pytest

from vidgan_jax.benchmarks.processes import answer, ask, failures_told, started


def double(pipe: Connection, start: int) -> None:
    with failures_told(pipe):
        answer(pipe, start)
        while True:
            number = pipe.recv()
            if number < 0:
                raise ValueError(f"{number} must not be below 0")
            answer(pipe, 2 * number // (number != 13))


def vanish(pipe: Connection) -> None:
    os._exit(1)


def test_answers_and_refusals() -> None:
    with started(double, 7) as pipe:
        assert ask(pipe) == 7
        assert [ask(pipe, n) for n in (1, 2)] == [2, 4]
        with pytest.raises(ValueError, match="-1 must not be below 0"):
            ask(pipe, -1)


def test_a_defect_shows_its_traceback() -> None:
    with started(double, 7) as pipe:
        ask(pipe)
        with pytest.raises(RuntimeError, match=r"in double\n.*\n.*\n.*ZeroDivisionError"):
            ask(pipe, 13)


def test_an_end_without_a_word() -> None:
    with started(vanish) as pipe, pytest.raises(RuntimeError, match="process was ended"):
        ask(pipe)
