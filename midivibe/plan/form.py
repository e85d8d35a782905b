"""Form: sections and their letters, as strings, from a file's markers, or from what the bars hold; and bars that return.

Letters: A, B, C, ... by order of first appearance; i intro, b bridge, s solo or interlude, o outro. Bars count from 0.
The weights in data/form.json were fitted by `scripts/fit_labels.py sections` on two thirds of the marked songs of the band
set; docs/plan.md says how well they do on the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from midivibe.errors import InputError
from midivibe.midi.notes import Notes
from midivibe.plan.bars import VIEWS, Bars, along, bars_of, signs
from midivibe.plan.chords import Labels, chords_of

BARS_BY_DEFAULT = 8
LONGEST_SECTION = 128
SPECIAL = {"i": "intro", "b": "bridge", "s": "solo or interlude", "o": "outro"}

MOST_BARS = 1_500
"""Longer music is not compared bar by bar: that would take bars², and no song is so long."""


# Sections and form strings ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """`bars` bars from bar `start` (from 0). `letter`: A to Z, sections with one letter are alike; or one of SPECIAL."""

    letter: str
    start: int
    bars: int

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Z]", self.letter) and self.letter not in SPECIAL:
            raise InputError(f"unknown section {self.letter!r}; {_LETTERS}")
        if self.start < 0 or not 1 <= self.bars <= LONGEST_SECTION:
            raise InputError(
                f"section {self.letter} has {self.bars} bars from bar {self.start}; it may have 1 to {LONGEST_SECTION}"
            )

    @property
    def end(self) -> int:
        """The bar after its last one."""
        return self.start + self.bars

    @property
    def name(self) -> str:
        """As markers say it: the letter, or what a special one stands for."""
        return SPECIAL.get(self.letter, self.letter).split()[0]


_LETTERS = "sections are A to Z, " + ", ".join(f"{letter} ({name})" for letter, name in SPECIAL.items())


def write_form(sections: Sequence[Section]) -> str:
    """Sections → "i4 A8 B8 A8 o4"."""
    return " ".join(f"{s.letter}{s.bars}" for s in sections)


def parse_form(text: str) -> tuple[Section, ...]:
    """ "i4A8A8B8", "i4 A8 A8 B8", "AABA" (8 bars each) → sections from bar 0 on.

    Raises:
        InputError: anything else.
    """
    sections: list[Section] = []
    rest, at = text.strip(), 0
    if not rest:
        raise InputError('an empty form; write sections and their bars, as in "i4 A8 B8 A8 o4" or "AABA"')
    while rest:
        match = re.match(r"([A-Za-z])(\d*)[\s,|-]*", rest)
        if not match:
            raise InputError(f'cannot read the form {text!r} at {rest!r}; write sections and bars, as in "i4 A8 B8 A8 o4"')
        if match[1] not in SPECIAL and not match[1].isupper():
            raise InputError(f"unknown section {match[1]!r} in the form {text!r}; {_LETTERS}")
        bars = int(match[2][:6]) if match[2] else BARS_BY_DEFAULT
        if not 1 <= bars <= LONGEST_SECTION:
            raise InputError(f"section {match[0].strip()} of the form {text!r}: 1 to {LONGEST_SECTION} bars, not {bars}")
        sections.append(Section(match[1], at, bars))
        at += bars
        rest = rest[match.end() :]
    return tuple(sections)


# Sections from markers --------------------------------------------------------------------------------------------------

_NAMED = (
    ("pre", r"pre[ -]?(ch|ref)|^pre\b|build|climb"),
    ("chorus", r"ch?o?r[ou]+s|chor|refr|^ref\b|^ch\b|^ch ?\d|hook|^ref ?\d|pripev|ritornello|estribillo"),
    ("verse", r"vers|^v ?\d*\b|^vs ?\d*|couplet|strof|stroph|estrofa|kuplet|canto"),
    ("i", r"^intr|^in\b|^int\b|prelude|^start"),
    ("o", r"outr|^out|^end|ending|coda|^fin|fade|extro|conclus|^tag"),
    ("b", r"bridge|^br\b|^br ?\d|middle|^mid"),
    ("s", r"solo|^inst|instrum|interl|break|^brk|riff|lead"),
)
_NO_NAME = re.compile(r"prod|copyr|@|www|secured|\.com|reserved")


def section_name(text: str) -> str | None:
    """A marker's text → what kind of section it names: verse, chorus, pre, i, o, b, s, or a letter; None where none."""
    text = text.strip().lower()
    letter = re.fullmatch(r"\W?([a-h])'?\d?'?\W?", text)
    if letter:
        return f"letter {letter[1]}"
    if _NO_NAME.search(text):
        return None
    return next((name for name, pattern in _NAMED if re.search(pattern, text)), None)


