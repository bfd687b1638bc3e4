"""The training step on random frames, timed: PyTorch's side of `bench step --against torch`."""

import time

import torch

from tests.reference_torch.training import TorchStep
from vidgan_jax.config import Config


class MeasuredStep:
    """A config's training step in PyTorch.

    Args:
      config: checked.
      device: "cpu" or "cuda".
      compiled: see `TorchStep`.
      bf16: likewise.
      num_threads: on CPUs.

    Raises:
      ValueError: networks or losses that are not here, or no such device.
    """

    def __init__(
        self, config: Config, *, device: str, compiled: bool, bf16: bool, num_threads: int
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "JAX runs on a GPU here and this PyTorch does not; install its build for CUDA, or "
                "compare on the CPU with JAX_PLATFORMS=cpu"
            )
        torch.set_num_threads(num_threads)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # As JAX's default is on GPUs.
        torch.manual_seed(0)
        self._on_gpu = device == "cuda"
        self._step = TorchStep(config, device=device, compiled=compiled, bf16=bf16)
        model, n = config.model, config.train.batch_size
        time_axis = (model.num_frames,) if model.num_frames else ()
        self._shape_of_z = (n, model.z_dim)
        shape = (n, *time_axis, model.size, model.size, 3)
        self._frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
        self._maps = None
        if model.num_labels:
            maps = (n, model.size, model.size)
            self._maps = torch.randint(0, model.num_labels, maps, dtype=torch.uint8, device=device)

    def run(self, number: int) -> float:
        """One step of that number, waited for; returns its seconds."""
        start = time.perf_counter()
        z = torch.randn(self._shape_of_z, device=self._frames.device)
        self._step(self._frames, self._maps, z, number)
        if self._on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def device_peak_bytes(self) -> int | None:
        """Most that was allocated on the GPU; None on CPUs."""
        return torch.cuda.max_memory_allocated() if self._on_gpu else None
