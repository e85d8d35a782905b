"""Who plays when: how many parts a band has, when they enter, how long they rest, what they can play.

Left to itself the model lets parts rest more often than people do, and does not bring them back; so each part and bar draws
for itself, from the seed alone. Bars count from the start of the piece.
"""

from __future__ import annotations

import numpy as np

from midivibe.midi.instruments import family_of, pitch_range
from midivibe.midi.notes import DRUMS
from midivibe.piece import Settings
from midivibe.vibe.axes import AXES, Vibe, blend

STAYS, SHORT_RESTS = 0.35, 0.4
"""Share of bars after which a part may not rest; share of its rests that last one bar. Chosen on validation songs:
3.2 rests a piece of 16 bars, 1.6 bars long, where people's have 2.9 of 2.0."""
LONGEST_REST = 6
"""Bars that a part of the sparsest music may rest, at most; of the densest, 2."""
PARTS_AT_REST, PARTS_BY_DENSITY, PARTS_SPREAD = 3.2, 5.0, 1.2
FEWEST_PARTS, MOST_PARTS = 3, 8
"""Parts of a band: people's 16 bars have 4.1 (sd 1.2) on average in the sparsest fifth and 7.6 in the densest but one (400
pieces of the validation split); more than 8 leave the window too few bars."""
BASSES = tuple(range(32, 40))
TONICS = {"major": (0, 2, 3, 4, 5, 7, 9, 10), "minor": (0, 1, 2, 4, 5, 6, 7, 9, 11)}
"""Tonics drawn where no key is asked for: keys with at most four accidentals."""


class Arrangement:
    """The draws of one piece. The same settings give the same draws, however the piece is cut into windows."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        draws = np.random.Generator(np.random.PCG64([settings.seed, 1]))
        self._noise = draws.standard_normal(4096).astype(np.float32)
        self._tonic_draw = float(draws.random())
        self._parts_draw = float(draws.standard_normal())
        self.form_draw = float(draws.random())
        self._shares: dict[tuple[int, int], float] = {}

    def noise(self, size: int) -> np.ndarray:
        """The piece's own standard normal draw for z: (size,)."""
        return self._noise[:size]

    def vibe_at(self, bar: int) -> Vibe:
        """The vibe asked for at a bar: stations of a journey stand evenly from the first bar to the last."""
        vibes = self.settings.vibes
        place = bar / max(1, self.settings.bars - 1) * (len(vibes) - 1)
        low = min(int(place), len(vibes) - 1)
        high = min(low + 1, len(vibes) - 1)
        if low == high:
            return vibes[low]
        return blend([(vibes[low], 1 - (place - low)), (vibes[high], place - low)])

    @property
    def parts(self) -> int:
        """Instruments of the band: more where the music is to be denser."""
        drawn = PARTS_AT_REST + PARTS_BY_DENSITY * self.vibe_at(0)["density"] + PARTS_SPREAD * self._parts_draw
        return int(np.clip(np.rint(drawn), FEWEST_PARTS, MOST_PARTS))

    @property
    def gentle(self) -> bool:
        """Whether the piece is to be calm or at ease: no distorted guitars then, unless they or rock are asked for."""
        known = [(v, v.array()[len(AXES) :]) for v in self.settings.vibes]
        calm = [k[AXES.index("arousal")] > 0 and v["arousal"] < 0.5 for v, k in known]
        at_ease = [k[AXES.index("tension")] > 0 and v["tension"] <= 0.5 for v, k in known]
        return self.settings.style != "rock" and any(a or b for a, b in zip(calm, at_ease, strict=True))

    def tonic(self, mode: str) -> int:
        """The tonic that is drawn where no key is asked for."""
        return TONICS[mode][int(self._tonic_draw * len(TONICS[mode]))]

    def _share(self, program: int, bar: int) -> float:
        """A draw from 0 to 1 that belongs to a part and a bar of the piece."""
        if (program, bar) not in self._shares:
            self._shares[program, bar] = float(np.random.default_rng([self.settings.seed, 2, program + 1, bar]).random())
        return self._shares[program, bar]

    def entry(self, program: int) -> int:
        """The bar by whose end a part has played: parts come in one by one, over half of the piece."""
        half = max(0, (self.settings.bars - 1) // 2)
        return min(half, 1 + int(self._share(program, 0) * half))

    def longest_rest(self, program: int, last: int, density: float) -> int:
        """Bars that a part may rest after bar `last`: often none, else mostly one; 64 of 100 of people's rests are.

        Sparse music rests longer, bass and drums half as long.
        """
        bars = 2 + round((LONGEST_REST - 2) * (1 - density))
        bars = bars // 2 if program == DRUMS or family_of(program) == "bass" else bars
        draw = (self._share(program, last + 1) - STAYS) / (1 - STAYS)
        return 0 if draw < 0 else 1 + int(bars * max(0.0, draw - SHORT_RESTS) / (1 - SHORT_RESTS))


def playable(program: int, shift: int) -> tuple[int, int]:
    """Range of an instrument in the key that is modelled, `shift` semitones below the piece's own."""
    low, high = pitch_range(program)
    return (low, high) if program == DRUMS else (low - shift, high - shift)


def closing(mode: str, program: int) -> tuple[int, ...]:
    """Pitch classes of the last bar, where the model is in C major or A minor: the tonic's triad, in the bass its root."""
    root, third, fifth = (9, 0, 4) if mode == "minor" else (0, 4, 7)
    return (root,) if program in BASSES else (root, third, fifth)


__all__ = ["BASSES", "Arrangement", "closing", "playable"]
