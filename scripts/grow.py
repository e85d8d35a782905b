"""A checkpoint of an earlier vocabulary → one of today's that writes the same, to train on from.

python scripts/grow.py checkpoints/small runs/grown [--kv-heads 2]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from midivibe.model import checkpoint
from midivibe.model.growth import grown
from midivibe.tokens.miditok import BarTrackREMI


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--kv-heads", type=int, default=0)
    options = parser.parse_args()
    model, vocabulary = checkpoint.load(options.checkpoint)
    tokenizer = BarTrackREMI()
    names = tokenizer.layout_vocabulary.names
    if names[: len(vocabulary)] != vocabulary.names:
        raise SystemExit("the ids of this checkpoint are no longer what they were")
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_tokenizer(Path(folder) / "tokenizer.json")
        checkpoint.save(options.out, grown(model, len(names), options.kv_heads), Path(folder) / "tokenizer.json")


if __name__ == "__main__":
    main()
