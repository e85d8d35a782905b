"""Figures with their 95 % intervals, by bootstrap over pieces, or over songs where a song gave several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

FEWEST_DRAWN = 8
"""Pieces or songs below which a bootstrap says too little to be shown."""
Estimate = list[float | None]
"""A figure and the ends of its interval, both None where there are too few pieces: [figure, low, high]."""


def interval(
    values: np.ndarray, groups: Sequence[object] | None = None, draws: int = 1000, seed: int = 0,
    figure: Callable[[np.ndarray], float] = np.nanmean,
) -> tuple[float, float] | None:  # fmt: skip
    """95 % percentile bootstrap interval of a figure of `values` (N,); None for fewer than 8 groups.

    Pieces of one group (a song) are drawn together, since they are alike.
    """
    values = np.asarray(values, dtype=float)
    names, inverse = np.unique([str(g) for g in groups] if groups is not None else np.arange(len(values)), return_inverse=True)
    if len(names) < FEWEST_DRAWN or np.isnan(values).all():
        return None
    members = [np.flatnonzero(inverse == i) for i in range(len(names))]
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])
        if not np.isnan(values[rows]).all():
            found.append(figure(values[rows]))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def estimate(
    values: np.ndarray, groups: Sequence[object] | None = None, seed: int = 0,
    figure: Callable[[np.ndarray], float] = np.nanmean,
) -> Estimate:  # fmt: skip
    """A figure of `values` (N,) with its `interval`; no figure where nothing is known."""
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).any():
        return [None, None, None]
    return [float(figure(values)), *(interval(values, groups, seed=seed, figure=figure) or (None, None))]


def rank_correlation(x: np.ndarray, y: np.ndarray, seed: int = 0) -> Estimate:
    """Spearman's correlation of x (N,) and y (N,)."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    def figure(rows: np.ndarray) -> float:
        return correlation(ranks(x[rows.astype(int)]), ranks(y[rows.astype(int)]))

    return estimate(np.arange(len(x)), seed=seed, figure=figure)


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of x (N,) and y (N,); 0 where one of them is constant."""
    return float(np.corrcoef(x, y)[0, 1]) if x.std() and y.std() else 0.0


__all__ = ["Estimate", "correlation", "estimate", "interval", "rank_correlation"]
