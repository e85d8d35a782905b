"""The plan of a song: the key, tempo, meter, form and chords that its notes have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from midivibe.errors import MidiError
from midivibe.midi.beats import ON_GRID, beat_strength
from midivibe.midi.score import note_table, read
from midivibe.plan.chords import NO_CHORD, Labels, changes, chords_of
from midivibe.plan.form import CONFIDENT, sections_of
from midivibe.plan.plan import BarChords, Plan, key_of


@dataclass(frozen=True)
class SongPlan:
    """The plan of a song; where its form comes from, and what to know before trusting it, both for people to read."""

    plan: Plan
    form_from: str
    warnings: tuple[str, ...] = ()


def plan_of_song(path: str | Path) -> SongPlan:
    """Read the plan of a MIDI file. Style and instruments are left open; meter and tempo are those of most bars.

    Raises:
        MidiError: a file that cannot be read, or has no notes.
    """
    score = read(path)
    notes = note_table(score)
    if not len(notes):
        raise MidiError(f"{path} has no notes")
    labels = chords_of(notes)
    form = sections_of(notes, [(m.time, m.text) for m in score.markers], labels)
    chords = bar_chords(labels, notes.bars)
    tonal = any(chord.root >= 0 for bar in chords for chord in bar)
    meter = max(dict.fromkeys(notes.bar_meter), key=notes.bar_meter.count)
    tempo = round(float(np.median(notes.bar_tempo)), 2)
    warnings = []
    if beat_strength(notes) < ON_GRID:
        warnings.append("its notes do not keep to the beats of the file; bars, form and chords may be wrong")
    if len(set(notes.bar_meter)) > 1:
        warnings.append("its meter changes; the plan has that of most bars, {}/{}".format(*meter))
    if not form.sections:
        how = "not found"
    elif form.marked:
        how = "from its markers"
    else:
        how = "read from its notes" if form.confidence >= CONFIDENT else "a guess from its notes"
    plan = Plan(
        notes.bars, key_of({"": chords}) if tonal else None, tempo if 20 <= tempo <= 300 else None, meter,
        sections=form.sections, chords=chords if tonal else (),
    )  # fmt: skip
    return SongPlan(plan, how, tuple(warnings))


def bar_chords(labels: Labels, bars: int) -> tuple[BarChords, ...]:
    """The chord of each bar, or of each half where they differ."""
    new = {(bar, ticks > 0): chord for bar, ticks, chord in changes(labels)}
    made: list[BarChords] = []
    last = NO_CHORD
    for bar in range(bars):
        first = new.get((bar, False), last)
        last = new.get((bar, True), first)
        made.append((first,) if last == first else (first, last))
    return tuple(made)


__all__ = ["SongPlan", "bar_chords", "plan_of_song"]
