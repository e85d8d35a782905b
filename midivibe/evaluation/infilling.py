"""How well a fill replaces what was erased, on the model's grid.

Four kinds of hole in excerpts of 16 bars, filled by the model and by simpler ways; seam and scale of the new notes beside
those of the original.
"""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from midivibe.config import FILLING, SampleConfig
from midivibe.edits import Job, open_song
from midivibe.evaluation.baselines import Markov, MarkovEngine
from midivibe.evaluation.intervals import estimate
from midivibe.evaluation.pieces import HumanPiece
from midivibe.midi.notes import DRUMS, Notes, bar_at
from midivibe.midi.score import to_score, write
from midivibe.midi.song import Song
from midivibe.studio import Studio
from midivibe.tokens.vocabulary import GRID_TICKS
from midivibe.writing import filling
from midivibe.writing.canvas import Canvas

KINDS = ("4 bars of everything", "4 bars of one track", "a whole melodic track", "the drums")
WAYS = ("model", "model, nothing after", "copy", "markov", "model alone")
"""The last is without recall and without a choice among candidates, and so is Markov."""
MIDDLE = range(6, 10)
"""The four bars of the first two kinds, from 0."""
BUSY_BARS = 12
"""Bars of 16 in which a part must play to be there all along."""
MOST_NOTES = 1500
"""Notes from which a piece takes too many windows to fill."""
FEWEST_ERASED = 4
"""Notes of a hole below which its figures say nothing."""
CLOSE = GRID_TICKS // 8
"""Onsets at most an eighth of a beat apart count as one (1 tick of 12)."""


def onset_f1(original: Notes, filled: Notes) -> float:
    """F1 of notes with the same program and pitch and onsets at most 1/8 beat apart, each matched once; 1 where both are empty.

    After christianazinn/MIDIMetrics (pattern_matching_metrics), whose count lets a note match several.
    """
    if not len(original) and not len(filled):
        return 1.0
    matched = 0
    a, b = (np.stack([notes.program, notes.pitch], axis=1) for notes in (original, filled))
    for program, pitch in {tuple(row) for row in a.tolist()} & {tuple(row) for row in b.tolist()}:
        x = np.sort(original.onset[(a == (program, pitch)).all(1)])
        y = np.sort(filled.onset[(b == (program, pitch)).all(1)])
        i = j = 0
        while i < len(x) and j < len(y):
            if abs(int(x[i]) - int(y[j])) <= CLOSE:
                matched, i, j = matched + 1, i + 1, j + 1
            elif x[i] < y[j]:
                i += 1
            else:
                j += 1
    return 2 * matched / (len(original) + len(filled))


def chroma_similarity(original: Notes, filled: Notes, start: int, end: int) -> float | None:
    """Mean cosine of the chroma of both in ticks [start, end): per sixteenth, L2-normalised, smoothed over half a bar of 4/4.

    Steps in which both are silent do not count; one of them silent counts 0. None where the original has no pitch.
    """
    a, b = (_chroma(notes, start, end) for notes in (original, filled))
    sounding = (a.sum(1) > 0) | (b.sum(1) > 0)
    if not (a.sum() > 0):
        return None
    return float((a * b).sum(1)[sounding].mean())


