"""Chords that were asked for: a filter that leans pitches towards the chord that sounds.

It moves probability between pitches only: when a note comes, and whether another joins it, stays as the model has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midivibe.midi.notes import DRUMS
from midivibe.plan.chords import Chord
from midivibe.tokens.grammar import Grammar
from midivibe.tokens.vocabulary import GRID_TICKS, PITCH, Vocabulary
from midivibe.writing.arrangement import BASSES

STRONG, WEAK, ROOT = 6.0, 3.0, 4.0
"""Logits that a chord tone gains on a beat and off it, and a bass's root where a chord begins. The model that ships was not
trained with chords, so it has to be led firmly."""


class ChordTones:
    """A filter of one row (`sampling.Filter`) that knows the chords of each bar of the window, in the modelled key.

    A bar's chords are (grid ticks after the bar line, chord), in their order; none where none is asked for.
    """

    def __init__(self, v: Vocabulary, grammar: Grammar, chords: Sequence[Sequence[tuple[int, Chord]]]) -> None:
        self.v, self.grammar, self.chords = v, grammar, chords
        self._class = (v.value % 12).astype(int)
        self._is_pitch = v.mask[PITCH]

    def __call__(self, scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
        g = self.grammar
        if g.in_header or not 0 <= g.bar < len(self.chords) or g.rank < 0 or g.position < 0:
            return scores
        chords, pitches = self.chords[g.bar], self._is_pitch[ids]
        program = g.programs[g.rank]
        if not chords or program == DRUMS or not pitches.any():
            return scores
        since, chord = max((c for c in chords if c[0] <= g.position), key=lambda c: c[0], default=chords[0])
        if chord.root < 0:
            return scores
        classes = self._class[ids[pitches]]
        gain = STRONG if g.position % GRID_TICKS == 0 else WEAK
        lean = gain * np.isin(classes, chord.pitch_classes)
        if program in BASSES and g.position - since < GRID_TICKS:
            lean = lean + ROOT * (classes == (chord.root if chord.bass is None else chord.bass))
        led = scores.copy()
        led[pitches] = scores[pitches] + lean
        led[pitches] += np.logaddexp.reduce(scores[pitches]) - np.logaddexp.reduce(led[pitches])
        return led


__all__ = ["ChordTones"]
