"""A comparison of runs as one HTML file: films, curves, tables, with nothing beside it.

The file asks nothing of any server and works from disk: pictures and films are inside of it, and
its own policy forbids the browser to fetch anything.
"""

import base64
import dataclasses
import html
import importlib.resources
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidgan_jax import files
from vidgan_jax.reports import charts
from vidgan_jax.reports.charts import Chart
from vidgan_jax.reports.scoring import PageTable
from vidgan_jax.reports.shown import Picture

_PLACE = re.compile(r"\{\{([A-Z]+)\}\}")
_TYPES = {".mp4": "video/mp4", ".png": "image/png"}
_GROUPS = {charts.WATCH: "watch", charts.TIME: "time and speed"}
NO_CURVES = "None of these runs has logged anything."


@dataclasses.dataclass(frozen=True)
class Side:
    """One run, as the page's script needs it.

    Attributes:
      name: of the run.
      batch_size: examples of a step.
    """

    name: str
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Content:
    """All that a page says and shows.

    Attributes:
      title: in words.
      sides: the runs.
      notes: what to know of the samples.
      together: all runs side by side.
      alone: one picture for each run.
      charts: of what was logged.
      scores: tables; none where nothing was scored.
      scores_notes: what to know of scores; how to get some, where there are none.
      tables: what the runs are, and what they differ in.
    """

    title: str
    sides: Sequence[Side]
    notes: Sequence[str]
    together: Picture
    alone: Sequence[Picture]
    charts: Sequence[Chart]
    scores: Sequence[PageTable]
    scores_notes: Sequence[str]
    tables: Sequence[PageTable]


def write_page(path: Path, content: Content) -> int:
    """Writes a page, whole or not at all.

    Args:
      path: of the file.
      content: the same content gives the same bytes.

    Returns:
      Bytes of the file.
    """
    page = page_of(content).encode(errors="replace")  # names of files may be any bytes
    files.write_bytes(path, page)
    return len(page)


def page_of(content: Content) -> str:
    """The template with everything in its place."""
    data = {
        "runs": [{"name": side.name, "batch": side.batch_size} for side in content.sides],
        "charts": [charts.chart_json(chart) for chart in content.charts],
    }
    fill = {
        "TITLE": html.escape(content.title),
        "STYLE": _asset("compare.css"),
        "NOTES": _notes(content.notes),
        "SAMPLES": _samples(content),
        "CURVES": _curves(content),
        "SCORES": _notes(content.scores_notes) + "".join(map(_table, content.scores)),
        "RUNS": "".join(map(_table, content.tables)),
        "DATA": _json(data),
        "SCRIPT": _asset("compare.js"),
    }
    # In one pass: a name that looks like a place is none.
    return _PLACE.sub(lambda place: fill[place[1]], _asset("compare.html"))


