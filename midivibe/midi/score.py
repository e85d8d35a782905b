"""MIDI files as symusic Scores, and Scores as tables of notes; files are checked as they are read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import mido
import numpy as np
from symusic import Note, Score, Tempo, TimeSignature, Track

from midivibe.errors import MidiError
from midivibe.files import replacing
from midivibe.midi.bars import Meter, bar_grid, is_meter, tempo_at
from midivibe.midi.notes import COLUMNS, DRUMS, Notes
from midivibe.midi.smf import file_bytes, read_header

FILE_TICKS = 480
"""Ticks a beat of the files that midivibe writes: what most sequencers count in, and a multiple of the 12 of the grid."""

MOST_SHARPS = 7
"""A key signature has up to 7 sharps or flats."""


def read(path: str | Path) -> Score:
    """Read a MIDI file. Time signatures, key signatures and tempi that no music can have are left out.

    Raises:
        MidiError: no such file, too large, not MIDI, of a kind that is not read, damaged, or longer than 2^31 ticks.
    """
    data, header = read_header(file_bytes(path), str(path))
    # symusic reads headers of six bytes only
    data = data[:4] + (6).to_bytes(4, "big") + data[8:14] + data[header.end :]
    try:
        score = Score.from_midi(data)
    except Exception as error:  # symusic raises several kinds, all meaning that the bytes are damaged
        raise MidiError(f"cannot read {path}: {error}") from error
    lengths = (track.notes.numpy()["duration"].min(initial=0) for track in score.tracks)
    if score.start() < 0 or min(lengths, default=0) < 0:  # symusic counts in 32 bits and goes on below 0
        raise MidiError(f"{path} is longer than 2^31 ticks; a delta time in it is likely damaged")
    score.time_signatures = [s for s in score.time_signatures if is_meter(s.numerator, s.denominator)]
    score.key_signatures = [k for k in score.key_signatures if abs(k.key) <= MOST_SHARPS and k.tonality in (0, 1)]
    score.tempos = [t for t in score.tempos if 0 < t.qpm < np.inf]
    return score


def bar_lines(score: Score, end: int | None = None) -> tuple[np.ndarray, list[Meter]]:
    """The bar grid of a score up to its end, or to `end` in ticks; see `bar_grid`.

    Of several time signatures at one tick the largest counts: POP909 has 1/4 or 2/4 beside 4/4 at tick 0, and means 4/4. A
    `Song` takes the last, as sequencers do.
    """
    if end is None:
        end = max(int(score.end()), 1)
    signs = ((s.time, (s.numerator, s.denominator)) for s in score.time_signatures)
    return bar_grid(score.ticks_per_quarter, sorted(s for s in signs if is_meter(*s[1])), end)


def note_columns(score: Score) -> list[np.ndarray]:
    """Onset, duration, pitch, velocity and program of all notes, track by track, in the score's unit of time: (N,) each."""
    columns: list[list[np.ndarray]] = [[] for _ in COLUMNS]
    for track in score.tracks:
        notes = track.notes.numpy()
        program = np.full(len(notes["time"]), DRUMS if track.is_drum else track.program, dtype=np.int64)
        for column, values in zip(columns, (*(notes[n] for n in ("time", *COLUMNS[1:4])), program), strict=True):
            column.append(values)
    return [np.concatenate(column) if column else np.zeros(0, dtype=np.int64) for column in columns]


def note_table(score: Score) -> Notes:
    """All notes of a score as columns, sorted by onset, then program, then pitch.

    Raises:
        MidiError: more than `bars.MOST_BARS` bars.
    """
    onset, duration, pitch, velocity, program = (column.astype(np.int64) for column in note_columns(score))
    starts, meters = bar_lines(score, int((onset + duration).max(initial=1)))
    tempos = tempo_at(sorted((t.time, t.qpm) for t in score.tempos), starts[:-1])
    return Notes(onset, duration, pitch, velocity, program, score.ticks_per_quarter, starts, tempos, meters).ordered()


