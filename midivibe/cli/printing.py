"""How results and notes are printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midivibe.vibe.axes import Vibe

LONGEST_ERROR = 600
"""Characters of an error; what lies in the middle of a longer one is cut."""
Result = dict[str, Any]
"""What --json prints of a piece or an edit; `why` is a line for people, `files` the paths that were written."""


def results(found: Sequence[Result], as_json: bool) -> None:
    """One or several results: as JSON (a list where there are several), else why and where."""
    if as_json:
        import json

        print(json.dumps(found[0] if len(found) == 1 else found, indent=1))
        return
    for result in found:
        print(result["why"])
        print("  " + "  ".join(result["files"]))


def error(message: str) -> None:
    """What went wrong, in one line."""
    line = " ".join(message.split())
    if len(line) > LONGEST_ERROR:
        line = f"{line[: LONGEST_ERROR // 2]} ... {line[-LONGEST_ERROR // 2 :]}"
    print(f"midivibe: error: {line}", file=sys.stderr)


def note(message: str) -> None:
    """Something to know, beside the result."""
    print(f"midivibe: note: {message}", file=sys.stderr)


def warn(message: str) -> None:
    """Something that is not as asked, or may surprise."""
    print(f"midivibe: warning: {message}", file=sys.stderr)


def vibe_values(vibe: Vibe) -> Result:
    """A vibe as JSON."""
    from midivibe.vibe.axes import AXES

    return {
        "axes": {a: round(v, 4) for a, v in zip(AXES, vibe.values, strict=True)},
        "confidence": {a: round(c, 3) for a, c in zip(AXES, vibe.confidence, strict=True)},
        "reasons": dict(vibe.reasons),
        "summary": vibe.describe(),
    }
