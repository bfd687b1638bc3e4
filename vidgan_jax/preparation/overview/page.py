"""One HTML file to browse a data set: clips, label maps and measures, with nothing beside it.

The file asks nothing of any server and works from disk: pictures and films are inside of it, and
its own policy forbids the browser to fetch anything.
"""

import base64
import collections
import dataclasses
import html
import importlib.resources
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vidgan_jax import files
from vidgan_jax.data import labels, media, records
from vidgan_jax.preparation.overview.choice import choose
from vidgan_jax.preparation.overview.statistics import load_shares, values_of
from vidgan_jax.progress import ProgressReport

# Pixels of a side, at most, and seconds of a film, at most: pages are for looking.
_SIDE, _SECONDS = 192, 6
# Of x264; clips are about half as large as at 18, and look the same at their size.
_CRF = 24
_POSTER_QUALITY = 80
_AHEAD = 4
_PLACE = re.compile(r"\{\{([A-Z]+)\}\}")


@dataclasses.dataclass(frozen=True)
class Page:
    """A page that was written.

    Attributes:
      path: its file.
      num_clips: on it.
      num_total: of the splits that it shows.
      num_bytes: of the file.
      is_full: whether clips were left out because the page would have become too large.
    """

    path: Path
    num_clips: int
    num_total: int
    num_bytes: int
    is_full: bool


def write_page(
    directory: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    num: int = 200,
    seed: int = 0,
    splits: Sequence[str] = (),
    most_bytes: int = 64_000_000,
    statistics: str | os.PathLike[str] | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Page:
    """Writes the page of a data set, of clips that are drawn by lot from all of its videos.

    Args:
      directory: the data set's folder.
      path: of the page, `….html`.
      num: clips on it; all where there are no more.
      seed: of the lots.
      splits: that are shown; all where none is given.
      most_bytes: clips that would make the file larger are left out.
      statistics: folder in which a statistics.json of this data set may lie; the legend then has
        the whole data set's shares, otherwise those of the clips on the page.
      workers: threads that encode films.
      progress: report on stderr.

    Returns:
      What was written.

    Raises:
      RecordError: the data set, or a clip in it, is damaged; there is no such split.
      ValueError: a number is out of range, or `path` does not end in .html.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"page {str(path)!r} must end in .html, or browsers will not show it")
    info = records.load_info(directory)
    sources = [records.ClipSource(directory, split) for split in splits or info.splits]
    chosen = choose(sources, num, seed)
    clips: list[dict[str, Any]] = []
    head = _head(directory, info, sources, statistics)
    size = len(_page(head, []).encode())
    needed = 0
    is_full = False
    with ProgressReport("browse", total=len(chosen), shown=progress) as report:
        for clip in _described(chosen, workers):
            needed = len(_json(clip).encode()) + 1
            if size + needed > most_bytes:
                is_full = True
                break
            size += needed
            clips.append(clip)
            note = f"{len(clips)} clips, {size / 1e6:.1f} MB"
            report.update(len(clips), note, last=len(clips) == len(chosen))
    for source in sources:
        source.close()
    if not clips:
        raise ValueError(
            f"most_bytes (={most_bytes}) is too little for a single clip; use {size + needed} or "
            "more"
        )
    page = _page(head, clips).encode()
    files.write_bytes(path, page)
    return Page(path, len(clips), head["total"], len(page), is_full)


def _head(
    directory: str | os.PathLike[str],
    info: records.DatasetInfo,
    sources: Sequence[records.ClipSource],
    statistics: str | os.PathLike[str] | None,
) -> dict[str, Any]:
    """What the page says of the data set, besides its clips."""
    shares = {} if statistics is None else load_shares(statistics, info.checksum)
    return {
        "name": Path(directory).resolve().name,
        "total": sum(len(source) for source in sources),
        "videos": len({video for source in sources for video in source.video_ids}),
        "splits": [source.split for source in sources],
        "classes": [
            {
                "id": label,
                "name": labels.class_name(label),
                "colour": f"#{labels.COLOURS[label].tobytes().hex()}",
            }
            for label in range(len(labels.COLOURS))
        ],
        "shares": shares,
    }


def _described(
    chosen: Iterable[tuple[records.ClipSource, int]], workers: int
) -> Iterator[dict[str, Any]]:
    """What the page says and shows of clips, in order; few are in memory at a time."""
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="browse") as pool:
        running: collections.deque[Future[dict[str, Any]]] = collections.deque()
        for clip in chosen:
            running.append(pool.submit(_describe, *clip))
            if len(running) > _AHEAD * max(workers, 1):
                yield running.popleft().result()
        for future in running:
            yield future.result()


def _describe(source: records.ClipSource, i: int) -> dict[str, Any]:
    record = source[i]
    shown = record.frames[: max(1, round(_SECONDS * record.fps))]
    frames = np.stack([_small(records.decode_frame(frame)) for frame in shown])
    middle = min(len(record.frames) // 2, len(frames) - 1)
    described = {
        "id": record.clip_id,
        "video": record.video_id,
        "split": source.split,
        "frames": len(record.frames),
        "shown": len(frames),
        "fps": round(record.fps, 3),
        "width": record.width,
        "height": record.height,
        "measures": {name: _rounded(value) for name, value in sorted(values_of(record).items())},
        "poster": _base64(_jpeg(frames[middle])),
        "film": _base64(_film(frames, record.fps)),
    }
    if record.label_map is not None:
        ids = records.decode_label_map(record.label_map)
        counts = np.bincount(ids.ravel(), minlength=256)
        described["map"] = _base64(_painted(ids))
        described["classes"] = {
            int(label): _rounded(counts[label] / ids.size) for label in np.flatnonzero(counts)
        }
    return described


def _small(image: np.ndarray) -> np.ndarray:
    scale = _SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _film(frames: np.ndarray, fps: float) -> bytes:
    with tempfile.TemporaryDirectory(prefix="vidgan_jax-browse-") as folder:
        path = Path(folder) / "clip.mp4"
        media.write_mp4(path, frames, fps=fps, crf=_CRF)
        return path.read_bytes()


def _jpeg(image: np.ndarray) -> bytes:
    return records.encode_frames(image[None], quality=_POSTER_QUALITY)[0]


def _painted(ids: np.ndarray) -> bytes:
    """A label map as a PNG with a palette: as small as ids, and painted."""
    image = Image.fromarray(ids)
    image.putpalette(labels.COLOURS.tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _page(head: dict[str, Any], clips: Sequence[dict[str, Any]]) -> str:
    """The template with everything in its place."""
    fill = {
        "TITLE": html.escape(head["name"]),
        "STYLE": _asset("page.css"),
        "DATA": _json(head | {"clips": clips}),
        "SCRIPT": _asset("page.js"),
    }
    # In one pass: a name in the data that looks like a place is none.
    return _PLACE.sub(lambda place: fill[place[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")


def _json(value: Any) -> str:
    """JSON that no name in it can end the script element of."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
