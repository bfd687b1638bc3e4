"""What a run would do, before it does it: networks, data, devices, memory."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
from flax import linen as nn
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from vidgan_jax.experiment import Experiment
from vidgan_jax.train import beginning, sharding
from vidgan_jax.types import PyTree

# Bytes of a step's temporaries for one byte of layer outputs: an activation follows every
# convolution, and both are kept for the backward pass. Against XLA's own figures (bench.py).
OUTPUTS_KEPT = 2.0
# Modules that are computed anew as one, where a network's `remat` is set.
_BLOCKS = ("ResnetBlock", "SpadeBlock")
_DTYPE_BYTES = {"float32": 4, "bfloat16": 2}


@dataclasses.dataclass(frozen=True)
class Layer:
    """One module of a network.

    Attributes:
      path: names from the network down, "block_0/conv_1"; empty for the network itself.
      kind: the module's class.
      output: shape of what it returns, batch of 1.
      parameters: of it and all it contains.
      is_leaf: it contains no other module.
    """

    path: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    is_leaf: bool


def describe(module: nn.Module, *inputs: Any) -> list[Layer]:
    """The modules of a network in the order in which they are called, from shapes alone."""
    calls: list[tuple[tuple[str, ...], str, tuple[int, ...]]] = []

    def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        place = len(calls)
        calls.append(((), "", ()))
        output = call(*args, **kwargs)
        shape = tuple(jax.tree.leaves(output)[0].shape)
        calls[place] = (context.module.path, type(context.module).__name__, shape)
        return output

    with nn.intercept_methods(record):
        variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    paths = [path for path, _, _ in calls]
    return [
        Layer(
            path="/".join(path),
            kind=kind,
            output=shape,
            parameters=count(_below(variables["params"], path)),
            is_leaf=not any(p != path and p[: len(path)] == path for p in paths),
        )
        for path, kind, shape in calls
    ]


def _below(params: PyTree, path: tuple[str, ...]) -> PyTree:
    return functools.reduce(lambda tree, name: tree.get(name, {}), path, params)


def count(tree: PyTree) -> int:
    """Numbers in all leaves."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def num_bytes(tree: PyTree) -> int:
    """Bytes of all leaves (a typed key counts as nothing)."""
    return sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def make_plan(
    experiment: Experiment, mesh: Mesh, *, data_path: str, found: tuple[int, int] | None
) -> dict[str, Any]:
    """The plan as JSON takes it.

    Args:
      experiment: what would be trained.
      mesh: on which devices.
      data_path: of the data set, or where the embedded scenes would be.
      found: clips that examples can be cut from, and their videos; None where the data is not there
        yet.

    Raises:
      ValueError: the batch can't be divided over the devices.
    """
    config = experiment.config
    train = config.train
    beginning.check_batch(experiment, mesh)
    networks = {
        "generator": describe(experiment.generator, *experiment.gen_inputs()),
        "discriminator": describe(experiment.discriminator, *experiment.disc_inputs()),
    }
    num_clips, num_videos = found or (None, None)
    num_steps = experiment.num_steps(num_clips) if num_clips else train.num_steps or None
    return {
        "name": config.name,
        "networks": {
            name: {
                "parameters": layers[0].parameters,
                "dtype": _dtypes(experiment)[name],
                "layers": [dataclasses.asdict(layer) for layer in layers],
            }
            for name, layers in networks.items()
        },
        "data": {
            "path": data_path,
            "embedded": not config.data.path,
            "split": config.data.split,
            "clips": num_clips,
            "videos": num_videos,
            "example_shape": list(experiment.example_shape),
        },
        "devices": {
            "platform": mesh.devices.flat[0].platform,
            "kind": mesh.devices.flat[0].device_kind,
            "count": mesh.devices.size,
            "processes": jax.process_count(),
            "mesh": dict(mesh.shape),
        },
        "batch": {
            "global": train.batch_size,
            "per_process": train.batch_size // jax.process_count(),
            "per_device": train.batch_size // mesh.devices.size,
            "parts": train.grad_accum_steps,
            "disc_steps": train.num_disc_steps,
        },
        "num_steps": num_steps,
        "memory": _memory(experiment, networks, mesh),
        "init": config.init.path or None,
    }


def _dtypes(experiment: Experiment) -> dict[str, str]:
    """What each network computes in."""
    model = experiment.config.model
    return {"generator": model.gen_dtype, "discriminator": model.disc_dtype}


def num_bytes_on_device(layout: PyTree) -> int:
    """Bytes of what each device has of all leaves, which tell their sharding."""
    return num_bytes(
        jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.sharding.shard_shape(leaf.shape), leaf.dtype),
            layout,
        )
    )


