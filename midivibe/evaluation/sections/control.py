"""Section "control": what was asked for against what is in the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from symusic import Score

from midivibe.evaluation import metrics
from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.distances import Reference
from midivibe.evaluation.intervals import rank_correlation
from midivibe.evaluation.options import FEWEST
from midivibe.evaluation.page import label, shown, table
from midivibe.evaluation.pieces import at_home, enough
from midivibe.midi.score import note_table
from midivibe.midi.theory import MAJOR_SCALE, MINOR_SCALE, Key, detect_key
from midivibe.requests import Compose
from midivibe.vibe.axes import AXES, Vibe
from midivibe.vibe.music import music_vibe, pitch_class_weights

BARS = 8
"""Length of the pieces that are asked for axes."""
STEERING: dict[str, dict[str, float]] = {
    "as set": {}, "guidance 1.5": {"guidance": 1.5}, "guidance 2.5": {"guidance": 2.5},
    "without emphasis and feedback": {"emphasis": 1.0, "feedback": 0.0},
}  # fmt: skip
"""Ways to follow the vibe, each a change of the sampling; the first on all pieces, the others on a fifth."""
BAND = (0, 4, 11, 19, 24, 25, 26, 30, 33, 48, 52, 56, 61, 65, 73, 81, 89, -1)
"""Instruments that the exactness check draws from: one or two of most families, and drums."""


def measure(c: Context) -> Result:
    """Flags exactly; each axis by rank, steered in several ways, with the distance to people's music that steering costs."""
    n, options = c.options.pieces, c.options
    part = max(FEWEST, n // 5)
    advance = c.progress("control", part + n + (2 * len(STEERING) - 1) * part)
    rng = np.random.default_rng(options.seed)
    wishes = [exact_wish(rng) for _ in range(part)]
    scores = c.compose("exact", c.settings_of(wishes), advance)
    checks = [exact_check(w, s) for w, s in zip(wishes, scores, strict=True)]
    exact = {k: float(np.mean([found[k] for found in checks])) for k in checks[0]}
    asked, others = c.halves(BARS, part)
    reference = Reference([at_home(p.notes) for p in others])
    spare = reference.place(metrics.scalars([at_home(p.notes) for p in asked]))
    spread = rng.uniform(0.03, 0.97, (n, len(AXES)))
    steering = {}
    for number, (way, changes) in enumerate(STEERING.items()):
        count = part if changes else n
        sampling = replace(options.sampling, **changes)
        wanted = [Compose(vibe=Vibe(tuple(row), (1.0,) * len(AXES)), bars=BARS) for row in spread[:count].tolist()]
        settings = [replace(s, sampling=sampling) for s in c.settings_of(wanted, options.seed + 4)]
        heard = np.array([music_vibe(s).values for s in c.compose(f"axes-{number}", settings, advance)])
        settings = c.settings_like(asked, part, BARS, options.seed + 5, sampling)
        pieces = c.inner(c.compose(f"like-{number}", settings, advance), BARS)
        ours = reference.place(metrics.scalars([at_home(p) for p in pieces if enough(p)]))
        steering[way] = {
            "pieces": count, "frechet": reference.against(ours, spare, options.seed),
            "spearman": {a: rank_correlation(spread[:count, i], heard[:, i], options.seed) for i, a in enumerate(AXES)},
        }  # fmt: skip
    return {"exact": exact, "exact_pieces": part, "steering": steering}


def exact_wish(rng: np.random.Generator) -> Compose:
    """Random flags of a piece."""
    tonic, mode = int(rng.integers(12)), str(rng.choice(["major", "minor"]))
    band = rng.permutation(BAND)[: int(rng.integers(1, 6))].tolist()
    return Compose(
        bars=int(rng.integers(2, 21)), tempo=float(round(rng.uniform(45, 190), 1)), key=str(Key.of(tonic, mode)),
        time_signature=str(rng.choice(["4/4", "3/4", "6/8"])), instruments=band,
    )  # fmt: skip


def exact_check(wish: Compose, score: Score) -> dict[str, float]:
    """Which of the flags are true of a file that was read again.

    `key_detected`: Krumhansl's algorithm finds that key or its relative; in short pieces it often fails, in people's music
    too. `sounding_in_scale`: the share of sounding time on notes of the key's major or natural minor scale.
    """
    assert wish.key and wish.time_signature and wish.tempo and wish.bars
    band = [p for p in wish.instruments or () if isinstance(p, int)]
    tracks = [(-1 if t.is_drum else t.program) for t in score.tracks if len(t.notes)]
    meter = tuple(map(int, wish.time_signature.split("/")))
    length = score.ticks_per_quarter * 4 * meter[0] // meter[1]
    key = Key.parse(wish.key)
    last = max((n.end for t in score.tracks for n in t.notes), default=0)
    first = max((n.start for t in score.tracks for n in t.notes), default=0)
    weights = pitch_class_weights(note_table(score))
    tonic, mode, _ = detect_key(weights)
    scale = [(p + key.tonic) % 12 for p in (MAJOR_SCALE if key.mode == "major" else MINOR_SCALE)]
    relative = ((key.tonic + 9) % 12, "minor") if key.mode == "major" else ((key.tonic + 3) % 12, "major")
    drums_only = tracks == [-1]
    return {
        "bars": (wish.bars - 1) * length <= first < last <= wish.bars * length,
        "tempo": len(score.tempos) == 1 and abs(score.tempos[0].qpm - wish.tempo) < 0.01,
        "meter": [(s.numerator, s.denominator) for s in score.time_signatures] == [meter],
        "key_signature": len(score.key_signatures) == 1 and score.key_signatures[0].key == key.sharps,
        "instruments": sorted(tracks) == sorted(band),
        "key_detected": drums_only or (tonic, mode) in ((key.tonic, key.mode), relative),
        "sounding_in_scale": float(weights[scale].sum() / weights.sum()) if weights.any() else 1.0,
    }


def layout(found: Result, folder: Path) -> str:
    """Flags in percent, then the axes by ways of steering."""
    exact = [(label(k), f"{100 * v:.1f} %") for k, v in found["exact"].items()]
    ways = list(found["steering"].values())
    rows = [(a, *(shown(way["spearman"][a], 2) for way in ways)) for a in AXES]
    rows += [("Fréchet distance to people's music", *(shown(way["frechet"]["distance"], 2) for way in ways))]
    rows += [("the same for as many of people's pieces", *(shown(way["frechet"]["people"], 2) for way in ways))]
    rows += [("pieces", *(way["pieces"] for way in ways))]
    return table(f"Flags that the file keeps, {found['exact_pieces']} pieces", exact) + table(
        "Vibe asked for and measured, Spearman correlation by way of steering", rows, ("", *found["steering"])
    )


SECTION = Section("control", measure, layout)
