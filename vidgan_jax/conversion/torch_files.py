"""PyTorch's files of weights. Nothing that they hold is run: anything but plain data is refused."""

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_PREFIX = "module."  # of all names, where the network was saved within `nn.DataParallel`


def read(path: str | Path) -> Any:
    """What a file of `torch.save` holds.

    Args:
      path: the file.

    Returns:
      Tensors, numbers and strings, in mappings and sequences.

    Raises:
      ValueError: torch is not installed; the file is damaged, not PyTorch's, or holds Python
        objects other than those.
      OSError: it can't be opened.
    """
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            'PyTorch files are read by torch, which is not installed: pip install ".[convert]"'
        ) from error
    with open(path, "rb"):  # what is wrong with the path, in the system's words
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it may not understand; if so, it raises, too
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise ValueError(
                f"{path} holds Python objects ({found[1]}), which are run as they are read; it is "
                "refused: save the network's state_dict() instead"
            ) from error
        raise _unreadable(path, error) from error
    except Exception as error:  # damaged bytes lead torch into all kinds of errors
        raise _unreadable(path, error) from error


def _unreadable(path: str | Path, error: Exception) -> ValueError:
    found = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    said = found[1] if found else (str(error).splitlines() or [""])[0]
    reason = f"{type(error).__name__}: {said.split('. ')[0]}".removesuffix(": ")
    return ValueError(
        f"{path} can't be read as a file of torch.save ({reason}): it is damaged, cut short or of "
        "another kind"
    )


def arrays(value: Any, origin: str) -> dict[str, np.ndarray]:
    """A network's state dict as numpy arrays, real ones in float32.

    Args:
      value: as `read` gives it, or an entry of that.
      origin: what to call it in errors.

    Returns:
      Arrays by name, without the `module.` of networks that several devices trained.

    Raises:
      ValueError: it is not a mapping of names to tensors.
    """
    import torch

    if not isinstance(value, Mapping) or not value:
        raise ValueError(
            f"{origin} holds {_kind(value)}; a state dict, names and tensors, is wanted"
        )
    found = {}
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ValueError(
                f"{origin}: {name!r} is {_kind(tensor)}; a state dict has tensors only"
            )
        plain = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
        found[name] = (plain.float() if plain.is_floating_point() else plain).numpy()
    if all(name.startswith(_PREFIX) for name in found):
        return {name.removeprefix(_PREFIX): array for name, array in found.items()}
    return found


def _kind(value: Any) -> str:
    return "an empty mapping" if isinstance(value, Mapping) and not value else type(value).__name__


def origin_of(path: str | Path) -> dict[str, str]:
    """A file's name and SHA-256, for the record."""
    with open(path, "rb") as file:
        return {"file": Path(path).name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
