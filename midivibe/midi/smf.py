"""Standard MIDI files as they stand on disk: every event keeps its bytes, so that what is not edited comes out as it went in.

mido and symusic read music; this module reads files. mido rewrites the events that it understands and refuses some that it does
not understand, so an edit that promises to change nothing else cannot use it. Source of the format: The MIDI Association,
"Standard MIDI Files 1.0", RP-001.
"""

from __future__ import annotations

import struct
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from midivibe.errors import MidiError

NOTE_OFF, NOTE_ON, PROGRAM_CHANGE, META, END_OF_TRACK = 0x80, 0x90, 0xC0, 0xFF, 0x2F
TRACK_NAME, INSTRUMENT_NAME, SET_TEMPO, TIME_SIGNATURE = 0x03, 0x04, 0x51, 0x58
DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}

MAX_FILE_BYTES = 64 * 2**20
"""A guard of memory, 200 times the largest of the 13,668 files of our corpora (331,209 bytes)."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event at an absolute tick. `data` begins with its status byte, also where the file left that out (running status)."""

    tick: int
    data: bytes

    @property
    def status(self) -> int:
        """The status byte without its channel; META for a meta event."""
        return self.data[0] & 0xF0 if self.data[0] < 0xF0 else self.data[0]

    @property
    def channel(self) -> int:
        return self.data[0] & 0x0F

    @property
    def is_on(self) -> bool:
        return self.status == NOTE_ON and self.data[2] > 0

    def is_meta(self, kind: int) -> bool:
        return self.data[0] == META and self.data[1] == kind

    @property
    def payload(self) -> bytes:
        """What a meta event holds."""
        size, at = read_length(self.data, 2)
        return self.data[at : at + size]


@dataclass(frozen=True, slots=True)
class FileNote:
    """A note of a track: ticks, and where its two events stand in the track's list."""

    start: int
    end: int
    pitch: int
    velocity: int
    channel: int
    on: int
    off: int


@dataclass(frozen=True)
class FileTrack:
    """The events of one MTrk chunk; `raw` are the chunk's bytes as long as nothing in it was changed."""

    events: list[Event]
    raw: bytes | None = None

    @cached_property
    def notes(self) -> tuple[list[FileNote], list[int]]:
        """Notes in order of their start, first on with first off of a pitch and channel, and the indices of note events
        without a partner."""
        sounding: dict[tuple[int, int], deque[int]] = defaultdict(deque)
        notes, stray = [], []
        for index, event in enumerate(self.events):
            data = event.data
            kind, channel = data[0] & 0xF0, data[0] & 0x0F
            if kind == NOTE_ON and data[2]:
                sounding[channel, data[1]].append(index)
            elif kind in (NOTE_ON, NOTE_OFF):
                queue = sounding[channel, data[1]]
                if not queue:
                    stray.append(index)
                    continue
                on = queue.popleft()
                begin = self.events[on]
                notes.append(FileNote(begin.tick, event.tick, data[1], begin.data[2], channel, on, index))
        stray += [index for queue in sounding.values() for index in queue]
        return sorted(notes, key=lambda n: (n.start, n.on)), stray

    @property
    def end(self) -> int:
        """The tick of the last event."""
        return self.events[-1].tick if self.events else 0


@dataclass(frozen=True)
class MidiFile:
    """A whole file. `chunks` keeps the order of its chunks: an index into `tracks`, or the bytes of a chunk of another kind."""

    format: int
    ticks_per_beat: int
    tracks: list[FileTrack]
    chunks: list[int | bytes]
    head: bytes
    """the header chunk, which may be longer than the six bytes that mean something"""
    warnings: list[str] = field(default_factory=list)
    """what of a damaged file could not be read"""

    def to_bytes(self) -> bytes:
        """The file; a RIFF wrapper is left off."""
        head = bytearray(self.head)
        head[8:12] = struct.pack(">HH", self.format, len(self.tracks))
        parts = [bytes(head)]
        for chunk in self.chunks:
            if isinstance(chunk, bytes):
                parts.append(chunk)
                continue
            track = self.tracks[chunk]
            parts.append(track.raw if track.raw is not None else _chunk(track.events))
        return b"".join(parts)

    def with_track(self, index: int, events: list[Event]) -> MidiFile:
        """This file with other events in a track."""
        tracks = list(self.tracks)
        tracks[index] = FileTrack(events)
        return replace(self, tracks=tracks)

    def with_new_track(self, events: list[Event]) -> MidiFile:
        """This file with one more track after its last; a format 0 file becomes format 1."""
        tracks = [*self.tracks, FileTrack(events)]
        after = 1 + max(i for i, chunk in enumerate(self.chunks) if isinstance(chunk, int))  # the rest may be no chunk at all
        chunks = [*self.chunks[:after], len(tracks) - 1, *self.chunks[after:]]
        return replace(self, tracks=tracks, chunks=chunks, format=max(self.format, 1))


