"""Windows that glide over images: smoothness, bounds, and images of all kinds."""

import math

import numpy as np
import pytest
from PIL import Image

from vidgan_jax.preparation.panning import Panning, Window, to_rgb


def _wave(width: int, height: int, period: float) -> Image.Image:
    """A grey wave that runs to the right."""
    row = 127.5 + 100 * np.cos(2 * np.pi * (np.arange(width) + 0.5) / period)
    return Image.fromarray(np.tile(row.round().astype(np.uint8), (height, 1))).convert("RGB")


def _positions(frames: np.ndarray, period: float) -> np.ndarray:
    """Where a wave of that period, in pixels of the clip, stands in each frame, unwrapped."""
    rows = frames[:, frames.shape[1] // 2, :, 0].astype(float)
    x = np.arange(rows.shape[1]) + 0.5
    basis = np.stack([np.cos(2 * np.pi * x / period), np.sin(2 * np.pi * x / period), x**0], -1)
    (cosine, sine, _), *_ = np.linalg.lstsq(basis, rows.T, rcond=None)
    return np.unwrap(np.arctan2(sine, cosine)) * period / (2 * np.pi)


@pytest.mark.parametrize("size", [(256, 256), (700, 300), (260, 400)])
@pytest.mark.parametrize("number", range(6))
def test_motion_is_constant_to_a_twentieth_of_a_pixel(size: tuple[int, int], number: int) -> None:
    panning = Panning()
    window = panning.draw("image", number, *size)
    period = 24.0 * window.side / panning.size
    frames = panning.render(_wave(*size, period), window)
    assert frames.shape == (32, 128, 128, 3)
    steps = np.diff(_positions(frames, 24.0))
    expected = -window.step * panning.size / window.side
    assert 0.5 <= abs(expected) <= 3.0
    np.testing.assert_allclose(steps, expected, atol=0.05)
    # Nor is a part of a pixel lost over the whole clip.
    assert abs(steps.sum() - 31 * expected) < 0.05


def test_a_pan_over_a_ramp_brightens_evenly() -> None:
    panning = Panning(speed=(1.3, 1.3))
    ramp = np.tile(np.linspace(0, 255, 400).round().astype(np.uint8), (256, 1))
    window = Window(left=20.25, top=10, side=150, step=1.3 * 150 / 128)
    frames = panning.render(Image.fromarray(ramp).convert("RGB"), window)
    means = frames[..., 0].mean(axis=(1, 2))
    expected = (20.25 + 75 - 0.5 + window.step * np.arange(32)) * 255 / 399
    np.testing.assert_allclose(means, expected, atol=0.1)


def test_fine_detail_does_not_alias() -> None:
    """Stripes too fine for the clip become grey; stripes left over would flicker as they move."""
    stripes = np.tile(np.arange(512) % 2 * 255, (512, 1)).astype(np.uint8)
    window = Window(left=3.3, top=100.7, side=256, step=1.37)
    frames = Panning().render(Image.fromarray(stripes).convert("RGB"), window)
    assert np.abs(frames.astype(int) - 127.5).max() < 6


def test_what_is_seen_is_the_same_as_of_the_whole_image_resized() -> None:
    """Cutting a strip and scaling rows first changes nothing but roundings."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((320, 240), 2)
    panning = Panning(num_frames=4, size=32)
    window = panning.draw("x", 0, *image.size)
    frames = panning.render(image, window)
    for t, frame in enumerate(frames):
        left = window.left + t * window.step
        box = (left, window.top, left + window.side, window.top + window.side)
        whole = np.asarray(image.resize((32, 32), Image.Resampling.LANCZOS, box=box))
        assert np.abs(frame.astype(int) - whole).max() <= 2


def test_windows_stay_inside_and_are_within_the_settings() -> None:
    panning = Panning(num_frames=32, size=64, zoom=(1.1, 2.5), speed=(0.2, 4.0))
    rng = np.random.default_rng(0)
    zooms, speeds, rightwards = [], [], 0
    for number in range(500):
        width, height = (int(side) for side in rng.integers(71, 600, 2))
        window = panning.draw("image", number, width, height)
        last = window.left + 31 * window.step
        assert min(window.left, last) >= -1e-6
        assert max(window.left, last) + window.side <= width + 1e-6
        assert 0 <= window.top <= height - window.side + 1e-6
        assert window.side >= 64 - 1e-6
        zooms.append(min(width, height) / window.side)
        speeds.append(abs(window.step) * 64 / window.side)
        rightwards += window.step > 0
    assert 1.1 - 1e-6 <= min(zooms) < 1.2
    assert 2.3 < max(zooms) <= 2.5 + 1e-6
    assert 0.2 - 1e-6 <= min(speeds) < 0.3
    assert 3.8 < max(speeds) <= 4.0 + 1e-6
    assert 200 < rightwards < 300


def test_draws_depend_on_name_number_and_seed_alone() -> None:
    windows = [
        Panning(seed=seed).draw(name, number, 300, 300)
        for seed in (0, 1)
        for name in ("a", "b")
        for number in (0, 1)
    ]
    assert len(set(windows)) == 8
    assert windows[0] == Panning().draw("a", 0, 300, 300)


def test_small_images_are_refused_to_the_pixel() -> None:
    panning = Panning()
    panning.check(160, 160)
    panning.draw("a", 0, 160, 160)
    with pytest.raises(ValueError, match=r"is 159×500, too small: .* must be at least 160"):
        panning.check(159, 500)
    # The slowest pan of a long clip needs more room than the least zoom gives.
    long = Panning(num_frames=128, size=128, zoom=(1.25, 2))
    with pytest.raises(ValueError, match="at least 192"):
        long.check(180, 180)
    long.check(400, 180)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, r"num_frames \(=0\) must be at least 1"),
        ({"size": 0}, r"size \(=0\)"),
        ({"fps": 0.0}, r"fps \(=0\)"),
        ({"zoom": (0.5, 2)}, r"zoom \(=0.5 to 2\)"),
        ({"zoom": (2, 1.5)}, r"zoom \(=2 to 1.5\)"),
        ({"zoom": (1, math.inf)}, "zoom"),
        ({"speed": (-1, 1)}, "speed"),
        ({"speed": (5, 6)}, "leads a window out of a square image"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Panning(**settings)  # type: ignore[arg-type]


def test_one_frame_stands_still() -> None:
    panning = Panning(num_frames=1, size=16)
    window = panning.draw("a", 0, 40, 30)
    assert panning.render(Image.new("RGB", (40, 30), "red"), window).shape == (1, 16, 16, 3)


def test_colours_of_all_kinds() -> None:
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    for image, colour in (
        (red, (255, 0, 0)),
        (red.convert("P"), (255, 0, 0)),
        (red.convert("CMYK"), (255, 0, 0)),
        (clear, (255, 255, 255)),
        (clear.convert("LA"), (255, 255, 255)),
        (Image.new("L", (2, 2), 77), (77, 77, 77)),
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
        (Image.fromarray(np.full((2, 2), 77 * 256, np.uint16)), (77, 77, 77)),
    ):
        rgb = to_rgb(image)
        assert rgb.mode == "RGB"
        np.testing.assert_allclose(np.asarray(rgb)[0, 0], colour, atol=1, err_msg=image.mode)
    with pytest.raises(ValueError, match="more than 8 bits"):
        to_rgb(Image.new("F", (2, 2)))
