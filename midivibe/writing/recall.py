"""What music that repeats itself would write next: bars like the one that is written, and what stands in them at its place.

A cache beside the model (Grave, Joulin & Usunier 2017), with bars for words: the window that the model reads holds few bars,
the song many. A bar is like another as far as they and their neighbours, at the same distance, share notes in the parts
that both are known to play or to rest. N bars, P programs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from midivibe.midi.notes import DRUMS
from midivibe.tokens.holes import Cell
from midivibe.tokens.vocabulary import (
    BAR,
    DURATION,
    NO_ROOT,
    PITCH,
    PITCHDRUM,
    POSITION,
    PROGRAM,
    QUALITY,
    RETURN,
    ROOT,
    VELOCITY,
    Vocabulary,
)

RECALLED_BARS = 64
"""Bars on each side in which bars like the one that is written are looked for."""
REACH = 4
"""Bars before and after that are compared too."""
DECAY = 0.4
"""What a bar one further off counts less."""
SHARPNESS = 50.0
"""How much more the likest bars count: in proportion to exp(SHARPNESS · likeness); all of them, to the root of likeness."""
SOURCES = 6
"""Bars that are looked up."""
PHRASES = (4, 8, 12, 16, 24, 32)
"""Distances at which phrases return. A piece that is composed looks there and not at its neighbours, whose chord would never
change; its drums look at any bar, for they keep their pattern."""
OWN_SHARE = 0.4
"""How much what was written in a hole counts, beside what stood in the song: else one bar fills the whole of a long hole."""
AGAIN = 0.1
"""Likeness that a bar loses each time that a bar of a hole was taken from it, up to MOST_LOST."""
MOST_LOST = 0.5
END = -1
"""Stands for the ids that end a bar."""


class Memory:
    """What is known of N bars: their notes, and how alike they are."""

    def __init__(
        self, v: Vocabulary, cells: Sequence[Mapping[int, np.ndarray]], order: Sequence[int], open_: set[Cell], near: set[int]
    ) -> None:
        """`cells[bar][program]` holds a cell's ids from its Program on, those of `open_` unknown.

        Of the bars in `near` it is counted what they share with each other bar.
        """
        self.v = v
        self.rank = {p: i for i, p in enumerate(order)}
        shape = (len(self.rank), len(cells))
        self.known = np.ones(shape, dtype=bool)
        for bar, program in open_:
            self.known[self.rank[program], bar] = False
        self.groups: dict[Cell, dict[int, tuple[list[int], list[int]]]] = {}
        """of each known cell, position → the ids of the notes there, without velocities; and the velocity id of each"""
        self.notes: dict[Cell, set[tuple[int, int]]] = {}
        """of each known cell, (position, pitch)"""
        for bar, row in enumerate(cells):
            for program, ids in row.items():
                if program in self.rank and self.known[self.rank[program], bar]:
                    self._read(bar, program, ids.tolist())
        self.count = np.zeros(shape, dtype=np.float32)
        for (bar, program), found in self.notes.items():
            self.count[self.rank[program], bar] = len(found)
        self.shared = np.zeros((*shape, shape[1]), dtype=np.float32)
        """notes that two bars have in common, in rows (P, N) that are near the fill"""
        for bar, program in self.notes:
            if bar in near:
                self.shared[self.rank[program], bar] = self._in_common(bar, program)

    @property
    def bars(self) -> int:
        return self.known.shape[1]

    def learn(self, bar: int, program: int, ids: list[int]) -> None:
        """Know a cell that was written."""
        rank = self.rank[program]
        self._read(bar, program, ids)
        self.known[rank, bar] = True
        self.count[rank, bar] = len(self.notes[bar, program])
        self.shared[rank, bar] = self.shared[rank, :, bar] = self._in_common(bar, program)

    def rests(self, bar: int, programs: Sequence[int]) -> None:
        """Know that the parts that were passed over in a bar rest there."""
        for program in programs:
            self.known[self.rank[program], bar] = True

    def _read(self, bar: int, program: int, ids: list[int]) -> None:
        groups: dict[int, tuple[list[int], list[int]]] = {}
        notes: set[tuple[int, int]] = set()
        position, velocity, again = 0, -1, False
        for token in ids:
            kind, value = self.v.entries[token][0], int(self.v.entries[token][1])
            if kind == POSITION:
                position = value
                groups[position] = ([], [])
            elif kind == VELOCITY:
                velocity = token
            elif kind in (PITCH, PITCHDRUM, DURATION):
                if kind != DURATION:
                    again = (position, value) in notes  # of two notes of one pitch, tracks merged, one is enough
                    notes.add((position, value))
                if not again:
                    groups[position][0].append(token)
                    groups[position][1].append(velocity)
        self.groups[bar, program], self.notes[bar, program] = groups, notes

    def _in_common(self, bar: int, program: int) -> list[int]:
        """Notes that a cell shares with the same part's in each bar: (N,)."""
        own, none = self.notes[bar, program], set[tuple[int, int]]()
        return [len(own & self.notes.get((other, program), none)) for other in range(self.bars)]

    def likeness(self, bar: int) -> np.ndarray:
        """Share of notes that each bar and its neighbours have in common with a bar and its own, F1 from 0 to 1: (N,)."""
        bars = self.bars
        both, either = np.zeros(bars), np.zeros(bars)
        for step in range(-REACH, REACH + 1):
            here = bar + step
            if not 0 <= here < bars:
                continue
            low, high = max(0, -step), min(bars, bars - step)  # bars whose neighbour at that distance exists
            there = slice(low + step, high + step)
            known = self.known[:, [here]] & self.known[:, there]
            weight = DECAY ** abs(step)
            both[low:high] += weight * 2 * (self.shared[:, here, there] * known).sum(0)
            either[low:high] += weight * ((self.count[:, [here]] + self.count[:, there]) * known).sum(0)
        return both / np.maximum(either, 1.0)


