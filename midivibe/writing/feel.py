"""Fills back to the file: notes on the grid become notes in ticks, with the timing and velocities of their neighbours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from midivibe.midi.notes import DRUMS, bar_at
from midivibe.midi.smf import FileNote
from midivibe.midi.song import NewNote, Part
from midivibe.tokens.vocabulary import GRID_TICKS
from midivibe.writing.canvas import Canvas

NEAR_BARS = 16
"""How far off the notes may be whose feel new notes take."""
ENOUGH_NOTES = 8
"""Notes of its own near a hole from which a part's feel is its own; else it is that of all parts."""
ENOUGH_AT_A_PLACE = 3
"""Notes at one twelfth of a beat from which it has a timing of its own."""


def new_notes(
    canvas: Canvas, part: Part, holes: Sequence[int], rng: np.random.Generator, keep_rhythm: bool = False
) -> list[NewNote]:
    """What was written in the erased bars of a part (bars of the file), in ticks of the file, with its neighbours' feel.

    With `keep_rhythm` a note takes start, end and velocity of the one that stood in its place.
    """
    song, program = canvas.song, canvas.program_of[part.number]
    grid_bars = np.repeat(np.arange(song.bars), np.diff(canvas.first_bar))
    written = canvas.written
    rows = np.flatnonzero(written.program == program)
    bar = bar_at(canvas.grid_start, written.onset[rows])
    rows = rows[np.isin(grid_bars[bar], holes)]
    if program == DRUMS and sum(p.program == DRUMS for p in canvas.parts) > 1:
        kit = {n.pitch for n in part.notes}
        rows = rows[[int(p) in kit for p in written.pitch[rows]]] if kit else rows
    offsets, residuals = _feel(canvas, part, holes)
    scale = song.ticks_per_beat / GRID_TICKS
    found = []
    old = _by_onset(canvas, part, holes) if keep_rhythm else {}
    for row in rows:
        onset = int(written.onset[row])
        if keep_rhythm and old.get(onset):
            model = old[onset].pop(0)  # lowest first, as the new ones come
            found.append(NewNote(model.start, model.end, int(written.pitch[row]), model.velocity))
            continue
        file_bar = int(grid_bars[bar_at(canvas.grid_start, np.array(onset))])
        low, high = int(song.bar_start[file_bar]), int(song.bar_start[file_bar + 1])
        within = onset - int(canvas.grid_start[canvas.first_bar[file_bar]])
        exact = low + round(within * scale)
        if exact >= high:
            continue  # the model's bar is longer than the file's
        tick = min(max(exact + offsets[within % GRID_TICKS], low), high - 1)
        length = max(1, round(int(written.duration[row]) * scale))
        velocity = int(written.velocity[row]) + (int(rng.choice(residuals)) if len(residuals) else 0)
        found.append(NewNote(tick, tick + length, int(written.pitch[row]), min(max(velocity, 1), 127)))
    return found


def _by_onset(canvas: Canvas, part: Part, holes: Sequence[int]) -> dict[int, list[FileNote]]:
    """The erased notes of a part by their onset on the grid, each onset's from low to high."""
    found: dict[int, list[FileNote]] = defaultdict(list)
    scale = GRID_TICKS / canvas.song.ticks_per_beat
    for note, bar in zip(part.notes, canvas.song.bar_of([n.start for n in part.notes]).tolist(), strict=True):
        if bar in holes:
            within = int(np.floor((note.start - int(canvas.song.bar_start[bar])) * scale + 0.5))
            found[int(canvas.grid_start[canvas.first_bar[bar]]) + within].append(note)
    return {onset: sorted(notes, key=lambda n: n.pitch) for onset, notes in found.items()}


def _feel(canvas: Canvas, part: Part, holes: Sequence[int]) -> tuple[list[int], np.ndarray]:
    """Median distance to the grid for each twelfth of a beat, in ticks, and the scatter of velocities about the model's."""
    song = canvas.song
    scale = song.ticks_per_beat / GRID_TICKS
    low, high = min(holes) - NEAR_BARS, max(holes) + NEAR_BARS
    erased = set(holes)

    def near(parts: Sequence[Part]) -> list[tuple[int, float, int]]:
        found = []
        for p in parts:
            bars = song.bar_of([n.start for n in p.notes]).tolist() if p.notes else []
            for note, bar in zip(p.notes, bars, strict=True):
                if low <= bar <= high and bar not in erased:
                    place = (note.start - int(song.bar_start[bar])) / scale
                    found.append((round(place) % GRID_TICKS, (place - round(place)) * scale, note.velocity))
        return found

    own = near([part])
    neighbours = own if len(own) >= ENOUGH_NOTES else near(canvas.parts)
    by_place: dict[int, list[float]] = defaultdict(list)
    for place, distance, _ in neighbours:
        by_place[place].append(distance)
    overall = float(np.median([d for _, d, _ in neighbours])) if neighbours else 0.0
    offsets = [
        round(float(np.median(by_place[i])) if len(by_place[i]) >= ENOUGH_AT_A_PLACE else overall) for i in range(GRID_TICKS)
    ]
    velocities = np.array([v for _, _, v in own], dtype=np.int64)
    known = canvas.v.velocities
    nearest = known[np.abs(known[None, :] - velocities[:, None]).argmin(1)] if len(velocities) else velocities
    return offsets, velocities - nearest


__all__ = ["new_notes"]
