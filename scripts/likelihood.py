"""Nats a note on held-out songs, the model beside Markov models of the same ids.

    python scripts/likelihood.py CHECKPOINT [--corpus data/corpus/music] [--split test] [--windows 600] [--markov-windows N]

The model's figure is the bound: reconstruction plus KL of all tokens of a window (header and EOS too), divided by its
notes. Windows are plain, with every track of the song and programs in ascending order. Intervals: bootstrap over songs.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from midivibe.evaluation.baselines import Markov
from midivibe.model import checkpoint
from midivibe.training.dataset import Corpus
from midivibe.training.trainer import evaluate


def interval(nats: np.ndarray, notes: np.ndarray, songs: list[str], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval over songs of sum(nats) / sum(notes)."""
    of_song: dict[str, list[int]] = defaultdict(list)
    for i, song in enumerate(songs):
        of_song[song].append(i)
    groups = list(of_song.values())
    a = np.array([nats[g].sum() for g in groups])
    b = np.array([notes[g].sum() for g in groups])
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(groups), (1000, len(groups)))
    low, high = np.percentile(a[draws].sum(1) / b[draws].sum(1), [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus/music"))
    parser.add_argument("--split", default="test")
    parser.add_argument("--windows", type=int, default=600)
    parser.add_argument("--markov-windows", type=int, default=10**9)
    parser.add_argument("--no-markov", action="store_true")
    options = parser.parse_args()
    model, vocabulary = checkpoint.load(options.checkpoint)
    block = model.config.block_size
    held = Corpus(options.corpus, options.split)
    rows = [r for r in range(len(held)) if len(held.ids[r]) <= block - 40]
    rows = rows[:: max(1, len(rows) // options.windows)][: options.windows]
    examples = [held.plain(r) for r in rows]
    songs = [held.columns["song"][r] for r in rows]
    notes = np.array([e.notes for e in examples])
    result = {"split": options.split, "windows": len(rows), "songs": len(set(songs)), "notes": int(notes.sum())}
    result["tokens_per_note"] = sum(len(e.ids) - 1 for e in examples) / notes.sum()
    result["model"] = evaluate(model, examples, block)
    if not options.no_markov:
        train = Corpus(options.corpus, "train")
        step = max(1, len(train) // options.markov_windows)
        ids = [train.plain(r).ids for r in range(0, len(train), step)]
        result["markov_training_tokens"] = int(sum(map(len, ids)))
        markov = Markov(5, len(vocabulary)).fit(ids)
        scored = np.concatenate([np.arange(len(e.ids)) > 0 for e in examples])  # BOS is given
        owner = np.repeat(np.arange(len(examples)), [len(e.ids) for e in examples])
        per_order = {}
        for order, logs in enumerate(markov.log_likelihoods([e.ids for e in examples])):
            nats = np.bincount(owner[scored], -logs[scored], len(examples))
            per_order[order] = {"nats_per_note": nats.sum() / notes.sum(), "interval": interval(nats, notes, songs)}
        result["markov"] = per_order
        best = min(v["nats_per_note"] for k, v in per_order.items() if k >= 1)
        result["below_best_markov"] = 1 - result["model"]["nats_per_note"] / best
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
