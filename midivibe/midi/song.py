"""A MIDI file as a song: its parts, its bars, and which notes belong to which event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from midivibe.errors import InputError
from midivibe.midi.bars import Meter, bar_grid, is_meter, tempo_at
from midivibe.midi.instruments import family_of, name_of, parse_instrument
from midivibe.midi.notes import DRUMS, bar_at
from midivibe.midi.smf import (
    INSTRUMENT_NAME,
    META,
    PROGRAM_CHANGE,
    SET_TEMPO,
    TIME_SIGNATURE,
    TRACK_NAME,
    FileNote,
    FileTrack,
    MidiFile,
)

DRUM_CHANNEL = 9


@dataclass(frozen=True)
class Part:
    """What a musician calls a track: the notes of one channel in one track of the file."""

    number: int
    """from 1, as in the list that midivibe prints"""
    track: int
    channel: int
    name: str
    program: int
    """the first that it plays; DRUMS for a kit"""
    notes: list[FileNote] = field(repr=False)

    def __str__(self) -> str:
        label, name = name_of(self.program), self.shown
        return f"{self.number} {name}" + (f" ({label})" if name != label else "")

    @property
    def shown(self) -> str:
        """The name as it may go to a terminal: without control characters; the instrument's where there is none."""
        return "".join(c for c in self.name if c.isprintable())[:80].strip() or name_of(self.program)


@dataclass(frozen=True)
class NewNote:
    """A note to put in: ticks of the file."""

    start: int
    end: int
    pitch: int
    velocity: int


class Song:
    """A file with its bars and parts.

    `bar_start` (bars + 1,) are ticks, from the file's time signatures (see `bar_grid`); `meters` and `tempos` (beats a minute)
    are per bar. `stray` holds, for each track, the indices of note events without a partner. `more_bars` adds bars after the
    last.

    Raises:
        MidiError: more than `bars.MOST_BARS` bars.
    """

    def __init__(self, file: MidiFile, more_bars: int = 0) -> None:
        self.file = file
        self.ticks_per_beat = file.ticks_per_beat
        self.parts = _parts(file)
        self.stray = {index: track.notes[1] for index, track in enumerate(file.tracks)}
        notes = [note for part in self.parts for note in part.notes]
        end, latest = max((n.end for n in notes), default=0), max((n.start for n in notes), default=0)
        tail = self.ticks_per_beat // 4 if more_bars else 0  # a sixteenth that is left of a note opens no bar to go on from
        meters, tempos = _meters_and_tempos(file)
        self.bar_start, self.meters = bar_grid(self.ticks_per_beat, meters, max(end - tail, latest + 1), more_bars)
        self.tempos = tempo_at(tempos, self.bar_start[:-1])

    @property
    def bars(self) -> int:
        return len(self.bar_start) - 1

    def bar_of(self, ticks: np.ndarray | Sequence[int]) -> np.ndarray:
        """The bar, from 0, in which each tick lies."""
        return bar_at(self.bar_start, np.asarray(ticks, dtype=np.int64))

    @cached_property
    def used_channels(self) -> set[int]:
        """Channels that any event of the file names."""
        return {e.channel for t in self.file.tracks for e in t.events if e.data[0] < 0xF0}

    def select(self, wanted: str | Iterable[str | int] | None) -> list[Part]:
        """Parts by name, number or instrument (or its family), several with commas; all of them for None.

        Raises:
            InputError: a track that is not there; the message lists those that are.
        """
        if wanted is None:
            return list(self.parts)
        pieces = wanted.split(",") if isinstance(wanted, str) else [str(w) for w in wanted]
        chosen: set[int] = set()
        for text in (p.strip() for p in pieces):
            found = self._named(text)
            if not found:
                tracks = "; ".join(map(str, self.parts[:32])) or "none with notes"
                raise InputError(f"no track {text!r}; this file has: {tracks}")
            chosen.update(p.number for p in found)
        return [p for p in self.parts if p.number in chosen]

    def _named(self, text: str) -> list[Part]:
        """The parts that one word means: a name before a number before an instrument before its family."""
        same = [p for p in self.parts if p.name and p.name.lower() == text.lower()]
        if not same and text.isascii() and text.isdecimal():
            return [p for p in self.parts if str(p.number) == text.lstrip("0")]
        if not same:
            try:
                program = parse_instrument(text)
            except InputError:
                return []
            same = [p for p in self.parts if p.program == program]
            same = same or [p for p in self.parts if family_of(p.program) == family_of(program)]
        return same