def named_bars(markers: Sequence[tuple[int, str]], notes: Notes) -> list[tuple[int, str]]:
    """Bars where a marker names a section, with the name; empty where fewer than three do, all alike or off the bar lines.

    `markers` are ticks and texts. Off the bar lines: more than a fifth is over half a quarter away from one.
    """
    found = [(tick, name) for tick, text in markers if (name := section_name(text))]
    if len(found) < 3:
        return []
    ticks = np.array([tick for tick, _ in found])
    bar = np.abs(notes.bar_start[None, :] - ticks[:, None]).argmin(1)
    if np.mean(np.abs(notes.bar_start[bar] - ticks) <= notes.ticks_per_beat / 2) < 0.8:
        return []
    by_bar = {int(b): name for b, (_, name) in sorted(zip(bar, found, strict=True), key=lambda pair: pair[0]) if b < notes.bars}
    return sorted(by_bar.items()) if len(by_bar) >= 3 and len(set(by_bar.values())) >= 2 else []


LONGEST_MARKED = 40
"""A file whose markers leave a section longer than this has not marked them all: 97 of 100 marked sections are shorter."""


def _marked(markers: Sequence[tuple[int, str]], notes: Notes) -> tuple[Section, ...] | None:
    named = named_bars(markers, notes)
    if not named:
        return None
    if named[0][0] > 0:
        named = [(0, "i"), *named]
    edges = [bar for bar, _ in named] + [notes.bars]
    if max(np.diff(edges)) > LONGEST_MARKED:
        return None
    letters: dict[str, str] = {}
    for _, name in named:
        if name not in SPECIAL:
            letters.setdefault(name, chr(ord("A") + len(letters)))
    found = [Section(letters.get(name, name), bar, end - bar) for (bar, name), end in zip(named, edges[1:], strict=True)]
    return tuple(found)


