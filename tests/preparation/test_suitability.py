"""What is measured of clips whose camera, light and faults are known."""

import io

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from vidgan_jax.data import scenes
from vidgan_jax.preparation.nature import motion, suitability
from vidgan_jax.preparation.nature.suitability import Limits

FPS = 24.0
NUM_FRAMES = 60
SIZE = 80
# Of the drawn picture, shown at a time.
SHOWN = 0.6


@pytest.fixture(scope="module")
def still() -> np.ndarray:
    """A fixed camera, with water and clouds that move."""
    clip = scenes.render_clip(
        3, num_frames=NUM_FRAMES, size=SIZE, fps=FPS, kind="river", supersampling=1
    )
    return clip.frames


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    """Another scene."""
    clip = scenes.render_clip(8, num_frames=1, size=SIZE, kind="beach", supersampling=1)
    return clip.frames


@pytest.fixture(scope="module")
def landscape() -> Image.Image:
    """One large frame to move a camera over."""
    clip = scenes.render_clip(4, num_frames=1, size=400, kind="waterfall", supersampling=1)
    return Image.fromarray(clip.frames[0])


def _filmed(
    landscape: Image.Image,
    *,
    right: float = 0.0,
    down: float = 0.0,
    zoom: float = 0.0,
    degrees: float = 0.0,
    size: int = SIZE,
) -> np.ndarray:
    """What a camera sees whose picture moves, grows and turns at constant rates, a second."""
    frames = []
    for number in range(NUM_FRAMES):
        time_s = (number - NUM_FRAMES / 2) / FPS
        side = SHOWN * landscape.width * np.exp(-zoom * time_s)
        # A picture that moves to the right is a camera's that looks ever more to the left.
        middle = landscape.width / 2 - SHOWN * landscape.width * time_s * np.array([right, down])
        angle = -np.radians(degrees) * time_s
        across = side / (2 * size) * np.array([np.cos(angle), np.sin(angle)])
        downwards = np.array([-across[1], across[0]])
        corner = middle - size * (across + downwards)
        affine = (across[0], downwards[0], corner[0], across[1], downwards[1], corner[1])
        frame = landscape.transform(
            (2 * size, 2 * size), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC
        )
        frames.append(np.asarray(frame.resize((size, size), Image.Resampling.BOX)))
    return np.stack(frames)


def _jpeg(frames: np.ndarray, quality: int = 85) -> np.ndarray:
    """Frames with the noise that JPEG makes, another in each."""
    decoded = []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=quality)
        decoded.append(np.asarray(Image.open(file)))
    return np.stack(decoded)


def _grey(frames: np.ndarray) -> np.ndarray:
    return frames.mean(3, dtype=np.float32)


def _missed(frames: np.ndarray, fps: float = FPS) -> set[str]:
    missed = suitability.reasons(suitability.measure(frames, fps), Limits())
    return {reason.split()[0] for reason in missed}


# Motion.


@pytest.mark.parametrize(
    ("right", "down"), [(0.02, 0.0), (0.0, -0.02), (-0.05, 0.03), (0.15, 0.0), (0.0, 0.4)]
)
def test_a_pan_is_measured(landscape: Image.Image, right: float, down: float) -> None:
    frames = _jpeg(_filmed(landscape, right=right, down=down))
    camera = motion.camera_motion(_grey(frames), FPS)
    speed = np.median(camera.shift, 0) / camera.lag_s
    assert np.abs(speed - [right, down]).max() < 0.15 * np.hypot(right, down)
    measures = suitability.measure(frames, FPS)
    assert measures["camera_movement"] == pytest.approx(np.hypot(right, down), rel=0.15)
    assert "camera_movement" in _missed(frames)


@pytest.mark.parametrize("zoom", [-0.1, -0.03, 0.03, 0.1])
def test_a_zoom_is_measured(landscape: Image.Image, zoom: float) -> None:
    frames = _jpeg(_filmed(landscape, zoom=zoom))
    camera = motion.camera_motion(_grey(frames), FPS)
    assert np.median(camera.growth) / camera.lag_s == pytest.approx(zoom, rel=0.15)
    measures = suitability.measure(frames, FPS)
    assert measures["zoom"] == pytest.approx(abs(zoom), rel=0.25)
    assert measures["camera_movement"] < 0.01
    assert _missed(frames) >= {"zoom"}


