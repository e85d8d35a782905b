"""An evaluation as one page: ours, people's and the floor side by side, plots, and three piano rolls to look at."""

from __future__ import annotations

import html
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from midivibe.files import replacing
from midivibe.midi.score import read
from midivibe.output.page import figure_html, page_html, picture_html, table_html
from midivibe.output.pianoroll import COLOURS, plot_score
from midivibe.vibe.axes import AXES

SETS = ("human", "ours", "markov", "unigram", "shuffled bars", "repeated bars")


def write_page(folder: Path, report: dict[str, Any]) -> Path:
    """Write report.html into an evaluation's folder; returns where it is. Sections that were left out are not there."""
    sections = report["sections"]
    made = [WRITERS[name](sections[name], folder) for name in WRITERS if name in sections]
    options = report["options"]
    body = (
        f"<p>Weights {report['weights'][:12]}, engine {html.escape(report['engine'])}, split {options['split']}, "
        f"{options['pieces']} pieces of {options['bars']} bars, seed {options['seed']}, sampling "
        f"{html.escape(str(options['sampling']))}. Brackets are 95 % bootstrap intervals over pieces, over songs where a song "
        "gave several. None of the figures of music is better when it is higher: the aim is people's.</p>" + "".join(made)
    )
    path = folder / "report.html"
    with replacing(path) as temporary:
        temporary.write_text(page_html("midivibe: evaluation", body))
    return path


def shown(value: Any, digits: int = 3) -> str:
    """A figure, or a figure with its interval."""
    if isinstance(value, list):
        if value[0] is None:
            return "–"
        bounds = "" if len(value) < 3 or value[1] is None else f" [{value[1]:.{digits}f}, {value[2]:.{digits}f}]"
        return f"{value[0]:.{digits}f}{bounds}"
    return "–" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _likelihood(s: dict[str, Any], folder: Path) -> str:
    names = [k for k in s if k not in ("by_part", "by_style", "seconds")]
    rows = [(k.replace("_", " "), shown(s[k])) for k in names]
    parts = [(k, shown(v)) for k, v in sorted(s["by_part"].items(), key=lambda x: x[1])]
    styles = [(k, shown(v)) for k, v in sorted(s["by_style"].items(), key=lambda x: x[1])]
    return (
        table_html("Likelihood of held-out windows, in nats", rows)
        + table_html("Reconstruction, nats a note, by kind of part", parts)
        + table_html("Reconstruction plus KL, nats a note, by style", styles)
    )


def _music(s: dict[str, Any], folder: Path) -> str:
    sets = [n for n in SETS if n in s]
    head = ("", "people, reference", *("people, other songs" if n == "human" else n for n in sets))
    rows = [
        (k.replace("_", " "), shown(mean), *(shown(s[n]["scalars"][k]) for n in sets))
        for k, (mean, _) in s["reference"].items()
    ]
    far = [("pieces", s["reference_pieces"], *(s["pieces"][n] for n in sets))]
    far += [("too sparse to compare", "", *(s["too_sparse"][n] for n in sets))]
    far += [("Fréchet distance", "", *(shown(s[n]["frechet"]["distance"], 2) for n in sets))]
    far += [("the same, people at that size", "", *(shown(s[n]["frechet"]["people"], 2) for n in sets))]
    far += [("mean overlap of MGEval's nine features", "", *(shown(s[n]["mean_overlap"]) for n in sets))]
    far += [(f"overlap, {k.replace('_', ' ')}", "", *(shown(s[n]["mgeval"][k][0]) for n in sets)) for k in s["human"]["mgeval"]]
    far += [
        (f"frames, {k.replace('_', ' ')}", "", *(shown(s[n]["framewise"][k]) for n in sets)) for k in s["human"]["framewise"]
    ]
    ends = [
        (k.replace("_", " "), shown(s["endings"]["human"][k]), shown(s["endings"]["ours"][k]))
        for k in ("pieces", "on_tonic", "last_bar_density")
    ]
    figure = Figure(figsize=(12, 6), layout="constrained")
    axis = figure.subplots()
    names = list(s["reference"])
    for offset, (name, colour) in enumerate(zip(("human", "ours", "markov"), ("#999999", COLOURS[0], COLOURS[1]), strict=True)):
        if name not in s:
            continue
        gaps = [s[name]["gap_in_sd"][k] or 0.0 for k in names]
        axis.barh(np.arange(len(names)) + 0.27 * (1 - offset), np.clip(gaps, -4, 4), 0.27, color=colour, label=name)
    axis.set_yticks(np.arange(len(names)), [n.replace("_", " ") for n in names], fontsize=8)
    axis.axvline(0, color="#222222", linewidth=0.8)
    axis.set_title("gap to people's music, in its standard deviations")
    axis.legend()
    rolls = "".join(
        f"<h3>{what} of ours, by distance ({s['far'][number]:.2f} standard deviations)</h3>" + _roll(folder, number)
        for what, number in (("The nearest", s["shown"]["best"]), ("The median", s["shown"]["median"]),
                             ("The farthest", s["shown"]["worst"]))
    )  # fmt: skip
    return (
        table_html("Distance to people's music", far, head)
        + figure_html(figure)
        + table_html("What the pieces measure as", rows, head)
        + table_html("Endings", ends, ("", "people", "ours"))
        + rolls
    )


