"""VGAN's two-stream generator: a moving foreground in front of a still background.

Source: Vondrick, Pirsiavash, Torralba 2016, arXiv:1609.02612, section 3.1 and figure 1; Egan 2019
(MIT thesis), 2.3.1. Its discriminator is DCGAN's of clips.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from vidgan_jax.layers.precision import leave
from vidgan_jax.models.dcgan import DcganGenerator, DcganTrunk, Layout, up
from vidgan_jax.models.stages import refuse_condition
from vidgan_jax.types import OUTPUTS


class VganGenerator(nn.Module):
    """Latents to clips in (-1, 1): `m⊙f + (1-m)⊙b`.

    Foreground f and mask m share all layers but the last, as in VGAN's paper; the background b is a
    2D DCGAN, the same for all frames. Where the caller makes the collection `outputs` mutable, it
    gets `streams`: `mask` in (0, 1), `[b, [t,] size, size, 1]`, `foreground` and `background`.

    Attributes:
      layout: of the layers; of images, this is the network that one of clips is inflated from.
      channels: colour channels.
    """

    layout: Layout
    channels: int = 3

    @nn.compact
    def __call__(self, z: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        """Maps latents float `[b, z]` to `[b, t, size, size, c]`, or `[b, size, size, c]`.

        Raises:
          ValueError: a condition was given; this network has no use for one.
        """
        refuse_condition(cond)
        layout, last = self.layout, len(self.layout.stages) - 1
        x = DcganTrunk(layout, name="trunk")(z)
        to_foreground = up(layout, last, self.channels, "deconv_foreground", use_bias=True)
        foreground = jnp.tanh(leave(to_foreground(x)))
        to_mask = up(layout, last, 1, "deconv_mask", use_bias=True)
        mask = jax.nn.sigmoid(leave(to_mask(x)))
        still = dataclasses.replace(layout, num_frames=0)
        background = DcganGenerator(still, self.channels, name="background")(z)
        if layout.num_frames:
            background = background[:, None]  # one for all frames
        if not self.is_initializing():
            streams = {"mask": mask, "foreground": foreground, "background": background}
            self.sow(OUTPUTS, "streams", streams, init_fn=dict, reduce_fn=lambda _, new: new)
        return mask * foreground + (1 - mask) * background
