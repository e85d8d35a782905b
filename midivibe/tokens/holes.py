"""Windows, holes, and the examples that the model trains on. It needs only ids and the vocabulary's arrays.

A hole is a set of (bar, program) cells. Context first, a Hole token in place of each erased cell, then SEP, then for
each bar with a hole `Bar Program notes...`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from midivibe.tokens.vocabulary import (
    BAR,
    HOLE,
    PART_OF_PROGRAM,
    POSITION,
    PROGRAM,
    SEP,
    Vocabulary,
)

Cell = tuple[int, int]
"""(bar from 0, program)"""

BARS, TRACK_BARS, TRACKS, CONTINUATION = 0.25, 0.55, 0.75, 0.9
"""Kinds of training holes as cumulated shares: 25 % bars of everything, 30 % bars of some tracks, 20 % whole tracks, 15 %
continuations, and 10 % scattered cells. Set by hand: the first three are what `inpaint` and `accompany` ask for most."""

LONGEST = 8
"""Bars of a training hole that leaves bars on both sides: half of the 16 bars of a usual piece."""

ONE_TRACK = 0.6
"""Share of whole-track holes that take one track, as `accompany` with one instrument does."""


@dataclass(frozen=True)
class Window:
    """The bars of a window, cut into cells: `prefix[b]` is Bar and its changes, `cells[b][program]` the cell's ids."""

    prefix: list[np.ndarray]
    cells: list[dict[int, np.ndarray]]

    @property
    def bars(self) -> int:
        return len(self.prefix)

    @classmethod
    def cut(cls, ids: np.ndarray, v: Vocabulary) -> Window:
        """Cut body ids (without header, SEP and EOS) at their Bar and Program tokens."""
        kind = v.type[ids]
        cuts = np.flatnonzero((kind == BAR) | (kind == PROGRAM))
        prefix: list[np.ndarray] = []
        cells: list[dict[int, np.ndarray]] = []
        for a, b in zip(cuts, [*cuts[1:], len(ids)], strict=True):
            if kind[a] == BAR:
                prefix.append(ids[a:b])
                cells.append({})
            else:
                cells[-1][int(v.value[ids[a]])] = ids[a:b]
        return cls(prefix, cells)

    def body(self, order: list[int]) -> np.ndarray:
        """All bars with their cells in the given order of programs."""
        parts = []
        for prefix, cells in zip(self.prefix, self.cells, strict=True):
            parts.append(prefix)
            parts += [cells[p] for p in order if p in cells]
        return np.concatenate(parts)

    def context(self, order: list[int], holes: set[Cell], v: Vocabulary) -> np.ndarray:
        """All bars, each erased cell as `Program Hole`, closed by SEP."""
        parts: list[np.ndarray] = []
        hole = v["Hole_None"]
        for bar, (prefix, cells) in enumerate(zip(self.prefix, self.cells, strict=True)):
            parts.append(prefix)
            for p in order:
                if (bar, p) in holes:
                    parts.append(np.array([v[f"Program_{p}"], hole]))
                elif p in cells:
                    parts.append(cells[p])
        return np.concatenate([*parts, [v["SEP_None"]]])

    def fill(self, order: list[int], holes: set[Cell], v: Vocabulary) -> np.ndarray:
        """The erased cells, bar by bar, each bar opened by a bare Bar."""
        parts = []
        for bar in sorted({bar for bar, _ in holes}):
            parts.append(np.array([v["Bar_None"]]))
            parts += [self.cells[bar][p] for p in order if (bar, p) in holes and p in self.cells[bar]]
        return np.concatenate(parts)


