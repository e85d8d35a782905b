"""The `Notes` table: the flat, NumPy view of music that feature code works on. One row a note, times in ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

DRUMS = -1
"""The program number that stands for a drum kit (MidiTok's convention)."""

COLUMNS = ("onset", "duration", "pitch", "velocity", "program")


def bar_at(bar_start: np.ndarray, ticks: np.ndarray) -> np.ndarray:
    """The bar, from 0, in which each tick lies, given the tick of each bar line; -1 before the first."""
    return np.searchsorted(bar_start, ticks, side="right") - 1


@dataclass(frozen=True)
class Notes:
    """Notes of a score as columns (N notes each), sorted by onset, with the bar lines they stand between.

    onset, duration in ticks; pitch and velocity 0..127; program 0..127 or DRUMS. `bar_start` holds the tick of each bar
    line, its end included (bars + 1 values); `bar_tempo` (beats a minute) and `bar_meter` are per bar.
    """

    onset: np.ndarray
    duration: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    program: np.ndarray
    ticks_per_beat: int
    bar_start: np.ndarray
    bar_tempo: np.ndarray
    bar_meter: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.onset)

    @property
    def bars(self) -> int:
        return len(self.bar_start) - 1

    @cached_property
    def bar(self) -> np.ndarray:
        """The bar, from 0, in which each note begins: (N,)."""
        return bar_at(self.bar_start, self.onset)

    @cached_property
    def pitched(self) -> np.ndarray:
        """Which notes are no drums: (N,) bool."""
        pitched: np.ndarray = self.program != DRUMS
        return pitched

    def take(self, rows: np.ndarray) -> Notes:
        """The notes of some rows, as indices or a mask, between the same bar lines."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in COLUMNS}
        return replace(self, **columns)

    def ordered(self) -> Notes:
        """The same notes sorted by onset, program and pitch."""
        return self.take(np.lexsort((self.pitch, self.program, self.onset)))

    def joined(self, other: Notes) -> Notes:
        """The notes of both, which have the same bars; sorted by onset, program and pitch."""
        return replace(self, **_columns_of([self, other])).ordered()

    def window(self, first: int, last: int, programs: set[int] | None = None, cut: bool = True) -> Notes:
        """Bars first..last-1 (from 0), with ticks counted from the window's start; notes end with it unless `cut` is off."""
        low, high = int(self.bar_start[first]), int(self.bar_start[last])
        rows = np.arange(*np.searchsorted(self.onset, [low, high]))
        if programs is not None:
            rows = rows[np.isin(self.program[rows], list(programs))]
        inside = self.take(rows)
        return replace(
            inside,
            onset=inside.onset - low,
            duration=np.minimum(inside.duration, high - inside.onset) if cut else inside.duration,
            bar_start=self.bar_start[first : last + 1] - low,
            bar_tempo=self.bar_tempo[first:last],
            bar_meter=self.bar_meter[first:last],
        )


def concatenate(windows: Sequence[Notes]) -> Notes:
    """Windows on one grid, one after the other."""
    starts = np.cumsum([0] + [int(w.bar_start[-1]) for w in windows])
    every = list(zip(windows, starts.tolist(), strict=False))
    columns = _columns_of(windows)
    columns["onset"] = np.concatenate([w.onset + at for w, at in every])
    return Notes(
        **columns,
        ticks_per_beat=windows[0].ticks_per_beat,
        bar_start=np.concatenate([*(w.bar_start[:-1] + at for w, at in every), starts[-1:]]),
        bar_tempo=np.concatenate([w.bar_tempo for w in windows]),
        bar_meter=[meter for w in windows for meter in w.bar_meter],
    )


def _columns_of(tables: Sequence[Notes]) -> dict[str, Any]:
    """The columns of several tables, one under the other."""
    return {name: np.concatenate([getattr(table, name) for table in tables]) for name in COLUMNS}