@pytest.mark.parametrize("degrees", [-5.0, 2.0])
def test_a_rotation_is_measured(landscape: Image.Image, degrees: float) -> None:
    frames = _filmed(landscape, degrees=degrees)
    camera = motion.camera_motion(_grey(frames), FPS)
    turn = np.degrees(np.median(camera.turn)) / camera.lag_s
    assert turn == pytest.approx(degrees, rel=0.15)
    assert "rotation" in _missed(frames)


def test_a_still_camera_is_still_whatever_water_and_clouds_do(still: np.ndarray) -> None:
    assert _missed(_jpeg(still)) == set()
    camera = motion.camera_motion(_grey(still), FPS)
    assert not camera.shift.any()
    assert not camera.growth.any()
    assert not camera.turn.any()


def test_a_shore_outvotes_what_drifts_in_the_larger_part(landscape: Image.Image) -> None:
    frames = _filmed(landscape, right=0.06)
    assert "camera_movement" in _missed(frames)
    shore = SIZE * 6 // 10
    frames[:, shore:] = frames[0, shore:]
    assert suitability.measure(frames, FPS)["camera_movement"] == 0


def test_a_trembling_hand_is_seen(landscape: Image.Image) -> None:
    large = np.asarray(landscape.resize((2 * SIZE, 2 * SIZE), Image.Resampling.LANCZOS))
    places = np.random.default_rng(0).integers(0, 5, (NUM_FRAMES, 2))
    frames = np.stack([large[y : y + SIZE, x : x + SIZE] for x, y in places])
    # Deviation √2 pixels each way.
    expected = 2 / SIZE
    assert suitability.measure(frames, FPS)["camera_shake"] == pytest.approx(expected, rel=0.5)


def test_a_pan_in_a_part_of_the_clip_is_seen(landscape: Image.Image) -> None:
    frames = _filmed(landscape, right=0.1)
    frames[:30] = frames[30]
    assert "camera_movement" in _missed(frames)


def test_measures_do_not_depend_on_the_number_of_pixels(landscape: Image.Image) -> None:
    one, two = (
        suitability.measure(_filmed(landscape, right=0.05, size=size), FPS) for size in (80, 160)
    )
    assert one["camera_movement"] == pytest.approx(two["camera_movement"], rel=0.1)
    assert one["haste"] == pytest.approx(two["haste"], rel=0.2)


# Light, time and transitions.


@pytest.mark.parametrize("deviation", [0.01, 0.03])
def test_flicker_is_measured(still: np.ndarray, deviation: float) -> None:
    gain = 1 + deviation * np.random.default_rng(0).normal(size=(NUM_FRAMES, 1, 1, 1))
    frames = (still * gain).clip(0, 255).astype(np.uint8)
    measures = suitability.measure(frames, FPS)
    assert measures["flicker"] == pytest.approx(deviation, rel=0.3)
    assert "flicker" in _missed(frames)


def test_slow_change_of_light_is_no_flicker(still: np.ndarray) -> None:
    gain = np.linspace(0.8, 1, NUM_FRAMES)[:, None, None, None]
    assert _missed((still * gain).astype(np.uint8)) == set()


def test_a_time_lapse_is_hasty() -> None:
    clip = scenes.render_clip(
        3, num_frames=NUM_FRAMES, size=SIZE, fps=FPS / 20, kind="river", supersampling=1
    )
    assert "haste" in _missed(clip.frames)


def test_black_frames_are_counted(still: np.ndarray) -> None:
    frames = still.copy()
    frames[-15:] = 5
    assert suitability.measure(frames, FPS)["black"] == 15 / NUM_FRAMES
    assert "black" in _missed(frames)


def test_frozen_frames_are_counted_despite_noise(still: np.ndarray) -> None:
    frames = still.copy()
    frames[10:34] = frames[10]
    frames = (frames + np.random.default_rng(0).normal(0, 1, frames.shape)).clip(0, 255)
    assert suitability.measure(_jpeg(frames.astype(np.uint8)), FPS)["frozen"] == 24 / NUM_FRAMES


