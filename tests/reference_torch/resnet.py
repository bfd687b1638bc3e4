"""The ResNet GAN in PyTorch, for images and clips.

Source: Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406, and its public code's layout, without the
constant label embedding that it appends to latents; the video form of Egan 2019 (MIT thesis).
Latents and frames are channels last at the border, as in `vidgan_jax`, and channels first within.
"""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import nn

from tests.reference_torch.layers import Conv, avg_pool, upsample


def actvn(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2)


class ResnetBlock(nn.Module):
    """`shortcut(x) + 0.1 · conv_1(actvn(conv_0(actvn(x))))`; kernels 3 wide along `rank` axes."""

    def __init__(self, fin: int, fout: int, rank: int) -> None:
        super().__init__()
        fhidden = min(fin, fout)
        self.conv_0 = Conv(fin, fhidden, (3,) * rank)
        self.conv_1 = Conv(fhidden, fout, (3,) * rank)
        self.conv_s = Conv(fin, fout, (1,) * rank, bias=False) if fin != fout else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.conv_s is None else self.conv_s(x)
        return shortcut + 0.1 * self.conv_1(actvn(self.conv_0(actvn(x))))


class Generator(nn.Module):
    """Latents `[b, z]` to images `[b, h, w, 3]`, or to clips where there are `frames`."""

    def __init__(
        self,
        *,
        z_dim: int,
        size: int,
        nf: int,
        nf_max: int,
        frames: int = 0,
        time_stages: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.rank = 3 if frames else 2
        self.stages = size.bit_length() - 3
        self.nf0 = min(nf_max, nf * 2**self.stages)
        self.time_stages = time_stages
        self.base = (4, 4) if not frames else (frames // 2 ** len(time_stages), 4, 4)
        self.fc = nn.Linear(z_dim, self.nf0 * torch.Size(self.base).numel())
        for i in range(self.stages):
            fin = min(nf_max, nf * 2 ** (self.stages - i))
            fout = min(nf_max, nf * 2 ** (self.stages - i - 1))
            self.add_module(f"block_{i}", ResnetBlock(fin, fout, self.rank))
        self.add_module(f"block_{self.stages}", ResnetBlock(nf, nf, self.rank))
        self.conv_img = Conv(nf, 3, (3,) * self.rank)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.fc(z).view(len(z), *self.base, self.nf0).movedim(-1, 1)
        for i in range(self.stages):
            x = self.get_submodule(f"block_{i}")(x)
            x = upsample(x, _scales(self.rank, i in self.time_stages))
        x = self.get_submodule(f"block_{self.stages}")(x)
        return torch.tanh(self.conv_img(actvn(x))).movedim(1, -1)


class Discriminator(nn.Module):
    """Images `[b, h, w, 3]`, or clips `[b, t, h, w, 3]`, to logits `[b]`; blocks count from 4×4."""

    def __init__(
        self,
        *,
        size: int,
        nf: int,
        nf_max: int,
        frames: int = 0,
        time_stages: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.rank = 3 if frames else 2
        self.stages = size.bit_length() - 3
        self.time_stages = time_stages
        self.conv_img = Conv(3, nf, (3,) * self.rank)
        self.add_module(f"block_{self.stages}", ResnetBlock(nf, nf, self.rank))
        nf1 = nf
        for i in range(self.stages):
            nf0, nf1 = nf1, min(nf_max, nf * 2 ** (i + 1))
            self.add_module(f"block_{self.stages - 1 - i}", ResnetBlock(nf0, nf1, self.rank))
        self.fc = nn.Linear(16 * nf1 * max(1, frames // 2 ** len(time_stages)), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_img(x.movedim(-1, 1))
        x = self.get_submodule(f"block_{self.stages}")(x)
        for i in reversed(range(self.stages)):
            strides = _scales(self.rank, i in self.time_stages)
            x = avg_pool(x, (*strides[:-2], 3, 3), strides)
            x = self.get_submodule(f"block_{i}")(x)
        return self.fc(actvn(x).movedim(1, -1).flatten(1))[:, 0]


def _scales(rank: int, in_time: bool) -> tuple[int, ...]:
    return (2, 2) if rank == 2 else (2 if in_time else 1, 2, 2)
