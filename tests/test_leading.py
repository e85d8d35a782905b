"""The plan of a piece while it is written: with a debug model that knows nothing, what is asked for is still said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from symusic import Note, Score, TimeSignature, Track

from midivibe.config import SampleConfig
from midivibe.edits import job_of
from midivibe.errors import InputError
from midivibe.midi.score import write
from midivibe.midi.theory import Key
from midivibe.piece import Settings
from midivibe.plan.chords import Chord
from midivibe.requests import Inpaint
from midivibe.studio import Studio
from midivibe.tokens.leads import chords_in
from midivibe.tokens.vocabulary import SECTION, Vocabulary
from midivibe.vibe.axes import Vibe
from midivibe.writing.composing import Composing, turns
from midivibe.writing.filling import blank_canvas
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
    chords = [chords_in(ids, v) for ids in composing.bars]
    assert all(chords)
    assert chords[8:11] == chords[:3]
    assert chords[11][0][1:] in ((0, "maj"), (9, "min"))  # it closes
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
        if done < 16:
            assert not done or context[-1] == done - 1
            assert most in (0, 16 - done)  # a section that returns begins a window of its own, unless its first is in this one
            assert most or not context or context[0] == 0
        else:
            assert context[:most] == list(range(done - 16, done - 16 + most))


@pytest.mark.parametrize("meter", [(4, 4), (3, 4), (6, 8), (8, 4)])
def test_holes_follow_a_progression_and_the_rest_keeps_its_chords(
    studio: Studio, tmp_path: Path, meter: tuple[int, int]
) -> None:
    """8/4 is two bars of the model's: each has the chords of its half."""
    score = Score(480)
    score.time_signatures.append(TimeSignature(0, *meter))
    track, length = Track("piano", 0, False), 480 * 4 * meter[0] // meter[1]
    for bar in range(6):
        for pitch in (60, 64, 67):
            track.notes.append(Note(bar * length, length, pitch, 80))
    score.tracks.append(track)
    write(score, tmp_path / "song.mid")
    job = job_of(Inpaint(tmp_path / "song.mid", bars="2-3,5", chords="Dm G | Am"), 1, Vibe(), SampleConfig())
    canvas = blank_canvas(job, studio.vocabulary)
    split = canvas.bars // 6
    chords = [[c.symbol() for _, c in bar] for bar in canvas.reading.chords]
    assert [c for bar in chords[split : 2 * split] for c in bar] == ["Dm", "G"]
    assert chords[2 * split : 3 * split] == [["Am"]] * split
    assert chords[4 * split : 5 * split] == [["Am"]] * split
    assert all(bar == ["C"] for i in (0, 3, 5) for bar in chords[i * split : (i + 1) * split])
    edit = studio.inpaint(tmp_path / "song.mid", bars="2-3,5", chords="Dm G | Am", seed=1)
    assert edit.settings["chords"] == "Dm G | Am"
    with pytest.raises(InputError, match="unknown chord 'H'"):
        studio.inpaint(tmp_path / "song.mid", bars="2", chords="H")
