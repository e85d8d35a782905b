"""The laws of the figures: muspy where muspy is right, hand-counted cases, and both ends of every scale."""

from __future__ import annotations

import math

import muspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from muspy.metrics import metrics as theirs

from midivibe.evaluation import metrics as m
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.theory import MAJOR_SCALE

BEAT = 12


def piece(rows: list[tuple[int, int, int, int, int]], bars: int, beats: int = 4, tempo: float = 120.0) -> Notes:
    """(onset, duration, pitch, velocity, program) rows → Notes of `bars` bars."""
    flat = np.array(sorted(rows), dtype=np.int64).reshape(-1, 5)
    lines = np.arange(bars + 1) * beats * BEAT
    return Notes(*flat.T, BEAT, lines, np.full(bars, tempo), [(beats, 4)] * bars)


def random_piece(seed: int, bars: int = 8) -> Notes:
    rng = np.random.default_rng(seed)
    end = bars * 4 * BEAT
    rows = {}
    for _ in range(60):
        onset, program = int(rng.integers(end - 1)), int(rng.choice([0, 33, DRUMS]))
        pitch = int(rng.integers(36, 84))
        rows[onset, pitch, program] = (onset, int(rng.integers(1, min(40, end - onset) + 1)), pitch, 80, program)
    # ends inside the last beat, where muspy's count of beats and bars and ours agree
    rows = {k: (o, min(d, end - 1 - o), p, v, g) for k, (o, d, p, v, g) in rows.items() if o < end - 1}
    return piece([*rows.values(), (end - 2, 1, 60, 80, 0)], bars)


def as_muspy(notes: Notes) -> muspy.Music:
    tracks = []
    for program in sorted(set(notes.program.tolist())):
        rows = notes.program == program
        columns = zip(*(a[rows].tolist() for a in (notes.onset, notes.pitch, notes.duration, notes.velocity)), strict=True)
        tracks.append(muspy.Track(program=max(program, 0), is_drum=program == DRUMS, notes=[muspy.Note(*c) for c in columns]))
    return muspy.Music(resolution=BEAT, tracks=tracks)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_figures_are_those_of_muspy(seed: int) -> None:
    notes = random_piece(seed)
    music = as_muspy(notes)
    assert m.pitch_class_entropy(notes) == pytest.approx(theirs.pitch_class_entropy(music))
    assert m.scale_consistency(notes) == pytest.approx(theirs.scale_consistency(music))
    assert m.groove_consistency(notes) == pytest.approx(theirs.groove_consistency(music, 4 * BEAT))
    assert m.polyphony(notes) == pytest.approx(theirs.polyphony(music))
    # muspy's "more than 2 pitches" with 1 is two or more; its roll ends with the last note that has a pitch
    ours = m.polyphony_rate(notes) * len(m._roll(notes))
    assert ours == pytest.approx(theirs.polyphony_rate(music, 1) * len(theirs._get_pianoroll(music)))
    if not any((notes.onset + notes.duration) % BEAT == 0):  # where a note ends on a beat muspy fills the next
        assert m.empty_beat_rate(notes) == pytest.approx(theirs.empty_beat_rate(music))


