"""The flags of XLA that importing the package sets."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

from vidgan_jax import xla_flags
from vidgan_jax.xla_flags import set_flags

FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"


@pytest.fixture(autouse=True)
def tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla_flags, "_TRIED", (importlib.metadata.version("jaxlib"),))
    monkeypatch.setattr(xla_flags, "_PLUGINS", ())


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, FLAG), ({"XLA_FLAGS": "--xla_dump_to=x"}, f"--xla_dump_to=x {FLAG}")],
)
def test_is_added_to_what_there_is(before: dict[str, str], after: str) -> None:
    assert set_flags(before)
    assert before["XLA_FLAGS"] == after
    assert not set_flags(before)
    assert before["XLA_FLAGS"] == after


def test_leaves_a_choice_alone() -> None:
    chosen = {"XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type=-individual_dot"}
    assert not set_flags(chosen.copy())


def test_leaves_a_file_s_name_alone() -> None:
    """What does not begin with a dash is the name of a file with flags."""
    named = {"XLA_FLAGS": "flags.txt"}
    assert not set_flags(named)
    assert named == {"XLA_FLAGS": "flags.txt"}


def test_leaves_an_unknown_xla_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla_flags, "_TRIED", ("0.0.1",))
    assert not set_flags({})


def test_leaves_machines_with_other_devices_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla_flags, "_PLUGINS", ("json",))
    assert not set_flags({})
    assert set_flags({"JAX_PLATFORMS": "cpu"})


def test_xla_takes_it() -> None:
    """A fresh process computes with it: one that did not know the flag would end here."""
    program = (
        "import os, vidgan_jax, jax; print(os.environ['XLA_FLAGS'], int(jax.numpy.arange(3).sum()))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {
        "JAX_PLATFORMS": "cpu"
    }
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    if importlib.metadata.version("jaxlib") == "0.10.2":
        assert run.stdout.strip() == f"{FLAG} 3"
