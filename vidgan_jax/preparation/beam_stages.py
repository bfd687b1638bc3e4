"""Runs jobs and stages over a cluster, as one Apache Beam pipeline (extra `beam`).

A worker takes a video through all stages (`beam_work.py`). It uses the same functions as the
processes of one machine and writes the same parts, so that either can finish what the other has
begun. What became of the videos is read from the parts.

The data set's folder and the sources must be on a file system that the launcher and all workers
see under the same paths. The launcher holds the lock of the parts.
"""

import argparse
import contextlib
import io
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vidgan_jax.preparation import beam_work
from vidgan_jax.preparation.beam_work import Launch, SharingError
from vidgan_jax.preparation.jobs import check_names
from vidgan_jax.preparation.parts import Job, Outcome, OutputError, Parts, Work
from vidgan_jax.preparation.stages import Earlier, Stage, jobs_of
from vidgan_jax.progress import ProgressReport

_POLL_S = 2.0
# So long may a network file system take to show the launcher what a worker has written.
_PATIENCE_S = 90.0

# By stage and video.
Outcomes = dict[str, dict[str, Outcome]]


class PipelineError(OSError):
    """The runner has failed; finished videos are kept."""


def run_stages(
    stages: Sequence[Stage],
    videos: Sequence[Job],
    *,
    workers: int | None = None,
    progress: bool = True,
    title: str = "prepare",
    unit: str = "videos",
    options: Sequence[str] = (),
    sources: Sequence[str | os.PathLike[str]] = (),
) -> Outcomes:
    """Runs stages, all of them for a video before its worker takes the next video.

    Args:
      stages: in order, their parts open; can be pickled.
      videos: see `stages.run_stages`.
      workers: not used, for the runner's options say how many; must be None.
      progress: report on stderr.
      title: what the progress report calls this.
      unit: and what it calls the videos.
      options: of the runner, as in ["--runner=FlinkRunner", "--flink_master=…"].
      sources: files and folders that all workers must see.

    Returns:
      By stage, the outcomes by video.

    Raises:
      SharingError: a worker does not see the data set's folder or the sources.
      PipelineError: the runner failed, or ended early.
      OutputError: the parts cannot be written. Finished ones are kept.
      ValueError: Beam is not installed, does not know an option, or `workers` are given.
    """
    if workers is not None:
        raise ValueError(
            f"workers (={workers}) are of the processes of one machine; with Beam, the runner's "
            "options say how many"
        )
    check_names(videos)
    paths = [Path(source) for source in sources]
    for path in (*(stage.parts.directory for stage in stages), *paths):
        if not path.is_absolute():
            raise ValueError(f"{path}: must be absolute, since workers start in another folder")
    run_pipeline = _Pipeline(options)
    for stage in stages:
        beam_work.forget_lost(stage.parts)
    outcomes, missing = _gather(stages, videos)
    try:
        if missing:
            launch = beam_work.write_launch(stages, videos, paths)
            with (
                _withdrawn_by_interrupt(stages),
                _shown_progress(title, unit, stages, len(videos), progress),
            ):
                run_pipeline(launch, [n for n, v in enumerate(videos) if v.video_id in missing])
            outcomes = _gather_all(stages, videos)
    except BaseException:
        with contextlib.suppress(Exception):  # The first error is the one to tell.
            beam_work.withdraw_launch(stages)
            _tidy(stages, videos)
        raise
    finally:
        beam_work.stop_processes()
    _tidy(stages, videos)
    return outcomes


def run_jobs(
    jobs: Sequence[Job],
    work: Work,
    parts: Parts,
    *,
    workers: int | None = None,
    title: str = "prepare",
    unit: str = "videos",
    progress: bool = True,
    options: Sequence[str] = (),
    sources: Sequence[str | os.PathLike[str]] = (),
) -> list[Outcome]:
    """Makes the parts of all jobs that have none yet; see `jobs.run_jobs` and `run_stages`.

    Returns:
      The outcomes, in the order of `jobs`.
    """
    stages = [Stage(title, parts, work, _itself)]
    outcomes = run_stages(
        stages,
        jobs,
        workers=workers,
        progress=progress,
        title=title,
        unit=unit,
        options=options,
        sources=sources,
    )
    return [outcomes[title][job.video_id] for job in jobs]


def _itself(video: Job, earlier: Earlier) -> Job:
    """What there is to do where there is one stage."""
    del earlier
    return video


def _gather(stages: Sequence[Stage], videos: Sequence[Job]) -> tuple[Outcomes, set[str]]:
    """The outcomes that are there, and the videos that are not done."""
    outcomes: Outcomes = {}
    missing = set()
    for stage in stages:
        found = {}
        for job in jobs_of(stage, videos, outcomes):
            outcome = stage.parts.outcome(job) or beam_work.lost(stage.parts, job)
            if outcome is None:
                missing.add(job.video_id)
            else:
                found[job.video_id] = outcome
        outcomes[stage.name] = found
    return outcomes, missing


