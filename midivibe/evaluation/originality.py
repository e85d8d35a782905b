"""How close music comes to what a model was trained on (Yin et al. 2022, "Measuring when a music generation algorithm
copies too much"): never a figure alone, always beside that of people's music that was held out.

Two measures over the ids of windows, drums left out:

- similarity: 4 bars of 4/4 as a set of (sixteenth, pitch class); |A ∩ B| / max(|A|, |B|), the highest over every 4 bars of
  the training set and all twelve transpositions
- copied run: 16 notes or more in a row of one part whose steps in pitch and time all occur in a row in a training part
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from midivibe.evaluation.intervals import interval
from midivibe.tokens.vocabulary import (
    BAR,
    PITCH,
    POSITION,
    PROGRAM,
    TIMESIG,
    Vocabulary,
)

BARS = 4
STEPS = 16
RUN = 16
"""Notes in a row that count as copied."""
CHUNK = 100_000
FEWEST = 12
"""Notes of 4 bars that are worth a query."""


@dataclass(frozen=True)
class FlatNotes:
    """Pitched notes of many windows: window, bar (counted through all windows), position in ticks, program, pitch: (N,)."""

    window: np.ndarray
    bar: np.ndarray
    position: np.ndarray
    program: np.ndarray
    pitch: np.ndarray
    bar_window: np.ndarray
    """the window of each bar (bars,)"""
    four_four: np.ndarray
    """whether the window of each bar stays in 4/4 (bars,)"""


def flat_notes(windows: Sequence[np.ndarray], four_four: Sequence[bool], v: Vocabulary) -> FlatNotes:
    """Notes of the bodies of windows (ids without header), all at once. `four_four`: whether a window begins in 4/4."""
    ids = np.concatenate(windows).astype(np.int64)
    window = np.repeat(np.arange(len(windows)), [len(w) for w in windows])
    kind, value = v.type[ids], v.value[ids].astype(np.int64)
    bar = np.cumsum(kind == BAR) - 1
    index = np.arange(len(ids))

    def latest(of: int) -> np.ndarray:
        return value[np.maximum.accumulate(np.where(kind == of, index, 0))]

    notes = kind == PITCH
    changed = np.zeros(len(windows), dtype=bool)
    changed[window[kind == TIMESIG]] = True
    bar_window = window[kind == BAR]
    steady = np.asarray(four_four) & ~changed
    return FlatNotes(
        window[notes], bar[notes], latest(POSITION)[notes], latest(PROGRAM)[notes], value[notes], bar_window, steady[bar_window]
    )


def four_bars(flat: FlatNotes, hop: int = 1) -> np.ndarray:
    """Every 4 bars in a row of a window in 4/4, as bits of (sixteenth, pitch class): (N, 64, 12) bool."""
    bars = np.zeros((len(flat.bar_window), STEPS, 12), dtype=bool)
    bars[flat.bar, (flat.position // 3).clip(0, STEPS - 1), flat.pitch % 12] = True
    starts = np.arange(0, len(bars) - BARS + 1, hop)
    whole = (flat.bar_window[starts] == flat.bar_window[starts + BARS - 1]) & flat.four_four[starts]
    starts = starts[whole]
    return (
        np.concatenate([bars[starts + i] for i in range(BARS)], axis=1)
        if len(starts)
        else np.zeros((0, BARS * STEPS, 12), bool)
    )


def pack(bits: np.ndarray) -> np.ndarray:
    """(N, 64, 12) bool -> (N, 12) uint64."""
    return (
        np.packbits(bits.transpose(0, 2, 1).reshape(len(bits), BARS * STEPS * 12), axis=1)
        .view(np.uint64)
        .reshape(len(bits), 12)
    )


def runs(flat: FlatNotes, length: int = RUN) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of every `length` notes in a row of a part, and the part each belongs to.

    A note is its step in pitch and in time (grid steps, 48 a bar) from the note before in the same part.
    """
    bar_in_window = flat.bar - np.searchsorted(flat.bar_window, flat.window)
    part = flat.window * 130 + flat.program + 1
    order = np.lexsort((flat.pitch, flat.position, bar_in_window, part))
    part, pitch = part[order], flat.pitch[order]
    onset = bar_in_window[order] * 48 + flat.position[order]
    step = (np.diff(pitch) + 128).astype(np.uint64) * np.uint64(4096) + (np.diff(onset).clip(0, 4095)).astype(np.uint64)
    same = part[1:] == part[:-1]
    count = len(step) - (length - 1) + 1
    if count <= 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    hashes = np.zeros(count, dtype=np.uint64)
    whole = np.ones(count, dtype=bool)
    for i in range(length - 1):
        hashes = (hashes ^ step[i : i + count]) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
        whole &= same[i : i + count]
    return hashes[whole], part[1:][: len(step)][np.flatnonzero(whole)]


