"""DCGAN in PyTorch, for images and clips, spectrally normalised or not.

Source: Radford, Metz, Chintala 2015, arXiv:1511.06434, and the layout of PyTorch's own DCGAN
example, carried to `size`·`size` pixels; the video form of Egan 2019 (MIT thesis), 3.3.1.
Latents and frames are channels last at the border, as in `vidgan_jax`, and channels first within.
"""

from collections.abc import Callable, Collection

import torch
import torch.nn.functional as F
from torch import nn

from tests.reference_torch.layers import BatchNorm, Conv, ConvTranspose


def _channels(size: int, nf: int, nf_max: int) -> list[int]:
    """At 4×4, 8×8, … half of `size`."""
    widths: list[int] = []
    while size > 4:
        size //= 2
        widths.insert(0, min(nf, nf_max))
        nf *= 2
    return widths


def _stage(is_clip: bool, in_time: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Kernel widths and strides: k4 s2, over time k3 s1 where it stays as long."""
    if not is_clip:
        return (4, 4), (2, 2)
    return ((4, 4, 4), (2, 2, 2)) if in_time else ((3, 4, 4), (1, 2, 2))


class Generator(nn.Module):
    """Latents `[b, z]` to images `[b, h, w, c]`, or to clips where there are `frames`."""

    def __init__(
        self,
        *,
        z_dim: int,
        size: int,
        nf: int,
        nf_max: int,
        frames: int = 0,
        time_stages: Collection[int] = (),
        batch_norm: bool = True,
        spectral: bool = True,
        channels: int = 3,
        activation: Callable[[torch.Tensor], torch.Tensor] = torch.tanh,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.rank = 3 if frames else 2
        widths = _channels(size, nf, nf_max)
        base: tuple[int, ...] = (frames // 2 ** len(time_stages), 4, 4) if frames else (4, 4)
        self.trunk = nn.ModuleDict()
        fin, kernel, strides = z_dim, base, base
        for i, fout in enumerate(widths):
            self.trunk[f"deconv_{i}"] = ConvTranspose(
                fin, fout, kernel, strides, not batch_norm, spectral
            )
            if batch_norm:
                self.trunk[f"bn_{i}"] = BatchNorm(fout, self.rank)
            fin, (kernel, strides) = fout, _stage(bool(frames), i in time_stages)
        self.deconv_img = ConvTranspose(fin, channels, kernel, strides, True, spectral)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = z[(...,) + (None,) * self.rank]
        for name, layer in self.trunk.items():
            x = layer(x)
            if name.startswith("bn") or name.replace("deconv", "bn") not in self.trunk:
                x = F.relu(x)
        return self.activation(self.deconv_img(x)).movedim(1, -1)


class Discriminator(nn.Module):
    """Images `[b, h, w, 3]`, or clips `[b, t, h, w, 3]`, to logits `[b]`; layers count from 4×4."""

    def __init__(
        self,
        *,
        size: int,
        nf: int,
        nf_max: int,
        frames: int = 0,
        time_stages: Collection[int] = (),
        batch_norm: bool = True,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        widths = _channels(size, nf, nf_max)
        self.last, fin = len(widths) - 1, 3
        for i in reversed(range(self.last + 1)):
            kernel, strides = _stage(bool(frames), i in time_stages)
            conv = Conv(fin, widths[i], kernel, strides, not batch_norm, spectral)
            self.add_module(f"conv_{i}", conv)
            if batch_norm and i < self.last:
                self.add_module(f"bn_{i}", BatchNorm(widths[i], len(kernel)))
            fin = widths[i]
        if frames:
            logit: nn.Module = nn.Conv3d(fin, 1, (frames // 2 ** len(time_stages), 4, 4))
        else:
            logit = nn.Conv2d(fin, 1, (4, 4))
        self.conv_logit = nn.utils.spectral_norm(logit) if spectral else logit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.movedim(-1, 1)
        layers = dict(self.named_children())
        for i in reversed(range(self.last + 1)):
            x = layers[f"conv_{i}"](x)
            if f"bn_{i}" in layers:
                x = layers[f"bn_{i}"](x)
            x = F.leaky_relu(x, 0.2)
        return self.conv_logit(x).flatten()
