"""What measures have observed of a stream so far, on disk: an evaluation goes on where it was.

A folder for each stream and measure, named by a digest of all that the observations depend on, has
files of successive examples, `FIRST-END.npz`. Joining them gives, bit for bit, what one run without
a stop has: sums of floats are kept part by part and added in their order.
"""

import hashlib
import json
import re
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidgan_jax import files
from vidgan_jax.evaluation.measure import Observation

_NAME = re.compile(r"(?P<first>\d{8})-(?P<end>\d{8})\.npz")
_WRITE_EVERY_S = 20.0
_ROWS, _TOTALS, _TERMS = "rows", "totals", "terms"


def digest(made_of: Mapping[str, Any]) -> str:
    """A short name for what something depends on; `made_of` is JSON."""
    text = json.dumps(made_of, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Observations:
    """One measure's observations of one stream.

    Args:
      folder: of their own; made where need be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: list[Observation] = []  # joined, of files
        self._pending: list[Observation] = []
        self.num = 0
        self._written = 0
        self._last_write = time.monotonic()
        self._read()

    def _read(self) -> None:
        """Takes the files that follow one another from example 0 on."""
        if not self._folder.is_dir():
            return
        # Temporaries stay: another process, with another checkpoint, may be writing the same.
        by_first = {}
        for path in sorted(self._folder.iterdir()):
            if match := _NAME.fullmatch(path.name):
                by_first[int(match["first"])] = (path, int(match["end"]))
        while self.num in by_first:
            path, end = by_first[self.num]
            self._found.append(_load(path))
            self.num = self._written = end

    def add(self, observation: Observation, num: int) -> None:
        """Takes what was observed of the next `num` examples; writes now and then."""
        self._pending.append(observation)
        self.num += num
        if time.monotonic() - self._last_write > _WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        """Writes what is not on disk yet."""
        if not self._pending:
            return
        kept = _stacked(self._pending)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._written:08d}-{self.num:08d}.npz"
        with files.atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **kept)  # type: ignore[arg-type]
        self._found.append(_unstacked(kept))
        self._pending = []
        self._written, self._last_write = self.num, time.monotonic()

    def joined(self) -> Observation:
        """All of them as one; they are not kept in memory twice, so it can be asked for once."""
        self.write()
        if not self._found:
            return Observation()
        names = list(self._found[0].rows)
        rows = {name: np.concatenate([o.rows[name] for o in self._found]) for name in names}
        sums: dict[str, np.ndarray] = {}
        for observation in self._found:
            for name, terms in observation.sums.items():
                for term in terms:
                    sums[name] = sums[name] + term if name in sums else term
        self._found = []
        return Observation(rows, sums)

    def remove(self) -> None:
        """Removes the files."""
        files.remove_folder(self._folder)


def _stacked(parts: Sequence[Observation]) -> dict[str, np.ndarray]:
    """As arrays for one file: integers' sums as totals, others' as the terms, one for each part."""
    kept = {}
    for name in parts[0].rows:
        kept[f"{_ROWS}/{name}"] = np.concatenate([part.rows[name] for part in parts])
    for name, like in parts[0].sums.items():
        terms = np.stack([part.sums[name] for part in parts])
        if np.issubdtype(like.dtype, np.integer):
            kept[f"{_TOTALS}/{name}"] = terms.sum(axis=0, dtype=like.dtype)[None]
        else:
            kept[f"{_TERMS}/{name}"] = terms
    return kept


def _unstacked(kept: Mapping[str, np.ndarray]) -> Observation:
    """An observation whose sums have an axis of terms before theirs."""
    rows: dict[str, np.ndarray] = {}
    sums: dict[str, np.ndarray] = {}
    for key, array in kept.items():
        kind, name = key.split("/", 1)
        (rows if kind == _ROWS else sums)[name] = array
    return Observation(rows, sums)


def _load(path: Path) -> Observation:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            return _unstacked({key: found[key] for key in found.files})
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged; remove it, and run again") from error
