"""Section "infilling": holes in held-out songs, filled by the model and by simpler ways."""

from __future__ import annotations

from pathlib import Path

from midivibe.evaluation import infilling
from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.options import FEWEST
from midivibe.evaluation.page import shown, table
from midivibe.evaluation.pieces import human_pieces, require

BARS = 16
ORDER = 4
"""Of the Markov model that fills too."""


def measure(c: Context) -> Result:
    """The model against copying, against itself without what follows, and against Markov."""
    count = max(FEWEST, c.options.pieces // 5)
    pieces = [p for p in human_pieces(c.corpus, 12 * count, BARS, c.options.seed + 11) if infilling.suits(p)][:count]
    require(pieces, FEWEST, "held-out pieces with drums and two melodic parts")
    (chain,) = c.markov(ORDER)
    advance = c.progress("infilling", len(pieces))
    found = infilling.fill_holes(c.studio, chain, pieces, c.options.seed, c.options.filling, advance)
    return infilling.summary(found, c.options.seed)


def layout(found: Result, folder: Path) -> str:
    """For each kind of hole: the figures of every way, and by how much the model is ahead."""
    made = []
    for kind in [k for k in found if k != "seconds"]:
        ways = found[kind]["ways"]
        figures = list(next(iter(ways.values())))
        rows = [(way, *(shown(values.get(f)) for f in figures)) for way, values in ways.items()]
        made.append(table(f"Filling a hole: {kind}, {found[kind]['pieces']} pieces", rows, ("", *figures)))
        leads = [(k, shown(v)) for k, v in found[kind]["leads"].items()]
        made.append(table("The model's lead, piece by piece", leads))
    return "".join(made)


SECTION = Section("infilling", measure, layout)
