"""The laws of the figures: muspy where muspy is right, hand-counted cases, and both ends of every scale."""

from __future__ import annotations

import math
from dataclasses import replace

import muspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from muspy.metrics import metrics as theirs

from midivibe.evaluation import distances as d
from midivibe.evaluation import metrics as m
from midivibe.evaluation.intervals import estimate, interval
from midivibe.evaluation.movement import compare, movement
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
    alike = d.framewise([loop, loop], [loop])
    assert alike["pitch_consistency"] == pytest.approx(1)
    assert m.last_bar_density(piece([(0, 9, 60, 80, 0), (12, 9, 60, 80, 0), (48, 9, 60, 80, 0)], 2)) == 0.5
    held = piece([(0, 96, 60, 80, 0)], 2)
    assert m.half_bars(held, held.pitched)[:, 0].tolist() == [24, 24, 24, 24]


def test_nothing_to_measure_is_nan_and_no_crash() -> None:
    drums = piece([(12 * i, 3, 36, 80, DRUMS) for i in range(16)], 4)
    for notes in (drums, piece([], 4), piece([(0, 1, 60, 80, 0)], 1)):
        values = {name: measure(notes) for name, measure in m.SCALARS.items()}
        assert all(isinstance(v, float) for v in values.values()), values
        assert all(np.isfinite(v).all() for v in d.mgeval_features(notes).values())
    assert math.isnan(m.pitch_class_entropy(drums))
    assert m.groove_consistency(drums) == 1


def test_distances_between_sets() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(400, 3)), rng.normal(size=(400, 3))
    assert d.frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert d.frechet(a, b) < 0.1
    assert d.frechet(a, 2 * b + 3) == pytest.approx(3 * (9 + 1), rel=0.15)  # (μ gap)² + (σ gap)² a dimension
    same, apart = d.overlap(a[:, 0], b[:, 0]), d.overlap(a[:, 0], b[:, 0] + 50)
    assert same[0] > 0.9
    assert same[1] < 0.05
    assert apart[0] < 1e-6
    assert apart[1] > 5
    assert d.overlap(np.ones(20), np.ones(20))[0] == pytest.approx(1)  # no spread at all
    sets = [[d.mgeval_features(random_piece(i)) for i in range(k, k + 12)] for k in (0, 12)]
    found = d.mgeval(*sets)
    assert len(found) == 9
    assert all(0 <= oa <= 1 and kl >= 0 for oa, kl in found.values())


def test_intervals_draw_whole_songs_and_need_enough() -> None:
    values = np.repeat(np.arange(20.0), 5)
    wide, narrow = interval(values, np.repeat(np.arange(20), 5)), interval(values)
    assert wide is not None and narrow is not None
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])
    assert wide[0] < 9.5 < wide[1]
    assert interval(values[:5]) is None
    assert interval(np.full(30, np.nan)) is None
    assert estimate(values) == [9.5, *narrow]
    assert estimate(values[:5]) == [0.0, None, None]
    assert estimate(np.full(30, np.nan)) == [None, None, None]


def test_a_reference_lies_at_no_distance_from_itself() -> None:
    reference = d.Reference([random_piece(i) for i in range(16)])
    found = reference.against(reference.places, reference.places, 0)
    assert found["pieces"] == 16
    assert found["distance"][0] == pytest.approx(0, abs=1e-6)
    assert found["people"] == pytest.approx(0, abs=1e-6)
    assert reference.place(reference.values) == pytest.approx(reference.places)
    assert math.isnan(reference.against(reference.places[:11], reference.places, 0)["distance"][0])  # fewer than 2 a component


TRIADS = {"C": (0, 4, 7), "Am": (9, 0, 4), "F": (5, 9, 0), "G": (7, 11, 2)}


def block_chords(names: list[str]) -> Notes:
    """A chord a bar, struck on every beat, with its root in the bass and a kick drum."""
    rows = []
    for bar, name in enumerate(names):
        for beat in range(4):
            at = 48 * bar + 12 * beat
            rows += [(at, 12, 60 + pc, 80, 0) for pc in TRIADS[name]]
            rows += [(at, 12, 36 + TRIADS[name][0], 80, 33), (at, 3, 36, 100, DRUMS)]
    return piece(rows, len(names))


