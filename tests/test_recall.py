"""What a song repeats is found again: laws of the recall and of the choice among candidates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from midivibe.config import FILLING
from midivibe.edits import Job, job_of, open_song
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.score import to_score, write
from midivibe.requests import Accompany, Inpaint, Vary
from midivibe.studio import Studio
from midivibe.tokens import layout
from midivibe.tokens.holes import Window
from midivibe.tokens.vocabulary import (
    PROGRAM,
    Vocabulary,
)
from midivibe.vibe.axes import AXES, Vibe
from midivibe.writing.filling import Filling, agreed, blank_canvas, fill
from midivibe.writing.recall import OWN_SHARE, Recall
from midivibe.writing.sampling import recalled, shares_of
from tests.conftest import random_notes

PROGRAMS = (0, 33, DRUMS)


def repeated(v: Vocabulary, bars: int = 12, seed: int = 3) -> Notes:
    """Music whose bars are all the same, without overlaps."""
    one = random_notes(seed, v, 1, PROGRAMS)
    rows = np.arange(len(one))
    length = int(one.bar_start[1])
    every = np.concatenate([rows] * bars)
    return Notes(
        np.concatenate([one.onset + i * length for i in range(bars)]), np.minimum(one.duration[every], 3), one.pitch[every],
        one.velocity[every], one.program[every], one.ticks_per_beat, np.arange(bars + 1) * length,
        np.full(bars, 120.0), list(one.bar_meter) * bars,
    )  # fmt: skip


def struck(notes: Notes) -> set[tuple[int, ...]]:
    return set(zip(*(getattr(notes, n).tolist() for n in ("onset", "program", "pitch", "velocity")), strict=True))


@pytest.mark.parametrize(
    ("bars", "parts", "length"),
    [([5], [1], 12), ([4, 5, 6], [1, 2, 3], 12), ([2, 3, 7], [3], 12), ([97, 98, 99], [1, 2, 3], 100)],
)
def test_a_hole_in_music_whose_bars_repeat_is_filled_with_what_stood_there(
    studio: Studio, tmp_path: Path, v: Vocabulary, bars: list[int], parts: list[int], length: int
) -> None:
    write(to_score(repeated(v, length)), tmp_path / "song.mid")
    song = open_song(tmp_path / "song.mid")
    request = Job(song, list(song.parts), dict.fromkeys(parts, bars), seed=1, sampling=FILLING)
    for filling in fill(studio.engine, v, request, variations=2):
        assert struck(filling.canvas.written) == struck(filling.canvas.erased)
    for other in ({"recall": 0.0}, {"temperature": 0.0}):
        alone = fill(studio.engine, v, replace(request, sampling=replace(FILLING, **other)), 1)[0]
        assert struck(alone.canvas.written) != struck(alone.canvas.erased)


def test_variations_of_music_that_repeats_are_not_all_the_same(studio: Studio, tmp_path: Path, v: Vocabulary) -> None:
    write(to_score(repeated(v)), tmp_path / "song.mid")
    edits = studio.edit(Inpaint(tmp_path / "song.mid", bars="5-6", recall=0.4, seed=1), variations=3)
    assert len({e.data for e in edits}) == 3
    (varied,) = studio.edit(Vary(tmp_path / "song.mid", amount=0.5, seed=1))
    assert varied.data != (tmp_path / "song.mid").read_bytes()


def test_what_is_unknown_is_not_looked_at(v: Vocabulary) -> None:
    notes = random_notes(5, v, 8, PROGRAMS)
    order = sorted(PROGRAMS)
    cells = Window.cut(layout.encode(notes, v, order)[0], v).cells
    fill = [(3, tuple(order)), (4, tuple(order))]
    open_ = {(bar, p) for bar, programs in fill for p in programs}
    bare = [{p: ids for p, ids in row.items() if (bar, p) not in open_} for bar, row in enumerate(cells)]
    one, other = Recall(v, cells, order, open_, fill), Recall(v, bare, order, open_, fill)
    written = [t for bar, _ in fill for t in (v["Bar_None"], *(t for p in order for t in cells[bar].get(p, ())))]
    for token in written:
        one.push(token)
        other.push(token)
        assert one.expected() == other.expected()
        shares = {k: s for k, s in one.expected().items() if k != v["EOS_None"]}
        assert all(0 < s <= 1 for s in shares.values())
        assert sum(shares.values()) <= 1 + 1e-6
    assert any(v.type[t] == PROGRAM for t in written)


def test_bars_of_a_hole_are_taken_from_outside_it_and_not_from_one_bar_again_and_again(v: Vocabulary) -> None:
    order = sorted(PROGRAMS)
    cells = Window.cut(layout.encode(repeated(v, 8), v, order)[0], v).cells
    fill = [(bar, tuple(order)) for bar in (3, 4, 5)]
    open_ = {(bar, p) for bar, programs in fill for p in programs}
    recall = Recall(v, cells, order, open_, fill, [3, 4, 5], np.zeros(8))
    firsts = []
    for bar, _ in fill:
        recall.push(v["Bar_None"])
        firsts.append(recall.sources[0][0])
        assert sum(share for source, share in recall.sources if source in (3, 4, 5)) < 1e-6
        for token in (t for p in order for t in cells[bar].get(p, ())):
            recall.push(token)
    assert len(set(firsts)) == 3
    alone = Recall(v, cells, order, open_, fill, range(8), np.zeros(8))
    alone.push(v["Bar_None"])
    assert 0 < sum(share for _, share in alone.sources) <= OWN_SHARE


def test_a_last_bar_stands_in_for_no_bar_before_it(v: Vocabulary) -> None:
    notes, order = repeated(v, 5), sorted(PROGRAMS)
    cells = Window.cut(layout.encode(notes, v, order)[0], v).cells
    for bar, alike in ((2, {0, 1, 3}), (4, {1, 2, 3})):  # of what comes before bar 0 nothing is known
        recall = Recall(v, cells, order, {(bar, p) for p in order}, [(bar, tuple(order))])
        recall.push(v["Bar_None"])
        assert {source for source, _ in recall.sources} == alike


def test_a_new_part_is_not_taken_to_rest_where_it_was_not_asked_to_play(studio: Studio, tmp_path: Path, v: Vocabulary) -> None:
    write(to_score(repeated(v, 90)), tmp_path / "song.mid")
    request = job_of(Accompany(tmp_path / "song.mid", "flute", "85-86"), 1, Vibe(), FILLING)
    blank = blank_canvas(request, v)
    prompt = Filling(request, v, blank, 1).window(studio.engine)
    assert prompt
    recall = prompt.recall
    assert recall
    assert not recall.memory.known[recall.memory.rank[73]].any()
    assert all(recall.memory.known[rank].all() for program, rank in recall.memory.rank.items() if program != 73)


def test_silence_of_a_hole_is_not_heard_as_mood(tmp_path: Path, v: Vocabulary) -> None:
    write(to_score(repeated(v)), tmp_path / "song.mid")
    song = open_song(tmp_path / "song.mid")

    def heard(hole: dict[int, list[int]]) -> Vibe:
        request = Job(song, list(song.parts), hole, seed=1, sampling=FILLING)
        blank = blank_canvas(request, v)
        return Filling(request, v, blank, 1)._heard(blank.notes, 0)

    few, more = heard({1: [5]}), heard({1: [4, 5, 6], 2: [4, 5, 6], 3: [4, 5, 6]})
    assert few.values == pytest.approx(more.values, abs=0.03)
    assert min(few.confidence) == min(more.confidence) == 1
    whole = heard({1: list(range(song.bars))})
    assert [a for a, c in zip(AXES, whole.confidence, strict=True) if not c] == ["density", "contrast"]


def test_mixing_keeps_shares_and_leaves_out_what_may_not_come() -> None:
    plain, ids = shares_of(np.array([0.0, 1.0, -np.inf, 2.0])), np.array([3, 5, 8, 9])
    assert recalled(plain, ids, {}, 1.0) == pytest.approx(plain)
    assert recalled(plain, ids, {4: 1.0, 30: 0.5}, 1.0) == pytest.approx(plain)
    assert (recalled(plain, ids, {3: 0.5, 5: 0.5 + 3e-16}, 1.0) >= 0).all()
    mixed = recalled(plain, ids, {8: 0.5}, 0.8)
    assert mixed == pytest.approx(0.6 * plain + [0, 0, 0.4, 0])


def test_the_candidate_that_the_others_agree_with_is_taken(studio: Studio, tmp_path: Path, v: Vocabulary) -> None:
    write(to_score(random_notes(2, v, 6, PROGRAMS)), tmp_path / "song.mid")
    song = open_song(tmp_path / "song.mid")
    request = Job(song, list(song.parts), {1: [2, 3]}, seed=5, sampling=FILLING)
    blank = blank_canvas(request, v)
    fillings = [Filling(request, v, blank, 5, c) for c in range(4)]
    notes = random_notes(9, v, 6, (0,))
    for filling, cut in zip(fillings, (slice(0, 3), slice(0, 9), slice(0, 9), slice(2, 9)), strict=True):
        names = ("onset", "duration", "pitch", "velocity", "program")
        filling.canvas.written = replace(notes, **{name: getattr(notes, name)[cut] for name in names})
    assert agreed(fillings) is fillings[1]
    assert agreed(fillings[:1]) is fillings[0]


def test_a_piece_follows_the_phrase_and_its_drums_any_bar(v: Vocabulary) -> None:
    notes, order = repeated(v, 9), sorted(PROGRAMS)
    cells = Window.cut(layout.encode(notes, v, order)[0], v).cells
    recall = Recall(v, [*cells[:8], {}, {}], order, {(8, p) for p in order}, [(8, tuple(order))], follow={8: (0, 4)})
    recall.push(v["Bar_None"])
    assert {source for source, _ in recall.sources} <= {0, 4}
    for program in order:
        ids = cells[8].get(program)
        if ids is not None:
            for token in ids.tolist():
                recall.push(token)
                sources = {source for source, _ in recall.sources}
                assert sources <= {0, 4} if program != DRUMS else len(sources) > 2


def test_what_leaves_the_chord_of_its_source_is_not_hurried_to_the_next_onset(v: Vocabulary) -> None:
    chord = [v[name] for name in ("Program_0", "Position_0", "Velocity_63", "Pitch_60", "Duration_1.0.12", "Pitch_64",
                                  "Duration_1.0.12", "Position_12", "Pitch_60", "Duration_1.0.12")]  # fmt: skip
    cells = [{0: np.array(chord)} for _ in range(3)]
    recall = Recall(v, [*cells, {}, {}], (0,), {(3, 0)}, [(3, (0,))])
    for token in (v["Bar_None"], *chord[:3]):
        recall.push(token)
    assert set(recall.expected()) == {v["Pitch_60"]}
    for name in ("Pitch_62", "Duration_1.0.12"):
        recall.push(v[name])
    assert not recall.expected()


def test_a_bar_that_says_what_it_repeats_follows_that_bar(v: Vocabulary) -> None:
    """Eight bars that alternate, written in a window that leaps: places are bars 0, 1 and 8."""
    order = [0, 33]
    cells = Window.cut(layout.encode(repeated(v, 8), v, order)[0], v).cells
    recall = Recall(v, [*cells, {}], order, {(8, p) for p in order}, [(8, (0, 33))], follow={8: []}, places=[0, 1, 8])
    recall.push(v["Bar_None"])
    assert recall.sources == []
    recall.push(v["Return_1"])
    assert recall.sources == [(1, 1.0)]
    recall.push(v["Program_0"])
    assert recall.sources == [(1, 1.0)]


def test_chords_recur_by_phrase_and_parts_follow_bars_on_the_same_chord(v: Vocabulary) -> None:
    order, am, f = [0, 33], v.chord_ids(9, "min"), v.chord_ids(5, "maj")
    cells = Window.cut(layout.encode(repeated(v, 8), v, order)[0], v).cells
    chords = [am, f] * 4 + [[]]
    recall = Recall(v, [*cells, {}], order, {(8, p) for p in order}, [(8, (0, 33))], follow={8: [4, 1]}, chords=chords)
    recall.push(v["Bar_None"])
    assert recall.expected() == {am[0]: 0.5, f[0]: 0.5}
    recall.push(f[0])
    assert recall.expected() == {f[1]: 0.5}
    recall.push(f[1])
    assert recall.expected().keys() == {v["Program_0"]}
    recall.push(v["Program_0"])
    assert [bar for bar, _ in recall.sources] == [1]  # bar 4 is like it too, but on another chord
    assert recall.chords[8] == tuple(f)
