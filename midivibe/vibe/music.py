"""Music → Vibe: features of the notes, a linear read-out of valence and arousal, percentiles against real bands.

Valence and arousal are ridge regressions fitted on people's ratings of VGMIDI and EMOPIA (scripts/build_reference_music.py);
an additive linear model explains 77 to 89 % of such ratings (Eerola, Friberg & Bresin 2013).
Rates are counted per second, so that performances whose tempo is nominal can be compared with scores.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from symusic import Score

from midivibe.midi.notes import Notes
from midivibe.midi.score import note_table
from midivibe.midi.theory import detect_key, in_scale_share, key_correlations
from midivibe.vibe.axes import AXES, Vibe
from midivibe.vibe.timbre import roughness, warmth

FIT_FEATURES = (
    "log_onset_rate", "log_length", "velocity", "velocity_sd", "mode", "register", "pitch_sd", "dissonance",
    "out_of_scale", "articulation", "log_polyphony", "register_low",
)  # fmt: skip
ROUGHNESS_TENSION = 0.4
"""How tense distortion throughout is, on the scale of the share of dissonant intervals; over reference windows the two spread
alike. Loudness adds to tension too (Farbood 2012), but the velocities of tracks do not say how loud a band is, and arousal
has them."""


def pitch_class_weights(notes: Notes) -> np.ndarray:
    """Sounding time of each pitch class over the pitched notes, in beats: (12,)."""
    weight = notes.duration[notes.pitched] / notes.ticks_per_beat
    return np.bincount(notes.pitch[notes.pitched] % 12, weight, 12)


def features(notes: Notes) -> dict[str, float]:
    """Plain features of a window of music; a window without notes gives zeros and typical values."""
    tpb = notes.ticks_per_beat
    bar_beats = np.diff(notes.bar_start) / tpb
    seconds = float((bar_beats * 60 / notes.bar_tempo).sum())
    beats = float(bar_beats.sum())
    pitched = notes.pitched
    n = int(pitched.sum())
    bar_of = notes.bar.clip(0, notes.bars - 1)
    tempo = notes.bar_tempo[bar_of] if len(notes) else np.array([120.0])
    length = notes.duration / tpb * 60 / tempo if len(notes) else np.zeros(0)

    all_onsets = np.unique(notes.onset)
    onsets = np.unique(notes.onset[pitched])
    pitch, duration, velocity = notes.pitch[pitched], notes.duration[pitched], notes.velocity[pitched]
    weights = pitch_class_weights(notes)
    correlations = key_correlations(weights)
    voices = float(duration.sum() / tpb / beats) if beats else 0.0
    per_bar = np.bincount(bar_of, minlength=notes.bars) / np.maximum(bar_beats, 1e-9) if len(notes) else np.zeros(notes.bars)
    part_onsets = len(np.unique(notes.onset * 129 + notes.program))
    per_second = np.array([len(all_onsets), part_onsets]) / max(seconds, 1e-6)
    sounding = np.maximum(duration, 1)
    mean_pitch = float(np.average(pitch, weights=sounding)) if n else 60.0
    gaps = np.diff(onsets)
    articulation = 0.0
    if n > 1 and len(gaps):
        following = np.searchsorted(onsets, notes.onset[pitched], side="right")
        has_next = following < len(onsets)
        ioi = onsets[following[has_next]] - notes.onset[pitched][has_next]
        articulation = float(np.median(np.minimum(duration[has_next] / np.maximum(ioi, 1), 4.0))) if len(ioi) else 1.0
    drums = ~pitched
    drum_rate = len(np.unique(notes.onset[drums])) / seconds if seconds else 0.0
    return {
        "tempo": float(np.average(notes.bar_tempo, weights=bar_beats)),
        "log_onset_rate": float(np.log(max(len(onsets), 1) / max(seconds, 1e-6))),
        "log_length": float(np.log(max(length[pitched].mean(), 0.01))) if n else 0.0,
        "velocity": float(notes.velocity.mean()) if len(notes) else 64.0,
        "velocity_sd": float(velocity.std()) if n else 0.0,
        "mode": float(correlations[:12].max() - correlations[12:].max()),
        "register": mean_pitch,
        "register_low": float(np.percentile(pitch, 10)) if n else 48.0,
        "pitch_sd": float(pitch.std()) if n else 0.0,
        "dissonance": _dissonance(notes),
        "out_of_scale": 1 - in_scale_share(weights),
        "articulation": articulation,
        "log_polyphony": float(np.log(max(voices, 0.1))),
        "drum_rate": drum_rate,
        "onsets_a_second": float(per_second[0]),
        "roughness": roughness(notes.program[pitched], sounding),
        # Per bar alone, slow music would be dense and fast music sparse; per second alone, the other way round.
        "density": float(0.5 * np.log1p([len(all_onsets) / max(notes.bars, 1), per_second[0], voices + per_second[1]]).sum()),
        "warmth": warmth(notes.program[pitched], sounding),
        "contrast": float(notes.velocity.std() / 20 if len(notes) else 0.0) + float(per_bar.std() / (per_bar.mean() + 1.0)),
    }


def _dissonance(notes: Notes) -> float:
    """Share of simultaneously sounding pitch-class pairs that are seconds, sevenths or tritones, sampled each half beat."""
    pitched = notes.pitched
    step = max(notes.ticks_per_beat // 2, 1)
    steps = int(notes.bar_start[-1] // step) + 1
    first = notes.onset[pitched] // step
    last = np.maximum((notes.onset[pitched] + notes.duration[pitched] - 1) // step, first) + 1
    change = np.zeros((12, steps + 1), dtype=np.int32)
    np.add.at(change, (notes.pitch[pitched] % 12, np.minimum(first, steps)), 1)
    np.add.at(change, (notes.pitch[pitched] % 12, np.minimum(last, steps)), -1)
    sounding = np.cumsum(change, 1)[:, :steps] > 0  # (12, steps)
    pairs = [int((sounding & np.roll(sounding, k, axis=0)).sum()) for k in range(1, 7)]
    pairs[5] //= 2  # each tritone is counted from both ends
    total = sum(pairs)
    return (pairs[0] + pairs[1] + pairs[5]) / total if total else 0.0


@cache
def reference() -> dict[str, Any]:
    """The fitted read-out and the percentile tables, from data/reference_music.json."""
    found: dict[str, Any] = json.loads((files("midivibe") / "data" / "reference_music.json").read_text())
    return found


def raw_axes(feature: dict[str, float], fit: dict[str, Any]) -> np.ndarray:
    """Seven unscaled axis values in the order of AXES, before percentiles: (7,)."""
    x = (np.array([feature[name] for name in FIT_FEATURES]) - fit["mean"]) / fit["sd"]
    x = x.clip(-3, 3)
    valence = float(x @ fit["valence"])
    # The rated pieces are piano alone: drums, which they lack, push arousal up by a fixed, documented amount.
    arousal = float(x @ fit["arousal"]) + fit["drum_arousal"] * min(feature["drum_rate"] / 4, 1.0)
    tension = feature["dissonance"] + 1.5 * feature["out_of_scale"] + ROUGHNESS_TENSION * feature["roughness"]
    return np.array(
        [valence, arousal, tension, feature["register"], feature["density"], feature["warmth"], feature["contrast"]]
    )


def percentiles(raw: np.ndarray, table: list[list[float]]) -> np.ndarray:
    """Place each of the seven raw values (7,) in its table of 101 reference quantiles: (7,) from 0 to 1."""
    grid = np.linspace(0, 1, len(table[0]))
    low = [np.interp(x, q, grid) for x, q in zip(raw, table, strict=True)]
    return np.array(low).clip(0, 1)


def vibe_of(notes: Notes) -> Vibe:
    """The vibe of a window of notes, with the reasons in words."""
    table = reference()
    feature = features(notes)
    values = percentiles(raw_axes(feature, table["fit"]), table["quantiles"])
    _, mode, strength = detect_key(pitch_class_weights(notes))
    rate = float(np.exp(feature["log_onset_rate"]))
    reasons = {
        "valence": f"{mode} ({strength:.2f}), {feature['tempo']:.0f} BPM",
        "arousal": f"{rate:.1f} onsets a second, velocity {feature['velocity']:.0f}",
        "tension": f"{100 * feature['dissonance']:.0f} % dissonant, {100 * feature['out_of_scale']:.0f} % outside the scale"
        + (f", {100 * feature['roughness']:.0f} % distorted" if feature["roughness"] else ""),
        "brightness": f"mean pitch {feature['register']:.0f}",
        "density": f"{feature['onsets_a_second']:.1f} onsets a second, {np.exp(feature['log_polyphony']):.1f} voices at once",
        "warmth": f"instrument warmth {feature['warmth']:+.2f}",
        "contrast": f"velocity spread {feature['velocity_sd']:.0f}",
    }
    certain = 1.0 if len(notes) >= 8 else len(notes) / 8
    return Vibe(tuple(map(float, values)), (certain,) * len(AXES), reasons)


def music_vibe(score: Score) -> Vibe:
    """The vibe of a whole score."""
    return vibe_of(note_table(score))
