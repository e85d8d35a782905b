"""Encode → decode is the identity on the grid, and every sequence that the grammar allows decodes."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Note, Score, Tempo, TimeSignature, Track

from midivibe.errors import CheckpointError, MidiError
from midivibe.midi.notes import DRUMS
from midivibe.midi.score import note_table, read, to_score, write
from midivibe.tokens import layout
from midivibe.tokens.grammar import Grammar
from midivibe.tokens.holes import Window, random_holes
from midivibe.tokens.miditok import BarTrackREMI, encode_song
from midivibe.tokens.places import coordinates
from midivibe.tokens.rules import Rules
from midivibe.tokens.vocabulary import (
    BAR,
    GRID_TICKS,
    HOLE,
    MODE,
    PROGRAM,
    SEP,
    TEMPO,
    TIMESIG,
    TYPES,
    VELOCITY,
    Vocabulary,
)
from tests.conftest import random_notes, same


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), bars=st.integers(1, 9))
def test_decode_inverts_encode(seed: int, bars: int) -> None:
    v = BarTrackREMI_V()
    notes = random_notes(seed, v, bars)
    decoded = layout.decode(encode_song(notes, v), v)
    assert same(decoded.notes, notes)
    assert set(decoded.header.programs) == set(notes.program.tolist())


_V: list[Vocabulary] = []


def BarTrackREMI_V() -> Vocabulary:
    if not _V:
        _V.append(BarTrackREMI().layout_vocabulary)
    return _V[0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), ticks=st.sampled_from([24, 96, 120, 480, 960, 1024]))
def test_quantizing_is_idempotent_at_any_resolution(seed: int, ticks: int) -> None:
    v = BarTrackREMI_V()
    grid = random_notes(seed, v)
    score = to_score(grid).resample(ticks, 1)
    once = layout.quantize(note_table(score), v)
    assert same(layout.quantize(once, v), once)
    if ticks % 12 == 0:  # nothing of the grid is lost on the way
        assert np.array_equal(once.onset, grid.onset)
        assert np.array_equal(once.pitch, grid.pitch)


def test_real_files_survive_the_round_trip(tmp_path, tokenizer: BarTrackREMI, v: Vocabulary) -> None:
    """Triplets, meter and tempo changes, drums and fifteen parts, through a file and MidiTok's own entry points."""
    score = Score(480)
    for tempo in (Tempo(0, 97.0), Tempo(1920, 140.0)):
        score.tempos.append(tempo)
    for sign in (TimeSignature(0, 4, 4), TimeSignature(1920, 6, 8), TimeSignature(1920 + 1440, 5, 4)):
        score.time_signatures.append(sign)
    for part in range(15):
        track = Track(f"part {part}", part * 8 % 128, False)
        for i in range(9):
            track.notes.append(Note(i * 160 + part * 480 % 1920, 160, 40 + part + i, 50 + 5 * part))
        track.notes.append(Note(3600, 480, 60 + part, 90))
        score.tracks.append(track)
    kit = Track("kit", 0, True)
    for i in range(32):
        kit.notes.append(Note(i * 120, 60, 36 + i % 3, 100))
    score.tracks.append(kit)
    write(score, tmp_path / "band.mid")
    back = read(tmp_path / "band.mid")
    grid = layout.quantize(note_table(back), v)
    assert len(set(grid.program.tolist())) == 16
    assert grid.bar_meter == [(4, 4), (6, 8), (5, 4)]
    triplets = grid.onset[(grid.program == 0) & (grid.onset < 36)]
    assert {4, 8, 12}.issubset(set(triplets.tolist()))
    seq = tokenizer.encode(back)
    assert tokenizer.encode(tokenizer.decode(seq)).ids == seq.ids
    assert tokenizer.tokens_types_graph["Pitch"] >= {"Duration"}


def test_tokenizer_file_round_trip(tmp_path, tokenizer: BarTrackREMI, v: Vocabulary) -> None:
    tokenizer.save_tokenizer(tmp_path / "tokenizer.json")
    assert Vocabulary.load(tmp_path / "tokenizer.json").names == v.names
    assert BarTrackREMI(params=tmp_path / "tokenizer.json").vocab == tokenizer.vocab
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no vocabulary"):
        Vocabulary.load(tmp_path / "bad.json")


