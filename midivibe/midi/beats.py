"""Whether notes keep to the beat of their file, and putting a performance on the beats that somebody marked for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from symusic import Score

from midivibe.errors import MidiError
from midivibe.midi.notes import Notes
from midivibe.midi.score import FILE_TICKS, note_columns

ON_GRID = 0.5
"""Least `beat_strength` of a file whose ticks mean beats. The 5th percentile of the band corpus is .75, the median of
EMOPIA's free performances .11, of Groove's drummers, who played to a click, .63."""

EARLY = 0.25
"""How many beats a note may come before the first marked beat without opening a bar of its own: a sixteenth."""


def beat_strength(notes: Notes) -> float:
    """How sharply onsets gather at one place in the sixteenth or triplet, 0 (anywhere) to 1 (all at the same).

    The length of the mean of exp(2πi·k·onset) with onsets in beats, the largest of k = 3, 4 and 6 steps a beat: the
    Rayleigh statistic of circular data (Mardia & Jupp 2000). A constant shift against the beat does not lower it.
    """
    if not len(notes):
        return 0.0
    phase = notes.onset / notes.ticks_per_beat
    return float(max(abs(np.exp(2j * np.pi * k * phase).mean()) for k in (3, 4, 6)))


def read_beats(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """POP909's beat_midi.txt: the time of each beat in seconds (N,), rising, and whether it opens a bar (N,).

    Raises:
        MidiError: the file is no such table.
    """
    try:
        table = np.loadtxt(path, ndmin=2)
        beats, down = table[:, 0], table[:, 2] > 0.5
    except (OSError, ValueError, IndexError) as error:
        raise MidiError(f"cannot read beats from {path}: {error}") from error
    if len(beats) < 4 or (np.diff(beats) <= 0).any() or not np.isfinite(beats).all():
        raise MidiError(f"{path} does not hold rising beat times")
    return beats, down


def on_beats(score: Score, beats: np.ndarray, down: np.ndarray) -> Notes:
    """A performance with its notes moved onto marked beats: ticks follow the beats, bars the downbeats.

    `beats` (N,) seconds, `down` (N,) bool. Between two beats time runs evenly; before the first and after the last at
    the pace of the nearest ones.
    """
    start, length, pitch, velocity, program = (c.astype(float) for c in note_columns(score.to("second")))
    stop = start + length
    early = (beats[0] - start.min(initial=beats[0])) / (beats[1] - beats[0])
    before = int(np.ceil(early - EARLY))
    after = int(np.ceil(max(0.0, stop.max(initial=beats[-1]) - beats[-1]) / (beats[-1] - beats[-2]))) + 1
    times = np.concatenate(
        [
            beats[0] - (beats[1] - beats[0]) * np.arange(before, 0, -1),
            beats,
            beats[-1] + (beats[-1] - beats[-2]) * np.arange(1, after + 1),
        ]
    )
    lines = np.flatnonzero(down) + before
    if not len(lines):
        lines = np.arange(before, len(times), 4)
    while lines[-1] + 4 < len(times):
        lines = np.append(lines, lines[-1] + 4)
    lines = np.unique(np.concatenate([[0], lines, [len(times) - 1]]))
    index = np.arange(len(times)) * FILE_TICKS
    onset = np.round(np.interp(start, times, index)).astype(np.int64)
    end = np.round(np.interp(stop, times, index)).astype(np.int64)
    lengths = np.diff(lines)
    tempo = 60 * lengths / np.diff(times[lines])
    meters = [(int(n), 4) for n in lengths]
    pitch, velocity, program = (column.astype(np.int64) for column in (pitch, velocity, program))
    duration = np.maximum(end - onset, 1)
    return Notes(onset, duration, pitch, velocity, program, FILE_TICKS, lines * FILE_TICKS, tempo, meters).ordered()


__all__ = ["ON_GRID", "beat_strength", "on_beats", "read_beats"]
