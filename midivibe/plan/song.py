"""The plan of a song: the key, tempo, meter, form and chords that its notes have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from symusic import Score, TimeSignature

from midivibe.errors import MidiError
from midivibe.midi.bars import Meter
from midivibe.midi.beats import ON_GRID, beat_strength
from midivibe.midi.notes import Notes
from midivibe.midi.score import note_table, read
from midivibe.plan.chords import chords_of
from midivibe.plan.form import CONFIDENT
from midivibe.plan.plan import Plan, key_of
from midivibe.plan.reading import Reading

NO_METER = (1, 4)
"""What most files of POP909 say; it groups nothing."""


@dataclass(frozen=True)
class SongPlan:
    """The plan of a song; where its form comes from, and what to know before trusting it, both for people to read."""

    plan: Plan
    form_from: str
    warnings: tuple[str, ...] = ()


def plan_of_song(path: str | Path) -> SongPlan:
    """Read the plan of a MIDI file. Style and instruments are left open.

    The meter is that of most bars, the tempo the middle one of all bars.

    Raises:
        MidiError: a file that cannot be read, or has no notes.
    """
    score = read(path)
    notes = note_table(score)
    if not len(notes):
        raise MidiError(f"{path} has no notes")
    warnings = []
    if most(notes.bar_meter) == NO_METER:
        notes = in_fours(score, notes)
        warnings.append("it says 1/4, which is no meter; it was read in 4/4")
    reading = Reading.of(notes, [(m.time, m.text) for m in score.markers])
    form = reading.form
    chords = tuple(tuple(chord for _, chord in bar) for bar in reading.chords)
    tonal = any(chord.root >= 0 for bar in chords for chord in bar)
    meter = most(notes.bar_meter)
    tempo = round(float(np.median(notes.bar_tempo)), 2)
    if beat_strength(notes) < ON_GRID:
        warnings.append("its notes do not keep to the beats of the file; bars, form and chords may be wrong")
    if len(set(notes.bar_meter[1:])) > 1:
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


def most(meters: Sequence[Meter]) -> Meter:
    """The meter of most bars, the earliest of equals."""
    return max(dict.fromkeys(meters), key=meters.count)


def in_fours(score: Score, beats: Notes) -> Notes:
    """The notes of a score in 4/4, after a shorter bar where most chords change on another beat; `beats` has a bar a beat."""
    labels = chords_of(beats)
    new = np.flatnonzero((np.diff(labels.root) != 0) | (np.diff(labels.quality) != 0)) + 1
    pickup = int(np.bincount(new % 4, minlength=4).argmax())
    fours = score.copy()
    fours.time_signatures = [TimeSignature(0, pickup, 4)] if pickup else []
    fours.time_signatures.append(TimeSignature(pickup * score.ticks_per_quarter, 4, 4))
    return note_table(fours)


__all__ = ["SongPlan", "plan_of_song"]
