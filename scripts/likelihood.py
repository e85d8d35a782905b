"""Nats a note on held-out songs, the model beside Markov models of the same ids.

    python scripts/likelihood.py CHECKPOINT [--corpus data/corpus/music] [--split test] [--windows 600] [--markov-windows N]

The model's figure is the bound: reconstruction plus KL of all tokens of a window (header and EOS too), divided by its
notes, on the windows of `training.held_out`. Intervals: bootstrap over songs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from midivibe.evaluation.baselines import Markov
from midivibe.evaluation.likelihood import ratio
from midivibe.model import checkpoint
from midivibe.training.dataset import Corpus
from midivibe.training.held_out import held_out_rows, score


def markov_figures(markov: Markov, windows: list[np.ndarray], notes: np.ndarray, songs: list[str]) -> dict[int, dict[str, Any]]:
    """Nats a note of each order with its interval; every id but BOS is scored."""
    scored = np.concatenate([np.arange(len(ids)) > 0 for ids in windows])
    owner = np.repeat(np.arange(len(windows)), [len(ids) for ids in windows])
    found = {}
    for order, logs in enumerate(markov.log_likelihoods(windows)):
        mean, *bounds = ratio(np.bincount(owner[scored], -logs[scored], len(windows)), notes, songs)
        found[order] = {"nats_per_note": mean, "interval": bounds}
    return found


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
    held = Corpus(options.corpus, options.split)
    held.plans = vocabulary.plans
    rows = held_out_rows(held, model.config.block_size, options.windows)
    examples = [held.plain(r) for r in rows]
    songs = [held.columns["song"][r] for r in rows]
    notes = np.array([e.notes for e in examples])
    result: dict[str, Any] = {"split": options.split, "windows": len(rows), "songs": len(set(songs)), "notes": int(notes.sum())}
    result["tokens_per_note"] = sum(len(e.ids) - 1 for e in examples) / notes.sum()
    result["model"] = score(model, examples)
    if not options.no_markov:
        train = Corpus(options.corpus, "train")
        train.plans = vocabulary.plans
        step = max(1, len(train) // options.markov_windows)
        ids = [train.plain(r).ids for r in range(0, len(train), step)]
        result["markov_training_tokens"] = sum(map(len, ids))
        markov = Markov(5, len(vocabulary)).fit(ids)
        result["markov"] = markov_figures(markov, [e.ids for e in examples], notes, songs)
        best = min(v["nats_per_note"] for k, v in result["markov"].items() if k >= 1)
        result["below_best_markov"] = 1 - result["model"]["nats_per_note"] / best
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
