"""Counting a step on many devices: what is the same on all of them, and what is shared."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from tests.runs import CONFIG_3D, TINY_3D, read_json, refuse, succeed
from vidgan_jax import bench
from vidgan_jax.benchmarks import scaling
from vidgan_jax.benchmarks.collectives import Collective
from vidgan_jax.benchmarks.scaling import Links
from vidgan_jax.layers import lowering
from vidgan_jax.layers.geometry import Geometry

_CONFIG = CONFIG_3D.removeprefix("--config=")
_SMALL = (*TINY_3D[1:], "--config.mesh.min_shard_size=64")


@functools.cache
def counts(devices: int, fsdp: int = 1, *fields: str) -> scaling._Counts:
    overrides = (*(o for o in _SMALL if "train.batch_size" not in o), *fields)
    case = scaling._Case(_CONFIG, overrides, devices, fsdp, 2)
    return scaling._count(case, jax.devices()[:devices], scaling._LOWERED_FOR)


def test_more_devices_change_nothing_on_each() -> None:
    """Neither FLOPs, as they would if a part of the step were everybody's, nor memory."""
    two, eight = counts(2), counts(8)
    assert eight.flops == pytest.approx(two.flops, rel=0.01)
    assert eight.temporaries == pytest.approx(two.temporaries, rel=0.01)
    assert eight.state == two.state
    assert two.all_flops is not None
    assert eight.all_flops == pytest.approx(4 * two.all_flops, rel=0.01)
    payloads = [sum(c.payload_bytes for c in n.collectives) for n in (two, eight)]
    assert payloads[1] == pytest.approx(payloads[0], rel=0.01)
    # Every gradient is summed over all devices; nothing else of that size is moved.
    assert {c.kind for c in eight.collectives} == {"all-reduce"}
    assert payloads[0] >= two.state["parameters"]


def test_shared_parameters() -> None:
    """They and what belongs to them are halved, but for small ones; the batch's share is not."""
    alone, shared = counts(2), counts(2, fsdp=2)
    for name in ("parameters", "optimisers", "average"):
        assert 0.5 <= shared.state[name] / alone.state[name] < 0.6
    assert shared.state["statistics"] == alone.state["statistics"]
    gathered = sum(c.payload_bytes for c in shared.collectives if c.kind == "all-gather")
    assert gathered >= 2 * (alone.state["parameters"] - shared.state["parameters"])
    assert shared.flops == pytest.approx(alone.flops, rel=0.05)


def test_what_is_computed_anew_is_counted() -> None:
    """The compiler for simulated devices must not take `jax.checkpoint` back."""
    again = counts(2, 1, "--config.model.gen_remat=True", "--config.model.disc_remat=True")
    assert again.flops > 1.05 * counts(2).flops


def test_a_convolutions_flops() -> None:
    """Lowered as for accelerators, one convolution of its full rank: 2·b·t·h·w·taps·in·out."""
    geometry = Geometry((4, 8, 8), (1, 3, 3), (1, 1, 1), (0, 0), ((0, 0), (0, 0)))
    data = jax.ShapeDtypeStruct((2, 4, 8, 8, 3), jnp.float32)
    kernel = jax.ShapeDtypeStruct((1, 3, 3, 3, 5), jnp.float32)
    traced = jax.jit(lambda x, k: lowering.conv(geometry, x, k)).trace(data, kernel)
    lowered = traced.lower(lowering_platforms=scaling._LOWERED_FOR)
    assert lowered.as_text().count("stablehlo.convolution") == 1
    by_hand = 2 * 2 * 4 * 6 * 6 * 9 * 3 * 5
    assert lowered.cost_analysis()["flops"] == by_hand
    assert lowered.compile().cost_analysis()["flops"] == by_hand


@pytest.mark.parametrize(
    ("group", "gb_s"),
    [((0, 1, 2, 3), 100.0), ((0, 4), 10.0), ((0, 1, 4, 5), 20.0), (tuple(range(64)), 40.0)],
)
def test_time_on_paper(group: tuple[int, ...], gb_s: float) -> None:
    """Within a machine by its links; between machines by as many adapters as it has members."""
    links = Links(nvlink_gb_s=100.0, network_gb_s=10.0, devices_per_host=4)
    gathering = Collective("all-gather", 10**9, group, runs=1)
    assert links.seconds(gathering) == pytest.approx((len(group) - 1) / gb_s)


def test_the_command(tmp_path: Path) -> None:
    """A process of its own with its own devices; twice the batch tells what each clip takes."""
    figures = tmp_path / "scaling.json"
    how = ["--devices=4", "--fsdp=2", "--per-device-batch=1", f"--json={figures}"]
    fields = [o for o in _SMALL if "train.batch_size" not in o] + ["--config.loss.r1_gamma=0"]
    succeed(bench.main, "scaling", CONFIG_3D, *fields, *how, "--memory-gb=2", "--reserve-gb=1")
    (row,) = read_json(figures)["scaling"]
    assert (row["config"], row["what"]) == ("resnet3d:smoke", "4 devices, fsdp 2")
    assert row["all_gib"] > row["temporaries_gib"] > 0
    room = 1e9 / 2**30 - row["gib_without_clips"]
    assert row["clips_that_fit"] == int(room / row["gib_per_clip"]) > 1
    assert row["all_gib"] == pytest.approx(row["gib_without_clips"] + row["gib_per_clip"])
    assert row["all_gather_mib"] > 0
    assert row["sent_mib"] > 0
    assert row["sending_ms"] > 0
    assert 0.5 < row["flops_over_share"] < 1.5


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--devices=0", "--devices (=0) must be at least 1"),
        ("--config.train.batch_size=8", "train.batch_size=8: set it by --per-device-batch"),
        ("--config.mesh.fsdp=2", "mesh.fsdp=2: set it by --fsdp"),
        ("--reserve-gb=90", "--reserve-gb (=90.0) must be below --memory-gb (=80.0)"),
        ("--fsdp=3", "--fsdp (=3) must divide the 8 devices"),
        ("--network-gb-s=0", "--network-gb-s (=0.0) must be above 0"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], argument: str, message: str) -> None:
    assert message in refuse(capsys, bench.main, "scaling", CONFIG_3D, argument)
