"""What a piece of music measures as, and how far one set of pieces lies from another.

Every metric takes `Notes`, on any grid; drums are left out unless its docstring says otherwise. NaN means that a piece
has nothing to measure. None of them is better when it is higher: good is close to people's music, from both sides (Yang &
Lerch 2020), so each is to be read beside real music against real music, and beside a floor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from scipy.spatial.distance import cdist, pdist
from scipy.stats import gaussian_kde

from midivibe.midi.instruments import family_of, pitch_range
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.theory import detect_key, in_scale_share

GROOVE_GRID = 12
"""Positions a beat of `groove_consistency`; its value depends on them."""
POINTS = 4096
"""Of the grid on which densities are compared."""


def pitched(notes: Notes) -> np.ndarray:
    """Rows that are not drums: (N,) bool."""
    return notes.program != DRUMS


def bar_of(notes: Notes) -> np.ndarray:
    """The bar, from 0, in which each note begins: (N,)."""
    return np.searchsorted(notes.bar_start, notes.onset, side="right") - 1


def entropy(histogram: np.ndarray) -> float:
    """Entropy of a histogram in bits; NaN where it is empty."""
    total = histogram.sum()
    if total <= 0:
        return np.nan
    p = histogram[histogram > 0] / total
    return float(-(p * np.log2(p)).sum())


# Pitch -----------------------------------------------------------------------------------------------------------------


def pitch_class_entropy(notes: Notes) -> float:
    """Entropy of the pitch classes of all notes, each counted once, 0 to 3.585 bits (muspy, Dong et al. 2020)."""
    return entropy(np.bincount(notes.pitch[pitched(notes)] % 12, minlength=12))


def window_entropy(notes: Notes, bars: int) -> float:
    """Mean pitch-class entropy of every stretch of `bars` bars with notes: H1 and H4 of MusDr (Wu & Yang 2020)."""
    counts = np.zeros((notes.bars, 12))
    rows = pitched(notes)
    np.add.at(counts, (bar_of(notes)[rows], notes.pitch[rows] % 12), 1)
    summed = [entropy(counts[i : i + bars].sum(0)) for i in range(max(notes.bars - bars + 1, 1))]
    return _mean(summed)


def scale_consistency(notes: Notes) -> float:
    """Share of notes in the major or natural minor scale that holds most of them (Mogren 2016; muspy)."""
    rows = pitched(notes)
    return in_scale_share(np.bincount(notes.pitch[rows] % 12, minlength=12).astype(float)) if rows.any() else np.nan


def pitch_classes_a_bar(notes: Notes) -> float:
    """Distinct pitch classes in a bar, mean over bars with notes (UPC of MIDIMetrics)."""
    rows = pitched(notes)
    pairs = np.unique(np.stack([bar_of(notes)[rows], notes.pitch[rows] % 12]), axis=1)
    return float(np.bincount(pairs[0])[np.unique(pairs[0])].mean()) if rows.any() else np.nan


def _steps(notes: Notes) -> np.ndarray:
    """Rows (from, to) of notes that follow each other in one part, in order of onset and pitch: (M, 2)."""
    rows = np.flatnonzero(pitched(notes))
    rows = rows[np.lexsort((notes.pitch[rows], notes.onset[rows], notes.program[rows]))]
    same = notes.program[rows][1:] == notes.program[rows][:-1]
    return np.stack([rows[:-1][same], rows[1:][same]], axis=1)


def mean_interval(notes: Notes) -> float:
    """Mean absolute interval in semitones between notes that follow each other in a part (mgeval's average pitch shift)."""
    steps = _steps(notes)
    return float(np.abs(np.diff(notes.pitch[steps], axis=1)).mean()) if len(steps) else np.nan


def span(notes: Notes) -> float:
    """Highest minus lowest pitch in semitones (mgeval's pitch range)."""
    rows = pitched(notes)
    return float(np.ptp(notes.pitch[rows])) if rows.any() else np.nan


def in_instrument_range(notes: Notes) -> float:
    """Share of notes that their instrument can play (`midi.instruments.pitch_range`)."""
    rows = np.flatnonzero(pitched(notes))
    bounds = np.array([pitch_range(int(p)) for p in notes.program[rows]]).reshape(-1, 2)
    inside = (notes.pitch[rows] >= bounds[:, 0]) & (notes.pitch[rows] <= bounds[:, 1])
    return float(inside.mean()) if len(rows) else np.nan


# Rhythm ----------------------------------------------------------------------------------------------------------------


def _grooves(notes: Notes, positions: Callable[[int], int]) -> list[np.ndarray]:
    """Onsets of each bar, drums too, as bits on `positions(ticks of the bar)` places."""
    bars, lengths = bar_of(notes), np.diff(notes.bar_start)
    found = [np.zeros(positions(int(n)), dtype=bool) for n in lengths]
    for bar, onset in zip(bars.tolist(), notes.onset.tolist(), strict=True):
        place = (onset - int(notes.bar_start[bar])) * len(found[bar]) // int(lengths[bar])
        found[bar][place] = True
    return found


def groove_consistency(notes: Notes) -> float:
    """1 − mean Hamming distance of the onsets of neighbouring bars, 12 positions a beat, drums too (Wu & Yang 2020; muspy).

    Neighbours of different length do not count.
    """
    grooves = _grooves(notes, lambda ticks: max(1, ticks * GROOVE_GRID // notes.ticks_per_beat))
    return _mean([1 - float((a != b).mean()) for a, b in pairwise(grooves) if len(a) == len(b)])


def grooving_similarity(notes: Notes) -> float:
    """The same over all pairs of bars, at 64 positions a bar, drums counted: GS of MusDr (Wu & Yang 2020)."""
    bits = np.stack(_grooves(notes, lambda _: 64)).astype(float)
    if len(bits) < 2:
        return np.nan
    return float(1 - pdist(bits, "hamming").mean())


def _roll(notes: Notes) -> np.ndarray:
    """Sounding pitches at each tick: (ticks, 128) bool."""
    end = int(max(notes.bar_start[-1], (notes.onset + notes.duration).max(initial=0)))
    change = np.zeros((end + 1, 128), dtype=np.int32)
    rows = pitched(notes)
    np.add.at(change, (notes.onset[rows], notes.pitch[rows]), 1)
    np.add.at(change, ((notes.onset + notes.duration)[rows], notes.pitch[rows]), -1)
    return np.cumsum(change, axis=0)[:-1] > 0


def empty_beat_rate(notes: Notes) -> float:
    """Share of beats (quarters) of the bars in which nothing sounds, drums counted as muspy does.

    A note that ends on a beat does not fill the beat that begins there; in muspy it does.
    """
    beat = notes.ticks_per_beat
    count = -(-int(notes.bar_start[-1]) // beat)
    full = np.zeros(count + 1, dtype=np.int32)
    first = (notes.onset // beat).clip(0, count)
    last = (np.maximum(notes.onset + notes.duration - 1, notes.onset) // beat).clip(0, count - 1)
    np.add.at(full, first, 1)
    np.add.at(full, last + 1, -1)
    return float((np.cumsum(full)[:count] == 0).mean()) if count else np.nan


def polyphony(notes: Notes) -> float:
    """Pitches sounding at once, mean over the ticks with at least one (muspy)."""
    voices = _roll(notes).sum(1)
    return float(voices[voices > 0].mean()) if (voices > 0).any() else np.nan


def polyphony_rate(notes: Notes) -> float:
    """Share of all ticks with two pitches or more (MuseGAN, Dong et al. 2018); muspy's code counts three or more."""
    voices = _roll(notes).sum(1)
    return float((voices >= 2).mean()) if len(voices) else np.nan


# Harmony and form ------------------------------------------------------------------------------------------------------

_TRIADS = np.stack(
    [np.isin(np.arange(12), (np.array(shape) + root) % 12) for shape in ((0, 4, 7), (0, 3, 7)) for root in range(12)]
)


def _half_bars(notes: Notes, rows: np.ndarray) -> np.ndarray:
    """Sounding ticks of each pitch class in each half bar: (2 · bars, 12)."""
    edges = np.sort(
        np.concatenate([notes.bar_start[:-1], (notes.bar_start[:-1] + notes.bar_start[1:]) // 2, notes.bar_start[-1:]])
    )
    found = np.zeros((len(edges) - 1, 12))
    start, end, pitch = notes.onset[rows], (notes.onset + notes.duration)[rows], notes.pitch[rows] % 12
    at = np.searchsorted(edges, start, side="right") - 1
    while len(at):
        held = np.minimum(end, edges[at + 1]) - np.maximum(start, edges[at])
        np.add.at(found, (at, pitch), np.maximum(held, 0))
        more = (end > edges[at + 1]) & (at + 2 < len(edges))
        at, start, end, pitch = at[more] + 1, start[more], end[more], pitch[more]
    return found


def chords(notes: Notes, bass: bool = True) -> np.ndarray:
    """A major (0-11) or minor (12-23) triad a half bar, that with most sounding time on its notes; -1 where nothing sounds.

    Of equal triads the one whose root sounds longest. Without `bass`, bass instruments are not heard.
    """
    rows = pitched(notes)
    if not bass:
        rows &= np.array([family_of(int(p)) != "bass" for p in notes.program], dtype=bool)
    chroma = _half_bars(notes, rows)
    share = chroma / np.maximum(np.linalg.norm(chroma, axis=1, keepdims=True), 1e-9)
    fit = share @ _TRIADS.T + 1e-3 * np.concatenate([share, share], axis=1)  # roots in the order of _TRIADS
    return np.where(chroma.sum(1) > 0, fit.argmax(1), -1)


def chord_irregularity(notes: Notes) -> float:
    """Different chord trigrams over all trigrams of the chords a half bar: CPI of MusDr (Wu & Yang 2020), counting n − 2."""
    found = chords(notes)
    found = found[found >= 0]
    if len(found) < 4:
        return np.nan
    trigrams = np.stack([found[:-2], found[1:-1], found[2:]], axis=1)
    return len(np.unique(trigrams, axis=0)) / len(trigrams)


def bass_agreement(notes: Notes) -> float:
    """Share of bass notes in the triad that the other parts sound in that half bar; NaN without a bass or others."""
    is_bass = np.array([family_of(int(p)) == "bass" for p in notes.program], dtype=bool)
    harmony = chords(notes, bass=False)
    bars = bar_of(notes)[is_bass]
    length = np.diff(notes.bar_start)[bars]
    half = 2 * bars + (2 * (notes.onset[is_bass] - notes.bar_start[bars]) >= length)
    known = harmony[half] >= 0
    agreeing = _TRIADS[harmony[half][known], notes.pitch[is_bass][known] % 12]
    return float(agreeing.mean()) if known.any() else np.nan


def repetition(notes: Notes) -> float:
    """How alike each bar from the second is to the most similar bar before it: overlap of (part, position, pitch), mean.

    Overlap is |A ∩ B| / max(|A|, |B|), drums counted. A loop has 1; music without a thread has almost 0.
    """
    bars = bar_of(notes)
    place = notes.onset - notes.bar_start[bars]
    cells: list[set[tuple[int, int, int]]] = [set() for _ in range(notes.bars)]
    for bar, *row in zip(bars.tolist(), notes.program.tolist(), place.tolist(), notes.pitch.tolist(), strict=True):
        cells[bar].add(tuple(row))
    best = [max(len(a & b) / max(len(a), len(b), 1) for b in cells[:i]) for i, a in enumerate(cells) if i and a]
    return _mean(best)


def frame_overlaps(notes: Notes) -> tuple[list[float], list[float]]:
    """Overlap of normal distributions fitted to pitch and to duration of neighbouring frames (4 bars, hop 2).

    Framewise self-similarity (Mittal et al. 2021); durations in sixteenths; an empty frame is N(1, 1e-6), as in SCHmUBERT.
    """
    rows = pitched(notes)
    bars, pitch = bar_of(notes)[rows], notes.pitch[rows]
    duration = notes.duration[rows] * 4 / notes.ticks_per_beat

    def normal(values: np.ndarray) -> NormalDist:
        return NormalDist(values.mean(), max(values.std(), 1e-3)) if len(values) else NormalDist(1, 1e-6)

    frames = [(bars >= i) & (bars < i + 4) for i in range(0, notes.bars - 3, 2)]
    pairs = list(pairwise(frames))
    return tuple([normal(x[a]).overlap(normal(x[b])) for a, b in pairs] for x in (pitch, duration))  # type: ignore[return-value]


# Endings ---------------------------------------------------------------------------------------------------------------


def ends_on_tonic(notes: Notes) -> float:
    """1 where the lowest of the last pitched onsets is the tonic of the detected key, else 0."""
    rows = pitched(notes)
    if not rows.any():
        return np.nan
    tonic, _, _ = detect_key(np.bincount(notes.pitch[rows] % 12, notes.duration[rows], 12))
    last = notes.onset[rows] == notes.onset[rows].max()
    return float(notes.pitch[rows][last].min() % 12 == tonic)


def last_bar_density(notes: Notes) -> float:
    """Onsets of the last bar that has any, over the mean of the other bars, drums counted: a close thins out."""
    counts = np.bincount(bar_of(notes), minlength=notes.bars)
    played = np.flatnonzero(counts)
    return float(counts[played[-1]] / max(counts[: played[-1]].mean(), 1e-9)) if len(played) > 1 and played[-1] else np.nan


# A piece as numbers ----------------------------------------------------------------------------------------------------


def _a_bar(notes: Notes, drums: bool) -> float:
    return float((pitched(notes) != drums).sum() / max(notes.bars, 1))


def _pitched_mean(values: Callable[[Notes], np.ndarray]) -> Callable[[Notes], float]:
    return lambda notes: float(values(notes)[pitched(notes)].mean()) if pitched(notes).any() else np.nan


SCALARS: dict[str, Callable[[Notes], float]] = {
    "pitch_class_entropy": pitch_class_entropy,
    "entropy_1_bar": lambda n: window_entropy(n, 1),
    "entropy_4_bars": lambda n: window_entropy(n, 4),
    "scale_consistency": scale_consistency,
    "pitch_classes_a_bar": pitch_classes_a_bar,
    "mean_interval": mean_interval,
    "span": span,
    "mean_pitch": _pitched_mean(lambda n: n.pitch),
    "in_instrument_range": in_instrument_range,
    "groove_consistency": groove_consistency,
    "grooving_similarity": grooving_similarity,
    "empty_beat_rate": empty_beat_rate,
    "polyphony": polyphony,
    "polyphony_rate": polyphony_rate,
    "chord_irregularity": chord_irregularity,
    "bass_agreement": bass_agreement,
    "repetition": repetition,
    "notes_a_bar": lambda n: _a_bar(n, drums=False),
    "drum_hits_a_bar": lambda n: _a_bar(n, drums=True),
    "parts": lambda n: float(len(np.unique(n.program))),
    "mean_duration": _pitched_mean(lambda n: n.duration / n.ticks_per_beat),
    "mean_velocity": lambda n: float(n.velocity.mean()) if len(n) else np.nan,
    "velocity_spread": lambda n: float(n.velocity.std()) if len(n) else np.nan,
}
"""One number a piece. Together they are the features that `frechet` compares: this project's own, so no FMD."""


def scalars(pieces: Sequence[Notes]) -> dict[str, np.ndarray]:
    """Every metric of SCALARS for every piece: (pieces,) each."""
    return {name: np.array([measure(p) for p in pieces]) for name, measure in SCALARS.items()}


def feature_matrix(values: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> np.ndarray:
    """Scalars → (pieces, features) in standard deviations of the reference, within ±5; what is missing is at its mean."""
    columns = []
    for name, column in values.items():
        known = reference[name]
        z = (column - np.nanmean(known)) / max(float(np.nanstd(known)), 1e-6)
        columns.append(np.nan_to_num(z, nan=0.0).clip(-5, 5))
    return np.stack(columns, axis=1)


# Sets against sets -----------------------------------------------------------------------------------------------------


COMPONENTS = 6
"""Principal components that `frechet` compares: 23 features would want thousands of pieces."""


def principal(reference: np.ndarray, count: int = COMPONENTS) -> np.ndarray:
    """Directions of most variance of a reference set of features (N, F): (F, count)."""
    return np.linalg.svd(reference - reference.mean(0), full_matrices=False)[2][:count].T


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two sets of features (N, F), (M, F) taken as normal: ‖μ₁−μ₂‖² + Tr(Σ₁+Σ₂−2(Σ₁Σ₂)^½) (Heusel 2017).

    Tr (Σ₁Σ₂)^½ is the sum of the roots of the eigenvalues of Σ₁Σ₂. It grows as sets get smaller: compare equal sizes only.
    NaN for sets of fewer than 2 F.
    """
    if min(len(a), len(b)) < 2 * a.shape[1]:
        return np.nan
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    eigenvalues = np.linalg.eigvals(s1 @ s2).real.clip(0)
    gap = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(gap + np.trace(s1) + np.trace(s2) - 2 * np.sqrt(eigenvalues).sum())


# Length of notes in quarters that mgeval tells apart: whole to sixteenth, dotted half to dotted sixteenth, triplets.
_LENGTHS = np.array([4, 2, 1, 0.5, 0.25, 3, 1.5, 0.75, 0.375, 4 / 3, 2 / 3, 1 / 3])


def _length_classes(notes: Notes) -> np.ndarray:
    quarters = notes.duration / notes.ticks_per_beat
    return np.abs(np.log(np.maximum(quarters, 1e-3))[:, None] - np.log(_LENGTHS)[None, :]).argmin(1)


def _share(table: np.ndarray) -> np.ndarray:
    return table / max(table.sum(), 1e-9)


def mgeval_features(notes: Notes) -> dict[str, np.ndarray]:
    """The nine features of MGEval (Yang & Lerch 2020) as vectors; histograms and matrices add up to 1.

    Transitions and intervals are those inside a part; the time between onsets is in seconds, over all pitched parts.
    """
    rows, steps = pitched(notes), _steps(notes)
    pitch, classes = notes.pitch % 12, _length_classes(notes)
    by_class, by_length = np.zeros((12, 12)), np.zeros((12, 12))
    np.add.at(by_class, (pitch[steps[:, 0]], pitch[steps[:, 1]]), 1)
    np.add.at(by_length, (classes[steps[:, 0]], classes[steps[:, 1]]), 1)
    bars = bar_of(notes)
    onsets, first = np.unique(notes.onset[rows], return_index=True)
    seconds = np.diff(onsets) / notes.ticks_per_beat * 60 / notes.bar_tempo[bars[rows][first]][:-1]
    return {
        "pitch_count": np.array([len(np.unique(notes.pitch[rows]))], dtype=float),
        "pitch_class_histogram": _share(np.bincount(pitch[rows], notes.duration[rows], 12)),
        "pitch_class_transitions": _share(by_class).ravel(),
        "pitch_range": np.array([np.nan_to_num(span(notes))]),
        "mean_interval": np.array([np.nan_to_num(mean_interval(notes))]),
        "note_count": np.array([float(rows.sum())]),
        "mean_onset_interval": np.array([seconds.mean() if len(seconds) else 0.0]),
        "note_length_histogram": _share(np.bincount(classes[rows], minlength=12).astype(float)),
        "note_length_transitions": _share(by_length).ravel(),
    }


def overlap(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """OA and KL of two samples of distances, by kernel density on one shared grid: ∫ min(p, q) and KL(p‖q) in nats.

    After mgeval's utils, which samples its two densities on different grids. Samples with next to no spread get some.
    """
    least = 0.003 * max(float(np.ptp(np.concatenate([a, b]))), 1e-6)

    def density(values: np.ndarray) -> gaussian_kde:
        return gaussian_kde(values if values.std() > least else values + least * np.linspace(-1, 1, len(values)))

    p, q = density(a), density(b)
    width = 3 * max(float(np.sqrt(k.covariance[0, 0])) for k in (p, q))
    grid = np.linspace(min(a.min(), b.min()) - width, max(a.max(), b.max()) + width, POINTS)
    step = grid[1] - grid[0]
    x, y = (k(grid) for k in (p, q))
    x, y = x / (x.sum() * step), y / (y.sum() * step)
    shared = float(np.minimum(x, y).sum() * step)
    divergence = float((x * np.log((x + 1e-12) / (y + 1e-12))).sum() * step)
    return min(shared, 1.0), max(divergence, 0.0)


def mgeval(a: Sequence[dict[str, np.ndarray]], b: Sequence[dict[str, np.ndarray]]) -> dict[str, tuple[float, float]]:
    """OA and KL of each feature: distances inside set `a` against distances between `a` and `b` (Yang & Lerch 2020)."""
    found = {}
    for name in a[0]:
        x, y = (np.stack([piece[name] for piece in pieces]) for pieces in (a, b))
        found[name] = overlap(pdist(x), cdist(x, y).ravel())
    return found


def framewise(pieces: Sequence[Notes], reference: Sequence[Notes]) -> dict[str, float]:
    """Consistency and variance of the framewise overlaps against a reference set, for pitch and duration; 1 is alike.

    max(0, 1 − |x − y| / y) of the means over pieces of a piece's mean overlap, and of its variances (Mittal et al. 2021).
    """
    found: dict[str, float] = {}
    ours, theirs = ([frame_overlaps(p) for p in group] for group in (pieces, reference))
    for i, name in enumerate(("pitch", "duration")):
        x, y = (np.array([np.mean(o[i]) for o in group if len(o[i])]) for group in (ours, theirs))
        if not len(x) or not len(y):
            found |= {f"{name}_consistency": np.nan, f"{name}_variance": np.nan}
            continue
        for kind, p, q in (("consistency", x.mean(), y.mean()), ("variance", x.var(), y.var())):
            found[f"{name}_{kind}"] = float(max(0.0, 1 - abs(p - q) / max(q, 1e-12)))
    return found


def interval(
    values: np.ndarray, groups: Sequence[object] | None = None, draws: int = 1000, seed: int = 0,
    figure: Callable[[np.ndarray], float] = np.nanmean,
) -> tuple[float, float] | None:  # fmt: skip
    """95 % bootstrap interval of a figure of `values`; pieces of one group (song) are drawn together. None for fewer than 8."""
    values = np.asarray(values, dtype=float)
    names, inverse = np.unique([str(g) for g in groups] if groups is not None else np.arange(len(values)), return_inverse=True)
    if len(names) < 8 or np.isnan(values).all():
        return None
    members = [np.flatnonzero(inverse == i) for i in range(len(names))]
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])
        if not np.isnan(values[rows]).all():
            found.append(figure(values[rows]))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _mean(values: Sequence[float]) -> float:
    known = [x for x in values if not np.isnan(x)]
    return float(np.mean(known)) if known else np.nan
