"""Laws of what is chosen before the notes."""

from __future__ import annotations

import numpy as np

from midivibe.plan.choose import choose, expected_vibe, lacks_bass, likely, tempo_range, unheard_pairs
from midivibe.tokens.layout import Header
from midivibe.vibe.axes import Vibe

BAND = (-1, 33, 0, 25)


def test_people_play_no_pop_at_227_and_no_band_of_four_with_drums_lacks_a_bass() -> None:
    low, high = tempo_range("pop", (4, 4))
    assert low < 70 and high < 227
    assert likely(Header(BAND, "pop", tempo=110.0))
    assert not likely(Header(BAND, "pop", tempo=227.0))
    assert likely(Header(BAND, "pop", tempo=227.0), tempo=227.0)  # asked for
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


def test_a_fast_band_is_expected_to_be_livelier_and_a_soft_one_warmer() -> None:
    fast, slow = (expected_vibe(Header(BAND, "pop", "major", tempo=t)) for t in (160.0, 80.0))
    assert fast[1] > slow[1]
    warm, cold = (expected_vibe(Header(p, "pop", "major"))[5] for p in ((48, 52, 24), (9, 80, 98)))
    assert warm > cold
    assert np.all((fast >= 0) & (fast <= 1))
