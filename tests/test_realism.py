"""The laws of the classifier two-sample test: chance where there is no difference, and a difference is found and named."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import numpy as np
import pytest

from midivibe.evaluation.realism import FOLDS, NOT_THE_NOTES, Side, auc, compare, folds, give_aways, told
from midivibe.evaluation.traits import GROUPS, traits
from midivibe.midi.notes import DRUMS, Notes
from tests.test_metrics import BEAT, piece, scale_up


def played(seed: int, bars: int = 8) -> Notes:
    """Chords, a tune, a bass and drums that are made up at random from a few choices of a piece's own."""
    rng = np.random.default_rng(seed)
    loud, size, step = rng.integers(50, 100), rng.integers(2, 4), int(rng.choice([1, 2]))
    rows = []
    for at in range(0, bars * 4, 2):
        root = int(rng.choice([0, 5, 7, 9]))
        for pitch in (48, 52, 55)[:size]:
            rows.append((at * BEAT, int(rng.integers(6, 24)), pitch + root, int(loud + rng.integers(0, 20)), 0))
        rows.append((at * BEAT, int(rng.integers(6, 24)), 36 + root, int(loud + rng.integers(0, 20)), 33))
        for beat in range(at, at + 2, step):
            rows.append((beat * BEAT, BEAT, int(72 + rng.integers(0, 8)), int(loud + rng.integers(0, 20)), 73))
            rows.append((beat * BEAT, 3, int(rng.choice([36, 38, 42])), int(loud + rng.integers(0, 20)), DRUMS))
    return piece(rows, bars, tempo=float(rng.choice([90, 120])))


@cache
def people(first: int, count: int = 40) -> list[Notes]:
    return [played(first + i) for i in range(count)]


def side(pieces: list[Notes], name: str, songs: int = 20) -> Side:
    return Side.of(pieces, [f"{name} {i % songs}" for i in range(len(pieces))])


def one_at_a_time(notes: Notes) -> Notes:
    """The first note of every onset of a part."""
    keys = np.stack([notes.onset, notes.program])
    return notes.take(np.sort(np.unique(keys, axis=1, return_index=True)[1]))


@pytest.fixture(scope="module")
def halves() -> tuple[Side, Side]:
    return side(people(0), "one"), side(people(1000), "two")


def test_one_source_is_not_told_apart_and_the_seed_decides_all(halves: tuple[Side, Side]) -> None:
    accuracy, low, high = told(*halves)
    assert low <= 0.5 <= high
    assert low < accuracy < high
    assert told(*halves) == [accuracy, low, high]


def test_velocities_that_are_all_equal_are_named_first_and_the_notes_alone_do_not_say(halves: tuple[Side, Side]) -> None:
    flat = [dataclasses.replace(p, velocity=np.full(len(p), 80)) for p in people(2000)]
    found = compare(side(flat, "ours"), halves)
    assert found["accuracy"]["all"]["ours"][0] > 0.95
    for unseen in (found["accuracy"]["notes"]["ours"], found["accuracy"]["all"]["people"]):
        assert unseen[1] <= 0.5 <= unseen[2]
    assert found["pieces"] == 40
    first = found["give_aways"][0]
    assert first["trait"] == "velocity: constant parts"
    assert (first["auc"], first["ours"], first["people"]) == (1, 1, 0)
    assert all(row["trait"].startswith("velocity") for row in found["give_aways"][:5])


def test_one_note_an_onset_is_named_first(halves: tuple[Side, Side]) -> None:
    ours = side([one_at_a_time(p) for p in people(2000)], "ours")
    assert told(ours.without(NOT_THE_NOTES), halves[1].without(NOT_THE_NOTES))[1] > 0.9
    first = give_aways(ours, halves[1])[0]
    assert (first["trait"], first["auc"], first["ours"]) == ("texture: notes per onset", 0, 1)


def test_a_song_is_in_one_fold_and_folds_share_both_sides() -> None:
    songs = np.array([f"{name} {i % 20}" for name in "ab" for i in range(50)])
    labels = np.repeat([0, 1], 50)
    found = folds(songs, labels, 3)
    assert all(len(set(found[songs == song])) == 1 for song in songs)
    assert all(set(labels[found == fold]) == {0, 1} for fold in range(FOLDS))
    assert (found == folds(songs, labels, 3)).all()
    assert (found != folds(songs, labels, 4)).any()


def test_a_song_that_gives_itself_away_is_not_learned_by_heart() -> None:
    rng = np.random.default_rng(0)
    marks = rng.normal(size=(2, 10))  # each song has a value of its own, which says nothing of other songs
    names = np.array([[f"{name} {i}" for i in range(10)] for name in "ab"])
    sides = [Side({"mark": np.repeat(m, 6)}, np.repeat(songs, 6)) for m, songs in zip(marks, names, strict=True)]
    assert told(*sides)[0] < 0.7


def test_the_share_of_pairs() -> None:
    nan = math.nan
    assert auc(np.array([2.0, 3.0]), np.array([1.0, 2.0])) == 0.875
    assert auc(np.array([nan, 3.0]), np.array([1.0, nan])) == 0.625  # what is missing says nothing
    wide = Side({"x": np.array([-9.0, -8, 8, 9])}, np.arange(4))
    narrow = Side({"x": np.array([-1.0, -2, 1, 2])}, np.arange(4))
    assert give_aways(wide, narrow) == [{"trait": "x", "auc": 1, "by": "spread", "ours": 0, "people": 0}]


def test_traits_have_groups_and_bear_silence() -> None:
    names = set(traits(played(0)))
    assert 60 <= len(names) <= 120
    assert {name.split(":")[0] for name in names} == set(GROUPS) >= set(NOT_THE_NOTES)
    silent = played(0).take(np.zeros(0, dtype=int))
    drums = played(0).take(played(0).program == DRUMS)
    for notes in (silent, drums, played(0).take(np.arange(1)), scale_up(1)):
        assert set(traits(notes)) == names
    assert all(math.isnan(x) for name, x in traits(silent).items() if name.startswith(("melody", "drums", "velocity")))


def test_traits_are_what_they_say() -> None:
    found = traits(scale_up(4))
    assert found["melody: steps"] == found["rhythm: on the quarter"] == found["texture: notes per onset"] == 1
    assert found["melody: time filled until the next note"] == found["harmony: time in the scale"] == 1
    assert found["melody: turns"] == found["form: bars like those 1 on"] == found["rhythm: at odd positions"] == 0
    assert math.isnan(found["drums: kicks"])
    assert traits(played(1))["drums: hits per onset"] == 1
    moved = played(1)
    moved = dataclasses.replace(moved, pitch=np.where(moved.pitched, moved.pitch + 3, moved.pitch))
    before, after = traits(played(1)), traits(moved)
    assert {k for k in before if before[k] != pytest.approx(after[k], nan_ok=True)} == {"texture: mean pitch"}