def walk(v: Vocabulary, rules: Rules, seed: int, fill=None, prompt: list[int] = []) -> list[int]:  # noqa: B006
    """A random walk through what the grammar allows, hurried along so that it ends."""
    rng = np.random.default_rng(seed)
    grammar = Grammar(v, rules, fill)
    ids = list(prompt)
    for token in prompt:
        grammar.push(token)
    hurry = v["EOS_None"], v["Bar_None"], v["SEP_None"]
    while not ids or ids[-1] != v["EOS_None"]:
        allowed = np.flatnonzero(grammar.allowed())
        assert len(allowed), v.names[ids[-1]]
        quick = [t for t in allowed if t in hurry]
        token = int(rng.choice(quick if quick and rng.random() < 0.1 else allowed))
        grammar.push(token)
        ids.append(token)
    assert [tuple(c) for c in coordinates(np.array(ids), v)][-1] == grammar.coordinates
    return ids


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), bars=st.integers(1, 5), changes=st.booleans())
def test_what_the_grammar_allows_decodes(seed: int, bars: int, changes: bool) -> None:
    v = BarTrackREMI_V()
    ids = walk(v, Rules(bars=bars, changes=changes, max_bar_tokens=60), seed)
    decoded = layout.decode(ids, v)
    notes = decoded.notes
    assert notes.bars == bars
    assert set(notes.program.tolist()) <= set(decoded.header.programs)
    bar = notes.bar
    assert set(bar.tolist()) == set(range(bars))  # no bar is empty
    again = layout.encode(layout.quantize(notes, v), v, list(decoded.header.programs))[0]
    assert same(layout.decode(np.concatenate([decoded.header.ids(v), again]), v).notes, notes)


@pytest.mark.parametrize("seed", range(6))
def test_rules_are_kept(seed: int, v: Vocabulary) -> None:
    rules = Rules(
        bars=4, programs=(40, 33, DRUMS), entry=lambda program: 1, max_bar_tokens=80,
        header={MODE: [v["Mode_minor"]], TIMESIG: [v["TimeSig_3/4"]]},
        pitches=lambda mode, program: (50, 60) if program == 40 else (0, 127),
    )  # fmt: skip
    decoded = layout.decode(walk(v, rules, seed), v)
    assert decoded.header.programs == (40, 33, DRUMS)
    assert decoded.header.mode == "minor"
    assert set(decoded.notes.bar_meter) == {(3, 4)}
    early = decoded.notes.onset < decoded.notes.bar_start[2]
    assert set(decoded.notes.program[early].tolist()) == {40, 33, DRUMS}
    violin = decoded.notes.pitch[decoded.notes.program == 40]
    assert violin.min() >= 50
    assert violin.max() <= 60


@pytest.mark.parametrize("seed", range(12))
def test_hole_examples_follow_the_grammar_and_fill_their_hole(seed: int, v: Vocabulary) -> None:
    notes = random_notes(seed, v)
    ids, _ = layout.encode(notes, v)
    window = Window.cut(ids, v)
    order = sorted(set(notes.program.tolist()))
    rng = random.Random(seed)
    rng.shuffle(order)
    assert same(layout.decode([*layout.Header(tuple(order), tempo=notes.bar_tempo[0], meter=notes.bar_meter[0]).ids(v),
                               *window.body(order)], v).notes, notes)  # fmt: skip
    holes = random_holes(rng, window.bars, order)
    header = layout.Header(tuple(order), meter=notes.bar_meter[0], tempo=float(notes.bar_tempo[0])).ids(v)
    context = np.concatenate([header, window.context(order, holes, v)])
    fill = np.concatenate([window.fill(order, holes, v), [v["EOS_None"]]])
    whole = np.concatenate([context, fill])
    plan = [(b, tuple(p for p in order if (b, p) in holes)) for b in sorted({b for b, _ in holes})]
    grammar = Grammar(v, Rules(), plan)
    grammar.total_bars = window.bars
    places = coordinates(whole, v)
    for i, token in enumerate(whole):
        if i >= len(context):
            assert grammar.allowed()[token]
        grammar.push(int(token))
        assert grammar.coordinates == tuple(places[i])
    decoded = layout.decode(whole, v)
    inside = np.array([
        cell in holes for cell in zip(notes.bar.tolist(), notes.program.tolist(), strict=True)
    ])  # fmt: skip
    assert decoded.fill is not None
    assert np.array_equal(decoded.notes.pitch, notes.pitch[~inside])
    assert np.array_equal(decoded.fill.onset, notes.onset[inside])
    assert np.array_equal(decoded.fill.pitch, notes.pitch[inside])
    kinds = [TYPES[v.type[t]] for t in context]
    assert kinds.count("Hole") == len(holes)
    assert int((v.type[whole] == SEP).sum()) == 1
    assert {HOLE, BAR, PROGRAM} <= set(v.type[context].tolist())


