"""Traits that could tell a piece from people's: harmony, melody, rhythm, texture, form, drums, velocity, band.

As in `metrics`, no trait is better when it is higher, and NaN means that a piece has nothing to measure. No trait depends
on the key. `realism` asks whether a classifier tells two sets of pieces apart by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from midivibe.evaluation import metrics
from midivibe.evaluation.metrics import cells, chords, entropy, half_bars, mean, shared
from midivibe.evaluation.movement import HARMONY, movement
from midivibe.midi.instruments import family_of
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.theory import MAJOR_SCALE, MINOR_SCALE, detect_key

Traits = dict[str, float]
FEWEST = 8
"""Notes of a part below which it has no texture, melody or velocities of its own."""
KICKS, SNARES, HATS, CRASHES = (35, 36), (37, 38, 39, 40), (42, 44, 46), (49, 52, 55, 57)
BAND = ("parts", "no bass", "three harsh parts", "BPM")
"""What the group band takes from `movement`."""


@dataclass(frozen=True)
class Heard:
    """A piece of some bars, with what several groups of traits look at."""

    notes: Notes

    @cached_property
    def pitched(self) -> Notes:
        return self.notes.take(self.notes.pitched)

    @cached_property
    def drums(self) -> Notes:
        return self.notes.take(~self.notes.pitched)

    @cached_property
    def parts(self) -> list[Notes]:
        """The pitched parts with 8 notes or more."""
        every = (self.pitched.take(self.pitched.program == p) for p in np.unique(self.pitched.program))
        return [part for part in every if len(part) >= FEWEST]

    @cached_property
    def tune(self) -> Notes | None:
        """The highest notes of the part that is most like a melody: high, one note at a time."""
        found = [(part.pitch.mean() - 12 * (len(part) / len(np.unique(part.onset)) - 1), part) for part in self.parts]
        if not found:
            return None
        part = max(found, key=lambda pair: pair[0])[1]
        order = np.lexsort((-part.pitch, part.onset))
        return part.take(order[np.unique(part.onset[order], return_index=True)[1]])

    @cached_property
    def chroma(self) -> np.ndarray:
        """Sounding time of each pitch class in each half bar: (2 · bars, 12)."""
        return half_bars(self.notes, self.notes.pitched)

    @cached_property
    def chords(self) -> np.ndarray:
        """`metrics.chords`: a triad a half bar, or -1."""
        return chords(self.notes)

    @cached_property
    def moves(self) -> Traits:
        """The measures of the section movement."""
        return movement(self.notes)

    @cached_property
    def of_bar(self) -> np.ndarray:
        """Notes of each bar, drums too."""
        return np.bincount(self.notes.bar, minlength=self.notes.bars)

    def halves(self) -> tuple[Notes, Notes]:
        middle = self.notes.bars // 2
        return self.notes.take(self.notes.bar < middle), self.notes.take(self.notes.bar >= middle)


def share(values: np.ndarray) -> float:
    """Mean of some values or truths; NaN where there are none."""
    return float(np.mean(values)) if len(values) else np.nan


def spread(values: np.ndarray) -> float:
    """Standard deviation over the mean; NaN where there is nothing."""
    return float(np.std(values) / np.mean(values)) if len(values) and np.mean(values) else np.nan


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """Mean cosine of the rows of two tables, of those that are not empty in both."""
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return share((a * b).sum(1)[size > 0] / size[size > 0])


def counts(values: np.ndarray) -> np.ndarray:
    """How often each value occurs."""
    found: np.ndarray = np.unique(values, return_counts=True)[1]
    return found


def place(notes: Notes) -> np.ndarray:
    """Ticks of each note from its bar line."""
    found: np.ndarray = notes.onset - notes.bar_start[notes.bar]
    return found


def beats(notes: Notes) -> np.ndarray:
    """Ticks of each note from the quarter before."""
    return place(notes) % notes.ticks_per_beat


def like_next(bars: Sequence[Set[object]], lag: int = 1) -> float:
    """Mean overlap of bars with that `lag` bars on, of those with notes in either."""
    return mean([shared(a, b) for a, b in zip(bars, bars[lag:], strict=False) if a or b])


def harmony(h: Heard) -> Traits:
    half, known = h.chroma, h.chords[h.chords >= 0]
    bars = half[::2] + half[1::2]
    total = half.sum(0)
    tonic, mode, _ = detect_key(total)
    scale = (np.array(MAJOR_SCALE if mode == "major" else MINOR_SCALE) + tonic) % 12
    of_time = half[half.sum(1) > 0]
    of_time = of_time / of_time.sum(1, keepdims=True)
    triad = (known[:, None] % 12 + np.where(known[:, None] < 12, [0, 4, 7], [0, 3, 7])) % 12
    change = np.flatnonzero((h.chords[1:] != h.chords[:-1]) & (h.chords[1:] >= 0) & (h.chords[:-1] >= 0)) + 1
    root = (h.chords[change] - h.chords[change - 1]) % 12  # 12 is a whole turn, so modes do not count
    lowest = [np.flatnonzero(h.pitched.bar == bar) for bar in np.unique(h.pitched.bar)]
    low = np.array([h.pitched.pitch[rows].min() % 12 for rows in lowest])
    return {name: h.moves[name] for name in HARMONY} | {
        "chroma like the next half bar's": alike(half[:-1], half[1:]),
        "chroma like the next bar's": alike(bars[:-1], bars[1:]),
        "chroma like that 4 bars on": alike(bars[:-4], bars[4:]),
        "entropy of chroma": entropy(total),
        "entropy of a bar's chroma": mean([entropy(bar) for bar in bars]),
        "time on the triad": share(np.take_along_axis(of_time, triad, 1).sum(1)),
        "minor chords": share(known >= 12),
        "chords on the tonic": share(known % 12 == tonic),
        "entropy of chords": entropy(counts(known)),
        "time in the scale": float(total[scale].sum() / total.sum()) if total.sum() else np.nan,
        "semitones in a half bar": share((of_time * np.roll(of_time, 1, axis=1)).sum(1)),
        "tritones in a half bar": share((of_time * np.roll(of_time, 6, axis=1)).sum(1)),
        "chords that move by a fifth": share(np.isin(root, (5, 7))),
        "chords that move by a step": share(np.isin(root, (1, 2, 10, 11))),
        "chords that change on the bar line": share(change % 2 == 0),
        "bass in the chord": metrics.bass_agreement(h.notes),
        "lowest note like the next bar's": share(low[:-1] == low[1:]),
    }  # fmt: skip


def melody(h: Heard) -> Traits:
    """Of the tune, except for the steps of all parts."""
    tune = h.tune if h.tune is not None else h.pitched.take(np.arange(0))
    jumps = np.diff(tune.pitch)
    sizes = np.abs(jumps)
    moving = jumps[jumps != 0]
    turns = moving[1:] * moving[:-1] < 0
    gaps = np.diff(tune.onset)
    triples = list(zip(jumps.tolist(), jumps[1:].tolist(), gaps.tolist(), strict=False))
    bars = cells(tune)
    half = 2 * tune.bar + (2 * place(tune) >= np.diff(tune.bar_start)[tune.bar])
    chord = h.chords[half] if len(tune) else np.zeros(0, dtype=int)
    above = (tune.pitch - chord) % 12
    inside = ((above == 0) | (above == 7) | (above == np.where(chord < 12, 4, 3)))[chord >= 0]
    on_beat = (beats(tune) == 0)[chord >= 0]
    return {
        "steps of all parts": h.moves["stepwise"],
        "notes repeated": share(sizes == 0),
        "steps": share((sizes > 0) & (sizes <= 2)),
        "leaps over a fifth": share(sizes > 7),
        "entropy of intervals": entropy(counts(jumps)),
        "range": float(np.ptp(tune.pitch)) if len(tune) else np.nan,
        "turns": share(turns),
        "leaps that turn back": share(turns[np.abs(moving[:-1]) > 4]),
        "figures that return": 1 - len(set(triples)) / len(triples) if triples else np.nan,
        "notes like the next bar's": like_next(bars),
        "notes like those 4 bars on": like_next(bars, 4),
        "rhythm like the next bar's": like_next([{x[1:2] for x in bar} for bar in bars]),
        "notes in the chord": share(inside),
        "notes on the beat in the chord, less others": share(inside[on_beat]) - share(inside[~on_beat]),
        "time filled until the next note": share(np.minimum(tune.duration[:-1] / np.maximum(gaps, 1), 1)),
        "lengths between onsets, entropy": entropy(counts(gaps)),
    }  # fmt: skip


def rhythm(h: Heard) -> Traits:
    """Of the pitched parts."""
    notes = h.pitched
    beat, at = notes.ticks_per_beat, beats(notes)
    length = notes.duration / beat
    onsets, parts_at = np.unique(np.unique(np.stack([notes.onset, notes.program]), axis=1)[0], return_counts=True)
    per_bar = np.bincount(notes.bar, minlength=notes.bars)
    of_parts = [np.bincount(part.bar, minlength=part.bars) for part in h.parts]
    end = notes.onset + notes.duration
    struck = np.isin(onsets - onsets % beat + beat, onsets)[onsets % beat != 0]
    return {
        "on the quarter": share(at == 0),
        "on the eighth": share(at * 2 == beat),
        "on a sixteenth": share((at * 4 == beat) | (at * 4 == 3 * beat)),
        "at odd positions": share(at * 4 % beat != 0),
        "off beats not followed by a beat": share(~struck),
        "entropy of places in the bar": entropy(counts(place(notes))),
        "first beat struck": share(np.isin(notes.bar_start[:-1], onsets)),
        "entropy of lengths": entropy(counts(notes.duration)),
        "mean length": share(length),
        "short notes": share(length <= 0.25),
        "notes that end at an onset": share(np.isin(end, onsets)),
        "notes over the bar line": share(end > notes.bar_start[notes.bar + 1]),
        "onsets a bar": len(onsets) / max(notes.bars, 1),
        "spread of notes a bar": spread(per_bar),
        "spread of a part's notes a bar": mean([spread(x[x > 0]) for x in of_parts]),
        "onsets of several parts": share(parts_at > 1),
        "rhythm of parts like the next bar's": like_next([{x[:2] for x in bar} for bar in cells(notes)]),
    }  # fmt: skip


def texture(h: Heard) -> Traits:
    notes = h.pitched
    groups = [np.unique(part.onset, return_counts=True)[1] for part in h.parts]
    playing = np.array([np.isin(np.arange(p.bars), p.bar) for p in h.parts]).reshape(len(h.parts), h.notes.bars)
    order = np.lexsort((notes.pitch, notes.onset, notes.program))
    together = (np.diff(notes.onset[order]) == 0) & (np.diff(notes.program[order]) == 0)
    inner = np.diff(notes.pitch[order])[together]
    level = np.sort([part.pitch.mean() for part in h.parts])
    at_once = counts(notes.onset * 128 + notes.pitch)
    return {
        "notes per onset": h.moves["notes per onset"],
        "notes per onset, last quarter": h.moves["the same, last quarter"],
        "chordal parts": h.moves["chordal parts"],
        "spread of notes per onset": mean([spread(x) for x in groups]),
        "changes of notes per onset": mean([share(np.diff(x) != 0) for x in groups]),
        "sounding at once": metrics.polyphony(h.notes),
        "silent beats": metrics.empty_beat_rate(h.notes),
        "parts in a bar": share(playing.sum(0)),
        "bars that parts rest": share(1 - playing.ravel()),
        "parts that enter or leave at a bar": share(np.asarray(np.diff(playing, axis=1).any(0))),
        "range of a part": mean([float(np.ptp(part.pitch)) for part in h.parts]),
        "distance between parts": share(np.diff(level)),
        "space inside chords": share(inner),
        "unisons of parts": share(at_once > 1),
        "mean pitch": share(notes.pitch),
    }  # fmt: skip


def form(h: Heard) -> Traits:
    bars = cells(h.notes)
    first, last = h.halves()
    sizes = len(first), len(last)
    middle = h.notes.bars // 2
    kinds = [{x for bar in half for x in bar} for half in (bars[:middle], bars[middle:])]
    played = [frozenset(bar) for bar in bars if bar]
    level = [half.pitch[half.pitched] for half in (first, last)]
    return {
        "bars that return": h.moves["bars that return"],
        "phrases that nearly return": h.moves["phrases nearly return"],
        **{f"bars like those {lag} on": like_next(bars, lag) for lag in (1, 2, 4, 8)},
        "bars like the likest before": metrics.repetition(h.notes),
        "different bars": len(set(played)) / len(played) if played else np.nan,
        "halves: shared notes": shared(*kinds),
        "halves: chroma alike": alike(h.chroma[:middle * 2].sum(0)[None], h.chroma[middle * 2:].sum(0)[None]),
        "halves: parts alike": shared(set(first.program.tolist()), set(last.program.tolist())),
        "halves: difference of density": abs(float(np.log((sizes[0] + 1) / (sizes[1] + 1)))),
        "halves: difference of pitch": abs(share(level[0]) - share(level[1])),
        "change of notes from bar to bar": spread_of_change(h.of_bar),
    }  # fmt: skip


def spread_of_change(of_bar: np.ndarray) -> float:
    """Mean change of a count from bar to bar, over its mean."""
    return share(np.abs(np.diff(of_bar))) / max(float(of_bar.mean()), 1e-9)


def drums(h: Heard) -> Traits:
    """NaN without drums."""
    notes = h.drums
    beat, at = notes.ticks_per_beat, beats(notes)
    of_bar = np.bincount(notes.bar, minlength=notes.bars)
    bars = [bar for bar in cells(notes) if bar]
    quarter = place(notes) // beat
    kick, snare = np.isin(notes.pitch, KICKS), np.isin(notes.pitch, SNARES)
    hats, crash = np.isin(notes.pitch, HATS), np.isin(notes.pitch, CRASHES)
    bass = h.pitched.onset[np.array([family_of(int(p)) == "bass" for p in h.pitched.program], dtype=bool)]
    return {
        "hits a bar": share(of_bar[of_bar > 0]),
        "spread of hits a bar": spread(of_bar[of_bar > 0]),
        "like the bar before": h.moves["drums like the bar before"],
        "different bars": len({frozenset(bar) for bar in bars}) / len(bars) if bars else np.nan,
        "hits per onset": len(notes) / len(np.unique(notes.onset)) if len(notes) else np.nan,
        "different sounds": float(len(np.unique(notes.pitch))) if len(notes) else np.nan,
        "kicks": share(kick),
        "snares": share(snare),
        "hats": share(hats),
        "crashes on the first beat": share(place(notes)[crash] == 0),
        "kicks on the first beat": share(place(notes)[kick] == 0),
        "snares on the second and fourth": share((quarter[snare] % 2 == 1) & (at[snare] == 0)),
        "between sixteenths": share(at * 4 % beat != 0),
        "kicks with the bass": share(np.isin(notes.onset[kick], bass)) if len(bass) else np.nan,
    }  # fmt: skip


def velocity(h: Heard) -> Traits:
    notes, parts = h.notes, h.parts
    on, bar_line = beats(notes) == 0, place(notes) == 0
    loud = notes.velocity.astype(float)
    chords_of = [np.split(part.velocity, np.flatnonzero(np.diff(part.onset)) + 1) for part in parts]
    of_bar = [[share(part.velocity[part.bar == bar]) for bar in np.unique(part.bar)] for part in parts]
    return {
        "constant parts": h.moves["constant velocity"],
        "different velocities of a part": mean([float(len(np.unique(part.velocity))) for part in parts]),
        "spread in a part": mean([float(part.velocity.std()) for part in parts]),
        "spread in a part's chords": mean([share(np.array([np.ptp(x) for x in each if len(x) > 1])) for each in chords_of]),
        "spread between parts": float(np.std([part.velocity.mean() for part in parts])) if len(parts) > 1 else np.nan,
        "spread of a part's bars": mean([float(np.std(x)) for x in of_bar]),
        "spread of drums": float(h.drums.velocity.std()) if len(h.drums) else np.nan,
        "mean": share(loud),
        "on the beat, less others": share(loud[on]) - share(loud[~on]),
        "on the bar line, less others": share(loud[bar_line]) - share(loud[~bar_line]),
    }  # fmt: skip


def band(h: Heard) -> Traits:
    programs = np.unique(h.notes.program)
    families = [family_of(int(p)) for p in programs if p != DRUMS]
    return {name: h.moves[name] for name in BAND} | {
        "drums": float(DRUMS in programs),
        "parts under 8 notes": float(len(programs[programs != DRUMS]) - len(h.parts)),
        "different families": float(len(set(families))),
        "parts of one family": float(max(map(families.count, families), default=0)),
        "tempo changes": float((np.diff(h.notes.bar_tempo) != 0).sum()),
        "bars in 4/4": share(np.array([meter == (4, 4) for meter in h.notes.bar_meter])),
    }


GROUPS: dict[str, Callable[[Heard], Traits]] = {
    "harmony": harmony, "melody": melody, "rhythm": rhythm, "texture": texture, "form": form, "drums": drums,
    "velocity": velocity, "band": band,
}  # fmt: skip


def traits(notes: Notes) -> Traits:
    """Every trait of a piece, as "group: name"."""
    heard = Heard(notes)
    return {f"{group}: {name}": x for group, measure in GROUPS.items() for name, x in measure(heard).items()}


__all__ = ["GROUPS", "Traits", "traits"]
