"""What tells our pieces from people's? The section "realism" of evaluate by itself, for a corpus of any vocabulary.

    python scripts/realism.py [CHECKPOINT] [--corpus data/corpus/plan] [--split valid] [--pieces 80] [-o out/realism]

`midivibe evaluate` refuses a corpus of another vocabulary than the checkpoint's, since it also measures likelihood; notes can
be compared all the same. Composed pieces stay in the folder; `--composed` takes only those that are there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from midivibe.evaluation.context import Context
from midivibe.evaluation.options import Options
from midivibe.evaluation.page import shown
from midivibe.evaluation.report import plain
from midivibe.evaluation.sections import realism
from midivibe.model.folder import locate
from midivibe.studio import Studio
from midivibe.training.dataset import Corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path)
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus/plan"))
    parser.add_argument("--split", default="valid")
    parser.add_argument("--pieces", type=int, default=80)
    parser.add_argument("--bars", type=int, default=16)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/realism"))
    parser.add_argument("--composed", action="store_true", help="compose nothing more")
    asked = parser.parse_args()
    options = Options(pieces=asked.pieces, bars=asked.bars, split=asked.split)
    folder, people = locate(asked.checkpoint), Corpus(asked.corpus, asked.split)
    c = Context(folder, Studio.open(folder), people, asked.corpus, options, asked.out)
    if asked.composed:
        c.settings_of_ours = c.settings_of_ours[: len(list((asked.out / "pieces" / "ours").glob("*.mid")))]
    found = plain(realism.measure(c))
    (asked.out / "realism.json").write_text(json.dumps(found, indent=1))
    print(f"{found['pieces']} pieces each; ours against people's, people's halves")
    for name, x in found["accuracy"].items():
        print(f"{name:8} {x['traits']} traits  {shown(x['ours'])}  {shown(x['people'])}")
    for row in found["give_aways"][:25]:
        print(f"{row['auc']:.2f} {row['by']:6} {row['trait']:52} {shown(row['ours'], 2):>8} {shown(row['people'], 2):>8}")


if __name__ == "__main__":
    main()
