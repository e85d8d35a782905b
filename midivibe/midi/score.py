"""MIDI files and symusic Scores; what is read is validated here."""

from __future__ import annotations

import io
from pathlib import Path

import mido
import numpy as np
from symusic import Note, Score, Tempo, TimeSignature, Track

from midivibe.errors import MidiError
from midivibe.files import replacing
from midivibe.midi.notes import DRUMS, Notes

MAX_FILE_BYTES = 64 * 2**20
MOST_BARS = 20_000


def read(path: str | Path) -> Score:
    """Read a MIDI file.

    Raises:
        MidiError: no such file, not MIDI, empty, or larger than MAX_FILE_BYTES.
    """
    path = Path(path)
    if not path.is_file():
        raise MidiError(f"no MIDI file at {path}" if not path.exists() else f"{path} is not a file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise MidiError(f"{path} has {path.stat().st_size:,} bytes; MIDI files over {MAX_FILE_BYTES:,} are refused")
    data = path.read_bytes()
    if data[:4] == b"RIFF" and b"MThd" in data[:64]:
        data = data[data.index(b"MThd") :]
    if data[:4] != b"MThd":
        raise MidiError(f"{path} is not a MIDI file (it does not start with MThd)")
    if data[8:10] == b"\0\2":
        raise MidiError(f"{path} is of format 2, songs side by side; save it as format 0 or 1")
    if len(data) >= 14 and data[12] & 0x80:
        raise MidiError(f"{path} counts time in SMPTE frames; save it with ticks per beat")
    try:
        score = Score.from_midi(data)
    except Exception as error:  # symusic raises several kinds, all meaning that the bytes are damaged
        raise MidiError(f"cannot read {path}: {error}") from error
    if score.ticks_per_quarter <= 0:
        raise MidiError(f"{path} says {score.ticks_per_quarter} ticks a beat; it must be at least 1")
    return score


def bar_lines(score: Score, end: int | None = None) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Ticks of the bar lines up to the last note's end (or `end`), and the meter of each bar; 4/4 until told otherwise.

    Raises:
        MidiError: more than 20,000 bars.
    """
    if end is None:
        end = max((int(score.end()), 1))
    changes = sorted((s.time, (s.numerator, s.denominator)) for s in score.time_signatures if s.numerator and s.denominator)
    starts: list[int] = []
    meters: list[tuple[int, int]] = []
    tick, meter, index = 0, (4, 4), 0
    while tick < end:
        while index < len(changes) and changes[index][0] <= tick:
            meter = changes[index][1]
            index += 1
        if len(starts) >= MOST_BARS:
            raise MidiError(f"the file has more than {MOST_BARS:,} bars")
        starts.append(tick)
        meters.append(meter)
        tick += max(1, round(score.ticks_per_quarter * 4 * meter[0] / meter[1]))
    return np.array([*starts, tick], dtype=np.int64), meters


def tempo_at(score: Score, ticks: np.ndarray) -> np.ndarray:
    """Tempo in beats (quarters) a minute at each tick; 120 until told otherwise."""
    tempos = sorted((t.time, t.qpm) for t in score.tempos) or [(0, 120.0)]
    times = np.array([t for t, _ in tempos])
    values = np.array([120.0 if times[0] > 0 else tempos[0][1], *(q for _, q in tempos)])
    return values[np.searchsorted(times, ticks, side="right")]


def note_table(score: Score) -> Notes:
    """All notes of a score as columns, sorted by onset, then program, then pitch."""
    columns: list[list[np.ndarray]] = [[], [], [], [], []]
    for track in score.tracks:
        if not len(track.notes):
            continue
        notes = track.notes.numpy()
        program = DRUMS if track.is_drum else track.program
        for column, name in zip(columns, ("time", "duration", "pitch", "velocity"), strict=False):
            column.append(notes[name].astype(np.int64))
        columns[4].append(np.full(len(notes["time"]), program, dtype=np.int64))
    flat = [np.concatenate(c) if c else np.zeros(0, dtype=np.int64) for c in columns]
    order = np.lexsort((flat[2], flat[4], flat[0]))
    onset, duration, pitch, velocity, program = (column[order] for column in flat)
    end = int((onset + duration).max()) if len(onset) else 0
    starts, meters = bar_lines(score, max(end, 1))
    return Notes(
        onset, duration, pitch, velocity, program, score.ticks_per_quarter, starts, tempo_at(score, starts[:-1]), meters
    )


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


def write(score: Score, path: str | Path, title: str = "midivibe") -> None:
    """Write a format 1 file: a conductor track, then one named track and one channel a part, drums on channel 10.

    Raises:
        MidiError: more than 15 melodic parts.
        OutputError: the file cannot be written; an old one stays whole.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(to_bytes(score, title))


def to_bytes(score: Score, title: str = "midivibe") -> bytes:
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
