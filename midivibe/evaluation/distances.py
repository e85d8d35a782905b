"""How far one set of pieces lies from another: Fréchet distance, MGEval, framewise self-similarity.

Every distance depends on the number of pieces: compare sets of one size only, and read people against people beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, pdist
from scipy.stats import gaussian_kde

from midivibe.evaluation import metrics
from midivibe.evaluation.intervals import interval
from midivibe.midi.notes import Notes

POINTS = 4096
"""Points of the grid on which densities are compared; twice as many change overlaps by less than 1e-5."""
COMPONENTS = 6
"""Principal components that `frechet` compares: 23 features would want thousands of pieces."""


def feature_matrix(values: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> np.ndarray:
    """Scalars → (pieces, features) in standard deviations of the reference, within ±5; what is missing is at its mean."""
    columns = []
    for name, column in values.items():
        known = reference[name]
        z = (column - np.nanmean(known)) / max(float(np.nanstd(known)), 1e-6)
        columns.append(np.nan_to_num(z, nan=0.0).clip(-5, 5))
    return np.stack(columns, axis=1)


def principal(reference: np.ndarray, count: int = COMPONENTS) -> np.ndarray:
    """Directions of most variance of a reference set of features (N, F): (F, count)."""
    return np.linalg.svd(reference - reference.mean(0), full_matrices=False)[2][:count].T


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two sets of features (N, F), (M, F) taken as normal: ‖μ₁−μ₂‖² + Tr(Σ₁+Σ₂−2(Σ₁Σ₂)^½) (Heusel 2017).

    Tr (Σ₁Σ₂)^½ is the sum of the roots of the eigenvalues of Σ₁Σ₂. It grows as sets get smaller: compare equal sizes only.
    NaN for sets of fewer than 2 F.
    """
    if min(len(a), len(b)) < 2 * a.shape[1]:
        return np.nan
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    eigenvalues = np.linalg.eigvals(s1 @ s2).real.clip(0)
    gap = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(gap + np.trace(s1) + np.trace(s2) - 2 * np.sqrt(eigenvalues).sum())


