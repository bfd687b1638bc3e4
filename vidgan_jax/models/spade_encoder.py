"""SPADE's encoder, for images and clips from one code: the style of frames as a normal's moments.

Source: Park, Liu, Wang, Zhu 2019, arXiv:1903.07291, appendix A; Egan 2019 (MIT thesis), 3.3.3 and
figure 3-9.
"""

import functools
from collections.abc import Sequence

import jax
from flax import linen as nn

from vidgan_jax.layers import Conv, Dense, InstanceNorm
from vidgan_jax.layers.precision import enter, leave
from vidgan_jax.models.remat import run_block
from vidgan_jax.models.stages import base_frames, num_stages, scales

_MOST = 8  # times `features`: most channels anywhere


class SpadeEncoder(nn.Module):
    """Images or clips to mean and log variance of latents.

    Attributes:
      size: height and width that it sees, 4·2ⁿ pixels; frames of another size are resized.
      num_frames: frames of clips; 0 for images.
      features: channels at half the resolution.
      z_dim: length of a latent.
      time_stages: halvings of resolution that halve time too, 0 the last (8×8 to 4×4). Clips only.
      spectral_norm: of the convolutions.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      dtype: that the layers compute in, "bfloat16"; None for that of the data.
      remat: the backward pass computes the stages' insides anew, see `run_block`.
    """

    size: int
    num_frames: int = 0
    features: int = 64
    z_dim: int = 256
    time_stages: Sequence[int] = (0, 1, 2)
    spectral_norm: bool = True
    init_scale: float = 0.0
    dtype: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps frames in [-1, 1], `[b, h, w, c]` or `[b, t, h, w, c]`, to two of `[b, z_dim]`.

        Raises:
          ValueError: the frames are not as many as the encoder's, the encoder's size is not 4·2ⁿ,
            or its frames can't be halved as often as `time_stages` says.
        """
        stages = num_stages(self.size)
        try:
            base_frames(self.num_frames, stages, self.time_stages)
        except ValueError as error:  # whose words are of the generator's field
            raise ValueError(f"encoder: {error}; see encoder_time_stages") from error
        if frames.ndim != (5 if self.num_frames else 4) or (
            self.num_frames and frames.shape[1] != self.num_frames
        ):
            kind = f"clips of {self.num_frames} frames" if self.num_frames else "images"
            raise ValueError(f"style {frames.shape} must be {kind}")
        x = enter(resize_bilinear(frames, self.size), self.dtype)
        for i in range(stages):
            stage = functools.partial(
                SpadeEncoder._stage, i=i, in_time=stages - 1 - i in self.time_stages
            )
            x = run_block(stage, self, x, remat=self.remat)
        x = x.reshape(x.shape[0], -1)
        mean = Dense(self.z_dim, self.init_scale, name="fc_mu")(x)
        return leave(mean), leave(Dense(self.z_dim, self.init_scale, name="fc_var")(x))

    def _stage(self, x: jax.Array, i: int, *, in_time: bool) -> jax.Array:
        x = Conv(
            self.features * min(1 << i, _MOST),
            3,
            scales(x.ndim - 2, in_time),
            use_bias=False,
            init_scale=self.init_scale,
            spectral_norm=self.spectral_norm,
            name=f"conv_{i}",
        )(x)
        return jax.nn.leaky_relu(InstanceNorm(name=f"norm_{i}")(x), 0.2)


def resize_bilinear(x: jax.Array, size: int) -> jax.Array:
    """Frames `[..., h, w, c]` at `size`×`size`: between pixels' centres, without antialiasing."""
    if x.shape[-3:-1] == (size, size):
        return x
    shape = (*x.shape[:-3], size, size, x.shape[-1])
    return jax.image.resize(x, shape, "linear", antialias=False)
