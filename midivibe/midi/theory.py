"""Keys, scales and chords. Pitch classes count from C = 0; a key is (tonic, mode)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np

from midivibe.errors import InputError

# Krumhansl & Kessler 1982, probe-tone ratings of the twelve pitch classes above the tonic.
MAJOR_PROFILE = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR_PROFILE = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])

MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
MINOR_SCALE = (0, 2, 3, 5, 7, 8, 10)

TONICS = {"major": "C Db D Eb E F Gb G Ab A Bb B".split(), "minor": "C C# D Eb E F F# G G# A Bb B".split()}
"""The usual spelling of each tonic: the key signature with fewer accidentals."""

QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "dim": (0, 3, 6),
    "m7b5": (0, 3, 6, 10),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "aug": (0, 4, 8),
}
"""The qualities and their tones above the root: root, third (or what stands for it), fifth, seventh."""

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def _standard(profile: np.ndarray) -> np.ndarray:
    centred = profile - profile.mean()
    unit: np.ndarray = centred / np.linalg.norm(centred)
    return unit


_PROFILES = np.stack(
    [np.roll(_standard(p), tonic) for p in (MAJOR_PROFILE, MINOR_PROFILE) for tonic in range(12)]
)  # (24, 12): C major .. B major, C minor .. B minor
_SCALES = np.stack([np.isin(np.arange(12), (np.array(MAJOR_SCALE) + tonic) % 12) for tonic in range(12)])  # (12, 12)


def key_correlations(histogram: np.ndarray) -> np.ndarray:
    """Correlation of a duration-weighted pitch-class histogram (12) with the 24 key profiles, major keys first.

    Source: the Krumhansl-Schmuckler algorithm (Krumhansl 1990).
    """
    centred = histogram - histogram.mean()
    norm = np.linalg.norm(centred)
    return _PROFILES @ (centred / norm) if norm > 1e-12 else np.zeros(24)


def detect_key(histogram: np.ndarray) -> tuple[int, str, float]:
    """The best key of a pitch-class histogram (12): (tonic, mode, correlation -1..1)."""
    correlations = key_correlations(histogram)
    best = int(correlations.argmax())
    return best % 12, "major" if best < 12 else "minor", float(correlations[best])


def in_scale_share(histogram: np.ndarray) -> float:
    """Largest share of the histogram's weight that one of the 12 diatonic collections covers, 0..1."""
    total = histogram.sum()
    return float((_SCALES @ histogram).max() / total) if total > 0 else 1.0


@dataclass(frozen=True)
class Key:
    """A key as it is spelled: `name` is the tonic ("F#"), `mode` major or minor."""

    name: str
    mode: str

    @property
    def tonic(self) -> int:
        """Pitch class of the tonic, C = 0."""
        return (_LETTERS[self.name[0]] + self.name.count("#") - self.name.count("b")) % 12

    @property
    def sharps(self) -> int:
        """Accidentals of the key signature: sharps above 0, flats below."""
        fifths = "FCGDAEB".index(self.name[0]) - 1 + 7 * (self.name.count("#") - self.name.count("b"))
        return fifths - 3 * (self.mode == "minor")

    def __str__(self) -> str:
        return f"{self.name} {self.mode}"

    @classmethod
    def of(cls, tonic: int, mode: str) -> Key:
        """The usual spelling of a key."""
        return cls(TONICS[mode][tonic % 12], mode)

    @classmethod
    def parse(cls, text: str) -> Key:
        """ "D minor", "F# major", "Bbm", "C" → Key, spelled as asked where a signature of at most 7 accidentals exists.

        Raises:
            InputError: not a tonic and a mode.
        """
        match = re.fullmatch(r"\s*([A-Ga-g])\s*(#|♯|b|♭|-?sharp|-?flat|)\s*[- ]?\s*(major|minor|maj|min|m|M|)\s*", text)
        if not match:
            raise InputError(f'unknown key {text!r}; write a tonic and a mode, as in "D minor", "F# major", "Bbm"')
        letter, accidental, mode = match.groups()
        sign = "#" if accidental in ("#", "♯", "sharp", "-sharp") else "b" if accidental else ""
        key = cls(letter.upper() + sign, "minor" if mode in ("minor", "min", "m") else "major")
        return key if abs(key.sharps) <= 7 else cls.of(key.tonic, key.mode)


# Names of notes -----------------------------------------------------------------------------------------------------------

_USUAL = "C Db D Eb E F F# G Ab A Bb B".split()
_FIFTHS = "Gb Db Ab Eb Bb F C G D A E B F# C# G# D# A#".split()
"""Names by their place on the line of fifths, from -6; C is 0."""
_FIFTHS_UP = (0, -5, 2, -3, 4, -1, -6, 1, -4, 3, -2, 5)
"""Steps on that line to the tone so many semitones higher."""


@cache
def note_names(key: Key | None) -> tuple[str, ...]:
    """How the twelve pitch classes are written in a key: from its flat second to its sharp fourth on the line of fifths."""
    names = list(_USUAL)
    if key is not None:
        tonic = key.sharps + 3 * (key.mode == "minor")
        for place in range(max(tonic - 5, -6), min(tonic + 6, 10) + 1):
            names[7 * place % 12] = _FIFTHS[place + 6]
    return tuple(names)


def tone_above(root: str, semitones: int) -> str:
    """How the tone so many semitones above a root is written in a chord: Eb above C, D# above B."""
    place = _FIFTHS.index(root) + _FIFTHS_UP[semitones % 12]
    return _FIFTHS[place] if 0 <= place < len(_FIFTHS) else _USUAL[7 * (place - 6) % 12]
