"""What each bar of a piece holds, and how alike bars are: what form is read from.

n bars, V views, D numbers a view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.theory import QUALITIES
from midivibe.plan.chords import NOT_PITCHED, Labels

VIEWS = ("tones", "lead", "chords", "drums", "band", "rhythm")
"""How a bar is looked at: pitch classes by sixteenth; the highest of them; chord tones by half bar; kinds of drums by
sixteenth; notes by program; onsets by sixteenth."""

SLOTS = 24
"""Sixteenths a bar that are told apart: those of 12/8. Later ones of a longer bar fall on the last."""

KICK, SNARE, HAT, CRASH, TOM, OTHER = range(6)
_KIND_OF_DRUM = np.full(128, OTHER)
for _kind, _pitches in (
    (KICK, (35, 36)), (SNARE, (37, 38, 39, 40)), (HAT, (42, 44, 46, 51, 53, 59)), (CRASH, (49, 52, 55, 57)),
    (TOM, (41, 43, 45, 47, 48, 50)),
):  # fmt: skip
    _KIND_OF_DRUM[list(_pitches)] = _kind

_CHORD_TONES = np.zeros((12 * len(QUALITIES) + 1, 12), dtype=np.float32)  # the last row is "no chord"
for _root in range(12):
    for _index, _tones in enumerate(QUALITIES.values()):
        _CHORD_TONES[_root * len(QUALITIES) + _index, [(_root + t) % 12 for t in _tones]] = 1


@dataclass(frozen=True)
class Bars:
    """The bars of a piece.

    `alike` (V, n, n) holds the cosine of two bars in each of VIEWS, 1 where both are empty. The rest is a value a bar (n): how
    many `notes`, how many `pitched`, mean `velocity` 0..1, `crash` whether a crash cymbal is on the bar line, hits of `toms`,
    `programs` (n, P) whether each program plays, `meter` (length in whole notes) and `tempo`.
    """

    alike: np.ndarray
    notes: np.ndarray
    pitched: np.ndarray
    velocity: np.ndarray
    crash: np.ndarray
    toms: np.ndarray
    programs: np.ndarray
    meter: np.ndarray
    tempo: np.ndarray

    def __len__(self) -> int:
        return len(self.notes)


def bars_of(notes: Notes, labels: Labels) -> Bars:
    """Look at each bar. `labels` are the chords of the same notes."""
    n = notes.bars
    bar, slot = _places(notes)
    drum = notes.program == DRUMS
    tone = ~drum & ~np.isin(notes.program, list(NOT_PITCHED))
    kind = _KIND_OF_DRUM[notes.pitch]
    pc = notes.pitch % 12

    def count(where: np.ndarray, column: np.ndarray | int, width: int, weight: np.ndarray | None = None) -> np.ndarray:
        cell = bar[where] * width + (column if isinstance(column, int) else column[where])
        found = np.bincount(cell, None if weight is None else weight[where], n * width)
        return found.reshape(n, width).astype(np.float32)

    everything = np.ones(len(notes), dtype=bool)
    programs, part = np.unique(notes.program, return_inverse=True)
    by_program = count(everything, part, max(len(programs), 1))
    total = count(everything, 0, 1)[:, 0]
    views = (
        np.minimum(count(tone, slot * 12 + pc, SLOTS * 12), 1),
        _lead(bar[tone], slot[tone], notes.pitch[tone], n),
        _chords_by_half(labels, n),
        np.minimum(count(drum, slot * 6 + kind, SLOTS * 6), 1),
        np.sqrt(by_program),
        count(tone, slot, SLOTS),
    )
    return Bars(
        np.stack([_cosines(view) for view in views]),
        total,
        count(tone, 0, 1)[:, 0],
        count(everything, 0, 1, notes.velocity / 127)[:, 0] / np.maximum(total, 1),
        count(drum & (kind == CRASH) & (slot == 0), 0, 1)[:, 0] > 0,
        count(drum & (kind == TOM), 0, 1)[:, 0],
        by_program > 0,
        np.array([a / b for a, b in notes.bar_meter], dtype=float),
        np.asarray(notes.bar_tempo, dtype=float),
    )


def _places(notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Bar and sixteenth of each note; one played a little before a bar line belongs after it."""
    sixteenth = notes.ticks_per_beat / 4
    near = np.floor(notes.onset / sixteenth + 0.5) * sixteenth
    bar = np.clip(np.searchsorted(notes.bar_start, near + 1e-6, side="right") - 1, 0, max(notes.bars - 1, 0))
    slot = np.round((near - notes.bar_start[bar]) / sixteenth)
    return bar, np.clip(slot, 0, SLOTS - 1).astype(np.int64)


