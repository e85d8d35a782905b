"""Section "movement": whether the harmony moves, phrases return and the band is one that plays, ours beside people's."""

from __future__ import annotations

from pathlib import Path

from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.movement import compare
from midivibe.evaluation.page import shown, table
from midivibe.evaluation.pieces import enough


def measure(c: Context) -> Result:
    """Our pieces of the section music beside all of people's excerpts of the same split and length."""
    people = [p for half in c.human for p in half]
    advance = c.progress("movement", len(c.settings_of_ours))
    every = c.inner(c.ours(advance), c.options.bars)
    ours = [p for p in every if enough(p)]
    found = compare({"human": ([p.notes for p in people], [p.song for p in people]), "ours": (ours, None)}, c.options.seed)
    return {
        "pieces": {"human": len(people), "ours": len(ours)}, "too_sparse": len(every) - len(ours), "measures": found,
    }  # fmt: skip


def layout(found: Result, folder: Path) -> str:
    """One row a measure."""
    counts = found["pieces"]
    title = f"Movement and form, {counts['human']} pieces of people's and {counts['ours']} of ours"
    rows = [(name, shown(sides["human"]), shown(sides["ours"])) for name, sides in found["measures"].items()]
    return table(title, rows, ("mean over pieces", "people", "ours"))


SECTION = Section("movement", measure, layout)
