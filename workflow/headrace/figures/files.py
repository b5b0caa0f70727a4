"""The charts and pictures of a page as files: each as SVG, and a chart as CSV with the rows that it draws too."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.figures.images import Strip, draw_strips
from headrace.figures.theme import Row, Spec, draw_svg
from headrace.provenance.manifests import read_json, write_atomically, write_json

FIGURES = "figures"
"""Their folder, beside the page."""

LIST = "figures.json"
"""Which files of the folder are ours, and what they show."""

MAX_POINTS = 200_000
"""Points up to which a chart is drawn as SVG, which takes a second and 400 MiB for half of them; its rows are a file
in any case."""

MAX_NAME = 150
"""Characters of a file's name without its ending; a file system allows some 255 bytes."""

OURS = re.compile(r"[a-z_]+-[A-Za-z0-9._-]+[.](svg|csv)")
"""A file that this module may have written."""

_PICTURE = "data:image/"
_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")
_SCALE_KEY = re.compile(r"\d+\n")
"""How a value begins that only names a place of a scale; the text behind it is in a column of its own."""


@dataclass(frozen=True)
class Figure:
    """A chart of the page."""

    section: str
    parts: tuple[str, ...]
    """What tells it from the other charts of its section, as dataset and model."""
    spec: Spec


@dataclass(frozen=True)
class Picture:
    """Images of the page."""

    section: str
    parts: tuple[str, ...]
    """As those of a chart."""
    caption: str
    strips: Sequence[Strip]


def name_figures(figures: Iterable[Figure | Picture]) -> dict[str, Figure | Picture]:
    """Name every figure as any file system takes it: SECTION-PART-PART, with a number where two would be alike."""
    named: dict[str, Figure | Picture] = {}
    taken: set[str] = set()
    for figure in figures:
        whole = "-".join([figure.section, *(_UNSAFE.sub("_", part) or "_" for part in figure.parts)])
        wanted, number = whole[:MAX_NAME], 1
        # Some file systems do not tell A from a.
        while (name := wanted if number == 1 else f"{wanted}-{number}").lower() in taken:
            number += 1
        taken.add(name.lower())
        named[name] = figure
    return named


def write_figures(figures: Sequence[Figure | Picture], folder: Path) -> list[dict[str, Any]]:
    """Write all figures into a folder, remove those that an earlier call left there, and return what the list says.

    The same give the same bytes. Nothing is touched that this module has not written.
    """
    named = name_figures(figures)
    listed: list[dict[str, Any]] = [
        {
            "name": name,
            "section": figure.section,
            "about": list(figure.parts),
            "caption": _caption(figure),
            "files": [f"{name}{ending}" for ending in _endings(figure)],
        }
        for name, figure in named.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    _remove_others(folder, {file for each in listed for file in each["files"]})
    # Before the files: whatever ends this in between, the list knows what may lie there.
    write_json(folder / LIST, listed, durable=False)
    for each in listed:
        for file in each["files"]:
            write_atomically(folder / file, _draw(named[each["name"]], file).encode(), durable=False)
    return listed


def _caption(figure: Figure | Picture) -> str:
    return figure.caption if isinstance(figure, Picture) else str(figure.spec.get("description", ""))


def _endings(figure: Figure | Picture) -> list[str]:
    is_drawn = isinstance(figure, Picture) or count_points(figure.spec) <= MAX_POINTS
    return [".svg"] * is_drawn + [".csv"] * (not isinstance(figure, Picture))


def _draw(figure: Figure | Picture, file: str) -> str:
    if isinstance(figure, Picture):
        return draw_strips(figure.strips, figure.caption)
    return draw_svg(figure.spec) if file.endswith(".svg") else tabulate(figure.spec)


def list_figures(folder: Path) -> list[dict[str, Any]]:
    """What the list in a folder says of its figures: name, section, about, caption, files; [] where there is none."""
    return list(read_json(folder / LIST)) if (folder / LIST).is_file() else []


def tabulate(spec: Spec) -> str:
    """The rows of a chart as CSV, `table` first: which layer of the chart they belong to."""
    tables: Mapping[str, Sequence[Row]] = spec["datasets"]
    rows = [
        {"table": name, **row}
        for name, table in tables.items()
        for row in table
        if not all(_only_draws(value) for value in row.values())
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    shown = [name for name in columns if not all(_only_draws(row[name]) for row in rows if name in row)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(shown)
    # One at a time: the curves of a large sweep have 500,000 points.
    writer.writerows([_cell(line.get(name)) for name in shown] for row in rows for line in _lines(row))
    return buffer.getvalue()


def count_points(spec: Spec) -> int:
    """How many points a chart draws."""
    return sum(_length(row) or 1 for table in spec["datasets"].values() for row in table)


def _length(row: Row) -> int | None:
    """The number of points of a row that stands for a whole line; None for one that is a point itself."""
    return max((len(value) for value in row.values() if isinstance(value, list)), default=None)


def _lines(row: Row) -> Iterator[Row]:
    """A row for each point of a row that stands for a whole line."""
    length = _length(row)
    if length is None:
        yield row
        return
    for point in range(length):
        yield {name: value[point] if isinstance(value, list) else value for name, value in row.items()}


def _only_draws(value: Any) -> bool:
    """Say whether it names a place of a scale, or is a picture."""
    return isinstance(value, str) and (_SCALE_KEY.match(value) is not None or value.startswith(_PICTURE))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    # Python's writer leaves a lone carriage return without quotes, and no reader takes it back.
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _remove_others(folder: Path, kept: set[str]) -> None:
    """Remove what the list names and this report does not make; names that lead elsewhere are not ours."""
    try:
        listed = [str(file) for figure in list_figures(folder) for file in figure["files"]]
    except (OSError, ValueError, TypeError, LookupError):
        return
    for file in listed:
        if file not in kept and OURS.fullmatch(file) and (folder / file).is_file():
            (folder / file).unlink(missing_ok=True)
