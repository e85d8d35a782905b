"""Windows, holes, and the examples that the model trains on. It needs only ids and the vocabulary's arrays.

A hole is a set of (bar, program) cells. Context first, a Hole token in place of each erased cell, then SEP, then for
each bar with a hole `Bar Program notes...`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from midivibe.tokens.leads import is_chord, without
from midivibe.tokens.vocabulary import (
    BAR,
    LENGTH,
    PROGRAM,
    RETURN,
    SECTION,
    TEMPO,
    TIMESIG,
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

    def context(self, order: list[int], holes: set[Cell], v: Vocabulary, unwritten: frozenset[int] = frozenset()) -> np.ndarray:
        """All bars, each erased cell as `Program Hole`, closed by SEP. The fill is to write the chords of `unwritten` bars."""
        parts: list[np.ndarray] = []
        hole = v["Hole_None"]
        for bar, (prefix, cells) in enumerate(zip(self.prefix, self.cells, strict=True)):
            parts.append(without(prefix, v, chords=bar in unwritten))
            for p in order:
                if (bar, p) in holes:
                    parts.append(np.array([v[f"Program_{p}"], hole]))
                elif p in cells:
                    parts.append(cells[p])
        return np.concatenate([*parts, [v["SEP_None"]]])

    def fill(self, order: list[int], holes: set[Cell], v: Vocabulary, unwritten: frozenset[int] = frozenset()) -> np.ndarray:
        """The erased cells, bar by bar, each bar opened by a Bar, and of those that are `unwritten` by their chords."""
        parts = []
        for bar in sorted({bar for bar, _ in holes}):
            parts.append(np.array([v["Bar_None"]]))
            if bar in unwritten:
                parts.append(self.prefix[bar][is_chord(self.prefix[bar], v)])
            parts += [self.cells[bar][p] for p in order if (bar, p) in holes and p in self.cells[bar]]
        return np.concatenate(parts)


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


def leaping(rng: random.Random, window: Window, v: Vocabulary) -> Window:
    """The window without some bars of its middle, as a long piece is written: after the bars that return, the latest ones.

    The bar after the leap says its section anew; bars that repeat one that is gone repeat none. Unchanged where it is short,
    or meter or tempo change on the way.
    """
    if window.bars < 8:
        return window
    first = rng.randint(2, window.bars - 4)
    last = rng.randint(first + 1, window.bars - 2)
    types = [v.type[prefix] for prefix in window.prefix]
    if any(np.isin(kinds, (TIMESIG, TEMPO)).any() for kinds in types[first : last + 1]):
        return window
    prefix = list(window.prefix)
    opened = [bar for bar in range(last) if (types[bar] == SECTION).any()]
    if opened and not (types[last] == SECTION).any():
        at = int(np.argmax(types[opened[-1]] == SECTION))
        letter, length = prefix[opened[-1]][at : at + 2]
        assert v.type[length] == LENGTH
        left = max(1, int(v.value[length]) - (last - opened[-1]))
        prefix[last] = np.insert(prefix[last], 1, [letter, v[f"Length_{left}"]])
    for bar in range(last, window.bars):
        for i in np.flatnonzero(v.type[prefix[bar]] == RETURN):
            source = bar - int(v.value[prefix[bar][i]])
            if source < first:
                prefix[bar] = prefix[bar].copy()
                prefix[bar][i] = v[f"Return_{bar - source - (last - first)}"]
            elif source < last:
                prefix[bar] = np.delete(prefix[bar], i)
    return Window(prefix[:first] + prefix[last:], window.cells[:first] + window.cells[last:])


def _bar_range(rng: random.Random, bars: int) -> tuple[int, int]:
    """Some bars in a row, as [first, last + 1)."""
    length = rng.randint(1, max(1, min(LONGEST, bars - 1)))
    first = rng.randint(0, bars - length)
    return first, first + length
