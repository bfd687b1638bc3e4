"""The shot detector without weights: cuts, fades and dissolves, by numpy alone.

Three searches propose transitions, each some seconds behind the newest frame:

- **cuts**: a step from one frame to the next that is large against the steps about it;
- **blends**: stretches that fit a mixture of what is before into what is after (`blends.py`);
- **fades**: from the last frames in full contrast, over plain ones, to the next in full contrast.

A proposal counts where what is before it and what is after it are different places
(`likeness.py`), which flashes, clouds' shadows, pans and zooms don't lead to. Of proposals that
overlap the one with the highest score is taken.
"""

from typing import NamedTuple

import numpy as np

from vidgan_jax.preparation.nature import blends
from vidgan_jax.preparation.nature.likeness import difference, likeness
from vidgan_jax.preparation.nature.shots import HEIGHT, WIDTH, Transition

# Scores are levels: the difference of the shots, less by doubts. Chosen on joined procedural shots.
_LEAST_SCORE = 10.0
_MOST_COST = 0.25
# Likeness up to the first is no objection, from the second on a veto. A cut's step speaks for
# itself; what passes for a slow blend is often the camera's doing.
_LIKENESS_OF_CUTS = (0.4, 0.6)
_LIKENESS_OF_BLENDS = (0.2, 0.5)

_CUT_RATIO = 2.0
_CUT_AROUND_S = 0.25

_PLAIN_CONTRAST = 4.0
# A fade begins where contrast has not risen, by more than this share, for so long.
_RISE, _RISE_WITHIN_S = 0.02, 0.15
# Plain for less: a flash, if the same place is there again after it.
_FLASH_S = 0.5
_ALIKE_AFTER_FLASH = 0.45
# Plain for longer: told in pieces, since nothing is settled before it is told.
_PLAIN_PIECE_S = 10.0

# Plain frames leave no doubt.
_SURE = 255.0

_BATCH_S = 1.0


class _Proposal(NamedTuple):
    """A transition that may count; `bound` is the highest score that it may turn out to have."""

    start: int
    end: int
    cost: float
    bound: float


class _Fade(NamedTuple):
    """A fade of which the end isn't known: its first frame, and the first plain one."""

    start: int
    plain_start: int


