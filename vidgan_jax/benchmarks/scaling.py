"""What the training step takes on many devices, by counting: it is compiled for them, never run.

Nothing is allocated: arrays are shapes, and the devices are simulated ones of a process of its own,
or those that a TPU topology's description stands for. Memory, FLOPs and what devices send one
another are XLA's account of the program that it made.

Simulated devices are CPUs. Layers are lowered as for accelerators, not in the forms that suit CPUs,
and XLA divides the work among devices in the same way whatever they are; what it fuses, where it
keeps copies and which collectives it joins are its CPU compiler's choice.
"""

import dataclasses
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from vidgan_jax import experiment
from vidgan_jax.benchmarks.collectives import Collective, collectives
from vidgan_jax.benchmarks.measuring import Row
from vidgan_jax.benchmarks.processes import answer, ask, failures_told, started
from vidgan_jax.experiment import Experiment
from vidgan_jax.train import beginning, sharding
from vidgan_jax.train.frozen import frozen_shapes
from vidgan_jax.train.plan import num_bytes_on_device
from vidgan_jax.train.state import GanState
from vidgan_jax.train.step import TrainStep
from vidgan_jax.types import Batch

CONFIGS = ("configs/resnet3d.py", "configs/spade3d.py:mid")
# JAX's rules for TPUs are plain XLA operations, and the layers' forms are those for accelerators;
# the rules for GPUs call kernels that XLA's CPU compiler has not.
_LOWERED_FOR = ("tpu",)
# XLA's CPU compiler takes out the barriers of `jax.checkpoint` first of all, and then what is
# computed twice: memory is as without. Its GPU compiler doesn't.
_WITH_BARRIERS = {"xla_disable_hlo_passes": "cse_barrier_expander"}
# Set by this benchmark, and so not by `--config.…`.
_FIELDS = {
    "train.batch_size": "--per-device-batch",
    "mesh.data": "--devices and --fsdp",
    "mesh.fsdp": "--fsdp",
}
_GIB, _MIB = 2**30, 2**20


