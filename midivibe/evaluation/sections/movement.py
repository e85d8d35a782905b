"""Section "movement": whether the harmony moves, phrases return and the band is one that plays, ours beside people's."""

from __future__ import annotations

from pathlib import Path

from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.movement import compare
from midivibe.evaluation.page import shown, table
from midivibe.evaluation.pieces import enough

MEANING = {
    "chords in 8 bars": "different chords in 8 bars",
    "still for 4 bars": "pieces that stay on one chord for 4 bars",
    "lag 4 minus lag 1": "bars on the chord of 4 bars before, less those on that of the bar before",
    "V-I a bar": "falling fifths from a major chord (V-I) a bar",
    "bass on root": "bars whose first bass note is the root of the chord",
    "notes per onset": "notes per onset of a part",
    "the same, last quarter": "notes per onset in the last quarter of the piece",
    "chordal parts": "parts that play chords",
    "stepwise": "steps of one or two semitones among successive notes of a part",
    "constant velocity": "parts with one velocity throughout",
    "bars that return": "bars that repeat an earlier bar",
    "phrases nearly return": "phrases of 4 bars that nearly repeat an earlier one",
    "drums like the bar before": "overlap of the drums with the bar before",
    "six parts": "pieces with six parts or more",
    "no bass": "pieces without a bass",
    "three harsh parts": "pieces with three overdriven guitars or synthesizer leads",
    "170 BPM and over": "pieces of 170 BPM and over",
}
"""What the page calls the measures whose names are short."""


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
    rows = [(MEANING.get(name, name), shown(sides["human"]), shown(sides["ours"])) for name, sides in found["measures"].items()]
    return table(title, rows, ("means and shares", "people", "ours"))


SECTION = Section("movement", measure, layout)
