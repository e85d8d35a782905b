"""Does the music move and return? Our pieces from photographs beside people's windows of the same length.

    python scripts/moving.py [--checkpoint DIR] [--corpus data/corpus/music] [--split valid] [--pictures data/raw/photos]
        [--pieces 48] [--bars 16] [--set recall=0.7 ...]

One row a measure (`midivibe.evaluation.movement`): people's mean and ours, with 95 % intervals. Choose sampling with it on
validation songs; test songs are for the report, whose section "movement" has the same measures.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from midivibe.config import SampleConfig
from midivibe.evaluation.movement import compare
from midivibe.evaluation.page import shown
from midivibe.evaluation.pieces import compose, human_pieces, on_grid
from midivibe.requests import Compose
from midivibe.studio import Studio
from midivibe.training.dataset import Corpus

PEOPLE = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus/music"))
    parser.add_argument("--split", default="valid")
    parser.add_argument("--pictures", type=Path, default=Path("data/raw/photos"))
    parser.add_argument("--pieces", type=int, default=48)
    parser.add_argument("--bars", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of SampleConfig")
    options = parser.parse_args()
    studio = Studio.open(options.checkpoint)
    people = human_pieces(Corpus(options.corpus, options.split), PEOPLE, options.bars, options.seed)
    changed = {name: float(value) for name, _, value in (pair.partition("=") for pair in options.set)}
    sampling = replace(SampleConfig(), **changed)
    pictures = np.random.default_rng(options.seed).permutation(sorted(options.pictures.glob("*.jpg")))[: options.pieces]
    settings = [
        replace(studio.settle(Compose(image=p, bars=options.bars, seed=i)), sampling=sampling) for i, p in enumerate(pictures)
    ]
    with tempfile.TemporaryDirectory() as folder:
        ours = [on_grid(score, studio) for score in compose(studio, settings, Path(folder))]
    print(f"{'':28} {'people':24} ours   ({len(people)} and {len(ours)} pieces of {options.bars} bars)")
    sets = {"people": ([p.notes for p in people], [p.song for p in people]), "ours": (ours, None)}
    for name, found in compare(sets, options.seed).items():
        print(f"{name:28} {shown(found['people'], 2):24} {shown(found['ours'], 2)}")


if __name__ == "__main__":
    main()
