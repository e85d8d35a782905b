"""New notes into an existing file, and nothing else changed: the splice law.

A `Song` is a file seen as parts (a channel of a track) and bars. `splice` takes out the notes that start in the cells of a
hole and puts new ones there; every other event keeps its tick, its bytes and its order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from midivibe.errors import MidiError
from midivibe.midi.instruments import name_of
from midivibe.midi.notes import DRUMS
from midivibe.midi.smf import (
    END_OF_TRACK,
    NOTE_OFF,
    NOTE_ON,
    PROGRAM_CHANGE,
    TRACK_NAME,
    Event,
    MidiFile,
    meta,
)
from midivibe.midi.song import DRUM_CHANNEL, NewNote, Part, Song

FOREVER = 2**62
"""A tick after the end of any file."""

Change = tuple[Part, Sequence[tuple[int, int]], Sequence[NewNote]]
"""A part, its holes as runs of ticks, and the notes to put there."""


def fit_between(song: Song, changes: Sequence[Change], beyond: bool = False) -> list[Change]:
    """The changes with notes that keep the law: each starts in its hole, has a length, and overlaps none of its pitch.

    A note ends at the latest where its hole ends or where the next note of its pitch and channel begins. It is left out where
    one still sounds. No note ends after its track, unless the hole reaches past the end of the whole file, the track is new,
    or the file is to go on (`beyond`).
    """
    file_end = max(track.end for track in song.file.tracks)
    holes_of = {(part.track, part.channel): holes for part, holes, _ in changes}
    sounding: dict[tuple[int, int], Busy] = defaultdict(Busy)
    for part in song.parts:
        holes = holes_of.get((part.track, part.channel), ())
        for note in part.notes:
            if not _within(note.start, holes):
                sounding[part.channel, note.pitch].add(note.start, note.end)
    for track, indices in song.stray.items():
        for index in indices:  # a note-on that nothing ends sounds on
            event = song.file.tracks[track].events[index]
            if event.is_on and not _within(event.tick, holes_of.get((track, event.channel), ())):
                sounding[event.channel, event.data[1]].add(event.tick, FOREVER)
    fitted: list[Change] = []
    for part, holes, new in changes:
        track_end = song.file.tracks[part.track].end
        limits = [(low, high if beyond or high > file_end or not track_end else min(high, track_end)) for low, high in holes]
        placed: dict[int, list[NewNote]] = defaultdict(list)
        for wanted in sorted(new, key=lambda n: (n.start, n.pitch, -n.end)):
            hole = next(((low, high) for low, high in limits if low <= wanted.start < high), None)
            if hole is None:
                continue
            end = sounding[part.channel, wanted.pitch].free_until(wanted.start)
            fits = replace(wanted, end=min(max(wanted.end, wanted.start + 1), hole[1], end))
            before = placed[wanted.pitch][-1] if placed[wanted.pitch] else None
            if fits.end <= fits.start or (before is not None and before.start == fits.start):
                continue
            if before is not None and before.end > fits.start:
                placed[fits.pitch][-1] = replace(before, end=fits.start)
            placed[fits.pitch].append(fits)
        notes = sorted((n for found in placed.values() for n in found), key=lambda n: (n.start, n.pitch))
        for placed_note in notes:
            sounding[part.channel, placed_note.pitch].add(placed_note.start, placed_note.end)
        fitted.append((part, holes, notes))
    return fitted


class Busy:
    """The spans of ticks in which one pitch of one channel sounds."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []
        self._starts: list[int] | None = None
        self._latest: list[int] = []

    def add(self, start: int, end: int) -> None:
        """A further span, from `start` until before `end`."""
        self._spans.append((start, end))
        self._starts = None

    def free_until(self, tick: int) -> int:
        """When the next span begins after a tick; the tick itself where one sounds or begins there."""
        if self._starts is None:
            self._spans.sort()
            self._starts = [start for start, _ in self._spans]
            self._latest = list(accumulate((end for _, end in self._spans), max))
        at = bisect_right(self._starts, tick)
        if at and (self._latest[at - 1] > tick or self._starts[at - 1] == tick):
            return tick
        return self._starts[at] if at < len(self._starts) else FOREVER


def _within(tick: int, holes: Sequence[tuple[int, int]]) -> bool:
    """Whether a tick lies in one of the holes, which rise."""
    at = bisect_right(holes, (tick, FOREVER))
    return at > 0 and tick < holes[at - 1][1]


def splice(song: Song, changes: Sequence[Change]) -> MidiFile:
    """The song's file with the notes that start in the holes of each part replaced by new ones, as `fit_between` left them.

    At a tick, new note-offs come before the events of the file and new note-ons after.
    """
    file = song.file
    by_track: dict[int, list[Change]] = defaultdict(list)
    for change in changes:
        by_track[change[0].track].append(change)
    for index, here in by_track.items():
        events = song.file.tracks[index].events
        gone: set[int] = set()
        fresh: list[tuple[tuple[int, int, int], Event]] = []
        for part, holes, new in here:
            erased = [n for n in part.notes if _within(n.start, holes)]
            gone.update(n.on for n in erased)
            gone.update(n.off for n in erased)
            gone.update(i for i in song.stray[index] if events[i].channel == part.channel and _within(events[i].tick, holes))
            offs = Counter(events[n.off].status for n in part.notes)
            plain_off = bool(offs) and offs[NOTE_ON] > offs[NOTE_OFF]  # the file ends its notes with note-on, velocity 0
            for note in new:
                on = bytes([NOTE_ON | part.channel, note.pitch, note.velocity])
                status = NOTE_ON if plain_off else NOTE_OFF
                off = bytes([status | part.channel, note.pitch, 0])
                fresh.append(((note.start, 2, 0), Event(note.start, on)))
                fresh.append(((note.end, 0, 0), Event(note.end, off)))
        if not fresh and not gone:
            continue
        ordered = [((e.tick, 1, i), e) for i, e in enumerate(events) if i not in gone and not e.is_meta(END_OF_TRACK)]
        merged = [event for _, event in sorted(ordered + fresh, key=lambda pair: pair[0])]
        last = max([song.file.tracks[index].end, *(e.tick for e in merged[-1:])])
        file = file.with_track(index, [*merged, meta(last, END_OF_TRACK, b"")])
    return file


def new_part(song: Song, program: int, taken: set[int], name: str = "") -> tuple[Part, list[Event]]:
    """A part for a new track on a free channel, and the events that open it.

    Raises:
        MidiError: no channel is free.
    """
    free = [c for c in range(16) if c != DRUM_CHANNEL and c not in song.used_channels and c not in taken]
    if program == DRUMS:
        channel = DRUM_CHANNEL
    elif not free:
        raise MidiError(f"no channel is free for {name_of(program).lower()}: a MIDI file has 15 beside the drums")
    else:
        channel = free[0]
    name = name or name_of(program)
    events = [meta(0, TRACK_NAME, name.encode())]
    if program != DRUMS:
        events.append(Event(0, bytes([PROGRAM_CHANGE | channel, program])))
    events.append(meta(0, END_OF_TRACK, b""))
    number = len(song.parts) + len(taken) + 1
    return Part(number, len(song.file.tracks), channel, name, program, []), events


__all__ = ["Change", "fit_between", "new_part", "splice"]
