"""The plan of a piece: what a musician would write on a napkin before the notes. It can be printed, saved, edited and followed.

    {"key": "A minor", "tempo": 92, "meter": "4/4", "style": "pop", "instruments": ["Acoustic Grand Piano", "Drums"],
     "sections": [{"name": "A", "bars": 8, "chords": "Am | F | C | G | Am | F | C G | C"}, ...]}

What is missing or null is left to the model. A plan without sections has "bars" and perhaps "chords" of its own.
Bars count from 0 in Python. A chord's place in its bar is a share of the bar, 0 to below 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from midivibe.errors import InputError, nearest
from midivibe.files import read_json
from midivibe.midi.bars import MOST_BARS, bar_ticks
from midivibe.midi.instruments import name_of, parse_instruments
from midivibe.midi.theory import Key, detect_key
from midivibe.plan.chords import Chord
from midivibe.plan.form import Section, parse_form, write_form
from midivibe.tokens.layout import home_shift
from midivibe.tokens.vocabulary import STYLES

MOST_CHORDS = 4
"""Chords in one bar: one a beat of 4/4."""
BarChords = tuple[Chord, ...]
"""The chords of one bar, each as long as the others; empty where none is planned."""
OPEN = "?"
"""A bar whose chords are left to the model, as text."""
BARS_A_LINE = 4
"""Bars in a line of a chart."""
_chord = lru_cache(1024)(Chord.parse)


def parse_bars(text: str) -> list[BarChords]:
    """ "Am F | C G" → two bars of two chords; without a bar line each chord has a bar of its own.

    "%" repeats the bar before, "?" leaves a bar to the model. Raises InputError, which names the symbol.
    """
    pieces = [p.split() for p in text.split("|")] if "|" in text else [[symbol] for symbol in text.replace(",", " ").split()]
    bars: list[BarChords] = []
    for symbols in (p for p in pieces if p):
        if len(bars) == MOST_BARS:
            raise InputError(f"chords for more than {MOST_BARS:,} bars; write fewer, they repeat")
        if symbols == ["%"]:
            if not bars:
                raise InputError(f"chords {text!r} begin with %, which repeats the bar before")
            bars.append(bars[-1])
            continue
        if symbols == [OPEN]:
            bars.append(())
            continue
        if len(symbols) > MOST_CHORDS:
            raise InputError(f"the bar {' '.join(symbols)!r} has {len(symbols)} chords; {MOST_CHORDS} are the most")
        bars.append(tuple(_chord(symbol) for symbol in symbols))
    if not bars:
        raise InputError('no chords; write them as in "Am F | C G" (| ends a bar), or "Am F C G" (a chord a bar)')
    return bars


def parse_chords(text: str) -> dict[str, list[BarChords]]:
    """Chords of a piece: "Am F C G" for all of it (key ""), or "A: Am F C G; B: F G Em Am" by section; raises InputError."""
    parts = [p.strip() for p in text.split(";") if p.strip()]
    found: dict[str, list[BarChords]] = {}
    for part in parts:
        named = re.match(r"([A-Za-z])\s*:\s*(.*)", part, re.DOTALL)
        name, rest = (named[1], named[2]) if named else ("", part)
        if name in found or (not name and len(parts) > 1):
            raise InputError(f"chords {text!r}: {part!r} needs a section of its own, as in A: Am F C G; B: F G Em Am")
        found[name] = parse_bars(rest)
    if not found:
        parse_bars(text)
    return found


def key_of(chords: Mapping[str, Sequence[BarChords]]) -> Key:
    """The key that a progression is likeliest in: by its tones, each chord counted once, roots and the first chord twice."""
    weights = np.zeros(12)
    every = [chord for bars in chords.values() for bar in bars for chord in bar if chord.root >= 0]
    for i, chord in enumerate(every):
        for tone in chord.pitch_classes:
            weights[tone] += 2.0 if i == 0 else 1.0
        weights[chord.root] += 2.0 if i == 0 else 1.0
    tonic, mode, _ = detect_key(weights)
    return Key.of(tonic, mode)


def show_bars(bars: Sequence[BarChords], key: Key | None = None) -> str:
    """The chords of some bars as `parse_bars` reads them: "Am | F C"; "%" stands for the bar before, "?" for none planned."""
    shown = []
    for i, chords in enumerate(bars):
        same = i > 0 and chords == bars[i - 1]
        shown.append("%" if same else " ".join(c.symbol(key) for c in chords) or OPEN)
    return " | ".join(shown) + (" |" if len(shown) == 1 and len(bars[0]) > 1 else "")


@dataclass(frozen=True)
class Plan:
    """What a piece is to be; what is None is left to the model. `chords` holds a tuple for each bar, or nothing at all."""

    bars: int
    key: Key | None = None
    tempo: float | None = None
    meter: tuple[int, int] | None = None
    style: str | None = None
    programs: tuple[int, ...] | None = None
    sections: tuple[Section, ...] = ()
    chords: tuple[BarChords, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check that the parts agree; raises InputError."""
        if self.sections and self.sections[-1].end != self.bars:
            raise InputError(f"the form {write_form(self.sections)} has {self.sections[-1].end} bars, the piece {self.bars}")
        if self.chords and len(self.chords) != self.bars:
            raise InputError(f"there are chords for {len(self.chords)} bars, the piece has {self.bars}")
        if self.style is not None and self.style not in STYLES:
            raise InputError(f"unknown style {self.style!r}; the nearest are {nearest(self.style, STYLES)}")
        if self.tempo is not None and not 20 <= self.tempo <= 300:
            raise InputError(f"tempo is {self.tempo:g}; it must be from 20 to 300 beats a minute")

    @property
    def form(self) -> str:
        """The form as a string, such as "i4 A8 B8"; empty where none is planned."""
        return write_form(self.sections)

    def section_at(self, bar: int) -> Section | None:
        """The section that a bar belongs to."""
        return next((s for s in self.sections if s.start <= bar < s.end), None)

    def earlier(self, bar: int) -> list[int]:
        """Bars before this one that stand at its place in a section of the same letter, the latest first."""
        here = self.section_at(bar)
        if here is None:
            return []
        alike = [s for s in self.sections if s.letter == here.letter and s.start < here.start and s.bars > bar - here.start]
        return [s.start + bar - here.start for s in reversed(alike)]

    def chord_marks(self, ticks_per_beat: int) -> list[tuple[int, str]]:
        """Each chord with its tick, at bar lines and where it changes inside a bar; none where the meter is left open."""
        if self.meter is None:
            return []
        length = bar_ticks(ticks_per_beat, self.meter)
        places = [(bar * length + i * length // len(c), c[i]) for bar, c in enumerate(self.chords) for i in range(len(c))]
        return [(tick, chord.symbol(self.key)) for tick, chord in places]

    def cut(self, bars: int) -> Plan:
        """The first bars of it; raises InputError where it has fewer."""
        if bars > self.bars:
            raise InputError(f"bars is {bars}, and the plan has {self.bars}; ask for fewer, or add sections to the plan")
        sections = tuple(replace(s, bars=min(s.bars, bars - s.start)) for s in self.sections if s.start < bars)
        chords = self.chords[:bars] if any(self.chords[:bars]) else ()
        return replace(self, bars=bars, sections=sections, chords=chords)

    def moved(self, key: Key) -> Plan:
        """The plan in another key, its chords moved with it; those of A minor are those of C major."""
        if self.key is None:
            return replace(self, key=key)
        up = home_shift(self.key.tonic, self.key.mode) - home_shift(key.tonic, key.mode)
        return replace(self, key=key, chords=tuple(tuple(c.transposed(up) for c in bar) for bar in self.chords))

    def formed(self, sections: tuple[Section, ...]) -> Plan:
        """The plan with another form; sections keep the chords that the first of their letter had."""
        bars, letters = sections[-1].end, {s.letter for s in sections}
        first = {s.letter: self.chords[s.start : s.end] for s in reversed(self.sections) if s.letter in letters}
        chords = spread(first, bars, sections) if self.chords else ()
        if self.chords and not self.sections:
            chords = tuple(fitted(self.chords, bars))
        return replace(self, bars=bars, sections=sections, chords=chords if any(chords) else ())

    @property
    def left(self) -> tuple[str, ...]:
        """What it leaves to the model or the seed."""
        parts = {
            "key": self.key, "tempo": self.tempo, "meter": self.meter, "style": self.style, "instruments": self.programs,
            "form": self.sections, "chords": self.chords and all(self.chords),
        }  # fmt: skip
        return tuple(name for name, value in parts.items() if not value)

    def chart(self) -> str:
        """Its sections with their bars and chords, four bars a line, as musicians read them."""
        cells = [
            show_bars([bar], self.key).removesuffix(" |") if self.chords else "" for bar in self.chords or [()] * self.bars
        ]
        width = max(4, *map(len, cells))
        lines = []
        for section in self.sections or (None,):
            start, end = (section.start, section.end) if section else (0, self.bars)
            if section:
                lines.append(f"{section.name}, {f'bars {start + 1} to {end}' if end > start + 1 else f'bar {end}'}")
            for bar in range(start, end if self.chords else start, BARS_A_LINE):
                row = " | ".join(f"{cell:<{width}}" for cell in cells[bar : min(bar + BARS_A_LINE, end)])
                lines.append(f"{bar + 1:>5} | {row} |")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values that people can edit; `from_json` reads them back."""
        blocks = [
            {"name": s.letter, "bars": s.bars}
            | ({"chords": show_bars(self.chords[s.start : s.end], self.key)} if any(self.chords[s.start : s.end]) else {})
            for s in self.sections
        ]
        return {
            "bars": self.bars,
            "key": str(self.key) if self.key else None,
            "tempo": self.tempo,
            "meter": "{}/{}".format(*self.meter) if self.meter else None,
            "style": self.style,
            "instruments": [name_of(p) for p in self.programs] if self.programs is not None else None,
        } | ({"sections": blocks} if blocks else {"chords": show_bars(self.chords, self.key) if self.chords else None})

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """The plan in a JSON file, or that of the piece whose settings it holds; raises InputError, which names the file."""
        values = read_json(path, "plan")
        made = values.get("result", values)
        try:
            return cls.from_json(made.get("plan", values) if isinstance(made, Mapping) else values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Read a plan; raises InputError that says what is wrong with it."""
        known = ("bars", "key", "tempo", "meter", "style", "instruments", "sections", "chords")
        if not isinstance(values, Mapping):
            raise InputError("a plan is an object with sections, as midivibe plan writes it")
        for name in values:
            if name not in known:
                raise InputError(f"a plan has no {name!r}; did you mean {nearest(name, known, 1)}?")
        sections, chords = _blocks(values.get("sections") or [])
        bars = values.get("bars", sections[-1].end if sections else None)
        if isinstance(bars, bool) or not isinstance(bars, int) or not 1 <= bars <= MOST_BARS:
            raise InputError(f"the plan's bars are {bars!r}; it must be a whole number from 1 to {MOST_BARS:,}")
        if written := _text(values, "chords"):
            if sections:
                raise InputError("the plan has chords and sections; write the chords into the sections")
            chords = tuple(fitted(parse_bars(written), bars))
        tempo = values.get("tempo")
        if tempo is not None and (isinstance(tempo, bool) or not isinstance(tempo, int | float)):
            raise InputError(f"the plan's tempo is {tempo!r}; it must be a number from 20 to 300")
        text = {name: _text(values, name) for name in ("key", "meter", "style")}
        band = values.get("instruments")
        if band is not None and not (isinstance(band, list) and all(isinstance(n, str) for n in band)):
            raise InputError(f"the plan's instruments are {band!r}; write a list of names")
        return cls(
            bars, Key.parse(text["key"]) if text["key"] else None, tempo, parse_meter(text["meter"]), text["style"],
            parse_instruments(",".join(band)) if band else None, sections, chords if any(chords) else (),
        )  # fmt: skip


def _text(values: Mapping[str, Any], name: str) -> str | None:
    if values.get(name) is not None and not isinstance(values[name], str):
        raise InputError(f"the plan's {name} is {values[name]!r}; it must be text")
    return values.get(name)


def parse_meter(text: str | None) -> tuple[int, int] | None:
    """ "3/4" → (3, 4); raises InputError."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,2})\s*/\s*(\d{1,2})\s*", text)
    if not match:
        raise InputError(f'unknown time signature {text!r}; write it as in "3/4"')
    return int(match[1]), int(match[2])


def _blocks(blocks: object) -> tuple[tuple[Section, ...], tuple[BarChords, ...]]:
    """Sections and the chords of every bar (none where no section has any) of a plan's list of sections."""
    if not isinstance(blocks, list) or not all(isinstance(b, Mapping) for b in blocks):
        raise InputError("the plan's sections must be a list of objects with name, bars and chords")
    sections: list[Section] = []
    chords: list[BarChords] = []
    for block in blocks:
        for name in block:
            if name not in ("name", "bars", "chords"):
                raise InputError(f"a section has no {name!r}; it has name, bars and chords")
        letter, bars = block.get("name", "A"), block.get("bars")
        if isinstance(bars, bool) or not isinstance(bars, int) or not isinstance(letter, str):
            raise InputError(f"section {letter!r} has bars {bars!r}; write a name such as A and a whole number of bars")
        sections.append(Section(letter, sections[-1].end if sections else 0, bars))
        if sections[-1].end > MOST_BARS:
            raise InputError(f"the plan's sections have more than {MOST_BARS:,} bars")
        written = _text(block, "chords")
        chords += fitted(parse_bars(written), bars) if written else [()] * bars
    return tuple(sections), tuple(chords)


def fitted(progression: Sequence[BarChords], bars: int) -> list[BarChords]:
    """A progression that loops until `bars` bars are full."""
    return [progression[i % len(progression)] for i in range(bars)]


def spread(chords: Mapping[str, Sequence[BarChords]], bars: int, sections: Sequence[Section] = ()) -> tuple[BarChords, ...]:
    """Chords as `parse_chords` gives them → the chords of every bar; raises InputError where a section is not in the form.

    Chords for all of the piece begin anew with each section, unless they are as many bars as the piece.
    """
    if "" in chords:
        if not sections or len(chords[""]) == bars:
            return tuple(fitted(chords[""], bars))
        return tuple(c for s in sections for c in fitted(chords[""], s.bars))
    letters = {s.letter for s in sections}
    for name in chords:
        if name not in letters:
            known = ", ".join(sorted(letters)) or "none; give --form"
            raise InputError(f"there are chords for section {name!r}, which the form does not have; its sections: {known}")
    return tuple(c for s in sections for c in (fitted(chords[s.letter], s.bars) if s.letter in chords else [()] * s.bars))


__all__ = [
    "MOST_CHORDS", "OPEN", "BarChords", "Plan", "fitted", "key_of", "parse_bars", "parse_chords", "parse_form", "parse_meter",
    "show_bars", "spread", "write_form",
]  # fmt: skip
