"""What is drawn, and how it is cut: the distribution, frames, crops and label maps of examples."""

import collections
import dataclasses
from pathlib import Path
from typing import Any

import grain
import numpy as np
import pytest
from PIL import Image

from tests.datasets import SHARD, label_of, make_clip, make_dataset
from vidgan_jax.data import records, sampling
from vidgan_jax.data.records import ClipSource, RecordError
from vidgan_jax.data.sampling import Cut, Draw, Sample, fitting_clips
from vidgan_jax.types import ClipSpec

CLIPS_PER_VIDEO = (1, 2, 4)
NUM_FRAMES = 10


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ClipSource:
    """Three videos of 1, 2 and 4 clips of ten 16×16 PNG frames, with label maps."""
    directory = make_dataset(
        tmp_path_factory.mktemp("sampling"),
        clips_per_video=CLIPS_PER_VIDEO,
        num_frames=NUM_FRAMES,
        label_maps=True,
    )
    return ClipSource(directory, "train")


def spec_of(**changes: Any) -> ClipSpec:
    """A spec for `source`: 3 frames with stride 2, 12×12 out of 16×16."""
    fields = {"num_frames": 3, "stride": 2, "size": 12, "resize": 16, "label_maps": True}
    return ClipSpec(**(fields | changes))


def draw(source: ClipSource, spec: ClipSpec, count: int) -> list[Sample]:
    """The first `count` samples, as the training loader draws them."""
    drawing = Draw(source, fitting_clips(source, spec), spec)
    samples = grain.MapDataset.range(count).seed(0).random_map(drawing)
    return [samples[i] for i in range(count)]


def assert_uniform(values: list[Any], expected: list[Any]) -> None:
    """χ² of the counts is at most its mean plus six standard deviations; no other value."""
    counts = collections.Counter(values)
    assert set(counts) <= set(expected)
    mean = len(values) / len(expected)
    chi_square = sum((counts[value] - mean) ** 2 / mean for value in expected)
    freedom = len(expected) - 1
    assert chi_square <= freedom + 6 * (2 * freedom) ** 0.5, counts


def test_uniform_over_videos_then_clips_then_starts(source: ClipSource) -> None:
    """A clip of a video with few clips is seen as much more often as its video has fewer."""
    samples = draw(source, spec_of(), 4000)
    assert_uniform([int(source.video[sample.clip]) for sample in samples], [0, 1, 2])
    for video, count in enumerate(CLIPS_PER_VIDEO):
        clips = [sample.clip for sample in samples if source.video[sample.clip] == video]
        assert_uniform(clips, np.flatnonzero(source.video == video).tolist())
        assert len(set(clips)) == count
    assert_uniform([sample.start for sample in samples], list(range(NUM_FRAMES - 5 + 1)))
    crops = [(sample.top, sample.left) for sample in samples]
    assert_uniform(crops, [(top, left) for top in range(5) for left in range(5)])
    assert_uniform([sample.flip for sample in samples], [False, True])


def test_choices_are_independent(source: ClipSource) -> None:
    samples = draw(source, spec_of(), 4000)
    pairs = [(sample.start % 2, sample.top % 2, sample.left, sample.flip) for sample in samples]
    pairs = [pair for pair in pairs if pair[1] == 0 and pair[2] < 4]
    assert_uniform(pairs, [(s, 0, x, f) for s in (0, 1) for x in range(4) for f in (False, True)])


@pytest.mark.parametrize(
    ("changes", "starts"),
    [
        ({"num_frames": 3, "stride": 2, "start_frames": 3}, [0, 1, 2]),
        ({"num_frames": 3, "stride": 3, "start_frames": 8}, [0, 1, 2, 3]),  # as far as it fits
        ({"num_frames": 10, "stride": 1}, [0]),
        ({"num_frames": 1, "stride": 3}, list(range(10))),
        ({"num_frames": 0, "stride": 5}, list(range(10))),
        ({"num_frames": 0, "stride": 1, "start_frames": 2}, list(range(10))),  # clips only
    ],
)
def test_starts(changes: dict[str, Any], starts: list[int], source: ClipSource) -> None:
    assert_uniform([sample.start for sample in draw(source, spec_of(**changes), 1500)], starts)


def test_no_flip(source: ClipSource) -> None:
    """Without flips the other choices stay what they are."""
    flipped, plain = (draw(source, spec_of(flip=flip), 50) for flip in (True, False))
    assert not any(sample.flip for sample in plain)
    assert [sample[:4] for sample in plain] == [sample[:4] for sample in flipped]


