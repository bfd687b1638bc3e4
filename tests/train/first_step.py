"""The first step of tiny games, on devices of one process or of several; a process of its own, too.

`python -m tests.train.first_step DATA OUT PORT INDEX COUNT FAMILY=FSDP …` is process INDEX of COUNT
on this machine, of one device each. Process 0 writes `OUT/FAMILY.npz`.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from tests.runs import fields
from tests.train import games
from vidgan_jax.data.records import ClipSource
from vidgan_jax.train import beginning, sharding
from vidgan_jax.train.state import GanState
from vidgan_jax.train.step import TrainStep

# Family → fields. Two norms that see the whole batch, two kinds of memory, and the penalty that
# differentiates a gradient; but no more layers than that takes.
FAMILIES: dict[str, list[str]] = {
    "resnet3d": fields(model_gen_spectral_norm=True, model_disc_spectral_norm=True),
    "dcgan2d": fields(train_num_disc_steps=2),
    "spade2d": fields(model_encoder=False, loss_kl_weight=0.0, model_disc_scales=1),
}


def take(family: str, data: Path, mesh: Mesh, *overrides: str) -> tuple[dict[str, Any], GanState]:
    """Runs it on a batch that the loader gives.

    Args:
      family: of `FAMILIES`.
      data: data set of 16×16 frames with label maps.
      mesh: over devices of all processes; every leaf that its `fsdp` axis can divide is divided.
      overrides: further fields.

    Returns:
      All that the step made, whole, by what it is; and the state as it lies on the devices.
    """
    given = fields(data_resize=16, data_num_threads=1, mesh_min_shard_size=1)
    exp, game = games.make(family, *given, *FAMILIES[family], *overrides)
    beginning.check_batch(exp, mesh)
    state = games.start(exp, game, mesh)
    with beginning.open_loader(exp, ClipSource(data, "train")) as loader:
        batch = sharding.put_batch(next(loader), mesh)
    train_step = TrainStep(game, mesh, min_shard_size=exp.config.mesh.min_shard_size)
    state, metrics = train_step(state, batch, 0)
    made = {
        **games.gradients(state),
        "params": (state.gen.params, state.disc.params),
        "collections": (state.gen.collections, state.disc.collections),
        "average": (state.ema_params, state.ema_collections),
        "metrics": dict(metrics),
    }
    whole = jax.jit(lambda tree: tree, out_shardings=sharding.replicated(mesh))(made)
    return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), whole), state


def named(made: dict[str, Any]) -> dict[str, np.ndarray]:
    """Leaves by their paths."""
    return {jax.tree_util.keystr(p): x for p, x in jax.tree_util.tree_leaves_with_path(made)}


def main(data: str, out: str, port: str, index: str, count: str, *families: str) -> None:
    """Takes the steps as one of several processes."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 1)
    jax.distributed.initialize(
        f"127.0.0.1:{port}", int(count), int(index), initialization_timeout=60
    )
    for asked in families:
        family, fsdp = asked.split("=")
        made, _ = take(family, Path(data), sharding.make_mesh(fsdp=int(fsdp)))
        if jax.process_index() == 0:
            np.savez(Path(out) / f"{family}.npz", allow_pickle=False, **named(made))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
