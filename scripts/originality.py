"""Is it copied? Generated pieces and held-out human songs, both against the training set (see evaluation/originality.py).

    python scripts/originality.py [--checkpoint DIR] [--corpus data/corpus/music] [--pieces 64] [--bars 16]

The human windows are of test songs; a model that copies no more than people repeat each other stays at or below them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from midivibe.evaluation.originality import TrainingIndex, flat_notes, four_bars
from midivibe.score.layout import encode, home_shift, quantize, transpose
from midivibe.score.midi import note_table
from midivibe.score.theory import detect_key
from midivibe.studio import Studio
from midivibe.training.dataset import Corpus
from midivibe.vibe.axes import Vibe
from midivibe.vibe.music import pitch_class_weights


def report(index: TrainingIndex, windows: list[np.ndarray], four_four: list[bool], most: int, seed: int) -> dict:
    """Both measures over some windows; 95 % intervals by bootstrap over 4-bar windows and over parts."""
    rng = np.random.default_rng(seed)
    flat = flat_notes(windows, four_four, index.vocabulary)
    bits = four_bars(flat, hop=4)
    bits = bits[bits.sum((1, 2)) >= 12]
    similarity = index.similarity(bits[rng.permutation(len(bits))[:most]])
    parts = index.copied(flat)
    share = parts[:, 0] > 0

    def interval(values: np.ndarray, what) -> list[float]:
        draws = [what(rng.choice(values, len(values))) for _ in range(1000)]
        return [round(float(x), 3) for x in np.percentile(draws, [2.5, 97.5])]

    return {
        "four_bars": len(similarity), "median": round(float(np.median(similarity)), 3),
        "p95": round(float(np.percentile(similarity, 95)), 3),
        "p95_interval": interval(similarity, lambda x: np.percentile(x, 95)), "parts": len(share),
        "parts_with_a_copied_run": round(float(share.mean()), 3), "interval": interval(share.astype(float), np.mean),
        "copied_runs": round(float(parts[:, 0].sum() / parts[:, 1].sum()), 4),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus/music"))
    parser.add_argument("--pieces", type=int, default=64)
    parser.add_argument("--bars", type=int, default=16)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train, test = Corpus(options.corpus, "train"), Corpus(options.corpus, "test")
    v = train.vocabulary
    index = TrainingIndex([train.ids[i] for i in range(len(train))], train.columns["meter"] == "4/4", v)
    print(f"{len(index.bars):,} different 4-bar windows, {len(index.runs):,} runs of 16 notes", flush=True)
    held = [r for r in range(len(test)) if test.columns["bars"][r] >= 8]
    human = report(
        index, [test.ids[r] for r in held], list(test.columns["meter"][held] == "4/4"), options.queries, options.seed
    )
    print(json.dumps({"human": human}), flush=True)
    studio = Studio.open(options.checkpoint)
    rng = np.random.default_rng(options.seed)
    first = studio.settle(bars=options.bars, seed=0, time_signature="4/4")
    settings = [
        replace(first, seed=options.seed * 1000 + i, vibes=(Vibe(tuple(map(float, rng.uniform(0.03, 0.97, 7))), (1.0,) * 7),))
        for i in range(options.pieces)
    ]
    windows = []
    for at in range(0, len(settings), 16):
        for piece in studio.perform(settings[at : at + 16]):
            notes = quantize(note_table(piece.score), v)
            tonic, mode, _ = detect_key(pitch_class_weights(notes))
            windows.append(encode(transpose(notes, home_shift(tonic, mode)), v)[0])
    print(json.dumps({"generated": report(index, windows, [True] * len(windows), options.queries, options.seed)}))


if __name__ == "__main__":
    main()