def test_examples_are_cut_where_drawn(source: ClipSource) -> None:
    """Frames and label map, against the clip sliced by hand."""
    spec = spec_of()
    cut = Cut(source, spec)
    for sample in draw(source, spec, 30):
        video = int(source.video[sample.clip])
        clip = int(source.clip_ids[sample.clip].rsplit("/")[-1])
        frames = make_clip(video, clip, num_frames=NUM_FRAMES, size=16)
        frames = frames[sample.start : sample.start + 5 : 2]
        frames = frames[:, sample.top : sample.top + 12, sample.left : sample.left + 12]
        frames = frames[:, :, ::-1] if sample.flip else frames
        example = cut(sample)
        np.testing.assert_array_equal(example.frames, frames)
        np.testing.assert_array_equal(example.label_map, label_of(frames[0]))


def test_images_have_no_time_axis(source: ClipSource) -> None:
    spec = spec_of(num_frames=0, stride=7)
    example = Cut(source, spec)(Sample(0, NUM_FRAMES - 1, 0, 0, False))
    last = make_clip(0, 0, num_frames=NUM_FRAMES, size=16)[-1, :12, :12]
    np.testing.assert_array_equal(example.frames, last)
    assert example.label_map is not None
    assert example.label_map.shape == (12, 12)


def test_label_maps_only_where_asked(source: ClipSource) -> None:
    assert Cut(source, spec_of(label_maps=False))(Sample(0, 0, 0, 0, False)).label_map is None


