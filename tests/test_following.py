"""A piece follows its plan: forms and chords that are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from midivibe.errors import InputError
from midivibe.piece import Settings, plan_of
from midivibe.plan.choose import usual_form
from midivibe.plan.chords import Chord
from midivibe.plan.form import parse_form
from midivibe.requests import Compose
from midivibe.studio import Studio
from midivibe.tokens.grammar import Grammar
from midivibe.tokens.layout import Header
from midivibe.tokens.rules import Opening, Rules
from midivibe.tokens.vocabulary import PITCH, Vocabulary
from midivibe.vibe.axes import Vibe
from midivibe.writing.arrangement import Arrangement
from midivibe.writing.composing import Composing, followed
from midivibe.writing.harmony import ChordTones


@pytest.mark.parametrize(("form", "bars"), [("AABA", 32), ("i2A3A3o1", 9), ("A1", 1)])
def test_bars_follow_from_the_form(studio: Studio, form: str, bars: int) -> None:
    assert studio.settle(Compose(form=form)).bars == bars
    assert studio.settle(Compose(form=form, bars=bars)).bars == bars
    with pytest.raises(InputError, match=f"bars is {bars + 1}, and the form {form} has {bars}"):
        studio.settle(Compose(form=form, bars=bars + 1))


def test_a_form_and_its_chords_are_written_and_stand_in_the_settings(studio: Studio) -> None:
    piece = studio.compose(form="A2B1A2", chords="A: Am F; B: C", seed=1, instruments="piano", time_signature="4/4")
    assert piece.settings["bars"] == 5
    assert piece.settings["form"] == "A2B1A2" and piece.settings["chords"] == "A: Am F; B: C"
    assert piece.key == "A minor"


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (Compose(form="A?"), "cannot read the form"), (Compose(chords="Am Hm"), "unknown chord 'Hm'"),
        (Compose(form="AA", chords="C: Am"), "section 'C', which the form does not have"),
        (Compose(chords="A: Am"), "give --form"), (Compose(form="A100" * 11), "bars is 1100"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused_in_words(studio: Studio, request_: Compose, match: str) -> None:
    with pytest.raises(InputError, match=match):
        studio.settle(request_)


@pytest.mark.parametrize("bars", [24, 25, 31, 32, 40, 128, 1024])
def test_a_form_of_its_own_has_the_bars_of_the_piece_and_a_section_that_returns(bars: int) -> None:
    for draw in (0.0, 0.3, 0.6, 0.99):
        sections = parse_form(usual_form(bars, draw))
        assert sections[-1].end == bars
        assert len({s.letter for s in sections}) < len(sections)


def test_bars_that_return_follow_their_first(studio: Studio) -> None:
    writer = Composing(studio.settle(Compose(form="A4B4A4", seed=1)), studio.vocabulary, studio.engine.block_size)
    assert [writer.plan.earlier(b) for b in (0, 3, 5, 8, 11)] == [[], [], [], [0], [3]]
    assert followed(writer.plan, 7) == [] and followed(writer.plan, 3) == []
    long = Composing(studio.settle(Compose(form="A16", seed=1)), studio.vocabulary, studio.engine.block_size)
    assert followed(long.plan, 9) == [5, 1]


def test_chords_move_probability_between_pitches_alone(v: Vocabulary) -> None:
    grammar = Grammar(v, Rules(bars=2, programs=(33, 0, -1)))
    header = Header((33, 0, -1)).ids(v)
    chords = [((0, Chord.parse("Am")), (24, Chord.parse("F")))] * 2
    lean = ChordTones(v, grammar, chords)
    scores, ids = np.random.default_rng(0).normal(size=len(v)), np.arange(len(v))
    for token in (*header, v["Bar_None"]):
        assert lean(scores, ids) is scores
        grammar.push(token)
    for name in ("Program_33", "Position_0"):
        grammar.push(v[name])
    led = lean(scores, ids)
    pitches = v.mask[PITCH]
    assert np.array_equal(led[~pitches], scores[~pitches])
    assert np.logaddexp.reduce(led[pitches]) == pytest.approx(np.logaddexp.reduce(scores[pitches]))
    gain = (led - scores)[pitches].reshape(-1)
    classes = (v.value[pitches] % 12).astype(int)
    assert gain[classes == 9].min() > gain[classes == 0].max() > gain[classes == 1].max()  # the bass: root, tone, other
    grammar.push(v["Position_24"])  # half of the bar: F
    gain = (lean(scores, ids) - scores)[pitches]
    assert gain[classes == 5].min() > gain[classes == 0].max() > gain[classes == 4].max()
    for name in ("Pitch_41", "Duration_1.0.12", "Program_-1", "Position_0"):
        grammar.push(v[name])
    assert lean(scores, ids) is scores  # drums have no chord


def test_the_chords_of_a_piece_are_those_asked_for(studio: Studio) -> None:
    settings = studio.settle(Compose(chords="Am F | C G", bars=3))
    assert [[c.symbol() for c in bar] for bar in plan_of(settings).chords] == [["Am", "F"], ["C", "G"], ["Am", "F"]]


def test_bass_and_drums_rest_half_as_long_and_dense_music_less() -> None:
    arrangement = Arrangement(Settings(bars=200, seed=3))

    def longest(program: int, density: float) -> float:
        return max(arrangement.longest_rest(program, bar, density) for bar in range(200))

    assert longest(0, 0.0) == 6 and longest(33, 0.0) == longest(-1, 0.0) == 3
    assert longest(0, 1.0) == 2 and longest(33, 1.0) == 1


def calm_and(**others: float) -> Settings:
    return Settings(vibes=(Vibe.of(**others),))


def test_distorted_guitars_are_for_music_that_is_lively_and_tense_or_rock() -> None:
    gentle = [calm_and(arousal=0.2), calm_and(tension=0.4), calm_and(arousal=0.9, tension=0.3)]
    assert all(Arrangement(settings).gentle for settings in gentle)
    rough = [calm_and(arousal=0.9, tension=0.9), calm_and(valence=0.1), Settings(), replace(gentle[0], style="rock")]
    assert not any(Arrangement(settings).gentle for settings in rough)


def test_notes_lean_to_the_chord_that_the_bar_itself_has_said(v: Vocabulary) -> None:
    """On the beat, and less firmly than to one that is asked for; off it, where melodies pass, not at all."""
    scores, ids = np.random.default_rng(0).normal(size=len(v)), np.arange(len(v))
    classes = (v.value % 12).astype(int)

    def gain(own: tuple[float, float, float], position: int, asked: bool = False) -> np.ndarray:
        rules = Rules(bars=1, programs=(0,), plan=lambda bar: Opening(chords=True))
        grammar = Grammar(v, rules)
        chords = [((0, Chord.parse("F")),)] if asked else [()]
        lean = ChordTones(v, grammar, chords, own)
        for token in (*Header((0,)).ids(v), v["Bar_None"], *v.chord_ids(7, "7"), v["Program_0"], v[f"Position_{position}"]):
            grammar.push(token)
        return lean(scores, ids) - scores

    led = gain((3, 0, 2), 12)
    tones = v.mask[PITCH] & np.isin(classes, (7, 11, 2, 5))
    assert led[tones].min() > led[v.mask[PITCH] & ~tones].max()
    assert not gain((3, 0, 2), 13).any()
    assert not gain((0, 0, 0), 12).any()
    assert gain((6, 0, 2), 12)[tones].min() > led[tones].min()
    asked = gain((3, 0, 2), 13, asked=True)
    assert asked[v.mask[PITCH] & (classes == 9)].min() > asked[v.mask[PITCH] & (classes == 11)].max()
