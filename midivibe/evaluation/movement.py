"""Does the harmony move, do phrases return, and would people play in this band? One number a measure and piece.

As in `metrics`, no measure is better when it is higher; read each beside people's. Chords are the triads of half bars by
sounding time (`metrics.chords`), which composing does not use. NaN means that a piece has nothing to measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from midivibe.evaluation.intervals import Estimate, estimate
from midivibe.evaluation.metrics import cells, chords, mean, shared
from midivibe.midi.instruments import family_of
from midivibe.midi.notes import DRUMS, Notes

STILL_BARS = 4
"""Bars on one chord from which harmony counts as still: the length of a phrase."""
PHRASE_BARS = 4
NEARLY = 0.8
"""Overlap of `cells` from which a phrase counts as one that returns."""
CHORDAL = 1.5
"""Notes per onset from which a part counts as playing chords: two notes at every other onset."""
FEWEST = 8
"""Notes of a part below which its texture is not measured."""
HARSH = (29, 30, *range(80, 88))
"""Overdriven and distorted guitars, synthesizer leads."""
MANY_PARTS, MANY_HARSH = 6, 3
FAST = 170.0
"""Beats a minute; 15 % of our pieces were this fast when the header's guidance was 5 (`config.SampleConfig`)."""
HARMONY = ("chord changes a bar", "chords in 8 bars", "still for 4 bars", "lag 4 minus lag 1", "V-I a bar", "bass on root")


def movement(notes: Notes) -> dict[str, float]:
    """Every measure of one piece, by name."""
    return {**_harmony(notes), **_texture(notes), **_returns(notes), **_band(notes)}


def compare(sets: Mapping[str, tuple[Sequence[Notes], Sequence[str] | None]], seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Mean and 95 % interval of every measure for sets of pieces, each with the song of every piece or None.

    Returns measure -> name of the set -> estimate.
    """
    rows = {name: [movement(piece) for piece in pieces] for name, (pieces, _) in sets.items()}
    names = next(row for found in rows.values() for row in found)
    return {
        measure: {k: estimate(np.array([r[measure] for r in rows[k]]), songs, seed) for k, (_, songs) in sets.items()}
        for measure in names
    }


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
        len(change) / notes.bars, mean(eights), float(runs.max() >= 2 * STILL_BARS), same[1] - same[0],
        sum(fifths) / notes.bars, _bass_on_root(notes),
    )  # fmt: skip
    return dict(zip(HARMONY, found, strict=True))


def _bass_on_root(notes: Notes) -> float:
    """Share of bars whose first bass note is the root of the chord that the other parts sound then."""
    is_bass = np.array([family_of(int(p)) == "bass" for p in notes.program], dtype=bool)
    if not is_bass.any() or not (notes.pitched & ~is_bass).any():
        return np.nan
    harmony = chords(notes, bass=False)[::2]
    found = []
    for bar in np.unique(notes.bar[is_bass]):
        rows = np.flatnonzero(is_bass & (notes.bar == bar))
        if harmony[bar] >= 0:
            found.append(notes.pitch[rows[notes.onset[rows].argmin()]] % 12 == harmony[bar] % 12)
    return mean(found)


def _texture(notes: Notes) -> dict[str, float]:
    """Of the pitched parts with 8 notes and more."""
    per_onset, steps, constant = [], [], []
    for program in np.unique(notes.program[notes.pitched]):
        part = notes.take(notes.program == program)
        if len(part) < FEWEST:
            continue
        onsets, first = np.unique(part.onset, return_index=True)
        per_onset.append(len(part) / len(onsets))
        jumps = np.abs(np.diff(part.pitch[first]))
        steps.append(((jumps > 0) & (jumps <= 2)).mean() if len(jumps) else np.nan)
        constant.append(float(np.ptp(part.velocity) == 0))
    last = notes.bars - notes.bars // 4
    return {
        "notes per onset": mean(per_onset),
        "the same, last quarter": _per_onset(notes.take(notes.bar >= last)),
        "chordal parts": mean([x >= CHORDAL for x in per_onset]),
        "stepwise": mean(steps),
        "constant velocity": mean(constant),
    }


def _per_onset(notes: Notes) -> float:
    """Pitched notes per onset of a part, over all parts."""
    pitched = notes.take(notes.pitched)
    onsets = np.unique(np.stack([pitched.onset, pitched.program]), axis=1).shape[1]
    return len(pitched) / onsets if onsets else np.nan


def _returns(notes: Notes) -> dict[str, float]:
    bars = cells(notes)
    exact = [any(a == b for b in bars[:i]) for i, a in enumerate(bars) if i and a]
    starts = range(0, notes.bars - PHRASE_BARS + 1, PHRASE_BARS)
    phrases = [{(i, *x) for i in range(PHRASE_BARS) for x in bars[at + i]} for at in starts]
    near = [any(shared(a, b) >= NEARLY for b in phrases[:i]) for i, a in enumerate(phrases) if i and a]
    drums = [{x for x in bar if x[0] == DRUMS} for bar in bars]
    return {
        "bars that return": mean(exact),
        "phrases nearly return": mean(near),
        "drums like the bar before": mean([shared(a, b) for a, b in pairwise(drums) if a and b]),
    }


def _band(notes: Notes) -> dict[str, float]:
    programs = np.unique(notes.program)
    return {
        "parts": float(len(programs)),
        "six parts": float(len(programs) >= MANY_PARTS),
        "no bass": float(not any(family_of(int(p)) == "bass" for p in programs)),
        "three harsh parts": float(np.isin(programs, HARSH).sum() >= MANY_HARSH),
        "BPM": float(notes.bar_tempo[0]),
        "170 BPM and over": float(notes.bar_tempo[0] >= FAST),
    }


__all__ = ["compare", "movement"]
