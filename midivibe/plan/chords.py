"""Chords: their symbols, and labels read from notes by a Viterbi pass over beats.

A chord is a root (pitch class, C = 0), a quality and perhaps another bass. Labels stand in grid time: one a beat of the
bar grid, where the beat of 6/8, 9/8 and 12/8 is the dotted quarter.
`B` beats, `Q` qualities, `S` = 12 Q + 1 states (chords by root, then "no chord").

The weights below were fitted by `scripts/fit_labels.py chords` on 638 songs of POP909; docs/plan.md says how well they do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from midivibe.errors import InputError
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.theory import QUALITIES, Key, note_names, tone_above

NONE = "none"
_NAMES = tuple(QUALITIES)
_SUFFIX = {"maj": "", "min": "m"}


# Chords and their symbols -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chord:
    """A chord: `root` 0..11, -1 for none; `quality` a name of QUALITIES or "none"; `bass` 0..11 where it is not the root."""

    root: int
    quality: str
    bass: int | None = None

    def __post_init__(self) -> None:
        if self.root == -1 or self.quality == NONE:
            if (self.root, self.quality, self.bass) != (-1, NONE, None):
                raise InputError(f"no chord has the root -1, the quality none and no bass; got {self.root}, {self.quality!r}")
        elif self.quality not in QUALITIES:
            raise InputError(f"unknown chord quality {self.quality!r}; known: {', '.join(QUALITIES)}")
        elif not 0 <= self.root <= 11 or (self.bass is not None and not 0 <= self.bass <= 11):
            raise InputError(f"a chord's root and bass are pitch classes 0 to 11; got {self.root} and {self.bass}")

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """The tones from the root up, the bass last where it is none of them."""
        if self.root < 0:
            return ()
        tones = tuple((self.root + t) % 12 for t in QUALITIES[self.quality])
        return tones if self.bass is None or self.bass in tones else (*tones, self.bass)

    def symbol(self, key: Key | None = None) -> str:
        """As a musician writes it: "F#m7", "C/E", "N.C."; spelled as in `key`."""
        if self.root < 0:
            return "N.C."
        root = note_names(key)[self.root]
        slash = "" if self.bass in (None, self.root) else f"/{tone_above(root, (self.bass or 0) - self.root)}"
        return root + _SUFFIX.get(self.quality, self.quality) + slash

    def transposed(self, semitones: int) -> Chord:
        """The same chord, moved."""
        if self.root < 0:
            return self
        return replace(
            self, root=(self.root + semitones) % 12, bass=None if self.bass is None else (self.bass + semitones) % 12
        )

    @classmethod
    def parse(cls, text: str) -> Chord:
        """ "Am", "F#m7b5", "C/E", "Bbmaj7", "N.C." → Chord. Richer chords become their nearest quality: C9 is C7, C6 is C.

        Raises:
            InputError: not a chord symbol.
        """
        written = text.strip()
        if re.fullmatch(r"(?i)n\.?c\.?|n|none", written):
            return NO_CHORD
        symbol = written
        for old, new in _SPELLINGS:
            symbol = re.sub(old, new, symbol)
        from pychord import Chord as Symbol

        try:
            tones = Symbol(symbol).components(visible=False)
            root = _pitch_class(symbol)
        except (ValueError, KeyError, IndexError) as error:
            known = ", ".join(Chord(9, q).symbol() for q in QUALITIES)
            raise InputError(
                f"unknown chord {text!r}; write a root A to G, with # or b, and a quality, as in {known}; another bass as in "
                "A7/G; N.C. for none"
            ) from error
        bass = int(tones[0]) % 12
        above = re.sub(r"/.*", "", symbol)
        inside = frozenset((int(t) - root) % 12 for t in Symbol(above).components(visible=False))
        return cls(root, _nearest_quality(inside), None if bass == root else bass)


NO_CHORD = Chord(-1, NONE)

_SPELLINGS = (
    ("♯", "#"), ("♭", "b"), ("Δ7?", "maj7"), ("ø7?", "m7b5"), ("°", "dim"), (r"\+$", "aug"),
    ("(?<=[A-G#b])(min|mi|-)(?=[0-9/]|$)", "m"),
)  # fmt: skip
"""Ways to write chords that pychord does not know, and one that it does."""


def _pitch_class(symbol: str) -> int:
    letter, signs = symbol[0], re.match(r".([#b]*)", symbol)
    return (
        dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))[letter]
        + sum(1 if sign == "#" else -1 for sign in (signs[1] if signs else ""))
    ) % 12


def _nearest_quality(tones: frozenset[int]) -> str:
    """The quality with the same tones; else the richest whose tones are all there; else the one that shares most."""
    inside = [q for q in _NAMES if tones.issuperset(QUALITIES[q])]
    if inside:
        return max(inside, key=lambda q: len(QUALITIES[q]))
    return max(_NAMES, key=lambda q: len(tones & set(QUALITIES[q])) / len(tones | set(QUALITIES[q])))


# Labels -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labels:
    """A chord for each of B beats.

    `start` (B + 1) ticks, the end included; `bar` (B) the bar of each beat, from 0; `root` (B) 0..11 or -1; `quality` (B)
    the place in QUALITIES, -1 for none; `bass` (B) the pitch class of the lowest voice under the chord, -1 for none;
    `bar_start` (bars + 1) the bar lines in ticks.
    """

    start: np.ndarray
    bar: np.ndarray
    root: np.ndarray
    quality: np.ndarray
    bass: np.ndarray
    bar_start: np.ndarray

    def __len__(self) -> int:
        return len(self.bar)

    def chord(self, beat: int) -> Chord:
        """The chord of a beat; its bass only where that is another tone of the chord."""
        return _chord(int(self.root[beat]), int(self.quality[beat]), int(self.bass[beat]))

    def at(self, tick: int) -> Chord:
        """The chord that sounds at a tick; "no chord" outside the music."""
        beat = int(np.searchsorted(self.start, tick, side="right")) - 1
        return self.chord(beat) if 0 <= beat < len(self) else NO_CHORD


def _chord(root: int, quality: int, bass: int) -> Chord:
    if root < 0:
        return NO_CHORD
    inside = bass >= 0 and (bass - root) % 12 in QUALITIES[_NAMES[quality]][1:]
    return Chord(root, _NAMES[quality], bass if inside else None)


def changes(labels: Labels, per: str = "half") -> list[tuple[int, int, Chord]]:
    """Where the chord changes: (bar from 0, ticks after its bar line, chord), the first beat always among them.

    `per` is "beat", or "half" or "bar": then each half bar (where its beats are an even number) or bar has one chord, the
    one that most of its beats have.

    Raises:
        InputError: another `per`.
    """
    if per not in ("beat", "half", "bar"):
        raise InputError(f"chords change per beat, half or bar; got {per!r}")
    if not len(labels):
        return []
    first = np.concatenate([[True], labels.bar[1:] != labels.bar[:-1]])
    if per == "beat":
        first[:] = True
    elif per == "half":
        line = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))
        count = np.bincount(labels.bar, minlength=int(labels.bar[-1]) + 1)[labels.bar]
        first |= (count % 2 == 0) & (np.arange(len(first)) - line == count // 2)
    segment = np.cumsum(first) - 1
    code = np.where(labels.root < 0, 12 * len(_NAMES), labels.root * len(_NAMES) + labels.quality)
    votes = np.zeros((segment[-1] + 1, 12 * len(_NAMES) + 1))
    early = np.arange(len(first)) - np.flatnonzero(first)[segment]  # of two with as many beats the earlier wins
    np.add.at(votes, (segment, code), 1 - 1e-3 * early)
    winner = votes.argmax(1)
    heads = np.flatnonzero(first)
    found: list[tuple[int, int, Chord]] = []
    for index, beat in enumerate(heads.tolist()):
        last = int(heads[index + 1]) if index + 1 < len(heads) else len(labels)
        same = beat + int((code[beat:last] == winner[index]).argmax())
        chord = labels.chord(same)
        if not found or found[-1][2] != chord:
            bar = int(labels.bar[beat])
            found.append((bar, int(labels.start[beat] - labels.bar_start[bar]), chord))
    return found


# Beats and what sounds in them ------------------------------------------------------------------------------------------

NOT_PITCHED = frozenset({113, *range(115, 128)})
"""Programs whose pitch is no tone: agogo, wood block, taiko and other drums, noises."""

LONGEST = 16
"""A note counts for so many quarters at most: longer ones are left hanging, or drones."""


def beat_grid(notes: Notes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Beats of the bar grid: their ticks (B + 1), their bars (B), and their kind (B): 0 bar line, 1 half bar, 2 other."""
    starts: list[np.ndarray] = []
    bars: list[np.ndarray] = []
    kinds: list[np.ndarray] = []
    shapes: dict[tuple[int, int, int], tuple[np.ndarray, np.ndarray]] = {}
    for bar, meter in enumerate(notes.bar_meter):
        low, length = int(notes.bar_start[bar]), int(notes.bar_start[bar + 1] - notes.bar_start[bar])
        if (length, *meter) not in shapes:
            shapes[(length, *meter)] = _bar_shape(length, meter, notes.ticks_per_beat)
        offsets, kind = shapes[(length, *meter)]
        starts.append(low + offsets)
        bars.append(np.full(len(kind), bar))
        kinds.append(kind)
    end = notes.bar_start[-1:] if notes.bars else np.zeros(1, dtype=np.int64)
    return np.concatenate([*starts, end]), _joined(bars), _joined(kinds)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _bar_shape(length: int, meter: tuple[int, int], ticks_per_beat: int) -> tuple[np.ndarray, np.ndarray]:
    """Ticks of a bar's beats after its bar line, and their kinds."""
    compound = meter[1] >= 8 and (8 * meter[0]) % (3 * meter[1]) == 0
    step = ticks_per_beat * (1.5 if compound else 1.0)
    offsets = np.round(np.arange(max(1, int(np.ceil(length / step - 1e-6)))) * step).astype(np.int64)
    offsets = offsets[offsets < length]  # a file of one tick a beat has no half of one
    count, place = len(offsets), np.arange(len(offsets))
    return offsets, np.where(place == 0, 0, np.where((count % 2 == 0) & (place == count // 2), 1, 2))


def sounding(notes: Notes, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How long each pitch class sounds in each beat, and in its lowest voice: two (B, 12), in beats, voices added up."""
    beats = len(start) - 1
    pitched = (notes.program != DRUMS) & ~np.isin(notes.program, list(NOT_PITCHED))
    onset, pitch = notes.onset[pitched], notes.pitch[pitched]
    end = onset + np.minimum(notes.duration[pitched], LONGEST * notes.ticks_per_beat)
    first = np.clip(np.searchsorted(start, onset, side="right") - 1, 0, beats - 1)
    last = np.clip(np.searchsorted(start, end, side="left") - 1, first, beats - 1)
    count = last - first + 1
    note = np.repeat(np.arange(len(onset)), count)
    beat = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count)
    pitch = pitch[note]
    share = np.minimum(end[note], start[beat + 1]) - np.maximum(onset[note], start[beat])
    share = np.maximum(share, 0) / (start[beat + 1] - start[beat])
    cell = beat * 12 + pitch % 12
    lowest = np.full(beats, 128)
    held = share > 0.12  # a note that ends a little late is no bass of the next beat
    np.minimum.at(lowest, beat[held], pitch[held])
    above = pitch - lowest[beat]
    low = np.where(above >= 0, share * np.exp2(-np.maximum(above, 0) / 3), 0)  # half as much for each minor third above
    chroma = np.bincount(cell, share, beats * 12).reshape(beats, 12)
    return chroma, np.bincount(cell, low, beats * 12).reshape(beats, 12)


AROUND = 8
"""Bars before and after whose tones say which third is likely where none sounds."""


def evidence(chroma: np.ndarray, low: np.ndarray, bar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What speaks for chords: (B, 5, 12) by pitch class, and for "no chord" (B, 4).

    The five: sounds at all (saturating soon), share of the bass, use in the bars around and a little in the whole piece, time
    sounding (one beat at most), and that of the beat before, which may ring on. For none: 1, silence, at most one pitch class,
    two.
    """
    present = np.minimum(chroma, 1)
    total = np.vstack([np.zeros((1, 12)), np.cumsum(present, 0)])
    line = np.searchsorted(bar, np.arange(bar[-1] + 2))
    near = total[line[np.minimum(bar + AROUND + 1, bar[-1] + 1)]] - total[line[np.maximum(bar - AROUND, 0)]]
    near, far = (use / np.maximum(use.max(1, keepdims=True), 1e-9) for use in (near, total[-1:]))
    bass = low / np.maximum(low.sum(1, keepdims=True), 1e-9)
    tones = (chroma > 0.1).sum(1)
    none = np.stack([np.ones(len(bar)), chroma.sum(1) <= 0.02, tones <= 1, tones == 2], 1)
    before = np.vstack([np.zeros((1, 12)), present[:-1]])
    return np.stack([1 - np.exp(-3 * chroma), bass, np.sqrt(0.7 * near + 0.3 * far), present, before], 1), none


# The Viterbi pass -------------------------------------------------------------------------------------------------------

WEIGHTS = np.array(
    [
        [0.774, 0.836, 0.876, -0.366, -0.899],
        [1.499, -0.256, -0.670, -0.598, -1.236],
        [0.199, 0.308, 0.319, 0.946, -0.515],
        [0.888, 0.692, 0.781, -0.344, -0.882],
        [0.190, -0.105, 0.346, -0.209, -0.089],
    ]
)
"""How much each kind of evidence speaks for a chord when it falls on its root, third, fifth, seventh, or on none of these."""
BIAS = np.array([1.496, 1.071, -0.092, -0.380, -0.470, -0.792, -1.608, -1.500, -1.384, -1.092])
"""What speaks for each quality before anything is heard. The fit gave sus2 -2.245, as annotators of pop hardly write it; at
-1.5 plain ones are heard, for .001 of agreement."""
NO_CHORD_WEIGHTS = np.array([-5.064, 2.500, 5.907, 4.592])
"""The fit gave -1.064, 0.949, 3.407, 2.092: POP909 calls a line without chords none. In bands a bass or a riff plays alone
over chords that go on: 1.5 less for one or two tones, and 4 less for more, raised agreement with the chord symbols inside 28
band files from .866 to .876, and that with POP909's by .001. Silence is weighted so that a silent bar is none, a silent beat
is not."""
CHANGE = np.array([1.434, 2.150, 3.245])
"""What a change costs at a bar line, at the half bar, on another beat: .6 of the fitted costs, as the likeliest path changes
less often than annotators do (.5 and .7 agree as well, 1 by .005 less)."""


def _templates(weights: np.ndarray) -> np.ndarray:
    """(kinds of evidence, roles) → (12 × kinds, 12 Q): column r·Q + q takes the evidence of a beat to its score for a chord."""
    role = np.full((len(_NAMES), 12), 4)
    for index, tones in enumerate(QUALITIES.values()):
        role[index, list(tones)] = np.arange(len(tones))
    by_interval = weights[:, role]  # (kinds, Q, 12)
    above = (np.arange(12)[None, :] - np.arange(12)[:, None]) % 12  # (root, pitch class)
    table = by_interval[:, :, above]  # (kinds, Q, root, pitch class)
    return table.transpose(0, 3, 2, 1).reshape(len(weights) * 12, 12 * len(_NAMES))


_TEMPLATES = _templates(WEIGHTS)


def best_path(score: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """The path (B) with the highest sum of `score` (B, S) less `cost` (B) at each change."""
    beats = len(score)
    came = np.zeros(beats, dtype=np.int64)
    stays = np.ones(score.shape, dtype=bool)
    best = score[0].copy()
    for beat in range(1, beats):
        top = int(best.argmax())
        moved = best[top] - cost[beat]
        came[beat] = top
        np.greater_equal(best, moved, out=stays[beat])
        np.maximum(best, moved, out=best)
        best += score[beat]
    path = np.zeros(beats, dtype=np.int64)
    state = int(best.argmax())
    for beat in range(beats - 1, -1, -1):
        path[beat] = state
        if not stays[beat, state]:
            state = int(came[beat])
    return path


def chords_of(notes: Notes) -> Labels:
    """The chord of each beat of the grid; drums count for nothing, silence is "none"."""
    start, bar, kind = beat_grid(notes)
    if not len(bar):
        empty = np.zeros(0, dtype=np.int64)
        return Labels(start, bar, empty, empty, empty, np.asarray(notes.bar_start))
    chroma, low = sounding(notes, start)
    tones, none = evidence(chroma, low, bar)
    count = len(_NAMES)
    chords = tones.reshape(len(bar), -1) @ _TEMPLATES + np.tile(BIAS, 12)
    path = best_path(np.column_stack([chords, none @ NO_CHORD_WEIGHTS]), CHANGE[kind])
    chord = path < 12 * count
    heads = np.concatenate([[0], np.flatnonzero(path[1:] != path[:-1]) + 1])
    bass = np.add.reduceat(low, heads).argmax(1)[np.cumsum(np.isin(np.arange(len(path)), heads)) - 1]
    return Labels(
        start, bar, np.where(chord, path // count, -1), np.where(chord, path % count, -1), np.where(chord, bass, -1),
        np.asarray(notes.bar_start),
    )  # fmt: skip