@pytest.mark.parametrize("hold", [2, 3, 4])
def test_videos_of_few_frames_a_second_are_not_frozen(still: np.ndarray, hold: int) -> None:
    assert _missed(still[np.arange(NUM_FRAMES) // hold * hold]) == set()


@pytest.mark.parametrize(
    ("start", "length"), [(3, 1), (30, 1), (NUM_FRAMES - 3, 1), (3, 12), (30, 12), (30, 20)]
)
def test_transitions_are_seen(
    still: np.ndarray, other: np.ndarray, start: int, length: int
) -> None:
    share = np.clip((np.arange(NUM_FRAMES) - start + 1) / length, 0, 1)[:, None, None, None]
    frames = ((1 - share) * still + share * other).astype(np.uint8)
    assert "cut" in _missed(frames)


@pytest.mark.parametrize("length", [1, 2, 5, 13])
def test_short_clips_and_plain_ones_are_measured(length: int) -> None:
    frames = np.full((length, 36, 50, 3), 128, np.uint8)
    measures = suitability.measure(frames, FPS)
    assert all(np.isfinite(list(measures.values())))
    assert measures["camera_movement"] == 0


def test_the_same_clip_has_the_same_measures(still: np.ndarray) -> None:
    assert suitability.measure(still, FPS) == suitability.measure(still.copy(), FPS)


# Limits.


def test_every_measure_has_a_limit(still: np.ndarray) -> None:
    names = [*suitability.measure(still[:20], FPS), "people", "constancy"]
    assert names == list(vars(Limits()))


@hypothesis.given(st.floats(0, 2), st.floats(0, 2))
def test_limits_are_inclusive(value: float, limit: float) -> None:
    limits = Limits(zoom=limit, constancy=limit)
    assert bool(suitability.reasons({"zoom": value}, limits)) == (value > limit)
    assert bool(suitability.reasons({"constancy": value}, limits)) == (value < limit)


def test_reasons_are_told_in_words() -> None:
    missed = suitability.reasons({"constancy": 0.5, "rotation": 3.14159, "zoom": 0.0}, Limits())
    assert missed == [
        "rotation 3.14 is above 1 degrees a second",
        "constancy 0.5 is below 0.85 of the pixels",
    ]
    nothing = Limits(rotation=None, constancy=None)
    assert suitability.reasons({"constancy": 0.5, "rotation": 3.14159}, nothing) == []


def test_limits_are_changed_by_text() -> None:
    limits = suitability.with_limits(
        Limits(), ["camera_movement=0.3", " zoom = 1e-1", "people=none", "zoom=0.2"]
    )
    assert limits == Limits(camera_movement=0.3, zoom=0.2, people=None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zoom", "'zoom' must be NAME=VALUE"),
        ("zooom=1", "must be one of camera_movement, .*constancy; did you mean zoom"),
        ("zoom=fast", r"zoom \(='fast'\) must be a number \(a second\), or none"),
        ("zoom=-1", r"zoom \(=-1\) must be a number of at least 0"),
        ("zoom=nan", "must be a number of at least 0"),
    ],
)
def test_mistakes_in_limits_are_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        suitability.with_limits(Limits(), [text])


def test_mistakes_in_measures_are_told() -> None:
    with pytest.raises(ValueError, match="measure 'speed' must be one of camera_movement"):
        suitability.reasons({"speed": 1.0}, Limits())
    with pytest.raises(ValueError, match="measure zoom is not a number"):
        suitability.reasons({"zoom": float("nan")}, Limits())


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        (np.zeros((2, 40, 40, 3), np.float32), 24.0, r"uint8 \[t, h, w, 3\], got float32"),
        (np.zeros((40, 40, 3), np.uint8), 24.0, r"got uint8 \[40, 40, 3\]"),
        (np.zeros((0, 40, 40, 3), np.uint8), 24.0, r"got uint8 \[0, 40"),
        (np.zeros((2, 31, 40, 3), np.uint8), 24.0, "of 31x40 pixels.* must be 32 or more"),
        (np.zeros((2, 40, 40, 3), np.uint8), 0.0, r"`fps` \(=0\) must be above 0"),
    ],
)
def test_mistakes_in_clips_are_told(frames: np.ndarray, fps: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        suitability.measure(frames, fps)
