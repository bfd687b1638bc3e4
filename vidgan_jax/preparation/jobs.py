"""Runs jobs in parallel processes; one that dies costs one video, never the run.

Every worker is a pool of one process, so that a death (out of memory, a crash of a decoder) can be
laid to its job. Processes are spawned, not forked: JAX may be running threads in this one. They
import the caller's main module, so that must not start work when it is imported.

Each worker is tied to this process by a pipe. Progress comes up through it, and when it closes, be
it that the run stops or that this process is killed, the worker ends at once.
"""

import collections
import concurrent.futures as futures
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path

from vidgan_jax.preparation.parts import Job, Outcome, Parts, Work, write_part
from vidgan_jax.progress import ProgressReport

_POLL_S = 0.2
_REPORT_EVERY_S = 0.2
_ASK_EVERY_S = 1.0
_ATTEMPTS = 2


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(
    jobs: Sequence[Job],
    work: Work,
    parts: Parts,
    *,
    workers: int | None,
    title: str = "prepare",
    unit: str = "videos",
    progress: bool = True,
) -> list[Outcome]:
    """Makes the parts of all jobs that have none yet.

    Args:
      jobs: one a video.
      work: makes the clips of one.
      parts: where they go; open (see `Parts.opened`).
      workers: processes; None for one a core, 0 to work in this one, one job after another.
      title: what the progress report calls this.
      unit: and what it calls the jobs.
      progress: report on stderr.

    Returns:
      The outcomes, in the order of `jobs`.

    Raises:
      OutputError: the parts cannot be written. Finished ones are kept.
      ValueError: `workers` is negative, or two jobs have one name.
    """
    if workers is None:
        workers = num_cores()
    if workers < 0:
        raise ValueError(f"workers (={workers}) must be at least 0 (0: no processes)")
    check_names(jobs)
    outcomes = {outcome.video_id: outcome for outcome in parts.finished(jobs)}
    # The longest first, so that no long one is left alone at the end.
    rest = sorted((job for job in jobs if job.video_id not in outcomes), key=lambda job: -job.cost)
    total = sum(job.cost for job in jobs)
    state = _State(len(jobs), unit, outcomes, total - sum(job.cost for job in rest))
    with ProgressReport(title, total=total, done=state.done_cost, shown=progress) as state.report:
        try:
            if workers == 0:
                _run_here(rest, work, parts, state)
            elif rest:
                _run_in_processes(rest, work, parts, min(workers, len(rest)), state)
        except BaseException:
            parts.finished(jobs)  # Removes what stopped workers have left.
            raise
        state.show(last=True)
    return [outcomes[job.video_id] for job in jobs]


def check_names(jobs: Sequence[Job]) -> None:
    """Refuses two jobs of one name, with a ValueError."""
    if len({job.video_id for job in jobs}) < len(jobs):
        names = collections.Counter(job.video_id for job in jobs)
        raise ValueError(f"two videos have the name {names.most_common(1)[0][0]!r}")


@dataclasses.dataclass
class _Running:
    """A job at work: share done, clips and frames so far."""

    job: Job
    attempt: int = 1
    share: float = 0.0
    num_clips: int = 0
    num_frames: int = 0


@dataclasses.dataclass
class _State:
    """What is done and what is being done, for the report."""

    num_jobs: int
    unit: str
    outcomes: dict[str, Outcome]
    done_cost: float
    num_clips: int = 0
    num_frames: int = 0
    running: list[_Running] = dataclasses.field(default_factory=list)
    report: ProgressReport | None = None

    def finish(self, running: _Running, outcome: Outcome) -> None:
        self.running.remove(running)
        self.outcomes[outcome.video_id] = outcome
        self.done_cost += running.job.cost
        self.num_clips += outcome.num_seen
        self.num_frames += outcome.num_frames
        self.show()

    def show(self, *, last: bool = False) -> None:
        if self.report is None:
            return
        num_clips = self.num_clips + sum(running.num_clips for running in self.running)
        num_frames = self.num_frames + sum(running.num_frames for running in self.running)
        frames = f", {num_frames / self.report.elapsed_s:.0f} frames/s" if num_frames else ""
        self.report.update(
            self.done_cost + sum(running.share * running.job.cost for running in self.running),
            f"{len(self.outcomes)}/{self.num_jobs} {self.unit}, {num_clips} clips, "
            f"{num_clips / self.report.elapsed_s:.3g} clips/s{frames}",
            last=last,
        )


def _run_here(jobs: Sequence[Job], work: Work, parts: Parts, state: _State) -> None:
    for job in jobs:
        running = _Running(job)
        state.running.append(running)

        def report(share: float, num_clips: int, num_frames: int, job: _Running = running) -> None:
            job.share, job.num_clips, job.num_frames = share, num_clips, num_frames
            state.show()

        outcome = write_part(work, job, parts.key(job), parts.directory, report)
        state.finish(running, outcome)


