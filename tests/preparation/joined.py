"""Videos joined from procedural shots by known transitions, and how well detectors find them."""

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from vidgan_jax.data import scenes
from vidgan_jax.preparation.nature.shots import Detector, Transition

HEIGHT, WIDTH = 27, 48
TOLERANCE_S = 0.25

# What the camera or the light does in a shot; nothing of it begins a new one.
HANDLINGS = (
    "still",
    "pan",
    "pan and stop",
    "zoom",
    "handheld",
    "timelapse",
    "flicker",
    "exposure",
    "flash",
    "bird",
    "shadow",
)
_DRAWN_SIZE = 64
_SENSOR_NOISE = 1.2
_TIMELAPSE = 12.0


@dataclasses.dataclass(frozen=True)
class Joint:
    """How a shot is joined to the next.

    Attributes:
      kind: "cut", "dissolve" or "fade".
      num_frames: mixed frames, or for a fade those that are neither of the two shots alone.
      plain_frames: how many of a fade's frames show nothing but the colour.
      colour: of a fade; a level.
      is_smooth: sets in and ends slowly.
    """

    kind: str
    num_frames: int = 0
    plain_frames: int = 0
    colour: int = 0
    is_smooth: bool = False

    def ramp(self, count: int) -> np.ndarray:
        """Weights of what comes, float32 `[count]`, strictly between 0 and 1."""
        weights = np.arange(1, count + 1, dtype=np.float32) / (count + 1)
        return weights * weights * (3 - 2 * weights) if self.is_smooth else weights


@dataclasses.dataclass(frozen=True)
class Joined:
    """A video and what is known of it.

    Attributes:
      frames: uint8 `[t, HEIGHT, WIDTH, 3]`.
      transitions: all of them, in order.
      handlings: of the shots.
    """

    frames: np.ndarray
    transitions: tuple[Transition, ...]
    handlings: tuple[str, ...] = ()


def draw_shot(
    rng: np.random.Generator, num_frames: int, fps: float, handling: str, kind: str | None = None
) -> np.ndarray:
    """Draws a shot of a procedural scene, seen by a camera that is handled in some way.

    Returns:
      float32 `[num_frames, HEIGHT, WIDTH, 3]`, levels.
    """
    clip = scenes.render_clip(
        int(rng.integers(1 << 31)),
        num_frames=num_frames,
        size=_DRAWN_SIZE,
        fps=fps / _TIMELAPSE if handling == "timelapse" else fps,
        kind=kind,
        supersampling=1,
    )
    windows = _windows(rng, num_frames, fps, handling)
    shot = np.stack(
        [
            np.asarray(
                Image.fromarray(frame).resize(
                    (WIDTH, HEIGHT), Image.Resampling.BOX, tuple(window * _DRAWN_SIZE)
                )
            )
            for frame, window in zip(clip.frames, windows, strict=True)
        ]
    ).astype(np.float32)
    return _lit(rng, shot, fps, handling)


def _windows(rng: np.random.Generator, num_frames: int, fps: float, handling: str) -> np.ndarray:
    """What part of the scene each frame shows: left, top, right, bottom, of 1; `[t, 4]`."""
    seconds = np.arange(num_frames) / fps
    if handling not in ("pan", "pan and stop", "zoom", "handheld"):
        return np.tile([0.0, 0.0, 1.0, 1.0], (num_frames, 1))
    size = np.full(num_frames, 0.7)
    path = np.zeros((num_frames, 2))
    if handling == "zoom":
        size = np.clip(0.6 + rng.choice([-1, 1]) * 0.08 * (seconds - seconds.mean()), 0.3, 1)
    elif handling == "handheld":
        phases, rates = rng.uniform(0, 6.3, (3, 2)), rng.uniform(0.5, 6, (3, 1))
        waves = np.sin(rates[:, None] * seconds[:, None] + phases[:, None])
        path = 0.012 * waves.sum(0)
    else:
        angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.08)
        along = seconds - seconds.mean()
        if handling == "pan and stop":
            along, speed = np.clip(along, -0.5, 0.5), rng.uniform(0.08, 0.25)
        path = speed * along[:, None] * [np.cos(angle), np.sin(angle)]
    corner = np.clip((1 - size[:, None]) / 2 + path, 0, 1 - size[:, None])
    return np.concatenate([corner, corner + size[:, None]], axis=1)


