"""The plan of a piece while it is written: with a debug model that knows nothing, what is asked for is still said."""

from __future__ import annotations

import numpy as np
import pytest

from midivibe.midi.theory import Key
from midivibe.piece import Settings
from midivibe.plan.chords import Chord
from midivibe.studio import Studio
from midivibe.tokens.leads import chords_in
from midivibe.tokens.vocabulary import SECTION, Vocabulary
from midivibe.writing.composing import Composing, turns
from midivibe.writing.leading import Leading


def written(studio: Studio, **wishes) -> Composing:
    composing = Composing(Settings(seed=3, programs=(0, 33, -1), **wishes), studio.vocabulary, studio.engine.block_size)
    for _ in turns(studio.engine, [composing]):
        pass
    return composing


def test_asked_chords_are_said_in_every_bar(studio: Studio) -> None:
    composing = written(studio, bars=6, chords="Dm | Bb F | C7", key="D minor", meter=(4, 4))
    shift = 5  # semitones from A minor to D minor
    asked = [["Dm"], ["Bb", "F"], ["C7"]] * 2
    for ids, symbols in zip(composing.bars, asked, strict=True):
        wanted = [Chord.parse(s).transposed(-shift) for s in symbols]
        found = chords_in(ids, studio.vocabulary)
        assert [(root, quality) for _, root, quality in found] == [(c.root, c.quality) for c in wanted]
        assert [tick for tick, _, _ in found] == [48 * i // len(symbols) for i in range(len(symbols))]


def test_a_section_that_returns_has_the_chords_and_bars_of_its_first(studio: Studio) -> None:
    composing = written(studio, bars=12, form="A4B4A4", meter=(4, 4))
    leading, v = composing.leading, studio.vocabulary
    assert leading is not None
    chords = [chords_in(ids, v) for ids in composing.bars]
    assert all(chords)
    assert chords[8:] == chords[:4]
    assert leading.sources[8:] == [0, 1, 2, 3]
    sections = [v.names[t] for ids in composing.bars for t in ids if v.type[t] == SECTION]
    assert {"Section_A", "Section_B"} == set(sections)


@pytest.mark.parametrize("length", [20, 90, 160, 341])
def test_a_window_begins_with_what_matters_and_leaves_room_for_a_bar(length: int, v: Vocabulary) -> None:
    """Whatever bars hold, a bar of a third of the block still fits behind the context."""
    block, header = 1024, 30
    settings = Settings(bars=24, form="A8B8A8")
    composing = Composing(settings, v, block)
    leading = Leading(v, composing.plan, (4, 4), Key.parse("C major").tonic)
    bar = np.array([v["Bar_None"], *[v["Program_0"]] * (length - 1)]).tolist()
    for done in range(24):
        context, most = leading.context([bar] * done, block)
        assert header + len(context) * length + block // 3 <= block
        assert context == sorted(context)
        assert all(0 <= b < done for b in context)
        assert bool(most) == (done >= 16)
        if done and not most:
            assert context[-1] == done - 1
        if most:
            assert context[:most] == list(range(done - 16, done - 16 + most))