def coordinates(ids: np.ndarray, v: Vocabulary) -> np.ndarray:
    """Bar index, bars left, position, part and part expected next of every id: (T, 5). See `Grammar.coordinates`."""
    kind = v.type[ids]
    separator = np.flatnonzero(kind == SEP)
    end = int(separator[0]) if len(separator) else len(ids)
    is_bar = kind == BAR
    bar = np.cumsum(is_bar) - 1
    total = int(is_bar[:end].sum())
    if end < len(ids):
        hole_bars = np.unique(bar[:end][kind[:end] == HOLE])
        rank = np.cumsum(is_bar[end:]) - 1
        fill_bar = hole_bars[rank.clip(0, max(len(hole_bars) - 1, 0))] if len(hole_bars) else rank * 0
        bar[end:] = np.where(rank < 0, total - 1, fill_bar)
    left = np.where(bar < 0, total, total - 1 - bar)
    reset = is_bar | (kind == PROGRAM) | (kind == SEP)
    is_position = kind == POSITION
    index = np.arange(len(ids))
    latest = np.maximum.accumulate(np.where(is_position | reset, index, -1))
    position = np.where((latest >= 0) & is_position[latest.clip(0)], v.value[ids[latest.clip(0)]].astype(int) + 1, 0)
    part, following = _parts(ids, kind, bar, end, v)
    return np.stack([bar.clip(0), left, position, part, following], axis=1)


def _parts(ids: np.ndarray, kind: np.ndarray, bar: np.ndarray, end: int, v: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """The part that each id belongs to and the one expected after it: its program plus 2, 0 for none."""
    value = v.value[ids].astype(int)
    marks = np.flatnonzero((kind == BAR) | (kind == PROGRAM) | (kind == SEP))
    bars = marks[kind[marks] == BAR]
    body = bars[0] if len(bars) else len(ids)
    order = value[:body][kind[:body] == PROGRAM].tolist()
    rank_of = {p: i for i, p in enumerate(order)}
    erased: dict[int, set[int]] = {}
    for hole in np.flatnonzero(kind == HOLE):
        erased.setdefault(int(bar[hole]), set()).add(int(value[hole - 1]))
    part, following = np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.int64)
    playing: set[int] = set()
    expected: set[int] | tuple[int, ...] = set()
    for mark, until in zip(marks, [*marks[1:], len(ids)], strict=True):
        if mark < body:
            continue
        rank = -1
        if kind[mark] == PROGRAM:
            rank = rank_of[int(value[mark])]
            part[mark:until] = PART_OF_PROGRAM + value[mark]
            playing.add(int(value[mark]))
        elif kind[mark] == SEP:
            expected = ()
        elif mark > end:
            expected = erased.get(int(bar[mark]), ())
        else:
            expected, playing = (set(order) if mark == body else playing), set()
        later = [p for p in order[rank + 1 :] if p in expected]
        following[mark:until] = PART_OF_PROGRAM + later[0] if later else 0
    return part, following


def random_holes(rng: random.Random, bars: int, programs: list[int]) -> set[Cell]:
    """A training hole: bars of everything, bars of some tracks, whole tracks, a continuation, or scattered cells."""
    task = rng.random()
    if task < BARS:  # bars of everything
        first, last = _bar_range(rng, bars)
        return {(b, p) for b in range(first, last) for p in programs}
    if task < TRACK_BARS:  # bars of some tracks
        first, last = _bar_range(rng, bars)
        some = rng.sample(programs, rng.randint(1, max(1, len(programs) // 2)))
        return {(b, p) for b in range(first, last) for p in some}
    if task < TRACKS:  # whole tracks
        some = rng.sample(programs, 1 if rng.random() < ONE_TRACK else rng.randint(1, max(1, len(programs) - 1)))
        return {(b, p) for b in range(bars) for p in some}
    if task < CONTINUATION:  # continuation
        first = rng.randint(1, max(1, bars - 1)) if bars > 1 else 0
        return {(b, p) for b in range(first, bars) for p in programs}
    cells = [(b, p) for b in range(bars) for p in programs]
    return set(rng.sample(cells, rng.randint(1, max(1, len(cells) // 3))))


def _bar_range(rng: random.Random, bars: int) -> tuple[int, int]:
    """Some bars in a row, as [first, last + 1)."""
    length = rng.randint(1, max(1, min(LONGEST, bars - 1)))
    first = rng.randint(0, bars - length)
    return first, first + length