def _parts(file: MidiFile) -> list[Part]:
    """The parts of a file: track by track, in each the channels that play, rising."""
    programs: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for index, track in enumerate(file.tracks):
        for event in track.events:
            if event.status == PROGRAM_CHANGE:
                programs[event.channel].append((event.tick, index, event.data[1]))
    parts: list[Part] = []
    for index, track in enumerate(file.tracks):
        channels: dict[int, list[FileNote]] = defaultdict(list)
        for note in track.notes[0]:
            channels[note.channel].append(note)
        for channel, notes in sorted(channels.items()):
            program = DRUMS if channel == DRUM_CHANNEL else _program_at(programs[channel], index, notes[0].start)
            name = _name(track) if len(channels) == 1 else ""
            parts.append(Part(len(parts) + 1, index, channel, name, program, notes))
    return parts


def _name(track: FileTrack) -> str:
    """The first name of a track that is not empty, else that of its instrument."""
    for kind in (TRACK_NAME, INSTRUMENT_NAME):
        for event in track.events:
            name = event.payload.decode("utf-8", "replace").strip("\0 \r\n\t") if event.is_meta(kind) else ""
            if name:
                return name
    return ""


def _meters_and_tempos(file: MidiFile) -> tuple[list[tuple[int, Meter]], list[tuple[int, float]]]:
    """Time signatures and tempi (beats a minute) by tick, from all tracks; those that no music can have are left out."""
    meters: dict[int, Meter] = {}
    tempos: dict[int, float] = {}
    for event in (event for track in file.tracks for event in track.events if event.data[0] == META):
        if event.is_meta(TIME_SIGNATURE) and len(event.payload) >= 2:
            meter = event.payload[0], 2 ** event.payload[1]
            if is_meter(*meter):
                meters[event.tick] = meter
        elif event.is_meta(SET_TEMPO) and len(event.payload) == 3:
            microseconds = int.from_bytes(event.payload, "big")
            if microseconds:
                tempos[event.tick] = 60e6 / microseconds
    return sorted(meters.items()), sorted(tempos.items())


def _program_at(changes: list[tuple[int, int, int]], track: int, tick: int) -> int:
    """The program of a channel when a track begins to play: its own last change before, else any track's, else 0.

    `changes` are (tick, track, program).
    """
    own = [c for c in changes if c[1] == track] or changes
    before = [c for c in own if c[0] <= tick]
    return max(before)[2] if before else min(own)[2] if own else 0


def parse_bars(text: str, bars: int) -> list[int]:
    """ "1,5-8" → bars from 0, rising, each once.

    Raises:
        InputError: not of that form, reversed, or outside 1 to `bars`.
    """
    chosen: set[int] = set()
    for piece in text.split(","):
        first_text, dash, last_text = piece.strip().partition("-")
        try:
            first = int(first_text)
            last = int(last_text) if dash else first
        except ValueError:
            raise InputError(f"bars {text!r}: write them as in 9-12 or 1,5-8") from None
        if last < first:
            raise InputError(f"bars {piece.strip()} run backwards; write {last}-{first}")
        if first < 1 or last > bars:
            raise InputError(f"bars {piece.strip()} are outside the file, which has bars 1 to {bars}")
        chosen.update(range(first - 1, last))
    return sorted(chosen)


def runs_of(bars: Sequence[int]) -> list[tuple[int, int]]:
    """Rising bars → [first, last + 1) of each unbroken run."""
    runs: list[tuple[int, int]] = []
    for bar in bars:
        if runs and runs[-1][1] == bar:
            runs[-1] = (runs[-1][0], bar + 1)
        else:
            runs.append((bar, bar + 1))
    return runs
