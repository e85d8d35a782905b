"""Where ids stand: `Place` follows a sequence id by id, `coordinates` says the same of a whole sequence, on arrays."""

from __future__ import annotations

import numpy as np

from midivibe.midi.bars import bar_ticks
from midivibe.tokens.leads import chord_code
from midivibe.tokens.rules import Opening, Rules
from midivibe.tokens.vocabulary import (
    BAR,
    COORDINATES,
    GRID_TICKS,
    HOLE,
    LENGTH,
    MODE,
    MODES,
    NO_ROOT,
    PART_OF_PROGRAM,
    PITCH,
    PITCHDRUM,
    POSITION,
    PROGRAM,
    QUALITY,
    RETURN,
    ROOT,
    SEP,
    TIMESIG,
    VELOCITY,
    Vocabulary,
)


class Place:
    """Where a sequence stands after the ids so far: its header, its bar, its cell, and who has played when.

    Also the coordinates that the model reads beside the ids. A hole example passes `fill`, the (bar, programs) pairs to write
    after SEP, in order.
    """

    def __init__(self, vocabulary: Vocabulary, rules: Rules, fill: list[tuple[int, tuple[int, ...]]] | None = None) -> None:
        self.v, self.rules, self.fill = vocabulary, rules, fill
        self.total_bars = rules.bars or 0
        self.last = -1
        self.programs: list[int] = []
        self.mode = "unknown"
        self.last_played = dict(rules.last_played)
        self.in_header, self.filling = True, False
        self.bar, self.fill_index, self.bar_tokens = -1, -1, 0
        self.bar_ticks = bar_ticks(GRID_TICKS, (4, 4))
        self.bar_meters: list[int] = []
        """length of each bar in grid ticks"""
        self.playing: set[int] = set()
        """programs of this bar"""
        self.played_before: set[int] = set()
        """programs of the bar before"""
        self.written: set[int] = set()
        """programs that have played in the fill"""
        self.rested: dict[int, int] = {}
        """cells in a row that a program of the fill has left empty"""
        self.template: list[int] = []
        """what is left of the cell whose rhythm is repeated"""
        self.repeating = False
        self.opening = Opening()
        self._chords: dict[int, list[tuple[int, int]]] = {}
        """of each bar its chords so far: grid ticks and code"""
        self._root = NO_ROOT
        self._section_end = 0
        self._places: list[tuple[int, int]] = []
        """of each bar the end of its section, and the bar that it repeats, from 1"""
        self._reset_cell(-1)

    def _reset_cell(self, rank: int) -> None:
        self.rank = rank
        """place of the current program in the header's order, -1 before the first cell of a bar"""
        self.position = self.pitch = self.velocity = -1

    @property
    def coordinates(self) -> tuple[int, ...]:
        """Where the next id stands, in 9 numbers: bar index, bars left after this one, position plus one, part, and the part
        expected next; the chord that sounds, and the one to come; bars left in the section, and the bar that is repeated.

        Position is 0 before any; a part is its program plus 2, 0 where there is none. Expected is the next part in order
        that played in the bar before (in the first bar, and in a fill, that may write). In the header, bars left is their
        number and all else 0. A chord is a `chord_code`; the one to come lies in this bar, or in the next where that is
        planned or, in a fill, known. Bars left in the section count this one; the bar repeated counts from 1; 0 is unknown.
        """
        if self.bar < 0:
            return 0, self.total_bars, 0, 0, 0, 0, 0, 0, 0
        part = PART_OF_PROGRAM + self.programs[self.rank] if self.rank >= 0 else 0
        later = self._later()
        if self.bar > 0 and not self.filling:
            later = [p for p in later if p in self.played_before]
        following = PART_OF_PROGRAM + later[0] if later else 0
        end, source = self._places[self.bar]
        return (
            self.bar, self.total_bars - 1 - self.bar, self.position + 1, part, following, *self._harmony(),
            max(0, end - self.bar), source,
        )  # fmt: skip

    @property
    def chord(self) -> tuple[int, int]:
        """The chord that the bar has said for this place: the grid tick with which it begins, and its code; 0 where none."""
        return max(((t, c) for t, c in self._chords.get(self.bar, ()) if t <= max(self.position, 0)), default=(0, 0))

    def _harmony(self) -> tuple[int, int]:
        """Codes of the chord that sounds and of the one to come."""
        here = self._chords.get(self.bar)
        if not here:
            return 0, 0
        sounding, at = 0, max(self.position, 0)
        for tick, code in here:
            if tick > at:
                return sounding, code
            sounding = code
        if self.filling:
            after = self._chords.get(self.bar + 1)
            return sounding, after[0][1] if after else 0
        return sounding, self.opening.coming

    def _later(self) -> list[int]:
        """Programs that may still write in this bar, in order."""
        later = self.programs[self.rank + 1 :]
        if not self.filling:
            return later
        if self.fill is None or self.fill_index < 0:
            return []
        wanted = self.fill[self.fill_index][1]
        return [p for p in later if p in wanted]

    def push(self, token: int) -> None:
        """Take one id that `allowed()` admitted."""
        kind, value = self.v.entries[token][0], int(self.v.entries[token][1])
        self.last = token
        self.bar_tokens += 1
        self.template = self.template[1:]
        if kind == BAR:
            self._open_bar()
        elif kind == PROGRAM and self.in_header:
            self.programs.append(value)
        elif kind == PROGRAM:
            self._reset_cell(self.programs.index(value))
            self.playing.add(value)
            if self.filling:
                self.written.add(value)
                self.template = list((self.rules.rhythm or {}).get((self.bar, value), ()))
                self.repeating, self.bar_tokens = bool(self.template), 0
        elif kind == TIMESIG:
            self.bar_ticks = int(self.v.meter_ticks[value])
            if not self.in_header:
                self.bar_meters[-1] = self.bar_ticks
        elif kind == MODE:
            self.mode = MODES[value]
        elif kind == SEP:
            self.filling = True
            self._reset_cell(-1)
        elif kind == LENGTH:
            self._section_end = self.bar + value
            self._places[self.bar] = (self._section_end, self._places[self.bar][1])
        elif kind == RETURN:
            self._places[self.bar] = (self._section_end, self.bar - value + 1)
        elif kind in (ROOT, QUALITY):
            self._take_chord(kind, value)
        elif kind == POSITION:
            self.position, self.pitch = value, -1
        elif kind == VELOCITY:
            self.velocity = value
        elif kind in (PITCH, PITCHDRUM):
            self.pitch = value
            self.last_played[self.programs[self.rank]] = self.bar

    def _take_chord(self, kind: int, value: int) -> None:
        if kind == ROOT:
            self._root = value
        if kind == QUALITY or value == NO_ROOT:
            code = chord_code(self._root, value)
            self._chords.setdefault(self.bar, []).append((max(self.position, 0), code))

    def _open_bar(self) -> None:
        self.in_header = self.repeating = False
        self.bar_tokens = 0
        if self.filling:
            assert self.fill is not None
            for program in self.fill[self.fill_index][1] if self.fill_index >= 0 else ():
                self.rested[program] = 0 if program in self.playing else self.rested.get(program, 0) + 1
            self.playing = set()
            self.fill_index += 1
            self.bar = self.fill[self.fill_index][0]
            self.bar_ticks = self.bar_meters[self.bar]
        else:
            self.bar += 1
            self.bar_meters.append(self.bar_ticks)
            self.played_before, self.playing = self.playing, set()
            self._places.append((self._section_end, 0))
        self.opening = self.rules.plan(self.bar) if self.rules.plan and self.v.plans else Opening()
        self.template = list(self.opening.ids)
        self._reset_cell(-1)


