"""The generator over latents: batches, averages, inflated weights, conditions."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models_on_disk import save_model
from tests.runs import NUM_FRAMES, SIZE, Z_DIM, Runs, fields, trained
from vidgan_jax.experiment import Experiment
from vidgan_jax.synthesis.latents import draw_latents
from vidgan_jax.synthesis.run import run_generator
from vidgan_jax.train.weights import Weights


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


SPADE = (
    *fields(model_size=SIZE, model_features=4, model_max_features=8, model_z_dim=Z_DIM),
    *fields(model_num_labels=3, model_label_features=4, model_disc_features=4, data_resize=SIZE),
    *fields(model_time_stages="(0,)", model_encoder_time_stages="(0,)"),
    *fields(model_num_frames=NUM_FRAMES),
)


@pytest.fixture(scope="module")
def spade(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Weights]:
    """Clips of label maps, with an encoder."""
    workdir = tmp_path_factory.mktemp("spade")
    save_model(workdir, "spade3d.py:smoke_vae", SPADE)
    return trained(workdir)


def test_conditions_and_styles_are_batched_with_their_latents(
    spade: tuple[Experiment, Weights],
) -> None:
    """In batches of two, the last one filled up: as when all are run at once."""
    rng = np.random.default_rng(0)
    cond = rng.integers(0, 3, (5, SIZE, SIZE)).astype(np.uint8)
    styles = rng.integers(0, 256, (5, NUM_FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
    latents = jnp.asarray(draw(num=5))

    def run(z: jax.Array, batch_size: int = 8, **given: Any) -> np.ndarray:
        return run_generator(*spade, z, batch_size=batch_size, **given).astype(int)

    kinds: list[dict[str, Any]] = [{"cond": cond}, {"cond": cond, "styles": styles}]
    for given in kinds:
        whole = run(latents, **given)
        assert whole.shape == (5, NUM_FRAMES, SIZE, SIZE, 3)
        parts = run(latents, batch_size=2, **given)
        assert np.abs(parts - whole).max() <= 1
        turned = {name: value[::-1] for name, value in given.items()}
        back = run(latents[::-1], **turned)
        assert np.abs(back[::-1] - whole).max() <= 1
        assert np.abs(whole - whole[:1]).max() > 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"cond \(=None\): this generator needs label maps, ids \[2, 8, 8\]"),
        ({"cond": (1, SIZE, SIZE)}, r"cond uint8 \[1, 8, 8\] must be whole numbers \[2, 8, 8\] or"),
        ({"cond": (2, SIZE, SIZE, 3)}, r"cond uint8 \[2, 8, 8, 3\] must be .* or \[2, 8, 8, 2\]"),
        (
            {"cond": (2, SIZE, SIZE), "styles": (2, SIZE, SIZE, 3)},
            r"styles uint8 \[2, 8, 8, 3\] must be uint8 \[2, 4, 8, 8, 3\]",
        ),
    ],
)
def test_conditions_of_other_shapes(
    spade: tuple[Experiment, Weights], given: dict[str, tuple[int, ...]], message: str
) -> None:
    arrays: dict[str, Any] = {name: np.zeros(shape, np.uint8) for name, shape in given.items()}
    with pytest.raises(ValueError, match=message):
        run_generator(*spade, jnp.asarray(draw(num=2)), batch_size=2, **arrays)


def test_conditions_of_another_generator(runs: Runs) -> None:
    latents = draw(num=2)
    with pytest.raises(ValueError, match="takes neither label maps nor classes; give None"):
        examples_of(runs.images, latents, cond=np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="has no encoder to take them; give None"):
        examples_of(runs.images, latents, styles=np.zeros((2, SIZE, SIZE, 3), np.uint8))
