"""Preparation of a video against the decoding that it can't do without."""

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import numpy as np

from vidgan_jax.benchmarks import processes
from vidgan_jax.benchmarks.measuring import Row, forget_peak, held_bytes, peak_bytes
from vidgan_jax.data import scenes
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.footage import SourceFile
from vidgan_jax.preparation.nature import works
from vidgan_jax.preparation.nature.cutting import ShotCutting
from vidgan_jax.preparation.parts import Job, write_part

_FPS = 24
_SHOT_S = 6
_RENDERED = 240  # pixels a side, before scaling to the video's size
_GRAIN = 3.0  # of 255: what a camera's noise is, and what a decoder's work comes from


def bench_prepare(
    video: str, *, detector: str, threads: int, repeats: int, height: int, seconds: float
) -> list[Row]:
    """Seconds for decoding a file, and for all that `prepare nature` does before segmentation.

    In turns, in one process. `ratio` is of each turn's whole preparation over its decoding; the
    median is given. `peak_mib` is the memory that preparation took beyond what the process held.

    Args:
      video: the file; empty for one that is made of procedural scenes.
      detector: of shots.
      threads: for decoding, of both.
      repeats: turns.
      height: of the made video, pixels.
      seconds: length of the made video.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(video) if video else _made(Path(folder) / "made.mp4", height, seconds)
        with processes.started(_measure, path, detector, threads, repeats) as pipe:
            found: dict[str, Any] = processes.ask(pipe)
    turns = found["turns"]
    frames, clips = found["frames"], found["clips"]
    decoding = statistics.median(turn["decode"] for turn in turns)
    rows: list[Row] = [
        {"what": "decoding alone", "seconds": decoding, "frames_per_s": frames / decoding}
    ]
    for what, names in (
        ("shots and clips", ("cut",)),
        ("suitability", ("measure",)),
        ("all but segmentation", ("cut", "measure")),
    ):
        took = [sum(turn[name] for name in names) for turn in turns]
        ratios = [s / turn["decode"] for s, turn in zip(took, turns, strict=True)]
        median = statistics.median(took)
        rows.append(
            {
                "what": what,
                "seconds": median,
                "frames_per_s": frames / median,
                "ratio": statistics.median(ratios),
                "ratio_lowest": min(ratios),
                "ratio_highest": max(ratios),
            }
        )
    rows[-1] |= {"clips": clips, "peak_mib": found["peak"] / 2**20}
    return rows


def _measure(pipe: Connection, path: Path, detector: str, threads: int, repeats: int) -> None:
    """In a process of its own."""
    with processes.failures_told(pipe), tempfile.TemporaryDirectory() as folder:
        frames, _ = _decoded(path, threads)  # the file is in the system's cache now
        held, can_forget = held_bytes(), forget_peak()
        turns = []
        for number in range(repeats):
            # Each goes first in turn.
            order = ("decode", "prepare") if number % 2 == 0 else ("prepare", "decode")
            turn: dict[str, float] = {}
            for what in order:
                if what == "decode":
                    turn["decode"] = _decoded(path, threads)[1]
                else:
                    turn |= _prepared(path, detector, threads, Path(folder) / f"{number}")
            turns.append(turn)
        clips = int(turns[0].pop("clips"))
        peak = peak_bytes() - held if can_forget else 0
        processes.answer(pipe, {"turns": turns, "frames": frames, "clips": clips, "peak": peak})


def _decoded(path: Path, threads: int) -> tuple[int, float]:
    """Frames, and the seconds that decoding them takes."""
    started = time.perf_counter()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        frames = sum(1 for _ in container.decode(stream))
    return frames, time.perf_counter() - started


def _prepared(path: Path, detector: str, threads: int, folder: Path) -> dict[str, float]:
    """Seconds of the stages, and clips."""
    folder.mkdir()
    source = SourceFile(path, path.name)
    task = works.CuttingTask(source, ShotCutting(detector=detector), Encoding(), threads)
    found: dict[str, float] = {}
    cut = _timed(found, "cut", works.cut_video, Job(path.name, "", task), folder)
    found["clips"] = cut.num_clips
    if cut.part is None:
        raise ValueError(f"{path}: gave no clip: {'; '.join(cut.notes)}")
    clips = works.ClipsTask(path.name, folder / cut.part, cut.num_bytes)
    _timed(found, "measure", works.measure_clips, Job(path.name, "", clips), folder)
    return found


def _timed(found: dict[str, float], name: str, work: Any, job: Job, folder: Path) -> Any:
    started = time.perf_counter()
    outcome = write_part(work, job, name, folder, lambda share, clips, frames: None)
    found[name] = time.perf_counter() - started
    if outcome.error is not None:
        raise ValueError(outcome.error)
    return outcome


def _made(path: Path, height: int, seconds: float) -> Path:
    """A video of procedural scenes, cut hard, with grain; 16:9."""
    rng = np.random.default_rng(0)
    grain = rng.normal(0, _GRAIN, (8, height, height * 16 // 9)).round().astype(np.int16)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=_FPS)
        stream.height, stream.width = grain.shape[1:]
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "21"}
        for number, image in enumerate(_pictures(round(seconds * _FPS))):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(stream.width, stream.height, "yuv420p", interpolation="BICUBIC")
            planes = frame.to_ndarray()
            luma = planes[:height].astype(np.int16) + grain[number % len(grain)]
            planes[:height] = luma.clip(0, 255)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, _FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _pictures(count: int) -> Iterator[np.ndarray]:
    """uint8 `[240, 240, 3]` each, of one scene after another."""
    length = _SHOT_S * _FPS

    def shots() -> Iterator[np.ndarray]:
        for seed in itertools.count():
            kind = scenes.SCENE_KINDS[seed % len(scenes.SCENE_KINDS)]
            clip = scenes.render_clip(
                seed, 0, num_frames=length, size=_RENDERED, fps=_FPS, kind=kind, supersampling=1
            )
            yield from clip.frames

    return itertools.islice(shots(), count)
