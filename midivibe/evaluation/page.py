"""How the report's page shows figures: numbers with intervals, tables, plots and piano rolls. Each returns HTML.

Sections lay themselves out with these; only this module of the evaluation draws.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from midivibe.midi.score import read
from midivibe.output.page import figure_html, picture_html, table_html
from midivibe.output.pianoroll import COLOURS, plot_score

GREY = "#999999"


def shown(value: object, digits: int = 3) -> str:
    """A figure, or a figure with its interval: "0.512 [0.488, 0.540]"; "–" where nothing was measured."""
    if isinstance(value, list):
        if not value or value[0] is None:
            return "–"
        bounds = "" if len(value) < 3 or value[1] is None else f" [{value[1]:.{digits}f}, {value[2]:.{digits}f}]"
        return f"{value[0]:.{digits}f}{bounds}"
    return "–" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def label(key: str) -> str:
    """A key of the report as people read it."""
    return key.replace("_", " ")


def table(title: str, rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """A titled table: a name in the first column, values in the others."""
    return table_html(title, rows, head)


def bars(title: str, names: Sequence[str], groups: dict[str, Sequence[float]], limit: float) -> str:
    """Horizontal bars around 0, one a name and group; values beyond ±`limit` are cut off there. The first group is grey."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    axis = figure.subplots()
    width = 0.81 / max(len(groups), 1)
    for i, ((name, values), colour) in enumerate(zip(groups.items(), (GREY, *COLOURS), strict=False)):
        places = np.arange(len(names)) + width * ((len(groups) - 1) / 2 - i)
        axis.barh(places, np.clip(values, -limit, limit), width, color=colour, label=name)
    axis.set_yticks(np.arange(len(names)), [label(n) for n in names], fontsize=8)
    axis.axvline(0, color="#222222", linewidth=0.8)
    axis.set_title(title)
    axis.legend()
    return figure_html(figure, title)


def scatter(points: np.ndarray, plots: dict[str, tuple[Sequence[str], Sequence[str]]]) -> str:
    """The same points (N, 2) in several plots side by side: title -> (label of each point, labels that get a colour)."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    for axis, (title, (labels, known)) in zip(figure.subplots(1, len(plots)), plots.items(), strict=True):
        for name, colour in zip(known, COLOURS, strict=False):
            here = np.array([each == name for each in labels])
            axis.scatter(*points[here].T, s=9, color=colour, label=name, alpha=0.7, linewidths=0)
        axis.set_title(title)
        axis.legend(fontsize=7)
    return figure_html(figure, "; ".join(plots))


def roll(title: str, folder: Path, number: int) -> str:
    """The piano roll of a composed piece, by its number in its folder."""
    file = next(folder.glob(f"{number:04d}-*.mid"), None)
    if file is None:
        return f"<h3>{title}</h3><p>The file of this piece is no longer there.</p>"
    with tempfile.TemporaryDirectory() as temporary:
        picture = Path(temporary) / "roll.png"
        plot_score(read(file), picture, title=file.name, width=1100, height=460)
        return f"<h3>{title}</h3>" + picture_html(picture, f"piano roll of {file.name}")


__all__ = ["bars", "label", "roll", "scatter", "shown", "table"]