def to_score(notes: Notes, names: dict[int, str] | None = None) -> Score:
    """Notes → a Score of the same ticks a beat: one track a program, meter and tempo where they change."""
    score = Score(notes.ticks_per_beat)
    for bar in range(notes.bars):
        tick = int(notes.bar_start[bar])
        if bar == 0 or notes.bar_meter[bar] != notes.bar_meter[bar - 1]:
            score.time_signatures.append(TimeSignature(tick, *notes.bar_meter[bar]))
        if bar == 0 or notes.bar_tempo[bar] != notes.bar_tempo[bar - 1]:
            score.tempos.append(Tempo(tick, float(notes.bar_tempo[bar])))
    for program in sorted(set(notes.program.tolist()), key=lambda p: (p == DRUMS, p)):
        rows = notes.program == program
        track = Track((names or {}).get(program, ""), 0 if program == DRUMS else program, program == DRUMS)
        track.notes = Note.from_numpy(
            notes.onset[rows].astype(np.int32), notes.duration[rows].astype(np.int32),
            notes.pitch[rows].astype(np.int8), notes.velocity[rows].astype(np.int8),
        )  # fmt: skip
        score.tracks.append(track)
    return score


def write(score: Score, path: str | Path, title: str = "midivibe", texts: Sequence[tuple[int, str]] = ()) -> None:
    """Write a format 1 file: a conductor track, then one named track and one channel a part, drums on channel 10.

    `texts` are text events of the conductor track, as (tick, text).

    Raises:
        MidiError: more than 15 melodic parts.
        OutputError: the file cannot be written; an old one stays whole.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(to_bytes(score, title, texts))


def to_bytes(score: Score, title: str = "midivibe", texts: Sequence[tuple[int, str]] = ()) -> bytes:
    """The file that `write` writes."""
    melodic = [t for t in score.tracks if not t.is_drum]
    if len(melodic) > 15:
        raise MidiError(f"{len(melodic)} melodic parts; a MIDI file has channels for 15 beside the drums")
    channels = iter([c for c in range(16) if c != 9])
    file = mido.MidiFile(type=1, ticks_per_beat=score.ticks_per_quarter, charset="utf-8")
    name = title.encode("utf-8", "replace").decode()  # a file's name may hold bytes that are no text
    meta: list[tuple[int, int, mido.Message]] = [(0, 0, mido.MetaMessage("track_name", name=name))]
    for tempo in score.tempos:
        meta.append((tempo.time, 1, mido.MetaMessage("set_tempo", tempo=round(60e6 / tempo.qpm))))
    for sign in score.time_signatures:
        message = mido.MetaMessage("time_signature", numerator=sign.numerator, denominator=sign.denominator)
        meta.append((sign.time, 2, message))
    for key in score.key_signatures:
        meta.append((key.time, 3, mido.MetaMessage("key_signature", key=signature_name(key.key, key.tonality))))
    for marker in score.markers:
        meta.append((marker.time, 4, mido.MetaMessage("marker", text=marker.text)))
    meta += [(tick, 5, mido.MetaMessage("text", text=text)) for tick, text in texts]
    file.tracks.append(_track(meta))
    for track in score.tracks:
        channel = 9 if track.is_drum else next(channels)
        events: list[tuple[int, int, mido.Message]] = [(0, 0, mido.MetaMessage("track_name", name=track.name))]
        events.append((0, 1, mido.Message("program_change", channel=channel, program=track.program)))
        for change in track.controls:
            message = mido.Message("control_change", channel=channel, control=change.number, value=change.value)
            events.append((change.time, 2, message))
        for note in track.notes:  # note-offs sort before the note-ons of their tick
            on = mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity)
            events.append((note.start, 4, on))
            events.append((note.end, 3, mido.Message("note_off", channel=channel, note=note.pitch, velocity=0)))
        file.tracks.append(_track(events))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def signature_name(sharps: int, minor: int) -> str:
    """Accidentals (-7..7) and mode (1 minor) → mido's key name: (-1, 1) → "Dm"."""
    major = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
    minors = ("Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m", "A#m")
    return (minors if minor else major)[sharps + 7]


def _track(events: list[tuple[int, int, mido.Message]]) -> mido.MidiTrack:
    track, now = mido.MidiTrack(), 0
    for tick, _, message in sorted(events, key=lambda e: e[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    return track
