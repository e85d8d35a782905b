"""Which ids may come next.

A sequence is a header, bars, and the end; a hole example adds SEP and the bars to fill:

    BOS Style Mode TimeSig Tempo Program+ [Start] [End]  Bar [TimeSig] [Tempo] cell*  ...  EOS
    BOS ... [Start] [End]  Bar cell-or-hole* ...  SEP  Bar cell* ...  EOS
    cell = Program (Position ([Velocity] Pitch Duration | [Velocity] PitchDrum)+)+      hole = Program Hole

Velocity is written when it changes inside a cell, so that a run of equal notes costs two tokens a note; positions rise
inside a cell, pitches rise inside an onset, and cells stand in the header's order of programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from midivibe.midi.bars import bar_ticks
from midivibe.midi.notes import DRUMS
from midivibe.tokens.vocabulary import (
    BAR,
    BOS,
    DURATION,
    EOS,
    GRID_TICKS,
    MODE,
    MODES,
    PAD,
    PART_OF_PROGRAM,
    PITCH,
    PITCHDRUM,
    POSITION,
    PROGRAM,
    SEP,
    START,
    STYLE,
    TEMPO,
    TIMESIG,
    VELOCITY,
    Vocabulary,
)


@dataclass(frozen=True)
class Rules:
    """What a caller fixes before writing starts; whatever is left open, the model chooses."""

    bars: int | None = None
    """exact number of bars of a plain window"""
    header: Mapping[int, Sequence[int] | None] = field(default_factory=dict)
    """ids allowed for STYLE, MODE, TIMESIG and TEMPO; None or absent leaves all"""
    programs: tuple[int, ...] | None = None
    """programs in the order in which each bar writes them"""
    excluded: tuple[int, ...] = ()
    at_most_one: tuple[tuple[int, ...], ...] = ()
    """sets of programs of which the model may choose one each"""
    min_programs: int = 3
    max_programs: int = 6
    """how many programs the model chooses: 3 is the 5th percentile of the band corpus (median 7); with more than 6, a window of
    1,024 ids holds only a few bars"""
    start: bool = True
    end: bool = True
    changes: bool = False
    """whether bars may change meter and tempo"""
    empty_bars: bool = False
    """whether a bar may stay without a note"""
    entry: Callable[[int], int] | None = None
    """program → the bar by whose end it has played"""
    last_played: Mapping[int, int] = field(default_factory=dict)
    """program → the bar in which it last played before this window: -1 is the one just before"""
    longest_rest: Callable[[int, int], int] | None = None
    """program, the bar in which it last played → bars that it may now be silent; not counted in the last bar"""
    max_bar_tokens: int = 10_000
    """more than any window holds, so no limit where none is set: a bar (in a fill, a cell) this long takes no further note"""
    must_fill: frozenset[int] = frozenset()
    """programs that may not leave all of their erased cells empty"""
    rhythm: Mapping[tuple[int, int], Sequence[int]] | None = None
    """(bar, program) → ids of a cell whose onsets, velocities and durations the fill repeats; its pitches are free"""
    pitches: Callable[[str, int], tuple[int, int]] | None = None
    """(mode, program) → lowest and highest pitch it may play, in the key that is modelled"""
    closing: Callable[[str, int], Sequence[int]] | None = None
    """(mode, program) → its pitch classes in the last bar, which then closes: onsets in its first half, a beat or longer"""


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
        self.template: list[int] = []
        """what is left of the cell whose rhythm is repeated"""
        self.repeating = False
        self._reset_cell(-1)

    def _reset_cell(self, rank: int) -> None:
        self.rank = rank
        """place of the current program in the header's order, -1 before the first cell of a bar"""
        self.position = self.pitch = self.velocity = -1

    @property
    def coordinates(self) -> tuple[int, int, int, int, int]:
        """Where the next id stands: bar index, bars left after this one, position plus one, part, and the part expected next.

        Position is 0 before any; a part is its program plus 2, 0 where there is none. Expected is the next part in order
        that played in the bar before (in the first bar, and in a fill, that may write). In the header, bars left is their
        number and all else 0.
        """
        if self.bar < 0:
            return 0, self.total_bars, 0, 0, 0
        part = PART_OF_PROGRAM + self.programs[self.rank] if self.rank >= 0 else 0
        later = self._later()
        if self.bar > 0 and not self.filling:
            later = [p for p in later if p in self.played_before]
        following = PART_OF_PROGRAM + later[0] if later else 0
        return self.bar, self.total_bars - 1 - self.bar, self.position + 1, part, following

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
        elif kind == POSITION:
            self.position, self.pitch = value, -1
        elif kind == VELOCITY:
            self.velocity = value
        elif kind in (PITCH, PITCHDRUM):
            self.pitch = value
            self.last_played[self.programs[self.rank]] = self.bar

    def _open_bar(self) -> None:
        self.in_header = self.repeating = False
        self.bar_tokens = 0
        if self.filling:
            assert self.fill is not None
            self.fill_index += 1
            self.bar = self.fill[self.fill_index][0]
            self.bar_ticks = self.bar_meters[self.bar]
        else:
            self.bar += 1
            self.bar_meters.append(self.bar_ticks)
            self.played_before, self.playing = self.playing, set()
        self._reset_cell(-1)


