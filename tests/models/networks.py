"""Networks with drawn weights; small ResNet GANs, and the same in PyTorch."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from tests.reference_torch import resnet as reference
from tests.reference_torch import weights
from vidgan_jax.models.resnet import ResnetDiscriminator, ResnetGenerator
from vidgan_jax.types import BATCH_STATS, SPECTRAL

Z_DIM, SIZE, FEATURES, MAX_FEATURES = 5, 16, 4, 8


@dataclasses.dataclass(frozen=True)
class SmallGan:
    """A GAN of 16×16 frames, two stages; of clips, the second stage doubles time.

    Attributes:
      num_frames: frames of a clip; 0 for images.
      generator: channels 8, 8, 4 from 4×4 to 16×16.
      discriminator: the mirror image.
      gen_params: drawn anew, larger than at a start of training.
      disc_params: likewise.
    """

    num_frames: int
    generator: ResnetGenerator
    discriminator: ResnetDiscriminator
    gen_params: Mapping[str, Any]
    disc_params: Mapping[str, Any]

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (*((self.num_frames,) if self.num_frames else ()), SIZE, SIZE, 3)

    def torch_generator(self) -> reference.Generator:
        """PyTorch's, with the same weights."""
        module = reference.Generator(z_dim=Z_DIM, **self._torch_layout())
        weights.load(module, self.gen_params)
        return module

    def torch_discriminator(self) -> reference.Discriminator:
        """PyTorch's, with the same weights."""
        module = reference.Discriminator(**self._torch_layout())
        weights.load(module, self.disc_params)
        return module

    def _torch_layout(self) -> dict[str, Any]:
        return {
            "size": SIZE,
            "nf": FEATURES,
            "nf_max": MAX_FEATURES,
            "frames": self.num_frames,
            "time_stages": (1,) if self.num_frames else (),
        }


@functools.cache
def small_gan(num_frames: int) -> SmallGan:
    """The one of images (0 frames) or of clips."""
    layout = {"size": SIZE, "features": FEATURES, "max_features": MAX_FEATURES, "time_stages": (1,)}
    generator = ResnetGenerator(num_frames=num_frames, **layout)  # type: ignore[arg-type]
    discriminator = ResnetDiscriminator(**layout)  # type: ignore[arg-type]
    frames = (num_frames,) if num_frames else ()
    return SmallGan(
        num_frames,
        generator,
        discriminator,
        draw_params(generator, jnp.zeros((1, Z_DIM))),
        draw_params(discriminator, jnp.zeros((1, *frames, SIZE, SIZE, 3))),
    )


def shapes(module: nn.Module, *inputs: Any) -> Any:
    """The parameter tree of a network as shapes; nothing is computed."""
    return jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]


def draw_params(module: nn.Module, *inputs: Any) -> Any:
    """Random weights (of variance 1/fan_in, biases too) without compiling an `init`."""
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        fan_in = int(np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 16
        return rng.standard_normal(leaf.shape, np.float32) / np.float32(fan_in**0.5)

    return jax.tree.map(draw, shapes(module, *inputs))


def draw_variables(module: nn.Module, *inputs: Any) -> Any:
    """Like `draw_params`, with collections of a network amid its training.

    Singular vectors are near their kernels', not at them; gains are 1.
    """
    found = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    params = draw_params(module, *inputs)
    kernels = traverse_util.flatten_dict(params)
    rng = np.random.default_rng(1)
    variables = {("params", *path): leaf for path, leaf in kernels.items()}
    for path, leaf in traverse_util.flatten_dict(found).items():
        if path[0] == BATCH_STATS:
            variables[path] = rng.uniform(0.5, 2, leaf.shape).astype(np.float32)
        if path[0] == SPECTRAL and path[-1] == "gain":
            variables[path] = np.ones((), np.float32)
        elif path[0] == SPECTRAL:
            kernel = kernels[(*path[1:-1], "kernel")]
            left, _, right = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))
            vector = right[0] if path[-1] == "u" else left[:, 0]
            vector = vector + 0.3 * rng.standard_normal(vector.shape) / vector.size**0.5
            vector = vector / np.linalg.norm(vector)
            variables[path] = vector.reshape(leaf.shape).astype(np.float32)
    return traverse_util.unflatten_dict(variables)