def _lit(rng: np.random.Generator, shot: np.ndarray, fps: float, handling: str) -> np.ndarray:
    """Adds what happens to the light, things that pass, and a sensor's noise."""
    count = len(shot)
    seconds = np.arange(count) / fps
    middle = seconds.mean() + rng.uniform(-0.3, 0.3)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    if handling == "flicker":
        shot = shot * (1 + 0.04 * rng.standard_normal((count, 1, 1, 1)))
    elif handling == "exposure":
        gain = rng.choice([0.55, 0.75, 1.3])
        done = np.clip((seconds - middle) / rng.uniform(0.1, 1.5), 0, 1)[:, None, None, None]
        shot = 255 * (shot / 255) ** (1 + (1 / gain - 1) * done)
    elif handling == "flash":
        start = int(middle * fps)
        shot[start : start + int(rng.integers(1, 5))] += rng.uniform(40, 300)
    elif handling == "bird":
        radius, row = rng.uniform(2, 7), rng.uniform(5, HEIGHT - 5)
        for i, column in enumerate(WIDTH * (0.5 + (seconds - middle) / rng.uniform(0.5, 3))):
            shot[i, (x - column) ** 2 + 4 * (y - row) ** 2 < radius**2] = 25
    elif handling == "shadow":
        shade = rng.uniform(0.5, 0.7)
        for i, column in enumerate(WIDTH * (seconds - middle) / rng.uniform(1, 4) + WIDTH / 2):
            shot[i] *= 1 - (1 - shade) / (1 + np.exp(np.clip(x - column, -50, 50) / 4))[..., None]
    noise = rng.standard_normal(shot.shape, np.float32) * _SENSOR_NOISE
    return np.clip(shot + noise, 0, 255).astype(np.float32)


def join(shots: Sequence[np.ndarray], joints: Sequence[Joint]) -> Joined:
    """Joins shots, each `[t, h, w, 3]`, by as many transitions less one.

    Mixed frames use up frames of both shots, which go on moving.
    """
    parts, transitions, position, begin = [], [], 0, 0
    for number, shot in enumerate(shots):
        if number == len(joints):
            parts.append(shot[begin:])
            break
        joint, after = joints[number], shots[number + 1]
        mixed, used = _mixed(shot, after, joint)
        stop = len(shot) - used
        parts += [shot[begin:stop], mixed]
        position += stop - begin
        transitions.append(Transition(position, position + len(mixed), joint.kind, 1.0))
        position += len(mixed)
        begin = used
    frames = np.clip(np.rint(np.concatenate(parts)), 0, 255).astype(np.uint8)
    return Joined(frames, tuple(transitions))


def _mixed(before: np.ndarray, after: np.ndarray, joint: Joint) -> tuple[np.ndarray, int]:
    """The frames of a transition, and how many frames of each shot they use up."""
    if joint.kind == "fade":
        used = (joint.num_frames - joint.plain_frames) // 2
        weights = joint.ramp(used)[:, None, None, None]
        plain = np.full((joint.plain_frames, *before.shape[1:]), joint.colour, np.float32)
        out = (1 - weights) * before[len(before) - used :] + weights * joint.colour
        back = (1 - weights) * joint.colour + weights * after[:used]
        return np.concatenate([out, plain, back]), used
    used = joint.num_frames
    weights = joint.ramp(used)[:, None, None, None]
    return (1 - weights) * before[len(before) - used :] + weights * after[:used], used


