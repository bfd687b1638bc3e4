"""Reports made by hand, as the engine writes them: no generator, no data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidgan_jax.evaluation import protocols
from vidgan_jax.evaluation.engine import Report


def make_manifest(step: int, **changes: Any) -> dict[str, Any]:
    """What a report says of itself; `changes` are of its entries."""
    data = {
        "checksum": "0123456789abcdef0123456789abcdef",
        "split": "validation",
        "num_clips": 6,
        "num_videos": 3,
        "height": 16,
        "width": 16,
        "clip_length": 4,
        "clip_stride": 2,
        "resized_to": 20,
        "resize_filter": "bicubic",
        "cropped_to": 16,
        "enlarged": True,
    }
    return {
        "version": 1,
        "code": "0.1",
        "libraries": {"jax": "0.10"},
        "device": "cpu",
        "checkpoint": {"step": step, "ema": True, "generator_sha256": f"{step:064x}"},
        "protocol": protocols.choose("thesis", num=64).as_json(),
        "seed": 0,
        "batch_size": 32,
        "num": 64,
        "num_reference": 60,
        "data": data,
        "floor": "another draw",
        "maps": {**data, "num": 6, "used": 6, "num_labels": 4, "dont_care": [255]},
        "measures": {"agreement": {"layout": 1}},
        "left_out": {"inception": "no detector"},
        **changes,
    }


def make_report(
    folder: Path,
    step: int,
    headline: Mapping[str, float],
    scores: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Report:
    """A report; `changes` are of the manifest's entries."""
    return Report(step, make_manifest(step, **changes), scores or {}, headline, folder)
