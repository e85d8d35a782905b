"""Files as they come: one bar grid for all who ask, and damaged or hostile files end in one line, never in a traceback."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from symusic import Note, Score, Tempo, TimeSignature, Track

from midivibe.errors import MidiError
from midivibe.midi.bars import MOST_BARS, bar_grid, bar_ticks, tempo_at
from midivibe.midi.score import note_table, read, to_bytes
from midivibe.midi.smf import Event, meta, parse, read_file
from midivibe.midi.song import Song
from tests.test_splice import build, messy_file, note

TALL = b"\xff\xff\xff\x7f"
"""The longest delta time: 2^28 - 1 ticks."""
BEND = TALL + b"\xe0\x40\x40"
NOTE = b"\0\x90\x3c\x40\x60\x80\x3c\0"
END = b"\0\xff\x2f\0"


def header(kind: int = 1, tracks: int = 1, ticks: int = 96, size: int = 6, more: bytes = b"") -> bytes:
    return b"MThd" + struct.pack(">IHHH", size, kind, tracks, ticks) + more


def track(*parts: bytes) -> bytes:
    body = b"".join(parts) + END
    return b"MTrk" + struct.pack(">I", len(body)) + body


def with_meta(kind: int, payload: bytes) -> bytes:
    return header() + track(b"\0" + meta(0, kind, payload).data, NOTE)


def looked_at(path: Path) -> None:
    """Read a file both ways, and use what was read."""
    try:
        score = read(path)
        notes = note_table(score)
        assert (np.diff(notes.bar_start) > 0).all()
        assert (notes.onset >= 0).all()
        assert (notes.duration >= 0).all()
        assert (notes.bar_tempo > 0).all()
        assert np.isfinite(notes.bar_tempo).all()
        to_bytes(score)
    except MidiError as error:
        assert "\n" not in str(error)
    try:
        file = read_file(path)
        song = Song(file)
        assert (song.tempos > 0).all()
        assert [t.events for t in parse(file.to_bytes()).tracks] == [t.events for t in file.tracks]
    except MidiError as error:
        assert "\n" not in str(error)


HOSTILE = {
    "huge deltas": header(ticks=32767) + track(*[TALL + NOTE[1:]] * 20),
    "a note over 2^31 ticks long": header(ticks=32767) + track(b"\0\x90\x3c\x40", *[BEND] * 12, b"\0\x80\x3c\0"),
    "ticks that wrap around": header(ticks=32767) + track(*[BEND] * 16, NOTE),
    "a delta of five bytes": header() + track(b"\xff\xff\xff\xff\x7f\x90\x3c\x40"),
    "no numerator": with_meta(0x58, b"\0\2\x18\x08"),
    "a meter of 2^255ths": with_meta(0x58, b"\xff\xff\x18\x08"),
    "a meter of 256ths": with_meta(0x58, b"\4\x08\x18\x08"),
    "a meter without bytes": with_meta(0x58, b""),
    "tempo 0": with_meta(0x51, b"\0\0\0"),
    "tempo without bytes": with_meta(0x51, b""),
    "a key with 127 sharps": with_meta(0x59, b"\x7f\0"),
    "a key in mode 127": with_meta(0x59, b"\0\x7f"),
    "names that are no text": with_meta(3, b"\xff\xfe\xff"),
    "a chunk longer than the file": header() + b"MTrk\xff\xff\xff\xff" + NOTE + END,
    "text longer than the file": header() + track(b"\0\xff\x03\xff\xff\xff\x7f"),
    "more tracks than there are": header(tracks=65535) + track(NOTE),
    "a longer header": header(size=10, more=b"abcd") + track(NOTE),
    "empty": b"",
    "a header alone": header(),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "song.mid").write_bytes(HOSTILE[name])
    looked_at(tmp_path / "song.mid")


@pytest.mark.parametrize("seed", range(3))
def test_damaged_bytes_and_lost_ends_are_read_or_refused(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    whole = messy_file(seed)
    for _ in range(60):
        data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.5 else whole)
        for _ in range(rng.choice([0, 1, 5])):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "song.mid").write_bytes(data)
        looked_at(tmp_path / "song.mid")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (HOSTILE["huge deltas"], r"longer than 2\^31 ticks"),
        (HOSTILE["a note over 2^31 ticks long"], r"longer than 2\^31 ticks"),
        (header(ticks=96) + track(TALL + NOTE[1:]), "more than 20,000 bars"),
        (header(size=5) + track(NOTE), "a header of 5 bytes; it must have at least 6"),
        (header(size=2**32 - 1) + track(NOTE), "ends inside its header"),
        (header()[:13], "ends inside its header"),
        (header(kind=2) + track(NOTE), "format 2; save it as format 0 or 1"),
        (header(kind=3) + track(NOTE), "format 3"),
        (header(ticks=0) + track(NOTE), "0 ticks a beat"),
        (header(ticks=0xE728) + track(NOTE), "SMPTE"),
        (b"RIFF" + bytes(100) + header() + track(NOTE), "not a MIDI file"),
    ],
)
def test_refusals_say_why(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "song.mid").write_bytes(data)
    with pytest.raises(MidiError, match=words):
        note_table(read(tmp_path / "song.mid"))
    with pytest.raises(MidiError, match=words if "2\\^31" not in words else "more than 20,000 bars"):
        Song(read_file(tmp_path / "song.mid"))


def test_files_too_large_are_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "song.mid").open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    for reader in (read, read_file):
        with pytest.raises(MidiError, match="are refused"):
            reader(tmp_path / "song.mid")
        with pytest.raises(MidiError, match="is not a file"):
            reader(tmp_path)


def test_what_no_music_can_have_is_left_out(tmp_path: Path) -> None:
    for name in ("no numerator", "a meter of 2^255ths", "a meter of 256ths", "tempo 0", "a key with 127 sharps"):
        (tmp_path / "song.mid").write_bytes(HOSTILE[name])
        score, song = read(tmp_path / "song.mid"), Song(read_file(tmp_path / "song.mid"))
        assert not len(score.time_signatures) + len(score.key_signatures) + len(score.tempos)
        assert song.meters == note_table(score).bar_meter == [(4, 4)]
        assert song.tempos.tolist() == note_table(score).bar_tempo.tolist() == [120]


def test_a_score_and_a_song_have_the_same_bars(tmp_path: Path) -> None:
    compared = 0
    for seed in range(40):
        data = messy_file(seed)
        (tmp_path / "song.mid").write_bytes(data)
        song, score = Song(parse(data)), read(tmp_path / "song.mid")
        if len({s.time for s in score.time_signatures}) < len(score.time_signatures):
            continue  # two at one tick: a Song takes the last, a Score the largest
        notes = note_table(score)
        assert notes.bar_start.tolist() == song.bar_start.tolist()
        assert notes.bar_meter == song.meters
        assert notes.bar_tempo == pytest.approx(song.tempos)
        compared += 1
    assert compared > 30


def test_the_bar_grid() -> None:
    assert bar_ticks(96, (4, 4)) == 384
    assert bar_ticks(1, (1, 128)) == 1  # never 0
    lines, meters = bar_grid(96, [], 1)
    assert (lines.tolist(), meters) == ([0, 384], [(4, 4)])
    lines, meters = bar_grid(96, [(0, (3, 4)), (288, (6, 8)), (300, (2, 4))], 770)  # the last comes inside a bar and waits
    assert lines.tolist() == [0, 288, 576, 768, 960]
    assert meters == [(3, 4), (6, 8), (2, 4), (2, 4)]
    assert bar_grid(96, [], 384)[0].tolist() == [0, 384]  # what ends on a bar line opens no bar
    assert bar_grid(96, [(384, (2, 4))], 384, more=2)[0].tolist() == [0, 384, 576, 768]
    assert len(bar_grid(1, [], 4 * MOST_BARS)[1]) == MOST_BARS
    with pytest.raises(MidiError, match="more than 20,000 bars"):
        bar_grid(1, [], 4 * MOST_BARS + 1)
    assert tempo_at([], np.array([0, 9])).tolist() == [120, 120]
    assert tempo_at([(5, 90.0), (9, 60.0)], np.array([0, 4, 5, 8, 9])).tolist() == [120, 120, 90, 90, 60]


def test_a_score_keeps_its_changes_and_its_notes_in_order() -> None:
    score = Score(96)
    score.tempos.append(Tempo(384, 90.0))
    score.time_signatures.append(TimeSignature(384, 3, 4))
    for program, pitch in ((40, 70), (0, 60), (0, 50)):
        part = Track("", program, False)
        part.notes.append(Note(400, 20, pitch, 80))
        score.tracks.append(part)
    notes = note_table(score)
    assert list(zip(notes.program.tolist(), notes.pitch.tolist(), strict=True)) == [(0, 50), (0, 60), (40, 70)]
    assert notes.bar_meter == [(4, 4), (3, 4)]
    assert notes.bar_tempo == pytest.approx([120, 90])
    assert notes.bar.tolist() == [1, 1, 1]


def test_a_window_has_its_own_bars_and_cuts_its_notes() -> None:
    score = Score(96)
    for tick, tempo in ((0, 90.0), (384, 60.0), (768, 120.0)):
        score.tempos.append(Tempo(tick, tempo))
    part = Track("", 0, False)
    for start, length in ((0, 384), (400, 600), (800, 100)):
        part.notes.append(Note(start, length, 60, 80))
    score.tracks.append(part)
    notes = note_table(score)
    window = notes.window(1, 2)
    assert (window.onset.tolist(), window.duration.tolist()) == ([16], [368])
    assert notes.window(1, 2, cut=False).duration.tolist() == [600]
    assert len(notes.window(1, 2, programs={5})) == 0
    assert (window.bar_start.tolist(), window.bar_tempo.tolist(), window.bar_meter) == ([0, 384], [60], [(4, 4)])


def test_parts_of_a_file() -> None:
    """A part has the program that its channel has when it begins to play: its own track's, before that of another."""
    first = [
        meta(0, 3, b"Two"),
        Event(0, b"\xc0\x05"),
        Event(90, b"\xc0\x06"),
        *note(90, 180, 60),
        *note(90, 180, 60, channel=1),
    ]
    second = [meta(0, 4, b"Horn"), Event(0, b"\xc1\x3c"), Event(500, b"\xc1\x3d"), *note(200, 300, 60, channel=1)]
    third = [meta(0, 3, b""), meta(0, 3, b" Late "), Event(800, b"\xc2\x09"), *note(700, 780, 60, channel=2)]
    song = Song(parse(build([first, second, third])))
    shown = [(p.number, p.track, p.channel, p.name, p.program) for p in song.parts]
    assert shown == [(1, 0, 0, "", 6), (2, 0, 1, "", 60), (3, 1, 1, "Horn", 60), (4, 2, 2, "Late", 9)]
    assert song.used_channels == {0, 1, 2}