def draw_joint(rng: np.random.Generator, kind: str, fps: float) -> Joint:
    """Draws a transition: a dissolve takes 0.25 to 3 s, a fade 0.4 to 3 s."""
    if kind == "cut":
        return Joint("cut")
    is_smooth = bool(rng.random() < 0.25)
    if kind == "dissolve":
        seconds = math.exp(rng.uniform(math.log(0.25), math.log(3)))
        return Joint("dissolve", round(seconds * fps), is_smooth=is_smooth)
    half = round(math.exp(rng.uniform(math.log(0.2), math.log(1.5))) * fps)
    plain = int(rng.integers(1, max(2, round(0.5 * fps))))
    return Joint("fade", 2 * half + plain, plain, int(rng.choice([0, 0, 255])), is_smooth)


def draw_video(
    seed: int,
    num_shots: int,
    *,
    fps: float = 24.0,
    kinds: Sequence[str] = ("cut", "dissolve", "fade"),
    handlings: Sequence[str] = HANDLINGS,
    shots_s: tuple[float, float] = (2.0, 6.0),
    similar: float = 0.3,
) -> Joined:
    """Draws a video of shots, each handled in its own way.

    Args:
      seed: other seeds give other videos.
      num_shots: how many; one less are the transitions.
      fps: frames a second.
      kinds: of transitions, drawn evenly.
      handlings: likewise.
      shots_s: least and greatest length of what lies between transitions, seconds.
      similar: how often a shot's scene is of the same kind as the one's before.
    """
    rng = np.random.default_rng(seed)
    joints = [draw_joint(rng, str(rng.choice(kinds)), fps) for _ in range(num_shots - 1)]
    used = [
        0 if joint.kind == "cut"
        else joint.num_frames if joint.kind == "dissolve"
        else (joint.num_frames - joint.plain_frames) // 2
        for joint in joints
    ]  # fmt: skip
    shots, chosen = [], []
    kind = str(rng.choice(scenes.SCENE_KINDS))
    for before, after in zip([0, *used], [*used, 0], strict=True):
        chosen.append(str(rng.choice(handlings)))
        count = round(rng.uniform(*shots_s) * fps) + before + after
        shots.append(draw_shot(rng, count, fps, chosen[-1], kind))
        if rng.random() >= similar:
            kind = str(rng.choice(scenes.SCENE_KINDS))
    return dataclasses.replace(join(shots, joints), handlings=tuple(chosen))


def detect(detector: Detector, frames: Iterable[np.ndarray]) -> list[Transition]:
    """Feeds all frames to a detector and ends the video."""
    found = [transition for frame in frames for transition in detector.feed(frame)]
    return found + detector.finish()


@dataclasses.dataclass
class Matches:
    """What was found of what there is.

    A transition is found where one of the detector's overlaps it, or is no further than
    `TOLERANCE_S` from it. What the detector finds beyond is wrong.

    Attributes:
      found: of true transitions, by kind.
      true: how many there are, by kind.
      right: of the detector's.
      told: how many the detector told of.
      missed: the true ones not found.
      wrong: the detector's that are not there.
    """

    found: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    true: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    right: int = 0
    told: int = 0
    missed: list[Transition] = dataclasses.field(default_factory=list)
    wrong: list[Transition] = dataclasses.field(default_factory=list)

    def add(self, told: Sequence[Transition], true: Sequence[Transition], fps: float) -> None:
        """Counts a video."""
        tolerance = TOLERANCE_S * fps

        def agree(a: Transition, b: Transition) -> bool:
            return a.start <= b.end + tolerance and b.start <= a.end + tolerance

        for item in true:
            is_found = any(agree(item, other) for other in told)
            self.true[item.kind] += 1
            self.found[item.kind] += is_found
            self.missed += [] if is_found else [item]
        wrong = [item for item in told if not any(agree(item, other) for other in true)]
        self.told += len(told)
        self.right += len(told) - len(wrong)
        self.wrong += wrong

    def recall(self, kind: str) -> float:
        """Share of the true transitions of a kind that were found."""
        return self.found[kind] / self.true[kind]

    @property
    def precision(self) -> float:
        """Share of what the detector told that is there."""
        return self.right / self.told
