"""What a piece of music measures as, one number a metric.

Every metric takes `Notes`, on any grid; drums are left out unless its docstring says otherwise. NaN means that a piece
has nothing to measure. None of them is better when it is higher: good is close to people's music, from both sides (Yang &
Lerch 2020), so read each beside real music against real music, and beside a floor. `distances` compares sets of pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from itertools import pairwise

import numpy as np

from midivibe.midi.instruments import family_of, pitch_range
from midivibe.midi.notes import Notes
from midivibe.midi.theory import detect_key, in_scale_share

GROOVE_GRID = 12
"""Positions a beat of `groove_consistency`; its value depends on them."""
Cell = set[tuple[int, int, int]]
"""What a bar holds: (program, ticks from the bar line, pitch) of each note."""


def mean(values: Sequence[float]) -> float:
    """Mean of the values that are not NaN; NaN where there are none."""
    known = [x for x in values if not np.isnan(x)]
    return float(np.mean(known)) if known else np.nan


def entropy(histogram: np.ndarray) -> float:
    """Entropy of a histogram in bits; NaN where it is empty."""
    total = histogram.sum()
    if total <= 0:
        return np.nan
    p = histogram[histogram > 0] / total
    return float(-(p * np.log2(p)).sum())


# Pitch -----------------------------------------------------------------------------------------------------------------


def pitch_class_entropy(notes: Notes) -> float:
    """Entropy of the pitch classes of all notes, each counted once, 0 to 3.585 bits (muspy, Dong et al. 2020)."""
    return entropy(np.bincount(notes.pitch[notes.pitched] % 12, minlength=12))


def window_entropy(notes: Notes, bars: int) -> float:
    """Mean pitch-class entropy of every stretch of `bars` bars with notes: H1 and H4 of MusDr (Wu & Yang 2020)."""
    counts = np.zeros((notes.bars, 12))
    rows = notes.pitched
    np.add.at(counts, (notes.bar[rows], notes.pitch[rows] % 12), 1)
    summed = [entropy(counts[i : i + bars].sum(0)) for i in range(max(notes.bars - bars + 1, 1))]
    return mean(summed)


def scale_consistency(notes: Notes) -> float:
    """Share of notes in the major or natural minor scale that holds most of them (Mogren 2016; muspy)."""
    rows = notes.pitched
    return in_scale_share(np.bincount(notes.pitch[rows] % 12, minlength=12).astype(float)) if rows.any() else np.nan


def pitch_classes_a_bar(notes: Notes) -> float:
    """Distinct pitch classes in a bar, mean over bars with notes (UPC of MIDIMetrics)."""
    rows = notes.pitched
    pairs = np.unique(np.stack([notes.bar[rows], notes.pitch[rows] % 12]), axis=1)
    return float(np.bincount(pairs[0])[np.unique(pairs[0])].mean()) if rows.any() else np.nan


def steps(notes: Notes) -> np.ndarray:
    """Rows (from, to) of notes that follow each other in one part, in order of onset and pitch: (M, 2)."""
    rows = np.flatnonzero(notes.pitched)
    rows = rows[np.lexsort((notes.pitch[rows], notes.onset[rows], notes.program[rows]))]
    same = notes.program[rows][1:] == notes.program[rows][:-1]
    return np.stack([rows[:-1][same], rows[1:][same]], axis=1)


def mean_interval(notes: Notes) -> float:
    """Mean absolute interval in semitones between notes that follow each other in a part (mgeval's average pitch shift)."""
    followed = steps(notes)
    return float(np.abs(np.diff(notes.pitch[followed], axis=1)).mean()) if len(followed) else np.nan


def span(notes: Notes) -> float:
    """Highest minus lowest pitch in semitones (mgeval's pitch range)."""
    rows = notes.pitched
    return float(np.ptp(notes.pitch[rows])) if rows.any() else np.nan


def in_instrument_range(notes: Notes) -> float:
    """Share of notes that their instrument can play (`midi.instruments.pitch_range`)."""
    rows = np.flatnonzero(notes.pitched)
    bounds = np.array([pitch_range(int(p)) for p in notes.program[rows]]).reshape(-1, 2)
    inside = (notes.pitch[rows] >= bounds[:, 0]) & (notes.pitch[rows] <= bounds[:, 1])
    return float(inside.mean()) if len(rows) else np.nan


# Rhythm ----------------------------------------------------------------------------------------------------------------


def _grooves(notes: Notes, positions: Callable[[int], int]) -> list[np.ndarray]:
    """Onsets of each bar, drums too, as bits on `positions(ticks of the bar)` places."""
    bars, lengths = notes.bar, np.diff(notes.bar_start)
    found = [np.zeros(positions(int(n)), dtype=bool) for n in lengths]
    for bar, onset in zip(bars.tolist(), notes.onset.tolist(), strict=True):
        place = (onset - int(notes.bar_start[bar])) * len(found[bar]) // int(lengths[bar])
        found[bar][place] = True
    return found


def groove_consistency(notes: Notes) -> float:
    """1 − mean Hamming distance of the onsets of neighbouring bars, 12 positions a beat, drums too (Wu & Yang 2020; muspy).

    Neighbours of different length do not count.
    """
    grooves = _grooves(notes, lambda ticks: max(1, ticks * GROOVE_GRID // notes.ticks_per_beat))
    return mean([1 - float((a != b).mean()) for a, b in pairwise(grooves) if len(a) == len(b)])


def grooving_similarity(notes: Notes) -> float:
    """The same over all pairs of bars, at 64 positions a bar, drums counted: GS of MusDr (Wu & Yang 2020)."""
    bits = np.stack(_grooves(notes, lambda _: 64)).astype(int)
    if len(bits) < 2:
        return np.nan
    differing = (bits @ (1 - bits).T + (1 - bits) @ bits.T) / bits.shape[1]  # (bars, bars), Hamming
    return float(1 - differing[np.triu_indices(len(bits), 1)].mean())


def _roll(notes: Notes) -> np.ndarray:
    """Sounding pitches at each tick: (ticks, 128) bool."""
    end = int(max(notes.bar_start[-1], (notes.onset + notes.duration).max(initial=0)))
    change = np.zeros((end + 1, 128), dtype=np.int32)
    rows = notes.pitched
    np.add.at(change, (notes.onset[rows], notes.pitch[rows]), 1)
    np.add.at(change, ((notes.onset + notes.duration)[rows], notes.pitch[rows]), -1)
    return np.cumsum(change, axis=0)[:-1] > 0


def empty_beat_rate(notes: Notes) -> float:
    """Share of beats (quarters) of the bars in which nothing sounds, drums counted as muspy does.

    A note that ends on a beat does not fill the beat that begins there; in muspy it does.
    """
    beat = notes.ticks_per_beat
    count = -(-int(notes.bar_start[-1]) // beat)
    full = np.zeros(count + 1, dtype=np.int32)
    first = (notes.onset // beat).clip(0, count)
    last = (np.maximum(notes.onset + notes.duration - 1, notes.onset) // beat).clip(0, count - 1)
    np.add.at(full, first, 1)
    np.add.at(full, last + 1, -1)
    return float((np.cumsum(full)[:count] == 0).mean()) if count else np.nan


def polyphony(notes: Notes) -> float:
    """Pitches sounding at once, mean over the ticks with at least one (muspy)."""
    voices = _roll(notes).sum(1)
    return float(voices[voices > 0].mean()) if (voices > 0).any() else np.nan


def polyphony_rate(notes: Notes) -> float:
    """Share of all ticks with two pitches or more (MuseGAN, Dong et al. 2018); muspy's code counts three or more."""
    voices = _roll(notes).sum(1)
    return float((voices >= 2).mean()) if len(voices) else np.nan


# Harmony and form ------------------------------------------------------------------------------------------------------

_TRIADS = np.stack(
    [np.isin(np.arange(12), (np.array(shape) + root) % 12) for shape in ((0, 4, 7), (0, 3, 7)) for root in range(12)]
)


def half_bars(notes: Notes, rows: np.ndarray) -> np.ndarray:
    """Sounding ticks of each pitch class in each half bar: (2 · bars, 12)."""
    edges = np.sort(
        np.concatenate([notes.bar_start[:-1], (notes.bar_start[:-1] + notes.bar_start[1:]) // 2, notes.bar_start[-1:]])
    )
    found = np.zeros((len(edges) - 1, 12))
    start, end, pitch = notes.onset[rows], (notes.onset + notes.duration)[rows], notes.pitch[rows] % 12
    at = np.searchsorted(edges, start, side="right") - 1
    while len(at):
        held = np.minimum(end, edges[at + 1]) - np.maximum(start, edges[at])
        np.add.at(found, (at, pitch), np.maximum(held, 0))
        more = (end > edges[at + 1]) & (at + 2 < len(edges))
        at, start, end, pitch = at[more] + 1, start[more], end[more], pitch[more]
    return found


def chords(notes: Notes, bass: bool = True) -> np.ndarray:
    """A major (0-11) or minor (12-23) triad a half bar, that with most sounding time on its notes; -1 where nothing sounds.

    Of equal triads the one whose root sounds longest. Without `bass`, bass instruments are not heard.
    """
    rows = notes.pitched
    if not bass:
        rows = rows & np.array([family_of(int(p)) != "bass" for p in notes.program], dtype=bool)
    chroma = half_bars(notes, rows)
    share = chroma / np.maximum(np.linalg.norm(chroma, axis=1, keepdims=True), 1e-9)
    fit = share @ _TRIADS.T + 1e-3 * np.concatenate([share, share], axis=1)  # roots in the order of _TRIADS
    return np.where(chroma.sum(1) > 0, fit.argmax(1), -1)


def bar_triads(notes: Notes) -> np.ndarray:
    """The same for whole bars."""
    chroma = half_bars(notes, notes.pitched).reshape(-1, 2, 12).sum(1)
    share = chroma / np.maximum(np.linalg.norm(chroma, axis=1, keepdims=True), 1e-9)
    fit = share @ _TRIADS.T + 1e-3 * np.concatenate([share, share], axis=1)
    return np.where(chroma.sum(1) > 0, fit.argmax(1), -1)


def chord_irregularity(notes: Notes) -> float:
    """Different chord trigrams over all trigrams of the chords a half bar: CPI of MusDr (Wu & Yang 2020), counting n − 2."""
    found = chords(notes)
    found = found[found >= 0]
    if len(found) < 4:
        return np.nan
    trigrams = np.stack([found[:-2], found[1:-1], found[2:]], axis=1)
    return len(np.unique(trigrams, axis=0)) / len(trigrams)


def bass_agreement(notes: Notes) -> float:
    """Share of bass notes in the triad that the other parts sound in that half bar; NaN without a bass or others."""
    is_bass = np.array([family_of(int(p)) == "bass" for p in notes.program], dtype=bool)
    harmony = chords(notes, bass=False)
    bars = notes.bar[is_bass]
    length = np.diff(notes.bar_start)[bars]
    half = 2 * bars + (2 * (notes.onset[is_bass] - notes.bar_start[bars]) >= length)
    known = harmony[half] >= 0
    agreeing = _TRIADS[harmony[half][known], notes.pitch[is_bass][known] % 12]
    return float(agreeing.mean()) if known.any() else np.nan


def cells(notes: Notes) -> list[Cell]:
    """The notes of each bar as a set of (program, ticks from the bar line, pitch), drums too."""
    found: list[Cell] = [set() for _ in range(notes.bars)]
    place = notes.onset - notes.bar_start[notes.bar]
    for bar, *row in zip(*(x.tolist() for x in (notes.bar, notes.program, place, notes.pitch)), strict=True):
        found[bar].add(tuple(row))
    return found


def shared(a: Set[object], b: Set[object]) -> float:
    """Overlap of two sets, |A ∩ B| / max(|A|, |B|); 0 where both are empty."""
    return len(a & b) / max(len(a), len(b), 1)


def repetition(notes: Notes) -> float:
    """How much each bar from the second shares with the most similar bar before it: mean overlap of `cells`.

    Drums count. A loop has 1; music in which nothing returns has almost 0.
    """
    bars = cells(notes)
    return mean([max(shared(a, b) for b in bars[:i]) for i, a in enumerate(bars) if i and a])


# Endings ---------------------------------------------------------------------------------------------------------------


def ends_on_tonic(notes: Notes) -> float:
    """1 where the lowest of the last pitched onsets is the tonic of the detected key, else 0."""
    rows = notes.pitched
    if not rows.any():
        return np.nan
    tonic, _, _ = detect_key(np.bincount(notes.pitch[rows] % 12, notes.duration[rows], 12))
    last = notes.onset[rows] == notes.onset[rows].max()
    return float(notes.pitch[rows][last].min() % 12 == tonic)


def last_bar_density(notes: Notes) -> float:
    """Onsets of the last bar that has any, over the mean of the other bars, drums counted: a close thins out."""
    counts = np.bincount(notes.bar, minlength=notes.bars)
    played = np.flatnonzero(counts)
    return float(counts[played[-1]] / max(counts[: played[-1]].mean(), 1e-9)) if len(played) > 1 and played[-1] else np.nan


# A piece as numbers ----------------------------------------------------------------------------------------------------


def _a_bar(notes: Notes, drums: bool) -> float:
    return float((notes.pitched != drums).sum() / max(notes.bars, 1))


def _pitched_mean(values: Callable[[Notes], np.ndarray]) -> Callable[[Notes], float]:
    return lambda notes: float(values(notes)[notes.pitched].mean()) if notes.pitched.any() else np.nan


SCALARS: dict[str, Callable[[Notes], float]] = {
    "pitch_class_entropy": pitch_class_entropy,
    "entropy_1_bar": lambda n: window_entropy(n, 1),
    "entropy_4_bars": lambda n: window_entropy(n, 4),
    "scale_consistency": scale_consistency,
    "pitch_classes_a_bar": pitch_classes_a_bar,
    "mean_interval": mean_interval,
    "span": span,
    "mean_pitch": _pitched_mean(lambda n: n.pitch),
    "in_instrument_range": in_instrument_range,
    "groove_consistency": groove_consistency,
    "grooving_similarity": grooving_similarity,
    "empty_beat_rate": empty_beat_rate,
    "polyphony": polyphony,
    "polyphony_rate": polyphony_rate,
    "chord_irregularity": chord_irregularity,
    "bass_agreement": bass_agreement,
    "repetition": repetition,
    "notes_a_bar": lambda n: _a_bar(n, drums=False),
    "drum_hits_a_bar": lambda n: _a_bar(n, drums=True),
    "parts": lambda n: float(len(np.unique(n.program))),
    "mean_duration": _pitched_mean(lambda n: n.duration / n.ticks_per_beat),
    "mean_velocity": lambda n: float(n.velocity.mean()) if len(n) else np.nan,
    "velocity_spread": lambda n: float(n.velocity.std()) if len(n) else np.nan,
}
"""One number a piece. Together they are the features of `distances.frechet`: this project's own, so it is no FMD."""


def scalars(pieces: Sequence[Notes]) -> dict[str, np.ndarray]:
    """Every metric of SCALARS for every piece: (pieces,) each."""
    return {name: np.array([measure(p) for p in pieces]) for name, measure in SCALARS.items()}


__all__ = [
    "SCALARS", "Cell", "bar_triads", "cells", "chords", "ends_on_tonic", "half_bars", "last_bar_density", "mean", "scalars",
    "shared",
    "steps",
]  # fmt: skip
