"""Layers of any rank in PyTorch's own layout: `[b, c, *axes]`, time the first axis of clips."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


def own_padding(widths: Sequence[int]) -> tuple[int, ...]:
    """What `nn.Conv2d` or `3d` pads itself: zeros in space, none in time."""
    return (*(0 for _ in widths[:-2]), *((k - 1) // 2 for k in widths[-2:]))


def pad_rest(x: torch.Tensor, widths: Sequence[int], strides: Sequence[int]) -> torch.Tensor:
    """Pads for "same" what `own_padding` leaves: the end frames in time, a last zero in space.

    The latter only of even widths, and where the last window needs it: strides of 2 end before it.
    """
    lengths = x.shape[2:]
    needed = [
        (n - 1) // s * s + k - n - (k - 1) // 2
        for n, k, s in zip(lengths, widths, strides, strict=True)
    ]
    if x.ndim == 5 and widths[0] > 1:
        x = F.pad(x, (0, 0, 0, 0, (widths[0] - 1) // 2, max(needed[0], 0)), mode="replicate")
    bottom, right = (
        max(n - p, 0) for n, p in zip(needed[-2:], own_padding(widths)[-2:], strict=True)
    )
    return F.pad(x, (0, right, 0, bottom)) if bottom or right else x


class Conv(nn.Module):
    """`nn.Conv2d` or `3d`, by the number of `widths`, as long as its input over its strides.

    Beyond the edges are zeros, in time the end frames; `spectral`: with SN.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        strides: Sequence[int] | None = None,
        bias: bool = True,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        kind: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv2d if len(widths) == 2 else nn.Conv3d
        strides = tuple(strides or (1,) * len(widths))
        self.widths, self.strides = tuple(widths), strides
        self.layer = kind(
            in_channels,
            out_channels,
            self.widths,  # type: ignore[arg-type]
            strides,  # type: ignore[arg-type]
            own_padding(widths),  # type: ignore[arg-type]
            bias=bias,
        )
        if spectral:
            nn.utils.spectral_norm(self.layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(pad_rest(x, self.widths, self.strides))


class ConvTranspose(nn.Module):
    """`nn.ConvTranspose2d` or `3d`, `strides` times as long along every axis; `spectral`: with SN.

    In space PyTorch crops: k4 s2 with its `padding` of 1 doubles, k4 s4 with 0 makes 4 of 1. In
    time the clip is continued by its end frames, farther than any kernel sees, and the result cut.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        strides: Sequence[int],
        bias: bool = True,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.widths, self.strides = tuple(widths), tuple(strides)
        self.crops = [(k - s + 1) // 2 for k, s in zip(widths, strides, strict=True)]
        longer = [2 * c - k + s for c, k, s in zip(self.crops, widths, strides, strict=True)]
        is_clip = len(self.widths) == 3
        kind = nn.ConvTranspose3d if is_clip else nn.ConvTranspose2d
        padding = (0, *self.crops[1:]) if is_clip else tuple(self.crops)
        output_padding = (0, *longer[1:]) if is_clip else tuple(longer)
        self.layer: nn.Module = kind(
            in_channels,
            out_channels,
            self.widths,  # type: ignore[arg-type]
            self.strides,  # type: ignore[arg-type]
            padding,  # type: ignore[arg-type]
            output_padding,  # type: ignore[arg-type]
            bias=bias,
        )
        if spectral:
            nn.utils.spectral_norm(self.layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim == 4:
            return self.layer(x)
        frames, more = x.shape[2], self.widths[0]
        y = self.layer(F.pad(x, (0, 0, 0, 0, more, more), mode="replicate"))
        return y.narrow(2, more * self.strides[0] + self.crops[0], frames * self.strides[0])


class BatchNorm(nn.Module):
    """`nn.BatchNorm2d` or `3d`, but for the running variance: of the biased variance, as ours."""

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        self.layer = (nn.BatchNorm2d if rank == 2 else nn.BatchNorm3d)(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.layer.running_var is not None
        kept = 0.9 * self.layer.running_var
        y = self.layer(x)
        if self.training:
            n = x.numel() // x.shape[1]
            self.layer.running_var = kept + (self.layer.running_var - kept) * (n - 1) / n
        return y


def upsample(x: torch.Tensor, factors: Sequence[int]) -> torch.Tensor:
    """Nearest neighbour, by `factors` along the axes."""
    return F.interpolate(x, scale_factor=tuple(map(float, factors)), mode="nearest")


def avg_pool(x: torch.Tensor, window: Sequence[int], strides: Sequence[int]) -> torch.Tensor:
    """Mean over windows, odd ones centred by zeros that count."""
    pool = F.avg_pool2d if len(window) == 2 else F.avg_pool3d
    padding = tuple((k - 1) // 2 if k % 2 else 0 for k in window)
    return pool(x, tuple(window), tuple(strides), padding, count_include_pad=True)
