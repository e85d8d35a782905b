"""Notes ↔ ids: the grid, the header, and the bar-by-bar, track-by-track layout. Pure functions on arrays.

`tokens.py` hangs these into MidiTok; everything here works from a `Vocabulary` alone, so that composing does not
import a tokenizer library.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from midivibe.errors import MidiError
from midivibe.midi.notes import DRUMS, Notes
from midivibe.tokens.vocabulary import (
    BAR,
    DURATION,
    END,
    EOS,
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
    TICKS_PER_BEAT,
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


def tempo_id(v: Vocabulary, tempo: float) -> int:
    """The Tempo token nearest in ratio."""
    return int(v.of_type[TEMPO][np.abs(np.log(v.tempos / max(tempo, 1e-3))).argmin()])


def supported_meter(v: Vocabulary, meter: tuple[int, int]) -> tuple[tuple[int, int], int] | None:
    """A meter of the vocabulary and how many of its bars make one bar of `meter`; None where none fits."""
    if meter in v.meters:
        return meter, 1
    quarters = 4 * meter[0] / meter[1]
    for count in range(1, 9):
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
    source = np.asarray(notes.bar_start)
    grid_of_bar = np.zeros(notes.bars + 1, dtype=np.int64)
    for bar, meter in enumerate(notes.bar_meter):
        found = supported_meter(v, meter)
        if found is None:
            raise MidiError(f"unknown meter: bar {bar + 1} is in {meter[0]}/{meter[1]}, which the model has not learned")
        grid_of_bar[bar] = tick
        for _ in range(found[1]):
            starts.append(tick)
            meters.append(found[0])
            tempos.append(notes.bar_tempo[bar])
            tick += found[0][0] * 4 * TICKS_PER_BEAT // found[0][1]
    grid_of_bar[-1] = tick
    tempos_on_grid = v.tempos[np.abs(np.log(v.tempos[None, :] / np.array(tempos)[:, None])).argmin(1)]

    within = np.searchsorted(source, notes.onset, side="right") - 1
    scale = TICKS_PER_BEAT / notes.ticks_per_beat
    onset = grid_of_bar[within] + np.floor((notes.onset - source[within]) * scale + 0.5).astype(np.int64)
    onset = np.minimum(onset, tick - 1)
    duration = _nearest(v.durations, notes.duration * scale)
    drums = notes.program == DRUMS
    duration[drums] = DRUM_TICKS
    velocity = _nearest(v.velocities, notes.velocity)

    order = np.lexsort((-velocity, -duration, notes.pitch, notes.program, onset))
    key = np.stack([onset, notes.program, notes.pitch])[:, order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (key[:, 1:] != key[:, :-1]).any(0)
    keep = order[first]
    return Notes(
        onset[keep], duration[keep], notes.pitch[keep], velocity[keep], notes.program[keep], TICKS_PER_BEAT,
        np.array([*starts, tick], dtype=np.int64), tempos_on_grid, meters,
    )  # fmt: skip


def _nearest(allowed: np.ndarray, values: np.ndarray) -> np.ndarray:
    middle = (allowed[1:] + allowed[:-1]) / 2
    return allowed[np.searchsorted(middle, values, side="left")]


def transpose(notes: Notes, semitones: int) -> Notes:
    """Pitched notes moved by semitones; those that would leave 0..127 are folded back by octaves."""
    pitch = np.where(notes.program == DRUMS, notes.pitch, notes.pitch + semitones)
    pitch = np.where(pitch < 0, pitch + 12, np.where(pitch > 127, pitch - 12, pitch))
    return replace(notes, pitch=pitch)


def home_shift(tonic: int, mode: str) -> int:
    """Semitones (-6..5) that bring a key to C major or A minor."""
    home = 9 if mode == "minor" else 0
    return (home - tonic + 6) % 12 - 6


def encode(notes: Notes, v: Vocabulary, order: list[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Grid notes → the ids of their bars, without header and EOS, and the offset of each Bar in them (bars + 1).

    A bar says its meter and tempo where they differ from the bar before; the first bar leaves them to the header.
    `order` is the order of programs inside a bar, by default as in sorted(programs).
    """
    order = sorted(set(notes.program.tolist())) if order is None else order
    rank_of = np.full(129, len(order), dtype=np.int64)
    rank_of[np.array(order, dtype=np.int64) + 1] = np.arange(len(order))
    bar = np.searchsorted(notes.bar_start, notes.onset, side="right") - 1
    rank = rank_of[notes.program + 1]
    sort = np.lexsort((notes.pitch, notes.onset, rank, bar))
    bar, rank, onset = bar[sort], rank[sort], notes.onset[sort]
    pitch, velocity, program, duration = (a[sort] for a in (notes.pitch, notes.velocity, notes.program, notes.duration))
    n = len(sort)

    new_cell = np.ones(n, dtype=bool)
    new_cell[1:] = (bar[1:] != bar[:-1]) | (rank[1:] != rank[:-1])
    new_onset = new_cell.copy()
    new_onset[1:] |= onset[1:] != onset[:-1]
    new_velocity = new_cell.copy()
    new_velocity[1:] |= velocity[1:] != velocity[:-1]
    drums = program == DRUMS

    program_id, position_id = v.lookup(PROGRAM, -1, 127), v.lookup(POSITION, 0, 255)
    velocity_id, pitch_id = v.lookup(VELOCITY, 0, 127), v.lookup(PITCH, 0, 127)
    drum_id, duration_id = v.lookup(PITCHDRUM, 0, 127), v.lookup(DURATION, 0, 1023)
    columns = np.full((n, 5), -1, dtype=np.int64)  # a row a note, -1 where nothing is written
    columns[new_cell, 0] = program_id[program[new_cell] + 1]
    columns[new_onset, 1] = position_id[(onset - notes.bar_start[bar])[new_onset]]
    columns[new_velocity, 2] = velocity_id[velocity[new_velocity]]
    columns[:, 3] = np.where(drums, drum_id[pitch], pitch_id[pitch])
    columns[~drums, 4] = duration_id[duration[~drums]]
    written = np.stack([new_cell, new_onset, new_velocity, np.ones(n, dtype=bool), ~drums], axis=1)
    if (columns[written] < 0).any():
        raise MidiError("these notes are not on the grid of the vocabulary; quantize them first")

    changes = np.full((notes.bars, 3), -1, dtype=np.int64)
    changes[:, 0] = v["Bar_None"]
    meter_ids = np.array([v["TimeSig_{}/{}".format(*m)] for m in notes.bar_meter])
    tempo_ids = np.array([tempo_id(v, t) for t in notes.bar_tempo])
    changes[1:, 1] = np.where(meter_ids[1:] != meter_ids[:-1], meter_ids[1:], -1)
    changes[1:, 2] = np.where(tempo_ids[1:] != tempo_ids[:-1], tempo_ids[1:], -1)

    flat = np.concatenate([changes.ravel(), columns.ravel()])
    where = np.concatenate([np.repeat(np.arange(notes.bars), 3), np.repeat(bar, 5)])
    ids = flat[np.argsort(where, kind="stable")]  # bar tokens stand before the notes of their bar
    ids = ids[ids >= 0]
    offsets = np.concatenate([np.flatnonzero(v.type[ids] == BAR), [len(ids)]])
    return ids, offsets


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
    header = {"style": "other", "mode": "unknown", "meter": (4, 4), "tempo": 120.0, "start": False, "end": False}
    programs: list[int] = []
    starts: list[int] = []
    meters: list[tuple[int, int]] = []
    tempos: list[float] = []
    holes: list[int] = []
    rows: list[list[tuple[int, int, int, int, int]]] = [[], []]
    target, in_header, tick, bar_at = 0, True, 0, 0
    meter, tempo = (4, 4), 120.0
    program = position = velocity = pitch = 0
    fill_rank = -1

    def bar_length() -> int:
        return meters[-1][0] * 4 * TICKS_PER_BEAT // meters[-1][1]

    for token in map(int, ids):
        kind, value = v.entries[token]
        if kind == EOS:
            break
        if kind == STYLE:
            header["style"] = STYLES[int(value)]
        elif kind == MODE:
            header["mode"] = MODES[int(value)]
        elif kind == START:
            header["start"] = True
        elif kind == END:
            header["end"] = True
        elif kind == TIMESIG:
            meter = v.meters[int(value)]
            if in_header:
                header["meter"] = meter
            else:
                meters[-1] = meter
        elif kind == TEMPO:
            tempo = float(value)
            if in_header:
                header["tempo"] = tempo
            else:
                tempos[-1] = tempo
        elif kind == PROGRAM:
            program = int(value)
            if in_header:
                programs.append(program)
        elif kind == BAR:
            if target == 0:
                tick = tick + bar_length() if starts else 0
                in_header = False
                starts.append(tick)
                meters.append(meter)
                tempos.append(tempo)
                bar_at = tick
            else:
                fill_rank += 1
                bar_at = starts[holes[fill_rank]]
        elif kind == HOLE:
            if not holes or holes[-1] != len(starts) - 1:
                holes.append(len(starts) - 1)
        elif kind == SEP:
            target = 1
        elif kind == POSITION:
            position = int(value)
        elif kind == VELOCITY:
            velocity = int(value)
        elif kind == PITCH:
            pitch = int(value)
        elif kind == PITCHDRUM:
            rows[target].append((bar_at + position, DRUM_TICKS, int(value), velocity, DRUMS))
        elif kind == DURATION:
            rows[target].append((bar_at + position, int(value), pitch, velocity, program))
    while bars is not None and len(starts) < bars:
        tick = tick + bar_length() if starts else 0
        starts.append(tick)
        meters.append(meter)
        tempos.append(tempo)
    end = starts[-1] + bar_length() if starts else 0
    bar_start = np.array([*starts, end], dtype=np.int64)

    def table(notes: list[tuple[int, int, int, int, int]]) -> Notes:
        flat = np.array(notes, dtype=np.int64).reshape(-1, 5)
        flat = flat[np.lexsort((flat[:, 2], flat[:, 4], flat[:, 0]))]
        onset, duration, pitch, velocity, program = flat.T
        return Notes(onset, duration, pitch, velocity, program, TICKS_PER_BEAT, bar_start, np.array(tempos), list(meters))

    return Decoded(
        Header(programs=tuple(programs), **header),  # type: ignore[arg-type]
        table(rows[0]),
        table(rows[1]) if target else None,
    )
