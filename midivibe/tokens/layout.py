"""Notes ↔ ids: the grid, the header, and the bar-by-bar, track-by-track layout. Pure functions on arrays.

`tokens.miditok` connects these to MidiTok. They need only a `Vocabulary`, so composing imports no tokenizer library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from midivibe.errors import MidiError
from midivibe.midi.bars import bar_ticks
from midivibe.midi.notes import DRUMS, Notes
from midivibe.tokens.leads import Lead
from midivibe.tokens.vocabulary import (
    BAR,
    DURATION,
    END,
    EOS,
    GRID_TICKS,
    HOLE,
    MODE,
    MODES,
    PITCH,
    PITCHDRUM,
    POSITION,
    PROGRAM,
    SEP,
    START,
    STYLE,
    STYLES,
    TEMPO,
    TIMESIG,
    VELOCITY,
    Vocabulary,
)  # fmt: skip

DRUM_TICKS = 3
"""A drum hit has no length of its own: a sixteenth on the grid."""

WINDOW_BARS = 16
"""Most bars of a sequence: windows to train on are cut so, and longer music is written window by window."""

KEY_CONFIDENCE = 0.7
"""Below this correlation a key is called unknown, and the notes stay where they are."""

MOST_BARS_A_BAR = 8
"""A longer bar than 8 of the vocabulary's is refused: up to 32/4, which is far above the longest meters in use."""

SLOWEST = 1e-3
"""Beats a minute; keeps the logarithm finite where a caller passes 0."""


@dataclass(frozen=True)
class Header:
    """What a sequence says before its first bar. `meter` is (numerator, denominator); `tempo` in beats a minute."""

    programs: tuple[int, ...]
    style: str = "other"
    mode: str = "unknown"
    meter: tuple[int, int] = (4, 4)
    tempo: float = 120.0
    start: bool = True
    end: bool = True

    def ids(self, v: Vocabulary) -> list[int]:
        """BOS Style Mode TimeSig Tempo Program... [Start] [End]"""
        names = ["BOS_None", f"Style_{self.style}", f"Mode_{self.mode}", "TimeSig_{}/{}".format(*self.meter)]
        ids = [v[name] for name in names] + [tempo_id(v, self.tempo)] + [v[f"Program_{p}"] for p in self.programs]
        return ids + [v["Start_None"]] * self.start + [v["End_None"]] * self.end


def _nearest_tempo(v: Vocabulary, tempo: np.ndarray) -> np.ndarray:
    """Which of `v.tempos` is nearest in ratio to each tempo: (N,) indices."""
    nearest: np.ndarray = np.abs(np.log(v.tempos[None, :] / np.maximum(tempo, SLOWEST)[:, None])).argmin(1)
    return nearest


def tempo_id(v: Vocabulary, tempo: float) -> int:
    """The Tempo token nearest in ratio."""
    return int(v.of_type[TEMPO][_nearest_tempo(v, np.array([tempo]))[0]])


def supported_meter(v: Vocabulary, meter: tuple[int, int]) -> tuple[tuple[int, int], int] | None:
    """A meter of the vocabulary and how many of its bars make one bar of `meter`; None where none fits."""
    if meter in v.meters:
        return meter, 1
    quarters = 4 * meter[0] / meter[1]
    for count in range(1, MOST_BARS_A_BAR + 1):
        for candidate in ((4, 4), (3, 4), (2, 4), (5, 4), (6, 4), (7, 4), (1, 4), *v.meters):
            if candidate in v.meters and 4 * candidate[0] / candidate[1] * count == quarters:
                return candidate, count
    return None


