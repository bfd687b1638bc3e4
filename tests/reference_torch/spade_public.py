"""NVlabs/SPADE's networks in PyTorch, under the names of its state dicts.

Source: Park, Liu, Wang, Zhu 2019, arXiv:1903.07291, and the layouts of its public code. One-hot
label maps `[b, n, h, w]` and frames `[b, 3, h, w]` are channels first, as there.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm

HIDDEN = 6  # 128 in the public code


def actvn(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2)


class SpadeNorm(nn.Module):
    """Normalised `x`, times 1 + γ, plus β; both of the label map."""

    def __init__(self, channels: int, label_channels: int, instance: bool) -> None:
        super().__init__()
        norm = nn.InstanceNorm2d if instance else nn.BatchNorm2d
        self.param_free_norm = norm(channels, affine=False)
        self.mlp_shared = nn.Sequential(nn.Conv2d(label_channels, HIDDEN, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(HIDDEN, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(HIDDEN, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen = self.mlp_shared(F.interpolate(labels, size=x.shape[2:], mode="nearest"))
        return self.param_free_norm(x) * (1 + self.mlp_gamma(seen)) + self.mlp_beta(seen)


class SpadeBlock(nn.Module):
    """Two convolutions behind SPADE norms, and a third where the width changes."""

    def __init__(self, fin: int, fout: int, label_channels: int, instance: bool, sn: bool) -> None:
        super().__init__()
        hidden = min(fin, fout)
        wrap = spectral_norm if sn else nn.Identity()
        self.conv_0 = wrap(nn.Conv2d(fin, hidden, 3, padding=1))
        self.conv_1 = wrap(nn.Conv2d(hidden, fout, 3, padding=1))
        self.norm_0 = SpadeNorm(fin, label_channels, instance)
        self.norm_1 = SpadeNorm(hidden, label_channels, instance)
        if fin != fout:
            self.conv_s = wrap(nn.Conv2d(fin, fout, 1, bias=False))
            self.norm_s = SpadeNorm(fin, label_channels, instance)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        shortcut = self.conv_s(self.norm_s(x, labels)) if hasattr(self, "conv_s") else x
        dx = self.conv_0(actvn(self.norm_0(x, labels)))
        return shortcut + self.conv_1(actvn(self.norm_1(dx, labels)))


class Generator(nn.Module):
    """Label maps, and latents where there is `z_dim`, to frames."""

    def __init__(
        self,
        nf: int,
        label_channels: int,
        size: int,
        *,
        z_dim: int = 0,
        upsampling: str = "normal",
        instance: bool = False,
        sn: bool = True,
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.base = size >> {"normal": 5, "more": 6, "most": 7}[upsampling]
        self.start = 16 * nf
        if z_dim:
            self.fc: nn.Module = nn.Linear(z_dim, self.start * self.base**2)
        else:
            self.fc = nn.Conv2d(label_channels, self.start, 3, padding=1)
        widths = {
            "head_0": (16, 16), "G_middle_0": (16, 16), "G_middle_1": (16, 16),
            "up_0": (16, 8), "up_1": (8, 4), "up_2": (4, 2), "up_3": (2, 1),
        }  # fmt: skip
        for name, (fin, fout) in widths.items():
            self.add_module(name, SpadeBlock(fin * nf, fout * nf, label_channels, instance, sn))
        if upsampling == "most":
            self.up_4 = SpadeBlock(nf, nf // 2, label_channels, instance, sn)
        self.conv_img = nn.Conv2d(nf // 2 if upsampling == "most" else nf, 3, 3, padding=1)

    def forward(self, labels: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
        if z is None:
            x = self.fc(F.interpolate(labels, size=(self.base, self.base)))
        else:
            x = self.fc(z).view(-1, self.start, self.base, self.base)
        for name, block in self.named_children():
            if not isinstance(block, SpadeBlock):
                continue
            grows = name == "G_middle_0" or name.startswith("up_")
            if grows or (name == "G_middle_1" and self.upsampling != "normal"):
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(x, labels)
        return torch.tanh(self.conv_img(actvn(x)))


class PatchDiscriminator(nn.Module):
    """One scale: features of every layer, the logits last."""

    def __init__(self, fin: int, nf: int, layers: int, last_stride: int) -> None:
        super().__init__()
        first = nn.Conv2d(fin, nf, 4, stride=2, padding=2)
        self.model0 = nn.Sequential(first, nn.LeakyReLU(0.2))
        for i in range(1, layers):
            stride = last_stride if i == layers - 1 else 2
            conv = nn.Conv2d(nf, min(2 * nf, 512), 4, stride=stride, padding=2, bias=False)
            nf = min(2 * nf, 512)
            normalised = nn.Sequential(spectral_norm(conv), nn.InstanceNorm2d(nf))
            self.add_module(f"model{i}", nn.Sequential(normalised, nn.LeakyReLU(0.2)))
        logits = nn.Conv2d(nf, 1, 4, stride=1, padding=2)
        self.add_module(f"model{layers}", nn.Sequential(logits))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        features = []
        for layer in self.children():
            x = layer(x)
            features.append(x)
        return features


class Discriminator(nn.Module):
    """Label maps and frames to each scale's features and logits."""

    def __init__(
        self, label_channels: int, nf: int, layers: int, last_stride: int, scales: int = 2
    ) -> None:
        super().__init__()
        for i in range(scales):
            patches = PatchDiscriminator(label_channels + 3, nf, layers, last_stride)
            self.add_module(f"discriminator_{i}", patches)

    def forward(self, labels: torch.Tensor, frames: torch.Tensor) -> list[list[torch.Tensor]]:
        x, results = torch.cat([labels, frames], dim=1), []
        for patches in self.children():
            results.append(patches(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return results


class Encoder(nn.Module):
    """Frames to mean and log variance; it looks at 4·2ⁿ pixels, n being its layers."""

    def __init__(self, nf: int, z_dim: int, layers: int = 6) -> None:
        super().__init__()
        self.size, fin = 4 << layers, 3
        for i in range(layers):
            fout = nf * min(1 << i, 8)
            conv = spectral_norm(nn.Conv2d(fin, fout, 3, stride=2, padding=1, bias=False))
            self.add_module(f"layer{i + 1}", nn.Sequential(conv, nn.InstanceNorm2d(fout)))
            fin = fout
        self.fc_mu = nn.Linear(fin * 16, z_dim)
        self.fc_var = nn.Linear(fin * 16, z_dim)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = frames
        if x.shape[2:] != (self.size, self.size):
            size = (self.size, self.size)
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        for name, layer in self.named_children():
            if name.startswith("layer"):
                x = actvn(layer(x))
        x = x.flatten(1)
        return self.fc_mu(x), self.fc_var(x)
