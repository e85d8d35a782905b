"""A song on the model's grid, with cells to be rewritten: what goes into a window, and how a fill comes back to the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from midivibe.midi.instruments import family_of, pitch_range
from midivibe.midi.notes import DRUMS, Notes, bar_at
from midivibe.midi.song import Part, Song
from midivibe.midi.theory import detect_key, key_correlations
from midivibe.plan.chords import Chord
from midivibe.plan.plan import BarChords
from midivibe.plan.reading import Reading
from midivibe.tokens import layout
from midivibe.tokens.holes import Cell
from midivibe.tokens.layout import KEY_CONFIDENCE, WINDOW_BARS
from midivibe.tokens.vocabulary import (
    GRID_TICKS,
    Vocabulary,
)
from midivibe.vibe.music import pitch_class_weights

HOLE_BARS = 8
"""Most bars of a longer hole that are written in one window."""
ENOUGH_BARS, ENOUGH_PARTS = 5, 2
"""Of a context too long for a window, bars on each side and parts that stay when the busiest other parts go: a part is filled
better (held-out F1 .41 where it was .39) by hearing more of itself than more of its company."""
SPARE_TOKENS = 48
"""Of a block, kept free for what the estimate of a window leaves out: SEP, EOS, the fill's bars and positions."""
DENSER = 1.35
"""How much denser than what stands around it a fill is reckoned to be; what still runs over is written in another window."""
FEWEST_A_BAR = 4.0
"""Notes a bar that a fill is reckoned with at least."""
TOKENS_A_NOTE, TOKENS_A_CELL = 2.9, 3.0
"""About what a fill takes."""
FEWEST_BEATS, LEFT_KEY = 16.0, 0.25
"""Beats of sounding notes from which a window may have a key of its own, and how much better than the song's it must fit."""
TOKENS_A_PLAN = 5.0
"""Ids of a bar's plan: more than it mostly has."""


@dataclass(frozen=True)
class View:
    """A window of a song: bars [first, last) of the grid, the programs in it, and the cells of it that are to be filled."""

    first: int
    last: int
    order: list[int]
    cells: set[Cell]
    """(bar of the window, program)"""


