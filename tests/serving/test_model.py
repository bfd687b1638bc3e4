"""A model that the studio draws from: what it tells of itself, and what it makes."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.models_on_disk import save_model
from tests.runs import fields
from vidgan_jax.data.labels import COLOURS, DONT_CARE, class_id
from vidgan_jax.serving.model import StudioModel
from vidgan_jax.synthesis.latents import draw_latents
from vidgan_jax.synthesis.run import run_generator
from vidgan_jax.train.checkpoint import CheckpointError
from vidgan_jax.train.weights import experiment_of, load_weights

SIZE, FRAMES, Z_DIM = 16, 4, 3
TINY = (
    *fields(model_size=SIZE, model_features=2, model_max_features=4, model_z_dim=Z_DIM),
    *fields(model_label_features=4, model_disc_features=2, model_disc_scales=1),
    *fields(model_disc_layers=1, model_init_scale=2.0, data_resize=20),
)
CLIPS = (
    *fields(model_num_frames=FRAMES, model_time_stages="(0,)"),
    *fields(model_encoder_time_stages="(0,)"),
)
SKY, SEA, TREE, WALL = map(class_id, ("sky", "sea", "tree", "wall"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Models of embedded scenes that nobody has rendered: of clips with an encoder, of images."""
    folder = tmp_path_factory.mktemp("models")
    save_model(folder / "clips", "spade3d.py:smoke_vae", (*TINY, *CLIPS), fps=6.0)
    save_model(folder / "images", "spade2d.py:smoke", TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def clips(folder: Path) -> StudioModel:
    return StudioModel.load(folder / "clips")


@pytest.fixture
def halves() -> np.ndarray:
    """Sky over sea, with a place of no class."""
    label_map = np.full((SIZE, SIZE), SKY, np.uint8)
    label_map[SIZE // 2 :] = SEA
    label_map[-2:, -2:] = DONT_CARE
    return label_map


def test_what_it_tells(clips: StudioModel) -> None:
    told = dict(clips.description)
    labels = told.pop("labels")
    assert told.pop("default_label") == labels[0]["id"]
    assert told == {
        "name": "spade3d",
        "step": 0,
        "size": SIZE,
        "num_frames": FRAMES,
        "fps": 6.0,
        "z_dim": Z_DIM,
        "num_labels": 150,
        "has_style": True,
        "max_variations": 6,
    }
    for label in labels:
        assert label["id"] == class_id(label["name"])
        assert bytes.fromhex(label["colour"].removeprefix("#")) == COLOURS[label["id"]].tobytes()
    assert TREE in [label["id"] for label in labels]
    assert WALL not in [label["id"] for label in labels]


def test_a_clip_is_what_generate_makes_of_the_same_latent(
    folder: Path, clips: StudioModel, halves: np.ndarray
) -> None:
    made = clips.generate(halves, seed=5, variation=2)
    assert (made.dtype, made.shape) == (np.uint8, (FRAMES, SIZE, SIZE, 3))
    weights = load_weights(folder / "clips")
    latents = draw_latents(5, 3, Z_DIM, None)[2:]
    (expected,) = run_generator(
        experiment_of(weights), weights, latents, batch_size=1, cond=halves[None]
    )
    np.testing.assert_array_equal(made, expected)


def test_the_last_generator_on_demand(folder: Path, clips: StudioModel, halves: np.ndarray) -> None:
    last = StudioModel.load(folder / "clips", averaged=False)
    assert (last.generate(halves, seed=0) != clips.generate(halves, seed=0)).any()


def test_an_image_is_a_clip_of_one_frame(folder: Path, halves: np.ndarray) -> None:
    images = StudioModel.load(folder / "images")
    assert images.generate(halves, seed=0).shape == (1, SIZE, SIZE, 3)
    assert images.description["num_frames"] == 0
    with pytest.raises(ValueError, match=r"^style: this model has no encoder"):
        images.generate(halves, seed=0, style=np.zeros((4, 4, 3), np.uint8))


def test_each_input_counts_and_the_same_ones_give_the_same_bits(
    clips: StudioModel, halves: np.ndarray
) -> None:
    """In whatever thread, and whatever was made in between."""
    style = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    flipped = halves[::-1].copy()
    inputs: list[tuple[np.ndarray, dict[str, Any]]] = [
        (halves, {"seed": 0}),
        (halves, {"seed": 2**32 - 1}),
        (halves, {"seed": 0, "variation": 2**31 - 1}),
        (halves, {"seed": 0, "truncation": 0.1}),
        (halves, {"seed": 0, "style": style}),
        (halves, {"seed": 0, "style": 255 - style}),
        (flipped, {"seed": 0}),
    ]
    made: list[bytes] = []
    again: list[bytes] = []
    for results in (made, again):
        thread = threading.Thread(
            target=lambda into: into.extend(
                clips.generate(label_map, **how).tobytes() for label_map, how in inputs
            ),
            args=(results,),
        )
        thread.start()
        thread.join(timeout=60)
    assert len(set(made)) == len(inputs)
    assert made == again


def test_nothing_is_compiled_after_compile(clips: StudioModel, halves: np.ndarray) -> None:
    clips.compile()
    compiled: list[str] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    ways: list[dict[str, Any]] = [
        {},
        {"truncation": 1.3},
        {"style": np.zeros((SIZE, SIZE, 3), np.uint8)},
        {"variation": 3, "truncation": 2.5},
    ]
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for how in ways:
            clips.generate(halves, seed=11, **how)
        assert compiled == []
        jax.jit(lambda x: x * 7 + 3)(np.arange(5))  # what would be seen
        assert compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"seed": -1}, r"^seed \(=-1\) must be from 0 to 4294967295$"),
        ({"seed": 2**32}, r"^seed \(=4294967296\)"),
        ({"seed": 0, "variation": 2**31}, r"^variation \(=2147483648\)"),
        ({"seed": 0, "truncation": 0.0}, r"^truncation \(=0.0\) must be from 0.1 to 4.0$"),
        ({"seed": 0, "truncation": float("nan")}, r"^truncation \(=nan\)"),
        ({"seed": 0, "style": np.zeros((4, 4), np.uint8)}, r"^style uint8 \[4, 4\] must be"),
        ({"seed": 0, "style": np.zeros((4, 4, 3))}, r"^style float64 \[4, 4, 3\] must be"),
        ({"seed": 0, "style": np.zeros((0, 4, 3), np.uint8)}, r"^style uint8 \[0, 4, 3\]"),
    ],
)
def test_what_it_refuses(
    clips: StudioModel, halves: np.ndarray, how: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        clips.generate(halves, **how)


def test_maps_that_it_refuses(clips: StudioModel, halves: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^label_map int64 \[16, 16\] must be uint8"):
        clips.generate(halves.astype(np.int64), seed=0)
    with pytest.raises(ValueError, match=r"^label_map uint8 \[8, 16\] must be uint8 \[16, 16\]$"):
        clips.generate(halves[:8], seed=0)
    halves[0, 0] = WALL
    with pytest.raises(ValueError, match=r"unknown to this model: 0 \(wall\); paint with"):
        clips.generate(halves, seed=0)
    assert clips.unknown_labels(halves) == [WALL]


def test_checkpoints_that_it_refuses(tmp_path: Path) -> None:
    tiny = fields(model_size=8, model_features=4, model_max_features=4, model_z_dim=3)
    save_model(tmp_path / "resnet", "resnet2d.py:smoke", (*tiny, *fields(data_resize=8)))
    with pytest.raises(ValueError, match=r"takes no label maps \(config.model.name is 'resnet'\)"):
        StudioModel.load(tmp_path / "resnet")
    with pytest.raises(CheckpointError, match="does not exist"):
        StudioModel.load(tmp_path / "none")
