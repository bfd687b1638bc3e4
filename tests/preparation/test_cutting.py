"""Shots and the clips drawn from them, with a detector that is told what to find."""

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.preparation.numbered import (
    numbered_frame,
    read_numbers,
    write_numbered,
    write_video,
)
from vidgan_jax.preparation import videos
from vidgan_jax.preparation.nature import cutting
from vidgan_jax.preparation.nature.cutting import BREAK, END, Shot, ShotCutting, read_shots
from vidgan_jax.preparation.nature.shots import Transition

FADE = Transition(80, 90, "dissolve", 1.0)
CUT = Transition(150, 150, "cut", 1.0)


class Scripted:
    """Tells of given transitions, each `delay` frames after its end, as real ones do."""

    height = width = 4
    delay = 20

    def __init__(self, transitions: list[Transition]):
        self.waiting = list(transitions)
        self.fed = 0

    def feed(self, picture: np.ndarray) -> list[Transition]:
        assert picture.shape == (4, 4, 3)
        self.fed += 1
        found = [t for t in self.waiting if t.end + self.delay <= self.fed]
        self.waiting = [t for t in self.waiting if t not in found]
        return found

    def finish(self) -> list[Transition]:
        return self.waiting

    @property
    def settled(self) -> int:
        first = self.waiting[0].start if self.waiting else self.fed
        return max(0, min(first, self.fed - self.delay))


def told(monkeypatch: pytest.MonkeyPatch, *transitions: Transition) -> None:
    monkeypatch.setattr(cutting, "make_detector", lambda name, fps: Scripted(list(transitions)))


def settings(**changes: Any) -> ShotCutting:
    base: dict[str, Any] = {"num_frames": 24, "size": 32, "fit": "stretch", "margin_s": 0.25}
    return ShotCutting(**base | changes)


def shots_of(path: Path, **options: Any) -> list[Shot]:
    return list(read_shots(path, "a.mp4", options.pop("cutting", settings()), **options))


def clip_numbers(shots: list[Shot]) -> list[list[int]]:
    return [read_numbers(shot.clip.frames) for shot in shots if shot.clip is not None]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("cutting") / "a.mp4", 200)


def test_shots_lie_between_transitions(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, FADE, CUT)
    shots = shots_of(video)
    assert [(s.start, s.end, s.ended_by) for s in shots] == [
        (0, 80, "dissolve"),
        (90, 150, "cut"),
        (150, 200, END),
    ]
    assert [s.transition for s in shots] == [FADE, CUT, None]
    assert shots[1].start_s == pytest.approx(90 / 24)
    assert shots[1].end_s == pytest.approx(150 / 24)


