"""What a caller fixes before a sequence is written: `grammar.Grammar` keeps to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Opening:
    """How a bar begins: ids that it must say, and what the model may or must then say by itself."""

    ids: tuple[int, ...] = ()
    returns: bool = False
    """whether the model may say which bar it repeats"""
    chords: bool = False
    """whether the model writes its chords"""
    coming: int = 0
    """code of the first chord of the bar after it, where a plan gives it"""


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
    most_rests: Mapping[int, int] = field(default_factory=dict)
    """program → cells in a row that it may leave empty in a fill; those that are not named rest as they like"""
    rhythm: Mapping[tuple[int, int], Sequence[int]] | None = None
    """(bar, program) → ids of a cell whose onsets, velocities and durations the fill repeats; its pitches are free"""
    pitches: Callable[[str, int], tuple[int, int]] | None = None
    """(mode, program) → lowest and highest pitch it may play, in the key that is modelled"""
    closing: Callable[[str, int], Sequence[int]] | None = None
    """(mode, program) → its pitch classes in the last bar, which then closes: onsets in its first half, a beat or longer"""
    plan: Callable[[int], Opening] | None = None
    """what each bar of the window says before its notes; without it bars say nothing"""


__all__ = ["Opening", "Rules"]