def _roll(folder: Path, number: int) -> str:
    file = next((folder / "pieces" / "ours").glob(f"{number:04d}-*.mid"), None)
    if file is None:
        return "<p>The piece is gone.</p>"
    with tempfile.TemporaryDirectory() as temporary:
        picture = Path(temporary) / "roll.png"
        plot_score(read(file), picture, title=file.name, width=1100, height=460)
        return picture_html(picture, f"piano roll of {file.name}")


def _control(s: dict[str, Any], folder: Path) -> str:
    exact = [(k.replace("_", " "), f"{100 * v:.1f} %") for k, v in s["exact"].items()]
    values = list(s["steering"])
    rows = [(a, *(shown(s["steering"][g]["spearman"][a], 2) for g in values)) for a in AXES]
    rows += [("Fréchet distance to people", *(shown(s["steering"][g]["frechet"]["distance"], 2) for g in values))]
    rows += [("the same, people at that size", *(shown(s["steering"][g]["frechet"]["people"], 2) for g in values))]
    rows += [("pieces", *(s["steering"][g]["pieces"] for g in values))]
    return table_html(f"Asked and found in the file, {s['exact_pieces']} pieces", exact) + table_html(
        "Vibe asked and heard, Spearman, by ways of steering", rows, ("", *values)
    )


def _latent(s: dict[str, Any], folder: Path) -> str:
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    plane = np.array(s["plane"])
    quadrants = ("happy", "calm", "angry", "sad")  # 2 · (valence is low) + (arousal is low)
    groups = (("style", s["styles"]), ("quadrant", [quadrants[q] for q in s["quadrants"]]))
    for axis, (what, labels) in zip(figure.subplots(1, 2), groups, strict=True):
        known = list(quadrants) if what == "quadrant" else sorted(set(labels), key=lambda x: -labels.count(x))[:8]
        for name, colour in zip(known, COLOURS, strict=False):
            here = np.array([label == name for label in labels])
            axis.scatter(*plane[here].T, s=9, color=colour, label=name, alpha=0.7, linewidths=0)
        axis.set_title(f"posterior means by {what}, two principal axes ({100 * s['plane_share']:.0f} % of the variance)")
        axis.legend(fontsize=7)
    rows = [
        (f"order along a line of {s['steps']} steps, {s['pairs']} pairs (1 is steady)", shown(s["between_order"])),
        ("the same with the inner steps shuffled", shown(s["between_order_by_chance"])),
        ("largest step of the line, in its length", shown(s["between_largest_jump"])),
        ("spread of 20 pieces from one vibe", shown(s["spread_of_20_from_one_vibe"])),
        ("spread of 20 songs of people", shown(s["spread_of_20_human_songs"])),
    ]
    return table_html("The latent", rows) + figure_html(figure)


def _originality(s: dict[str, Any], folder: Path) -> str:
    names = [k for k in s["human"] if not k.endswith("interval")]
    return table_html(
        "Nearest in the training set", [(k.replace("_", " "), *(shown(s[w][k]) for w in ("human", "ours"))) for k in names],
        ("", "held-out people", "ours"),
    )  # fmt: skip


def _infilling(s: dict[str, Any], folder: Path) -> str:
    made = []
    for kind, found in s.items():
        if kind == "seconds":
            continue
        figures = list(next(iter(found["ways"].values())))
        rows = [(way, *(shown(v.get(f)) for f in figures)) for way, v in found["ways"].items()]
        made.append(table_html(f"Holes: {kind}, {found['pieces']} pieces", rows, ("", *figures)))
        made.append(table_html("The model's lead", [(k, shown(v)) for k, v in found["leads"].items()]))
    return "".join(made)


def _mood(s: dict[str, Any], folder: Path) -> str:
    if "left_out" in s:
        return f"<h2>Mood</h2><p>Left out: {html.escape(s['left_out'])}.</p>"
    made = []
    for name, found in s["judge"].items():
        made.append(
            table_html(f"The judge on people's music it has not seen: {name}", [(k, shown(v)) for k, v in found.items()])
        )
    for name in ("piano", "any instruments"):
        found = s[name]
        if not found["pieces"]:
            continue
        hits = [
            (k, *(shown(found[side][k]) for side in ("against zero", "against their middle")))
            for k in ("valence", "arousal", "quadrant")
        ]
        head = ("hit rates", "against zero", "against their middle")
        made.append(table_html(f"Asked for a quadrant, {name}, {found['pieces']} pieces", hits, head))
    for name in ("pictures", "words"):
        if name in s:
            found = s[name]
            rows = [(f"{a}: {k}", shown(v)) for a in ("valence", "arousal") for k, v in found[a].items()]
            for way in ("by the judge", "by the seven axes"):
                rows += [(f"found among 50 {way}: {k}", shown(v)) for k, v in found.get(way, {}).items()]
            made.append(table_html(f"From {name} to music, {found['pieces']} pieces", rows))
    return "".join(made)


WRITERS = {
    "music": _music, "control": _control, "mood": _mood, "likelihood": _likelihood, "latent": _latent,
    "originality": _originality, "infilling": _infilling,
}  # fmt: skip

__all__ = ["write_page"]
