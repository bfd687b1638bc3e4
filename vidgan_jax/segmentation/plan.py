"""What a segmenter's run would do, before it does it; `train.plan.print_plan` shows it."""

import dataclasses
import math
from typing import Any

import jax
from jax.sharding import Mesh

from vidgan_jax.models.unet import UNet
from vidgan_jax.segmentation.config import SegmenterConfig
from vidgan_jax.segmentation.training import Training
from vidgan_jax.train import sharding
from vidgan_jax.train.plan import OUTPUTS_KEPT, describe, num_bytes

_FLOAT_BYTES = 4


def make_plan(
    config: SegmenterConfig,
    mesh: Mesh,
    *,
    data_path: str,
    found: tuple[int, int] | None,
    classes: tuple[int, ...] | None,
) -> dict[str, Any]:
    """The plan as JSON takes it, with the names of `train.plan.make_plan`.

    Args:
      config: what would be trained.
      mesh: on which devices.
      data_path: of the data set, or where the embedded scenes would be.
      found: clips that frames can be cut from, and their videos; None where the data is not there
        yet.
      classes: ids that would be learnt; None likewise, then sizes are those for `num_labels`.

    Raises:
      ValueError: the batch can't be divided over the devices.
    """
    train, size = config.train, config.segmenter.size
    sharding.check_batch_size(train.batch_size, mesh)
    training = Training(config, classes or tuple(range(config.segmenter.num_labels)))
    network: UNet = training.network
    layers = describe(network, jax.ShapeDtypeStruct((1, size, size, 3), jax.numpy.float32))
    state = jax.eval_shape(training.initial_state)
    per_device = train.batch_size // mesh.devices.size
    outputs = _FLOAT_BYTES * sum(math.prod(layer.output) for layer in layers if layer.is_leaf)
    memory = {
        "state_bytes": num_bytes(state),
        "gradient_bytes": num_bytes(state.params),
        "activation_bytes_estimate": int(OUTPUTS_KEPT * per_device * outputs),
    }
    num_clips, num_videos = found or (None, None)
    return {
        "name": config.name,
        "networks": {
            "segmenter": {
                "parameters": layers[0].parameters,
                "dtype": "float32",
                "layers": [dataclasses.asdict(layer) for layer in layers],
            }
        },
        "data": {
            "path": data_path,
            "embedded": not config.data.path,
            "split": config.data.split,
            "clips": num_clips,
            "videos": num_videos,
            "example_shape": [size, size, 3],
            "resizes": list(config.data.resizes),
            "classes": None if classes is None else list(classes),
        },
        "devices": {
            "platform": mesh.devices.flat[0].platform,
            "kind": mesh.devices.flat[0].device_kind,
            "count": mesh.devices.size,
            "processes": jax.process_count(),
        },
        "batch": {
            "global": train.batch_size,
            "per_process": train.batch_size // jax.process_count(),
            "per_device": per_device,
        },
        "num_steps": train.num_steps,
        "memory": memory | {"total_bytes_estimate": sum(memory.values())},
        "init": None,
    }
