"""The plan in the ids: what a bar says of its section, of an earlier bar that it repeats, and of its chords, before its notes.

    Bar [TimeSig] [Tempo] [Section Length] [Return] [Root Quality [Position Root Quality] ...] Program ...

Chords are in the key that is modelled. A `Lead` says what is known of a bar; what it leaves open is left out of the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from midivibe.midi.theory import QUALITIES
from midivibe.tokens.vocabulary import (
    LENGTH,
    LONGEST_ENDING,
    NO_ROOT,
    POSITION,
    QUALITY,
    RETURN,
    ROOT,
    SECTION,
    SECTIONS,
    Vocabulary,
)

ChordAt = tuple[int, int, str]
"""Grid ticks after the bar line, root -1 (no chord) to 11, and a quality of `QUALITIES`, or "none"."""
_CODE = {quality: place for place, quality in enumerate(QUALITIES)}


@dataclass(frozen=True)
class Lead:
    """What the plan says of one bar."""

    section: str = ""
    """its letter, where the section or the window begins"""
    left: int = 0
    """bars of the section from here on, this one included"""
    back: int = 0
    """how many bars of the window ago the bar was that this one repeats; 0 where it repeats none"""
    chords: tuple[ChordAt, ...] = ()
    """the first on the bar line; none where the chords are not known"""

    def ids(self, v: Vocabulary) -> list[int]:
        """The ids after the Bar and its changes; none in a vocabulary without them."""
        if not v.plans:
            return []
        ids: list[int] = []
        if self.section:
            letter = self.section if self.section in SECTIONS else "H"
            ids += [v[f"Section_{letter}"], v[f"Length_{min(max(self.left, 1), LONGEST_ENDING)}"]]
        if self.back:
            ids.append(v[f"Return_{self.back}"])
        for tick, root, quality in self.chords:
            ids += ([v[f"Position_{tick}"]] if tick else []) + v.chord_ids(root, quality)
        return ids


def chord_code(root: int, quality: str | int) -> int:
    """A chord as one number: 1 for none, else 2 + 10 · root + quality. 0 is a chord that is not known."""
    if root == NO_ROOT:
        return 1
    return 2 + len(QUALITIES) * root + (_CODE[quality] if isinstance(quality, str) else quality)


def chords_in(ids: Sequence[int] | np.ndarray, v: Vocabulary) -> tuple[ChordAt, ...]:
    """The chords that the ids of one bar say."""
    found: list[ChordAt] = []
    names = tuple(QUALITIES)
    for i, token in enumerate(ids):
        kind, value = v.entries[int(token)]
        if kind != ROOT:
            continue
        before = v.entries[int(ids[i - 1])] if i else (-1, 0)
        tick = int(before[1]) if before[0] == POSITION else 0
        none = value == NO_ROOT
        found.append((tick, int(value), "none" if none else names[int(v.entries[int(ids[i + 1])][1])]))
    return tuple(found)


def is_chord(ids: np.ndarray, v: Vocabulary) -> np.ndarray:
    """Which ids (T,) say a chord, or where in the bar it comes."""
    kind = v.type[ids]
    chord: np.ndarray = (kind == ROOT) | (kind == QUALITY)
    chord[:-1] |= (kind[:-1] == POSITION) & (kind[1:] == ROOT)
    return chord


def is_plan(ids: np.ndarray, v: Vocabulary) -> np.ndarray:
    """Which ids (T,) belong to the plan."""
    plan: np.ndarray = is_chord(ids, v) | np.isin(v.type[ids], (SECTION, LENGTH, RETURN))
    return plan


def without(
    ids: np.ndarray, v: Vocabulary, *, chords: bool = False, sections: bool = False, returns: bool = False
) -> np.ndarray:
    """Ids (T,) without some kinds of plan: those that are true."""
    kind = v.type[ids]
    gone = np.zeros(len(ids), dtype=bool)
    if chords:
        gone |= is_chord(ids, v)
    if sections:
        gone |= (kind == SECTION) | (kind == LENGTH)
    if returns:
        gone |= kind == RETURN
    return ids[~gone]


__all__ = ["ChordAt", "Lead", "chord_code", "chords_in", "is_chord", "is_plan", "without"]