# Sections from what the bars hold ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """Sections that cover the piece, how sure they are, and whether markers named them.

    `confidence` is 1 for the file's own markers, else the mean chance of the boundaries, 0 to 1 (see CONFIDENT).
    """

    sections: tuple[Section, ...]
    confidence: float
    marked: bool

    def __str__(self) -> str:
        return write_form(self.sections)


CONFIDENT = 0.5
"""Confidence from which sections may be trusted: 64 of 100 marked songs held out reach it, with F1 .69 at ±1 bar; the others
have .56."""


@cache
def _weights() -> dict[str, np.ndarray]:
    text = resources.files("midivibe.data").joinpath("form.json").read_text(encoding="utf-8")
    return {name: np.array(value, dtype=np.float32) for name, value in json.loads(text).items()}


def boundary_scores(table: np.ndarray) -> np.ndarray:
    """Signs (n, 3 F) → how likely each bar begins a section, as log odds (n): the mean of four perceptrons of 16 units."""
    w = _weights()
    hidden = np.maximum((table - w["mean"]) / w["scale"] @ w["hidden"] + w["hidden_bias"], 0)
    odds: np.ndarray = hidden @ w["out"] + float(w["out_bias"][0])
    return odds


CUT = 1.75
"""Added to the log odds of each cut, as markers are rarer than places for them; 1.5 to 2 did best on the songs of the fit."""


def cut(score: np.ndarray, length: np.ndarray, bonus: float = CUT) -> list[int]:
    """The bars where sections begin, 0 among them: the best sum of `score` + `bonus` at each cut and `length` of each section.

    `length` (L + 1) is the log weight of each length in bars, used from 1 on; longer sections than L are not made.
    """
    n, longest = len(score), len(length) - 1
    best, back = np.full(n + 1, -np.inf), np.zeros(n + 1, dtype=np.int64)
    best[0] = 0
    gain = np.append(score + bonus, 0)
    for end in range(1, n + 1):
        first = max(0, end - longest)
        paths = best[first:end] + length[end - first : 0 : -1]
        place = int(paths.argmax())
        best[end], back[end] = paths[place] + gain[end], first + place
    starts, at = [], n
    while at > 0:
        at = int(back[at])
        starts.append(at)
    return starts[::-1]


PAIR_VIEWS = ("lead", "chords", "drums", "band", "rhythm")


def pair_scores(alike: np.ndarray, starts: Sequence[int], ends: Sequence[int]) -> np.ndarray:
    """Log odds (S, S) that two sections are the same, from bars side by side and from their lengths."""
    w = _weights()["pair"]
    rows = [VIEWS.index(view) for view in PAIR_VIEWS]
    first, length = np.array(starts), np.array(ends) - np.array(starts)
    count, sides = len(first), alike[rows]
    found = np.zeros((count, count))
    for i in range(1, count):
        for j in range(i):
            bars = min(length[i], length[j], 32)
            run = sides[:, first[i] : first[i] + bars, first[j] : first[j] + bars]
            same = np.einsum("vkk->v", run) / bars
            ratio = abs(np.log(length[i] / length[j]))
            found[i, j] = found[j, i] = same @ w[: len(rows)] + w[-3] * ratio + w[-2] * (ratio == 0) + w[-1]
    return found


SAME = -0.6
"""Log odds above which groups of sections are the same: the best F1 of same pairs on the songs of the fit."""


def groups(odds: np.ndarray) -> list[int]:
    """Sections gathered while two groups are the same by the mean of their pairs: a group number (0..) for each."""
    group = np.arange(len(odds))
    total, size = odds.astype(float), np.ones(len(odds))
    np.fill_diagonal(total, -np.inf)
    while len(odds):
        a, b = divmod(int((total / np.outer(size, size)).argmax()), len(odds))
        if total[a, b] < SAME * size[a] * size[b]:
            break
        group[group == group[b]] = group[a]
        total[a] += total[b]
        total[:, a] = total[a]
        size[a] += size[b]
        total[b] = total[:, b] = -np.inf
        total[a, a] = -np.inf
    numbers: list[int] = np.unique(group, return_inverse=True)[1].tolist()
    return numbers


def _letters(group: list[int], edges: list[int], bars: Bars) -> list[str]:
    """A, B, C, ... by order; an opening that never returns is i, such an end o."""
    letters: dict[int, str] = {}
    found: list[str] = []
    for place, number in enumerate(group):
        alone = group.count(number) == 1 and len(group) > 2
        if place == 0 and (alone or bars.notes[: edges[1]].sum() == 0):
            found.append("i")
        elif alone and place == len(group) - 1:
            found.append("o")
        else:
            letters.setdefault(number, chr(ord("A") + min(len(letters), 25)))
            found.append(letters[number])
    return found


def sections_of(
    notes: Notes, markers: Sequence[tuple[int, str]] = (), labels: Labels | None = None, bars: Bars | None = None
) -> Form:
    """The sections of a piece: from its markers (ticks and texts) where they name sections, else from what its bars hold.

    `labels` (its chords) and `bars` are found where they are not given. Music of no note or over 1,500 bars has no sections.
    """
    if not len(notes) or notes.bars > MOST_BARS:
        return Form((), 0.0, False)
    marked = _marked(markers, notes)
    if marked:
        return Form(marked, 1.0, True)
    bars = bars or bars_of(notes, labels or chords_of(notes))
    score = boundary_scores(signs(bars))
    starts = cut(score, _weights()["length"])
    edges = [*starts, notes.bars]
    letters = _letters(groups(pair_scores(bars.alike, starts, edges[1:])), edges, bars)
    found = tuple(Section(letter, a, b - a) for letter, a, b in zip(letters, edges[:-1], edges[1:], strict=True))
    sure = 1 / (1 + np.exp(-score[starts[1:]]))
    return Form(found, float(sure.mean()) if len(sure) else 0.0, False)


# Bars that return -------------------------------------------------------------------------------------------------------

ALIKE = 0.7
"""Least likeness of two bars' tones for one to repeat the other."""
ONWARD = 0.3
"""How much less alike (of 3) the bar may be that follows what the last bar repeats: runs are what returns, not single bars."""


def repeats_of(notes: Notes, bars: Bars | None = None, labels: Labels | None = None) -> np.ndarray:
    """For each bar (n) the earlier bar whose tones it repeats, moved by no interval; -1 where it repeats none, or is silent.

    Of several the one that follows what the bar before repeats, else the one whose neighbours are alike too, of equals the
    first. Bars without pitched notes compare drums.
    """
    n = notes.bars
    if not len(notes) or n > MOST_BARS:
        return np.full(n, -1, dtype=np.int64)
    bars = bars or bars_of(notes, labels or chords_of(notes))
    pitched = bars.pitched > 0
    tones, drums = bars.alike[VIEWS.index("tones")], bars.alike[VIEWS.index("drums")]
    alike = np.where(pitched[:, None] & pitched, tones, np.where(pitched[:, None] | pitched, 0, drums))
    silent = bars.notes == 0
    alike[silent] = alike[:, silent] = 0
    score = np.where(np.tril(alike >= ALIKE, -1), np.round(alike + 2 * along(alike, -4, 4), 3), -1.0)
    found = np.full(n, -1, dtype=np.int64)
    for bar in np.flatnonzero(score.max(1) >= 0).tolist():
        best, onward = int(score[bar].argmax()), int(found[bar - 1]) + 1
        goes_on = onward > 0 and score[bar, onward] >= score[bar, best] - ONWARD
        found[bar] = onward if goes_on else best
    return found


__all__ = [
    "CONFIDENT", "Form", "Section", "boundary_scores", "cut", "groups", "named_bars", "pair_scores", "parse_form",
    "repeats_of", "section_name", "sections_of", "write_form",
]  # fmt: skip
