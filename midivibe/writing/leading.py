"""The plan while a piece is written: what each bar says before its notes, and which bars a window begins with.

Bars count from the start of the piece, places from the start of a window. Chords are in the modelled key.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midivibe.midi.bars import bar_ticks
from midivibe.plan.chords import Chord
from midivibe.plan.plan import BarChords, Plan
from midivibe.tokens.leads import ChordAt, Lead, chord_code, chords_in
from midivibe.tokens.rules import Opening
from midivibe.tokens.vocabulary import BAR, GRID_TICKS, PROGRAM, RETURN, Vocabulary

LATEST = 8
"""Bars just before a window that it begins with, where nothing returns: half of the longest windows of training."""
FEWEST_TO_CLOSE = 4
"""Bars from which on a piece has an ending; shorter ones are loops."""
RETURNING = 4
"""Bars of a section that returns that are written in one window, after those that they return to."""
CONTEXT_SHARE, RETURNING_SHARE = 2 / 5, 1 / 2
"""Of a block that the bars may take with which a window begins; the rest is for new ones."""


class Leading:
    """Knows the sections and chords that are asked for, and those of the bars that are written."""

    def __init__(self, v: Vocabulary, plan: Plan, meter: tuple[int, int], shift: int, mode: str = "major") -> None:
        """`shift` semitones lead from the modelled key, C major or A minor by `mode`, to the piece's own.

        A piece closes on its tonic, where no other chord is asked for in its last bar.
        """
        self.v, self.plan = v, plan
        ticks = bar_ticks(GRID_TICKS, meter)
        self.asked: list[tuple[tuple[int, Chord], ...]] = [
            tuple((i * ticks // len(bar), chord.transposed(-shift)) for i, chord in enumerate(bar)) for bar in plan.chords
        ] or [()] * plan.bars
        """of each bar the chords that are asked for, as (ticks after the bar line, chord)"""
        tonic = Chord(9, "min") if mode == "minor" else Chord(0, "maj")
        self.closes = plan.bars >= FEWEST_TO_CLOSE and all(chord.root == tonic.root for _, chord in self.asked[-1])
        if self.closes and not self.asked[-1]:
            self.asked[-1] = ((0, tonic),)
        self.written: list[tuple[ChordAt, ...]] = []
        """chords of each bar that is written"""
        self.sources: list[int | None] = []
        """the bar that each repeats"""

    def take(self, ids: Sequence[int], window: Sequence[int]) -> None:
        """Note the plan of the next bar, from its ids; `window` are the bars of the window in which it was written."""
        back = next((int(self.v.value[t]) for t in self._prefix(ids) if self.v.type[t] == RETURN), 0)
        bar = len(self.written)
        self.sources.append(window[list(window).index(bar) - back] if back else None)
        self.written.append(chords_in(self._prefix(ids), self.v))

    def _prefix(self, ids: Sequence[int]) -> list[int]:
        end = next((i for i, t in enumerate(ids) if self.v.type[t] == PROGRAM), len(ids))
        return list(ids[:end])

    def chords(self, bar: int) -> tuple[ChordAt, ...]:
        """The chords that a bar has, is to have, or returns to; none where they are open."""
        if bar < len(self.written):
            return self.written[bar]
        if bar < self.plan.bars and self.asked[bar]:
            return tuple((tick, chord.root, chord.quality) for tick, chord in self.asked[bar])
        return next((self.written[b] for b in self.plan.earlier(bar) if b < len(self.written)), ())

    def progression(self, shift: int) -> tuple[BarChords, ...]:
        """The chords of all bars in the piece's own key, those that were asked for or that the bars have said."""
        said = [tuple(Chord(root, quality).transposed(shift) for _, root, quality in bar) for bar in self.written]
        said += [()] * (self.plan.bars - len(said))
        found = tuple(asked or heard for asked, heard in zip(self.plan.chords or [()] * len(said), said, strict=False))
        return found if any(found) else ()

    def lead(self, window: Sequence[int], place: int) -> Lead:
        """What a bar of a window says of itself, as far as it is known."""
        bar = window[place]
        section = self.plan.section_at(bar)
        opens = section is not None and (place == 0 or bar == section.start or window[place - 1] != bar - 1)
        if bar < len(self.written):
            source = self.sources[bar]
        else:
            source = next((b for b in self.plan.earlier(bar) if b in window[:place]), None)
        return Lead(
            section.letter if section and opens else "",
            section.end - bar if section and opens else 0,
            place - list(window).index(source) if source is not None and source in window[:place] else 0,
            self.chords(bar),
        )

    def opening(self, window: Sequence[int], place: int) -> Opening:
        """How a bar of a window begins; those that are written before the window are there already."""
        after = self.chords(window[place] + 1) if window[place] + 1 < self.plan.bars else ()
        coming = chord_code(*after[0][1:]) if after and window[place + 1 : place + 2] == [window[place] + 1] else 0
        if window[place] < len(self.written):
            return Opening(coming=coming)
        lead = self.lead(window, place)
        return Opening(tuple(lead.ids(self.v)), not lead.back, not lead.chords, coming)

    def said(self, ids: Sequence[int], window: Sequence[int], place: int) -> list[int]:
        """The ids of a written bar as it says its plan in another window."""
        if not self.v.plans:
            return list(ids)
        assert self.v.type[ids[0]] == BAR
        return [ids[0], *self.lead(window, place).ids(self.v), *ids[len(self._prefix(ids)) :]]

    def context(self, bars: Sequence[Sequence[int]], block: int) -> tuple[list[int], int]:
        """The bars that the next window begins with, and how many new bars it may hold at most (0: as many as fit).

        Where the next bar returns, those to which the next ones return, then the latest.
        """
        done = len(bars)
        sources = self._returning(done) if self.v.plans else []
        room = int((RETURNING_SHARE if sources else CONTEXT_SHARE) * block)
        sources = sources[: max(1, _fitting([bars[b] for b in sources], int(room * 2 / 3)))]
        room -= sum(len(bars[b]) for b in sources)
        latest = range(max(max(sources, default=-1) + 1, done - LATEST), done)
        count = _fitting([bars[b] for b in reversed(latest)], room)
        count = max(count, not sources and done > 0)  # the bar before in any case
        context = [*sources, *latest[len(latest) - count :]]
        return context, len(sources) or self._until_return(done, context)

    def _until_return(self, done: int, context: Sequence[int]) -> int:
        """Bars until one that returns to a bar which neither these are nor the window will hold; 0 where there is none."""
        if not self.v.plans:
            return 0
        held = {*context, *range(done, self.plan.bars)}
        far = (
            b - done for b in range(done + 1, self.plan.bars) if self.plan.earlier(b) and self.plan.earlier(b)[0] not in held
        )
        return next(far, 0)

    def _returning(self, done: int) -> list[int]:
        """The bars to which the next ones return, one after the other, of those that are no longer just behind."""
        found: list[int] = []
        for bar in range(done, min(done + RETURNING, self.plan.bars)):
            source = next(iter(self.plan.earlier(bar)), None)
            if source is None or source >= done or (found and source != found[-1] + 1):
                break
            found.append(source)
        return found


def _fitting(bars: Sequence[Sequence[int]], room: int) -> int:
    """How many of some bars, from the first on, take so many ids at most."""
    return int(np.searchsorted(np.cumsum([len(ids) for ids in bars]), room, side="right"))


__all__ = ["Leading"]
