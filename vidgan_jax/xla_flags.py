"""Flags of XLA that this package is faster with, set as it is imported."""

import importlib.metadata
import importlib.util
import os
from collections.abc import MutableMapping

_NAME = "--xla_cpu_experimental_ynn_fusion_type"
# An XLA that does not know a flag ends the process, so it is set for those that were tried.
_TRIED = ("0.10.2",)
_PLUGINS = ("jax_plugins", "libtpu")


def set_flags(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Has convolutions on CPUs computed by Eigen instead of YNNPACK.

    With jaxlib 0.10.2 that makes 2D convolutions and their gradients 1.4 to 2 times as fast on two
    cores (`python -m vidgan_jax.bench convs`). XLA reads its flags as the first device is asked
    for: it is too late after that. Machines with GPUs or TPUs are left alone, unless JAX_PLATFORMS
    is `cpu`, and so is an XLA_FLAGS that holds a choice already, or a file's name.

    Args:
      environment: whose XLA_FLAGS the flag is added to.

    Returns:
      Whether it was added.
    """
    flags = environment.get("XLA_FLAGS", "")
    only_cpu = environment.get("JAX_PLATFORMS") == "cpu"
    has_others = any(importlib.util.find_spec(plugin) for plugin in _PLUGINS)
    tried = importlib.metadata.version("jaxlib") in _TRIED
    is_file = flags.strip() != "" and not flags.lstrip().startswith("-")
    if _NAME in flags or is_file or not tried or (has_others and not only_cpu):
        return False
    environment["XLA_FLAGS"] = f"{flags} {_NAME}=-individual_convolution".strip()
    return True
