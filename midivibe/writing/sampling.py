"""Drawing ids: the constraint, filters in turn, a seeded generator a row, and the loop. Knows ids, not music.

A `Constraint` says which ids may come next and takes the one that was drawn (`tokens.grammar.Grammar` is one); it also
gives the coordinates that the model wants beside each id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from midivibe.config import SampleConfig
from midivibe.model.engine.base import Engine


class Constraint(Protocol):
    """What the loop needs to know of a row."""

    @property
    def coordinates(self) -> tuple[int, ...]: ...

    def allowed(self) -> np.ndarray: ...

    def groups(self, allowed: np.ndarray) -> list[np.ndarray]: ...

    def push(self, token: int) -> None: ...


class Recall(Protocol):
    """What is expected next from what is known already (`writing.recall.Recall` is one)."""

    def expected(self) -> Mapping[int, float]: ...

    def push(self, token: int) -> None: ...


Filter = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""logits of the ids that may come (N,), and those ids (N,) → logits (N,), -inf where an id is out."""


def only_allowed(logits: np.ndarray, row: Constraint) -> tuple[np.ndarray, np.ndarray]:
    """logits (V,) → the ids that the constraint allows, ascending (N,), and their logits (N,).

    Inside a group of ids, the probability of those left out goes to those that stay. So a constraint that says which id of a
    group may come does not change how likely the model finds the group: where the model expects some other part to play
    next, and the constraint knows which, that part plays.
    """
    mask = row.allowed()
    kept = logits.astype(np.float64)
    for ids in row.groups(mask):
        stay = ids[mask[ids]]
        if 0 < len(stay) < len(ids):
            kept[stay] += np.logaddexp.reduce(kept[ids]) - np.logaddexp.reduce(kept[stay])
    ids = mask.nonzero()[0]
    return ids, kept[ids]


def temperature(value: float) -> Filter:
    """Divide by the temperature; 0 keeps only the likeliest id."""

    def apply(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
        if value == 0:
            best = np.full_like(logits, -np.inf)
            best[logits.argmax()] = 0.0
            return best
        return logits / value

    return apply


def nucleus(share: float | np.ndarray) -> Filter:
    """Keep the likeliest ids whose probability together reaches `share` (Holtzman 2020); it may differ from id to id: (V,)."""

    def apply(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
        order = logits.argsort()[::-1]
        weight = np.exp(logits[order] - logits[order[0]])
        reached = weight.cumsum()
        kept = logits.copy()
        wanted = share[ids[order]] if isinstance(share, np.ndarray) else share
        kept[order[reached - weight > wanted * reached[-1]]] = -np.inf
        return kept

    return apply


def filters_of(config: SampleConfig, pitches: np.ndarray) -> list[Filter]:
    """The filters a configuration asks for, in the order in which they are applied; `pitches` marks ids of pitches: (V,)."""
    wanted = [temperature(config.temperature)] if config.temperature != 1 else []
    share = np.where(pitches, max(config.top_p, config.pitch_top_p), config.top_p)
    return wanted + ([nucleus(share)] if config.top_p < 1 else [])


def recalled(shares: np.ndarray, ids: np.ndarray, expected: Mapping[int, float], strength: float) -> np.ndarray:
    """Mix shares (N,) of ids (N,) with what is expected, id → share; ids that may not come count nothing: shares (N,)."""
    if not expected:
        return shares
    mixed = np.zeros_like(shares)
    for token, share in expected.items():
        place = int(ids.searchsorted(token))
        if place < len(ids) and ids[place] == token:
            mixed[place] = strength * share
    added: np.ndarray = mixed + max(0.0, 1 - mixed.sum()) * shares
    return added


def shares_of(logits: np.ndarray) -> np.ndarray:
    """Logits (N,), at least one of them finite → their softmax (N,)."""
    weight: np.ndarray = np.exp(logits - logits.max())
    shares: np.ndarray = weight / weight.sum()
    return shares


def draw(shares: np.ndarray, generator: np.random.Generator) -> int:
    """One place in shares (N,)."""
    reached = shares.cumsum()
    return min(int(reached.searchsorted(generator.random() * reached[-1], side="right")), len(shares) - 1)


def prefill(engine: Engine, row: int, ids: list[int], constraint: Constraint) -> np.ndarray:
    """Push ids through a constraint and set them as a row's past; returns the next logits (V,)."""
    coordinates = np.zeros((len(ids), len(constraint.coordinates)), dtype=np.int64)
    for i, token in enumerate(ids):
        constraint.push(token)
        coordinates[i] = constraint.coordinates
    return engine.prefill(row, ids, coordinates)


def write(
    engine: Engine,
    constraints: list[Constraint],
    logits: list[np.ndarray],
    filters: list[Filter],
    generators: list[np.random.Generator],
    done: Callable[[int, int], bool],
    recalls: Sequence[Recall] = (),
    strength: float = 0.0,
    own: Sequence[Sequence[Filter]] = (),
) -> Iterator[tuple[int, int]]:
    """Draw ids for all rows side by side, yielding (row, id) as they come.

    `own` holds filters of each row alone; `logits` are each row's next logits (from `prefill`); `done(row, id)` says that a
    row has ended with that id.
    The caller bounds the length of a row through `done`.
    """
    running = [True] * len(constraints)
    last = [0] * len(constraints)
    coordinates = np.zeros((len(constraints), len(constraints[0].coordinates)), dtype=np.int64)
    while True:
        for row, constraint in enumerate(constraints):
            if not running[row]:
                continue
            ids, scores = only_allowed(logits[row], constraint)
            for keep in (*(own[row] if own else ()), *filters):
                scores = keep(scores, ids)
            shares = shares_of(scores)
            if recalls:
                shares = recalled(shares, ids, recalls[row].expected(), strength)
            token = int(ids[draw(shares, generators[row])])
            constraint.push(token)
            if recalls:
                recalls[row].push(token)
            last[row], coordinates[row] = token, constraint.coordinates
            running[row] = not done(row, token)
            yield row, token
        if not any(running):
            return
        logits = list(engine.step(last, coordinates, running))
