"""Vibe asked against vibe heard: Spearman's correlation an axis over pieces whose vibes are drawn at random.

    python scripts/control.py [--pieces 96] [--bars 8] [--guidance 1 2] [--checkpoint DIR]

Heard is what `vibe.music` measures of the notes, the same measure that labelled the training windows.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from midivibe.studio import Studio
from midivibe.vibe.axes import AXES, Vibe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=96)
    parser.add_argument("--bars", type=int, default=8)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0])
    parser.add_argument("--top-p", type=float, default=None)
    parser.add_argument("--temperature", type=float, default=None)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    studio = Studio.open(options.checkpoint)
    asked = np.random.default_rng(options.seed).uniform(0.03, 0.97, (options.pieces, 7))
    for guidance in options.guidance:
        first = studio.settle(
            bars=options.bars, seed=0, guidance=guidance, top_p=options.top_p, temperature=options.temperature
        )
        settings = [
            replace(first, seed=options.seed * 1000 + i, vibes=(Vibe(tuple(map(float, row)), (1.0,) * 7),))
            for i, row in enumerate(asked)
        ]
        pieces = [p for at in range(0, len(settings), 16) for p in studio.perform(settings[at : at + 16])]
        heard = np.array([p.heard.values for p in pieces])
        figures = {a: round(float(spearmanr(asked[:, i], heard[:, i]).statistic), 3) for i, a in enumerate(AXES)}
        notes = float(np.mean([p.score.note_num() for p in pieces])) / options.bars
        print(json.dumps({"guidance": guidance, "spearman": figures, "notes_a_bar": round(notes, 1)}), flush=True)


if __name__ == "__main__":
    main()