def nearest_meter(v: Vocabulary, meter: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """`supported_meter`, or for any other meter the shortest bar that holds it, or as many bars of 4/4 as that takes."""
    found = supported_meter(v, meter)
    if found:
        return found
    longer = [m for m in v.meters if m[0] * meter[1] >= meter[0] * m[1]]
    if longer:
        return min(longer, key=lambda m: m[0] / m[1]), 1
    return (4, 4), -(-meter[0] // meter[1])


def quantize(notes: Notes, v: Vocabulary) -> Notes:
    """Put notes on the grid of the vocabulary: 12 ticks a beat, its velocities, durations, tempi and meters.

    Notes of one program are one part: of two that start together on one pitch the longer stays. Idempotent.

    Raises:
        MidiError: a meter that has no equal in the vocabulary.
    """
    starts, meters, tempos, tick = [], [], [], 0
    grid_of_bar = np.zeros(notes.bars, dtype=np.int64)
    for bar, meter in enumerate(notes.bar_meter):
        found = supported_meter(v, meter)
        if found is None:
            raise MidiError(f"unknown meter: bar {bar + 1} is in {meter[0]}/{meter[1]}, which the model has not learned")
        grid_of_bar[bar] = tick
        for _ in range(found[1]):
            starts.append(tick)
            meters.append(found[0])
            tempos.append(notes.bar_tempo[bar])
            tick += bar_ticks(GRID_TICKS, found[0])

    scale = GRID_TICKS / notes.ticks_per_beat
    within = (notes.onset - notes.bar_start[notes.bar]) * scale
    onset = grid_of_bar[notes.bar] + np.floor(within + 0.5).astype(np.int64)
    onset = np.minimum(onset, tick - 1)
    duration = np.where(notes.pitched, _nearest(v.durations, notes.duration * scale), DRUM_TICKS)
    velocity = _nearest(v.velocities, notes.velocity)

    order = np.lexsort((-velocity, -duration, notes.pitch, notes.program, onset))
    key = np.stack([onset, notes.program, notes.pitch])[:, order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (key[:, 1:] != key[:, :-1]).any(0)
    grid = replace(
        notes,
        onset=onset,
        duration=duration,
        velocity=velocity,
        ticks_per_beat=GRID_TICKS,
        bar_start=np.array([*starts, tick], dtype=np.int64),
        bar_tempo=v.tempos[_nearest_tempo(v, np.array(tempos))],
        bar_meter=meters,
    )
    return grid.take(order[first])


def _nearest(allowed: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The nearest allowed value of each; the lower one of two that are equally near. `allowed` rises."""
    middle = (allowed[1:] + allowed[:-1]) / 2
    return allowed[np.searchsorted(middle, values, side="left")]


def transpose(notes: Notes, semitones: int) -> Notes:
    """Pitched notes moved by semitones; those that would leave 0..127 are folded back by octaves."""
    pitch = np.where(notes.pitched, notes.pitch + semitones, notes.pitch)
    pitch = np.where(pitch < 0, pitch + 12, np.where(pitch > 127, pitch - 12, pitch))
    return replace(notes, pitch=pitch)


def home_shift(tonic: int, mode: str) -> int:
    """Semitones (-6..5) that bring a key to C major or A minor."""
    home = 9 if mode == "minor" else 0
    return (home - tonic + 6) % 12 - 6


def encode(
    notes: Notes, v: Vocabulary, order: list[int] | None = None, leads: Sequence[Lead] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Grid notes → the ids of their bars, without header and EOS, and the offset of each Bar in them (bars + 1).

    A bar says its meter and tempo where they differ from the bar before; the first bar leaves them to the header.
    `order` is the order of programs inside a bar, by default as in sorted(programs); `leads`, one a bar, is their plan.
    """
    order = sorted(set(notes.program.tolist())) if order is None else order
    rank_of = np.full(129, len(order), dtype=np.int64)
    rank_of[np.array(order, dtype=np.int64) + 1] = np.arange(len(order))
    rank = rank_of[notes.program + 1]
    sort = np.lexsort((notes.pitch, notes.onset, rank, notes.bar))
    notes, rank = notes.take(sort), rank[sort]
    n, bar, pitched = len(notes), notes.bar, notes.pitched

    new_cell = np.ones(n, dtype=bool)
    new_cell[1:] = (bar[1:] != bar[:-1]) | (rank[1:] != rank[:-1])
    new_onset = new_cell.copy()
    new_onset[1:] |= notes.onset[1:] != notes.onset[:-1]
    new_velocity = new_cell.copy()
    new_velocity[1:] |= notes.velocity[1:] != notes.velocity[:-1]

    program_id, position_id = v.lookup(PROGRAM, -1, 127), v.lookup(POSITION, 0, 255)
    velocity_id, pitch_id = v.lookup(VELOCITY, 0, 127), v.lookup(PITCH, 0, 127)
    drum_id, duration_id = v.lookup(PITCHDRUM, 0, 127), v.lookup(DURATION, 0, 1023)
    columns = np.full((n, 5), -1, dtype=np.int64)  # a row a note, -1 where nothing is written
    columns[new_cell, 0] = program_id[notes.program[new_cell] + 1]
    columns[new_onset, 1] = position_id[(notes.onset - notes.bar_start[bar])[new_onset]]
    columns[new_velocity, 2] = velocity_id[notes.velocity[new_velocity]]
    columns[:, 3] = np.where(pitched, pitch_id[notes.pitch], drum_id[notes.pitch])
    columns[pitched, 4] = duration_id[notes.duration[pitched]]
    written = np.stack([new_cell, new_onset, new_velocity, np.ones(n, dtype=bool), pitched], axis=1)
    if (columns[written] < 0).any():
        raise MidiError("these notes are not on the grid of the vocabulary; quantize them first")

    changes = _bar_columns(notes, v)
    flat = np.concatenate([changes.ravel(), columns.ravel()])
    where = np.concatenate([np.repeat(np.arange(notes.bars), 3), np.repeat(bar, 5)])
    ids = flat[np.argsort(where, kind="stable")]  # bar tokens stand before the notes of their bar
    ids = ids[ids >= 0]
    if leads:
        said = [lead.ids(v) for lead in leads]
        after = np.flatnonzero(v.type[ids] == BAR) + (changes >= 0).sum(1)  # behind a bar's meter and tempo
        ids = np.insert(ids, np.repeat(after, [len(s) for s in said]), list(chain.from_iterable(said)))
    offsets = np.concatenate([np.flatnonzero(v.type[ids] == BAR), [len(ids)]])
    return ids, offsets


def _bar_columns(notes: Notes, v: Vocabulary) -> np.ndarray:
    """(bars, 3): of each bar its Bar id, and its TimeSig and Tempo ids where they differ from the bar before, else -1."""
    meters = np.array([v["TimeSig_{}/{}".format(*m)] for m in notes.bar_meter])
    tempos = v.of_type[TEMPO][_nearest_tempo(v, notes.bar_tempo)]
    columns = np.full((notes.bars, 3), -1, dtype=np.int64)
    columns[:, 0] = v["Bar_None"]
    for column, ids in ((1, meters), (2, tempos)):
        columns[1:, column] = np.where(ids[1:] != ids[:-1], ids[1:], -1)
    return columns


@dataclass(frozen=True)
class Decoded:
    """A decoded sequence: its header, the notes of its bars on the grid, and, for a hole example, the fill."""

    header: Header
    notes: Notes
    fill: Notes | None = None


def decode(ids: np.ndarray | list[int], v: Vocabulary, bars: int | None = None) -> Decoded:
    """Any id sequence that the grammar allows → notes on the grid. Inverse of `Header.ids` + `encode`.

    `bars` adds silent bars up to that number. Fill bars after SEP take the places of the bars that hold a Hole.
    """
    entries = [v.entries[int(token)] for token in ids]
    kinds = [kind for kind, _ in entries]
    body = kinds.index(BAR) if BAR in kinds else len(kinds)
    header = _header(entries[:body], v)
    reader = _Reader(v, header)
    for kind, value in entries[body:]:
        if kind == EOS:
            break
        reader.take(kind, value)
    while bars is not None and len(reader.starts) < bars:
        reader.open_bar()
    return Decoded(header, reader.notes(reader.context), reader.notes(reader.fill) if reader.filling else None)


def _header(entries: list[tuple[int, float]], v: Vocabulary) -> Header:
    """The header that (type, value) pairs before the first bar say."""
    said = dict(entries)
    plain = Header(tuple(int(value) for kind, value in entries if kind == PROGRAM), start=START in said, end=END in said)
    return replace(
        plain,
        style=STYLES[int(said[STYLE])] if STYLE in said else plain.style,
        mode=MODES[int(said[MODE])] if MODE in said else plain.mode,
        meter=v.meters[int(said[TIMESIG])] if TIMESIG in said else plain.meter,
        tempo=said.get(TEMPO, plain.tempo),
    )


class _Reader:
    """Collects the bars and notes of a sequence, id by id, from its first Bar on."""

    def __init__(self, v: Vocabulary, header: Header) -> None:
        self.v = v
        self.meter, self.tempo = header.meter, header.tempo
        self.starts: list[int] = []
        self.meters: list[tuple[int, int]] = []
        self.tempos: list[float] = []
        self.holes: list[int] = []
        """bars with a hole, rising"""
        self.context: list[tuple[int, int, int, int, int]] = []
        """onset, duration, pitch, velocity and program of each note before SEP"""
        self.fill: list[tuple[int, int, int, int, int]] = []
        """the same after SEP"""
        self.filling = False
        self._filled = self._bar = self._program = self._position = self._velocity = self._pitch = 0

    @property
    def end(self) -> int:
        """Where the last bar ends."""
        return self.starts[-1] + bar_ticks(GRID_TICKS, self.meters[-1]) if self.starts else 0

    def open_bar(self) -> None:
        """A further bar of the context, in the meter and tempo of the one before."""
        self._bar = self.end
        self.starts.append(self._bar)
        self.meters.append(self.meter)
        self.tempos.append(self.tempo)

    def take(self, kind: int, exact: float) -> None:
        """One id, as its type and value."""
        value = int(exact)
        if kind == BAR and self.filling:
            self._bar = self.starts[self.holes[self._filled]]
            self._filled += 1
        elif kind == BAR:
            self.open_bar()
        elif kind == TIMESIG:
            self.meter = self.meters[-1] = self.v.meters[value]
        elif kind == TEMPO:
            self.tempo = self.tempos[-1] = exact
        elif kind == PROGRAM:
            self._program = value
        elif kind == HOLE and self.holes[-1:] != [len(self.starts) - 1]:
            self.holes.append(len(self.starts) - 1)
        elif kind == SEP:
            self.filling = True
        elif kind == POSITION:
            self._position = value
        elif kind == VELOCITY:
            self._velocity = value
        elif kind == PITCH:
            self._pitch = value
        elif kind == PITCHDRUM:
            self._note(DRUM_TICKS, value, DRUMS)
        elif kind == DURATION:
            self._note(value, self._pitch, self._program)

    def _note(self, duration: int, pitch: int, program: int) -> None:
        notes = self.fill if self.filling else self.context
        notes.append((self._bar + self._position, duration, pitch, self._velocity, program))

    def notes(self, rows: list[tuple[int, int, int, int, int]]) -> Notes:
        """Rows as a table between the bar lines that were read."""
        onset, duration, pitch, velocity, program = np.array(rows, dtype=np.int64).reshape(-1, 5).T
        bar_start = np.array([*self.starts, self.end], dtype=np.int64)
        tempos, meters = np.array(self.tempos), list(self.meters)
        return Notes(onset, duration, pitch, velocity, program, GRID_TICKS, bar_start, tempos, meters).ordered()