def closing_rules(**wishes) -> Rules:
    return Rules(bars=2, programs=(40, DRUMS), entry=lambda program: 0, max_bar_tokens=40, **wishes)


@pytest.mark.parametrize("seed", range(6))
def test_a_piece_that_closes_ends_on_long_notes_of_its_chord(seed: int, v: Vocabulary) -> None:
    notes = layout.decode(walk(v, closing_rules(closing=lambda mode, program: (0, 4, 7)), seed), v).notes
    last = notes.take(notes.bar == 1)
    assert (last.onset < (notes.bar_start[1] + notes.bar_start[2]) / 2).all()
    assert (last.duration[last.pitched] >= GRID_TICKS).all()
    assert set((last.pitch[last.pitched] % 12).tolist()) <= {0, 4, 7}


@pytest.mark.parametrize("seed", range(8))
def test_the_band_that_the_model_chooses_keeps_the_rules(seed: int, v: Vocabulary) -> None:
    basses = tuple(range(32, 40))
    rules = Rules(
        bars=1, excluded=tuple(range(66, 128)), at_most_one=(basses, tuple(range(32))), min_programs=2, max_programs=4
    )
    grammar = Grammar(v, rules)
    rng = np.random.default_rng(seed)
    for name in ("BOS_None", "Style_pop", "Mode_major", "TimeSig_4/4", v.names[v.of_type[TEMPO][0]]):
        grammar.push(v[name])
    for count in range(5):
        allowed = set(np.flatnonzero(grammar.allowed()).tolist())
        assert (v["Start_None"] in allowed) == (count >= 2)
        programs = {int(v.value[t]) for t in allowed if v.type[t] == PROGRAM}
        chosen = set(grammar.programs)
        expected = set(range(-1, 66)) - chosen
        for alike in (set(basses), set(range(32))):
            expected -= alike if alike & chosen else set()
        assert programs == (expected if count < 4 else set())
        if count < 4:
            wanted = sorted(programs & set(basses) or programs) if count == 0 else sorted(programs)
            grammar.push(v[f"Program_{rng.choice(wanted)}"])


@pytest.mark.parametrize("seed", range(4))
def test_a_fill_repeats_a_rhythm_in_full_and_adds_no_note(seed: int, v: Vocabulary) -> None:
    """Two chords: each pitch leaves room for those above it, and where the range is too small for a chord it is left."""
    chord = "Position_0 Velocity_84 Pitch_60 Duration_1.0.12 Pitch_64 Duration_1.0.12 Pitch_67 Duration_1.0.12"
    cell = [v[name] for name in f"{chord} Position_24 Pitch_60 Duration_0.6.12".split()]
    header = layout.Header((0,)).ids(v)
    prompt = [*header, v["Bar_None"], v["Program_0"], v["Hole_None"], v["SEP_None"]]
    for low, high in ((60, 62), (60, 61), (0, 127)):
        rules = Rules(bars=1, rhythm={(0, 0): cell}, pitches=lambda mode, program, low=low, high=high: (low, high))
        fill = layout.decode(walk(v, rules, seed, [(0, (0,))], prompt), v).fill
        assert fill is not None
        assert fill.onset.tolist() == [0, 0, 0, 24]
        assert fill.duration.tolist() == [12, 12, 12, 6]
        if high - low != 1:
            assert low <= fill.pitch.min() <= fill.pitch.max() <= high
    for room, pitches in ((62, [60]), (127, list(range(126)))):
        grammar = Grammar(
            v, Rules(rhythm={(0, 0): cell}, pitches=lambda m, p, room=room: (60 if room == 62 else 0, room)), [(0, (0,))]
        )
        for token in [*prompt, v["Bar_None"], v["Program_0"], *cell[:2]]:
            grammar.push(token)
        assert v.value[np.flatnonzero(grammar.allowed())].astype(int).tolist() == pitches