@dataclasses.dataclass(frozen=True)
class Links:
    """How fast devices reach one another, one way, for times on paper.

    Attributes:
      nvlink_gb_s: GB/s out of a device to those of its machine. 450: half of H100 SXM's 900, which
        count both directions (NVIDIA H100 Tensor Core GPU data sheet).
      network_gb_s: GB/s of each device's network adapter. 50: a 400 Gb/s port for each GPU (NVIDIA
        DGX H100 user guide, ConnectX-7).
      devices_per_host: in a machine, side by side in JAX's order.
    """

    nvlink_gb_s: float = 450.0
    network_gb_s: float = 50.0
    devices_per_host: int = 8

    def seconds(self, collective: Collective) -> float:
        """Of one collective at full speed, without latency.

        Rings of a group that spans machines run through all adapters of its members in a machine,
        so that each device has as many adapters' speed, NVLink's at most.
        """
        hosts = Counter(device // self.devices_per_host for device in collective.group)
        speed = self.nvlink_gb_s
        if len(hosts) > 1:
            speed = min(speed, self.network_gb_s * min(hosts.values()))
        return collective.sent_bytes / (speed * 1e9)


@dataclasses.dataclass(frozen=True)
class Request:
    """What to count.

    Attributes:
      configs: `FILE.py` or `FILE.py:VARIANT` each.
      overrides: `--config.SECTION.FIELD=VALUE`, for all of them.
      devices: numbers of them; unused with a topology, which has its own.
      fsdp: devices that share parameters; each of these sizes.
      per_device_batch: examples of a device; twice as many are compiled, too, for what each holds.
      memory_gb: of a device, 10⁹ bytes.
      reserve_gb: of that, for what XLA doesn't count: CUDA's and NCCL's own, fragments.
      links: for times on paper.
      topology: of TPUs, as "v5e:4x2"; empty for simulated devices.
    """

    configs: Sequence[str] = CONFIGS
    overrides: Sequence[str] = ()
    devices: Sequence[int] = (8, 64, 512)
    fsdp: Sequence[int] = (1,)
    per_device_batch: int = 4
    memory_gb: float = 80.0
    reserve_gb: float = 8.0
    links: Links = Links()
    topology: str = ""

    def __post_init__(self) -> None:
        for name in ("devices", "fsdp"):
            for value in getattr(self, name):
                if value < 1:
                    raise ValueError(f"--{name} (={value}) must be at least 1")
        for override in self.overrides:
            field = override.removeprefix("--config.").split("=")[0]
            if field in _FIELDS:
                raise ValueError(f"{override}: set it by {_FIELDS[field]}")
        if not self.topology:
            self.check_sharing(self.devices)
        if self.reserve_gb >= self.memory_gb:
            raise ValueError(
                f"--reserve-gb (={self.reserve_gb}) must be below --memory-gb (={self.memory_gb})"
            )

    def check_sharing(self, devices: Sequence[int]) -> None:
        """Refuses numbers of devices that don't make whole groups."""
        for k in self.fsdp:
            if broken := [n for n in devices if n % k]:
                raise ValueError(f"--fsdp (={k}) must divide the {broken[0]} devices")


class _Case(NamedTuple):
    """One program to compile."""

    config: str
    overrides: tuple[str, ...]
    devices: int
    fsdp: int
    per_device_batch: int


class _Counts(NamedTuple):
    """Of one program; bytes and FLOPs are a device's.

    Attributes:
      state: bytes of the parts of the state, by their names.
      held: bytes that the step needs at once: arguments, results and temporaries.
      temporaries: those alone.
      flops: of the compiled program.
      all_flops: of all devices' work as the program was written, in one place; None where JAX
        can't tell.
      collectives: in one step.
      compile_s: seconds.
    """

    state: dict[str, int]
    held: int
    temporaries: int
    flops: float
    all_flops: float | None
    collectives: list[Collective]
    compile_s: float


def bench_scaling(request: Request) -> list[Row]:
    """Figures of each config's step, for each number of devices and each way to share parameters.

    Raises:
      ValueError: devices that can't be arranged so, a config that can't be, no libtpu for a
        topology.
    """
    for config in request.configs:
        experiment.load_config(config, request.overrides)  # refused before any work
    with started(_count_there, request.topology, max(request.devices)) as pipe:
        there = ask(pipe)
        devices = [there] if request.topology else request.devices
        request.check_sharing(devices)
        return [_row(request, *asked) for asked in _asked(request, devices, pipe)]


def _asked(
    request: Request, devices: Sequence[int], pipe: Connection
) -> Iterator[tuple[_Case, _Counts, float]]:
    """Every case with its counts, and the bytes that a device holds for each example of its own.

    Those are from two batch sizes on the first number of devices: more devices change nothing.
    """
    small = request.per_device_batch
    for config in request.configs:
        for k in request.fsdp:
            each = None
            for n in devices:
                case = _Case(config, tuple(request.overrides), n, k, small)
                counts = _ask_of(case, pipe)
                if each is None:
                    twice = _ask_of(case._replace(per_device_batch=2 * small), pipe)
                    each = (twice.held - counts.held) / small
                yield case, counts, each


def _ask_of(case: _Case, pipe: Connection) -> _Counts:
    how = f"{case.devices} devices, fsdp {case.fsdp}, {case.per_device_batch} examples each"
    print(f"compiling {case.config} for {how}", file=sys.stderr, flush=True)
    return cast(_Counts, ask(pipe, case))


def _row(request: Request, case: _Case, counts: _Counts, each: float) -> Row:
    row: Row = {
        "what": f"{case.devices} devices" + (f", fsdp {case.fsdp}" if case.fsdp > 1 else ""),
        "config": Path(case.config).name.replace(".py", ""),
        "devices": case.devices,
        "fsdp": case.fsdp,
        "clips_per_device": case.per_device_batch,
    }
    row |= {f"{name}_gib": size / _GIB for name, size in counts.state.items()}
    row |= {"temporaries_gib": counts.temporaries / _GIB, "all_gib": counts.held / _GIB}
    # What a step holds is a share that doesn't depend on the batch, and as much for each example.
    fixed = counts.held - each * case.per_device_batch
    room = (request.memory_gb - request.reserve_gb) * 1e9 - fixed
    row |= {"gib_per_clip": each / _GIB, "gib_without_clips": fixed / _GIB}
    row["clips_that_fit"] = max(0, math.floor(room / each)) if each > 0 else None
    payloads: Counter[str] = Counter()
    for collective in counts.collectives:
        payloads[collective.kind] += collective.payload_bytes
    main = ("all-reduce", "all-gather", "reduce-scatter")
    row |= {f"{kind.replace('-', '_')}_mib": payloads[kind] / _MIB for kind in main}
    others = sum(size for kind, size in payloads.items() if kind not in main)
    row["other_collectives_mib"] = others / _MIB
    row["collectives"] = sum(c.runs for c in counts.collectives)
    row["sent_mib"] = sum(c.sent_bytes for c in counts.collectives) / _MIB
    row["sending_ms"] = sum(map(request.links.seconds, counts.collectives)) * 1e3
    row["tflop"] = counts.flops / 1e12
    if counts.all_flops is not None:
        row["flops_over_share"] = counts.flops * case.devices / counts.all_flops
    return row | {"compile_s": counts.compile_s}


def _count_there(pipe: Connection, topology: str, num_devices: int) -> None:
    """In a process of its own: answers the number of devices, then each case."""
    with failures_told(pipe):
        # A program out of JAX's cache has no account of its memory.
        jax.config.update("jax_enable_compilation_cache", False)
        jax.config.update("jax_platforms", "cpu")
        if not topology:
            jax.config.update("jax_num_cpu_devices", num_devices)
        devices = _described(topology) if topology else jax.devices()
        answer(pipe, len(devices))
        while True:
            case = pipe.recv()
            answer(pipe, _count(case, devices[: case.devices], () if topology else _LOWERED_FOR))
            jax.clear_caches()


def _described(topology: str) -> Sequence[Any]:
    """Devices that libtpu's compiler knows, without having them.

    Raises:
      ValueError: there is no libtpu, or no such topology.
    """
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # asks no cloud for what isn't there
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    except (RuntimeError, ImportError, ValueError) as error:
        raise ValueError(
            f"--topology {topology}: {error}; it needs libtpu (pip install 'jax[tpu]'), and a name "
            "such as v5e:4x2"
        ) from error
    return found.devices


def _count(case: _Case, devices: Sequence[Any], platforms: tuple[str, ...]) -> _Counts:
    fields = {"train.batch_size": case.per_device_batch * case.devices, "mesh.fsdp": case.fsdp}
    overrides = [f"--config.{name}={value}" for name, value in fields.items()]
    exp = experiment.build(experiment.load_config(case.config, [*case.overrides, *overrides]))
    grid = np.array(devices).reshape(-1, case.fsdp)
    mesh = Mesh(grid, (sharding.DATA_AXIS, sharding.FSDP_AXIS))
    beginning.check_batch(exp, mesh)
    game, min_size = beginning.make_game(exp, 1000), exp.config.mesh.min_shard_size
    state = beginning.state_layout(exp, game, mesh)
    program = TrainStep(game, mesh, min_shard_size=min_size).program(0, state)
    traced = program.trace(state, batch_shapes(exp), frozen_shapes(exp))
    lowered = traced.lower(lowering_platforms=platforms or None)
    start = time.perf_counter()
    compiled = lowered.compile(compiler_options=_WITH_BARRIERS if platforms else None)
    compile_s = time.perf_counter() - start
    memory, written = compiled.memory_analysis(), lowered.cost_analysis()
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    held += memory.output_size_in_bytes - memory.alias_size_in_bytes
    return _Counts(
        state=state_bytes(state),
        held=held + memory.generated_code_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        flops=compiled.cost_analysis()["flops"],
        all_flops=written["flops"] if written else None,
        collectives=collectives(compiled.as_text()),
        compile_s=compile_s,
    )


def batch_shapes(exp: Experiment) -> Any:
    """A `Batch` of the shapes of a step's frames, and of its label maps where there are any."""
    train = exp.config.train
    n = train.batch_size * train.num_disc_steps
    frames: Any = jax.ShapeDtypeStruct((n, *exp.example_shape), np.uint8)
    maps: Any = None
    if exp.config.model.num_labels:
        maps = jax.ShapeDtypeStruct((n, *exp.example_shape[-3:-1]), np.uint8)
    return Batch(frames, maps)


def state_bytes(layout: GanState) -> dict[str, int]:
    """Bytes on one device of the parts of a state, of which shapes with shardings will do."""
    parts = {
        "parameters": (layout.gen.params, layout.disc.params),
        "optimisers": (layout.gen.opt_state, layout.disc.opt_state),
        "average": (layout.ema_params, layout.ema_collections),
        "statistics": (layout.gen.collections, layout.disc.collections),
    }
    return {name: num_bytes_on_device(tree) for name, tree in parts.items()}
