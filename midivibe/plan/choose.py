"""Which of several headers to take: the one that suits the vibe best among those that people's music knows.

The model draws them as it is, so each is as likely as its music; nothing is pushed to an extreme. A header is likely where its
tempo lies between the 1st and the 99th percentile of people's tempi in its style and meter, and every two of its instruments
occur together in people's songs. How well it suits is the distance of the vibe that music with such a header has on average (a
linear fit on 170,000 windows, `scripts/build_plans.py`) to the vibe that was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from midivibe.midi.instruments import FAMILIES
from midivibe.midi.notes import DRUMS
from midivibe.tokens.layout import Header
from midivibe.tokens.vocabulary import (
    STYLES,
)
from midivibe.vibe.axes import AXES, Vibe

HARSH_GUITARS = (29, 30)
"""Overdriven and distorted."""
SECTION_BARS = 8
FORMS = ("AABA", "ABAB", "AABB", "ABABCB")
UNUSUAL_TEMPO = 0.15
"""What a tempo at the end of people's range costs, beside squared distances of the vibe: choosing by vibe alone made all that
is happy fast ("happy pop song": 190 BPM)."""
WEIGHTS = np.where(np.array(AXES) == "arousal", 4.0, 1.0)
"""What a miss of each axis costs: a header decides the tempo and little else of how lively music is. With all alike, sad and
calm requests (valence and arousal .15) had a median of 95 BPM, 8 seeds; so they have 87."""
BASSES = range(32, 40)
METERS = ((4, 4), (2, 4), (3, 4), (6, 8), (12, 8))
BANDS_OF_ALL = "other"


@cache
def tables() -> dict[str, Any]:
    """Tempo ranges, pairs of instruments and the fit, from data/plans.json."""
    found: dict[str, Any] = json.loads((files("midivibe") / "data" / "plans.json").read_text())
    return found


def header_features(header: Header) -> np.ndarray:
    """What a header says, as numbers for the fit: (F,)."""
    octaves = np.log2(header.tempo / 120)
    parts = [p for p in header.programs if p != DRUMS]
    families = np.bincount([p // 8 for p in parts], minlength=len(FAMILIES)) / max(len(parts), 1)
    return np.array(
        [
            1.0, octaves, octaves**2, header.mode == "major", header.mode == "minor", *(header.meter == m for m in METERS),
            *(header.style == s for s in STYLES), len(parts), DRUMS in header.programs, *families,
            any(p in HARSH_GUITARS for p in parts),
        ],
        dtype=float,
    )  # fmt: skip


def expected_vibe(header: Header) -> np.ndarray:
    """The vibe that people's music with such a header has on average: (7,) from 0 to 1."""
    expected: np.ndarray = (header_features(header) @ np.array(tables()["fit"])).clip(0, 1)
    return expected


def tempo_range(style: str, meter: tuple[int, int]) -> tuple[float, float]:
    """People's 1st and 99th percentile of tempo, in BPM; of all styles where a style has too few songs in that meter."""
    table = tables()["tempo"]
    name = "{}/{}".format(*meter)
    low, high = table.get(f"{style} {name}") or table.get(f"{BANDS_OF_ALL} {name}") or table[BANDS_OF_ALL]
    return low, high


def unheard_pairs(programs: Sequence[int]) -> int:
    """Pairs of instruments of a band that occur together in no song of people's."""
    together = tables()["together"]
    return sum(b not in together.get(str(a), ()) for i, a in enumerate(sorted(programs)) for b in sorted(programs)[i + 1 :])


def lacks_bass(programs: Sequence[int]) -> bool:
    """Whether a band of four and more has drums and no bass: 97 of 100 of people's have one."""
    return len(programs) >= 4 and DRUMS in programs and not any(p in BASSES for p in programs)


def likely(header: Header, tempo: float | None = None) -> bool:
    """Whether people's music has such a tempo and such a band; a tempo that was asked for is not judged."""
    low, high = tempo_range(header.style, header.meter)
    fine = tempo is not None or low <= header.tempo <= high
    return fine and not unheard_pairs(header.programs) and not lacks_bass(header.programs)


def misfit(header: Header, vibe: Vibe) -> float:
    """Distance of what music with such a header is like to the vibe asked for, over the axes it knows: 0 suits best."""
    known = np.array(vibe.confidence) * WEIGHTS
    return float((known * (expected_vibe(header) - vibe.values) ** 2).sum())


def usual_form(bars: int, draw: float) -> str:
    """A form for a piece of many bars, drawn by a number from 0 to 1: sections of eight bars that return, intro or outro.

    AABA and verse-chorus forms lead in popular music (Everett 2009; Temperley 2018).
    """
    blocks, rest = divmod(bars, SECTION_BARS)
    pattern = FORMS[int(draw * len(FORMS))]
    letters = (pattern * (blocks // len(pattern) + 1))[:blocks]
    if (letters.endswith("A") and "B" in letters) or rest == 0:
        return (f"i{rest} " if rest else "") + " ".join(f"{letter}{SECTION_BARS}" for letter in letters)
    return " ".join(f"{letter}{SECTION_BARS}" for letter in letters) + f" o{rest}"


def unusual(header: Header) -> float:
    """How far a tempo lies from the middle of people's range, in octaves, as a share of half the range: 1 is an end of it."""
    low, high = np.log2(tempo_range(header.style, header.meter))
    return float(abs(2 * np.log2(header.tempo) - low - high) / (high - low))


def choose(headers: Sequence[Header], vibe: Vibe, tempo: float | None = None) -> int:
    """The place of the likely header that suits a vibe best without a tempo out of the way; of all where none is likely."""

    def cost(header: Header) -> tuple[bool, float]:
        return not likely(header, tempo), misfit(header, vibe) + UNUSUAL_TEMPO * (tempo is None) * unusual(header) ** 2

    return min(range(len(headers)), key=lambda i: cost(headers[i]))


__all__ = ["choose", "expected_vibe", "header_features", "likely", "misfit", "tables", "tempo_range", "unheard_pairs"]