def test_a_part_rests_in_a_fill_no_longer_than_it_may(v: Vocabulary) -> None:
    def ends(rests: dict[int, int], empty: int) -> bool:
        """Whether a bar may stay empty after `empty` others."""
        grammar = Grammar(v, Rules(most_rests=rests), [(bar, (0, 40)) for bar in range(4)])
        context = [x for _ in range(4) for x in ("Bar_None", "Program_0", "Hole_None", "Program_40", "Hole_None")]
        ids = layout.Header((0, 40)).ids(v) + [v[name] for name in [*context, "SEP_None", "Bar_None"]]
        for token in ids:
            grammar.push(token)
        for _ in range(empty):
            for name in ("Program_40", "Position_0", "Velocity_63", "Pitch_60", "Duration_1.0.12", "Bar_None"):
                grammar.push(v[name] if name in v else int(v.of_type[VELOCITY][5]))
        for name in ("Program_40", "Position_0", "Velocity_63", "Pitch_60", "Duration_1.0.12"):
            token = v[name] if name in v else int(v.of_type[VELOCITY][5])
            if name == "Program_40" and not grammar.allowed()[token]:
                return False
            grammar.push(token)
        return bool(grammar.allowed()[v["Bar_None"]])

    assert ends({}, 2)
    assert not ends({0: 0}, 0)
    assert ends({0: 1}, 0)
    assert not ends({0: 1}, 1)
    assert ends({0: 2}, 1)


def test_a_part_that_must_fill_writes_by_its_last_cell_and_not_again(v: Vocabulary) -> None:
    header = layout.Header((0,)).ids(v)
    hole = [v["Program_0"], v["Hole_None"]]
    prompt = [*header, v["Bar_None"], *hole, v["Bar_None"], *hole, v["SEP_None"], v["Bar_None"]]
    grammar = Grammar(v, Rules(must_fill=frozenset([0])), [(0, (0,)), (1, (0,))])
    for token in prompt:
        grammar.push(token)
    assert set(np.flatnonzero(grammar.allowed()).tolist()) == {v["Program_0"], v["Bar_None"]}  # there is a later cell
    grammar.push(v["Bar_None"])
    assert np.flatnonzero(grammar.allowed()).tolist() == [v["Program_0"]]
    grammar = Grammar(v, Rules(must_fill=frozenset([0])), [(0, (0,)), (1, (0,))])
    played = [v[name] for name in ("Program_0", "Position_0", "Velocity_84", "Pitch_60", "Duration_1.0.12", "Bar_None")]
    for token in [*prompt, *played]:
        grammar.push(token)
    assert set(np.flatnonzero(grammar.allowed()).tolist()) == {v["Program_0"], v["EOS_None"]}


def test_a_part_rests_as_long_as_allowed_and_in_the_last_bar(v: Vocabulary) -> None:
    grammar = Grammar(v, Rules(bars=3, programs=(0, 33), longest_rest=lambda program, last: 1))
    names = ["BOS_None", "Style_pop", "Mode_major", "TimeSig_4/4", v.names[v.of_type[TEMPO][0]], "Program_0", "Program_33"]
    for name in [*names, "Start_None", "End_None"]:
        grammar.push(v[name])
    note = ("Position_0", "Velocity_84", "Pitch_60", "Duration_1.0.12")
    for cells in (("Program_0", "Program_33"), ("Program_33",), ()):
        grammar.push(v["Bar_None"])
        assert grammar.allowed()[[v["Program_0"], v["Program_33"]]].all()  # nobody is due, so nobody need come first
        for name in (name for cell in cells for name in (cell, *note)):
            grammar.push(v[name])


