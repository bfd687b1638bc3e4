"""The loop moves only what it says: batches to the devices, logged metrics and samples from them.

On CPUs a transfer guard stops what comes from the host, and what moves between devices; what is
fetched from a device passes it. So the ways to fetch are watched, on two devices: a single CPU's
memory is read by NumPy without asking.
"""

import collections
import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.datasets import make_dataset
from tests.train.test_loop import TINY
from vidgan_jax import experiment
from vidgan_jax.data.records import ClipSource
from vidgan_jax.train import loop, sharding
from vidgan_jax.train.checkpoint import Checkpoints

NUM_STEPS = 20
ARRAY = type(jnp.zeros(()))
# All that turns an array into something of the host's.
FETCHES = (
    *("__array__", "__float__", "__int__", "__index__", "__bool__", "__complex__", "__iter__"),
    *("item", "tolist", "__repr__", "__str__", "__format__"),
)


class ImplicitFetch(AssertionError):
    """Something was fetched from a device without `jax.device_get`."""


@contextlib.contextmanager
def no_implicit_transfer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Allows `device_put`, `device_get`, and saving, whose purpose it is."""
    depth = [0]

    def explicit(function: Callable[..., Any]) -> Callable[..., Any]:
        def allowed(*args: Any, **options: Any) -> Any:
            depth[0] += 1
            try:
                with jax.log_compiles(False):  # orbax shares the writing out by slices
                    return function(*args, **options)
            finally:
                depth[0] -= 1

        return allowed

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(array: Any, *args: Any, **options: Any) -> Any:
            if not depth[0]:
                raise ImplicitFetch(f"{name} of {array.shape} {array.dtype}")
            return function(array, *args, **options)

        return fetch

    with monkeypatch.context() as patch, jax.transfer_guard("disallow"):
        patch.setattr(jax, "device_get", explicit(jax.device_get))
        patch.setattr(Checkpoints, "save", explicit(Checkpoints.save))
        for name in FETCHES:
            if hasattr(ARRAY, name):
                patch.setattr(ARRAY, name, watched(name, getattr(ARRAY, name)))
        yield


def on_two_devices(value: Any) -> jax.Array:
    return jax.device_put(value, sharding.replicated(sharding.make_mesh(2)))


@pytest.mark.parametrize(
    "fetch",
    [float, bool, int, np.asarray, str, lambda x: x.item(), lambda x: [*x[None]]],
    ids=["float", "bool", "int", "asarray", "str", "item", "iter"],
)
def test_a_hidden_fetch_is_seen(
    fetch: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = on_two_devices(np.float32(1.5))
    with (
        pytest.raises((ImplicitFetch, jax.errors.JaxRuntimeError)),
        no_implicit_transfer(monkeypatch),
    ):
        fetch(value)


@pytest.mark.parametrize(
    "send",
    [lambda f: f(np.float32(1.0)), lambda f: f(1.0), lambda f: jnp.asarray(np.ones(2))],
    ids=["array argument", "number argument", "asarray"],
)
def test_a_hidden_upload_is_seen(
    send: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = jax.jit(lambda x: x + 1)
    program(np.float32(1.0)), program(1.0)  # compiled before: a call is what is guarded
    with (
        pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"),
        no_implicit_transfer(monkeypatch),
    ):
        send(program)


def test_what_is_meant_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with no_implicit_transfer(monkeypatch):
        assert jax.device_get(on_two_devices(np.float32(1.5))) == 1.5


def test_the_loop_hides_no_transfer_and_compiles_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Through lazy terms, logging, watching, samples, saves: each program once, no operation more.

    An operation outside of a program would be compiled by itself, and have its name here.
    """
    whole = loop._Run._loop
    jax.clear_caches()  # of programs that other tests' runs on two devices have in common with this

    def guarded(run: Any, *args: Any) -> loop.Outcome:
        caplog.clear()
        with no_implicit_transfer(monkeypatch), jax.log_compiles():
            return whole(run, *args)

    monkeypatch.setattr(loop._Run, "_loop", guarded)
    data = make_dataset(tmp_path / "data", num_videos=3, size=8)
    overrides = [
        f"--config.train.num_steps={NUM_STEPS}",
        "--config.train.log_every_steps=2",
        "--config.loss.r1_every_steps=4",
        "--config.watch.every_steps=8",
    ]
    exp = experiment.build(experiment.load_config("configs/resnet2d.py:smoke", [*TINY, *overrides]))
    source, mesh = ClipSource(data, "train"), sharding.make_mesh(2)
    with caplog.at_level(logging.WARNING, logger="jax"):
        outcome = loop.train(exp, source, tmp_path / "run", mesh=mesh, show_progress=False)
    assert outcome == loop.Outcome(NUM_STEPS, NUM_STEPS)
    compiled = [re.match(r"Compiling (?:jit\()?(\w+)", r.getMessage()) for r in caplog.records]
    counts = collections.Counter(match[1] for match in compiled if match)
    # With R1 and without; samples were drawn before the first step.
    of_metrics = {"_begin": 2, "_go_on": 2, "look": 1}
    assert counts == {"gan_step_of_due_terms": 2, "_is_finite": 1, **of_metrics}