def test_only_the_used_frames_are_decoded(
    source: ClipSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    real = sampling.decode_frame

    def counting(encoded: bytes) -> np.ndarray:
        decoded.append(encoded)
        return real(encoded)

    monkeypatch.setattr(sampling, "decode_frame", counting)
    Cut(source, spec_of())(Sample(4, 3, 0, 0, False))
    assert decoded == [source[4].frames[i] for i in (3, 5, 7)]


def test_what_cannot_be_decoded_is_named(
    source: ClipSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: bytes) -> np.ndarray:
        raise ValueError("it is broken")

    where = r"train-00000-of-00001\.tfrecord, record 2 .*"
    sample = Sample(2, 1, 0, 0, False)
    with monkeypatch.context() as patch:
        patch.setattr(sampling, "decode_frame", broken)
        with pytest.raises(RecordError, match=where + "frame 1 cannot be decoded: it is broken"):
            Cut(source, spec_of())(sample)
        patch.setattr(sampling, "decode_frame", lambda _: np.zeros((3, 4, 3), np.uint8))
        with pytest.raises(RecordError, match=where + "frame 1 is 4×3, but the record says 16×16"):
            Cut(source, spec_of())(sample)
    monkeypatch.setattr(sampling, "decode_label_map", broken)
    with pytest.raises(RecordError, match=where + "label map cannot be decoded: it is broken"):
        Cut(source, spec_of())(sample)


@pytest.mark.parametrize("shape", [(40, 40), (36, 64), (9, 13), (16, 16), (16, 20)])
def test_resized_crop_is_resize_then_crop(shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    whole = np.asarray(Image.fromarray(frame).resize((16, 16), Image.Resampling.BICUBIC))
    for top, left in ((0, 0), (1, 4), (4, 2)):
        crop = sampling.resized_crop(frame, 16, 12, top, left)
        expected = whole[top : top + 12, left : left + 12]
        np.testing.assert_allclose(crop.astype(int), expected, atol=1)


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = sampling.resized_crop(stripes, 16, 8, 4, 4)
    np.testing.assert_allclose(crop.astype(float), 127.5, atol=3)


def pattern_source(directory: Path, height: int, width: int) -> ClipSource:
    """One clip of two equal frames whose red is an id, different in each 4×4 square; the map."""
    ids = np.arange(height * width // 16, dtype=np.uint8).reshape(height // 4, width // 4)
    ids = ids.repeat(4, axis=0).repeat(4, axis=1)
    frame = np.stack([ids, ids, ids], axis=-1)
    record = records.ClipRecord(
        frames=records.encode_frames(np.stack([frame] * 2), image_format="png"),
        height=height,
        width=width,
        fps=24.0,
        video_id="v",
        clip_id="v/0",
        label_map=records.encode_label_map(ids),
    )
    with records.ShardWriter(directory / SHARD) as writer:
        writer.write(record)
    records.finalize(directory)
    return ClipSource(directory, "train")


@pytest.mark.parametrize("shape", [(16, 16), (16, 32), (40, 24)])
@pytest.mark.parametrize("num_frames", [0, 2])
def test_label_maps_stay_on_the_frames(
    tmp_path: Path, shape: tuple[int, int], num_frames: int
) -> None:
    """Wherever the crop lies, flipped or not, resized or not: a frame's red is its map.

    Where frames are resized their colours run into one another at borders of squares; in the
    middles of squares they do not.
    """
    source = pattern_source(tmp_path, *shape)
    spec = spec_of(num_frames=num_frames, stride=1, size=32, resize=48)
    crops = set()
    for sample in draw(source, spec, 40):
        example = Cut(source, spec)(sample)
        crops.add((sample.top, sample.left, sample.flip))
        frame = np.asarray(example.frames).reshape(-1, 32, 32, 3)[-1, ..., 0].astype(int)
        label_map = np.asarray(example.label_map).astype(int)
        still = np.ones((30, 30), bool)  # all eight neighbours have the same id
        for y in range(3):
            for x in range(3):
                still &= label_map[y : y + 30, x : x + 30] == label_map[1:-1, 1:-1]
        assert still.mean() > 0.2
        assert np.abs(frame - label_map)[1:-1, 1:-1][still].max() <= 1
    assert {flip for _, _, flip in crops} == {False, True}
    assert len(crops) > 20


def test_ids_of_no_class_are_refused_by_name(source: ClipSource) -> None:
    """The map's ids are 0 to 3. Whatever the crop: it is the whole map that is looked at."""
    spec = spec_of(num_labels=3, size=1, resize=1)
    message = (
        r"train-00000-of-00001\.tfrecord, record 2 .*: the label map of clip 'train-1/1' holds the "
        r"id 3, but ids are 0 to 2 \(num_labels is 3\), or 255 for don't care; set "
        r"config\.model\.num_labels"
    )
    with pytest.raises(RecordError, match=message):
        Cut(source, spec)(Sample(2, 0, 0, 0, False))
    assert Cut(source, spec_of(num_labels=4))(Sample(2, 0, 0, 0, False)).label_map is not None
    unasked = dataclasses.replace(spec, label_maps=False)
    assert Cut(source, unasked)(Sample(2, 0, 0, 0, False)).label_map is None


def test_the_configured_id_is_dont_care(source: ClipSource) -> None:
    plain = np.asarray(Cut(source, spec_of())(Sample(2, 0, 0, 0, False)).label_map)
    spec = spec_of(num_labels=3, dont_care=3)
    label_map = np.asarray(Cut(source, spec)(Sample(2, 0, 0, 0, False)).label_map)
    assert label_map.dtype == np.uint8
    assert (label_map == 255).any()
    np.testing.assert_array_equal(label_map, np.where(plain == 3, 255, plain))


def test_label_maps_stay_on_the_frames_when_resized(tmp_path: Path) -> None:
    """A two-region clip, shrunk: the map's border stays within a pixel of the frames' border."""
    directory = make_dataset(tmp_path, num_videos=1, clips_per_video=1, size=48, label_maps=True)
    source = ClipSource(directory, "train")
    for sample in (Sample(0, 0, 1, 3, False), Sample(0, 0, 4, 0, True)):
        example = Cut(source, spec_of())(sample)
        expected = label_of(np.asarray(example.frames[0]))
        assert (np.asarray(example.label_map) == expected).mean() > 0.85


def test_short_clips_are_left_out(tmp_path: Path) -> None:
    directory = make_dataset(tmp_path, clips_per_video=2, num_frames=[4, 5, 6])
    source = ClipSource(directory, "train")
    spec = spec_of(label_maps=False)
    assert fitting_clips(source, spec).tolist() == [2, 3, 4, 5]
    assert {sample.clip for sample in draw(source, spec, 100)} == {2, 3, 4, 5}
    with pytest.raises(
        ValueError,
        match=r"num_frames \(=8\) with stride \(=3\) needs clips of 22 frames, but the 6 clips of "
        "split 'train' have 4 to 6; use a smaller num_frames or stride",
    ):
        fitting_clips(source, spec_of(num_frames=8, stride=3))
    with pytest.raises(
        ValueError, match=r"label maps are needed \(.*\), but of the 6 clips .* 0 have a label"
    ):
        fitting_clips(source, spec_of())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_frames": -1}, r"num_frames \(=-1\) must be at least 0"),
        ({"stride": 0}, r"stride \(=0\) must be at least 1"),
        ({"size": 0}, r"size \(=0\) must be at least 1"),
        ({"start_frames": 0}, r"start_frames \(=0\) must be at least 1"),
        ({"resize": 11}, r"resize \(=11\) must be at least size \(=12\)"),
    ],
)
def test_bad_specs(changes: dict[str, Any], text: str, source: ClipSource) -> None:
    with pytest.raises(ValueError, match=text):
        fitting_clips(source, spec_of(**changes))
