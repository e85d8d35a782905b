"""Laws of what is chosen before the notes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from midivibe.errors import InputError
from midivibe.midi.theory import Key
from midivibe.plan.choose import choose, expected_vibe, lacks_bass, likely, tempo_range, unheard_pairs
from midivibe.plan.chords import Chord
from midivibe.plan.form import parse_form
from midivibe.plan.plan import Plan, parse_bars, parse_chords, show_bars, spread
from midivibe.tokens.layout import Header
from midivibe.vibe.axes import Vibe

BAND = (-1, 33, 0, 25)


def test_people_play_no_pop_at_227_and_no_band_of_four_with_drums_lacks_a_bass() -> None:
    low, high = tempo_range("pop", (4, 4))
    assert low < 70 and high < 227
    assert likely(Header(BAND, "pop", tempo=110.0))
    assert not likely(Header(BAND, "pop", tempo=227.0))
    assert likely(Header(BAND, "pop", tempo=227.0), tempo=227.0)  # asked for
    assert not lacks_bass((-1, 0, 25))  # a trio may do without
    assert lacks_bass((-1, 0, 25, 48)) and not lacks_bass(BAND) and not lacks_bass((0, 40, 41, 42))


def test_a_meter_that_a_style_hardly_knows_has_the_range_of_all_styles() -> None:
    assert tempo_range("rap", (12, 8)) == tempo_range("games", (12, 8))


def test_pairs_are_counted_once_and_in_any_order() -> None:
    assert unheard_pairs(BAND) == unheard_pairs(BAND[::-1]) == 0
    strange = (123, 126)  # bird tweet and applause
    assert unheard_pairs(strange) == unheard_pairs(strange[::-1]) == 1


def test_the_header_that_suits_is_chosen_among_the_likely_ones() -> None:
    calm = Vibe.of(arousal=0.05, warmth=0.95)
    headers = [
        Header((-1, 33, 30, 29), "rock", "minor", tempo=150.0),
        Header((24, 48, 40, 32), "classic", "major", tempo=70.0),
        Header((24, 48, 40, 32), "classic", "major", tempo=290.0),
    ]
    assert choose(headers, calm) == 1
    assert choose(headers[::2], Vibe()) == 0  # the unlikely one is left even where nothing is asked
    assert choose([headers[2]], calm) == 0
    strange = Header((24, 48, 123, 126), "classic", "major", tempo=70.0)  # suits, but nobody has that band
    assert choose([strange, headers[0]], calm) == 1


def test_a_fast_band_is_expected_to_be_livelier_and_a_soft_one_warmer() -> None:
    fast, slow = (expected_vibe(Header(BAND, "pop", "major", tempo=t)) for t in (160.0, 80.0))
    assert fast[1] > slow[1]
    warm, cold = (expected_vibe(Header(p, "pop", "major"))[5] for p in ((48, 52, 24), (9, 80, 98)))
    assert warm > cold
    assert np.all((fast >= 0) & (fast <= 1))


def chord(*symbols: str) -> tuple[Chord, ...]:
    return tuple(Chord.parse(s) for s in symbols)


def test_chords_are_read_as_lead_sheets_write_them() -> None:
    assert parse_bars("Am F | C G") == [chord("Am", "F"), chord("C", "G")]
    assert parse_bars("Am F C G") == [chord("Am"), chord("F"), chord("C"), chord("G")]
    assert parse_bars("| Am | % | C/E G7 |") == [chord("Am"), chord("Am"), chord("C/E", "G7")]
    assert parse_chords("A: Am F; B: C | G Em") == {"A": parse_bars("Am F"), "B": parse_bars("C | G Em")}
    for bars in ([chord("Am", "F")], [chord("Am"), chord("Am"), chord("F#m7b5", "B7")]):
        assert parse_bars(show_bars(bars)) == bars


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("Am Hm", "unknown chord 'Hm'"), ("", "no chords"), ("||", "no chords"), ("A B C D E |", "5 chords; 4 are the most"),
        ("% | C", "begin with %"), ("A: C; A: D", "section of its own"), ("C; D", "section of its own"),
    ],
)  # fmt: skip
def test_nonsense_for_chords_is_refused_in_words(text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        parse_chords(text)


def test_chords_loop_in_their_sections() -> None:
    form = parse_form("i2 A3 A3")
    assert spread(parse_chords("C G"), 5) == (*chord_bars("C G C G C"),)
    assert spread(parse_chords("C G"), 8, form) == (*chord_bars("C G C G C C G C"),)
    by_section = spread(parse_chords("A: Am F"), 8, form)
    assert by_section == ((), (), *chord_bars("Am F Am Am F Am"))
    with pytest.raises(InputError, match="section 'B', which the form does not have"):
        spread(parse_chords("B: C"), 8, form)


def chord_bars(text: str) -> list[tuple[Chord, ...]]:
    return [chord(s) for s in text.split()]


def test_a_plan_that_is_saved_is_the_same_plan() -> None:
    plan = Plan(
        8, Key.parse("A minor"), 92.0, (4, 4), "pop", (0, -1), parse_form("i2 A3 A3"), spread(parse_chords("Am F | C G"), 8)
    )
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.earlier(6) == [3] and plan.earlier(3) == [] and plan.section_at(1).letter == "i"
    assert Plan.from_json({"sections": [{"name": "A", "bars": 2, "chords": "C"}]}).chords == (*chord_bars("C C"),)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([], "a plan is an object"), ({"tmepo": 3}, "no 'tmepo'; did you mean tempo"), ({"sections": 3}, "must be a list"),
        ({}, "bars are None"), ({"bars": 0}, "bars are 0"), ({"bars": 4, "sections": [{"name": "A", "bars": 8}]}, "has 8 bars"),
        ({"bars": 4, "tempo": "fast"}, "tempo is 'fast'"), ({"bars": 4, "tempo": 900}, "tempo is 900"),
        ({"bars": 4, "key": 3}, "key is 3"), ({"bars": 4, "meter": "four"}, "unknown time signature 'four'"),
        ({"bars": 4, "instruments": "piano"}, "instruments are 'piano'"), ({"bars": 4, "style": "polka"}, "unknown style"),
        ({"sections": [{"name": "A", "bars": 4, "chords": "Xm"}]}, "unknown chord 'Xm'"),
        ({"sections": [{"name": "q", "bars": 4}]}, "unknown section 'q'"),
        ({"sections": [{"name": "A", "bars": 4, "chrods": "C"}]}, "no 'chrods'"),
        ({"sections": [{"name": "A", "bars": 2.5}]}, "bars 2.5"),
    ],
)  # fmt: skip
def test_a_broken_plan_is_refused_in_words(values: object, match: str) -> None:
    with pytest.raises(InputError, match=match):
        Plan.from_json(values)  # type: ignore[arg-type]
