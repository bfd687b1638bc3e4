"""LMescheder/GAN_stability's four networks in PyTorch, under the names of its state dicts.

Source: Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406, and the layouts of its public code.
Latents and frames are channels last at the border and channels first within.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

# Layout → doublings of resolution, multiples of nf at the small end, widths of the generator's
# blocks at each resolution from there up, of the discriminator's from full resolution down.
LAYOUTS: dict[str, tuple[int, int, list[list[int]], list[list[int]]]] = {
    "resnet2": (
        5,
        16,
        [[16, 16], [16, 16], [8, 8], [4, 4], [2, 2], [1, 1]],
        [[1, 2], [2, 4], [4, 8], [8, 16], [16, 16], [16, 16]],
    ),
    "resnet3": (
        6,
        32,
        [[16], [16], [8], [4], [2], [1], []],
        [[], [2], [4], [8], [16], [16], [32]],
    ),
    "resnet4": (
        6,
        16,
        [[16], [16], [8], [4], [2], [1], [1]],
        [[1], [1], [2], [4], [8], [16], [16]],
    ),
}


def actvn(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2)


class ResnetBlock(nn.Module):
    """`x_s + 0.1 · conv_1(actvn(conv_0(actvn(x))))`."""

    def __init__(self, fin: int, fout: int) -> None:
        super().__init__()
        self.conv_0 = nn.Conv2d(fin, min(fin, fout), 3, padding=1)
        self.conv_1 = nn.Conv2d(min(fin, fout), fout, 3, padding=1)
        if fin != fout:
            self.conv_s = nn.Conv2d(fin, fout, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = self.conv_s(x) if hasattr(self, "conv_s") else x
        return shortcut + 0.1 * self.conv_1(actvn(self.conv_0(actvn(x))))


class Network(nn.Module):
    """What both networks share: blocks, and between resolutions a `step` without weights."""

    def _add_blocks(self, layout: str, fin: int, widths: Sequence[Sequence[int]]) -> int:
        """Adds the blocks; returns their last width."""
        self.layout, self.widths = layout, widths
        if layout == "resnet":
            layers: list[nn.Module] = []
            for (fout,) in widths:
                layers += [ResnetBlock(fin, fout), self._step()]
                fin = fout
            self.resnet = nn.Sequential(*layers[:-1])
            return fin
        for i, each in enumerate(filter(None, widths)):
            for j, fout in enumerate(each):
                self.add_module(f"resnet_{i}_{j}", ResnetBlock(fin, fout))
                fin = fout
        return fin

    def _step(self) -> nn.Module:
        raise NotImplementedError

    def _run_blocks(self, x: torch.Tensor) -> torch.Tensor:
        if self.layout == "resnet":
            return self.resnet(x)
        i = 0
        for resolution, each in enumerate(self.widths):
            if resolution:
                x = self._step()(x)
            for j in range(len(each)):
                x = self.get_submodule(f"resnet_{i}_{j}")(x)
            i += bool(each)
        return x


class Generator(Network):
    """Latents `[b, z]` and classes `[b]` to images `[b, h, w, 3]`."""

    def __init__(
        self, layout: str, *, z_dim: int, nlabels: int, size: int, embed: int, nf: int, nf_max: int
    ) -> None:
        super().__init__()
        self.normalised = layout in ("resnet", "resnet2")
        if layout == "resnet":
            stages = size.bit_length() - 3
            start = min(nf_max, nf << stages)
            widths = [[min(nf_max, nf << (stages - 1 - i))] for i in range(stages)] + [[nf]]
        else:
            stages, multiple, multiples, _ = LAYOUTS[layout]
            start, widths = multiple * nf, [[m * nf for m in each] for each in multiples]
        self.shape = (start, size >> stages, size >> stages)
        self.embedding = nn.Embedding(nlabels, embed)
        self.fc = nn.Linear(z_dim + embed, torch.Size(self.shape).numel())
        last = self._add_blocks(layout, start, widths)
        k = 3 if self.normalised else 7
        self.conv_img = nn.Conv2d(last, 3, k, padding=k // 2)

    def _step(self) -> nn.Module:
        return nn.Upsample(scale_factor=2)

    def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        embedded = self.embedding(y)
        if self.normalised:
            embedded = embedded / torch.linalg.vector_norm(embedded, dim=1, keepdim=True)
        x = self.fc(torch.cat([z, embedded], dim=1)).view(-1, *self.shape)
        return torch.tanh(self.conv_img(actvn(self._run_blocks(x)))).movedim(1, -1)


class Discriminator(Network):
    """Images `[b, h, w, 3]` and classes `[b]` to logits `[b]`."""

    def __init__(self, layout: str, *, nlabels: int, size: int, nf: int, nf_max: int) -> None:
        super().__init__()
        if layout == "resnet":
            stages = size.bit_length() - 3
            widths = [[min(nf_max, nf << i)] for i in range(stages + 1)]
        else:
            stages, _, _, multiples = LAYOUTS[layout]
            widths = [[m * nf for m in each] for each in multiples]
        k = 3 if layout in ("resnet", "resnet2") else 7
        self.conv_img = nn.Conv2d(3, nf, k, padding=k // 2)
        last = self._add_blocks(layout, nf, widths)
        self.fc = nn.Linear(last * (size >> stages) ** 2, nlabels)

    def _step(self) -> nn.Module:
        return nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x = self._run_blocks(self.conv_img(x.movedim(-1, 1)))
        return self.fc(actvn(x.flatten(1)))[torch.arange(len(y)), y]
