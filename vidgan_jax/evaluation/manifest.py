"""What a score depends on, written beside it."""

import functools
import hashlib
import os
import sys
from collections.abc import Iterator
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from typing import Any

import jax
import numpy as np

import vidgan_jax
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.sampling import fitting_clips
from vidgan_jax.devices import local_mesh
from vidgan_jax.experiment import Experiment
from vidgan_jax.train.weights import Weights
from vidgan_jax.types import ClipSpec, PyTree
from vidgan_jax.version import code_version

# Of what is measured, and how it is written down: a change here makes other, incomparable scores.
VERSION = 1
_LIBRARIES = ("jax", "jaxlib", "flax", "numpy", "grain", "pillow", "simplejpeg")
_OPTIONAL = ("onnxruntime", "torch")
_SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_threefry_partitionable")
_HAS_AFFINITY = hasattr(os, "sched_getaffinity")  # Linux


def tree_digest(tree: PyTree) -> str:
    """SHA-256 over the names, types, shapes and bytes of a tree's arrays, in the order of names."""
    digest = hashlib.sha256()
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}
    for name in sorted(leaves):
        array = np.ascontiguousarray(leaves[name])
        digest.update(f"{name} {array.dtype} {list(array.shape)}\n".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def of_checkpoint(exp: Experiment, weights: Weights, *, averaged: bool) -> dict[str, Any]:
    """Which generator it is."""
    config = exp.config
    return {
        "step": weights.step,
        "ema": averaged,
        "generator_sha256": tree_digest(weights.ema if averaged else weights.gen),
        "config": config.name,
        "model": _plain(weights.meta["config"]["model"]),
        "trained_by": weights.meta["code"],
        "inflated": "inflated" in weights.meta,
        "converted": "converted" in weights.meta,
    }


def of_data(source: Clips, spec: ClipSpec) -> dict[str, Any]:
    """Which clips, and how they are cut."""
    info, split = source.info, source.info.splits[source.split]
    sides = [side for side in (info.height, info.width) if side is not None]
    smallest = min(sides) if len(sides) == 2 else None
    return {
        "checksum": info.checksum,
        "split": source.split,
        "num_clips": split.num_clips,
        "num_videos": split.num_videos,
        "height": info.height,
        "width": info.width,
        "fps": info.fps,
        "image_format": info.image_format,
        "recipe": info.spec.get("recipe"),
        "clips_that_fit": len(fitting_clips(source, spec)),
        "clip_length": spec.num_frames or None,
        "clip_stride": None if spec.is_image else spec.stride,
        "start_frames": spec.start_frames,
        "flip": spec.flip,
        "resized_to": spec.resize,
        "resize_filter": "bicubic, antialiased (Pillow)",
        "cropped_to": spec.size,
        # Unknown where clips differ.
        "enlarged": None if smallest is None else smallest < spec.resize,
        "label_maps": spec.label_maps,
        "num_labels": spec.num_labels,
        "dont_care": sorted({spec.dont_care, 255}) if spec.label_maps else None,
    }


def of_code() -> dict[str, Any]:
    """Versions, and the kind of machine: what decides about rounding."""
    return {
        "version": VERSION,
        "code": code_version(),
        "sources_sha256": _sources_digest(),
        "libraries": {
            name: metadata.version(name)
            for name in (*_LIBRARIES, *(name for name in _OPTIONAL if name in sys.modules))
        },
        "device": jax.local_devices()[0].device_kind,
        "num_devices": local_mesh().size,
        # They decide how sums are grouped, and programs compiled: the last digits.
        "num_cores": len(os.sched_getaffinity(0)) if _HAS_AFFINITY else os.cpu_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "jax_settings": {name: str(jax.config.values[name]) for name in _SETTINGS},
    }


@functools.cache
def _sources_digest() -> str:
    """SHA-256 over the package's modules: two states of a checkout may have one version."""
    package = resources.files(vidgan_jax)
    digest = hashlib.sha256()
    for name, text in sorted(_modules(package, "")):
        digest.update(f"{name} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def _modules(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _modules(entry, f"{name}/")
        elif name.endswith(".py"):
            yield name, entry.read_bytes()


def _plain(section: Any) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dict(section).items()}
