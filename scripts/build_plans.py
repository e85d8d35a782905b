"""What people's headers are like → midivibe/data/plans.json. Needs a prepared corpus; statistics alone are kept.

    python scripts/build_plans.py [data/corpus/music]

Tempo: 1st and 99th percentile over songs of each style and meter with 30 songs and more. Pairs: instruments that occur together
in three training songs and more. Fit: ridge regression of the vibe of training windows on what their header says. The vibes are
measured anew from the windows' notes (3 minutes), so the corpus may be older than the axes.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np

from midivibe.evaluation.pieces import window_notes
from midivibe.plan.choose import BANDS_OF_ALL, header_features
from midivibe.training.dataset import Corpus
from midivibe.vibe.music import vibe_of

FEWEST_SONGS = 30
FEWEST_TOGETHER = 3
RIDGE = 10.0


def main() -> None:
    corpus = Corpus(sys.argv[1] if len(sys.argv) > 1 else "data/corpus/music", "train")
    columns = corpus.columns
    tempi: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    bands: dict[str, set[int]] = defaultdict(set)
    rows, targets = [], []
    for row in range(len(corpus)):
        style, meter, song = columns["style"][row], columns["meter"][row], columns["song"][row]
        programs = columns["programs"][row].tolist()
        for name in (f"{style} {meter}", f"{BANDS_OF_ALL} {meter}", BANDS_OF_ALL):
            tempi[name][song].append(float(columns["tempo"][row]))
        bands[song] |= set(programs)
        rows.append(header_features(corpus.header_of(row, programs)))
        notes = window_notes(corpus, row)
        targets.append(vibe_of(notes.window(0, notes.bars)).values)
    x, y = np.array(rows), np.array(targets)
    fit = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
    explained = 1 - ((y - x @ fit) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    print("variance explained:", explained.round(2).tolist())
    pairs = Counter(pair for band in bands.values() for pair in combinations(sorted(band), 2))
    together: dict[int, list[int]] = defaultdict(list)
    for (a, b), count in sorted(pairs.items()):
        if count >= FEWEST_TOGETHER:
            together[a].append(b)
    ranges = {}
    for name, songs in sorted(tempi.items()):
        if len(songs) >= FEWEST_SONGS:
            ranges[name] = np.percentile([np.median(t) for t in songs.values()], [1, 99]).round(1).tolist()
    out = Path(__file__).parent.parent / "midivibe" / "data" / "plans.json"
    out.write_text(
        json.dumps({"tempo": ranges, "together": together, "fit": fit.round(4).tolist()}, separators=(",", ":")) + "\n"
    )
    print(f"{len(ranges)} tempo ranges, {sum(map(len, together.values()))} pairs -> {out}")
    for name in ("pop 4/4", "rock 4/4", "other 4/4", "other 3/4", "other 6/8", "other"):
        print(name, ranges.get(name))


if __name__ == "__main__":
    main()
