"""Procedural scenes: the same seed gives the same clip, and only what may move does."""

import itertools
from typing import Any

import numpy as np
import pytest

from vidgan_jax.data import scenes
from vidgan_jax.data.scenes import noise, render_clip

SMALL: dict[str, Any] = {"size": 48, "num_frames": 8, "fps": 8.0}  # a second's movement, quickly
every_kind = pytest.mark.parametrize("kind", scenes.SCENE_KINDS)


@every_kind
def test_arguments_determine_the_clip(kind: str) -> None:
    first = render_clip(5, 1, kind=kind, **SMALL)
    render_clip(6, kind=kind, **SMALL)  # nothing is carried from clip to clip
    again = render_clip(5, 1, kind=kind, **SMALL)
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.label_map, again.label_map)
    assert first.kind == again.kind == kind


@every_kind
def test_label_map_holds_classes_of_the_kind_only(kind: str) -> None:
    for seed in range(8):
        label_map = render_clip(seed, kind=kind, size=32, num_frames=1).label_map
        assert set(np.unique(label_map).tolist()) <= scenes.SCENE_LABELS[kind]


@every_kind
def test_only_moving_classes_move(kind: str) -> None:
    """Static classes keep every bit, also where a pixel straddles rock and water."""
    movement: dict[int, list[float]] = {}
    for seed in range(6):
        clip = render_clip(seed, kind=kind, **SMALL)
        changes = np.abs(clip.frames[1:].astype(int) - clip.frames[:1]).max(axis=-1)
        for label in np.unique(clip.label_map).tolist():
            here = changes[:, clip.label_map == label]
            if label in scenes.STATIC_LABELS:
                assert not here.any()
            elif here.shape[1] >= 20:
                movement.setdefault(label, []).append(here[-1].mean())
    assert movement
    for label, changes_by_seed in movement.items():
        # Levels of 255 after a second; some single skies have next to no clouds.
        assert np.mean(changes_by_seed) > 1.5, label


@every_kind
def test_clips_of_a_seed_are_moments_of_one_scene(kind: str) -> None:
    # Without supersampling no pixel blends classes, so that static ones agree between clips too.
    one, other = (render_clip(2, clip, kind=kind, supersampling=1, **SMALL) for clip in (0, 1))
    np.testing.assert_array_equal(one.label_map, other.label_map)
    static = np.isin(one.label_map, list(scenes.STATIC_LABELS))
    np.testing.assert_array_equal(one.frames[:, static], other.frames[:, static])
    moving = np.abs(one.frames.astype(int) - other.frames)[:, ~static]
    assert moving.mean() > 2


@every_kind
def test_seeds_differ_in_layout_and_palette(kind: str) -> None:
    clips = [render_clip(seed, kind=kind, size=32, num_frames=1) for seed in range(5)]
    for a, b in itertools.combinations(clips, 2):
        assert (a.label_map != b.label_map).mean() > 0.02
    colours = np.stack([clip.frames.mean((0, 1, 2)) for clip in clips])
    assert np.ptp(colours, axis=0).max() > 15


@every_kind
def test_every_size_shows_the_same_scene(kind: str) -> None:
    small, large = (render_clip(4, kind=kind, size=size, num_frames=1) for size in (48, 96))
    assert (small.label_map == large.label_map[::2, ::2]).mean() > 0.9
    shrunk = large.frames[0].reshape(48, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small.frames[0]).mean() < 8


@pytest.mark.parametrize(("size", "supersampling"), [(16, 1), (37, 2), (50, 3), (140, 1)])
def test_any_size_is_rendered(size: int, supersampling: int) -> None:
    for seed in range(4):
        clip = render_clip(seed, num_frames=2, size=size, supersampling=supersampling)
        assert clip.frames.shape == (2, size, size, 3)
        assert clip.label_map.shape == (size, size)
        assert clip.frames.dtype == clip.label_map.dtype == np.uint8


def test_frames_follow_the_clock() -> None:
    """Every second frame at 24 fps is a frame at 12 fps, however many are asked for."""
    fast = render_clip(1, num_frames=5, size=32, fps=24)
    slow = render_clip(1, num_frames=2, size=32, fps=12)
    np.testing.assert_array_equal(fast.frames[:3:2], slow.frames)


def test_seed_chooses_among_all_kinds() -> None:
    kinds = {render_clip(seed, num_frames=1, size=16, supersampling=1).kind for seed in range(60)}
    assert kinds == set(scenes.SCENE_KINDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "volcano"}, r"`kind` \(='volcano'\) must be one of beach, coast, lake, meadow"),
        ({"size": 15}, r"`size` \(=15\) must be at least 16"),
        ({"num_frames": 0}, r"`num_frames` \(=0\) must be at least 1"),
        ({"supersampling": 0}, r"`supersampling` \(=0\) must be at least 1"),
        ({"fps": 0.0}, r"`fps` \(=0.0\) must be above 0"),
        ({"seed": -1}, r"`seed` \(=-1\) must be at least 0"),
        ({"clip": -2}, r"`clip` \(=-2\) must be at least 0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_clip(**{"seed": 0, **arguments})


def test_noise_tile_has_unit_variance_and_is_coarsened_exactly() -> None:
    fine, coarse = (noise.noise_tile(noise.stream(0, "a"), n, slope=1.5) for n in (256, 64))
    assert np.std(fine) == pytest.approx(1, abs=1e-3)
    spectrum, low = np.fft.rfft2(fine), np.fft.rfft2(coarse)
    # Waves below the coarse tile's limit are the fine tile's own.
    np.testing.assert_allclose(low[:31, :31] * 16, spectrum[:31, :31], atol=0.05 * 16)


def test_sample_reads_pixels_midpoints_and_repeats() -> None:
    tile = np.arange(16, dtype=np.float32).reshape(4, 4)
    v, u = np.array([0.0, 0.25, -0.75, 0.25]), np.array([0.5, 0.625, 1.5, 0.75])
    np.testing.assert_allclose(noise.sample(tile, v, u), [2, 6.5, 6, 7])


def test_cell_tile_agrees_with_a_search_of_all_points() -> None:
    points = noise.stream(3, "cells").uniform(size=(9, 2)).astype(np.float32)
    cells = noise.cell_tile(noise.stream(3, "cells"), 16, 9)
    centres = (np.indices((16, 16)).transpose(1, 2, 0) + 0.5) / 16
    apart = np.abs(centres[:, :, None] - points)
    distances = np.sort(np.linalg.norm(np.minimum(apart, 1 - apart), axis=-1), axis=-1)
    np.testing.assert_allclose(
        cells[..., 1], 3 * (distances[..., 1] - distances[..., 0]), atol=1e-4
    )
    assert len(np.unique(cells[..., 0])) <= 9


def test_blur_keeps_an_even_picture_and_the_edges() -> None:
    np.testing.assert_allclose(noise.blur(np.full((32, 32), 0.7), 0.1), 0.7, rtol=1e-5)
    left_bright = np.zeros((32, 32))
    left_bright[:, :4] = 1
    assert noise.blur(left_bright, 0.05)[:, -4:].max() < 1e-6  # nothing comes round the edge
