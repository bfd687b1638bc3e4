"""One first step, however it is spread: over devices, over processes, over parts of the batch.

Compared are gradients, not what an optimiser makes of them: Adam enlarges rounding. Beside them,
all else that a step makes: parameters after gradient descent, batch norm's statistics, singular
vectors, averages, metrics. float32 sums in another order differ by some 1e-6 of a leaf's largest
(2.3e-6 is the most seen); a batch norm of each device's part, or a mean of unequal parts, by more
than 1e-2.
"""

import functools
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.datasets import make_dataset
from tests.runs import ROOT, fields
from tests.train import first_step, games
from vidgan_jax.train import sharding

RTOL = 1e-5
# Of several processes, with all their compilations; on two busy cores.
TIMEOUT_S = 400


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"), size=16, label_maps=True)


@functools.cache
def on_one_device(data: Path, family: str) -> dict[str, Any]:
    """What all others are compared with."""
    return first_step.take(family, data, sharding.make_mesh(1))[0]


def assert_same(got: dict[str, Any], want: dict[str, Any]) -> None:
    """Each part by itself: gradients are smaller than parameters."""
    assert got.keys() == want.keys()
    for part, wanted in want.items():
        games.assert_same(got[part], wanted, RTOL)


def meshes(*cases: tuple[str, int, int]) -> list[Any]:
    """Every family on every mesh; those that are not among `cases` take too long for each time."""
    every = [(n, fsdp) for n, fsdps in SIZES.items() for fsdp in fsdps]
    return [
        (family, n, fsdp)
        if (family, n, fsdp) in cases
        else pytest.param(family, n, fsdp, marks=pytest.mark.slow)
        for family in first_step.FAMILIES
        for n, fsdp in every
    ]


# Devices → those of a group that shares parameters.
SIZES = {2: (1, 2), 4: (1, 4), 8: (1, 4, 8)}


@pytest.mark.parametrize(
    ("family", "devices", "fsdp"),
    meshes(("resnet3d", 8, 4), ("dcgan2d", 8, 1), ("spade2d", 8, 4)),
)
def test_on_any_mesh(family: str, devices: int, fsdp: int, data: Path) -> None:
    """Data parallel, fully sharded, and both."""
    mesh = sharding.make_mesh(devices, fsdp=fsdp)
    got, state = first_step.take(family, data, mesh)
    assert_same(got, on_one_device(data, family))
    shared = (state.gen.params, state.disc.params, state.ema_params, state.gen.opt_state)
    for tree in shared:
        divided = [leaf for leaf in jax.tree.leaves(tree) if not leaf.sharding.is_fully_replicated]
        assert bool(divided) == (fsdp > 1)
        for leaf in divided:
            assert all(part.data.size == leaf.size // fsdp for part in leaf.addressable_shards)


def test_on_two_processes(data: Path, tmp_path: Path) -> None:
    """Each reads its own part of the batch; one family shares its parameters among them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    families = [f"{name}={2 if name == 'resnet3d' else 1}" for name in first_step.FAMILIES]
    command = [sys.executable, "-m", "tests.train.first_step", str(data), str(tmp_path), str(port)]
    running: list[subprocess.Popen[str]] = []
    try:
        running.extend(
            subprocess.Popen(
                [*command, str(index), "2", *families],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in range(2)
        )
        for process in running:
            said, _ = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 0, said[-4000:]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    for family in first_step.FAMILIES:
        want = first_step.named(on_one_device(data, family))
        with np.load(tmp_path / f"{family}.npz") as got:
            found = dict(got)
        assert found.keys() == want.keys()
        for part in {name.split("]")[0] for name in want}:
            assert_same(
                *(
                    {"part": {k: v for k, v in t.items() if k.startswith(part)}}
                    for t in (found, want)
                )
            )


@pytest.mark.parametrize("fsdp", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_in_parts_of_the_batch(fsdp: int, data: Path) -> None:
    """Singular vectors move once; R1 is a mean over examples as all terms are."""
    mesh = sharding.make_mesh(2, fsdp=fsdp)
    got, _ = first_step.take("resnet3d", data, mesh, *fields(train_grad_accum_steps=4))
    want = on_one_device(data, "resnet3d")
    assert_same(got, want)


def test_batch_norm_sees_the_parts_of_the_batch(data: Path) -> None:
    """So parts are another step there: accumulation saves memory, and makes smaller batches."""
    parts = fields(train_grad_accum_steps=2)
    got, _ = first_step.take("dcgan2d", data, sharding.make_mesh(1), *parts)
    want = on_one_device(data, "dcgan2d")
    for player in ("gen", "disc"):
        a, b = (
            np.concatenate([x.ravel() for x in jax.tree.leaves(made[player])])
            for made in (got, want)
        )
        assert 0.01 < np.linalg.norm(a - b) / np.linalg.norm(b) < 1


@pytest.mark.slow
@pytest.mark.parametrize("family", first_step.FAMILIES)
def test_with_rematerialisation(family: str, data: Path) -> None:
    """Blocks computed anew on devices that share parameters and batch norm."""
    remat = fields(model_gen_remat=True, model_disc_remat=True)
    got, _ = first_step.take(family, data, sharding.make_mesh(4, fsdp=2), *remat)
    assert_same(got, on_one_device(data, family))