def _run_in_processes(
    jobs: Sequence[Job], work: Work, parts: Parts, num_workers: int, state: _State
) -> None:
    waiting = collections.deque(_Running(job) for job in jobs)
    workers = [_Worker() for _ in range(num_workers)]
    idle = list(workers)
    busy: dict[futures.Future[Outcome], tuple[_Worker, _Running]] = {}
    try:
        while waiting or busy:
            while idle and waiting:
                worker, running = idle.pop(), waiting.popleft()
                state.running.append(running)
                key = parts.key(running.job)
                busy[worker.submit(work, running.job, key, parts.directory)] = worker, running
            done, _ = futures.wait(busy, _POLL_S, futures.FIRST_COMPLETED)
            for worker, running in busy.values():
                worker.read_progress(running)
            state.show()
            for future in done:
                worker, running = busy.pop(future)
                idle.append(worker)
                outcome = _outcome(future, worker, running)
                if outcome is not None:
                    state.finish(running, outcome)
                else:
                    state.running.remove(running)
                    waiting.appendleft(_Running(running.job, attempt=running.attempt + 1))
    finally:
        for worker in workers:
            worker.stop()


def _outcome(
    future: "futures.Future[Outcome]", worker: "_Worker", running: _Running
) -> Outcome | None:
    """The outcome of a job; None where its process died and it is to be tried again."""
    try:
        return future.result()
    except BrokenProcessPool:
        worker.restart()
        if running.attempt < _ATTEMPTS:
            return None
        return Outcome(
            running.job.video_id,
            error=f"{running.job.video_id}: its process died {_ATTEMPTS} times: out of memory (use "
            "fewer --workers), or a file that crashes the decoder",
        )


class _Worker:
    """One process that does one job at a time."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._pool = futures.ProcessPoolExecutor(
            1, mp_context=context, initializer=_begin, initargs=(theirs,)
        )

    def submit(self, work: Work, job: Job, key: str, directory: Path) -> "futures.Future[Outcome]":
        with _born_deaf():
            try:
                return self._pool.submit(_work, work, job, key, directory)
            except BrokenProcessPool:  # It died while it had nothing to do.
                self.restart()
                return self._pool.submit(_work, work, job, key, directory)

    def read_progress(self, running: _Running) -> None:
        try:
            while self._pipe.poll():
                video_id, share, num_clips, num_frames = self._pipe.recv()
                if video_id == running.job.video_id:
                    running.share = share
                    running.num_clips, running.num_frames = num_clips, num_frames
        except (EOFError, OSError):
            return  # The process has died; its future says so.

    def stop(self) -> None:
        self._pipe.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def restart(self) -> None:
        self.stop()
        self._start()


@contextlib.contextmanager
def _born_deaf() -> Iterator[None]:
    """Processes that are started meanwhile never hear of Ctrl-C: the run alone decides what to do.

    A terminal sends it to them, too, and before they come to say what they make of it themselves.
    Here it is put off, not lost.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class JobProcess:
    """A process that does one job after another for someone else's run; replaced when it dies."""

    def __init__(self) -> None:
        self._worker = _Worker()

    def run(self, work: Work, job: Job, parts: Parts, is_wanted: Callable[[], bool]) -> Outcome:
        """Does one job.

        Args:
          work: makes its clips.
          job: what is to be done.
          parts: where they go.
          is_wanted: asked every second; where it says no, the process is stopped.

        Returns:
          Its outcome; one that kills the process again and again has an error.

        Raises:
          OutputError: the part cannot be written.
          InterruptedError: the job was not wanted any longer.
        """
        running = _Running(job)
        while True:
            future = self._worker.submit(work, job, parts.key(job), parts.directory)
            while not futures.wait([future], _ASK_EVERY_S).done:
                self._worker.read_progress(running)
                if not is_wanted():
                    self._worker.restart()
                    raise InterruptedError(f"{job.video_id}: stopped")
            outcome = _outcome(future, self._worker, running)
            if outcome is not None:
                return outcome
            running = _Running(job, attempt=running.attempt + 1)

    def stop(self) -> None:
        """Ends it."""
        self._worker.stop()


# The pipe to the run, in a worker.
_to_run: Connection | None = None


def _begin(pipe: Connection) -> None:
    """Sets a worker process up."""
    global _to_run
    _to_run = pipe
    # A terminal sends Ctrl-C to the workers too; the run alone decides what to do then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_run, args=(pipe,), daemon=True).start()


def _end_with_run(pipe: Connection) -> None:
    try:
        pipe.recv()
    except (EOFError, OSError):
        # Not sys.exit: the main thread may be deep in a decoder. Temporary files that are left are
        # removed by the run, or by the next one.
        os._exit(1)


def _work(work: Work, job: Job, key: str, directory: Path) -> Outcome:
    """One job, in a worker."""
    return write_part(work, job, key, directory, functools.partial(_report, job, _Throttle()))


class _Throttle:
    """Lets something happen now and then only."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _REPORT_EVERY_S
        return True


def _report(job: Job, throttle: _Throttle, share: float, num_clips: int, num_frames: int) -> None:
    if _to_run is not None and throttle():
        _to_run.send((job.video_id, share, num_clips, num_frames))
