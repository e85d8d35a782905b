"""The plan that music has already: its form, the bars that return, and the chords of every bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from midivibe.midi.notes import Notes
from midivibe.plan.bars import bars_of
from midivibe.plan.chords import NO_CHORD, Chord, changes, chords_of
from midivibe.plan.form import CONFIDENT, Form, Section, repeats_of, sections_of
from midivibe.tokens.leads import Lead


@dataclass(frozen=True)
class Reading:
    """Of a piece of n bars: its form, the earlier bar that each bar repeats (n), and each bar's chords.

    `repeats` is -1 where a bar repeats none. Chords are (ticks after the bar line, chord), the first of a bar at 0.
    """

    form: Form
    repeats: np.ndarray
    chords: list[tuple[tuple[int, Chord], ...]]

    @classmethod
    def of(cls, notes: Notes, markers: Sequence[tuple[int, str]] = ()) -> Reading:
        """Read notes on a grid; `markers` are ticks and texts of the same grid. Chords change at half bars at most."""
        labels = chords_of(notes)
        bars = bars_of(notes, labels)
        starting: list[list[tuple[int, Chord]]] = [[] for _ in range(notes.bars)]
        for bar, tick, chord in changes(labels):
            starting[bar].append((tick, chord))
        sounding, chords = NO_CHORD, []
        for found in starting:
            here = found if found and found[0][0] == 0 else [(0, sounding), *found]
            chords.append(tuple(here))
            sounding = here[-1][1]
        return cls(sections_of(notes, markers, labels, bars), repeats_of(notes, bars, labels), chords)

    @property
    def sections(self) -> tuple[Section, ...]:
        """Those of the form, where it is sure enough to be trusted."""
        return self.form.sections if self.form.confidence >= CONFIDENT else ()

    def following(self, chords: Mapping[int, tuple[tuple[int, Chord], ...]]) -> Reading:
        """The same with other chords in some bars."""
        return replace(self, chords=[chords.get(bar, old) for bar, old in enumerate(self.chords)])

    def leads(self, first: int, last: int, shift: int = 0) -> list[Lead]:
        """What the bars [first, last) say of it as a window of their own, with chords moved by `shift` semitones."""
        section_of = {bar: s for s in self.sections for bar in range(max(s.start, first), min(s.end, last))}
        leads = []
        for bar in range(first, last):
            section, source = section_of.get(bar), int(self.repeats[bar])
            opens = section is not None and bar in (first, section.start)
            leads.append(
                Lead(
                    section.letter if section and opens else "",
                    section.end - bar if section and opens else 0,
                    bar - source if source >= first else 0,
                    tuple((tick, c.root, c.quality) for tick, c in ((t, c.transposed(shift)) for t, c in self.chords[bar])),
                )
            )
        return leads


__all__ = ["Reading"]
