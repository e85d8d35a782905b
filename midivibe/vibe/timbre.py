"""How warm and how rough each General MIDI program sounds.

Warmth is set by ear: bowed, breathed and sung sounds and nylon strings are warm; bells, glass, metal and air are cold. Spectral
centroid does not give it: over the programs of TimGM6mb their rank correlation is -.07.
Roughness is distortion, which makes a chord about as much less consonant as dissonant intervals do (Herbst 2018).
"""

from __future__ import annotations

import numpy as np

ROUGH_PROGRAMS = (29, 30, 84)
"""Overdriven and distorted guitar, and the lead that stands for one (charang). Not the sawtooth and bass leads (81, 87): their
overtones are as many as a string section's, and distortion is what is meant."""

NEUTRAL_WARMTH = 0.33
"""Of music that has rough programs alone: the median of the reference windows."""

PROGRAM_WARMTH = np.array([
    0.2, 0.0, 0.1, 0.0, 0.4, 0.3, -0.3, -0.3,  # pianos, electric pianos, harpsichord, clavinet
    -0.9, -1.0, -0.9, -0.4, 0.1, -0.5, -0.8, -0.2,  # celesta, glockenspiel, music box, vibraphone, marimba, xylophone, bells
    0.2, 0.1, 0.1, 0.1, 0.3, 0.2, 0.2, 0.2,  # organs, accordions, harmonica
    0.8, 0.5, 0.5, 0.2, 0.2, 0.2, 0.2, -0.2,  # guitars: nylon, steel, jazz, clean, muted, overdriven, distorted, harmonics
    0.4, 0.3, 0.2, 0.4, 0.1, 0.1, 0.1, 0.1,  # basses
    0.7, 0.8, 0.9, 0.8, 0.5, 0.5, 0.5, 0.2,  # violin, viola, cello, contrabass, tremolo, pizzicato, harp, timpani
    0.8, 0.9, 0.4, 0.4, 0.9, 0.8, 0.5, 0.0,  # strings, synth strings, choirs, synth voice, orchestra hit
    0.1, 0.3, 0.4, -0.1, 0.7, 0.2, 0.0, 0.0,  # trumpet, trombone, tuba, muted trumpet, horn, brass, synth brasses
    0.4, 0.5, 0.5, 0.4, 0.6, 0.7, 0.6, 0.7,  # saxophones, oboe, English horn, bassoon, clarinet
    0.1, 0.6, 0.6, 0.5, 0.3, 0.4, -0.2, 0.5,  # piccolo, flute, recorder, pan flute, bottle, shakuhachi, whistle, ocarina
    -0.4, -0.4, -0.2, -0.3, 0.2, 0.1, -0.4, -0.2,  # leads: square, sawtooth, calliope, chiff, charang, voice, fifths, bass
    -0.5, 0.6, 0.0, 0.2, -0.5, -0.8, -0.4, -0.5,  # pads: new age, warm, polysynth, choir, bowed, metallic, halo, sweep
    -0.7, 0.0, -1.0, -0.1, -0.8, -0.6, -0.5, -0.7,  # effects: rain, soundtrack, crystal, atmosphere, brightness, goblins
    -0.1, 0.0, -0.2, 0.0, 0.1, -0.1, 0.5, -0.1,  # sitar, banjo, shamisen, koto, kalimba, bagpipe, fiddle, shanai
    -1.0, -0.7, -0.2, -0.3, 0.1, 0.1, -0.4, -0.8,  # tinkle bell, agogo, steel drums, woodblock, taiko, toms, cymbal
    -0.5, -0.4, -0.5, -0.5, -0.8, -0.6, -0.6, -0.8,  # sound effects
])  # fmt: skip
"""-1 cold .. 1 warm: (128,). Those of ROUGH_PROGRAMS are not read."""


def warmth(program: np.ndarray, weight: np.ndarray) -> float:
    """Mean warmth of notes by program (N,) and weight (N,), the rough ones left out: distortion is neither warm nor cold."""
    clean = ~np.isin(program, ROUGH_PROGRAMS)
    return float(np.average(PROGRAM_WARMTH[program[clean]], weights=weight[clean])) if clean.any() else NEUTRAL_WARMTH


def roughness(program: np.ndarray, weight: np.ndarray) -> float:
    """Share of the sounding time that is distorted, by program (N,) and weight (N,) of the pitched notes: 0 to 1."""
    return float(np.average(np.isin(program, ROUGH_PROGRAMS), weights=weight)) if len(program) else 0.0
