"""What may be asked for: one dataclass a command, with the default, range and help of every setting.

The command line makes its flags from these, `Studio` its arguments, and JSON its checks, so all three agree. Nothing heavy is
imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from midivibe.config import SampleConfig, StrictConfig, as_in, option

if TYPE_CHECKING:
    from midivibe.plan.plan import Plan
    from midivibe.vibe.axes import Vibe

MAX_BARS = 1024
ENCODERS = ("pixels", "clip")


@dataclass(frozen=True, kw_only=True)
class Wish(StrictConfig):
    """What every request may ask for; whatever is left out, the model or the seed decides."""

    text: str | None = option(None, 'words, such as "slow sad piano in D minor, 70 bpm"', metavar="WORDS")
    vibe: Vibe | str | None = option(
        None, "axes from 0 to 1, such as valence=0.2,density=0.8; overrides words and pictures", metavar="AXES"
    )
    seed: int | None = option(
        None, "the same seed gives the same notes; drawn at random if left out", low=0, high=2**63 - 1, metavar="N"
    )
    temperature: float | None = as_in(SampleConfig, "temperature")
    top_p: float | None = as_in(SampleConfig, "top_p")
    guidance: float | None = as_in(SampleConfig, "guidance")
    recall: float | None = as_in(SampleConfig, "recall")
    encoder: str = option("pixels", "how to read pictures: from their pixels, or with a CLIP model", choices=ENCODERS)


@dataclass(frozen=True, kw_only=True)
class Compose(Wish):
    """A piece from pictures, words or axes."""

    image: str | Path | Sequence[str | Path] | None = option(
        None, "a picture; with several, the mood moves from one to the next"
    )
    bars: int | None = option(
        None, "length in bars; default 16, or the length of the form or plan", low=1, high=MAX_BARS, metavar="N"
    )
    form: str | None = option(None, "sections and their bars, such as AABA or i4A8B8A8o4", metavar="FORM")
    chords: str | None = option(
        None,
        'chords that repeat, such as "Am F | C G" (| ends a bar), or by section: "A: Am F C G; B: F G Em Am"',
        metavar="CHORDS",
    )
    plan: Plan | str | Path | None = option(
        None, "follow this plan, as midivibe plan writes it; other flags change it", metavar="PLAN.json"
    )
    plan_from: str | Path | None = option(
        None, "follow the key, tempo, meter, form and chords of this song; other flags change them", metavar="SONG.mid"
    )
    tempo: float | None = option(
        None, "tempo; a beat is a quarter note", low=20, high=300, unit="beats a minute", metavar="BPM"
    )
    key: str | None = option(None, 'key, such as "D minor" or F#', metavar="KEY")
    time_signature: str | None = option(None, "time signature, such as 3/4 or 6/8", metavar="N/D")
    instruments: str | Sequence[int] | None = option(
        None, "instruments, such as piano,bass,drums, or General MIDI numbers from 0", metavar="LIST"
    )
    style: str | None = option(None, "style: rock, pop, country, rap, rnb, classic, games, folk or children", metavar="STYLE")


@dataclass(frozen=True, kw_only=True)
class EditWish(Wish):
    """What every edit of a file may ask for. The mood is the context's unless a picture, words or axes steer it."""

    image: str | Path | None = option(None, "a picture that sets the mood; otherwise the surrounding bars do", metavar="IMAGE")
    density: float | None = option(None, "density of the new notes, from sparse to dense", low=0, high=1, metavar="D")
    register: str | None = option(None, "low, mid, high, or two pitches such as C3-C5 (C4 is middle C)", metavar="R")
    chords: str | None = option(
        None, 'chords of the bars that are written, such as "Am F | C G" (| ends a bar); they repeat', metavar="CHORDS"
    )


@dataclass(frozen=True)
class Inpaint(EditWish):
    """Rewrite bars and tracks of a MIDI file, and change nothing else."""

    song: str | Path
    bars: str | Sequence[int] | None = option(
        None, "bars to rewrite, such as 9-12 or 1,5-8; every bar if only --tracks is given", metavar="BARS"
    )
    tracks: str | Sequence[str | int] | None = option(
        None, "tracks to rewrite: names, numbers from 1, or instruments; every track if only --bars is given", metavar="LIST"
    )
    keep_rhythm: bool = option(False, "keep the old onsets, durations and velocities; change only pitches")


@dataclass(frozen=True)
class Continue(EditWish):
    """Write bars after the end of a MIDI file, for the tracks that play there."""

    song: str | Path
    bars: int = option(8, "how many bars to write", low=1, high=512, metavar="N")


@dataclass(frozen=True)
class Accompany(EditWish):
    """Add tracks to a MIDI file, on free channels."""

    song: str | Path
    instruments: str | Sequence[int] = option(help="tracks to add, such as bass,drums", metavar="LIST")
    bars: str | None = option(None, "limit the new tracks to these bars, e.g. 9-12", metavar="BARS")


@dataclass(frozen=True)
class Vary(EditWish):
    """Rewrite a share of the cells of a MIDI file, close to what they were where the share is small."""

    song: str | Path
    amount: float = option(0.3, "share of the cells (one bar of one track) to rewrite", low=0, high=1, metavar="A")
    bars: str | None = option(None, "limit the edit to these bars, e.g. 9-12", metavar="BARS")
    tracks: str | Sequence[str | int] | None = option(
        None, "limit the edit to these tracks: names, numbers from 1, or instruments", metavar="LIST"
    )
    keep_rhythm: bool = option(False, "keep the old onsets, durations and velocities; change only pitches")


EditRequest = Inpaint | Continue | Accompany | Vary

__all__ = ["Accompany", "Compose", "Continue", "EditRequest", "EditWish", "Inpaint", "Vary", "Wish"]