def scale_up(bars: int = 2) -> Notes:
    """C major, a note a beat, up and on."""
    return piece([(BEAT * i, BEAT, 60 + MAJOR_SCALE[i % 7] + 12 * (i // 7), 80, 0) for i in range(4 * bars)], bars)


def test_hand_counted() -> None:
    notes = scale_up()
    assert m.pitch_class_entropy(notes) == pytest.approx(-(6 / 8 * math.log2(1 / 8) + 2 / 8 * math.log2(2 / 8)))
    assert m.window_entropy(notes, 1) == pytest.approx(2.0)
    assert m.window_entropy(notes, 2) == pytest.approx(m.pitch_class_entropy(notes))
    assert (m.scale_consistency(notes), m.groove_consistency(notes), m.grooving_similarity(notes)) == (1, 1, 1)
    assert (m.empty_beat_rate(notes), m.polyphony(notes), m.polyphony_rate(notes)) == (0, 1, 0)
    assert (m.pitch_classes_a_bar(notes), m.span(notes), m.mean_interval(notes)) == (4, 12, pytest.approx(12 / 7))
    shifted = piece([(BEAT * i + 6 * (i > 3), 6, 60, 80, 0) for i in range(8)], 2)
    assert m.groove_consistency(shifted) == pytest.approx(1 - 8 / 48)
    gappy = piece([(0, 1, 60, 80, 0), (2 * BEAT, BEAT, 60, 80, DRUMS)], 1)
    assert m.empty_beat_rate(gappy) == 0.5
    assert m.in_instrument_range(piece([(0, 9, 20, 80, 73), (9, 9, 72, 80, 73)], 1)) == 0.5


def test_harmony() -> None:
    chord = {"C": (0, 4, 7), "Am": (9, 0, 4), "F": (5, 9, 0), "G": (7, 11, 2)}
    rows = []
    for bar, name in enumerate(["C", "Am", "F", "G"] * 2):
        rows += [(48 * bar, 48, 60 + pc, 80, 0) for pc in chord[name]]
        rows += [
            (48 * bar, 24, 36 + chord[name][0], 80, 33),
            (48 * bar + 24, 24, 37 if bar == 0 else 36 + chord[name][2], 80, 33),
        ]
    notes = piece(rows, 8)
    assert m.chords(notes, bass=False)[::2].tolist() == [0, 21, 5, 7] * 2
    assert m.bass_agreement(notes) == pytest.approx(15 / 16)
    assert m.chord_irregularity(notes) == 8 / 14  # CCA CAA AAF AFF FFG FGG GGC GCC, then the first six again
    lone = piece([(0, 48, 67, 80, 0)], 1)
    assert m.chords(lone).tolist() == [7, 7]
    assert m.chord_irregularity(piece([(48 * i, 48, 60, 80, 0) for i in range(8)], 8)) == pytest.approx(1 / 14)
    assert m.ends_on_tonic(piece([*rows, (48 * 8, 48, 36, 80, 33)], 9)) == 1
    assert m.ends_on_tonic(notes) == 0


def test_form() -> None:
    loop = piece([(48 * b + 12 * i, 12, 60 + i, 80, 0) for b in range(8) for i in range(4)], 8)
    assert m.repetition(loop) == 1
    assert m.repetition(scale_up(4)) == 0
    alike = m.framewise([loop, loop], [loop])
    assert alike["pitch_consistency"] == pytest.approx(1)
    assert m.last_bar_density(piece([(0, 9, 60, 80, 0), (12, 9, 60, 80, 0), (48, 9, 60, 80, 0)], 2)) == 0.5
    held = piece([(0, 96, 60, 80, 0)], 2)
    assert m._half_bars(held, m.pitched(held))[:, 0].tolist() == [24, 24, 24, 24]


def test_nothing_to_measure_is_nan_and_no_crash() -> None:
    drums = piece([(12 * i, 3, 36, 80, DRUMS) for i in range(16)], 4)
    for notes in (drums, piece([], 4), piece([(0, 1, 60, 80, 0)], 1)):
        values = {name: measure(notes) for name, measure in m.SCALARS.items()}
        assert all(isinstance(v, float) for v in values.values()), values
        assert all(np.isfinite(v).all() for v in m.mgeval_features(notes).values())
    assert math.isnan(m.pitch_class_entropy(drums))
    assert m.groove_consistency(drums) == 1


def test_distances_between_sets() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(400, 3)), rng.normal(size=(400, 3))
    assert m.frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert m.frechet(a, b) < 0.1
    assert m.frechet(a, 2 * b + 3) == pytest.approx(3 * (9 + 1), rel=0.15)  # (μ gap)² + (σ gap)² a dimension
    same, apart = m.overlap(a[:, 0], b[:, 0]), m.overlap(a[:, 0], b[:, 0] + 50)
    assert same[0] > 0.9
    assert same[1] < 0.05
    assert apart[0] < 1e-6
    assert apart[1] > 5
    assert m.overlap(np.ones(20), np.ones(20))[0] == pytest.approx(1)  # no spread at all
    sets = [[m.mgeval_features(random_piece(i)) for i in range(k, k + 12)] for k in (0, 12)]
    found = m.mgeval(*sets)
    assert len(found) == 9
    assert all(0 <= oa <= 1 and kl >= 0 for oa, kl in found.values())


def test_intervals_draw_whole_songs_and_need_enough() -> None:
    values = np.repeat(np.arange(20.0), 5)
    wide, narrow = m.interval(values, np.repeat(np.arange(20), 5)), m.interval(values)
    assert wide is not None and narrow is not None
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])
    assert wide[0] < 9.5 < wide[1]
    assert m.interval(values[:5]) is None
    assert m.interval(np.full(30, np.nan)) is None
