"""Work for the tests of jobs, in a module of its own so that worker processes can import it."""

import dataclasses
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from vidgan_jax.data import records
from vidgan_jax.preparation.parts import Job, WriteClip


@dataclasses.dataclass(frozen=True)
class Task:
    """What `paint` paints, and what goes wrong.

    Attributes:
      video_id: of the job.
      clips: to be made.
      fail: raise ValueError after the first clip.
      crash: raise a TypeError after the first clip.
      die: kill the process after the first clip: "always", or "once".
      marker: says that it has died; one file is added for each time the job starts.
      wait_s: before each clip.
      max_file_bytes: what the system lets this process write, as a disk that is full would.
    """

    video_id: str
    clips: int = 2
    fail: bool = False
    crash: bool = False
    die: str = ""
    marker: Path | None = None
    wait_s: float = 0.0
    max_file_bytes: int | None = None


def paint(task: Any, write: WriteClip) -> list[str]:
    """Makes small clips whose colours depend on video and clip."""
    if task.marker is not None:
        with open(task.marker, "a") as file:
            file.write(f"{task.video_id} {os.getpid()}\n")
    if task.max_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (task.max_file_bytes, task.max_file_bytes))
    for clip in range(task.clips):
        time.sleep(task.wait_s)
        shade = (sum(map(ord, task.video_id)) + 17 * clip) % 256
        frames = np.full((3, 8, 8, 3), shade, np.uint8)
        record = records.ClipRecord(
            frames=records.encode_frames(frames, image_format="png"),
            height=8,
            width=8,
            fps=24.0,
            video_id=task.video_id,
            clip_id=f"{task.video_id}#{clip}",
        )
        write(record, (clip + 1) / task.clips)
        if task.fail:
            raise ValueError(f"{task.video_id}: not a good video")
        if task.crash:
            raise TypeError("a mistake")
        if task.die == "always" or (task.die == "once" and starts(task.marker) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
    return [] if task.clips else [f"{task.video_id}: too short"]


def starts(marker: Path | None) -> int:
    """How many jobs have written to this marker."""
    return len(marker.read_text().splitlines()) if marker and marker.exists() else 0


def make_jobs(*tasks: Task) -> list[Job]:
    """A job for each task."""
    return [Job(task.video_id, "here", task) for task in tasks]
