"""SPADE in PyTorch, for images and clips, written plainly: one-hot maps, repeated and joined.

Source: Park, Liu, Wang, Zhu 2019, arXiv:1903.07291, and Egan 2019 (MIT thesis), 3.3.3. Latents,
frames and label maps are channels last at the border, as in `vidgan_jax`, and channels first
within; label maps are one-hot already.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tests.reference_torch.layers import Conv, own_padding, pad_rest, upsample


class PlainBatchNorm(nn.Module):
    """Batch norm that learns nothing; its running variance is biased, as ours."""

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = 0.9 * self.running_var
        y = F.batch_norm(x, self.running_mean, self.running_var, training=self.training)
        if self.training:
            n = x.numel() // x.shape[1]
            self.running_var = kept + (self.running_var - kept) * (n - 1) / n
        return y


class Norm(nn.Module):
    """x̂ · (1 + γ) + β."""

    def __init__(self, channels: int, labels: int, hidden: int, batch_norm: bool) -> None:
        super().__init__()
        if batch_norm:
            self.bn = PlainBatchNorm(channels)
        self.mlp_shared = nn.Conv2d(labels, hidden, 3, padding=1)
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, seg: torch.Tensor) -> torch.Tensor:
        seen = self.mlp_shared(F.interpolate(seg, size=x.shape[-2:], mode="nearest")).relu()
        gamma, beta = self.mlp_gamma(seen), self.mlp_beta(seen)
        if x.ndim == 5:
            gamma, beta = (y[:, :, None].expand(x.shape) for y in (gamma, beta))
        normed = self.bn(x) if hasattr(self, "bn") else F.instance_norm(x)
        return normed * (1 + gamma) + beta


class Block(nn.Module):
    """A residual block; `how`: of its norms (labels, hidden, batch_norm)."""

    def __init__(self, fin: int, fout: int, rank: int, spectral: bool, **how: Any) -> None:
        super().__init__()
        middle, three = min(fin, fout), (3,) * rank
        self.norm_0 = Norm(fin, **how)
        self.conv_0 = Conv(fin, middle, three, spectral=spectral)
        self.norm_1 = Norm(middle, **how)
        self.conv_1 = Conv(middle, fout, three, spectral=spectral)
        if fin != fout:
            self.norm_s = Norm(fin, **how)
            self.conv_s = Conv(fin, fout, (1,) * rank, bias=False, spectral=spectral)

    def forward(self, x: torch.Tensor, seg: torch.Tensor) -> torch.Tensor:
        dx = self.conv_0(F.leaky_relu(self.norm_0(x, seg), 0.2))
        dx = self.conv_1(F.leaky_relu(self.norm_1(dx, seg), 0.2))
        return dx + (self.conv_s(self.norm_s(x, seg)) if hasattr(self, "conv_s") else x)


class Encoder(nn.Module):
    """Frames `[b, [t,] h, w, 3]` to the mean and log variance of latents."""

    def __init__(
        self,
        *,
        size: int,
        nf: int,
        z_dim: int,
        frames: int = 0,
        time_stages: Collection[int] = (),
        spectral: bool = True,
    ) -> None:
        super().__init__()
        self.size, self.stages = size, size.bit_length() - 3
        fin = 3
        for i in range(self.stages):
            fout = nf * min(2**i, 8)
            in_time = 2 if self.stages - 1 - i in time_stages else 1
            strides = (in_time, 2, 2) if frames else (2, 2)
            conv = Conv(fin, fout, (3,) * len(strides), strides, bias=False, spectral=spectral)
            self.add_module(f"conv_{i}", conv)
            fin = fout
        end = max(frames // 2 ** len(time_stages), 1) * 16 * fin
        self.fc_mu, self.fc_var = nn.Linear(end, z_dim), nn.Linear(end, z_dim)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        flat = frames.flatten(0, -4).movedim(-1, 1)
        flat = F.interpolate(flat, (self.size, self.size), mode="bilinear", align_corners=False)
        x = flat.movedim(1, -1).unflatten(0, frames.shape[:-3]).movedim(-1, 1)
        for i in range(self.stages):
            x = F.leaky_relu(F.instance_norm(getattr(self, f"conv_{i}")(x)), 0.2)
        end = x.movedim(1, -1).flatten(1)
        return self.fc_mu(end), self.fc_var(end)


class Generator(nn.Module):
    """Latents and one-hot maps `[b, h, w, n]` to frames.

    `blocks` gives each block's name, its channels, and the factors by which data is upsampled
    before it (time first, of clips).
    """

    def __init__(
        self,
        *,
        z_dim: int,
        base: Sequence[int],
        blocks: Sequence[tuple[str, int, Sequence[int]]],
        labels: int,
        hidden: int,
        start: str = "dense",
        batch_norm: bool = True,
        spectral: bool = True,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.base, rank = tuple(base), len(base)
        self.factors = {name: factors for name, _, factors in blocks}
        fin = blocks[0][1]
        if start == "dense":
            self.fc: nn.Module = nn.Linear(z_dim, torch.Size(base).numel() * fin)
        else:
            self.fc = nn.Conv2d(labels, fin, 3, padding=1)
        for name, fout, _ in blocks:
            how = {"labels": labels, "hidden": hidden, "batch_norm": batch_norm}
            self.add_module(name, Block(fin, fout, rank, spectral, **how))
            fin = fout
        self.conv_img = Conv(fin, 3, (3,) * rank)
        if encoder is not None:
            self.encoder = encoder

    def forward(
        self, z: torch.Tensor, seg: torch.Tensor, style: torch.Tensor | None = None
    ) -> torch.Tensor:
        seg = seg.movedim(-1, 1)
        if style is not None:
            mean, log_variance = self.encoder(style)
            z = mean + (log_variance / 2).exp() * z
        if isinstance(self.fc, nn.Linear):
            x = self.fc(z).reshape(z.shape[0], *self.base, -1).movedim(-1, 1)
        else:
            x = self.fc(F.interpolate(seg, size=self.base[-2:], mode="nearest"))
            if len(self.base) == 3:
                x = x[:, :, None].expand(-1, -1, self.base[0], -1, -1)
        for name, factors in self.factors.items():
            if max(factors) > 1:
                x = upsample(x, factors)
            x = getattr(self, name)(x, seg)
        return self.conv_img(F.leaky_relu(x, 0.2)).tanh().movedim(1, -1)


class PatchConv(nn.Module):
    """4×4, over time 3; `padding` zeros around in space, or "same"; the end frames in time."""

    def __init__(
        self, fin: int, fout: int, rank: int, stride: int, padding: int, bias: bool, spectral: bool
    ) -> None:
        super().__init__()
        self.widths, self.padding = (3, 4, 4)[-rank:], padding
        self.strides = (1, stride, stride)[-rank:]
        zeros = (0, padding, padding)[-rank:] if padding else own_padding(self.widths)
        kind: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv2d if rank == 2 else nn.Conv3d
        self.layer = kind(fin, fout, self.widths, self.strides, zeros, bias=bias)  # type: ignore[arg-type]
        if spectral:
            nn.utils.spectral_norm(self.layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.padding:
            return self.layer(pad_rest(x, self.widths, self.strides))
        if x.ndim == 5:
            x = F.pad(x, (0, 0, 0, 0, 1, 1), mode="replicate")
        return self.layer(x)


class Scale(nn.Module):
    """A PatchGAN."""

    def __init__(
        self,
        *,
        fin: int,
        nf: int,
        rank: int,
        layers: int,
        last_stride: int,
        padding: int,
        spectral: bool,
    ) -> None:
        super().__init__()
        self.layers = layers
        for i in range(layers):
            fout = min(nf * 2**i, max(nf, 512))
            stride = last_stride if i == layers - 1 else 2
            conv = PatchConv(fin, fout, rank, stride, padding, i == 0, spectral and i > 0)
            self.add_module(f"conv_{i}", conv)
            fin = fout
        self.conv_logit = PatchConv(fin, 1, rank, 1, padding, True, False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        features: list[torch.Tensor] = []
        for i in range(self.layers):
            x = getattr(self, f"conv_{i}")(x)
            x = F.leaky_relu(F.instance_norm(x) if i else x, 0.2)
            features.append(x.movedim(1, -1))
        return self.conv_logit(x)[:, 0], features


class Discriminator(nn.Module):
    """Frames and one-hot maps `[b, h, w, n]` to each scale's logits and features."""

    def __init__(self, *, labels: int, scales: int, rank: int, **how: Any) -> None:
        super().__init__()
        for i in range(scales):
            self.add_module(f"scale_{i}", Scale(fin=labels + 3, rank=rank, **how))

    def forward(
        self, x: torch.Tensor, seg: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
        if x.ndim == 5:
            seg = seg[:, None].expand(-1, x.shape[1], -1, -1, -1)
        joined = torch.cat([seg, x], -1).movedim(-1, 1)
        pool = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
        logits, features = [], []
        for i, scale in enumerate(self.children()):
            if i:
                joined = pool(joined, 3, 2, 1, count_include_pad=False)
            of_scale, activations = scale(joined)
            logits.append(of_scale)
            features.append(activations)
        return logits, features


def one_hot(
    cond: torch.Tensor, num_labels: int, dont_care: bool = False, edges: bool = False
) -> torch.Tensor:
    """Ids `[b, h, w]`, or with instances `[b, h, w, 2]`, as a one-hot map `[b, h, w, n]`."""
    cond = cond.long()
    ids = cond if cond.ndim == 3 else cond[..., 0]
    ids = torch.where((ids < 0) | (ids > num_labels), num_labels, ids)
    channels = torch.zeros(*ids.shape, num_labels + 1, device=ids.device)
    channels.scatter_(-1, ids[..., None], 1.0)
    channels = channels if dont_care else channels[..., :num_labels]
    if edges:
        seen = ids if cond.ndim == 3 else cond[..., 1]
        edge = torch.zeros_like(seen, dtype=torch.bool)
        edge[:, 1:] |= seen[:, 1:] != seen[:, :-1]
        edge[:, :-1] |= seen[:, 1:] != seen[:, :-1]
        edge[:, :, 1:] |= seen[:, :, 1:] != seen[:, :, :-1]
        edge[:, :, :-1] |= seen[:, :, 1:] != seen[:, :, :-1]
        channels = torch.cat([channels, edge[..., None].float()], -1)
    return channels
