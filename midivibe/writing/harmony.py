"""Chords that notes keep to: a filter that leans pitches towards the chord that sounds.

It moves probability between pitches only: when a note comes, and whether another joins it, stays as the model has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from midivibe.midi.notes import DRUMS
from midivibe.midi.theory import QUALITIES
from midivibe.plan.chords import Chord
from midivibe.tokens.grammar import Grammar
from midivibe.tokens.vocabulary import GRID_TICKS, PITCH, QUALITY, ROOT, Vocabulary
from midivibe.writing.arrangement import BASSES

Lean = tuple[float, float, float]
ASKED: Lean = (6.0, 3.0, 2.0)
"""Logits that a tone of a chord that is asked for gains on a beat and off it, and a bass's root where a chord begins."""
OWN: Lean = (1.8, 0.0, 1.2)
"""The same for chords that the model has said by itself: off the beat nothing, for there melodies pass. Chosen on validation
songs (docs/ablations.md)."""

CHORD_TEMPERATURE = 0.7
"""Of the chords that bars say by themselves."""


@cache
def said(code: int) -> Chord:
    """The chord of a `chord_code` that is known and not none."""
    root, quality = divmod(code - 2, len(QUALITIES))
    return Chord(root, tuple(QUALITIES)[quality])


class ChordTones:
    """A filter of one row (`sampling.Filter`) that knows the chords of each bar of the window, in the modelled key.

    A bar's chords are (grid ticks after the bar line, chord), in their order. Where none is asked for, those count that the
    bar itself has said.
    """

    def __init__(self, v: Vocabulary, grammar: Grammar, chords: Sequence[Sequence[tuple[int, Chord]]], own: Lean = OWN) -> None:
        self.v, self.grammar, self.chords, self.own = v, grammar, chords, own
        self._class = (v.value % 12).astype(int)
        self._is_pitch, self._is_chord = v.mask[PITCH], v.mask[ROOT] | v.mask[QUALITY]

    def _sounding(self) -> tuple[int, Chord, Lean] | None:
        """The chord at the grammar's place: the tick with which it begins, and how firmly it leads."""
        g, asked = self.grammar, self.chords[self.grammar.bar]
        if asked:
            return *max((c for c in asked if c[0] <= g.position), key=lambda c: c[0], default=asked[0]), ASKED
        since, code = g.chord
        return (since, said(code), self.own) if code > 1 and any(self.own) else None

    def _plain(self, scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Chords that the bar is to say, the likelier ones more likely; that it says one stays as likely as it was."""
        chords = self._is_chord[ids]
        if not chords.any() or CHORD_TEMPERATURE == 1:
            return scores
        led = scores.copy()
        led[chords] = scores[chords] / CHORD_TEMPERATURE
        led[chords] += np.logaddexp.reduce(scores[chords]) - np.logaddexp.reduce(led[chords])
        return led

    def __call__(self, scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
        g = self.grammar
        if g.rank < 0 and not g.in_header:
            return self._plain(scores, ids)
        if g.in_header or not 0 <= g.bar < len(self.chords) or g.position < 0:
            return scores
        pitches, program = self._is_pitch[ids], g.programs[g.rank]
        if program == DRUMS or not pitches.any():
            return scores
        found = self._sounding()
        if found is None or found[1].root < 0:
            return scores
        since, chord, (on_beat, off_beat, on_root) = found
        classes = self._class[ids[pitches]]
        lean = (off_beat if g.position % GRID_TICKS else on_beat) * np.isin(classes, chord.pitch_classes)
        if program in BASSES and g.position - since < GRID_TICKS:
            lean = lean + on_root * (classes == (chord.root if chord.bass is None else chord.bass))
        led = scores.copy()
        led[pitches] = scores[pitches] + lean
        led[pitches] += np.logaddexp.reduce(scores[pitches]) - np.logaddexp.reduce(led[pitches])
        return led


__all__ = ["ChordTones"]
