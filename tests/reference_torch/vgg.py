"""VGG19 in PyTorch, layer by layer under torchvision's names, whose state dicts it loads.

Source: Simonyan, Zisserman 2014, arXiv:1409.1556, table 1, column E.
"""

import torch
from torch import nn

# Channels and number of convolutions of each block.
_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
_SEEN = (1, 6, 11, 20, 29)


class Vgg19(nn.Module):
    """`features` and, so that its keys are in the state dict, a (small) `classifier`.

    Frames `[b, h, w, 3]` to relu1_1, relu2_1, relu3_1, relu4_1, relu5_1, channels last.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        fin = 3
        for fout, convolutions in _BLOCKS:
            for _ in range(convolutions):
                layers += [nn.Conv2d(fin, fout, 3, padding=1), nn.ReLU()]
                fin = fout
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 4))

    def forward(self, frames: torch.Tensor) -> list[torch.Tensor]:
        x, seen = frames.movedim(-1, 1), []
        for i in range(_SEEN[-1] + 1):
            x = self.features[i](x)
            if i in _SEEN:
                seen.append(x.movedim(1, -1))
        return seen
