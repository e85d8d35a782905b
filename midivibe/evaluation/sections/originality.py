"""Section "originality": do we copy? Ours and held-out songs against the whole training set, in the same way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from midivibe.evaluation import originality
from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.page import label, shown, table
from midivibe.evaluation.pieces import at_home
from midivibe.tokens import layout as tokens
from midivibe.training.dataset import Corpus

MOST_QUERIES = 200
"""Stretches of 4 bars that are looked up: each is compared with all of the training set."""


def measure(c: Context) -> Result:
    """Our pieces of the section music, and the half of people's pieces that they were not asked to be like."""
    v, options = c.studio.vocabulary, c.options
    advance = c.progress("originality", 3 + len(c.settings_of_ours))
    scores = c.ours(advance)
    train = Corpus(c.corpus_folder, "train")
    rows = np.arange(0, len(train), max(1, len(train) // options.searched_windows))
    index = originality.TrainingIndex([train.ids[i] for i in rows.tolist()], train.columns["meter"][rows] == "4/4", v)
    advance(1)
    result: Result = {"training_windows": len(rows), "training_four_bars": len(index.bars)}
    for name, pieces in (("human", [p.notes for p in c.human[1]]), ("ours", c.inner(scores, options.bars))):
        four_four = [set(p.bar_meter) == {(4, 4)} for p in pieces]
        ids = [tokens.encode(at_home(p), v)[0] for p in pieces]
        result[name] = originality.report(index, ids, four_four, min(options.pieces, MOST_QUERIES), options.seed)
        advance(1)
    return result


def layout(found: Result, folder: Path) -> str:
    """Similarity to the nearest 4 bars, and copied runs."""
    names = [k for k in found["human"] if not k.endswith("interval")]
    rows = [(label(k), *(shown(found[who][k]) for who in ("human", "ours"))) for k in names]
    return table("Similarity to the nearest music of the training set", rows, ("", "held-out people", "ours"))


SECTION = Section("originality", measure, layout)
