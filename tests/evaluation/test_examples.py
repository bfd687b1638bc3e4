"""Streams of examples: the same from any number on, prepared as the protocol says."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from tests.datasets import make_dataset
from tests.models_on_disk import save_model
from tests.runs import SIZE, fields
from vidgan_jax import devices
from vidgan_jax.data.clips import evaluation_loader, training_loader, video_loader
from vidgan_jax.data.frames import decode_frame, encode_frames
from vidgan_jax.data.records import ClipSource
from vidgan_jax.evaluation import examples, protocols
from vidgan_jax.evaluation.examples import Generated, LabelMaps, Preparation, Stream, draw_reals
from vidgan_jax.evaluation.measure import Part
from vidgan_jax.evaluation.protocols import Protocol
from vidgan_jax.experiment import Experiment
from vidgan_jax.synthesis.run import Synthesizer
from vidgan_jax.train.weights import Weights, load_weights
from vidgan_jax.types import ClipSpec

SPEC = ClipSpec(num_frames=3, stride=2, size=12, resize=16, label_maps=True)
PLAIN = Preparation(Protocol())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ClipSource:
    """Three videos of 1, 2 and 4 clips of ten 16×16 PNG frames, with label maps."""
    directory = make_dataset(
        tmp_path_factory.mktemp("clips"), clips_per_video=[1, 2, 4], label_maps=True
    )
    return ClipSource(directory, "train")


def whole(stream: Stream, first: int = 0, size: int = 3) -> np.ndarray:
    parts = list(stream.parts(first, size))
    assert [part.first for part in parts] == list(range(first, len(stream), size))
    return np.concatenate([part.frames for part in parts])


# Real ones.


@pytest.mark.parametrize("sampling", protocols.SAMPLINGS)
def test_real_examples_are_the_same_from_any_number_on(source: ClipSource, sampling: str) -> None:
    protocol = Protocol(sampling=sampling)
    draws = draw_reals(source, SPEC, protocol, num=8, seed=3, prepare=PLAIN)
    for stream in (draws.reference, draws.floor):
        all_of_them = whole(stream)
        assert len(all_of_them) == len(stream)
        np.testing.assert_array_equal(whole(stream, first=2, size=2), all_of_them[2:])
        assert not list(stream.parts(len(stream), 4))
    assert len(draws.floor) == len(draws.reference)


def test_as_training_draws_them(source: ClipSource) -> None:
    draws = draw_reals(source, SPEC, Protocol(), num=5, seed=3, prepare=PLAIN)
    with training_loader(source, SPEC, batch_size=10, seed=3) as loader:
        expected = np.asarray(next(loader).frames)
    np.testing.assert_array_equal(whole(draws.reference), expected[:5])
    np.testing.assert_array_equal(whole(draws.floor), expected[5:])


def test_every_clip(source: ClipSource) -> None:
    protocol = Protocol(sampling=protocols.EVERY_CLIP)
    draws = draw_reals(source, SPEC, protocol, num=2, seed=3, prepare=PLAIN)
    with evaluation_loader(source, SPEC, batch_size=7) as loader:
        np.testing.assert_array_equal(whole(draws.reference), np.asarray(next(loader).frames))
    some = dataclasses.replace(protocol, num_reference=4)
    assert len(draw_reals(source, SPEC, some, num=2, seed=3, prepare=PLAIN).reference) == 4


def videos_of(frames: np.ndarray) -> list[int]:
    """Which video's each clip is, as `make_clip` has drawn it."""
    return [int(clip[0, 0, 0, 2]) % 16 // 4 for clip in frames]


def test_one_clip_of_each_video(source: ClipSource) -> None:
    protocol = Protocol(sampling=protocols.ONE_PER_VIDEO, num_reference=2048)
    found = []
    for seed in range(20):
        draws = draw_reals(source, SPEC, protocol, num=2, seed=seed, prepare=PLAIN)
        frames = whole(draws.reference)
        assert sorted(videos_of(frames)) == [0, 1, 2]
        # Centre crops: of 16 pixels the 12 in the middle, and never mirrored.
        assert {tuple(clip[0, 0, :, 1]) for clip in frames} == {tuple(frames[0][0, 0, :, 1])}
        assert frames[0][0, 0, 0, 1] == 2 * 255 // 15
        found.append(frames)
    assert len({tuple(videos_of(frames)) for frames in found}) == 6  # all orders
    clips = {int(clip[0, 0, 0, 2]) % 16 for frames in found for clip in frames}
    assert clips == {0, 4, 5, 8, 9, 10, 11}  # every clip has its chance
    starts = {int(clip[0, 0, 0, 2]) // 16 for frames in found for clip in frames}
    assert starts == set(range(6))  # of ten frames, five in a clip


def test_few_videos_leave_others_for_the_floor(source: ClipSource) -> None:
    protocol = Protocol(sampling=protocols.ONE_PER_VIDEO, num_reference=1)
    draws = draw_reals(source, SPEC, protocol, num=2, seed=0, prepare=PLAIN)
    assert draws.floor_is == "other videos"
    assert videos_of(whole(draws.reference)) != videos_of(whole(draws.floor))
    every = dataclasses.replace(protocol, num_reference=0)
    draws = draw_reals(source, SPEC, every, num=2, seed=0, prepare=PLAIN)
    assert draws.floor_is.startswith("the same videos, clips and starts drawn again")
    assert not np.array_equal(whole(draws.reference), whole(draws.floor))


def test_the_choice_of_one_per_video_stays_as_it_is(source: ClipSource) -> None:
    """It is drawn from raw bits, whose stream no version of NumPy may change."""
    with video_loader(source, SPEC, batch_size=3, seed=7) as loader:
        first = np.asarray(next(loader).frames)[:, 0, 0, 0, 2]
    assert first.tolist() == [64, 8, 21]  # 16 times the frame, 4 times the video, and the clip


def test_one_clip_is_too_few(tmp_path: Path) -> None:
    one = ClipSource(make_dataset(tmp_path, num_videos=1, clips_per_video=1), "train")
    spec = dataclasses.replace(SPEC, label_maps=False)
    with pytest.raises(ValueError, match="split 'train' has only 1 clip of the 5 frames needed"):
        draw_reals(one, spec, Protocol(), num=2, seed=0, prepare=PLAIN)


# Label maps and what is generated from them.


def test_label_maps_by_number(source: ClipSource) -> None:
    maps = LabelMaps(source, SPEC)
    with evaluation_loader(source, SPEC, batch_size=7) as loader:
        expected = np.asarray(next(loader).label_map)
    assert len(maps) == 7
    np.testing.assert_array_equal(maps[[6, 0, 7, 8]], expected[[6, 0, 0, 1]])
    stream = examples.labelled(source, SPEC, 5, PLAIN)
    label_maps = [np.asarray(part.label_maps) for part in stream.parts(0, 2)]
    spaced = [0, 2, 3, 4, 6]
    np.testing.assert_array_equal(np.concatenate(label_maps), expected[spaced])
    fewer = LabelMaps(source, SPEC, 5)
    np.testing.assert_array_equal(fewer[range(6)], expected[[*spaced, 0]])


def test_numbers_of_variations() -> None:
    numbers = examples.variations(3, 2, 9)
    assert numbers.latents.tolist() == [0, 1, 0, 1, 0, 1]
    assert numbers.conditions.tolist() == [0, 0, 4, 4, 8, 8]


SPADE = (
    *fields(model_size=SIZE, model_features=4, model_max_features=8, model_z_dim=4),
    *fields(model_num_labels=4, model_label_features=4, model_disc_features=4, data_resize=SIZE),
    *fields(model_time_stages="(0,)", model_num_frames=4, data_stride=2),
)


@dataclasses.dataclass(frozen=True)
class Spade:
    """An untrained model, and nine examples of it."""

    exp: Experiment
    weights: Weights
    generated: Generated


@pytest.fixture(scope="module")
def spade(tmp_path_factory: pytest.TempPathFactory, source: ClipSource) -> Spade:
    workdir = tmp_path_factory.mktemp("spade")
    exp = save_model(workdir, "spade3d.py:smoke", SPADE)
    weights = load_weights(workdir)
    maps = LabelMaps(source, exp.clip_spec)
    synthesizer = Synthesizer(exp, weights, batch_size=4)
    numbers = examples.in_turn(9, len(maps))
    return Spade(exp, weights, Generated(synthesizer, 0, numbers, maps, PLAIN))


def test_generated_examples_are_the_same_from_any_number_on(spade: Spade) -> None:
    frames = whole(spade.generated, size=4)
    assert frames.shape == (9, 4, SIZE, SIZE, 3)
    np.testing.assert_array_equal(whole(spade.generated, first=5, size=3), frames[5:])
    part = spade.generated.pick(np.array([8, 1]))
    np.testing.assert_array_equal(part.frames, frames[[8, 1]])
    assert part.label_maps is not None
    np.testing.assert_array_equal(part.label_maps[0], part.label_maps[1])  # 8 is 1 of seven


def test_several_devices_generate_the_same(spade: Spade, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((3, 4)).astype(np.float32)
    cond = rng.integers(0, 4, (3, SIZE, SIZE)).astype(np.uint8)
    one = Synthesizer(spade.exp, spade.weights, batch_size=3)
    assert one.batch_size == 3
    monkeypatch.setattr(devices, "usable", lambda: jax.local_devices()[:2])
    two = Synthesizer(spade.exp, spade.weights, batch_size=3)
    assert two.batch_size == 4
    assert np.abs(two(z, cond).astype(int) - one(z, cond)).max() <= 1
    with pytest.raises(ValueError, match="5 latents must be 1 to 4, the batch size"):
        two(np.resize(z, (5, 4)), np.resize(cond, (5, SIZE, SIZE)))


# What happens to all of them.

CLIPS = np.random.default_rng(1).integers(0, 256, (2, 6, 8, 8, 3)).astype(np.uint8)
MAPS = np.random.default_rng(2).integers(0, 4, (2, 8, 8)).astype(np.uint8)


def prepared(*, generated: bool = True, **how: Any) -> Part:
    return Preparation(Protocol(**how))(Part(3, CLIPS, MAPS), generated=generated)


def test_frames_that_count() -> None:
    np.testing.assert_array_equal(prepared().frames, CLIPS)
    np.testing.assert_array_equal(prepared(num_frames=5, subsample=2).frames, CLIPS[:, :5:2])
    assert prepared(num_frames=5).first == 3


def test_generated_frames_go_through_the_codec_and_real_ones_do_not() -> None:
    np.testing.assert_array_equal(prepared(codec="jpeg:90", generated=False).frames, CLIPS)
    frame = CLIPS[1, 2]
    stored = decode_frame(encode_frames(frame[None], quality=90)[0])
    np.testing.assert_array_equal(prepared(codec="jpeg:90").frames[1, 2], stored)
    assert np.abs(stored.astype(int) - frame).max() > 0


@pytest.mark.parametrize("name", protocols.FILTERS)
def test_resizing_is_pillows(name: str) -> None:
    part = prepared(resize=5, resize_filter=name)
    how = {"area": Image.Resampling.BOX, "bicubic": Image.Resampling.BICUBIC}.get(name)
    if how is not None:
        expected = np.asarray(Image.fromarray(CLIPS[1, 4]).resize((5, 5), how))
        np.testing.assert_array_equal(part.frames[1, 4], expected)
    others = {filter_: prepared(resize=5, resize_filter=filter_) for filter_ in protocols.FILTERS}
    for other, found in others.items():
        assert (other == name) == np.array_equal(found.frames, part.frames)
    assert part.label_maps is not None
    assert part.label_maps.shape == (2, 5, 5)
    assert set(np.unique(part.label_maps)) <= set(range(4))
    np.testing.assert_array_equal(prepared(resize=8).frames, CLIPS)


def test_images_keep_their_rank() -> None:
    part = Preparation(Protocol(num_frames=2, subsample=2, resize=4))(
        Part(0, CLIPS[:, 0]), generated=True
    )
    assert part.frames.shape == (2, 4, 4, 3)
    assert part.clips.shape == (2, 1, 4, 4, 3)
