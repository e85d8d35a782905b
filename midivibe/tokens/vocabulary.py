"""The token types, and the vocabulary as arrays. Its tables come from the token names alone, which travel with a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from midivibe.errors import CheckpointError
from midivibe.midi.bars import bar_ticks
from midivibe.midi.theory import QUALITIES

GRID_TICKS = 12
"""Positions in a quarter note: triplets and sixteenths both fall on the grid."""

TYPES = (
    "PAD", "BOS", "EOS", "Hole", "SEP", "Start", "End", "Style", "Mode", "TimeSig", "Tempo", "Program", "Bar", "Position",
    "Velocity", "Pitch", "PitchDrum", "Duration", "Section", "Length", "Return", "Root", "Quality",
)  # fmt: skip
(
    PAD, BOS, EOS, HOLE, SEP, START, END, STYLE, MODE, TIMESIG, TEMPO, PROGRAM, BAR, POSITION, VELOCITY, PITCH,
    PITCHDRUM, DURATION, SECTION, LENGTH, RETURN, ROOT, QUALITY,
) = range(len(TYPES))  # fmt: skip

PART_OF_PROGRAM = 2
"""What makes a part of a program (-1 to 127): parts count from 1, and 0 is none."""
COORDINATES = 9
"""How many numbers say where an id stands; see `Place.coordinates`."""
SECTIONS = ("A", "B", "C", "D", "E", "F", "G", "H", "i", "b", "s", "o")
"""Letters of sections; later ones than H are called H."""
LONGEST_ENDING = 32
"""Bars left in a section that are told apart; more count as so many."""
NO_ROOT = -1
"""Value of the Root of "no chord", after which comes no Quality."""
CHORD_CODES = 2 + 12 * len(QUALITIES)
"""A chord as a number: 0 not known, 1 none, then root by root each quality."""
MODES = ("major", "minor", "unknown")
STYLES = ("rock", "pop", "country", "rap", "rnb", "classic", "games", "folk", "children", "other")


class Vocabulary:
    """Token names with their type and value as arrays of one entry an id.

    Values: Style, Mode, TimeSig, Section and Quality count in their lists, Tempo in beats a minute, Position and Duration in
    grid ticks, Program -1 (drums) to 127, Length (of what is left of a section) and Return (how far back) in bars, Root -1
    (no chord) to 11, the rest as named. `entries` holds each id's (type, value) as plain numbers, which loops over
    single ids read several times as fast.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = list(names)
        self.meters: list[tuple[int, int]] = []
        kinds, values = [], []
        for name in names:
            kind, _, value = name.partition("_")
            if kind not in TYPES:
                raise CheckpointError(f"token {name!r} is of no type that this version of midivibe knows")
            kinds.append(TYPES.index(kind))
            values.append(self._value(kind, value))
        self.entries: list[tuple[int, float]] = list(zip(kinds, values, strict=True))
        self.type = np.array(kinds, dtype=np.int16)
        self.value = np.array(values, dtype=np.float64)
        self._id = {name: i for i, name in enumerate(names)}
        self.of_type = [np.flatnonzero(self.type == t) for t in range(len(TYPES))]
        self.mask = np.stack([self.type == t for t in range(len(TYPES))])  # (types, V)
        self.meter_ticks = np.array([bar_ticks(GRID_TICKS, m) for m in self.meters], dtype=np.int64)
        self.velocities = self.value[self.of_type[VELOCITY]].astype(int)
        self.durations = self.value[self.of_type[DURATION]].astype(int)
        self.tempos = self.value[self.of_type[TEMPO]]
        self.ends = np.array([i for i, name in enumerate(names) if name in ("Bar_None", "EOS_None")], dtype=np.int64)

    def _value(self, kind: str, value: str) -> float:
        if kind == "TimeSig":
            numerator, denominator = value.split("/")
            self.meters.append((int(numerator), int(denominator)))
            return len(self.meters) - 1
        if kind == "Duration":
            beat, position, resolution = map(int, value.split("."))
            return beat * GRID_TICKS + position * GRID_TICKS // resolution
        lists = {"Style": STYLES, "Mode": MODES, "Section": SECTIONS, "Quality": tuple(QUALITIES)}
        if kind in lists:
            return lists[kind].index(value)
        return 0.0 if value == "None" else float(value)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> int:
        return self._id[name]

    def __contains__(self, name: str) -> bool:
        return name in self._id

    @property
    def plans(self) -> bool:
        """Whether bars may say their section and chords: vocabularies from before version 0.3 have no ids for these."""
        return len(self.of_type[ROOT]) > 0

    def chord_ids(self, root: int, quality: str) -> list[int]:
        """Root and Quality of a chord; of "no chord" (root -1) the Root alone."""
        return [self[f"Root_{root}"]] + ([self[f"Quality_{quality}"]] if root != NO_ROOT else [])

    def lookup(self, kind: int, low: int, high: int) -> np.ndarray:
        """Array that maps value v (low <= v <= high) at index v - low to its id, or -1."""
        table = np.full(high - low + 1, -1, dtype=np.int64)
        ids = self.of_type[kind]
        table[self.value[ids].astype(int) - low] = ids
        return table

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read the names from a tokenizer.json; raises CheckpointError where there are none."""
        try:
            return cls(json.loads(Path(path).read_text())["vocabulary"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(f"no vocabulary in {path}: {error}") from error
