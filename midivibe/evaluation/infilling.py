"""How well a fill stands in for what was erased (science.md A1, Infilling), on the model's grid."""

from __future__ import annotations

import numpy as np

from midivibe.score.grammar import TICKS_PER_BEAT
from midivibe.score.midi import DRUMS, Notes

CLOSE = TICKS_PER_BEAT // 8
"""Onsets at most an eighth of a beat apart count as one (1 tick of 12)."""


def onset_f1(original: Notes, filled: Notes) -> float:
    """F1 of notes with the same program and pitch and onsets at most 1/8 beat apart, each matched once; 1 where both are empty.

    After christianazinn/MIDIMetrics (pattern_matching_metrics), whose count lets a note match several.
    """
    if not len(original) and not len(filled):
        return 1.0
    matched = 0
    key = lambda notes: np.stack([notes.program, notes.pitch], axis=1)  # noqa: E731
    a, b = key(original), key(filled)
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
    step = TICKS_PER_BEAT // 4
    steps = max(1, (end - start) // step)
    chroma = np.zeros((steps, 12))
    pitched = notes.program != DRUMS
    first = (notes.onset[pitched] - start) // step
    last = np.maximum((notes.onset[pitched] + notes.duration[pitched] - start - 1) // step, first)
    for low, high, pitch in zip(first.tolist(), last.tolist(), notes.pitch[pitched].tolist(), strict=True):
        if high >= 0:
            chroma[max(low, 0) : min(high, steps - 1) + 1, pitch % 12] += 1
    width = min(8, steps)
    smooth = np.stack([np.convolve(chroma[:, c], np.ones(width) / width, "same") for c in range(12)], axis=1)
    norm = np.linalg.norm(smooth, axis=1, keepdims=True)
    return smooth / np.maximum(norm, 1e-9)


def in_scale(notes: Notes, context: Notes) -> float | None:
    """Share of the pitched notes whose pitch class is among the seven that the context sounds longest; None without any."""
    pitched, known = notes.program != DRUMS, context.program != DRUMS
    if not pitched.any() or not known.any():
        return None
    weight = np.bincount(context.pitch[known] % 12, context.duration[known], 12)
    scale = np.argsort(-weight, kind="stable")[:7]
    return float(np.isin(notes.pitch[pitched] % 12, scale).mean())


def seam(before: Notes, after: Notes) -> dict[str, float]:
    """Jumps from one stretch to the next of the same length: notes (log ratio), register (semitones), pitch classes."""
    a, b = (notes.program != DRUMS for notes in (before, after))
    histograms = [np.bincount(n.pitch[m] % 12, n.duration[m], 12) for n, m in ((before, a), (after, b))]
    shares = [h / max(h.sum(), 1e-9) for h in histograms]
    register = abs(before.pitch[a].mean() - after.pitch[b].mean()) if a.any() and b.any() else 0.0
    return {
        "density": abs(float(np.log((len(before) + 1) / (len(after) + 1)))),
        "register": float(register),
        "pitch_classes": float(np.abs(shares[0] - shares[1]).sum() / 2),
    }


__all__ = ["chroma_similarity", "in_scale", "onset_f1", "seam"]
