"""What the evaluation must see, on made-up music where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from midivibe.evaluation.originality import TrainingIndex, flat_notes, four_bars, runs
from midivibe.score.layout import encode, quantize, transpose
from midivibe.score.midi import DRUMS, Notes
from tests.test_training import song


def ids_of(notes: Notes, v) -> np.ndarray:
    return encode(quantize(notes, v), v)[0]


def test_flat_notes_are_the_pitched_notes(v) -> None:
    songs = [song(seed) for seed in range(4)]
    flat = flat_notes([ids_of(s, v) for s in songs], [True] * 4, v)
    for i, s in enumerate(songs):
        mine = flat.window == i
        bar = flat.bar[mine] - int(np.searchsorted(flat.bar_window, i))
        found = np.stack([bar * 48 + flat.position[mine], flat.program[mine], flat.pitch[mine]])
        expected = np.stack([s.onset, s.program, s.pitch])[:, s.program != DRUMS]
        assert sorted(found.T.tolist()) == sorted(expected.T.tolist())


def test_copies_are_found_in_any_key_and_new_music_is_not(v) -> None:
    training = [ids_of(song(seed), v) for seed in range(10)]
    index = TrainingIndex(training, [True] * 10, v)
    copy = flat_notes([ids_of(transpose(song(3), 5), v)], [True], v)
    assert index.similarity(four_bars(copy, hop=4)) == pytest.approx([1.0] * 3)
    copied = index.copied(copy)
    assert (copied[:, 0] == copied[:, 1]).all()
    new = flat_notes([ids_of(song(99), v)], [True], v)
    assert index.similarity(four_bars(new, hop=4)).max() < 0.9
    melody = index.copied(new)[0]
    assert melody[0] == 0
    assert melody[1] > 20


def test_similarity_is_shared_over_the_larger(v) -> None:
    one = song(1, bars=4)
    index = TrainingIndex([ids_of(one, v)], [True], v)
    bits = four_bars(flat_notes([ids_of(one, v)], [True], v))
    half = bits.copy()
    half[:, 32:] = False
    expected = half.sum() / bits.sum()
    assert index.similarity(half) == pytest.approx([expected])
    waltz = flat_notes([ids_of(one, v)], [False], v)
    assert len(four_bars(waltz)) == 0
    assert len(runs(flat_notes([ids_of(one, v)[:20]], [True], v))[0]) == 0
