"""Everything there is to look at of a data set, in one go: what `prepare nature` ends with."""

import os
from pathlib import Path

from vidgan_jax.data import records
from vidgan_jax.preparation.dataset import OVERVIEW_NAME
from vidgan_jax.preparation.overview import page, sheets, statistics
from vidgan_jax.preparation.overview.statistics import Statistics

PAGE_NAME = "browse.html"


def write_statistics(
    directory: str | os.PathLike[str],
    out: Path,
    *,
    seed: int = 0,
    workers: int = 1,
    progress: bool = False,
) -> tuple[Statistics, records.Report, list[Path]]:
    """Counts what is in a data set, and draws contact sheets of it where it is sound.

    Args:
      directory: the data set's folder.
      out: for the files; must be there.
      seed: of the choice of clips.
      workers: threads.
      progress: report on stderr.

    Returns:
      The statistics, what is wrong with the data set, and the files written.
    """
    info = records.load_info(directory)
    tally = statistics.Tally()
    report = records.verify(
        directory, decode=False, visit=tally.visit, workers=workers, progress=progress
    )
    counted = tally.statistics(info)
    written = statistics.write(counted, out)
    if report.ok:
        written += sheets.write_sheets(directory, out, seed=seed)
    return counted, report, written


def write_overview(
    directory: str | os.PathLike[str], *, seed: int = 0, workers: int = 1, progress: bool = False
) -> Path:
    """Writes statistics, contact sheets and the page of a sound data set into its `overview/`.

    Returns:
      The page.
    """
    out = Path(directory) / OVERVIEW_NAME
    out.mkdir(exist_ok=True)
    write_statistics(directory, out, seed=seed, workers=workers, progress=progress)
    return page.write_page(
        directory, out / PAGE_NAME, seed=seed, statistics=out, workers=workers, progress=progress
    ).path
