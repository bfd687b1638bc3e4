"""Layers of any rank in PyTorch's own layout: `[b, c, *axes]`, time the first axis of clips."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


def pad_same(x: torch.Tensor, widths: Sequence[int]) -> torch.Tensor:
    """Pads for a kernel of `widths`: zeros around in space, the end frames repeated in time."""
    ends = [((k - 1) // 2, k // 2) for k in widths]
    *time, (top, bottom), (left, right) = ends
    for before, after in time:
        x = F.pad(x, (0, 0, 0, 0, before, after), mode="replicate")
    return F.pad(x, (left, right, top, bottom))


class Conv(nn.Module):
    """`nn.Conv2d` or `nn.Conv3d`, by the number of `widths`, behind `pad_same`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        strides: Sequence[int] | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        kind: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv2d if len(widths) == 2 else nn.Conv3d
        strides = tuple(strides or (1,) * len(widths))
        self.widths = tuple(widths)
        self.layer = kind(in_channels, out_channels, self.widths, strides, bias=bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(pad_same(x, self.widths))


def upsample(x: torch.Tensor, factors: Sequence[int]) -> torch.Tensor:
    """Nearest neighbour, by `factors` along the axes."""
    return F.interpolate(x, scale_factor=tuple(map(float, factors)), mode="nearest")


def avg_pool(x: torch.Tensor, window: Sequence[int], strides: Sequence[int]) -> torch.Tensor:
    """Mean over windows, odd ones centred by zeros that count."""
    pool = F.avg_pool2d if len(window) == 2 else F.avg_pool3d
    padding = tuple((k - 1) // 2 if k % 2 else 0 for k in window)
    return pool(x, tuple(window), tuple(strides), padding, count_include_pad=True)
