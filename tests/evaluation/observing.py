"""What a measure sees of whole streams, part by part, as the engine shows them."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from vidgan_jax.evaluation.measure import Measure, Observation, Part


def observe(measure: Measure, examples: np.ndarray, size: int = 32) -> Observation:
    """The rows of a stream of examples in parts of `size`; for measures without sums."""
    parts = [
        measure.observe(Part(first, examples[first : first + size]))
        for first in range(0, len(examples), size)
    ]
    assert not any(part.sums for part in parts)
    names = parts[0].rows
    return Observation(
        {name: np.concatenate([part.rows[name] for part in parts]) for name in names}
    )


def conclude(measure: Measure, *streams: np.ndarray) -> Mapping[str, Any]:
    """Scores of streams, in the order that the measure names them in; checked to be JSON."""
    named = zip(measure.streams, streams, strict=True)
    found = measure.conclude({stream: observe(measure, x) for stream, x in named})
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found