def _gather_all(stages: Sequence[Stage], videos: Sequence[Job]) -> Outcomes:
    """The outcomes of all videos, as soon as they can be seen here."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        outcomes, missing = _gather(stages, videos)
        if not missing:
            return outcomes
        if time.monotonic() > end:
            raise SharingError(
                f"{stages[0].parts.out}: the pipeline has ended, but of {len(missing)} videos, "
                f"such as {min(missing)!r}, nothing is here; launcher and workers must see the "
                "same folder under this path"
            )
        time.sleep(_POLL_S)


def _tidy(stages: Sequence[Stage], videos: Sequence[Job]) -> None:
    """Removes what is no finished part."""
    outcomes: Outcomes = {}
    for stage in stages:
        found = stage.parts.finished(jobs_of(stage, videos, outcomes))
        outcomes[stage.name] = {outcome.video_id: outcome for outcome in found}


@contextlib.contextmanager
def _withdrawn_by_interrupt(stages: Sequence[Stage]) -> Iterator[None]:
    """Lets Ctrl-C stop the workers first: local runners wait for them before they raise it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are none of this thread's business.
        return

    def interrupt(number: int, frame: Any) -> None:
        beam_work.withdraw_launch(stages)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _shown_progress(
    title: str, unit: str, stages: Sequence[Stage], num_videos: int, shown: bool
) -> Iterator[None]:
    """Counts what lies in the folders meanwhile: all runners offer that."""
    total = num_videos * len(stages)
    done = threading.Event()

    def show(report: ProgressReport, *, last: bool = False) -> None:
        counts = [min(stage.parts.num_finished(), num_videos) for stage in stages]
        found = ", ".join(
            f"{stage.name} {count}" for stage, count in zip(stages, counts, strict=True)
        )
        note = f"{found} of {num_videos}" if stages[1:] else f"{counts[0]}/{num_videos}"
        note += f" {unit}"
        report.update(total if last else sum(counts), note, last=last)

    def keep_showing(report: ProgressReport) -> None:
        wait_s = _POLL_S
        while not done.wait(wait_s):
            started = time.monotonic()
            show(report)
            # Listing a large folder over a network takes its time.
            wait_s = max(_POLL_S, 10 * (time.monotonic() - started))

    first = sum(min(stage.parts.num_finished(), num_videos) for stage in stages)
    with ProgressReport(title, total=total, done=first, shown=shown) as report:
        thread = threading.Thread(target=keep_showing, args=(report,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        show(report, last=True)


class _Pipeline:
    """The pipeline, whose options are checked when it is made.

    Args:
      options: of the runner.

    Raises:
      ValueError: Beam is not installed, or doesn't like them.
    """

    def __init__(self, options: Sequence[str]):
        try:
            import apache_beam
            from apache_beam.options import pipeline_options
        except ImportError as error:
            raise ValueError(
                f'Apache Beam is not installed ({error}); install the extra: pip install ".[beam]"'
            ) from error
        self._beam = apache_beam
        said = io.StringIO()
        try:
            # argparse prints what it dislikes, with all of Beam's usage, and exits.
            with contextlib.redirect_stderr(said):
                parsed = _parsed(pipeline_options, options)
                self._pipeline: Any = apache_beam.Pipeline(options=parsed)
        except (SystemExit, ValueError, ImportError, argparse.ArgumentError) as error:
            lines = said.getvalue().strip().splitlines()
            why = lines[-1] if lines and isinstance(error, SystemExit) else str(error)
            raise ValueError(f"the options of Beam ({' '.join(options)}): {why}") from error

    def __call__(self, launch: Launch, numbers: Sequence[int]) -> None:
        beam, result = self._beam, None
        _ = (
            self._pipeline
            | "videos" >> beam.Create(numbers)
            # Without it, runners would do all videos where they are listed: in one worker.
            | "deal" >> beam.Reshuffle()
            | "make" >> beam.Map(beam_work.make_video, launch=launch)
        )
        try:
            result = self._pipeline.run()
            state = str(result.wait_until_finish() or result.state)
        except KeyboardInterrupt:
            if result is not None:
                with contextlib.suppress(Exception):  # Not all runners can.
                    result.cancel()
            raise
        except Exception as error:  # Each runner has its own.
            raise _said(f"{type(error).__name__}: {error}") from error
        if state != "DONE":
            raise _said(f"it ended as {state}")


def _parsed(pipeline_options: Any, options: Sequence[str]) -> Any:
    # Quiet workers, unless asked otherwise: of two options of a name, the last one counts.
    flags = ["--default_sdk_harness_log_level=WARNING", *options]
    parsed = pipeline_options.PipelineOptions(flags)
    parsed.get_all_options()  # Would otherwise be read when the pipeline runs.
    # All that the pipeline needs is in modules.
    parsed.view_as(pipeline_options.SetupOptions).save_main_session = False
    # There are no triggers here. Where they may be unsafe, DirectRunner does not fetch another
    # runner from the network, which would not heed the direct runner's options.
    parsed.view_as(pipeline_options.TypeOptions).allow_unsafe_triggers = True
    return parsed


def _said(text: str) -> OSError:
    """The error of a worker, out of what a runner says about it."""
    text = text.replace("\\n", "\n")
    kinds = {kind.__name__: kind for kind in (SharingError, OutputError)}
    found = re.search(rf"\b({'|'.join(kinds)}): (.+?)(?: \[while running [^\n]*)?$", text, re.M)
    if found:
        return kinds[found[1]](found[2])
    errors = re.findall(r"^[\w.]*(?:Error|Exception): .+$", text, re.M)
    why = re.sub(r" \[while running .*", "", errors[-1] if errors else text.partition("\n")[0])
    return PipelineError(
        f"the Beam pipeline failed: {why}. Finished videos are kept: repeat the command to go on"
    )