def test_pieces_of_a_file_that_are_wrong_are_named() -> None:
    for chunk, words in (
        (track(NOTE, END, b"\0\0"), "bytes after its end are left out"),
        (b"MTrk\0\0\0\x64" + NOTE + END, "of its bytes are missing"),
        (b"MTrk\0\0\0\x0c\0\x90\x3c\xc0\x60\x80\x3c\0" + END, "is no data byte"),
        (track(b"\x81\x81\x81\x81\x01\x90\x3c\x40"), "a number of more than four bytes"),
        (track(b"\0\x90\x3c\x40\0\xf0\1\xf7\0\x3c\0"), "is no event"),  # a sysex ends running status
    ):
        (warning,) = parse(header() + chunk).warnings
        assert words in warning


def test_first_on_goes_with_first_off() -> None:
    events = [Event(t, bytes([0x90, 60, v])) for t, v in ((0, 80), (50, 70), (90, 0), (190, 0))]
    assert [(n.start, n.end, n.velocity) for n in parse(build([events])).tracks[0].notes[0]] == [(0, 90, 80), (50, 190, 70)]
    crossing = [*note(0, 400, 60), *note(10, 20, 62)]
    assert [n.start for n in parse(build([crossing])).tracks[0].notes[0]] == [0, 10]


def test_a_song_goes_on_from_its_last_bar() -> None:
    for end, bars in ((384, 1), (384 + 24, 1), (384 + 25, 2)):  # a sixteenth over the line opens no bar to go on from
        file = parse(build([note(96, end, 60)]))
        assert Song(file, more_bars=3).bars == bars + 3
        assert Song(file).bars == (1 if end == 384 else 2)
    struck = parse(build([[*note(0, 90, 60), *note(384, 390, 60)]]))  # a note that begins there does
    assert Song(struck, more_bars=1).bars == 3
