"""The bar grid: where the bar lines of a file fall, and which meter and tempo each bar has. Ticks from the file's start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midivibe.errors import MidiError

Meter = tuple[int, int]
"""(numerator, denominator)"""

MOST_BARS = 20_000
"""Eleven hours of 4/4 at 120 beats a minute. A file with more is damaged, as by a huge delta time, and would fill memory."""

DENOMINATORS = tuple(2**power for power in range(8))
"""Those of meters that are read, 1 to 128: shorter beats appear in damaged files only."""


def is_meter(numerator: int, denominator: int) -> bool:
    """Whether a time signature of a file can be meant: its numerator is a byte above 0, its denominator one of DENOMINATORS."""
    return 0 < numerator < 256 and denominator in DENOMINATORS


def bar_ticks(ticks_per_beat: int, meter: Meter) -> int:
    """The length of a bar in ticks, at least 1; a beat is a quarter note."""
    return max(1, round(ticks_per_beat * 4 * meter[0] / meter[1]))


def bar_grid(
    ticks_per_beat: int, changes: Sequence[tuple[int, Meter]], end: int, more: int = 0
) -> tuple[np.ndarray, list[Meter]]:
    """Bar lines from tick 0 until `end` is reached, and for `more` bars after it: ticks (bars + 1,) and the meter of each bar.

    `changes` are time signatures as (tick, meter), rising; the last of a tick counts. The meter is 4/4 before the first, and a
    change inside a bar waits for the next bar line.

    Raises:
        MidiError: more than MOST_BARS bars.
    """
    starts: list[int] = []
    meters: list[Meter] = []
    tick, meter, seen = 0, (4, 4), 0
    while tick < end or more:
        more -= tick >= end
        while seen < len(changes) and changes[seen][0] <= tick:
            meter = changes[seen][1]
            seen += 1
        if len(starts) >= MOST_BARS:
            raise MidiError(f"the file has more than {MOST_BARS:,} bars")
        starts.append(tick)
        meters.append(meter)
        tick += bar_ticks(ticks_per_beat, meter)
    return np.array([*starts, tick], dtype=np.int64), meters


def tempo_at(changes: Sequence[tuple[int, float]], ticks: np.ndarray) -> np.ndarray:
    """The tempo in beats (quarter notes) a minute at each tick, given its changes as (tick, tempo), rising.

    It is 120 before the first change, as RP-001 says.
    """
    times = [tick for tick, _ in changes]
    tempos = np.array([120.0, *(tempo for _, tempo in changes)])
    return tempos[np.searchsorted(times, ticks, side="right")]


__all__ = ["MOST_BARS", "Meter", "bar_grid", "bar_ticks", "is_meter", "tempo_at"]