class Grammar(Place):
    """Which ids may come next: `allowed()` is their mask, and `push(id)` moves on."""

    def __init__(self, vocabulary: Vocabulary, rules: Rules, fill: list[tuple[int, tuple[int, ...]]] | None = None) -> None:
        super().__init__(vocabulary, rules, fill)
        self._ranges: dict[int, np.ndarray] = {}
        self._longest_rest = cache(rules.longest_rest) if rules.longest_rest else None

    def allowed(self) -> np.ndarray:
        """Boolean mask (V,) of the ids that may come next."""
        v, mask = self.v, np.zeros(len(self.v), dtype=bool)
        kind = v.entries[self.last][0] if self.last >= 0 else -1
        if kind == EOS:
            padding: np.ndarray = v.mask[PAD].copy()
            return padding
        if self.template:
            self._repeat(self.template, mask)
        elif self.in_header:
            self._header(kind, mask)
        elif kind == SEP:
            mask |= v.mask[BAR]
        elif kind == PROGRAM:
            self._positions(mask)
        elif kind == POSITION:
            self._note(mask)
        elif kind == VELOCITY:
            mask |= self._pitches()
        elif kind == PITCH:
            mask |= v.mask[DURATION] & (v.value >= GRID_TICKS) if self._closes else v.mask[DURATION]
        else:  # a bar is open or a note, cell or change is complete
            if self.rules.changes and not self.filling and self.bar > 0 and kind in (BAR, TIMESIG):
                mask |= v.mask[TEMPO]
                if kind == BAR:
                    mask |= v.mask[TIMESIG]
            if kind in (DURATION, PITCHDRUM) and not self.repeating and self.bar_tokens < self.rules.max_bar_tokens:
                self._note(mask)
                self._positions(mask)
            self._next_cell_or_bar(mask)
        return mask

    def groups(self, allowed: np.ndarray) -> list[np.ndarray]:
        """Ids that mean the same step: on to another part, or to the end of the bar. One group where only one is open."""
        v = self.v
        parts, ends = v.of_type[PROGRAM], v.ends
        if self.in_header or v.entries[self.last][0] in (PROGRAM, POSITION, VELOCITY, PITCH):  # or inside a note
            return []
        if allowed[parts].any() and allowed[ends].any():
            return [parts, ends]
        return [np.concatenate([parts, ends])]

    def _header(self, kind: int, mask: np.ndarray) -> None:
        v, rules = self.v, self.rules
        following = {BOS: STYLE, STYLE: MODE, MODE: TIMESIG, TIMESIG: TEMPO}
        if kind == -1:
            mask[v["BOS_None"]] = True
        elif kind in following:
            choice = rules.header.get(following[kind])
            mask[v.of_type[following[kind]] if choice is None else np.asarray(choice)] = True
        elif kind in (TEMPO, PROGRAM):
            if not self._header_program(mask):
                mask[v["Start_None" if rules.start else "End_None" if rules.end else "Bar_None"]] = True
        else:  # Start or End
            mask[v["End_None" if kind == START and rules.end else "Bar_None"]] = True

    def _header_program(self, mask: np.ndarray) -> bool:
        """Admit the next program of the header; returns whether there must be one."""
        v, rules, count = self.v, self.rules, len(self.programs)
        if rules.programs is not None:
            if count == len(rules.programs):
                return False
            mask[v[f"Program_{rules.programs[count]}"]] = True
            return True
        if count >= rules.max_programs:
            return False
        mask |= v.mask[PROGRAM]
        mask[[v[f"Program_{p}"] for p in (*self.programs, *rules.excluded)]] = False
        for alike in rules.at_most_one:
            if any(p in self.programs for p in alike):
                mask[[v[f"Program_{p}"] for p in alike]] = False
        return count < rules.min_programs

    def _note(self, mask: np.ndarray) -> None:
        """The start of a note: a pitch above the last one of this onset, or a change of velocity before it."""
        pitches = self._pitches()
        if not pitches.any():
            return
        mask |= self.v.mask[VELOCITY]
        if self.velocity >= 0:
            mask[self.v[f"Velocity_{self.velocity}"]] = False
            mask |= pitches

    def _pitches(self) -> np.ndarray:
        program = self.programs[self.rank]
        if program not in self._ranges:
            kind = PITCHDRUM if program == DRUMS else PITCH
            low, high = self.rules.pitches(self.mode, program) if self.rules.pitches else (0, 127)
            self._ranges[program] = self.v.mask[kind] & (self.v.value >= low) & (self.v.value <= high)
        allowed = self._ranges[program] & (self.v.value > self.pitch)
        if self._closes and program != DRUMS:
            assert self.rules.closing is not None
            allowed &= np.isin(self.v.value % 12, self.rules.closing(self.mode, program))
        return allowed

    @property
    def _closes(self) -> bool:
        """Whether this is the last bar of a piece that is to end, not stop."""
        return self.rules.closing is not None and not self.filling and self.bar + 1 == self.total_bars

    def _repeat(self, template: list[int], mask: np.ndarray) -> None:
        """The next id of a repeated rhythm; a pitch leaves room for those above it in its chord."""
        v, token = self.v, template[0]
        if v.type[token] not in (PITCH, PITCHDRUM):
            mask[token] = True
            return
        above = 0
        for later in template[1:]:
            if v.type[later] == POSITION:
                break
            above += v.type[later] in (PITCH, PITCHDRUM)
        pitches = np.flatnonzero(self._pitches())
        if len(pitches) <= above:  # the range is too small for the chord
            pitches = np.flatnonzero(v.mask[v.type[token]] & (v.value > self.pitch))
        mask[pitches[: max(len(pitches) - above, 1)]] = True

    def _positions(self, mask: np.ndarray) -> None:
        end = self.bar_ticks // 2 if self._closes else self.bar_ticks
        mask |= self.v.mask[POSITION] & (self.v.value > self.position) & (self.v.value < end)

    def _must_play(self, program: int) -> bool:
        rules = self.rules
        last = self.last_played.get(program)
        if last is None:
            return rules.entry is not None and self.bar >= rules.entry(program)
        if self._longest_rest is None or self.bar + 1 == self.total_bars:
            return False
        return self.bar - last > self._longest_rest(program, last)

    def _last_chance(self, program: int) -> bool:
        """Whether a program must write in this bar of the fill: it repeats a rhythm, or must fill and could not later."""
        assert self.fill is not None
        if (self.rules.rhythm or {}).get((self.bar, program)):
            return True
        later = any(program in programs for _, programs in self.fill[self.fill_index + 1 :])
        return program in self.rules.must_fill and program not in self.written and not later

    def _next_cell_or_bar(self, mask: np.ndarray) -> None:
        v, rules = self.v, self.rules
        later = self._later()
        must_write = self._last_chance if self.filling else self._must_play
        due = next((i for i, p in enumerate(later) if must_write(p)), None)
        if due is not None:  # nobody who is due may be passed over
            later = later[: due + 1]
        mask[[v[f"Program_{p}"] for p in later]] = True
        if due is None and (self.rank >= 0 or rules.empty_bars or self.filling or not later):
            mask[v["EOS_None" if self._finished else "Bar_None"]] = True

    @property
    def _finished(self) -> bool:
        """Whether this is the last bar to write."""
        if self.filling:
            assert self.fill is not None
            return self.fill_index + 1 >= len(self.fill)
        return bool(self.rules.bars) and self.bar + 1 >= self.total_bars
