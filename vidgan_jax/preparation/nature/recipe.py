"""The recipe "nature": videos → shots → one clip a shot → fixed cameras → label maps → shards.

    OUT/.stages/shots         the shots, where they were found without cutting clips
    OUT/.stages/clips         candidates: one clip of each shot that is long enough
    OUT/.stages/suitability   what was measured of them
    OUT/.stages/segmentation  label maps of those that passed, and how constant they are
    OUT/shots.csv, clips.csv  what became of every shot and clip, and why

Source: Egan 2019, section 4.1.1, which does not say how its clips were found suitable.
"""

import base64
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidgan_jax.preparation import dataset, footage
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.jobs import num_cores
from vidgan_jax.preparation.nature import suitability, works
from vidgan_jax.preparation.nature.cutting import DETECTION_SIZE, ShotCutting
from vidgan_jax.preparation.nature.suitability import Limits
from vidgan_jax.preparation.nature.works import ClipsTask, CuttingTask, SegmentClips, Told
from vidgan_jax.preparation.parts import Job, Outcome, Parts
from vidgan_jax.preparation.stages import Earlier, Stage, stage_parts

SHOTS, CLIPS, SUITABILITY, SEGMENTATION, SHARDS = STAGES = (
    "shots",
    "clips",
    "suitability",
    "segmentation",
    "shards",
)