def test_a_full_bar_takes_no_further_note(v: Vocabulary) -> None:
    grammar = Grammar(v, Rules(bars=2, programs=(0,), max_bar_tokens=6))
    names = ["BOS_None", "Style_pop", "Mode_major", "TimeSig_4/4", v.names[v.of_type[TEMPO][0]], "Program_0", "Start_None"]
    for name in [*names, "End_None", "Bar_None", "Program_0", "Position_0", "Velocity_84", "Pitch_60"]:
        grammar.push(v[name])
    grammar.bar_tokens -= 1
    grammar.push(v["Duration_1.0.12"])
    assert grammar.bar_tokens == 4
    assert grammar.allowed()[v["Pitch_61"]]
    assert not grammar.allowed()[v["Pitch_60"]]  # pitches rise in an onset, positions in a cell
    assert not grammar.allowed()[v["Position_0"]]
    assert not grammar.allowed()[v["Velocity_84"]]
    for name in ("Pitch_61", "Duration_1.0.12"):
        grammar.push(v[name])
    assert np.flatnonzero(grammar.allowed()).tolist() == [v["Bar_None"]]


def test_quantizing_rounds_to_the_nearest_and_keeps_the_longer(v: Vocabulary) -> None:
    score = Score(480)
    track, kit = Track("t", 0, False), Track("d", 0, True)
    for start, length, pitch in (
        (19, 480, 60),
        (21, 480, 62),
        (1901, 40, 64),
        (960, 240, 70),
        (961, 480, 70),
        (480, 3000, 127),
    ):
        track.notes.append(Note(start, length, pitch, 80))
    kit.notes.append(Note(0, 480, 36, 80))
    score.tracks.append(track)
    score.tracks.append(kit)
    grid = layout.quantize(note_table(score), v)
    onset = dict(zip(grid.pitch.tolist(), grid.onset.tolist(), strict=True))
    assert (onset[60], onset[62], onset[64]) == (0, 1, 47 + 1)
    assert grid.duration[grid.pitch == 70].tolist() == [12]
    assert grid.duration[~grid.pitched].tolist() == [layout.DRUM_TICKS]
    last = Score(480)
    late = Track("t", 0, False)
    late.notes.append(Note(1919, 1, 60, 80))
    last.tracks.append(late)
    assert layout.quantize(note_table(last), v).onset.tolist() == [47]  # rounding up would leave its file
    assert layout.transpose(grid, 1).pitch[grid.pitch == 127].tolist() == [116]
    assert layout.transpose(grid, 0).pitch.tolist() == grid.pitch.tolist()
    assert [layout.home_shift(t, "major") for t in range(12)] == [0, -1, -2, -3, -4, -5, -6, 5, 4, 3, 2, 1]
    assert layout.nearest_meter(v, (11, 8)) == ((6, 4), 1)


def test_bars_say_their_meter_and_tempo_where_they_change(v: Vocabulary) -> None:
    low, high = float(v.tempos[3]), float(v.tempos[9])
    notes = random_notes(2, v, bars=4)
    notes = replace(notes, bar_tempo=np.array([low, low, high, high]))
    ids, offsets = layout.encode(notes, v)
    assert [int(offsets[i]) + 1 for i in np.flatnonzero(v.type[ids[offsets[:-1] + 1]] == TEMPO)] == [int(offsets[2]) + 1]
    assert not (v.type[ids] == TIMESIG).any()
    start = layout.Header((), tempo=low).ids(v)
    change = [v[f"Tempo_{v.names[v.of_type[TEMPO][9]].removeprefix('Tempo_')}"]]
    bar = [v["Bar_None"]]
    assert layout.decode([*start, *bar, *bar, *change, *bar], v, bars=4).notes.bar_tempo.tolist() == [low, high, high, high]


def test_two_holes_in_a_bar_are_one_bar_to_fill(v: Vocabulary) -> None:
    names = "Bar_None Program_0 Hole_None Program_33 Hole_None Bar_None Bar_None Program_0 Hole_None SEP_None"
    fill = "Bar_None Bar_None Program_0 Position_3 Velocity_84 Pitch_60 Duration_1.0.12 EOS_None"
    decoded = layout.decode([*layout.Header((0, 33)).ids(v), *(v[n] for n in f"{names} {fill}".split())], v)
    assert decoded.fill is not None
    assert decoded.fill.onset.tolist() == [2 * 48 + 3]


