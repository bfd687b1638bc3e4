"""The generator over latents: batches, averages, inflated weights."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from tests.runs import NUM_FRAMES, SIZE, Z_DIM, Runs, trained
from vidgan_jax.synthesis.latents import draw_latents
from vidgan_jax.synthesis.run import run_generator


def draw(num: int) -> np.ndarray:
    return np.asarray(draw_latents(0, num, Z_DIM, None))


def examples_of(workdir: Path, latents: np.ndarray, **options: Any) -> np.ndarray:
    options = {"batch_size": 8, **options}
    return run_generator(*trained(workdir), jnp.asarray(latents), **options)


def test_batches_change_nothing(runs: Runs) -> None:
    latents = draw(num=5)
    whole = examples_of(runs.clips, latents)
    assert whole.dtype == np.uint8
    assert whole.shape == (5, NUM_FRAMES, SIZE, SIZE, 3)
    for batch_size in (1, 2):
        parts = examples_of(runs.clips, latents, batch_size=batch_size).astype(int)
        assert np.abs(parts - whole).max() <= 1


def test_the_average_and_the_last_generator_differ(runs: Runs) -> None:
    latents = draw(num=2)
    last = examples_of(runs.images, latents, averaged=False).astype(int)
    assert np.abs(last - examples_of(runs.images, latents)).max() > 1


def test_a_freshly_inflated_generator_makes_the_images_stand_still(runs: Runs) -> None:
    latents = draw(num=4)
    images = examples_of(runs.images, latents).astype(int)
    clips = examples_of(runs.inflated, latents).astype(int)
    assert clips.shape == (4, NUM_FRAMES, SIZE, SIZE, 3)
    assert np.abs(clips - images[:, None]).max() <= 1
    assert np.abs(images - images[:1]).max() > 1  # or a constant would do
