"""Are our pieces told from people's? A classifier two-sample test (Lopez-Paz & Oquab 2017) on the traits of pieces.

Where the two sets come from one source, no classifier is right more often than half the time on pieces that it has not
seen. The test sees neither the picture nor the file, only notes on the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from midivibe.evaluation.intervals import Estimate, estimate
from midivibe.evaluation.traits import traits
from midivibe.midi.notes import Notes

FOLDS, ROUNDS = 5, 2
"""Parts of a cross-validation, and cross-validations with other parts; a piece counts as often as it was told right."""
NOT_THE_NOTES = ("velocity", "band")
"""Groups of traits that the second test does not see."""


@dataclass(frozen=True)
class Side:
    """A set of pieces: their traits by name (N,) each, and the song of each piece."""

    traits: dict[str, np.ndarray]
    songs: np.ndarray

    @classmethod
    def of(cls, pieces: Sequence[Notes], songs: Sequence[str]) -> Side:
        rows = [traits(piece) for piece in pieces]
        return cls({name: np.array([row[name] for row in rows]) for name in rows[0]}, np.array(songs))

    def first(self, count: int) -> Side:
        return Side({name: x[:count] for name, x in self.traits.items()}, self.songs[:count])

    def without(self, groups: Sequence[str]) -> Side:
        """Less the traits of some groups."""
        return Side({k: x for k, x in self.traits.items() if k.split(":")[0] not in groups}, self.songs)


def folds(songs: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """The fold of each piece (N,): a song is in one fold, and folds have about as many songs of each label."""
    rng = np.random.default_rng(seed)
    names, first = np.unique(songs, return_index=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(labels[first][order], kind="stable")]
    dealt = dict(zip(names[order].tolist(), (np.arange(len(names)) % FOLDS).tolist(), strict=True))
    return np.array([dealt[song] for song in songs.tolist()])


def told(a: Side, b: Side, seed: int = 0) -> Estimate:
    """How often a classifier tells pieces of one side from those of the other, on songs it has not seen; .5 is chance."""
    size = min(len(a.songs), len(b.songs))
    a, b = a.first(size), b.first(size)
    x = np.concatenate([np.stack(list(side.traits.values()), axis=1) for side in (a, b)])
    labels, songs = np.repeat([0, 1], size), np.concatenate([a.songs, b.songs])
    right = np.zeros(2 * size)
    with threadpool_limits(1):  # slower in several with so little data
        for turn in range(ROUNDS):
            of = folds(songs, labels, seed + turn)
            for fold in range(FOLDS):
                judge = HistGradientBoostingClassifier(
                    max_iter=60, max_leaf_nodes=8, min_samples_leaf=5, max_features=0.3, max_bins=32, random_state=seed
                )
                known = np.isfinite(x[of != fold]).any(0)  # a column with nothing in it cannot be binned
                judge.fit(x[of != fold][:, known], labels[of != fold])
                right[of == fold] += judge.predict(x[of == fold][:, known]) == labels[of == fold]
    return estimate(right / ROUNDS, songs.tolist(), seed)


def give_aways(ours: Side, people: Side) -> list[dict[str, Any]]:
    """Every trait with what it says alone, the most telling first.

    `auc` is how often one of our pieces has more of it than one of people's; where that is near one half but ours differ less
    or more among each other, it is how often ours is farther from the middle, and `by` is "spread". A piece without the trait
    counts as a tie.
    """
    found = []
    for name, theirs in people.traits.items():
        mine = ours.traits[name]
        known = np.concatenate([mine, theirs])
        middle = np.nanmedian(known) if np.isfinite(known).any() else 0.0
        level, spread = auc(mine, theirs), auc(np.abs(mine - middle), np.abs(theirs - middle))
        by = "spread" if abs(spread - 0.5) > abs(level - 0.5) else "level"
        found.append({
            "trait": name, "auc": spread if by == "spread" else level, "by": by,
            "ours": _mean(mine), "people": _mean(theirs),
        })  # fmt: skip
    return sorted(found, key=lambda row: -abs(row["auc"] - 0.5))


def auc(a: np.ndarray, b: np.ndarray) -> float:
    """How often a value of `a` is above one of `b`; ties and missing values count one half."""
    difference = a[:, None] - b[None]
    return float(np.where(np.isnan(difference), 0.5, 0.5 + np.sign(difference) / 2).mean())


def _mean(values: np.ndarray) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def compare(ours: Side, halves: tuple[Side, Side], seed: int = 0) -> dict[str, Any]:
    """Our pieces against people's second half, and people's halves against each other; the same of the notes alone.

    `furthest` is how far from one half any trait's share is between people's halves: what chance does.
    """
    size = min(len(side.songs) for side in (ours, *halves))
    sides = [side.first(size) for side in (ours, *halves)]
    tests = {}
    for name, left_out in (("all", ()), ("notes", NOT_THE_NOTES)):
        mine, one, two = (side.without(left_out) for side in sides)
        tests[name] = {"traits": len(two.traits), "ours": told(mine, two, seed), "people": told(one, two, seed)}
    furthest = abs(give_aways(*sides[1:])[0]["auc"] - 0.5)
    return {"pieces": size, "accuracy": tests, "give_aways": give_aways(sides[0], sides[2]), "furthest": furthest}


__all__ = ["Side", "auc", "compare", "folds", "give_aways", "told"]
