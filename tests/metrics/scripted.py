"""TorchScript detectors of a few lines, which are called as the public files are.

What they give is plain in the pixels, so that tests choose the features of their examples.
"""

import warnings
from pathlib import Path

import torch

CLASSES = 4


class Inception(torch.nn.Module):
    """Features: the first pixels' reds, `dims` of them. Classes: sure of the first red // 64."""

    def __init__(self, dims: int):
        super().__init__()
        self.dims = dims

    def forward(
        self,
        img: torch.Tensor,
        return_features: bool = False,
        use_fp16: bool = False,
        no_output_bias: bool = False,
    ) -> torch.Tensor:
        assert img.shape[1] == 3
        assert img.dtype == torch.uint8
        if return_features:
            return img[:, 0].flatten(1)[:, : self.dims].float()
        bias = 0.0 if no_output_bias else 1000.0
        sure = (img[:, 0, 0, 0] // 64).long().unsqueeze(1)
        logits = torch.zeros([img.shape[0], 4]).scatter_(1, sure, 50.0)
        logits[:, 0] += bias
        return logits.softmax(1)


class I3d(torch.nn.Module):
    """Logits: the first frame's first pixels' reds, `dims` of them; plus 1000 if not resized."""

    def __init__(self, dims: int):
        super().__init__()
        self.dims = dims

    def forward(
        self,
        x: torch.Tensor,
        rescale: bool = False,
        resize: bool = False,
        return_features: bool = False,
    ) -> torch.Tensor:
        _batch, channels, _frames, _height, _width = x.shape
        assert channels == 3
        assert x.dtype == torch.float32
        logits = x[:, 0, 0].flatten(1)[:, : self.dims]
        if rescale:
            logits = 2 * logits / 255 - 1
        if not resize:
            logits = logits + 1000
        return logits if return_features else logits.softmax(1)


class Convolutions(torch.nn.Module):
    """Features by a convolution and a product, whose sums rounding enters."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.kernel = torch.nn.Parameter(torch.randn(32, 3, 5, 5, generator=generator))
        self.matrix = torch.nn.Parameter(torch.randn(32, 8, generator=generator))

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        x = torch.conv2d(img.float() / 255, self.kernel, stride=[2, 2]).tanh()
        return x.mean([2, 3]) @ self.matrix


class Constant(torch.nn.Module):
    """Gives the same, of whatever shape, for any examples."""

    def __init__(self, value: torch.Tensor):
        super().__init__()
        self.value = torch.nn.Parameter(value, requires_grad=False)

    def forward(
        self, x: torch.Tensor, return_features: bool = False, no_output_bias: bool = False
    ) -> torch.Tensor:
        return self.value


def write(module: torch.nn.Module, path: Path) -> Path:
    """Compiles a module and writes it; gives its path."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        torch.jit.save(torch.jit.script(module.eval()), path)
    return path
