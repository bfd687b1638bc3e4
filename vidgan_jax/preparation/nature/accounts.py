"""What became of every video, shot and clip of `prepare nature`, as tables."""

import collections
import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidgan_jax import files
from vidgan_jax.preparation.nature.cutting import ShotCutting
from vidgan_jax.preparation.nature.recipe import (
    CLIPS,
    SEGMENTATION,
    SHOTS,
    SUITABILITY,
    Fate,
    Fates,
    Outcomes,
)
from vidgan_jax.preparation.parts import Outcome

SHOTS_NAME, CLIPS_NAME, SUMMARY_NAME = "shots.csv", "clips.csv", "stages.json"

_SHOT_FIELDS = (
    "video",
    "shot",
    "start_s",
    "end_s",
    "seconds",
    "ended_by",
    "transition_frames",
    "transition_score",
    "clip",
    "dropped",
)
_CLIP_FIELDS = ("clip", "kept", "dropped_by", "reasons")


@dataclasses.dataclass(frozen=True)
class Step:
    """What one stage left.

    Attributes:
      stage: its name.
      num_in: videos, shots or clips that it was given.
      num_out: shots or clips that it left.
      what: is counted: "videos → shots".
      dropped: how many it dropped, by reason; a clip may have several.
      seconds: of work, over all processes.
    """

    stage: str
    num_in: int
    num_out: int
    what: str
    dropped: Mapping[str, int]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Accounts:
    """What became of everything.

    Attributes:
      steps: by stage, in order.
      errors: why videos could not be used, by video.
    """

    steps: tuple[Step, ...]
    errors: Mapping[str, str]


def account(outcomes: Outcomes, fates: Fates, num_videos: int) -> Accounts:
    """Counts what the stages that have run have left.

    Args:
      outcomes: of the stages.
      fates: of all clips.
      num_videos: that there are.
    """
    errors = {
        video: outcome.error
        for of_stage in outcomes.values()
        for video, outcome in of_stage.items()
        if outcome.error is not None
    }
    cut = outcomes.get(CLIPS, outcomes.get(SHOTS, {}))
    shots = [shot for outcome in cut.values() for shot in _shots(outcome)]
    unusable = {"videos that can't be used": len(errors)} if errors else {}
    steps = [Step(SHOTS, num_videos, len(shots), "videos → shots", unusable, 0.0)]
    if SHOTS in outcomes:
        steps[0] = dataclasses.replace(steps[0], seconds=_seconds(outcomes[SHOTS]))
    if CLIPS in outcomes:
        clips = sum(outcome.num_clips for outcome in cut.values())
        short = {"too short": len(shots) - clips}
        steps.append(Step(CLIPS, len(shots), clips, "shots → clips", short, _seconds(cut)))
    found = [fate for of_video in fates.values() for fate in of_video]
    left = len(found)
    for stage in (SUITABILITY, SEGMENTATION):
        if stage in outcomes:
            dropped = [fate for fate in found if fate.stage == stage]
            why = collections.Counter(_limit(reason) for fate in dropped for reason in fate.reasons)
            steps.append(
                Step(
                    stage,
                    left,
                    left - len(dropped),
                    "clips",
                    dict(why.most_common()),
                    _seconds(outcomes[stage]),
                )
            )
            left -= len(dropped)
    return Accounts(tuple(steps), errors)


def write_tables(
    out: Path, outcomes: Outcomes, fates: Fates, cutting: ShotCutting, accounts: Accounts
) -> None:
    """Writes shots.csv, clips.csv (where clips have been measured) and stages.json."""
    cut = outcomes.get(CLIPS, outcomes.get(SHOTS, {}))
    shots = _shot_rows(cut, cutting, CLIPS in outcomes)
    shots += [{"video": video, "dropped": error} for video, error in accounts.errors.items()]
    _write_csv(out / SHOTS_NAME, _SHOT_FIELDS, shots)
    if SUITABILITY in outcomes:
        found = [fate for of_video in fates.values() for fate in of_video]
        _write_csv(out / CLIPS_NAME, _CLIP_FIELDS, _clip_rows(found))
    files.write_json(out / SUMMARY_NAME, dataclasses.asdict(accounts))


def _shots(outcome: Outcome) -> list[dict[str, Any]]:
    """Those with frames; a transition right behind another leaves none between."""
    shots = outcome.details.get("shots", ())
    return [shot for shot in shots if shot["end"] > shot["start"]]


def _seconds(outcomes: Mapping[str, Outcome]) -> float:
    return round(sum(outcome.seconds for outcome in outcomes.values()), 2)


def _limit(reason: str) -> str:
    """The measure that a reason is about, its first word."""
    return reason.split()[0]


def _shot_rows(
    cut: Mapping[str, Outcome], cutting: ShotCutting, with_clips: bool
) -> list[dict[str, Any]]:
    rows = []
    for video, outcome in cut.items():
        for number, shot in enumerate(_shots(outcome)):
            transition = shot["transition"]
            seconds = shot["end_s"] - shot["start_s"]
            dropped = ""
            if with_clips and shot["clip"] is None:
                least_s = cutting.least_frames / cutting.fps
                dropped = f"too short: {seconds:.2f} s of {least_s:.2f} s"
            rows.append(
                {
                    "video": video,
                    "shot": number,
                    "start_s": shot["start_s"],
                    "end_s": shot["end_s"],
                    "seconds": round(seconds, 4),
                    "ended_by": shot["ended_by"],
                    "transition_frames": ""
                    if transition is None
                    else transition[1] - transition[0],
                    "transition_score": "" if transition is None else round(transition[3], 4),
                    "clip": shot["clip"] or "",
                    "dropped": dropped,
                }
            )
    return rows


def _clip_rows(found: Sequence[Fate]) -> list[dict[str, Any]]:
    return [
        {
            "clip": fate.clip_id,
            "kept": "no" if fate.stage else "yes",
            "dropped_by": fate.stage or "",
            "reasons": "; ".join(fate.reasons),
            **{name: f"{value:.6g}" for name, value in fate.measures.items()},
        }
        for fate in found
    ]


def _write_csv(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows, with these columns first and whatever else they have after them."""
    names = list(dict.fromkeys([*fields, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    files.write_bytes(path, text.getvalue().encode())