def test_a_meter_without_an_equal_is_refused(v: Vocabulary) -> None:
    score = Score(480)
    score.time_signatures.append(TimeSignature(0, 13, 16))
    track = Track("t", 0, False)
    track.notes.append(Note(0, 480, 60, 80))
    score.tracks.append(track)
    with pytest.raises(MidiError, match="bar 1 is in 13/16"):
        layout.quantize(note_table(score), v)


def test_of_two_values_equally_near_the_lower_is_taken(v: Vocabulary) -> None:
    lengths = v.durations[v.durations > 24][:2]  # in steps of more than one grid tick
    score = Score(480)
    track = Track("t", 0, False)
    track.notes.append(Note(0, int(lengths.sum()) * 20, 60, 80))
    score.tracks.append(track)
    assert layout.quantize(note_table(score), v).duration.tolist() == [int(lengths[0])]


def test_equal_meters_are_rewritten(v: Vocabulary) -> None:
    assert layout.supported_meter(v, (8, 8)) == ((4, 4), 1)
    assert layout.supported_meter(v, (8, 4)) == ((4, 4), 2)
    assert layout.supported_meter(v, (6, 8)) == ((6, 8), 1)


def test_off_grid_notes_are_refused_by_encode(v: Vocabulary) -> None:
    notes = random_notes(1, v)
    notes.duration[notes.program != DRUMS] = 1001
    with pytest.raises(MidiError, match="not on the grid"):
        layout.encode(notes, v)


def test_a_group_keeps_its_probability_under_the_grammar(v: Vocabulary) -> None:
    """After a cell: the model's wish for another part goes to the parts that may come, not to more notes or the bar's end."""
    from midivibe.writing.sampling import only_allowed

    grammar = Grammar(v, Rules(bars=2, programs=(0, 33, 48)))
    for name in ("BOS_None", "Style_pop", "Mode_major", "TimeSig_4/4", v.names[v.of_type[TEMPO][0]], "Program_0", "Program_33",
                 "Program_48", "Start_None", "End_None", "Bar_None", "Program_33", "Position_0", "Velocity_84", "Pitch_40",
                 "Duration_1.0.12"):  # fmt: skip
        grammar.push(v[name])
    logits = np.full(len(v), -20.0)
    logits[v["Program_5"]], logits[v["Bar_None"]], logits[v["Position_12"]] = 2.0, 1.0, 1.0
    ids, kept = only_allowed(logits, grammar)
    p = dict(zip(ids.tolist(), np.exp(kept) / np.exp(kept).sum(), strict=True))
    assert p[v["Program_48"]] == pytest.approx(np.exp(2) / (np.exp(2) + 2 * np.exp(1)), rel=1e-3)
    assert v["Program_5"] not in p


@pytest.mark.parametrize("seed", range(4))
def test_a_part_silent_since_before_the_window_comes_back(seed: int, v: Vocabulary) -> None:
    rests = {40: 3, 33: 1, 0: 0}
    rules = Rules(
        bars=8, programs=(40, 33, 0), last_played={40: -2, 33: -5}, longest_rest=lambda program, last: rests[program],
        max_bar_tokens=40,
    )  # fmt: skip
    notes = layout.decode(walk(v, rules, seed), v).notes
    bar = notes.bar
    assert bar[notes.program == 40].min() <= 2  # its third bar of rest is the window's second
    assert bar[notes.program == 33].min() == 0  # its rest was over before


@pytest.mark.parametrize("seed", range(4))
def test_nobody_rests_longer_than_allowed(seed: int, v: Vocabulary) -> None:
    rules = Rules(
        bars=10, programs=(40, 33, 0), entry=lambda program: 2, longest_rest=lambda program, last: 1, max_bar_tokens=40
    )
    notes = layout.decode(walk(v, rules, seed), v).notes
    bar = notes.bar
    for program in (40, 33, 0):
        playing = sorted({*bar[notes.program == program].tolist()})
        assert playing[0] <= 2
        assert max(np.diff([*playing, 9]), default=0) <= 2 + 1  # one bar of rest; the last bar is free
        assert max(np.diff(playing), default=0) <= 2 or playing[-1] == 9
