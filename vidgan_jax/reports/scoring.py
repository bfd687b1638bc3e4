"""Scores of several runs in tables that never compare what was not measured alike."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vidgan_jax.reports.compared import differences

# Of a manifest: what was scored, and by which machine. What the code measures has a version there.
NOT_COMPARED = (
    "checkpoint",
    "code",
    "sources_sha256",
    "libraries",
    "device",
    "num_devices",
    "num_cores",
    "xla_flags",
    "batch_size",
)


class Report(Protocol):
    """One checkpoint's scores; see `vidgan_jax.evaluation.engine`."""

    @property
    def step(self) -> int: ...

    @property
    def manifest(self) -> Mapping[str, Any]: ...

    @property
    def headline(self) -> Mapping[str, float]: ...

    @property
    def folder(self) -> Path: ...


class Reading(Protocol):
    """How headline scores are read; `vidgan_jax.evaluation.tables` is one."""

    def cell(self, key: str, value: float | None) -> str:
        """A score in words."""
        ...

    def best(self, key: str, values: Mapping[int, float]) -> list[int]:
        """The keys of the best values; none where neither smaller nor larger is better."""
        ...


@dataclasses.dataclass(frozen=True)
class Scored:
    """A column of scores.

    Attributes:
      name: the run's, or a file's that is of none of the runs.
      report: its scores.
    """

    name: str
    report: Report


@dataclasses.dataclass(frozen=True)
class PageTable:
    """A table of a page.

    Attributes:
      title: above it.
      columns: heads; the first one is of the rows' names.
      rows: cells, in words.
      caption: what to know about it.
      best: row and column of cells that stand out.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    best: frozenset[tuple[int, int]] = frozenset()


def score_tables(scored: Sequence[Scored], reading: Reading) -> list[PageTable]:
    """A table for each protocol; a row for each headline score, a column for each report.

    The best of a row stands out only where all of its values were measured alike: where manifests
    agree in everything but the checkpoint. What they differ in are rows of the table.

    Args:
      scored: in the order of columns.
      reading: how scores are read.
    """
    by_protocol: dict[str, list[Scored]] = {}
    for one in scored:
        by_protocol.setdefault(protocol_of(one.report), []).append(one)
    return [_table(name, group, reading) for name, group in by_protocol.items()]


def protocol_of(report: Report) -> str:
    """The name of the protocol that scores were measured by; "unknown" where none is told."""
    protocol = report.manifest.get("protocol")
    name = protocol.get("name") if isinstance(protocol, Mapping) else protocol
    return str(name) if name else "unknown"


def _table(protocol: str, scored: Sequence[Scored], reading: Reading) -> PageTable:
    differing = differing_fields([one.report.manifest for one in scored])
    rows = [[name, *values] for name, values in differing.items()]
    best = set()
    for key in dict.fromkeys(key for one in scored for key in one.report.headline):
        values = {
            column: one.report.headline[key]
            for column, one in enumerate(scored)
            if one.report.headline.get(key) is not None
        }
        if len(values) > 1 and not differing:
            best |= {(len(rows), column + 1) for column in reading.best(key, values)}
        cells = (reading.cell(key, values.get(column)) for column in range(len(scored)))
        rows.append([key, *cells])
    return PageTable(
        f"protocol {protocol}",
        ["score", *(f"{one.name}, step {one.report.step}" for one in scored)],
        rows,
        _caption(scored, differing),
        frozenset(best),
    )


def _caption(scored: Sequence[Scored], differing: Mapping[str, Sequence[str]]) -> str:
    if differing:
        names = ", ".join(differing)
        return (
            f"Not measured alike: {names} differ, as the first rows tell. Such scores can't be "
            "compared, so that none is marked as the best."
        )
    changed = ""
    if deviations := scored[0].report.manifest.get("protocol", {}).get("deviations"):
        told = (f"{name} {of['used']!r} for {of['protocol']!r}" for name, of in deviations.items())
        changed = f"Not quite the protocol: {', '.join(told)}. "
    if len(scored) > 1:
        return f"{changed}Protocol and data are the same for all; the best of each row is marked."
    return changed.strip()


def differing_fields(manifests: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What manifests differ in beside the checkpoint: dotted names, with each one's value.

    Args:
      manifests: of scores.
    """
    alike = []
    for manifest in manifests:
        kept = {name: value for name, value in manifest.items() if name not in NOT_COMPARED}
        alike.append({"averaged generator": is_averaged(manifest), **kept})
    return differences(alike)


def is_averaged(manifest: Mapping[str, Any]) -> bool | None:
    """Whether the averaged generator was scored; None where that is not told."""
    told = manifest.get("checkpoint")
    return told.get("ema") if isinstance(told, Mapping) else None