class Reference:
    """People's pieces that others are compared with: their scalars, and their place on their principal axes.

    `values` holds each scalar of every piece (N,); `places` the pieces on the axes of most variance (N, COMPONENTS).
    """

    def __init__(self, pieces: Sequence[Notes]) -> None:
        self.values = metrics.scalars(pieces)
        features = feature_matrix(self.values, self.values)
        self._axes = principal(features)
        self.places = features @ self._axes

    def place(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Scalars of other pieces -> where they lie on the same axes: (pieces, COMPONENTS)."""
        places: np.ndarray = feature_matrix(values, self.values) @ self._axes
        return places

    def against(self, ours: np.ndarray, spare: np.ndarray, seed: int) -> dict[str, Any]:
        """Fréchet distance of placed pieces (N, F) with its interval over pieces, and that of other people's, `spare`.

        A resample has fewer different pieces and so lies further off than the pieces do: the interval is the basic
        bootstrap's, reflected at the distance (Davison & Hinkley 1997, 5.2).
        """
        size = min(len(ours), len(self.places), len(spare))
        target = self.places[:size]

        def drawn(chosen: np.ndarray) -> float:
            return frechet(ours[chosen.astype(int)], target)

        distance = frechet(ours[:size], target)
        low, high = interval(np.arange(size), seed=seed, draws=200, figure=drawn) or (None, None)
        bounds: tuple[float | None, float | None] = (None, None)
        if low is not None and high is not None and np.isfinite([distance, low, high]).all():
            bounds = max(0.0, 2 * distance - high), max(0.0, 2 * distance - low)
        return {"distance": [distance, *bounds], "pieces": size, "people": frechet(spare[:size], target)}


# Length of notes in quarters that mgeval tells apart: whole to sixteenth, dotted half to dotted sixteenth, triplets.
_LENGTHS = np.array([4, 2, 1, 0.5, 0.25, 3, 1.5, 0.75, 0.375, 4 / 3, 2 / 3, 1 / 3])


def _length_classes(notes: Notes) -> np.ndarray:
    quarters = notes.duration / notes.ticks_per_beat
    nearest: np.ndarray = np.abs(np.log(np.maximum(quarters, 1e-3))[:, None] - np.log(_LENGTHS)[None, :]).argmin(1)
    return nearest


def _share(table: np.ndarray) -> np.ndarray:
    share: np.ndarray = table / max(table.sum(), 1e-9)
    return share


def mgeval_features(notes: Notes) -> dict[str, np.ndarray]:
    """The nine features of MGEval (Yang & Lerch 2020) as vectors; histograms and matrices add up to 1.

    Transitions and intervals are those inside a part; the time between onsets is in seconds, over all pitched parts.
    """
    rows, followed = notes.pitched, metrics.steps(notes)
    pitch, classes = notes.pitch % 12, _length_classes(notes)
    by_class, by_length = np.zeros((12, 12)), np.zeros((12, 12))
    np.add.at(by_class, (pitch[followed[:, 0]], pitch[followed[:, 1]]), 1)
    np.add.at(by_length, (classes[followed[:, 0]], classes[followed[:, 1]]), 1)
    onsets, first = np.unique(notes.onset[rows], return_index=True)
    seconds = np.diff(onsets) / notes.ticks_per_beat * 60 / notes.bar_tempo[notes.bar[rows][first]][:-1]
    return {
        "pitch_count": np.array([len(np.unique(notes.pitch[rows]))], dtype=float),
        "pitch_class_histogram": _share(np.bincount(pitch[rows], notes.duration[rows], 12)),
        "pitch_class_transitions": _share(by_class).ravel(),
        "pitch_range": np.array([np.nan_to_num(metrics.span(notes))]),
        "mean_interval": np.array([np.nan_to_num(metrics.mean_interval(notes))]),
        "note_count": np.array([float(rows.sum())]),
        "mean_onset_interval": np.array([seconds.mean() if len(seconds) else 0.0]),
        "note_length_histogram": _share(np.bincount(classes[rows], minlength=12).astype(float)),
        "note_length_transitions": _share(by_length).ravel(),
    }


def overlap(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """OA and KL of two samples of distances, by kernel density on one shared grid: ∫ min(p, q) and KL(p‖q) in nats.

    After mgeval's utils, which samples its two densities on different grids. Samples with next to no spread get some.
    """
    least = 0.003 * max(float(np.ptp(np.concatenate([a, b]))), 1e-6)

    def density(values: np.ndarray) -> gaussian_kde:
        return gaussian_kde(values if values.std() > least else values + least * np.linspace(-1, 1, len(values)))

    p, q = density(a), density(b)
    width = 3 * max(float(np.sqrt(k.covariance[0, 0])) for k in (p, q))
    grid = np.linspace(min(a.min(), b.min()) - width, max(a.max(), b.max()) + width, POINTS)
    step = grid[1] - grid[0]
    x, y = (k(grid) for k in (p, q))
    x, y = x / (x.sum() * step), y / (y.sum() * step)
    shared = float(np.minimum(x, y).sum() * step)
    divergence = float((x * np.log((x + 1e-12) / (y + 1e-12))).sum() * step)
    return min(shared, 1.0), max(divergence, 0.0)


def mgeval(a: Sequence[dict[str, np.ndarray]], b: Sequence[dict[str, np.ndarray]]) -> dict[str, tuple[float, float]]:
    """OA and KL of each feature: distances inside set `a` against distances between `a` and `b` (Yang & Lerch 2020)."""
    found = {}
    for name in a[0]:
        x, y = (np.stack([piece[name] for piece in pieces]) for pieces in (a, b))
        found[name] = overlap(pdist(x), cdist(x, y).ravel())
    return found


def frame_overlaps(notes: Notes) -> tuple[list[float], list[float]]:
    """Overlap of normal distributions fitted to pitch and to duration of neighbouring frames (4 bars, hop 2).

    Framewise self-similarity (Mittal et al. 2021); durations in sixteenths; an empty frame is N(1, 1e-6), as in SCHmUBERT.
    """
    rows = notes.pitched
    bars, pitch = notes.bar[rows], notes.pitch[rows]
    duration = notes.duration[rows] * 4 / notes.ticks_per_beat

    def normal(values: np.ndarray) -> NormalDist:
        return NormalDist(values.mean(), max(values.std(), 1e-3)) if len(values) else NormalDist(1, 1e-6)

    frames = [(bars >= i) & (bars < i + 4) for i in range(0, notes.bars - 3, 2)]
    pairs = list(pairwise(frames))
    of_pitch, of_duration = ([normal(x[a]).overlap(normal(x[b])) for a, b in pairs] for x in (pitch, duration))
    return of_pitch, of_duration


def framewise(pieces: Sequence[Notes], reference: Sequence[Notes]) -> dict[str, float]:
    """Consistency and variance of the framewise overlaps against a reference set, for pitch and duration; 1 is alike.

    max(0, 1 − |x − y| / y) of the means over pieces of a piece's mean overlap, and of its variances (Mittal et al. 2021).
    """
    found: dict[str, float] = {}
    ours, theirs = ([frame_overlaps(p) for p in group] for group in (pieces, reference))
    for i, name in enumerate(("pitch", "duration")):
        x, y = (np.array([np.mean(o[i]) for o in group if len(o[i])]) for group in (ours, theirs))
        if not len(x) or not len(y):
            found |= {f"{name}_consistency": np.nan, f"{name}_variance": np.nan}
            continue
        for kind, p, q in (("consistency", x.mean(), y.mean()), ("variance", x.var(), y.var())):
            found[f"{name}_{kind}"] = float(max(0.0, 1 - abs(p - q) / max(q, 1e-12)))
    return found


__all__ = ["Reference", "feature_matrix", "frechet", "framewise", "mgeval", "mgeval_features", "overlap", "principal"]
