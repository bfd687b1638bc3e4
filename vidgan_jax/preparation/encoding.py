"""How frames are stored."""

import dataclasses
from typing import get_args

import numpy as np

from vidgan_jax.data import frames as codec


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How frames are stored.

    Attributes:
      image_format: "jpeg", or the lossless and larger "png".
      quality: of JPEG, 1 to 100.
    """

    image_format: codec.ImageFormat = "jpeg"
    quality: int = 90

    def __post_init__(self) -> None:
        formats = get_args(codec.ImageFormat)
        if self.image_format not in formats:
            raise ValueError(
                f"image_format (={self.image_format!r}) must be one of {', '.join(formats)}"
            )
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality (={self.quality}) must be from 1 to 100")

    def encode(self, frames: np.ndarray) -> tuple[bytes, ...]:
        """Encodes uint8 `[t, h, w, 3]`, one image a frame."""
        return codec.encode_frames(frames, image_format=self.image_format, quality=self.quality)
