"""Whether harmony moves, phrases return, and the band is one that plays: one number a measure and piece.

Like `metrics`, none is better when it is higher; each is to be read beside people's. Chords are triads a half bar by
sounding time (`metrics.chords`). NaN where a piece has nothing to measure.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from midivibe.evaluation.metrics import bar_of, chords, pitched
from midivibe.midi.instruments import family_of
from midivibe.midi.notes import DRUMS, Notes

STILL_BARS = 4
PHRASE_BARS = 4
NEARLY = 0.8
"""Overlap of (part, position, pitch) from which a phrase counts as one that returns."""
CHORDAL = 1.5
"""Notes per onset from which a part plays chords."""
HARSH = (29, 30, *range(80, 88))
"""Overdriven and distorted guitars, synthesizer leads."""
FAST = 170.0
HARMONY = ("chord changes a bar", "chords in 8 bars", "still for 4 bars", "lag 4 minus lag 1", "V-I a bar", "bass on root")


def movement(notes: Notes) -> dict[str, float]:
    """Every measure of one piece, by name."""
    return {**_harmony(notes), **_texture(notes), **_returns(notes), **_band(notes)}


def _held(labels: np.ndarray) -> np.ndarray:
    """Labels with each -1 (silence) replaced by the one before."""
    known = np.maximum.accumulate(np.where(labels >= 0, np.arange(len(labels)), -1))
    return np.where(known >= 0, labels[known.clip(0)], -1)


def _harmony(notes: Notes) -> dict[str, float]:
    half = _held(chords(notes))
    bars = half[::2]
    known = half[half >= 0]
    if len(known) < 4:
        return dict.fromkeys(HARMONY, np.nan)
    change = np.flatnonzero(np.diff(half))
    runs = np.diff(np.concatenate([[-1], change, [len(half) - 1]]))
    fifths = [b % 12 == (a + 5) % 12 and a < 12 for a, b in pairwise(half[np.concatenate([change, [len(half) - 1]])])]
    eights = [len(np.unique(bars[i : i + 8])) for i in range(0, max(notes.bars - 7, 1), 4)]
    same = [float((bars[lag:] == bars[:-lag]).mean()) if notes.bars > lag else np.nan for lag in (1, PHRASE_BARS)]
    found = (
        len(change) / notes.bars, float(np.mean(eights)), float(runs.max() >= 2 * STILL_BARS), same[1] - same[0],
        sum(fifths) / notes.bars, _bass_on_root(notes),
    )  # fmt: skip
    return dict(zip(HARMONY, found, strict=True))


def _bass_on_root(notes: Notes) -> float:
    """Share of bars whose first bass note is the root of the chord that the other parts sound then."""
    is_bass = np.array([family_of(int(p)) == "bass" for p in notes.program], dtype=bool)
    if not is_bass.any() or not (pitched(notes) & ~is_bass).any():
        return np.nan
    harmony, bars = chords(notes, bass=False)[::2], bar_of(notes)
    found = []
    for bar in np.unique(bars[is_bass]):
        rows = np.flatnonzero(is_bass & (bars == bar))
        if harmony[bar] >= 0:
            found.append(notes.pitch[rows[notes.onset[rows].argmin()]] % 12 == harmony[bar] % 12)
    return float(np.mean(found)) if found else np.nan


def _texture(notes: Notes) -> dict[str, float]:
    """Of the pitched parts with 8 notes and more."""
    per_onset, steps, constant = [], [], []
    for program in np.unique(notes.program[pitched(notes)]):
        rows = np.flatnonzero(notes.program == program)
        if len(rows) < 8:
            continue
        onsets, first = np.unique(notes.onset[rows], return_index=True)
        per_onset.append(len(rows) / len(onsets))
        line = notes.pitch[rows][first]
        jumps = np.abs(np.diff(line))
        steps.append(((jumps > 0) & (jumps <= 2)).mean() if len(jumps) else np.nan)
        constant.append(float(np.ptp(notes.velocity[rows]) == 0))
    last = notes.bars - notes.bars // 4
    bars = bar_of(notes)
    return {
        "notes per onset": float(np.mean(per_onset)) if per_onset else np.nan,
        "the same, last quarter": _per_onset(notes, bars >= last),
        "chordal parts": float(np.mean(np.array(per_onset) >= CHORDAL)) if per_onset else np.nan,
        "stepwise": float(np.nanmean(steps)) if steps else np.nan,
        "constant velocity": float(np.mean(constant)) if constant else np.nan,
    }


def _per_onset(notes: Notes, where: np.ndarray) -> float:
    rows = np.flatnonzero(where & pitched(notes))
    onsets = np.unique(notes.onset[rows] * 256 + notes.program[rows] + 1)
    return len(rows) / len(onsets) if len(onsets) else np.nan


def _returns(notes: Notes) -> dict[str, float]:
    bars, place = bar_of(notes), notes.onset - notes.bar_start[bar_of(notes)]
    cells: list[set[tuple[int, int, int]]] = [set() for _ in range(notes.bars)]
    for bar, *row in zip(bars.tolist(), notes.program.tolist(), place.tolist(), notes.pitch.tolist(), strict=True):
        cells[bar].add(tuple(row))
    exact = [any(a == b for b in cells[:i]) for i, a in enumerate(cells) if i and a]
    starts = range(0, notes.bars - PHRASE_BARS + 1, PHRASE_BARS)
    phrases = [{(i, *x) for i in range(PHRASE_BARS) for x in cells[at + i]} for at in starts]
    near = [any(len(a & b) / max(len(a), len(b), 1) >= NEARLY for b in phrases[:i]) for i, a in enumerate(phrases) if i and a]
    drums = [frozenset((x[1], x[2]) for x in c if x[0] == DRUMS) for c in cells]
    return {
        "bars that return": float(np.mean(exact)) if exact else np.nan,
        "phrases nearly return": float(np.mean(near)) if near else np.nan,
        "drums like the bar before": _drums_kept(drums),
    }


def _drums_kept(drums: list[frozenset]) -> float:
    pairs = [len(a & b) / max(len(a), len(b)) for a, b in pairwise(drums) if a and b]
    return float(np.mean(pairs)) if pairs else np.nan


def _band(notes: Notes) -> dict[str, float]:
    programs = np.unique(notes.program)
    return {
        "parts": float(len(programs)),
        "six parts": float(len(programs) >= 6),
        "no bass": float(not any(family_of(int(p)) == "bass" for p in programs)),
        "three harsh parts": float(np.isin(programs, HARSH).sum() >= 3),
        "BPM": float(notes.bar_tempo[0]),
        "170 BPM and over": float(notes.bar_tempo[0] >= FAST),
    }
