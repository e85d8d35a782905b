"""Which ids may come next.

A sequence is a header, bars, and the end; a hole example adds SEP and the bars to fill:

    BOS Style Mode TimeSig Tempo Program+ [Start] [End]  Bar [TimeSig] [Tempo] cell*  ...  EOS
    BOS ... [Start] [End]  Bar cell-or-hole* ...  SEP  Bar cell* ...  EOS
    cell = Program (Position ([Velocity] Pitch Duration | [Velocity] PitchDrum)+)+      hole = Program Hole

Velocity is written when it changes inside a cell, so that a run of equal notes costs two tokens a note; positions rise
inside a cell, pitches rise inside an onset, and cells stand in the header's order of programs.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from midivibe.midi.notes import DRUMS
from midivibe.tokens.places import Place
from midivibe.tokens.rules import Rules
from midivibe.tokens.vocabulary import (
    BAR,
    BOS,
    DURATION,
    EOS,
    GRID_TICKS,
    LENGTH,
    MODE,
    NO_ROOT,
    PAD,
    PITCH,
    PITCHDRUM,
    POSITION,
    PROGRAM,
    QUALITY,
    RETURN,
    ROOT,
    SEP,
    START,
    STYLE,
    TEMPO,
    TIMESIG,
    VELOCITY,
    Vocabulary,
)


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
        elif kind == POSITION and self.rank < 0:
            mask |= v.mask[ROOT]
        elif kind == POSITION:
            self._note(mask)
        elif self._opens(kind, mask):
            pass
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

    def _opens(self, kind: int, mask: np.ndarray) -> bool:
        """Admit what the model itself says at a bar's start; returns whether it must."""
        v, opening = self.v, self.opening
        if kind == ROOT and int(v.value[self.last]) != NO_ROOT:
            mask |= v.mask[QUALITY]
            return True
        if self.rank >= 0:
            return False
        if opening.returns and kind in (BAR, TIMESIG, TEMPO, LENGTH):
            mask |= v.mask[RETURN] & (v.value <= self.bar)
        if not opening.chords:
            return False
        if kind in (BAR, TIMESIG, TEMPO, LENGTH, RETURN):
            mask |= v.mask[ROOT]
            return True
        mask |= v.mask[POSITION] & (v.value > max(self.position, 0)) & (v.value < self.bar_ticks)
        return False

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
        """Whether a program must write in this bar of the fill: it repeats a rhythm, has rested long enough, or must fill."""
        assert self.fill is not None
        if (self.rules.rhythm or {}).get((self.bar, program)):
            return True
        if self.rested.get(program, 0) >= self.rules.most_rests.get(program, len(self.fill)):
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
