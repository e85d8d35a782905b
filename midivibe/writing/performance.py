"""How written notes are played: accents, dynamics, levels and pan, in a Score that a DAW opens as expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from symusic import ControlChange, KeySignature, Note, Score, Tempo, TextMeta, TimeSignature, Track

from midivibe.midi.instruments import family_of, name_of
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.score import FILE_TICKS
from midivibe.midi.theory import Key
from midivibe.vibe.axes import AXES, Vibe

MARKED_BARS = 8
"""Bars from marker to marker in music without sections."""
DYNAMICS = 18
"""How much louder the liveliest request is played than the calmest, in velocity, beyond what the model does. Performances
rated from calm to lively differ by 36 (EMOPIA); the model gave pictures 17, for what is lively in them is tense too."""


def dynamics(notes: Notes, vibe_at: Callable[[int], Vibe], first: int = 0) -> Notes:
    """The notes louder or softer by the arousal asked for at their bars; `first` is the bar with which the notes begin."""
    axis, level = AXES.index("arousal"), np.zeros(len(notes))
    for bar in np.unique(notes.bar):
        asked = vibe_at(first + int(bar)).array()
        if asked[len(AXES) + axis] > 0:
            level[notes.bar == bar] = DYNAMICS / 2 * asked[axis]
    return replace(notes, velocity=(notes.velocity + np.rint(level).astype(int)).clip(1, 127))


def finish(
    notes: Notes, programs: Sequence[int], tempo: float, key: Key, silent: bool = False, marks: Sequence[tuple[int, str]] = ()
) -> Score:
    """Grid notes → a Score at 480 ticks a beat that a DAW opens as expected: named parts, levels, pan, key, markers.

    A part keeps one velocity in bars where it was written with one, as half of people's parts do throughout (pads, organs); in
    others it gets accents.
    Notes of one pitch never overlap and none outlasts the last bar. Parts without notes are left out unless `silent`.
    `marks` are markers as (bar from 0, text).
    """
    scale = FILE_TICKS // notes.ticks_per_beat
    end = int(notes.bar_start[-1])
    score = Score(FILE_TICKS)
    score.tempos.append(Tempo(0, tempo))
    score.time_signatures.append(TimeSignature(0, *notes.bar_meter[0]))
    score.key_signatures.append(KeySignature(0, key.sharps, int(key.mode == "minor")))
    for bar, text in marks or [(bar, f"Bar {bar + 1}") for bar in range(0, notes.bars, MARKED_BARS)]:
        score.markers.append(TextMeta(int(notes.bar_start[bar]) * scale, text))
    parts = [p for p in dict.fromkeys(programs) if silent or (notes.program == p).any()]
    parts.sort(key=lambda p: (p == DRUMS, p // 8 == 4))  # bass and drums stand last, as in most sessions
    for place, program in enumerate(parts):
        track = Track(name_of(program), max(program, 0), program == DRUMS)
        rows = np.flatnonzero(notes.program == program)
        next_onset: dict[int, int] = {}
        moving = _moving(notes.take(rows))
        made = []
        for row in rows[::-1]:
            onset, pitch = int(notes.onset[row]), int(notes.pitch[row])
            stop = min(onset + int(notes.duration[row]), next_onset.get(pitch, end), end)
            next_onset[pitch] = onset
            velocity = int(notes.velocity[row])
            if moving[int(np.searchsorted(notes.bar_start, onset, side="right")) - 1]:
                velocity = min(velocity, 127 - STRONGEST_ACCENT) + accent(onset, notes)
            made.append(Note(onset * scale, (stop - onset) * scale, pitch, max(1, velocity)))
        for note in reversed(made):
            track.notes.append(note)
        track.controls.append(ControlChange(0, 7, _LEVEL.get(family_of(program), 90)))
        track.controls.append(ControlChange(0, 10, _pan(program, place, len(parts))))
        score.tracks.append(track)
    return score


def _moving(part: Notes) -> np.ndarray:
    """In which bars a part has more than one velocity: (bars,)."""
    least, most = np.full(part.bars, 128), np.full(part.bars, -1)
    np.minimum.at(least, part.bar, part.velocity)
    np.maximum.at(most, part.bar, part.velocity)
    moving: np.ndarray = most > least
    return moving


STRONGEST_ACCENT = 6


def accent(onset: int, notes: Notes) -> int:
    """What an onset's place in bar and phrase adds to its velocity (-3 to STRONGEST_ACCENT).

    The model knows 12 velocities, some 10 apart; inside such a step, downbeats and beats are played a little louder, and
    four-bar phrases swell, as a player would.
    """
    bar = int(np.searchsorted(notes.bar_start, onset, side="right")) - 1
    place = onset - int(notes.bar_start[bar])
    beat = notes.ticks_per_beat
    metrical = 4 if place == 0 else 2 if place % beat == 0 else 0 if 2 * place % beat == 0 else -2
    return metrical + (0, 1, 2, -1)[bar % 4]


_LEVEL = {
    "bass": 100,
    "drums": 100,
    "piano": 96,
    "strings": 84,
    "ensemble": 80,
    "synth pad": 72,
    "guitar": 88,
    "synth lead": 84,
}


def _pan(program: int, place: int, parts: int) -> int:
    """Bass and drums in the middle, the others spread to both sides."""
    if program == DRUMS or program // 8 == 4 or parts < 3:
        return 64
    aside = min(36, 12 + 8 * (place // 2))
    return 64 - aside if place % 2 else 64 + aside


__all__ = ["accent", "dynamics", "finish"]
