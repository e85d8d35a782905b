"""General MIDI instruments: names, families, everyday names, and the pitches that each can play."""

from __future__ import annotations

import re
from collections.abc import Iterable

from midivibe.errors import InputError, nearest
from midivibe.midi.notes import DRUMS

NAMES = (
    "Acoustic Grand Piano;Bright Acoustic Piano;Electric Grand Piano;Honky-tonk Piano;Electric Piano 1;Electric Piano 2;"
    "Harpsichord;Clavinet;Celesta;Glockenspiel;Music Box;Vibraphone;Marimba;Xylophone;Tubular Bells;Dulcimer;"
    "Drawbar Organ;Percussive Organ;Rock Organ;Church Organ;Reed Organ;Accordion;Harmonica;Tango Accordion;"
    "Nylon Guitar;Steel Guitar;Jazz Guitar;Clean Electric Guitar;Muted Guitar;Overdriven Guitar;Distortion Guitar;"
    "Guitar Harmonics;Acoustic Bass;Fingered Bass;Picked Bass;Fretless Bass;Slap Bass 1;Slap Bass 2;Synth Bass 1;"
    "Synth Bass 2;Violin;Viola;Cello;Contrabass;Tremolo Strings;Pizzicato Strings;Orchestral Harp;Timpani;"
    "String Ensemble 1;String Ensemble 2;Synth Strings 1;Synth Strings 2;Choir Aahs;Voice Oohs;Synth Voice;"
    "Orchestra Hit;Trumpet;Trombone;Tuba;Muted Trumpet;French Horn;Brass Section;Synth Brass 1;Synth Brass 2;"
    "Soprano Sax;Alto Sax;Tenor Sax;Baritone Sax;Oboe;English Horn;Bassoon;Clarinet;Piccolo;Flute;Recorder;Pan Flute;"
    "Blown Bottle;Shakuhachi;Whistle;Ocarina;Square Lead;Saw Lead;Calliope Lead;Chiff Lead;Charang Lead;Voice Lead;"
    "Fifths Lead;Bass and Lead;New Age Pad;Warm Pad;Polysynth Pad;Choir Pad;Bowed Pad;Metallic Pad;Halo Pad;Sweep Pad;"
    "Rain;Soundtrack;Crystal;Atmosphere;Brightness;Goblins;Echoes;Sci-fi;Sitar;Banjo;Shamisen;Koto;Kalimba;Bagpipe;"
    "Fiddle;Shanai;Tinkle Bell;Agogo;Steel Drums;Woodblock;Taiko Drum;Melodic Tom;Synth Drum;Reverse Cymbal;"
    "Fret Noise;Breath Noise;Seashore;Bird Tweet;Telephone;Helicopter;Applause;Gunshot"
).split(";")

FAMILIES = (
    "piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass", "reed", "pipe",
    "synth lead", "synth pad", "synth effects", "ethnic", "percussive", "sound effects",
)  # fmt: skip

EVERYDAY = {
    "piano": 0, "grand piano": 0, "upright piano": 1, "electric piano": 4, "rhodes": 4, "keyboard": 4, "keys": 0,
    "harpsichord": 6, "clavinet": 7, "celesta": 8, "glockenspiel": 9, "music box": 10, "vibraphone": 11,
    "marimba": 12, "xylophone": 13, "bells": 14, "tubular bells": 14, "chimes": 14, "dulcimer": 15, "organ": 16,
    "hammond": 16, "rock organ": 18, "church organ": 19, "pipe organ": 19, "accordion": 21, "harmonica": 22,
    "bandoneon": 23, "guitar": 25, "acoustic guitar": 25, "classical guitar": 24, "nylon guitar": 24, "ukulele": 24,
    "electric guitar": 27, "jazz guitar": 26, "clean guitar": 27, "muted guitar": 28, "overdriven guitar": 29,
    "distorted guitar": 30, "heavy guitar": 30, "bass": 33, "bass guitar": 33, "electric bass": 33, "double bass": 32,
    "upright bass": 32, "acoustic bass": 32, "contrabass": 43, "fretless bass": 35, "slap bass": 36, "synth bass": 38,
    "violin": 40, "viola": 41, "cello": 42, "strings": 48, "string section": 48, "string ensemble": 48, "orchestra": 48,
    "low strings": 42, "pizzicato": 45, "harp": 46, "timpani": 47, "choir": 52, "voices": 52, "voice": 53, "vocals": 53,
    "trumpet": 56, "trombone": 57, "tuba": 58, "horn": 60, "french horn": 60, "brass": 61, "sax": 65, "saxophone": 65,
    "soprano sax": 64, "alto sax": 65, "tenor sax": 66, "baritone sax": 67, "oboe": 68, "english horn": 69, "bassoon": 70,
    "clarinet": 71, "woodwinds": 71, "piccolo": 72, "flute": 73, "recorder": 74, "pan flute": 75, "whistle": 78,
    "ocarina": 79, "synth": 81, "synthesizer": 81, "lead": 81, "synth lead": 81, "square lead": 80, "pad": 89,
    "synth pad": 89, "warm pad": 89, "pads": 89, "sitar": 104, "banjo": 105, "shamisen": 106, "koto": 107, "kalimba": 108,
    "bagpipe": 109, "bagpipes": 109, "fiddle": 110, "steel drums": 114, "taiko": 116, "drums": DRUMS, "drum": DRUMS,
    "drum kit": DRUMS, "percussion": DRUMS,
}  # fmt: skip

