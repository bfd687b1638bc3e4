"""Resampling and cutting, on frames that are mere numbers."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from vidgan_jax.preparation import timeline
from vidgan_jax.preparation.timeline import TimedFrame


def _frames(times_s: list[float], duration_s: float = 0.04) -> list[TimedFrame]:
    return [TimedFrame(number, time_s, duration_s) for number, time_s in enumerate(times_s)]


def _shown(frames: list[TimedFrame], fps: float) -> list[int]:
    return [item.frame for item in timeline.on_grid(frames, fps)]


def _constant(fps: float, count: int) -> list[TimedFrame]:
    return _frames([number / fps for number in range(count)], 1 / fps)


@pytest.mark.parametrize("fps", [12.0, 23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 60.0])
def test_each_instant_shows_the_last_frame_presented_by_then(fps: float) -> None:
    shown = _shown(_constant(fps, 200), 24.0)
    assert shown == [int(step / 24.0 * fps + 1e-3 * fps) for step in range(len(shown))]
    assert abs(len(shown) / 24.0 - 200 / fps) <= 1 / 24.0


def test_familiar_rates() -> None:
    assert _shown(_constant(30, 10), 24.0) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert _shown(_constant(12, 3), 24.0) == [0, 0, 1, 1, 2, 2]
    assert _shown(_constant(24, 5), 24.0) == [0, 1, 2, 3, 4]


def test_timestamps_rounded_to_milliseconds_lose_and_double_no_frame() -> None:
    times_s = [round(number / 24, 3) for number in range(100)]
    assert _shown(_frames(times_s, 1 / 24), 24.0) == list(range(100))


def test_variable_frame_rate_holds_slow_frames_and_skips_fast_ones() -> None:
    times_s = [0.0, 0.1, 0.11, 0.12, 0.3]
    assert _shown(_frames(times_s, 0.1), 10.0) == [0, 1, 3, 4]


def test_a_break_starts_the_grid_again_and_holds_nothing_over_it() -> None:
    frames = [
        TimedFrame("a", 0.0, 0.1),
        TimedFrame("b", 0.1, 0.1),
        TimedFrame("c", 7.03, 0.1, breaks=True),
        TimedFrame("d", 7.13, 0.1),
    ]
    grid = list(timeline.on_grid(frames, 10.0))
    assert [(item.frame, item.step) for item in grid] == [("a", 0), ("b", 1), ("c", 0), ("d", 1)]
    assert [item.time_s for item in grid] == pytest.approx([0.0, 0.1, 7.03, 7.13])


def test_no_frames() -> None:
    assert _shown([], 24.0) == []


def _cut(frames: list[TimedFrame], num_frames: int, every: int) -> list[list[int]]:
    def convert(frame: int) -> np.ndarray:
        converted.append(frame)
        return np.full((1, 1, 3), frame, np.uint8)

    converted: list[int] = []
    grid = timeline.on_grid(frames, 24.0)
    clips = list(timeline.cut(grid, num_frames, every, convert))
    assert len(converted) == len(set(converted)), "a frame was converted twice"
    assert [clip.start_s for clip in clips] == pytest.approx(
        [clip.frames[0, 0, 0, 0] / 24 for clip in clips]
    )
    return [clip.frames[:, 0, 0, 0].tolist() for clip in clips]


def test_clips_follow_one_another_and_the_rest_is_dropped() -> None:
    assert _cut(_constant(24, 11), 4, 4) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_clips_apart_and_overlapping() -> None:
    assert _cut(_constant(24, 11), 2, 5) == [[0, 1], [5, 6]]
    assert _cut(_constant(24, 7), 4, 2) == [[0, 1, 2, 3], [2, 3, 4, 5]]


def test_frames_outside_of_clips_are_not_converted() -> None:
    seen: list[int] = []

    def convert(frame: int) -> np.ndarray:
        seen.append(frame)
        return np.zeros((1, 1, 3), np.uint8)

    list(timeline.cut(timeline.on_grid(_constant(24, 10), 24.0), 2, 5, convert))
    assert seen == [0, 1, 5, 6]


def test_no_clip_reaches_over_a_break() -> None:
    frames = _constant(24, 10)
    frames[6] = frames[6]._replace(breaks=True)
    assert _cut(frames, 4, 4) == [[0, 1, 2, 3], [6, 7, 8, 9]]


def test_a_held_frame_is_converted_once_and_stored_each_time() -> None:
    grid = timeline.on_grid(_constant(12, 4), 24.0)
    clips = list(timeline.cut(grid, 4, 4, lambda frame: np.full((1, 1, 3), frame, np.uint8)))
    assert [clip.frames[:, 0, 0, 0].tolist() for clip in clips] == [[0, 0, 1, 1], [2, 2, 3, 3]]


@hypothesis.given(
    steps_ms=st.lists(st.integers(0, 400), min_size=1, max_size=30),
    fps=st.sampled_from([5, 24, 60]),
)
def test_any_timestamps_hold_the_last_frame(steps_ms: list[int], fps: int) -> None:
    times_s = np.cumsum([0, *steps_ms]) / 1000
    grid = list(timeline.on_grid(_frames(times_s.tolist(), 0.04), fps))
    assert [item.step for item in grid] == list(range(len(grid)))
    for item in grid:
        # Half a millisecond beside the tolerance, since timestamps on its edge may go either way.
        surely, at_most = (
            times_s[times_s <= item.step / fps + timeline.TIME_TOLERANCE_S + slack][-1]
            for slack in (-5e-4, 5e-4)
        )
        assert surely <= times_s[item.frame] <= at_most