@pytest.mark.parametrize("seed", range(5))
def test_clips_keep_their_distance(video: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    told(monkeypatch, FADE, CUT)
    shots = shots_of(video, cutting=settings(seed=seed))
    for shot, numbers in zip(shots, clip_numbers(shots), strict=True):
        assert numbers == list(range(numbers[0], numbers[0] + 24))
        assert shot.start + 6 <= numbers[0]
        assert numbers[-1] < shot.end - 6
        assert shot.clip is not None
        assert shot.clip.start_s == pytest.approx(numbers[0] / 24)


def test_known_transitions_give_the_same_clips(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(monkeypatch, FADE, CUT)
    found = shots_of(video)
    again = shots_of(video, known=[FADE, CUT])
    assert clip_numbers(again) == clip_numbers(found)
    assert [s._replace(clip=None) for s in again] == [s._replace(clip=None) for s in found]


def test_shots_that_are_too_short_give_no_clip(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 24 frames and 6 on each side: one of 36 is just long enough, one of 35 is not.
    told(monkeypatch, Transition(36, 36, "cut", 1), Transition(71, 71, "cut", 1))
    shots = shots_of(video)
    assert [shot.clip is None for shot in shots] == [False, True, False]
    assert clip_numbers(shots)[0] == list(range(6, 30))


def test_the_finding_alone_cuts_nothing(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, FADE, CUT)
    shots = shots_of(video, want_clips=False)
    assert [shot.clip for shot in shots] == [None] * 3


def test_one_transition_right_after_another(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [Transition(0, 10, "fade", 1), Transition(10, 10, "cut", 1)]
    told(monkeypatch, *both)
    shots = shots_of(video)
    assert [(s.start, s.end) for s in shots] == [(0, 0), (10, 10), (10, 200)]
    assert [s.clip is None for s in shots] == [True, True, False]
    assert clip_numbers(shots_of(video, known=both)) == clip_numbers(shots)


def test_no_clip_reaches_over_a_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times_s = [i / 24 + (100 if i >= 50 else 0) for i in range(120)]
    path = write_numbered(tmp_path / "a.mkv", 120, times_s=times_s)
    told(monkeypatch)
    shots = shots_of(path)
    assert [shot.ended_by for shot in shots] == [BREAK, END]
    assert shots[1].start_s == pytest.approx(100 + 50 / 24, abs=0.01)
    for (first, last), numbers in zip(((0, 50), (50, 120)), clip_numbers(shots), strict=True):
        assert first + 6 <= numbers[0]
        assert numbers[-1] < last - 6


@pytest.mark.parametrize(
    "odd",
    [
        {"rotation": (90, False, False)},
        {"rotation": (0, True, False)},
        {"pixel_aspect": Fraction(4, 3)},
        {"pix_fmt": "yuv420p10le", "codec": "libx265"},
        {"with_audio": True},
        {"fps": 30},
        {"times_s": [0.05 * i + 0.02 * (i % 3 == 1) for i in range(60)]},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_a_clip_is_what_videos_reads_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    frames = [numbered_frame(i, 96, 64) for i in range(60)]
    path = write_video(tmp_path / "a.mp4", frames, **odd)
    told(monkeypatch)
    (shot,) = shots_of(path, cutting=settings(fit="crop"))
    assert shot.clip is not None
    start = round((shot.clip.start_s - shot.start_s) * 24)
    every = videos.Cutting(num_frames=1, size=32)
    whole = np.concatenate([clip.frames for clip in videos.read_clips(path, every)])
    np.testing.assert_array_equal(shot.clip.frames, whole[start : start + 24])


def test_a_video_of_one_frame_is_a_shot_without_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(monkeypatch)
    (shot,) = shots_of(write_numbered(tmp_path / "a.mp4", 1))
    assert (shot.start, shot.end, shot.clip) == (0, 1, None)


def drawn(seed: int, *, length: int = 40, latency: int = 7) -> int:
    """Where the clip of a shot of `length` frames begins; counts what was held meanwhile."""
    draw = cutting._Draw(settings(seed=seed), f"{seed} v", 0)
    for i in range(length):
        draw.hold(np.full((1, 1, 3), i), i / 24)
        draw.consider(max(0, i + 1 - latency))
        assert len(draw._held) <= 24 + 6 + latency + 1
    clip = draw.take(length)
    assert clip is not None
    numbers = clip.frames[:, 0, 0, 0].tolist()
    assert numbers == list(range(numbers[0], numbers[0] + 24))
    return int(numbers[0])


def test_all_places_are_equally_likely() -> None:
    counts = Counter(drawn(seed) for seed in range(500))
    # 40 frames less 24 and two margins of 6: five places, 100 each, standard deviation 9.
    assert sorted(counts) == [6, 7, 8, 9, 10]
    assert all(60 <= count <= 140 for count in counts.values())


def test_the_place_does_not_depend_on_latency() -> None:
    assert [drawn(s, latency=0) for s in range(20)] == [drawn(s, latency=30) for s in range(20)]


def test_memory_does_not_grow_with_a_shot() -> None:
    assert 6 <= drawn(0, length=5000) <= 5000 - 30


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"margin_s": -1}, r"margin_s \(=-1\) must be from 0 to 60"),
        ({"num_frames": 0}, r"num_frames \(=0\)"),
        ({"fps": 0}, r"fps \(=0\)"),
    ],
)
def test_mistakes(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(**changes)


def test_what_detectors_see_does_not_depend_on_the_size_of_clips(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[bytes]] = []

    class Looking(Scripted):
        def feed(self, picture: np.ndarray) -> list[Transition]:
            seen[-1].append(picture.tobytes())
            return super().feed(picture)

    monkeypatch.setattr(cutting, "make_detector", lambda name, fps: Looking([]))
    for size in (32, 50, 160):
        seen.append([])
        shots_of(video, cutting=settings(size=size))
    assert len(seen[0]) == 200
    assert seen[0] == seen[1] == seen[2]