def test_harmony_that_stays_is_still_and_harmony_that_moves_is_not() -> None:
    still, moving = movement(block_chords(["C"] * 8)), movement(block_chords(["C", "Am", "F", "G"] * 2))
    assert (still["chord changes a bar"], still["chords in 8 bars"], still["still for 4 bars"]) == (0, 1, 1)
    assert (moving["chord changes a bar"], moving["chords in 8 bars"], moving["still for 4 bars"]) == (7 / 8, 4, 0)
    assert movement(block_chords(["F", "C", "C", "C", "G"]))["still for 4 bars"] == 0
    assert movement(block_chords(["F", "C", "C", "C", "C"]))["still for 4 bars"] == 1
    assert moving["lag 4 minus lag 1"] == 1  # every bar is that of four bars before, none that of the bar before
    assert moving["V-I a bar"] == 1 / 8  # the G before the second C
    assert moving["bass on root"] == still["bass on root"] == 1


def test_phrases_return_where_they_do() -> None:
    a, b = ["C", "Am", "F", "G"], ["F", "G", "Am", "C"]
    tune = movement(block_chords([*a, *a, *b, *a]))
    assert tune["phrases nearly return"] == 2 / 3  # the second and the last A, not B
    assert tune["bars that return"] == 12 / 15  # all but the first three to differ; B holds no new bar
    assert tune["drums like the bar before"] == 1
    assert movement(scale_up(8))["phrases nearly return"] == 0


def test_texture_and_band_are_counted() -> None:
    chords = movement(block_chords(["C", "Am", "F", "G"]))
    assert chords["notes per onset"] == chords["the same, last quarter"] == 2  # three of the piano, one of the bass
    piano = block_chords(["C", "Am", "F", "G"])
    alone = movement(piano.take(piano.program == 0))
    assert (alone["notes per onset"], alone["chordal parts"], alone["no bass"], alone["parts"]) == (3, 1, 1, 1)
    assert (chords["chordal parts"], chords["no bass"], chords["parts"], chords["constant velocity"]) == (0.5, 0, 3, 1)
    line = movement(scale_up(4))
    assert (line["notes per onset"], line["chordal parts"], line["stepwise"]) == (1, 0, 1)
    names = ("six parts", "three harsh parts", "BPM", "170 BPM and over")
    many = movement(piece([(0, 9, 60, 80, p) for p in (29, 80, 81, 0, 1, 2)], 1, tempo=171.0))
    few = movement(piece([(0, 9, 60, 80, p) for p in (29, 80, 0, 1, 2)], 1, tempo=169.0))
    assert [many[name] for name in names] == [1, 1, 171, 1]
    assert [few[name] for name in names] == [0, 0, 169, 0]


@settings(max_examples=25, deadline=None)
@given(names=st.lists(st.sampled_from(sorted(TRIADS)), min_size=4, max_size=12), semitones=st.integers(-12, 12))
def test_transposition_changes_no_movement(names: list[str], semitones: int) -> None:
    notes = block_chords(names)
    moved = replace(notes, pitch=np.where(notes.pitched, notes.pitch + semitones, notes.pitch))
    assert movement(moved) == pytest.approx(movement(notes), nan_ok=True)


def test_sets_are_compared_measure_by_measure_and_nothing_is_no_crash() -> None:
    still, moving = [block_chords(["C"] * 8)] * 10, [block_chords(["C", "Am", "F", "G"] * 2)] * 10
    found = compare({"still": (still, [str(i) for i in range(10)]), "moving": (moving, None), "none": ([], None)})
    assert found["still for 4 bars"] == {"still": [1, 1, 1], "moving": [0, 0, 0], "none": [None, None, None]}
    assert set(found) == set(movement(still[0]))
    for notes in (piece([(12 * i, 3, 36, 80, DRUMS) for i in range(16)], 4), piece([], 4), piece([(0, 1, 60, 80, 0)], 1)):
        assert set(movement(notes)) == set(found)
        assert math.isnan(movement(notes)["chord changes a bar"])