def _asset(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")


def _json(value: Any) -> str:
    """JSON that no name in it can end the script element of."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _notes(notes: Sequence[str]) -> str:
    """Sentences as a list."""
    if not notes:
        return ""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<ul class="soft">{items}</ul>'


def _samples(content: Content) -> str:
    """The picture of all, below its heads, and those of each run."""
    heads = content.together.columns
    names = [side.name for side in content.sides]
    shown = heads if isinstance(heads, Sequence) else names
    cells = "".join(f"<span>{html.escape(head)}</span>" for head in shown)
    alone = "".join(map(_card, names, content.alone))
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="all runs side by side">'
        f'<div class="sheet" style="--columns:{len(shown)}"><div class="heads">{cells}</div>'
        f"{_media(content.together, 'side by side: ' + ', '.join(shown))}</div></div>"
        f'<h3>Each run alone</h3><div class="cards">{alone}</div>'
    )


def _card(name: str, picture: Picture) -> str:
    columns = picture.columns if isinstance(picture.columns, int) else len(picture.columns)
    speed = "still" if picture.fps is None else f"{picture.fps:g} frames a second"
    return (
        f'<figure class="card" style="--columns:{columns}">{_media(picture, name)}'
        f"<figcaption><b>{html.escape(name)}</b>{speed}, "
        f"{html.escape(picture.path.name)}</figcaption></figure>"
    )


def _media(picture: Picture, said: str) -> str:
    """A film that plays for ever, or a picture."""
    kind = _TYPES[picture.path.suffix]
    data = base64.b64encode(files.read_bytes(picture.path)).decode("ascii")
    source = f'src="data:{kind};base64,{data}" width="{picture.width}" height="{picture.height}"'
    said = html.escape(said)
    if picture.fps is None:
        return f'<img {source} alt="{said}">'
    return f'<video {source} autoplay loop muted playsinline aria-label="{said}"></video>'


def _curves(content: Content) -> str:
    """Places for the charts, which the script draws, and a table of what they end with."""
    if not content.charts:
        return _notes([NO_CURVES])
    parts = [_CURVE_CONTROLS]
    numbered = enumerate(content.charts)
    for group, members in itertools.groupby(numbered, key=lambda one: one[1].group):
        figures = "".join(_chart(place, chart) for place, chart in members)
        grid = f'<div class="charts">{figures}</div>'
        if group != charts.LOSSES:
            title = html.escape(_GROUPS.get(group, group))
            grid = f"<details><summary>{title}</summary>{grid}</details>"
        parts.append(grid)
    if any(chart.is_thinned for chart in content.charts):
        parts.append(
            _notes(
                [
                    f"Of curves with more than {charts.MOST_POINTS} points, the least and the "
                    "greatest of each stretch are drawn."
                ]
            )
        )
    table = charts.last_values(content.charts, [side.name for side in content.sides])
    parts.append(f"<details><summary>last values as a table</summary>{_table(table)}</details>")
    return "".join(parts)


_CURVE_CONTROLS = """\
<ul class="legend" id="legend" aria-label="runs that are drawn"></ul>
<div class="controls" role="group" aria-label="curves">
  <label>along <select id="axis"><option value="step">step</option><option
    value="examples">examples seen (steps × batch size)</option></select></label>
  <label><span>smoothing <span id="smoothing-value">0</span></span> <input type="range"
    id="smoothing" min="0" max="0.99" step="0.01" value="0"></label>
  <label>log scale <input type="checkbox" id="log"></label>
  <span class="soft keys">in a chart: <kbd>←</kbd> <kbd>→</kbd> <kbd>Home</kbd> <kbd>End</kbd>
    read values, <kbd>Esc</kbd> ends</span>
</div>"""


def _chart(place: int, chart: Chart) -> str:
    name = html.escape(chart.name)
    return (
        f'<figure class="chart"><figcaption>{name}</figcaption>'
        f'<svg class="plot" id="chart-{place}" tabindex="0" role="application" '
        f'aria-label="chart of {name}; arrow keys read its values" '
        f'aria-describedby="readout-{place}"></svg>'
        f'<p class="readout" id="readout-{place}"></p>'
        f'<p class="beyond" id="beyond-{place}"></p></figure>'
    )


def _table(table: PageTable) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in table.columns)
    rows = []
    for i, (first, *cells) in enumerate(table.rows):
        told = "".join(_cell(words, (i, j) in table.best) for j, words in enumerate(cells, start=1))
        rows.append(f'<tr><th scope="row">{html.escape(first)}</th>{told}</tr>')
    title = f"<h3>{html.escape(table.title)}</h3>" if table.title else ""
    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    label = html.escape(table.title or table.columns[0])
    return (
        f'{title}<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>'
        f"{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(words: str, is_best: bool) -> str:
    if is_best:
        return f'<td class="best">{html.escape(words)} <span aria-label="best">★</span></td>'
    return f"<td>{html.escape(words)}</td>"