# Lowest and highest sounding pitch a family is written for; single instruments below it. After GM2's recommendations,
# widened where arrangers commonly go further.
_FAMILY_RANGE = (
    (21, 108), (48, 108), (36, 96), (40, 88), (24, 60), (28, 96), (28, 96), (34, 84), (34, 88), (55, 103), (36, 100),
    (36, 96), (36, 96), (43, 88), (36, 96), (24, 108),
)  # fmt: skip
_OWN_RANGE = {
    40: (55, 100), 41: (48, 88), 42: (36, 76), 43: (28, 60), 46: (23, 103), 47: (36, 57), 52: (48, 79), 53: (48, 79),
    56: (54, 86), 57: (34, 74), 58: (28, 58), 60: (34, 77), 64: (54, 87), 65: (49, 80), 66: (42, 75), 67: (37, 68),
    68: (58, 91), 69: (52, 81), 70: (34, 72), 71: (50, 91), 72: (74, 108), 73: (60, 96), 87: (28, 88),
}  # fmt: skip

_KINDS: dict[str, Iterable[int]] = {
    "piano": range(6), "keyboard": range(8), "keys": range(8), "organ": range(16, 21), "guitar": range(24, 32),
    "acoustic guitar": (24, 25), "electric guitar": range(26, 32), "bass": range(32, 40),
    "strings": (*range(40, 46), *range(48, 52)),
    "choir": range(52, 55), "voice": range(52, 55), "voices": range(52, 55), "vocals": range(52, 55), "trumpet": (56, 59),
    "brass": range(56, 64), "sax": range(64, 68), "saxophone": range(64, 68), "woodwinds": range(64, 80),
    "synth": (38, 39, 50, 51, 54, 62, 63, *range(80, 104)), "synthesizer": (38, 39, 50, 51, 54, 62, 63, *range(80, 104)),
    "lead": range(80, 88), "synth lead": range(80, 88), "pad": range(88, 96), "pads": range(88, 96), "synth pad": range(88, 96),
    "synth bass": (38, 39), "slap bass": (36, 37),
}  # fmt: skip
"""Names of kinds of instruments: who wants none of them wants no other of the kind either."""

_BY_NAME = {name.lower(): program for program, name in enumerate(NAMES)} | EVERYDAY


def name_of(program: int) -> str:
    """The instrument's name; "Drums" for the kit."""
    return "Drums" if program == DRUMS else NAMES[program]


def family_of(program: int) -> str:
    """The General MIDI family, or "drums"."""
    return "drums" if program == DRUMS else FAMILIES[program // 8]


def pitch_range(program: int) -> tuple[int, int]:
    """Lowest and highest pitch written for a program; the General MIDI kit for drums."""
    if program == DRUMS:
        return 27, 87
    return _OWN_RANGE.get(program, _FAMILY_RANGE[program // 8])


def parse_instrument(text: str) -> int:
    """A name, everyday name or program number (0..127) → program, DRUMS for drums; raises InputError."""
    word = re.sub(r"\s+", " ", text.strip().lower().replace("_", " "))
    if re.fullmatch(r"\d{1,3}", word):
        if int(word) > 127:
            raise InputError(f"instrument {word} is not a General MIDI program; they go from 0 to 127")
        return int(word)
    for candidate in (word, word.removesuffix("s"), word + "s"):
        if candidate in _BY_NAME:
            return _BY_NAME[candidate]
    raise InputError(f"unknown instrument {text.strip()!r}; the nearest are {nearest(word, _BY_NAME)}")


def programs_of_kind(name: str) -> tuple[int, ...]:
    """All programs that a name stands for where it is ruled out: "bass" → 32 to 39, "fiddle" → 110."""
    return tuple(_KINDS[name]) if name in _KINDS else (_BY_NAME[name],)


def parse_instruments(asked: str | Iterable[int]) -> tuple[int, ...]:
    """ "piano,bass,drums", or programs from 0 and -1 for drums → programs, each once, in that order; raises InputError."""
    if isinstance(asked, str):
        asked = [parse_instrument(part) for part in asked.split(",") if part.strip()]
    programs = tuple(dict.fromkeys(asked))
    for program in programs:
        if program not in range(-1, 128):
            raise InputError(f"instrument {program!r} is not a General MIDI program; they go from 0 to 127, and -1 is drums")
    if not programs:
        raise InputError("no instruments given; write names with commas, as in piano,bass,drums")
    if len([p for p in programs if p != DRUMS]) > 15:
        raise InputError(f"{len(programs)} instruments asked for; a MIDI file has channels for 15 and drums")
    return programs
