"""Laws of drawing ids: each filter does what its setting says."""

from __future__ import annotations

import numpy as np
import pytest

from midivibe.config import SampleConfig
from midivibe.writing.sampling import filters_of, nucleus, shares_of, temperature

LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.1]))
IDS = np.arange(4)


def drawn(config: SampleConfig, pitches: np.ndarray) -> np.ndarray:
    scores = LOGITS
    for keep in filters_of(config, pitches):
        scores = keep(scores, IDS)
    return shares_of(scores)


def test_a_high_temperature_flattens_and_a_low_one_sharpens() -> None:
    even, sharp = (shares_of(temperature(t)(LOGITS, IDS)) for t in (2.0, 0.5))
    assert even == pytest.approx(np.sqrt([0.5, 0.25, 0.15, 0.1]) / np.sqrt([0.5, 0.25, 0.15, 0.1]).sum())
    assert sharp[0] > 0.5 > even[0] > even[3] > 0.1 > sharp[3]
    assert shares_of(temperature(0)(LOGITS, IDS)).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(("share", "kept"), [(0.3, 1), (0.45, 1), (0.6, 2), (0.8, 3), (0.95, 4), (1.0, 4)])
def test_a_nucleus_keeps_the_fewest_that_reach_its_share(share: float, kept: int) -> None:
    assert np.isfinite(nucleus(share)(LOGITS, IDS)).sum() == kept


def test_pitches_have_a_nucleus_of_their_own_where_it_is_wider() -> None:
    pitches = np.array([False, False, True, True])
    assert drawn(SampleConfig(top_p=0.45, pitch_top_p=1.0), pitches).tolist() == pytest.approx([2 / 3, 0, 0.2, 0.4 / 3])
    assert drawn(SampleConfig(top_p=0.45, pitch_top_p=0.1), pitches).tolist() == [1, 0, 0, 0]
    assert drawn(SampleConfig(top_p=1.0, pitch_top_p=0.1), pitches) == pytest.approx(np.exp(LOGITS))
