"""Weights between those of a checkpoint and of what it became in training: what was trained on keeps its gain, less its noise.

    python scripts/mixed.py BEFORE AFTER OUT [--share 0.7]

Embeddings of the plan are AFTER's: BEFORE, grown by `scripts/grow.py`, has them at zero. Source: Wortsman et al. 2022.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from midivibe.model import checkpoint
from midivibe.model.folder import locate
from midivibe.tokens.vocabulary import SECTION

PLAN = ("chord.", "coming.", "ending.", "source.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.7)
    options = parser.parse_args()
    before, _ = checkpoint.load(options.before)
    model, vocabulary = checkpoint.load(options.after)
    first = int((vocabulary.type >= SECTION).argmax())  # from here on the vocabulary is the plan's
    mixed = {}
    for name, old in before.state_dict().items():
        new = model.state_dict()[name]
        if not new.is_floating_point() or any(f".{table}" in name for table in PLAN):
            mixed[name] = new
            continue
        mixed[name] = old.lerp(new, options.share)
        if len(new.shape) and len(new) == len(vocabulary):
            mixed[name][first:] = new[first:]
    model.load_state_dict(mixed)
    checkpoint.save(options.out, model, locate(options.after) / "tokenizer.json")


if __name__ == "__main__":
    main()
