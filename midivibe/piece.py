"""What comes out of composing: the settings that decide a piece, the piece, and its bars while it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from symusic import Score

from midivibe.config import SampleConfig, StrictConfig, option
from midivibe.errors import InputError, nearest
from midivibe.files import replacing
from midivibe.midi.instruments import name_of
from midivibe.midi.notes import DRUMS
from midivibe.midi.score import FILE_TICKS, write
from midivibe.midi.theory import Key
from midivibe.plan.form import parse_form
from midivibe.plan.plan import Plan, parse_chords, spread
from midivibe.requests import MAX_BARS
from midivibe.tokens.vocabulary import STYLES
from midivibe.version import VERSION
from midivibe.vibe.axes import AXES, Vibe

MOST_MELODIC = 15
"""Channels of a MIDI file beside that of the drums."""
FEWEST_LEFT = 32
"""Programs that must be left to choose from: sound effects and harsh guitars may go besides."""
NOT_SETTINGS = ("midivibe", "result")
"""What a settings file says beside the settings: the version that wrote it, and what came out."""


@dataclass(frozen=True)
class Settings(StrictConfig):
    """All that decides a piece. The same settings and checkpoint give the same bytes."""

    bars: int = option(16, "exact length in bars", low=1, high=MAX_BARS)
    form: str | None = option(None, 'sections and their bars, such as "i4 A8 B8 A8"; None for none asked for')
    chords: str | None = option(None, 'chords for all bars, or by section: "A: Am F; B: C G"')
    seed: int = option(0, "seed of every draw", low=0, high=2**63 - 1)
    vibes: tuple[Vibe, ...] = (Vibe(),)
    """one, or the stations of a journey through the bars"""
    tempo: float | None = option(None, "beats (quarter notes) a minute", low=20, high=300, unit="beats a minute")
    key: str | None = option(None, 'such as "D minor"; None draws one')
    mode: str | None = option(None, "of the key", choices=("major", "minor"))
    meter: tuple[int, int] | None = None
    programs: tuple[int, ...] | None = None
    excluded: tuple[int, ...] = ()
    """programs that the model may not choose"""
    style: str | None = option(None, "style of music", choices=STYLES)
    sampling: SampleConfig = field(default_factory=SampleConfig)
    source: tuple[str, ...] = ()
    """where the vibe came from, for people to read"""
    title: str = option("midivibe", "the name that the MIDI file carries")
    checkpoint: str = option("", "name and digest of the weights")

    def __post_init__(self) -> None:
        """Check every value; raises InputError."""
        super().__post_init__()
        if not self.vibes:
            raise InputError("vibes is empty; a piece needs one at least")
        if self.meter is not None and not (len(self.meter) == 2 and all(_whole(n, 1, 64) for n in self.meter)):
            raise InputError(f"meter is {self.meter!r}; write two whole numbers, such as [3, 4]")
        for name in ("programs", "excluded"):
            for program in getattr(self, name) or ():
                if not _whole(program, DRUMS, 127):
                    raise InputError(f"{name} holds {program!r}; a program is a whole number from 0 to 127, or -1 for drums")
        if self.programs is not None and (not self.programs or len(set(self.programs)) < len(self.programs)):
            raise InputError(f"programs is {self.programs!r}; name each once, and one at least")
        plan_of(self)
        if len(set(self.programs or ()) - {DRUMS}) > MOST_MELODIC:
            raise InputError(
                f"programs holds {len(self.programs or ())}; a MIDI file has channels for {MOST_MELODIC} beside drums"
            )
        if len(set(range(128)) - set(self.excluded)) < FEWEST_LEFT:
            raise InputError(f"excluded leaves fewer than {FEWEST_LEFT} programs to choose from")
        if self.key is not None and self.mode not in (None, Key.parse(self.key).mode):
            raise InputError(f"mode is {self.mode!r}, and the key is {self.key}")

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        values = asdict(replace(self, vibes=(Vibe(),)))
        values["vibes"] = [
            {"values": dict(zip(AXES, v.values, strict=True)), "confidence": list(v.confidence), "reasons": dict(v.reasons)}
            for v in self.vibes
        ]
        return {"midivibe": VERSION, **values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """Read what `to_json` made; raises InputError where the values are not those of a piece."""
        try:
            found = {k: v for k, v in values.items() if k not in NOT_SETTINGS}
            for name in found:
                if name not in cls.__dataclass_fields__:
                    raise InputError(f"there is no {name!r}; did you mean {nearest(name, cls.__dataclass_fields__, 1)}?")
            for reasons in (v.get("reasons", {}) for v in found["vibes"]):
                if not isinstance(reasons, Mapping) or not all(isinstance(x, str) for x in (*reasons, *reasons.values())):
                    raise InputError("the reasons of a vibe must be texts by axis")
            source = found.get("source", ())
            if not isinstance(source, list | tuple) or not all(isinstance(x, str) for x in source):
                raise InputError("source must be a list of texts")
            found["vibes"] = tuple(
                Vibe(tuple(v["values"][a] for a in AXES), tuple(v["confidence"]), v.get("reasons", {})) for v in found["vibes"]
            )
            found["sampling"] = SampleConfig.from_dict(found.get("sampling", {}))
            for name in ("meter", "programs", "excluded", "source"):
                if found.get(name) is not None:
                    found[name] = tuple(found[name])
            return cls(**found)
        except (KeyError, TypeError, AttributeError, InputError) as error:
            what = error if isinstance(error, InputError) else repr(error)
            raise InputError(f"these are not the settings of a piece: {what}") from error


def plan_of(settings: Settings) -> Plan:
    """What is asked of a piece's sections and chords; raises InputError where form, chords and bars do not agree."""
    sections = parse_form(settings.form) if settings.form is not None else ()
    chords = spread(parse_chords(settings.chords), settings.bars, sections) if settings.chords is not None else ()
    key = Key.parse(settings.key) if settings.key is not None else None
    return Plan(settings.bars, key, settings.tempo, settings.meter, settings.style, settings.programs, sections, chords)


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