class Recall:
    """Takes the ids of a fill and says what may come next, from bars like the one that is written."""

    def __init__(
        self,
        v: Vocabulary,
        cells: Sequence[Mapping[int, np.ndarray]],
        order: Sequence[int],
        open_: set[Cell],
        fill: Sequence[tuple[int, tuple[int, ...]]],
        hole: Collection[int] = (),
        taken: np.ndarray | None = None,
        follow: Mapping[int, Collection[int]] | None = None,
        returns: Mapping[int, int] | None = None,
        places: Sequence[int] = (),
        chords: Sequence[Sequence[int]] = (),
    ) -> None:
        """`cells[bar][program]` holds a cell's ids from its Program on; `fill` the (bar, programs) to be written, in order.

        Bars of `hole` are looked up after the others. `taken` counts, in place, how often a bar was looked up first (N,), so
        that no bar comes again and again. With `follow`, the pitched parts of a bar follow those bars alone that it names;
        with `returns`, all parts of a bar follow the one bar that it returns to. `places` are the bars of the model's window,
        in which a bar may say by a Return how many bars ago the one stood that it repeats. `chords` are the ids that each bar
        has said of its chords (none for those to come): pitched parts follow bars that have said the same.
        """
        self.v, self.fill, self.taken = v, list(fill), taken
        self.chords = [tuple(ids) for ids in chords]
        self.said: tuple[int, ...] = ()
        """what the bar says of its chords"""
        self.follow, self.returns, self.places = follow, dict(returns or {}), list(places)
        near = {bar + step for bar, _ in self.fill for step in range(-REACH, REACH + 1)}
        self.memory = Memory(v, cells, order, open_, near)
        self.own = np.zeros(self.memory.bars)
        self.own[list(hole)] = 1
        self.less = self.own
        """what a bar's likeness loses when sources are chosen, (N,)"""
        self.at = -1
        self.program: int | None = None
        self.written: list[int] = []
        self.position = -1
        self.group: list[int] = []
        self.velocity = -1
        """the id that holds, -1 before any"""
        self.sources: list[tuple[int, float]] = []

    @property
    def bar(self) -> int:
        return self.fill[self.at][0]

    def push(self, token: int) -> None:
        """Take an id of the fill; what comes before its first Bar is none of it."""
        kind, value = self.v.entries[token]
        if self.at < 0 and kind != BAR:
            return
        if kind in (BAR, PROGRAM):
            self._close()
            if kind == BAR:
                if self.at >= 0:
                    self.memory.rests(self.bar, self.fill[self.at][1])
                self.at += 1
                self.program, self.said = None, ()
            else:
                self.program = int(value)
            self.written, self.position, self.group, self.velocity = [], -1, [], -1
            if kind == BAR and self.taken is not None:
                self.less = self.own + np.minimum(AGAIN * self.taken, MOST_LOST)
                for first, _ in self._sources()[:1]:
                    self.taken[first] += 1
            self.sources = self._sources()
        elif kind in (ROOT, QUALITY):
            self.said += (token,)
            if self.chords:
                self.chords[self.bar] = self.said
        elif kind == RETURN and self.bar in self.places:
            source = self.places[self.places.index(self.bar) - int(value)]
            if source >= 0:
                self.returns[self.bar] = source
                self.sources = self._sources()
        elif kind == POSITION:
            self.position, self.group = int(value), []
        elif kind == VELOCITY:
            self.velocity = token
        elif kind in (PITCH, PITCHDRUM, DURATION):
            self.group.append(token)
        self.written.append(token)

    def _close(self) -> None:
        if self.program is not None:
            self.memory.learn(self.bar, self.program, self.written)

    def _sources(self) -> list[tuple[int, float]]:
        """The likest bars in which what comes next is known, each with its share."""
        if self.bar in self.returns:
            return [(self.returns[self.bar], 1.0)]
        like = self.memory.likeness(self.bar)
        wanted = self.fill[self.at][1] if self.program is None else (self.program,)
        like[~self.memory.known[[self.memory.rank[p] for p in wanted]].all(0)] = -1
        like[self.bar] = -1
        if self.follow is not None and self.program != DRUMS:
            like[~np.isin(np.arange(len(like)), list(self.follow.get(self.bar, ())))] = -1
        if self.said and self.chords and self.program != DRUMS:
            like[[chords != self.said for chords in self.chords]] = -1
        if self.bar + 1 < len(like):
            like[-1] = -1  # the last bar closes the song, and would stop it here
        rank = like - self.less
        best = np.argsort(-rank, kind="stable")
        best = best[like[best] > 0][:SOURCES]
        weight = np.exp(SHARPNESS * (rank[best] - rank[best[0]])) if len(best) else np.zeros(0)
        weight *= np.sqrt(like[best]) / max(weight.sum(), 1e-9)
        weight *= np.where(self.own[best] > 0, OWN_SHARE, 1.0)
        return list(zip(best.tolist(), weight.tolist(), strict=True))

    def expected(self) -> dict[int, float]:
        """What stands at this place in bars like this one, id → share; the shares sum to 1 at most, to less the less like.

        The ids that end a bar, of which only one may come, have the same share.
        """
        found: dict[int, float] = {}
        if self.at < 0:
            return found
        if self.program is None and self.chords and not self._chords_said:
            return self._chord_of_phrase()
        complete = not self.group or self.v.entries[self.group[-1]][0] in (DURATION, PITCHDRUM)
        starting = self.position >= 0 and not self.group
        for source, weight in self.sources:
            token = self._following(source, complete, starting)
            if token is not None:
                found[token] = found.get(token, 0.0) + weight
        if END in found:
            found |= dict.fromkeys(self.v.ends.tolist(), found.pop(END))
        return found

    @property
    def _chords_said(self) -> bool:
        """Whether the bar has said a chord."""
        return bool(self.said) and (len(self.said) > 1 or self.v.entries[self.said[0]][1] == NO_ROOT)

    def _chord_of_phrase(self) -> dict[int, float]:
        """The next id of the first chord of the bars that stand one and two phrases before: id → share."""
        before = [b for b in sorted(self.follow.get(self.bar, ()), reverse=True)[:2] if self.chords[b]] if self.follow else []
        found: dict[int, float] = {}
        for bar in before:
            ids = self.chords[bar]
            if ids[: len(self.said)] == self.said and len(ids) > len(self.said):
                found[ids[len(self.said)]] = found.get(ids[len(self.said)], 0.0) + 1 / len(before)
        return found

    def _following(self, source: int, complete: bool, starting: bool) -> int | None:
        """What follows in a source where the fill stands; None where it stands elsewhere, or the source is unknown."""
        if self.program is None:
            return self._next_part(source)
        if not self.memory.known[self.memory.rank[self.program], source]:
            return None
        groups = self.memory.groups.get((source, self.program))
        if groups is None:
            return self._next_part(source) if complete and not starting and self.position >= 0 else None
        ids, velocities = groups.get(self.position, ([], []))
        length = len(self.group)
        if length < len(ids) and ids[:length] == self.group:
            louder = complete and velocities[length] != self.velocity and self.v.entries[self.written[-1]][0] != VELOCITY
            return velocities[length] if louder else ids[length]
        if not complete or starting or self.group[: len(ids)] != ids:  # what has left its source does not follow it on
            return None
        later = next((p for p in groups if p > self.position), None)
        return self.v[f"Position_{later}"] if later is not None else self._next_part(source)

    def _next_part(self, source: int) -> int | None:
        """The next Program that plays in the source, or END."""
        done = -1 if self.program is None else self.memory.rank[self.program]
        for program in self.fill[self.at][1]:
            if self.memory.rank[program] > done:
                if not self.memory.known[self.memory.rank[program], source]:
                    return None
                if (source, program) in self.memory.groups:
                    return self.v[f"Program_{program}"]
        return END