class TrainingIndex:
    """What a training set holds, ready to be asked."""

    def __init__(self, windows: Sequence[np.ndarray], four_four: Sequence[bool], v: Vocabulary) -> None:
        self.vocabulary = v
        packed, hashes = [], []
        for at in range(0, len(windows), 20_000):
            flat = flat_notes(windows[at : at + 20_000], four_four[at : at + 20_000], v)
            packed.append(pack(four_bars(flat)))
            hashes.append(np.unique(runs(flat)[0]))
        self.bars = np.unique(np.concatenate(packed), axis=0)
        self.sizes = np.bitwise_count(self.bars).sum(1)
        self.runs = np.unique(np.concatenate(hashes))

    def similarity(self, bits: np.ndarray) -> np.ndarray:
        """The highest similarity of each query (N, 64, 12) to the training set: (N,)."""
        best = np.zeros(len(bits))
        for i, query in enumerate(bits):
            size = int(query.sum())
            if not size:
                continue
            for shift in range(12):
                one = pack(np.roll(query, shift, axis=1)[None])[0]
                for at in range(0, len(self.bars), CHUNK):
                    chunk = slice(at, at + CHUNK)
                    shared = np.bitwise_count(self.bars[chunk] & one).sum(1)
                    best[i] = max(best[i], float((shared / np.maximum(self.sizes[chunk], size)).max()))
        return best

    def copied(self, flat: FlatNotes) -> np.ndarray:
        """For each part of 16 notes or more: how many of its rows of 16 the training set has, of how many, longest copied run.

        (parts, 3). Rows that overlap join: k of them one after the other are a run of 15 + k notes.
        """
        hashes, part = runs(flat)
        at = np.searchsorted(self.runs, hashes).clip(0, max(len(self.runs) - 1, 0))
        found = self.runs[at] == hashes if len(self.runs) else np.zeros(len(hashes), dtype=bool)
        _, inverse = np.unique(part, return_inverse=True)
        longest = []
        for number in range(inverse.max(initial=-1) + 1):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], found[inverse == number], [0]])))
            longest.append(int((edges[1::2] - edges[::2]).max()) + RUN - 1 if len(edges) else 0)
        return np.stack([np.bincount(inverse, found), np.bincount(inverse), np.array(longest, dtype=float)], axis=1)


def report(
    index: TrainingIndex, windows: Sequence[np.ndarray], four_four: Sequence[bool], most: int, seed: int
) -> dict[str, Any]:
    """Both measures over some windows, with 95 % intervals by bootstrap over 4-bar windows and over parts."""
    rng = np.random.default_rng(seed)
    flat = flat_notes(windows, four_four, index.vocabulary)
    bits = four_bars(flat, hop=4)
    bits = bits[bits.sum((1, 2)) >= FEWEST]
    similarity = index.similarity(bits[rng.permutation(len(bits))[:most]])
    parts = index.copied(flat)
    copied = (parts[:, 0] > 0).astype(float)
    return {
        "four_bars": len(similarity),
        "median": float(np.median(similarity)) if len(similarity) else None,
        "p95": float(np.percentile(similarity, 95)) if len(similarity) else None,
        "p95_interval": interval(similarity, seed=seed, figure=lambda x: float(np.percentile(x, 95))),
        "parts": len(copied),
        "parts_with_a_copied_run": float(copied.mean()) if len(copied) else None,
        "parts_interval": interval(copied, seed=seed),
        "copied_runs": float(parts[:, 0].sum() / max(parts[:, 1].sum(), 1)),
        "longest_copied_run": int(parts[:, 2].max(initial=0)),
    }


__all__ = ["TrainingIndex", "flat_notes", "four_bars", "report", "runs"]