class OwnDetector:
    """Finds cuts, fades and dissolves of up to 4 s; see `shots.Detector`.

    Args:
      fps: frames a second.
    """

    height, width = HEIGHT, WIDTH

    def __init__(self, fps: float):
        self._fps = fps
        self._scale = blends.Scale.at(fps)
        longest = self._scale.lengths[-1]
        around = self._frames(_CUT_AROUND_S)
        self._longest = longest
        self._ahead = longest + max(self._scale.reach(longest), around)
        self._behind = 2 * longest
        self._batch: list[np.ndarray] = []
        self._pictures = np.empty((0, HEIGHT, WIDTH, 3), np.uint8)
        self._coarse = blends.coarse(self._pictures)
        self._contrasts = np.empty(0, np.float32)
        self._count = 0  # frames taken out of batches
        self._next = 0  # the first frame from which no cut or blend has been looked for
        self._next_plain = 0  # the first frame of which it isn't known whether it is plain
        self._pending: list[Transition] = []
        self._returned_end = 0
        self._settled = 0
        self._fade: _Fade | None = None

    @property
    def settled(self) -> int:
        """Every transition that starts before the frame of this number has been returned."""
        return self._settled

    def feed(self, picture: np.ndarray) -> list[Transition]:
        """Takes the next frame; see `shots.Detector`.

        Raises:
          ValueError: the picture is not uint8 `[height, width, 3]`.
        """
        if picture.shape != (HEIGHT, WIDTH, 3) or picture.dtype != np.uint8:
            raise ValueError(
                f"picture is {picture.dtype} {list(picture.shape)}, but must be uint8 "
                f"[{HEIGHT}, {WIDTH}, 3]"
            )
        self._batch.append(picture)
        if len(self._batch) < self._frames(_BATCH_S):
            return []
        self._take_batch()
        return self._advance(self._count - self._ahead)

    def finish(self) -> list[Transition]:
        """Ends the video; see `shots.Detector`."""
        if self._batch:
            self._take_batch()
        if self._count:
            # The video as if its last frame stood still.
            self._extend(np.repeat(self._pictures[-1:], self._ahead, axis=0))
        return self._advance(self._count, is_end=True)

    def _frames(self, seconds: float) -> int:
        return max(1, round(seconds * self._fps))

    def _take_batch(self) -> None:
        pictures = np.stack(self._batch)
        self._batch.clear()
        if not self._count:
            # The video as if its first frame had stood still before.
            self._extend(np.repeat(pictures[:1], self._behind, axis=0))
        self._extend(pictures)
        self._count += len(pictures)

    def _extend(self, pictures: np.ndarray) -> None:
        """Adds pictures, and drops those that are not looked at any more."""
        keep = self._behind + self._ahead + self._frames(_BATCH_S)
        dropped = max(0, len(self._pictures) - keep)
        self._pictures = np.concatenate([self._pictures[dropped:], pictures])
        coarse = blends.coarse(pictures)
        self._coarse = np.concatenate([self._coarse[dropped:], coarse])
        self._contrasts = np.concatenate([self._contrasts[dropped:], blends.contrasts(coarse)])

    def _advance(self, horizon: int, is_end: bool = False) -> list[Transition]:
        """Looks for transitions that start before `horizon`; returns those that are final."""
        if horizon > self._next:
            # Where a frame's picture lies in the buffer, less its number.
            offset = len(self._pictures) - self._count - (self._ahead if is_end else 0)
            found = self._fades(offset, is_end)
            found += self._confirmed(self._cuts(horizon, offset), offset)
            found += self._confirmed(self._blends(horizon, offset), offset)
            self._pending = sorted(
                [item for item in self._pending + found if item.start >= self._returned_end]
            )
            self._next = horizon
        return self._settle(is_end)

    def _cuts(self, horizon: int, offset: int) -> list[_Proposal]:
        around = self._frames(_CUT_AROUND_S)
        first = self._next + offset - around
        sizes = blends.steps(self._coarse[first - 1 : horizon + offset + around])
        windows = np.lib.stride_tricks.sliding_window_view(sizes, 2 * around + 1)
        sizes = windows[:, around]
        # The next largest, but for one that may be a jerk, or a mixed frame, beside the cut.
        others = np.sort(windows, axis=1)[:, -3]
        largest = sizes >= windows.max(axis=1)
        proposals = []
        for i in np.flatnonzero(largest & (sizes > _LEAST_SCORE) & (sizes > _CUT_RATIO * others)):
            start = self._next + int(i)
            proposals.append(_Proposal(start, start, 0.0, np.inf))
        return proposals

    def _blends(self, horizon: int, offset: int) -> list[_Proposal]:
        first = self._next + offset
        low = first - self._scale.reach(self._longest)
        sums = blends.running_sums(self._coarse[low : horizon + offset + self._ahead])
        proposals = []
        for length in self._scale.lengths:
            starts = np.arange(self._next, horizon, self._scale.step(length))
            fits = blends.fit(sums, starts + offset - low, length, self._scale)
            bounds = fits.distances * (1 - fits.costs / _MOST_COST)
            best = _local_maxima(bounds, max(1, length // 4 // self._scale.step(length)))
            for i in np.flatnonzero(best & (bounds > _LEAST_SCORE)):
                start, cost = int(starts[i]), float(fits.costs[i])
                proposals.append(_Proposal(start, start + length, cost, float(bounds[i])))
        return sorted(proposals, key=lambda proposal: -proposal.bound)

    def _confirmed(self, proposals: list[_Proposal], offset: int) -> list[Transition]:
        """Those between different places; of a long row of rivals only the better ones."""
        found: list[Transition] = []
        for start, end, cost, bound in proposals:
            if any(
                rival.score >= bound and rival.start < end and start < rival.end for rival in found
            ):
                continue
            edges = [start + offset - 1, min(end, self._count - 1) + offset]
            if (self._contrasts[edges] < _PLAIN_CONTRAST).any():
                continue  # A fade, or within one.
            score = self._score(start + offset, end + offset, cost)
            if score >= _LEAST_SCORE:
                kind = "cut" if start == end else "dissolve"
                found.append(Transition(start, min(end, self._count), kind, score))
        return found

    def _sides(self, start: int, end: int) -> tuple[slice, slice]:
        """Places in the buffer of what is looked at before and after."""
        side = self._scale.side
        return slice(start - side, start), slice(end, end + side)

    def _score(self, start: int, end: int, cost: float) -> float:
        """The difference of what is before and after, less by the doubts; 0 for none."""
        before, after = self._sides(start, end)
        levels = difference(self._coarse[before].mean(0), self._coarse[after].mean(0))
        levels *= 1 - cost / _MOST_COST
        if levels < _LEAST_SCORE:
            return 0.0
        unlike, alike = _LIKENESS_OF_CUTS if start == end else _LIKENESS_OF_BLENDS
        # From here on doubts leave too low a score.
        enough = alike - (alike - unlike) * _LEAST_SCORE / levels
        doubt = (self._likeness(before, after, enough) - unlike) / (alike - unlike)
        return levels * float(np.clip(1 - doubt, 0, 1))

    def _likeness(self, before: slice, after: slice, enough: float) -> float:
        a, b = (self._pictures[side].mean(0, dtype=np.float32) for side in (before, after))
        return likeness(a, b, enough)

    def _fades(self, offset: int, is_end: bool) -> list[Transition]:
        """Follows runs of plain frames."""
        contrasts = self._contrasts
        found = []
        horizon = self._count - (0 if is_end else self._longest)
        for number in range(self._next_plain, horizon):
            is_plain = contrasts[number + offset] < _PLAIN_CONTRAST
            if self._fade is None:
                if is_plain:
                    start = number - self._rise(contrasts[: number + offset][::-1])
                    self._fade = _Fade(max(0, start), number)
            elif not is_plain:
                end = number + self._rise(contrasts[number + offset :])
                if not self._is_flash(self._fade, number, end, offset):
                    found.append(Transition(self._fade.start, end, "fade", _SURE))
                self._fade = None
            elif number - self._fade.start >= self._frames(_PLAIN_PIECE_S):
                found.append(Transition(self._fade.start, number, "fade", _SURE))
                self._fade = _Fade(number, number)
        self._next_plain = max(self._next_plain, horizon)
        if is_end and self._fade is not None:
            found.append(Transition(self._fade.start, self._count, "fade", _SURE))
            self._fade = None
        return found

    def _rise(self, contrasts: np.ndarray) -> int:
        """How many frames away from plain ones contrast is at its full."""
        full = 0
        for i in range(1, min(len(contrasts), self._longest)):
            if contrasts[i] > (1 + _RISE) * contrasts[full]:
                full = i
            elif i - full >= self._frames(_RISE_WITHIN_S):
                break
        return full

    def _is_flash(self, fade: _Fade, plain_end: int, end: int, offset: int) -> bool:
        """Whether all was plain for a moment only, and then as before."""
        if fade.start == 0 or plain_end - fade.plain_start > self._frames(_FLASH_S):
            return False
        before, after = self._sides(fade.start + offset, end + offset)
        return self._likeness(before, after, _ALIKE_AFTER_FLASH) >= _ALIKE_AFTER_FLASH

    def _settle(self, is_end: bool) -> list[Transition]:
        """Takes out what later frames can't change, the better of what overlaps."""
        # A fade begins before its plain frames do.
        fade_start = self._next_plain - self._longest if self._fade is None else self._fade.start
        known = max(0, min(self._next, fade_start))
        chosen: list[Transition] = []
        while self._pending:
            end, count = self._pending[0].end, 0
            for count, item in enumerate(self._pending, start=1):
                if item.start > end + self._scale.side:
                    count -= 1
                    break
                end = max(end, item.end)
            # A row of rivals without end is cut off: memory is bounded.
            is_long = known - self._pending[0].start > 2 * self._longest
            if not (is_end or is_long or end + self._scale.side < known):
                break
            chosen += _best_apart(self._pending[:count], self._scale.side)
            del self._pending[:count]
        chosen = [item for item in chosen if item.start >= self._returned_end]
        if chosen:
            self._returned_end = chosen[-1].end
        limits = [known, *(item.start for item in self._pending[:1])]
        self._settled = self._count if is_end else max(self._settled, min(limits))
        return chosen


def _local_maxima(values: np.ndarray, radius: int) -> np.ndarray:
    """Whether each value is the highest within `radius` places."""
    padded = np.pad(values, radius, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1)
    return values >= windows.max(axis=1)


def _best_apart(rivals: list[Transition], gap: int) -> list[Transition]:
    """Those with the highest scores of which none is within `gap` frames of another, in order."""
    chosen: list[Transition] = []
    for item in sorted(rivals, key=lambda item: -item.score):
        if all(item.start > other.end + gap or item.end + gap < other.start for other in chosen):
            chosen.append(item)
    return sorted(chosen)