def _chroma(notes: Notes, start: int, end: int) -> np.ndarray:
    step = GRID_TICKS // 4
    steps = max(1, (end - start) // step)
    chroma = np.zeros((steps, 12))
    pitched = notes.take(notes.pitched)
    first = (pitched.onset - start) // step
    last = np.maximum((pitched.onset + pitched.duration - start - 1) // step, first)
    for low, high, pitch in zip(first.tolist(), last.tolist(), pitched.pitch.tolist(), strict=True):
        if high >= 0:
            chroma[max(low, 0) : min(high, steps - 1) + 1, pitch % 12] += 1
    width = min(8, steps)
    smooth = np.stack([np.convolve(c, np.ones(width) / width, "same") for c in _unit(chroma).T], axis=1)
    return _unit(smooth)


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit


def in_scale(notes: Notes, context: Notes) -> float | None:
    """Share of the pitched notes whose pitch class is among the seven that the context sounds longest; None without any."""
    if not notes.pitched.any() or not context.pitched.any():
        return None
    weight = np.bincount(context.pitch[context.pitched] % 12, context.duration[context.pitched], 12)
    scale = np.argsort(-weight, kind="stable")[:7]
    return float(np.isin(notes.pitch[notes.pitched] % 12, scale).mean())


def seam(before: Notes, after: Notes) -> dict[str, float]:
    """Jumps from one stretch to the next of the same length: notes (log ratio), register (semitones), pitch classes."""
    a, b = before.take(before.pitched), after.take(after.pitched)
    histograms = [np.bincount(n.pitch % 12, n.duration, 12) for n in (a, b)]
    shares = [h / max(h.sum(), 1e-9) for h in histograms]
    register = abs(a.pitch.mean() - b.pitch.mean()) if len(a) and len(b) else 0.0
    return {
        "density": abs(float(np.log((len(before) + 1) / (len(after) + 1)))),
        "register": float(register),
        "pitch_classes": float(np.abs(shares[0] - shares[1]).sum() / 2),
    }


# The four kinds of hole, and the ways to fill them ----------------------------------------------------------------------


def suits(piece: HumanPiece) -> bool:
    """Whether at least two melodic parts and the drums play in 12 bars, so that the piece has every kind of hole."""
    notes = piece.notes
    busy = [p for p in set(notes.program.tolist()) if len(np.unique(notes.bar[notes.program == p])) >= BUSY_BARS]
    return DRUMS in busy and len(busy) >= 3 and len(notes) < MOST_NOTES


def hole_of(kind: str, song: Song, rng: random.Random) -> dict[int, list[int]] | None:
    """Part number → bars of a hole of that kind; None where the song has none."""
    steady = [p for p in song.parts if len(set(song.bar_of([n.start for n in p.notes]).tolist())) >= BUSY_BARS]
    melodic = [p for p in steady if p.program != DRUMS]
    if kind == KINDS[0]:
        return {p.number: list(MIDDLE) for p in song.parts}
    if kind == KINDS[1]:
        return {rng.choice(song.parts).number: list(MIDDLE)} if len(song.parts) > 1 else None
    if kind == KINDS[2]:
        return {rng.choice(melodic).number: list(range(song.bars))} if len(melodic) > 1 else None
    drums = [p for p in song.parts if p.program == DRUMS]
    return {drums[0].number: list(range(song.bars))} if drums else None


def blank_canvas(studio: Studio, song: Song, hole: dict[int, list[int]]) -> Canvas:
    """The song with its hole, nothing filled in."""
    return Canvas(song, studio.vocabulary, song.parts, lambda bar, part: bar in hole.get(part.number, ()))


def copied(canvas: Canvas, cells: set[tuple[int, int]]) -> Notes:
    """The erased cells with the bars just before the hole; for a whole track, what the busiest other part plays."""
    bars, programs = sorted({b for b, _ in cells}), {p for _, p in cells}
    if bars[0] == 0:
        others = [p for p in set(canvas.notes.program.tolist()) if p not in programs and p != DRUMS]
        source = max(others, key=lambda p: int((canvas.notes.program == p).sum()))
        taken = canvas.notes.window(0, canvas.bars, {source}, cut=False)
        return replace(taken, program=np.full(len(taken), next(iter(programs))))
    taken = canvas.notes.window(max(0, bars[0] - len(bars)), bars[0], programs, cut=False)
    return replace(taken, onset=taken.onset + int(canvas.grid_start[bars[0]]))


def taken_from(canvas: Canvas, cells: set[tuple[int, int]]) -> Notes:
    """The notes of some cells of a canvas."""
    notes = canvas.notes
    bars = bar_at(canvas.grid_start, notes.onset)
    return notes.take(np.array([c in cells for c in zip(bars.tolist(), notes.program.tolist(), strict=True)], dtype=bool))


def edges(notes: Notes) -> dict[str, float]:
    """Mean of the jumps at both edges of the middle: two bars before against two after."""
    jumps = [seam(notes.window(at - 2, at), notes.window(at, at + 2)) for at in (MIDDLE[0], MIDDLE[-1] + 1)]
    return {k: float(np.mean([j[k] for j in jumps])) for k in jumps[0]}


def fill_holes(
    studio: Studio,
    chain: Markov | None,
    pieces: Sequence[HumanPiece],
    seed: int = 0,
    sampling: SampleConfig = FILLING,
    listener: Callable[[int], None] = lambda more: None,
) -> dict[str, list[dict[str, dict[str, Any]]]]:
    """For each kind of hole, a row a piece: the figures of each way, and of the original. Without `chain`, no Markov.

    A whole track leaves nothing before or after it: drums have no copy, and whole tracks no "nothing after". As in use,
    model and Markov know which parts played in the hole and between which pitches; copying does not.
    """
    v, engine = studio.vocabulary, studio.engine
    engines = {WAYS[0]: engine, WAYS[1]: engine, WAYS[4]: engine}
    if chain is not None:
        engines[WAYS[3]] = MarkovEngine(chain, engine.block_size, engine.latents)
    rng = random.Random(seed)
    found: dict[str, list[dict[str, dict[str, Any]]]] = defaultdict(list)
    for number, piece in enumerate(pieces):
        with tempfile.TemporaryDirectory() as folder:
            write(to_score(piece.notes), Path(folder) / "song.mid")
            song = open_song(Path(folder) / "song.mid")
        for kind in KINDS:
            hole = hole_of(kind, song, rng)
            if hole is None:
                continue
            blank = blank_canvas(studio, song, hole)
            cells, original = set(blank.cells), blank.erased
            if len(original) < FEWEST_ERASED:
                continue
            job = Job(song, list(song.parts), hole, seed=seed + number, sampling=sampling)
            fills = {"original": original} | ({"copy": copied(blank, cells)} if kind != KINDS[3] else {})
            for way, chosen in engines.items():
                if way == WAYS[1] and kind in KINDS[2:]:
                    continue
                asked = replace(job, look_ahead=way != WAYS[1])
                if way in WAYS[3:]:
                    asked = replace(asked, candidates=1, sampling=replace(sampling, recall=0.0))
                fills[way] = taken_from(filling.fill(chosen, v, asked, variations=1)[0].canvas, cells)
            found[kind].append({way: _figures(fill, original, blank, cells, kind) for way, fill in fills.items()})
        listener(1)
    return dict(found)


def _figures(fill: Notes, original: Notes, blank: Canvas, cells: set[tuple[int, int]], kind: str) -> dict[str, Any]:
    low, high = (int(blank.grid_start[b]) for b in (min(c[0] for c in cells), max(c[0] for c in cells) + 1))
    row: dict[str, Any] = {
        "f1": onset_f1(original, fill), "chroma": chroma_similarity(original, fill, low, high),
        "in_scale": in_scale(fill, blank.notes), "notes": len(fill) / len(original),
    }  # fmt: skip
    return row | edges(blank.notes.joined(fill)) if kind == KINDS[0] else row


def summary(found: dict[str, list[dict[str, dict[str, Any]]]], seed: int = 0) -> dict[str, Any]:
    """Means with 95 % intervals over pieces, and the interval of the model's lead over each other way, piece by piece."""
    report: dict[str, Any] = {}
    for kind, rows in found.items():
        ways = {}
        for way in rows[0]:
            figures = {}
            for name in rows[0][way]:
                values = np.array([np.nan if r[way][name] is None else r[way][name] for r in rows], dtype=float)
                if np.isfinite(values).any():
                    figures[name] = estimate(values, seed=seed)
            ways[way] = figures
        leads = {}
        for way in [w for w in rows[0] if w not in ("model", "original")]:
            for name in ("f1", "chroma"):
                pairs = [(r["model"][name], r[way][name]) for r in rows if None not in (r["model"][name], r[way][name])]
                if pairs:
                    leads[f"{name} over {way}"] = estimate(np.array([a - b for a, b in pairs]), seed=seed)
        report[kind] = {"pieces": len(rows), "ways": ways, "leads": leads}
    return report


__all__ = ["KINDS", "WAYS", "chroma_similarity", "fill_holes", "in_scale", "onset_f1", "seam", "suits", "summary"]