def numbers_kept(layers: Sequence[Layer], *, remat: bool) -> float:
    """Numbers that a backward pass keeps of the forward pass of one example, by a rule of thumb.

    Args:
      layers: of a network.
      remat: blocks are computed anew: kept is what each was given, and one block's inside.
    """

    def num_outputs(of: Iterable[Layer]) -> int:
        return sum(math.prod(layer.output) for layer in of)

    leaves = [layer for layer in layers if layer.is_leaf]
    whole = OUTPUTS_KEPT * num_outputs(leaves)
    blocks = [layer for layer in layers if layer.kind in _BLOCKS]
    if not remat:
        return whole
    inside = [[leaf for leaf in leaves if leaf.path.startswith(f"{b.path}/")] for b in blocks]
    within = {leaf.path for block in inside for leaf in block}
    outside = [leaf for leaf in leaves if leaf.path not in within]
    largest = max((num_outputs(block) for block in inside), default=0)
    # Where stages are no modules their layers' outputs stand for what they were given.
    return min(whole, num_outputs([*blocks, *outside]) + OUTPUTS_KEPT * largest)


def _memory(
    experiment: Experiment, networks: Mapping[str, list[Layer]], mesh: Mesh
) -> dict[str, int]:
    """Bytes on each device: the state exactly, a step's temporaries by a rule of thumb."""
    train = experiment.config.train
    at_once = train.batch_size // mesh.devices.size // train.grad_accum_steps
    game = beginning.make_game(experiment, 1)
    state = beginning.state_layout(experiment, game, mesh)
    sizes = {name: _DTYPE_BYTES[dtype] for name, dtype in _dtypes(experiment).items()}
    model = experiment.config.model
    remat = {"generator": model.gen_remat, "discriminator": model.disc_remat}
    kept = {
        name: sizes[name] * numbers_kept(layers, remat=remat[name])
        for name, layers in networks.items()
    }
    gen, disc = kept["generator"], kept["discriminator"]
    # Reals and fakes go through D; R1 differentiates a gradient and keeps that pass as well.
    passes = 4 if experiment.config.loss.r1_gamma else 2
    activations = int(at_once * max(passes * disc, gen + disc))
    params = state.gen.params, state.disc.params
    gradients = max(map(num_bytes, params))
    if train.grad_accum_steps > 1:  # those of the parts before
        gradients *= 2
    if mesh.shape[sharding.FSDP_AXIS] > 1:  # and the parameters, gathered
        gradients += sum(map(num_bytes, params))
    state_bytes = num_bytes_on_device(state)
    total = state_bytes + gradients + activations
    return {
        "state_bytes": state_bytes,
        "gradient_bytes": gradients,
        "activation_bytes_estimate": activations,
        "total_bytes_estimate": total,
    }


def print_plan(plan: Mapping[str, Any]) -> None:
    """Shows a plan, of a GAN or of another network's training, to people."""
    console = Console()
    for name, network in plan["networks"].items():
        computes = "" if network["dtype"] == "float32" else f", computes in {network['dtype']}"
        table = Table(title=f"{name}: {network['parameters']:,} parameters{computes}")
        table.add_column("layer")
        table.add_column("kind")
        table.add_column("output (one example)")
        table.add_column("parameters", justify="right")
        for layer in network["layers"]:
            depth = layer["path"].count("/") + bool(layer["path"])
            label = layer["path"].rsplit("/", 1)[-1] or name
            shape = " × ".join(map(str, layer["output"][1:])) or "1"
            table.add_row("  " * depth + label, layer["kind"], shape, f"{layer['parameters']:,}")
        console.print(table)
    table = Table(title=f"plan of {plan['name']}", show_header=False)
    for row in _plan_rows(plan):
        table.add_row(*row)
    console.print(table)


def _plan_rows(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    data, devices, batch, memory = (plan[k] for k in ("data", "devices", "batch", "memory"))
    found = (
        f"{data['clips']:,} clips of {data['videos']:,} videos"
        if data["clips"] is not None
        else "will be rendered"
    )
    kind = "embedded scenes" if data["embedded"] else "data set"
    return [
        ("data", f"{kind} {data['path']}, {data['split']}: {found}"),
        ("example", " × ".join(map(str, data["example_shape"]))),
        (
            "devices",
            f"{devices['count']} {devices['platform']} ({devices['kind']}), "
            f"{devices['processes']} process(es)" + _arranged(devices.get("mesh", {})),
        ),
        (
            "batch",
            f"{batch['global']} = {batch['per_process']} a process = {batch['per_device']} a device"
            + (f" in {batch['parts']} parts" if batch.get("parts", 1) > 1 else "")
            + (f", {batch['disc_steps']} D step(s) each" if "disc_steps" in batch else ""),
        ),
        ("steps", f"{plan['num_steps']:,}" if plan["num_steps"] else "known with the data"),
        ("starts from", plan["init"] or "random weights"),
        (
            "memory a device",
            f"state {_gib(memory['state_bytes'])} + gradients {_gib(memory['gradient_bytes'])} + "
            f"activations about {_gib(memory['activation_bytes_estimate'])} = about "
            f"{_gib(memory['total_bytes_estimate'])}",
        ),
    ]


def _arranged(mesh: Mapping[str, int]) -> str:
    shared = mesh.get(sharding.FSDP_AXIS, 1)
    return f", {shared} of which share large parameters" if shared > 1 else ""


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