def coordinates(ids: np.ndarray, v: Vocabulary, ahead: bool = False) -> np.ndarray:
    """The coordinates of every id of a sequence: (T, 9), as `Place` gives them one by one.

    `ahead`: the chords of all bars are known beforehand, as they are where a plan gives them.
    """
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
    table = np.zeros((len(ids), COORDINATES), dtype=np.int64)
    table[:, :5] = np.stack([bar.clip(0), left, position, part, following], axis=1)
    if v.plans:
        _plan(table, ids, kind, bar, end, v, ahead)
    return table


def _plan(table: np.ndarray, ids: np.ndarray, kind: np.ndarray, bar: np.ndarray, end: int, v: Vocabulary, ahead: bool) -> None:
    """Fill in the last four coordinates: the chord that sounds, the one to come, bars left in the section, the source."""
    value = v.value[ids].astype(int)
    starts = np.flatnonzero((kind == BAR) | (kind == SEP))
    spans = list(zip(starts.tolist(), [*starts[1:].tolist(), len(ids)], strict=True))
    chords = _chords(kind, value, spans)
    known = {
        int(bar[a]): [(tick, code) for _, tick, code in found] for (a, _), found in zip(spans, chords, strict=True) if a < end
    }
    section_end = 0
    ends: dict[int, int] = {}
    sources: dict[int, int] = {}
    for (a, b), found in zip(spans, chords, strict=True):
        here, span, filling = int(bar[a]), slice(a, b), a >= end
        if not filling:
            table[span, 7] = max(0, section_end - here)
            for i in (np.flatnonzero(kind[span] == LENGTH) + a).tolist():
                section_end = here + int(value[i])
                table[i:b, 7] = section_end - here
            for i in (np.flatnonzero(kind[span] == RETURN) + a).tolist():
                table[i:b, 8] = here - value[i] + 1
            ends[here], sources[here] = section_end, int(table[b - 1, 8])
        else:
            table[span, 7], table[span, 8] = max(0, ends.get(here, 0) - here), sources.get(here, 0)
            if found:  # chords that were written with the fill
                known[here] = [(tick, code) for _, tick, code in found]
            else:
                found = [(a, tick, code) for tick, code in known.get(here, ())]
        following = known.get(here + 1) if filling or ahead else None
        index, at = np.arange(a, b), (table[span, 2] - 1).clip(0)
        if found and following:
            table[span, 6] = np.where(index >= found[0][0], following[0][1], 0)
        for i, tick, code in found:
            table[span, 5][(index >= i) & (at >= tick)] = code
        for i, tick, code in reversed(found):
            table[span, 6][(index >= i) & (at < tick)] = code


def _chords(kind: np.ndarray, value: np.ndarray, spans: list[tuple[int, int]]) -> list[list[tuple[int, int, int]]]:
    """Of each span its chords: the id with which one is complete, grid ticks after the bar line, and its code."""
    found: list[list[tuple[int, int, int]]] = [[] for _ in spans]
    starts = np.array([a for a, _ in spans])
    for root in np.flatnonzero(kind == ROOT).tolist():
        tick = int(value[root - 1]) if kind[root - 1] == POSITION else 0
        none = value[root] == NO_ROOT
        complete = root if none else root + 1
        if complete < len(kind):
            code = chord_code(int(value[root]), int(value[complete]))
            found[int(np.searchsorted(starts, root, side="right")) - 1].append((complete, tick, code))
    return found


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


__all__ = ["Place", "coordinates"]
