"""Section "realism": how often a classifier tells our pieces from people's, and by what."""

from __future__ import annotations

from pathlib import Path

from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.options import FEWEST
from midivibe.evaluation.page import shown, table
from midivibe.evaluation.pieces import enough
from midivibe.evaluation.realism import Side, compare

TELLING = 25
"""Traits on the page; the JSON has all."""
SEEN = {"all": "all traits", "notes": "notes alone: no velocities, no band"}


def measure(c: Context) -> Result:
    """Our pieces of the section music beside the half of people's pieces that they were not asked to be like.

    Both are notes on the model's grid, of the same length and from inside a piece. Velocities are those in our files, accents
    and dynamics included.
    """
    advance = c.progress("realism", len(c.settings_of_ours))
    ours = [p for p in c.inner(c.ours(advance), c.options.bars) if enough(p)]
    if len(ours) < FEWEST:
        return {"left_out": f"only {len(ours)} of our pieces have notes enough to compare"}
    halves = [Side.of([p.notes for p in half], [p.song for p in half]) for half in c.human]
    return compare(Side.of(ours, [f"ours {i}" for i in range(len(ours))]), (halves[0], halves[1]), c.options.seed)


def layout(found: Result, folder: Path) -> str:
    """Accuracies, and the traits that give us away."""
    rows = [(f"{SEEN[k]} ({x['traits']})", shown(x["ours"]), shown(x["people"])) for k, x in found["accuracy"].items()]
    title = f"Told from people's, {found['pieces']} pieces each: share told right, .5 is chance"
    traits = []
    for row in found["give_aways"][:TELLING]:
        spread = " (spread)" if row["by"] == "spread" else ""
        traits.append((row["trait"], f"{row['auc']:.2f}{spread}", shown(row["ours"]), shown(row["people"])))
    head = (f"people's halves: ±{found['furthest']:.2f} at most", "ours above people's, share of pairs", "ours", "people")
    return table(title, rows, ("", "ours against people's", "people's halves")) + table("What gives us away", traits, head)


SECTION = Section("realism", measure, layout)
