"""The large segmenter in PyTorch, under the names of CSAIL's checkpoints.

Sources: He et al. 2015, arXiv:1512.03385; Yu, Koltun, Funkhouser 2017, arXiv:1705.09914; Zhao et
al. 2016, arXiv:1612.01105; and the layouts of the public code.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class BatchNorm(nn.BatchNorm2d):
    """With the buffers that the public code's synchronised one leaves in checkpoints."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("_tmp_running_mean", torch.full((channels,), 7.0))
        self.register_buffer("_tmp_running_var", torch.full((channels,), 7.0))
        self.register_buffer("_running_iter", torch.ones(1))


def conv(fin: int, fout: int, width: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = width // 2 * dilation
    return nn.Conv2d(fin, fout, width, stride, padding, dilation, bias=False)


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1, and a projection where it is wanted."""

    def __init__(self, fin: int, inner: int, stride: int, dilation: int, projects: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(fin, inner, 1), BatchNorm(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride, dilation), BatchNorm(inner)
        self.conv3, self.bn3 = conv(inner, 4 * inner, 1), BatchNorm(4 * inner)
        if projects:
            self.downsample = nn.Sequential(conv(fin, 4 * inner, 1, stride), BatchNorm(4 * inner))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class Encoder(nn.Module):
    """Images `[b, 3, h, w]` as ImageNet's are normalised to what the four layers see."""

    def __init__(self, stem: Sequence[int], blocks: Sequence[int], features: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, stem[0], 3, 2), BatchNorm(stem[0])
        self.conv2, self.bn2 = conv(stem[0], stem[1], 3), BatchNorm(stem[1])
        self.conv3, self.bn3 = conv(stem[1], stem[2], 3), BatchNorm(stem[2])
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._layer(stem[2], features, blocks[0], 1, 1, 1)
        self.layer2 = self._layer(4 * features, 2 * features, blocks[1], 2, 1, 1)
        self.layer3 = self._layer(8 * features, 4 * features, blocks[2], 1, 1, 2)
        self.layer4 = self._layer(16 * features, 8 * features, blocks[3], 1, 2, 4)

    def _layer(
        self, fin: int, inner: int, number: int, stride: int, first: int, others: int
    ) -> nn.Sequential:
        layers = [Bottleneck(fin, inner, stride, first, projects=True)]
        for _ in range(number - 1):
            layers.append(Bottleneck(4 * inner, inner, 1, others, projects=False))
        return nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        for i in (1, 2, 3):
            x = F.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
        x = self.maxpool(x)
        seen = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            seen.append(x)
        return seen


class Decoder(nn.Module):
    """What layers see to logits and those of deep supervision, `[b, n, h, w]`."""

    def __init__(self, num_classes: int, features: int, head: int) -> None:
        super().__init__()
        last = 32 * features
        self.ppm = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(bins), nn.Conv2d(last, head, 1, bias=False), BatchNorm(head),
                nn.ReLU(),
            )
            for bins in (1, 2, 3, 6)
        )  # fmt: skip
        self.cbr_deepsup = nn.Sequential(conv(last // 2, head, 3), BatchNorm(head), nn.ReLU())
        self.conv_last = nn.Sequential(
            conv(last + 4 * head, head, 3),
            BatchNorm(head),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(head, num_classes, 1),
        )
        self.conv_last_deepsup = nn.Conv2d(head, num_classes, 1)

    def forward(self, seen: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [seen[-1]]
        for branch in self.ppm:
            parts.append(
                F.interpolate(
                    branch(seen[-1]), seen[-1].shape[2:], mode="bilinear", align_corners=False
                )
            )
        deep = self.conv_last_deepsup(self.cbr_deepsup(seen[-2]))
        return self.conv_last(torch.cat(parts, 1)), deep


class Segmenter:
    """Both networks, in evaluation mode."""

    def __init__(
        self,
        num_classes: int = 150,
        stem: Sequence[int] = (64, 64, 128),
        blocks: Sequence[int] = (3, 4, 6, 3),
        features: int = 64,
        head: int = 512,
    ) -> None:
        self.encoder = Encoder(stem, blocks, features).eval()
        self.decoder = Decoder(num_classes, features, head).eval()
        for module in (*self.encoder.modules(), *self.decoder.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):  # as training leaves them: none is 0 or 1
                module.running_mean = 0.1 * torch.randn(module.num_features)
                module.running_var = 1 + 0.3 * torch.rand(module.num_features)
                module.weight.data = 0.6 + 0.4 * torch.rand(module.num_features)
                module.bias.data = 0.1 * torch.randn(module.num_features)

    @torch.no_grad()
    def logits(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of RGB images `[b, h, w, 3]` in [0, 1]; channels last, deep supervision's second."""
        x = (torch.from_numpy(images).movedim(-1, 1) - MEAN) / DEVIATION
        found = self.decoder(self.encoder(x))
        return found[0].movedim(1, -1).numpy(), found[1].movedim(1, -1).numpy()

    @torch.no_grad()
    def probabilities(self, frame: np.ndarray, scales: Sequence[int]) -> np.ndarray:
        """Of one uint8 frame `[h, w, 3]`, as the public code evaluates."""
        height, width = frame.shape[:2]
        total = torch.zeros(height, width, self.decoder.conv_last_deepsup.out_channels)
        for short in scales:
            scale = min(short / float(min(height, width)), 1000 / float(max(height, width)))
            at = [(int(n * scale) + 7) // 8 * 8 for n in (width, height)]
            image = Image.fromarray(frame).resize((at[0], at[1]), Image.Resampling.BILINEAR)
            logits, _ = self.logits(np.asarray(image, np.float32)[None] / np.float32(255))
            x = F.interpolate(
                torch.from_numpy(logits).movedim(-1, 1),
                (height, width),
                mode="bilinear",
                align_corners=False,
            )
            total += F.softmax(x, dim=1)[0].movedim(0, -1) / len(scales)
        return total.numpy()