def read_length(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length number and where it ends; raises IndexError past the end, ValueError over four bytes."""
    value = 0
    for _ in range(4):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than four bytes")


def write_length(value: int) -> bytes:
    """A number in seven bits a byte."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def meta(tick: int, kind: int, payload: bytes) -> Event:
    """A meta event."""
    return Event(tick, bytes([META, kind]) + write_length(len(payload)) + payload)


class Header(NamedTuple):
    """What the first chunk of a file says."""

    end: int
    """where the chunk ends; 14, or more in files of a later standard"""
    format: int
    tracks: int
    ticks_per_beat: int


def file_bytes(path: str | Path) -> bytes:
    """The bytes of a MIDI file.

    Raises:
        MidiError: no such file, or larger than MAX_FILE_BYTES.
    """
    path = Path(path)
    if not path.is_file():
        raise MidiError(f"no MIDI file at {path}" if not path.exists() else f"{path} is not a file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise MidiError(f"{path} has {path.stat().st_size:,} bytes; MIDI files over {MAX_FILE_BYTES:,} are refused")
    return path.read_bytes()


def read_header(data: bytes, name: str) -> tuple[bytes, Header]:
    """The bytes of a file without a RIFF wrapper before them, and their header.

    Raises:
        MidiError: not MIDI, cut off in the header, format 2, SMPTE time, or 0 ticks a beat.
    """
    start = data.find(b"MThd", 0, 64) if data[:4] == b"RIFF" else 0
    if start < 0 or data[start : start + 4] != b"MThd":
        raise MidiError(f"{name} is not a MIDI file (it does not start with MThd)")
    data = data[start:]
    if len(data) < 14:
        raise MidiError(f"{name} ends inside its header")
    size, kind, count, division = struct.unpack(">IHHH", data[4:14])
    if size < 6:
        raise MidiError(f"{name} has a header of {size} bytes; it must have at least 6")
    if 8 + size > len(data):
        raise MidiError(f"{name} ends inside its header")
    if kind not in (0, 1):
        raise MidiError(f"{name} is of format {kind}; save it as format 0 or 1")
    if division & 0x8000:
        raise MidiError(f"{name} counts time in SMPTE frames; save it with ticks per beat")
    if not division:
        raise MidiError(f"{name} says 0 ticks a beat; it must be at least 1")
    return data, Header(8 + size, kind, count, division)


def read_file(path: str | Path) -> MidiFile:
    """Read a file; what is cut off at its end is left out, and `warnings` says so.

    Raises:
        MidiError: as `file_bytes` and `read_header`, or no track.
    """
    return parse(file_bytes(path), str(path))


def parse(data: bytes, name: str = "the file") -> MidiFile:
    """Bytes → MidiFile, as `read_file`."""
    data, header = read_header(data, name)
    tracks: list[FileTrack] = []
    chunks: list[int | bytes] = []
    warnings: list[str] = []
    at = header.end
    while at < len(data):
        chunk = data[at : at + 8]
        if len(chunk) < 8:
            warnings.append(f"{len(chunk)} bytes at the end are no chunk")
            break
        length = struct.unpack(">I", chunk[4:])[0]
        body = data[at + 8 : at + 8 + length]
        if chunk[:4] != b"MTrk":
            chunks.append(data[at : at + 8 + length])
        else:
            events, complaint = _events(body)
            if len(body) < length and not complaint:
                complaint = f"{length - len(body):,} of its bytes are missing"
            if complaint:
                warnings.append(f"track {len(tracks) + 1}: {complaint}")
            chunks.append(len(tracks))
            tracks.append(FileTrack(events, None if complaint else data[at : at + 8 + length]))
        at += 8 + length
    if len(tracks) < header.tracks:
        warnings.append(f"{header.tracks - len(tracks)} of {header.tracks} tracks are missing")
    if not tracks:
        raise MidiError(f"{name} has no track")
    return MidiFile(header.format, header.ticks_per_beat, tracks, chunks, data[: header.end], warnings)


def _events(body: bytes) -> tuple[list[Event], str]:
    """The events of a chunk up to its end or the first that cannot be read, and what was wrong there."""
    events: list[Event] = []
    at = tick = status = 0
    try:
        while at < len(body):
            begin = at
            delta, at = read_length(body, at)
            tick += delta
            first = body[at]
            if first < 0x80:  # running status: the status byte of the event before
                if not status:
                    return _closed(events), f"byte {begin:,} is no event"
                first, at = status, at - 1
            size = DATA_BYTES.get(first & 0xF0)
            if size is not None:
                status = first
                values = body[at + 1 : at + 1 + size]
                if len(values) < size:
                    raise IndexError
                if max(values) > 0x7F:
                    return _closed(events), f"byte {at:,} is no data byte"
                events.append(Event(tick, bytes([first]) + values))
                at += 1 + size
            elif first in (0xF0, 0xF7, META):
                if first != META:  # RP-001 ends running status at a meta event too, but such files are read everywhere
                    status = 0
                length, content = read_length(body, at + 1 + (first == META))
                if content + length > len(body):
                    raise IndexError
                events.append(Event(tick, body[at : content + length]))
                at = content + length
                if events[-1].is_meta(END_OF_TRACK):
                    return events, "" if at == len(body) else f"{len(body) - at:,} bytes after its end are left out"
            else:
                return _closed(events), f"byte {at:,} has the status {first:#x}, which no file may hold"
    except IndexError:
        return _closed(events), f"cut off after {len(events):,} events"
    except ValueError as error:
        return _closed(events), str(error)
    return _closed(events), "no end of track" if not events or not events[-1].is_meta(END_OF_TRACK) else ""


def _closed(events: list[Event]) -> list[Event]:
    """The events with an end of track after the last."""
    return [*events, meta(events[-1].tick if events else 0, END_OF_TRACK, b"")]


def _chunk(events: list[Event]) -> bytes:
    """The MTrk chunk of a track's events."""
    parts, now = [], 0
    for event in events:
        parts += [write_length(event.tick - now), event.data]
        now = event.tick
    body = b"".join(parts)
    return b"MTrk" + struct.pack(">I", len(body)) + body


__all__ = ["Event", "FileNote", "FileTrack", "Header", "MidiFile", "file_bytes", "meta", "parse", "read_file", "read_header"]
