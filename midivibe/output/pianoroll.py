"""Score → piano roll as PNG: one colour a track, bars and beats, velocity as strength of colour, drums in a strip below."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from symusic import Score, Track

from midivibe.files import replacing
from midivibe.midi.score import bar_lines
from midivibe.midi.theory import TONICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

# Okabe & Ito 2008, distinguishable with every common kind of colour blindness; then darker relatives for more tracks.
LONGEST_TITLE = 80
"""Characters of a title that fit over a piano roll."""
COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#5D5D5D",
    "#003B5C", "#8A5F00", "#005C43", "#7A3F62", "#2B6C8A", "#7A3500", "#6B6200",
)  # fmt: skip
DRUM_COLOUR = "#333333"
DRUM_LANES = (
    ("kick", (35, 36)), ("snare", (37, 38, 39, 40)), ("toms", (41, 43, 45, 47, 48, 50)), ("hi-hat", (42, 44, 46)),
    ("cymbals", (49, 51, 52, 53, 55, 57, 59)),
)  # fmt: skip
NEW_COLOUR = "#D62728"
SOFTWARE = "midivibe"
"""What a piano roll's PNG says that it was made by."""


def plot_score(
    score: Score,
    path: str | Path,
    title: str = "",
    caption: str = "",
    width: int = 1200,
    height: int = 700,
    new: frozenset[tuple[int, int, int]] = frozenset(),
    bars: tuple[int, int] | None = None,
    marked: Sequence[tuple[int, int]] = (),
    sections: Sequence[tuple[int, str]] = (),
    chords: Sequence[tuple[int, str]] = (),
) -> None:
    """Write a piano roll of `width` × `height` pixels; raises OutputError.

    Notes in `new`, as (index of the track, tick, pitch), are red. `bars` shows only those bars, [first, last) from 0;
    `marked` runs of ticks are shaded. Names of `sections` (bar from 0, text) and symbols of `chords` (tick, text) stand above.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    has_drums = any(t.is_drum and len(t.notes) for t in score.tracks)
    if has_drums:
        roll, drums = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1.1))
    else:
        roll, drums = figure.subplots(), None
    starts, meters = bar_lines(score)
    first, last = bars or (0, len(starts) - 1)
    legend, pitches = [], []
    colours = iter(COLOURS * 10)
    for index, track in enumerate(score.tracks):
        if not len(track.notes):
            continue
        colour = DRUM_COLOUR if track.is_drum else next(colours)
        fresh = {(tick, pitch) for i, tick, pitch in new if i == index}
        within = (starts[first], starts[last]) if bars is not None else None
        drawn = _draw_track(drums if track.is_drum else roll, track, colour, score.ticks_per_quarter, within, fresh)
        if not len(drawn):
            continue
        if not track.is_drum:
            pitches.append(drawn)
        legend.append(Patch(facecolor=colour, label=shown(track.name or "track")[:24]))
    for axis in (roll, drums):
        if axis is not None:
            _draw_bars(axis, starts, meters, (first, last), score.ticks_per_quarter, marked)
    _draw_scales(roll, drums, pitches)
    figure.suptitle(shown(title)[:LONGEST_TITLE], x=0.01, ha="left", fontsize=13, fontweight="bold", parse_math=False)
    names = [(int(starts[bar]), text) for bar, text in sections if bar < len(starts)]
    rows = _draw_above(roll, [chords, names], starts[first : last + 1], width)
    roll.set_title(caption, loc="left", fontsize=10, parse_math=False, pad=6 + ROW * rows)
    if new:
        legend.append(Patch(facecolor=NEW_COLOUR, label="new"))
    _draw_legend(figure, legend)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a title in an alphabet that the font lacks
        figure.savefig(temporary, format="png", metadata={"Software": SOFTWARE})


def _draw_legend(figure: Figure, legend: Sequence[Patch]) -> None:
    """The colours of the tracks, below."""
    if legend:
        box = figure.legend(handles=legend, loc="outside lower left", ncols=min(len(legend), 6), fontsize=9, frameon=False)
        for text in box.get_texts():  # a name may hold dollars
            text.set_parse_math(False)


ROW, LETTER = 13, 7
"""Points of a row of names above the roll; pixels that a letter takes."""


def _draw_above(roll: Axes, rows: Sequence[Sequence[tuple[int, str]]], starts: np.ndarray, width: int) -> int:
    """Draw rows of names (tick, text) above the roll between the bar lines `starts`, upwards; returns how many it drew.

    The last row is that of sections.
    """
    drawn, again = 0, {tick for tick, _ in rows[-1]}
    for names in rows:
        within = [(tick, text) for tick, text in names if starts[0] <= tick < starts[-1]]
        for tick, text in _with_room(within, starts, 0.9 * width / (starts[-1] - starts[0]), again):
            roll.annotate(
                text, (tick, 1), xycoords=("data", "axes fraction"), xytext=(1, 3 + ROW * drawn), textcoords="offset points",
                fontsize=9, fontweight="bold" if names is rows[-1] else "normal", parse_math=False, annotation_clip=False,
            )  # fmt: skip
        drawn += bool(within)
    return drawn


def _with_room(names: Sequence[tuple[int, str]], starts: np.ndarray, pixels: float, again: set[int]) -> list[tuple[int, str]]:
    """The names that have room at so many `pixels` a tick; one that goes on is said again only at ticks in `again`.

    Where they run into each other those at ticks in `again` come first, then those at every eighth bar line, fourth, second
    and each; those inside bars come only if all of these have room.
    """
    bars = {tick: bar for bar, tick in enumerate(starts.tolist())}

    def rank(name: tuple[int, str]) -> int:
        if name[0] in again:
            return 0
        return next((8 // every for every in (8, 4, 2, 1) if bars.get(name[0], 0.5) % every == 0), 9)

    taken: list[tuple[float, float]] = []
    kept: list[tuple[int, str]] = []
    changes = [name for i, name in enumerate(names) if i == 0 or name[0] in again or name[1] != names[i - 1][1]]
    for tick, text in sorted(changes, key=rank):
        left, right = tick * pixels, tick * pixels + LETTER * (len(text) + 1)
        if tick not in bars and not all(name in kept for name in changes if name[0] in bars):
            break
        if all(right <= a or b <= left for a, b in taken):
            taken.append((left, right))
            kept.append((tick, text))
    return kept


def shown(text: str) -> str:
    """A text that can be drawn: no control characters, and nothing that is no letter of any alphabet."""
    return "".join(c for c in text.encode("utf-8", "replace").decode() if c.isprintable())


def _draw_track(
    axis: Axes, track: Track, colour: str, ticks_per_quarter: int, within: tuple[int, int] | None, new: set[tuple[int, int]]
) -> np.ndarray:
    """Draw the notes of a track that sound `within` ticks, those in `new` (tick, pitch) red; returns the drawn pitches."""
    from matplotlib.collections import PolyCollection

    notes = track.notes.numpy()
    begin, end = notes["time"].astype(float), (notes["time"] + notes["duration"]).astype(float)
    strength = 0.25 + 0.75 * (notes["velocity"].astype(float) / 127).clip(0, 1)
    gap = 0.02 * ticks_per_quarter
    if track.is_drum:
        low, tall = np.array([_lane(int(p)) for p in notes["pitch"]]) - 0.38, 0.76
        end = begin + ticks_per_quarter / 6
    else:
        low, tall = notes["pitch"] - 0.45, 0.9
    corners = np.stack(
        [np.stack([begin, begin, end - gap, end - gap], axis=1), np.stack([low, low + tall, low + tall, low], axis=1)], axis=2
    )
    if within is not None:
        shown = (end > within[0]) & (begin < within[1])
        corners, strength, notes = corners[shown], strength[shown], {k: a[shown] for k, a in notes.items()}
    if len(corners):
        fresh = [(int(t), int(p)) in new for t, p in zip(notes["time"], notes["pitch"], strict=True)]
        edges = [_rgb(NEW_COLOUR if f else colour) for f in fresh]
        faces = [(*edge, s) for edge, s in zip(edges, strength, strict=True)]
        axis.add_collection(PolyCollection(list(corners), facecolors=faces, edgecolors=edges, linewidths=0.4))
    pitches: np.ndarray = notes["pitch"]
    return pitches


def _draw_bars(
    axis: Axes,
    starts: np.ndarray,
    meters: Sequence[tuple[int, int]],
    bars: tuple[int, int],
    ticks_per_quarter: int,
    marked: Sequence[tuple[int, int]],
) -> None:
    """Bar lines, beats where bars are wide enough, and bar numbers."""
    first, last = bars
    for bar in range(first, last):
        tick, meter = starts[bar], meters[bar]
        axis.axvline(tick, color="#888888", linewidth=0.3 if last - first > 64 else 0.7, zorder=0)
        if last - first <= 33:
            for beat in range(1, min(meter[0], 32)):
                axis.axvline(tick + beat * 4 * ticks_per_quarter / meter[1], color="#DDDDDD", linewidth=0.4, zorder=0)
        if bar % 2 == 1:
            axis.axvspan(tick, starts[bar + 1], color="#F5F5F5", zorder=-1)
    for from_tick, to_tick in marked:
        axis.axvspan(from_tick, to_tick, color=NEW_COLOUR, alpha=0.07, zorder=-0.5, linewidth=0)
    every = max(1, (last - first) // 20)
    axis.set_xticks(starts[first:last:every], [str(b + 1) for b in range(first, last, every)])
    axis.set_xlim(starts[first], starts[last])
    axis.tick_params(labelsize=9)


def _draw_scales(roll: Axes, drums: Axes | None, pitches: Sequence[np.ndarray]) -> None:
    """Octaves beside the roll, drum lanes beside the drums, "bar" below."""
    if pitches:
        every_pitch = np.concatenate(pitches)
        lowest, highest = int(every_pitch.min()) - 2, int(every_pitch.max()) + 2
        roll.set_ylim(lowest, highest)
        octaves = [p for p in range(lowest, highest + 1) if p % 12 == 0]
        roll.set_yticks(octaves, [f"{TONICS['major'][p % 12]}{p // 12 - 1}" for p in octaves])
    for pitch in range(0, 128, 12):
        roll.axhline(pitch - 0.5, color="#DDDDDD", linewidth=0.6, zorder=0)
    roll.set_ylabel("pitch")
    if drums is not None:
        drums.set_ylim(-0.6, len(DRUM_LANES) + 0.6)
        drums.set_yticks(range(len(DRUM_LANES) + 1), [name for name, _ in DRUM_LANES] + ["other"], fontsize=8)
    (drums if drums is not None else roll).set_xlabel("bar")


def is_roll(path: str | Path) -> bool:
    """Whether a file is a piano roll of ours, which a new one may replace."""
    with Path(path).open("rb") as file:
        return f"Software\0{SOFTWARE}".encode() in file.read(1024)


def _lane(pitch: int) -> int:
    return next((i for i, (_, members) in enumerate(DRUM_LANES) if pitch in members), len(DRUM_LANES))


def _rgb(colour: str) -> tuple[float, float, float]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]