class Canvas:
    """The notes of a song on the grid, `cells` of them erased and open; each part has a program of its own.

    Of two parts with one program the second gets the nearest free one of its family, for the model's eyes; all drum tracks
    are one part.
    """

    def __init__(self, song: Song, v: Vocabulary, parts: Sequence[Part], open_cells: Callable[[int, Part], bool]) -> None:
        """`parts` are all parts, new ones too; `open_cells(file bar, part)` says which are erased."""
        self.song, self.v, self.parts = song, v, list(parts)
        self.program_of = _programs(self.parts)
        meters = [layout.nearest_meter(v, m) for m in song.meters]
        self.first_bar = np.concatenate([[0], np.cumsum([count for _, count in meters])])
        """the grid bar with which each bar of the file begins (bars + 1,)"""
        self.grid_meters = [m for m, count in meters for _ in range(count)]
        lengths = [n * 4 * GRID_TICKS // d for n, d in self.grid_meters]
        self.grid_start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.tempos = np.repeat(song.tempos, np.diff(self.first_bar)).clip(v.tempos.min(), v.tempos.max())
        kept: list[tuple[int, int, int, int, int, int]] = []
        erased: list[tuple[int, int, int, int, int, int]] = []
        self.cells: set[Cell] = set()
        for part in self.parts:
            program = self.program_of[part.number]
            bars = song.bar_of([n.start for n in part.notes]) if part.notes else np.zeros(0, dtype=int)
            open_bars = {b for b in range(song.bars) if open_cells(b, part)}
            for bar in open_bars:
                self.cells |= {(g, program) for g in range(int(self.first_bar[bar]), int(self.first_bar[bar + 1]))}
            for note, bar in zip(part.notes, bars, strict=True):
                row = (note.start, note.end - note.start, note.pitch, note.velocity, program, int(bar))
                (erased if int(bar) in open_bars else kept).append(row)
        self.notes, self.erased = self._on_grid(kept), self._on_grid(erased)
        self.stood = self.notes.joined(self.erased)
        """the song as it stood"""
        self.reading = Reading.of(self.stood)
        """its plan"""
        self.asked: dict[int, tuple[tuple[int, Chord], ...]] = {}
        """chords that were asked for, by bar of the grid"""
        self.written = self._on_grid([])
        """what the fills have put in"""

    def _on_grid(self, rows: list[tuple[int, int, int, int, int, int]]) -> Notes:
        flat = np.array(rows, dtype=np.int64).reshape(-1, 6)
        scale = GRID_TICKS / self.song.ticks_per_beat
        start = self.grid_start[self.first_bar[flat[:, 5]]]
        onset = start + np.floor((flat[:, 0] - self.song.bar_start[flat[:, 5]]) * scale + 0.5).astype(np.int64)
        # what is rounded past the last bar line would stand in no bar
        onset = np.minimum(onset, self.grid_start[-1] - 1)
        order = np.lexsort((flat[:, 2], flat[:, 4], onset))
        _, duration, pitch, velocity, program, _ = flat[order].T
        notes = Notes(
            onset[order], duration * scale, pitch, velocity, program, GRID_TICKS, self.grid_start, self.tempos,
            self.grid_meters,
        )  # fmt: skip
        return layout.quantize(notes, self.v)

    @property
    def bars(self) -> int:
        return len(self.grid_start) - 1

    # Windows -----------------------------------------------------------------------------------------------------------

    def next_view(self, block_size: int, look_ahead: bool = True) -> View | None:
        """The window around the first open cells, as wide as it fits into a block; None when none is open.

        Without `look_ahead` it ends with the hole.
        """
        if not self.cells:
            return None
        bars = sorted({bar for bar, _ in self.cells})
        first = bars[0]
        hole_end = first + 1
        longest = WINDOW_BARS if first == 0 and self._is_thin(first) else HOLE_BARS  # the rest is context
        while hole_end < first + longest and hole_end in bars:
            hole_end += 1
        low, high = _around(first, hole_end, self.bars)
        if not look_ahead:
            low, high = max(0, hole_end - WINDOW_BARS), hole_end
        beyond = [b for b in bars if hole_end <= b < high]
        if beyond and len({b for b in bars if first <= b < high}) > HOLE_BARS:
            high = beyond[0]
        left_out: set[int] = set()
        while True:
            view = self._view(low, high)
            view = replace(view, order=[p for p in view.order if p not in left_out])
            if self._tokens(view) <= block_size - SPARE_TOKENS:
                return view
            before, after = first - low, high - max(hole_end, first + 1)
            context = len(set(view.order) - {p for _, p in view.cells})
            if max(before, after) > ENOUGH_BARS and context:
                low, high = (low + 1, high) if before >= after else (low, high - 1)
            elif context > ENOUGH_PARTS:
                left_out |= {self._busiest(view)}
            elif max(before, after) > 2:
                low, high = (low + 1, high) if before >= after else (low, high - 1)
            elif hole_end - first > 1:
                hole_end -= max(1, (hole_end - first) // 4)
                low, high = max(0, first - 4), hole_end
            elif before or after:
                low, high = (low + 1, high) if before else (low, high - 1)
            else:
                return self._fewer_parts(view, block_size)

    def _is_thin(self, bar: int) -> bool:
        """Whether the hole has one or two parts there, so that many of its bars fit into a window."""
        return len({p for b, p in self.cells if b == bar}) <= 2

    def _view(self, low: int, high: int) -> View:
        notes = self.notes.window(low, high)
        cells = {(bar - low, p) for bar, p in self.cells if low <= bar < high}
        near = {p for _, p in cells if self._plays_near(p, low, high)} or {p for _, p in cells}
        playing = set(notes.program.tolist()) | near
        return View(low, high, sorted(playing), {c for c in cells if c[1] in playing})

    def _plays_near(self, program: int, low: int, high: int) -> bool:
        """Whether a part with open cells is one to write for: new, or playing within the window before it was erased."""
        if any(self.program_of[part.number] == program and not part.notes for part in self.parts):
            return True
        return any(len(notes.window(low, high, {program})) for notes in (self.notes, self.erased))

    def _tokens(self, view: View) -> float:
        """How many tokens a window takes, and about how many its fill."""
        kept = len(layout.encode(self.window_notes(view), self.v, view.order)[0]) + 2 * len(view.cells)
        fill = 0.0
        for program in {p for _, p in view.cells}:
            count = sum(p == program for _, p in view.cells)
            spans = [n.window(view.first, view.last, {program}) for n in (self.notes, self.erased)]
            rate = sum(map(len, spans)) / max(view.last - view.first, 1)
            fill += count * (DENSER * TOKENS_A_NOTE * max(rate, FEWEST_A_BAR) + 2 * TOKENS_A_CELL)
        return 16 + len(view.order) + kept + fill + TOKENS_A_PLAN * self.v.plans * (view.last - view.first)

    def _fewer_parts(self, view: View, block_size: int) -> View:
        """Leave out parts of the context, the busiest first, then parts of the hole: those come in a window of their own."""
        order = list(view.order)
        holes = {p for _, p in view.cells}
        while self._tokens(view) > block_size - SPARE_TOKENS and len(order) > 1:
            context = [p for p in order if p not in holes]
            if context:
                order.remove(self._busiest(view))
            else:
                order.remove(order[-1])
            view = replace(view, order=list(order), cells={c for c in view.cells if c[1] in order})
        return view

    def _busiest(self, view: View) -> int:
        """The part of the context with the most notes in a window."""
        program = self.notes.window(view.first, view.last).program
        return max(set(view.order) - {p for _, p in view.cells}, key=lambda p: (int((program == p).sum()), p))

    def drop_silent(self, view: View) -> None:
        """Close what is open of a window for parts that do not play anywhere near."""
        inside = {(bar - view.first, p) for bar, p in self.cells if view.first <= bar < view.last}
        silent = {p for _, p in inside if not self._plays_near(p, view.first, view.last)}
        self.cells -= {(bar + view.first, p) for bar, p in inside if p in silent}

    def window_notes(self, view: View) -> Notes:
        """What of a window is not erased: grid ticks from its start."""
        return self.notes.window(view.first, view.last, set(view.order), cut=False)

    def original_notes(self, view: View) -> Notes:
        """The same with what was erased."""
        a = self.window_notes(view)
        b = self.erased.window(view.first, view.last, set(view.order), cut=False)
        return a.joined(b)

    def shift(self, view: View) -> tuple[int, str]:
        """Semitones that bring a window home, and its mode: of the song's key, of the window's own where it clearly left that.

        Both are heard in the song as it stood, never in what was written.
        """
        song, here = (pitch_class_weights(n) for n in (self.stood, self.stood.window(view.first, view.last)))
        tonic, mode, confidence = detect_key(song)
        own_tonic, own_mode, own = detect_key(here)
        correlation = key_correlations(here)[tonic + 12 * (mode == "minor")]
        left = own >= KEY_CONFIDENCE and here.sum() >= FEWEST_BEATS and own - correlation >= LEFT_KEY
        if left or confidence < KEY_CONFIDENCE <= own:
            return layout.home_shift(own_tonic, own_mode), own_mode
        return (layout.home_shift(tonic, mode), mode) if confidence >= KEY_CONFIDENCE else (0, "unknown")

    def fill(self, view: View, notes: Notes, bars: int) -> None:
        """Take the notes of a fill (grid ticks of the window, in the song's key); close the first `bars` bars of its cells."""
        hole_bars = sorted({b for b, _ in view.cells})[:bars]
        done = {(b + view.first, p) for b, p in view.cells if b in hole_bars}
        start = int(self.grid_start[view.first])
        bar = bar_at(self.grid_start, notes.onset + start)
        inside = np.array([(b, p) in done for b, p in zip(bar.tolist(), notes.program.tolist(), strict=True)], dtype=bool)
        kept = notes.take(inside)
        moved = replace(kept, onset=kept.onset + start)
        self.notes, self.written = self.notes.joined(moved), self.written.joined(moved)
        self.cells -= done

    def pitch_limits(self, program: int, register: tuple[int, int] | None) -> tuple[int, int]:
        """Lowest and highest pitch for a part: what it plays in the song and a little more, or its instrument's."""
        pitches = [n.pitch for part in self.parts if self.program_of[part.number] == program for n in part.notes]
        own = next(part.program for part in self.parts if self.program_of[part.number] == program)
        low, high = pitch_range(own)
        if pitches:
            low, high = (min(pitches) - 3, max(pitches) + 3) if program != DRUMS else (min(pitches), max(pitches))
        if register and program != DRUMS:
            low, high = register
        return max(low, 0), min(high, 127)


def follow(canvas: Canvas, progression: Sequence[BarChords]) -> None:
    """Have the bars with open cells follow a progression, a bar of it each bar of the file, from the first of them on."""
    open_ = {int(np.searchsorted(canvas.first_bar, bar, side="right")) - 1 for bar, _ in canvas.cells}
    for bar in sorted(open_):
        wanted = progression[(bar - min(open_)) % len(progression)]
        first, last = int(canvas.first_bar[bar]), int(canvas.first_bar[bar + 1])
        low, high = int(canvas.grid_start[first]), int(canvas.grid_start[last])
        starts = [(low + i * (high - low) // len(wanted), chord) for i, chord in enumerate(wanted)]
        for grid in range(first, last):
            here, end = int(canvas.grid_start[grid]), int(canvas.grid_start[grid + 1])
            sounding = [chord for tick, chord in starts if tick <= here][-1]
            later = [(tick - here, chord) for tick, chord in starts if here < tick < end]
            canvas.asked[grid] = ((0, sounding), *later)
    canvas.reading = canvas.reading.following(canvas.asked)


def _around(first: int, last: int, bars: int) -> tuple[int, int]:
    """A window of up to 16 bars with bars [first, last) in its middle."""
    spare = max(WINDOW_BARS - (last - first), 0)
    low = max(0, first - (spare + 1) // 2)
    high = min(bars, low + WINDOW_BARS)
    low = max(0, min(low, high - WINDOW_BARS))
    return low, max(high, last)


def _programs(parts: Sequence[Part]) -> dict[int, int]:
    """A program for each part's number, all different but for drums."""
    taken: dict[int, int] = {}
    for part in parts:
        if part.program == DRUMS:
            taken[part.number] = DRUMS
            continue
        used = set(taken.values())
        alike = [p for p in range(128) if family_of(p) == family_of(part.program)]
        ranked = sorted(alike, key=lambda p: abs(p - part.program)) + sorted(range(128), key=lambda p: abs(p - part.program))
        taken[part.number] = next((p for p in ranked if p not in used), part.program)
    return taken


__all__ = ["Canvas", "View", "follow"]