@dataclass
class Piece:
    """A composed piece. `score` is at 480 ticks a beat; `vibe` is what was asked, `heard` what its notes measure as."""

    score: Score
    vibe: Vibe
    settings: dict[str, Any]
    key: str
    meter: str
    tempo: float
    programs: tuple[int, ...]
    title: str = "midivibe"

    @cached_property
    def plan(self) -> Plan:
        """The plan that it follows, with all that was drawn for it."""
        return Plan.from_json(self.settings["result"]["plan"])

    @cached_property
    def heard(self) -> Vibe:
        """The vibe that the music itself measures as."""
        from midivibe.vibe.music import music_vibe

        return music_vibe(self.score)

    def save(self, path: str | Path) -> Path:
        """Write the MIDI file; raises OutputError."""
        write(self.score, path, self.title, self.plan.chord_marks(FILE_TICKS))
        return Path(path)

    def render(self, path: str | Path, soundfont: str | Path | None = None) -> Path:
        """Write audio (.wav, .flac, .ogg, .mp3); raises AudioError, SoundfontError or OutputError."""
        from midivibe.output.audio import render_score

        render_score(self.score, path, soundfont)
        return Path(path)

    def plot(self, path: str | Path) -> Path:
        """Write a piano roll as PNG; raises OutputError."""
        from midivibe.output.pianoroll import plot_score

        caption = f"{self.key}, {self.meter}, {self.tempo:g} BPM — {self.vibe.describe()}"
        sections = [(s.start, s.name) for s in self.plan.sections]
        plot_score(
            self.score, path, title=self.title, caption=caption, sections=sections, chords=self.plan.chord_marks(FILE_TICKS)
        )
        return Path(path)

    def save_settings(self, path: str | Path) -> Path:
        """Write the settings as JSON, enough to compose the piece again."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.settings, indent=1) + "\n")
        return Path(path)

    def why(self) -> str:
        """One line that says why the piece is as it is."""
        band = ", ".join(name_of(p).lower() for p in self.programs)
        return f"{self.vibe.describe()} → {self.key}, {self.tempo:g} BPM, {self.meter}, {band}"


@dataclass(frozen=True)
class Bar:
    """A bar of a piece that is being written: its number from 1, its notes at their place in the piece, its time in seconds.

    Tracks of `score` stand in the order of the piece's instruments, `programs`; silent ones are there without notes.
    """

    number: int
    bars: int
    start: float
    length: float
    score: Score
    programs: tuple[int, ...]


__all__ = ["Bar", "Piece", "Settings", "plan_of"]
