"""What may be asked for: one dataclass a command, with the default, range and help of every setting.

The command line makes its flags from these, `Studio` its arguments, and JSON its checks, so all three agree. Nothing heavy is
imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from midivibe.config import StrictConfig, option

if TYPE_CHECKING:
    from midivibe.vibe.axes import Vibe

MAX_BARS = 1024
ENCODERS = ("pixels", "clip")


@dataclass(frozen=True, kw_only=True)
class Wish(StrictConfig):
    """What every request may ask for; whatever is left out, the model or the seed decides."""

    text: str | None = option(None, 'words, such as "slow sad piano in D minor, 70 bpm"', metavar="WORDS")
    vibe: Vibe | str | None = option(None, "axes, such as valence=0.2,density=0.8; beats words and picture", metavar="AXES")
    seed: int | None = option(None, "the same seed gives the same notes", low=0, high=2**63 - 1, metavar="N")
    temperature: float | None = option(None, "0 is the likeliest note each time, 1 as trained", low=0, high=5, metavar="T")
    top_p: float | None = option(None, "draw among the likeliest tokens that reach this share", low=0.01, high=1, metavar="P")
    guidance: float | None = option(None, "above 1 follows the vibe more strictly", low=0, high=10, metavar="G")
    recall: float | None = option(
        None, "how far bars imitate similar bars of the same music, 0 to 1", low=0, high=1, metavar="R"
    )
    encoder: str = option("pixels", "how pictures are read", choices=ENCODERS)


@dataclass(frozen=True, kw_only=True)
class Compose(Wish):
    """A piece from pictures, words or axes."""

    image: str | Path | Sequence[str | Path] | None = option(None, "a picture; several make a journey through the bars")
    bars: int | None = option(None, "exact length in bars: 16, or what the form has", low=1, high=MAX_BARS, metavar="N")
    form: str | None = option(None, "sections and their bars, such as AABA or i4A8B8A8o4", metavar="FORM")
    chords: str | None = option(
        None, 'such as "Am F | C G" (| ends a bar; it loops), or by section: "A: Am F C G; B: F G Em Am"', metavar="CHORDS"
    )
    tempo: float | None = option(None, "beats (quarter notes) a minute", low=20, high=300, unit="beats a minute", metavar="BPM")
    key: str | None = option(None, 'such as "D minor" or F#', metavar="KEY")
    time_signature: str | None = option(None, "such as 3/4 or 6/8", metavar="N/D")
    instruments: str | Sequence[int] | None = option(
        None, "such as piano,bass,drums, or General MIDI numbers from 0", metavar="LIST"
    )
    style: str | None = option(None, "rock, pop, country, rap, rnb, classic, games, folk, children", metavar="STYLE")


@dataclass(frozen=True, kw_only=True)
class EditWish(Wish):
    """What every edit of a file may ask for. The mood is the context's unless a picture, words or axes steer it."""

    image: str | Path | None = option(None, "a picture that steers the mood; otherwise the context does", metavar="IMAGE")
    density: float | None = option(None, "density of the new notes, 0 to 1", low=0, high=1, metavar="D")
    register: str | None = option(None, "low, mid, high, or two pitches as in C3-C5", metavar="R")


@dataclass(frozen=True)
class Inpaint(EditWish):
    """Rewrite bars and tracks of a MIDI file, and change nothing else."""

    song: str | Path
    bars: str | Sequence[int] | None = option(None, "such as 9-12 or 1,5-8; every bar if only tracks are named", metavar="BARS")
    tracks: str | Sequence[str | int] | None = option(
        None, "names, numbers from 1, or instruments; every track if only bars are named", metavar="LIST"
    )
    keep_rhythm: bool = option(False, "new pitches on the old onsets")


@dataclass(frozen=True)
class Continue(EditWish):
    """Write bars after the end of a MIDI file, for the tracks that play there."""

    song: str | Path
    bars: int = option(8, "how many bars to write", low=1, high=512, metavar="N")


@dataclass(frozen=True)
class Accompany(EditWish):
    """Add tracks to a MIDI file, on free channels."""

    song: str | Path
    instruments: str | Sequence[int] = option(help="such as bass,drums", metavar="LIST")
    bars: str | None = option(None, "limit the new tracks to these bars, e.g. 9-12", metavar="BARS")


@dataclass(frozen=True)
class Vary(EditWish):
    """Rewrite a share of the cells of a MIDI file, close to what they were where the share is small."""

    song: str | Path
    amount: float = option(0.3, "share of the cells to rewrite, 0 (as it was) to 1 (all new)", low=0, high=1, metavar="A")
    bars: str | None = option(None, "limit the edit to these bars, e.g. 9-12", metavar="BARS")
    tracks: str | Sequence[str | int] | None = option(None, "limit the edit to these tracks", metavar="LIST")
    keep_rhythm: bool = option(False, "new pitches on the old onsets")


EditRequest = Inpaint | Continue | Accompany | Vary

__all__ = ["Accompany", "Compose", "Continue", "EditRequest", "EditWish", "Inpaint", "Vary", "Wish"]