# Stage → video → outcome, and video → what became of its clips.
Outcomes = Mapping[str, Mapping[str, Outcome]]
Fates = Mapping[str, Sequence["Fate"]]


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """How label maps are made.

    Attributes:
      load: makes the segmenter from `where`; see `SegmentClips`.
      where: its weights.
      identity: changes when what it says does.
      segmented_frames: frames of each clip that are segmented, odd.
    """

    load: Callable[[str], works.SegmentFrames]
    where: str
    identity: str
    segmented_frames: int = 5

    def __post_init__(self) -> None:
        if self.segmented_frames < 3 or self.segmented_frames % 2 == 0:
            raise ValueError(
                f"segmented_frames (={self.segmented_frames}) must be odd and at least 3: the "
                "middle one's map is compared with the others'"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What the maps depend on."""
        return {"identity": self.identity, "segmented_frames": self.segmented_frames}


@dataclasses.dataclass(frozen=True)
class Nature:
    """All settings of the recipe.

    Attributes:
      cutting: how shots are found, and clips cut.
      encoding: of the stored frames.
      limits: what makes a clip suitable.
      segmentation: how label maps are made; None for none, and no limits on them.
    """

    cutting: ShotCutting
    encoding: Encoding
    limits: Limits
    segmentation: Segmentation | None

    def __post_init__(self) -> None:
        if self.cutting.size < suitability.LEAST_SIDE:
            raise ValueError(
                f"size (={self.cutting.size}) must be at least {suitability.LEAST_SIDE}, for the "
                "movement of the camera to be measured"
            )
        segmented = self.segmentation.segmented_frames if self.segmentation else 0
        if segmented > self.cutting.num_frames:
            raise ValueError(
                f"segmented_frames (={segmented}) must be at most {self.cutting.num_frames}, the "
                "frames of a clip"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the data set depends on, besides its sources."""
        segmentation = None if self.segmentation is None else self.segmentation.settings
        return {
            **self._cutting,
            "limits": dataclasses.asdict(self.limits),
            "segmentation": segmentation,
        }

    @property
    def _shots(self) -> dict[str, Any]:
        names = ("fps", "detector", "keep_damaged")
        shots = {name: getattr(self.cutting, name) for name in names}
        return shots | {"size": max(self.cutting.size, DETECTION_SIZE)}

    @property
    def _cutting(self) -> dict[str, Any]:
        return dataclasses.asdict(self.cutting) | dataclasses.asdict(self.encoding)


class Preparation:
    """One data set in the making.

    Args:
      sources: see `footage.find_videos`.
      nature: the settings.
      out: the data set's folder.
      workers: processes there will be; cores are shared among them.

    Attributes:
      videos: a job for each, of which the stages' own are made.
      skipped: what was left out of the folders, and why.

    Raises:
      ValueError: no videos in `sources`.
    """

    def __init__(
        self,
        sources: Sequence[str | os.PathLike[str]],
        nature: Nature,
        out: Path,
        *,
        workers: int | None = None,
    ):
        self.nature, self.out = nature, out
        found, self.skipped = footage.find_videos(sources, leave_out=out)
        cores = num_cores()
        processes = min(cores if workers is None else max(workers, 1), len(found))
        self._threads = max(1, cores // processes)
        self._files = {source.video_id: source for source in found}
        self.videos = [
            Job(s.video_id, footage.stamp(s.path), None, float(s.path.stat().st_size))
            for s in found
        ]
        self._shots = stage_parts(out, SHOTS, nature._shots)
        self._clips = stage_parts(out, CLIPS, nature._cutting)
        self._measures = stage_parts(out, SUITABILITY, {"version": works.MEASURES_VERSION})
        maps = {} if nature.segmentation is None else nature.segmentation.settings
        self._maps = stage_parts(out, SEGMENTATION, maps)

    def stages(self, until: str = SHARDS) -> list[Stage]:
        """The stages up to one; shots are found where clips are cut, in the same pass."""
        if until == SHOTS:
            return [Stage(SHOTS, self._shots, works.cut_video, self._shots_job)]
        stages = [
            Stage(CLIPS, self._clips, works.cut_video, self._clips_job),
            Stage(SUITABILITY, self._measures, works.measure_clips, self._measures_job),
        ]
        how = self.nature.segmentation
        if how is not None:
            work = SegmentClips(how.load, how.where, how.segmented_frames)
            stages.append(Stage(SEGMENTATION, self._maps, work, self._maps_job, True))
        names = [stage.name for stage in stages]
        if until not in (*names, SHARDS):
            raise ValueError(f"there is no stage {until!r} where there is no segmenter")
        return stages if until == SHARDS else stages[: names.index(until) + 1]

    @property
    def parts(self) -> dict[str, Parts]:
        """Of all stages, by name."""
        return {
            SHOTS: self._shots,
            CLIPS: self._clips,
            SUITABILITY: self._measures,
            SEGMENTATION: self._maps,
        }

    def remember_shots(self, clips: Mapping[str, Outcome]) -> None:
        """Keeps the shots that were found with the clips, so that other clips are cut faster."""
        with self._shots.opened(overwrite=True):
            self._shots.finished(self.videos)
            for video in self.videos:
                outcome = clips.get(video.video_id)
                if outcome is not None and outcome.error is None:
                    shots = [shot | {"clip": None} for shot in outcome.details["shots"]]
                    known = Outcome(video.video_id, details={"shots": shots})
                    self._shots.record(self._job(video, None), known)

    def recipe(self, outcomes: Outcomes, fates: Fates) -> dataset.Recipe:
        """The last stage: what `dataset.prepare` needs to write the clips that are kept.

        Args:
          outcomes: of all stages before; empty to see whether the data set is there.
          fates: what they mean; likewise.
        """
        jobs = []
        for video in self.videos:
            name = video.video_id
            task = self._last_task(name, of_video(outcomes, name), fates.get(name, ()))
            jobs.append(dataclasses.replace(video, task=task))
        return dataset.Recipe(
            "nature",
            works.keep_clips,
            jobs,
            self.nature.settings,
            tuple(self.skipped),
            what="clips to shards",
        )

    def _job(self, video: Job, task: Any, *more: str) -> Job:
        return dataclasses.replace(video, source="; ".join([video.source, *more]), task=task)

    def _shots_job(self, video: Job, earlier: Earlier) -> Job:
        return self._job(video, self._cutting_task(video, known=None, want_clips=False))

    def _clips_job(self, video: Job, earlier: Earlier) -> Job:
        shots = self._shots.outcome(self._job(video, None))
        known = None if shots is None else works.transitions_of(shots.details)
        return self._job(video, self._cutting_task(video, known=known, want_clips=True))

    def _cutting_task(self, video: Job, *, known: Any, want_clips: bool) -> CuttingTask:
        nature, file = self.nature, self._files[video.video_id]
        return CuttingTask(file, nature.cutting, nature.encoding, self._threads, known, want_clips)

    def _measures_job(self, video: Job, earlier: Earlier) -> Job | None:
        clips = earlier[CLIPS]
        if clips.part is None:
            return None
        job = dataclasses.replace(video, cost=float(clips.num_clips))
        return self._job(job, self._task(clips), str(clips.part))

    def _maps_job(self, video: Job, earlier: Earlier) -> Job | None:
        clips = earlier[CLIPS]
        measures = earlier[SUITABILITY].details["measures"]
        limits = self.nature.limits
        left = [
            clip for clip, of_clip in measures.items() if not suitability.reasons(of_clip, limits)
        ]
        if not left:
            return None
        job = dataclasses.replace(video, cost=float(len(left)))
        digest = hashlib.sha256(json.dumps(left).encode()).hexdigest()
        return self._job(job, self._task(clips, left), str(clips.part), digest)

    def _task(self, clips: Outcome, clip_ids: Sequence[str] | None = None) -> ClipsTask:
        path = self._clips.directory / str(clips.part)
        wanted = None if clip_ids is None else tuple(clip_ids)
        return ClipsTask(clips.video_id, path, clips.num_bytes, wanted)

    def _last_task(self, video_id: str, stages: Earlier, found: Sequence["Fate"]) -> ClipsTask:
        error = next((outcome.error for outcome in stages.values() if outcome.error), None)
        if error is not None or CLIPS not in stages:
            return ClipsTask(video_id, Path(), 0, (), {}, error)
        notes = [note for outcome in stages.values() for note in outcome.notes]
        told = {fate.clip_id: fate.told for fate in found if fate.told is not None}
        if found and not told:
            reasons = sorted({reason.split()[0] for fate in found for reason in fate.reasons})
            notes.append(
                f"{video_id}: no clip of its {len(found)} is suitable: "
                f"{', '.join(reasons)} (see clips.csv)"
            )
        task = self._task(stages[CLIPS], list(told))
        return dataclasses.replace(task, told=told, notes=tuple(notes))


@dataclasses.dataclass(frozen=True)
class Fate:
    """What became of a candidate.

    Attributes:
      clip_id: its name.
      measures: what was measured.
      stage: that dropped it; None where it is kept.
      reasons: why.
      told: what is written with it; None where it is dropped.
    """

    clip_id: str
    measures: Mapping[str, float]
    stage: str | None
    reasons: tuple[str, ...]
    told: Told | None


def of_video(outcomes: Outcomes, video: str) -> dict[str, Outcome]:
    """The outcomes of one video, by stage."""
    return {stage: found[video] for stage, found in outcomes.items() if video in found}


def all_fates(outcomes: Outcomes, nature: Nature) -> Fates:
    """What became of the candidates of all videos that have been cut."""
    cut = outcomes.get(CLIPS, {})
    return {video: list(_fates(of_video(outcomes, video), nature)) for video in cut}


def _fates(stages: Earlier, nature: Nature) -> Iterator[Fate]:
    """What became of each candidate of a video, in the order of the file."""
    if SUITABILITY not in stages or any(outcome.error for outcome in stages.values()):
        return
    maps = stages[SEGMENTATION].details if SEGMENTATION in stages else None
    for clip_id, measured in stages[SUITABILITY].details["measures"].items():
        why = suitability.reasons(measured, nature.limits)
        if why:
            yield Fate(clip_id, measured, SUITABILITY, tuple(why), None)
            continue
        label_map = None
        measures = dict(measured)
        if maps is not None:
            measures |= maps["measures"][clip_id]
            label_map = base64.b64decode(maps["label_maps"][clip_id])
            why = suitability.reasons(measures, nature.limits)
        if why:
            yield Fate(clip_id, measures, SEGMENTATION, tuple(why), None)
        else:
            yield Fate(clip_id, measures, None, (), Told(measures, label_map))
