"""Stages: several jobs of each video, one after another, each of which can be resumed and rerun.

A stage has parts of its own, in a folder of its own beside the data set's (`parts.py`):

    OUT/.stages/NAME/

What a stage makes of a video depends on its settings, the video and what earlier stages made of it.
A change of settings costs that stage and the later ones, of the videos that it makes a difference
to.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidgan_jax.preparation.jobs import run_jobs
from vidgan_jax.preparation.parts import Job, Outcome, Parts, Work

STAGES_NAME = ".stages"

# The outcomes of one video, by stage.
Earlier = Mapping[str, Outcome]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
      name: of its folder, and in reports.
      parts: what it has made.
      work: makes one video's part.
      job: what there is to do for a video, from the outcomes of earlier stages; None for nothing.
        Its `video_id` is the video's. It is called where the earlier stages have run.
      in_this_process: the work keeps all cores, or a GPU, busy by itself.
    """

    name: str
    parts: Parts
    work: Work
    job: Callable[[Job, Earlier], Job | None]
    in_this_process: bool = False


def stage_parts(out: Path, name: str, settings: Mapping[str, Any]) -> Parts:
    """The parts of a stage."""
    return Parts(out, name, settings, f"{STAGES_NAME}/{name}")


@contextlib.contextmanager
def opened(stages: Sequence[Stage], *, overwrite: bool) -> Iterator[None]:
    """Opens the parts of all stages; see `Parts.opened`."""
    with contextlib.ExitStack() as stack:
        for stage in stages:
            stack.enter_context(stage.parts.opened(overwrite=overwrite))
        yield


def run_stages(
    stages: Sequence[Stage],
    videos: Sequence[Job],
    *,
    workers: int | None = None,
    progress: bool = True,
    after: Callable[[Stage, Mapping[str, Outcome]], None] | None = None,
) -> dict[str, dict[str, Outcome]]:
    """Runs stages, each for all videos before the next one; what is there is not made again.

    A video that fails in a stage is in none of the later ones.

    Args:
      stages: in order, their parts open.
      videos: jobs whose name, source and cost the stages' own are made of.
      workers: processes; None for one a core, 0 for none.
      progress: report on stderr.
      after: called when a stage is done, with its outcomes.

    Returns:
      By stage, the outcomes by video.
    """
    outcomes: dict[str, dict[str, Outcome]] = {}
    for number, stage in enumerate(stages, start=1):
        jobs = jobs_of(stage, videos, outcomes)
        found = run_jobs(
            jobs,
            stage.work,
            stage.parts,
            workers=0 if stage.in_this_process else workers,
            title=f"{number} of {len(stages)}: {stage.name}",
            progress=progress,
        )
        outcomes[stage.name] = {outcome.video_id: outcome for outcome in found}
        if after is not None:
            after(stage, outcomes[stage.name])
    return outcomes


def jobs_of(
    stage: Stage, videos: Sequence[Job], outcomes: Mapping[str, Mapping[str, Outcome]]
) -> list[Job]:
    """What there is to do in a stage, for the videos that no earlier stage has lost.

    Args:
      stage: of these jobs.
      videos: see `run_stages`.
      outcomes: of all earlier stages, by video.
    """
    jobs = []
    for video in videos:
        earlier = {
            name: of[video.video_id] for name, of in outcomes.items() if video.video_id in of
        }
        if len(earlier) == len(outcomes) and not any(o.error for o in earlier.values()):
            job = stage.job(video, earlier)
            if job is not None:
                jobs.append(job)
    return jobs