def _lead(bar: np.ndarray, slot: np.ndarray, pitch: np.ndarray, n: int) -> np.ndarray:
    """The pitch class of the highest note that starts at each sixteenth: (n, SLOTS · 12)."""
    top = np.full(n * SLOTS, -1)
    np.maximum.at(top, bar * SLOTS + slot, pitch)
    where = np.flatnonzero(top >= 0)
    lead = np.zeros((n * SLOTS, 12), dtype=np.float32)
    lead[where, top[where] % 12] = 1
    return lead.reshape(n, -1)


def _chords_by_half(labels: Labels, n: int) -> np.ndarray:
    """How many beats of each half bar have a chord with each tone: (n, 24)."""
    code = np.where(labels.root < 0, len(_CHORD_TONES) - 1, labels.root * len(QUALITIES) + labels.quality)
    beats = np.bincount(labels.bar, minlength=n)
    place = np.arange(len(code)) - np.searchsorted(labels.bar, labels.bar)
    half = (2 * place >= beats[labels.bar]).astype(np.int64)
    found = np.zeros((2 * n, 12), dtype=np.float32)
    np.add.at(found, 2 * labels.bar + half, _CHORD_TONES[code])
    return found.reshape(n, -1)


def _cosines(view: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(view, axis=1)
    unit = view / np.maximum(length, 1e-9)[:, None]
    empty = length < 1e-6
    cosines: np.ndarray = unit @ unit.T + np.outer(empty, empty)
    return cosines


def along(alike: np.ndarray, first: int, last: int) -> np.ndarray:
    """(..., n, n) → at [t, u] the mean of alike[t + k, u + k] over k = first..last, as far as these bars exist."""
    n = alike.shape[-1]
    total, count = np.zeros_like(alike), np.zeros((n, n), dtype=alike.dtype)
    for k in range(first, last + 1):
        low, high = max(0, -k), min(n, n - k)
        if low < high:
            total[..., low:high, low:high] += alike[..., low + k : high + k, low + k : high + k]
            count[low:high, low:high] += 1
    return total / np.maximum(count, 1)


# Signs of a new section at each bar line --------------------------------------------------------------------------------


def signs(bars: Bars) -> np.ndarray:
    """What may tell that a section begins with a bar: (n, 3 F), F signs, each beside its rise from the bar before and to the
    next."""
    n, time = len(bars), np.arange(len(bars))
    first = int(np.argmax(bars.notes > 0))
    columns = [
        *_novelty(bars.alike), *_drum_signs(bars), *_band_signs(bars), *_returns(bars.alike[:3]),
        _differs(bars.meter, 0), _differs(np.log(np.maximum(bars.tempo, 1)), 0.03),
        _differs(bars.notes > 0, 0) & (bars.notes > 0),
        *((time - first) % period == 0 for period in (2, 4, 8)), *(time % period == 0 for period in (4, 8)),
    ]  # fmt: skip
    table = np.stack(columns, 1).astype(np.float32)
    before = np.vstack([table[:1], table[:-1]])
    after = np.vstack([table[1:], table[-1:]])
    return np.hstack([table, table - before, table - after]) if n else np.zeros((0, 3 * len(columns)), dtype=np.float32)


def _differs(values: np.ndarray, least: float) -> np.ndarray:
    change = np.abs(np.diff(np.asarray(values, dtype=float), prepend=float(values[0])))
    return change > least


def _mean_over(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean of values[low:high] (n, ...) for each pair of bounds; 0 where empty."""
    total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, 0)])
    length = np.maximum(high - low, 1).reshape(-1, *[1] * (values.ndim - 1))
    mean: np.ndarray = (total[high] - total[low]) / length
    return mean


def _novelty(alike: np.ndarray) -> list[np.ndarray]:
    """Likeness within the bars before and within those after, less that across: over 2, 4, 8 bars, 3 V columns (Foote 2000)."""
    n, time = alike.shape[-1], np.arange(alike.shape[-1])
    total = np.zeros((len(alike), n + 1, n + 1))
    np.cumsum(np.cumsum(alike, 1, dtype=np.float64), 2, out=total[:, 1:, 1:])

    def mean(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
        inside = total[:, b, d] - total[:, a, d] - total[:, b, c] + total[:, a, c]
        over: np.ndarray = inside / np.maximum((b - a) * (d - c), 1)
        return over

    found: list[np.ndarray] = []
    for width in (2, 4, 8):
        low, high = np.maximum(time - width, 0), np.minimum(time + width, n)
        within = (mean(low, time, low, time) + mean(time, high, time, high)) / 2
        found += list(within - mean(low, time, time, high))
    return found


def _drum_signs(bars: Bars) -> list[np.ndarray]:
    """A crash where they are rare; a bar of drums before that is unlike those before it, more so than elsewhere; toms there."""
    n, time = len(bars), np.arange(len(bars))
    drums = bars.alike[VIEWS.index("drums")]
    low, high = np.maximum(time - 8, 0), np.minimum(time + 9, n)
    total = np.zeros((n, n + 1))
    total[:, 1:] = drums.cumsum(1)
    start, end = np.maximum(time - 4, 0), np.maximum(time - 1, 0)
    fill = 1 - (total[end, end] - total[end, start]) / np.maximum(end - start, 1)
    fill[: min(2, n)] = 0
    crash, toms = bars.crash.astype(float), np.minimum(bars.toms, 6) / 6
    before = np.concatenate([toms[:1], toms[:-1]])
    return [
        crash, crash * (1 - _mean_over(crash, low, high)), fill, fill - _mean_over(fill, low, high),
        before - _mean_over(toms, low, high),
    ]  # fmt: skip


def _band_signs(bars: Bars) -> list[np.ndarray]:
    """Parts that enter and parts that stop, over 2 and 4 bars; steps of the number of notes and of loudness."""
    n, time = len(bars), np.arange(len(bars))
    plays = bars.programs.astype(float)
    dense = np.log1p(bars.notes)
    found: list[np.ndarray] = []
    for width in (2, 4):
        low, high = np.maximum(time - width, 0), np.minimum(time + width, n)
        before, after = _mean_over(plays, low, time), _mean_over(plays, time, high)
        begun = time > 0
        least = np.minimum(2, high - time)[:, None] / np.maximum(high - time, 1)[:, None] - 1e-6
        found.append(np.minimum(((before == 0) & bars.programs & (after >= least)).sum(1), 4) * begun)
        least = np.minimum(2, time - low)[:, None] / np.maximum(time - low, 1)[:, None] - 1e-6
        found.append(np.minimum(((before >= least) & (after == 0)).sum(1), 4) * begun)
        found.append(np.abs(_mean_over(dense, time, high) - _mean_over(dense, low, time)) * begun)
    low, high = np.maximum(time - 4, 0), np.minimum(time + 4, n)
    found.append(np.abs(_mean_over(bars.velocity, time, high) - _mean_over(bars.velocity, low, time)) * (time > 0))
    return found


def _returns(alike: np.ndarray) -> list[np.ndarray]:
    """Whether a run of bars like another begins here, or ends; likeness to the bar before. (V, n, n) → 4 V columns."""
    n, time = alike.shape[-1], np.arange(alike.shape[-1])
    far = np.abs(time[:, None] - time[None, :]) >= 4
    ahead, behind = along(alike, 0, 3), along(alike, -4, -1)
    rise = ahead - behind
    found = [
        np.where(far, rise, -1).max(2), np.where(far, -rise, -1).max(2),
        np.log1p(np.maximum((np.where(far, np.maximum(ahead - 0.3, 0), 0) * rise).sum(2), 0)),
        np.concatenate([np.zeros((len(alike), 1)), np.diagonal(alike, 1, 1, 2)], 1) if n else np.zeros((len(alike), 0)),
    ]  # fmt: skip
    return [row for table in found for row in table]
