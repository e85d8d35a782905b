"""Half a song → a whole one: what is asked of a file, which of its cells that opens, and the file that comes out.

Inpaint, Continue, Accompany, Vary → Job: a song with open cells → (writing.filling) → Edit
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Note, Score, Tempo, TimeSignature, Track

from midivibe.config import SampleConfig
from midivibe.errors import InputError, MidiError
from midivibe.files import replacing
from midivibe.midi.instruments import name_of, parse_instruments
from midivibe.midi.notes import DRUMS
from midivibe.midi.smf import MidiFile, read_file
from midivibe.midi.song import NewNote, Part, Song, runs_of
from midivibe.midi.song import parse_bars as parse_numbers
from midivibe.midi.splice import new_part
from midivibe.plan.plan import BarChords, parse_bars
from midivibe.requests import Accompany, Continue, EditRequest, Inpaint, Vary
from midivibe.vibe.axes import Vibe

CANDIDATES = 4
"""Ways in which a hole is filled, of which the one that agrees most with the others is taken. On 40 validation songs: F1 .447
with eight, .415 with one (docs/ablations.md)."""
RECENT_BARS = 8
"""Last bars of a song in which a part must play for `continue` to go on with it."""
REGISTERS = {"low": (28, 55), "mid": (48, 76), "high": (67, 96)}
Cells = dict[int, list[int]]
"""part number → bars of the file, from 0"""


@dataclass(frozen=True)
class Job:
    """A song with cells to be filled, and how."""

    song: Song
    parts: list[Part]
    """all parts, new ones at the end"""
    holes: Cells
    seed: int
    steering: Vibe = field(default_factory=Vibe)
    sampling: SampleConfig = field(default_factory=SampleConfig)
    register: tuple[int, int] | None = None
    """lowest and highest pitch of new notes"""
    chords: tuple[BarChords, ...] = ()
    """progression that the bars of the hole follow, from its first bar on; without it they keep theirs"""
    keep_rhythm: bool = False
    amount: float | None = None
    """None where z comes from the context; else z comes from the original and this much of its posterior's noise"""
    look_ahead: bool = True
    """whether the bars after a hole are read; off to measure what they are worth"""
    candidates: int = CANDIDATES
    title: str = "midivibe"
    command: dict[str, Any] = field(default_factory=dict)
    """what was asked, for the settings file"""

    @property
    def recalls(self) -> bool:
        """Whether bars like those of the hole have a say: not on a kept rhythm, which they need not share."""
        return self.sampling.recalls and not self.keep_rhythm


class Edit:
    """An edited file: `data` are its bytes, `score` its notes a part, `new` the notes that were put in by part number.

    `vibe` is what was asked or heard in the context; `warnings` say what of a damaged input could not be read, and what
    could not be written.
    """

    def __init__(
        self, job: Job, file: MidiFile, new: dict[int, list[NewNote]], vibe: Vibe, settings: dict[str, Any],
        warnings: Sequence[str] = (),
    ):  # fmt: skip
        self.job, self.data, self.new, self.vibe, self.settings = job, file.to_bytes(), new, vibe, settings
        self.song = Song(file)
        self.title, self.warnings = job.title, [*job.song.file.warnings, *warnings]

    @property
    def score(self) -> Score:
        """The notes as a Score: one track a part, in the file's order."""
        song = self.song
        score = Score(song.ticks_per_beat)
        for bar in range(song.bars):
            if bar == 0 or song.meters[bar] != song.meters[bar - 1]:
                score.time_signatures.append(TimeSignature(int(song.bar_start[bar]), *song.meters[bar]))
            if bar == 0 or song.tempos[bar] != song.tempos[bar - 1]:
                score.tempos.append(Tempo(int(song.bar_start[bar]), float(song.tempos[bar])))
        for part in song.parts:
            track = Track(part.name or name_of(part.program), max(part.program, 0), part.program == DRUMS)
            for n in part.notes:
                track.notes.append(Note(n.start, max(n.end - n.start, 1), n.pitch, n.velocity))
            score.tracks.append(track)
        return score

    @property
    def bars(self) -> tuple[int, int]:
        """First and last bar, from 1, that were written."""
        bars = [b for part_bars in self.job.holes.values() for b in part_bars] or [0]
        return min(bars) + 1, max(bars) + 1

    def save(self, path: str | Path) -> Path:
        """Write the file; raises OutputError."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.data)
        return Path(path)

    def render(self, path: str | Path, soundfont: str | Path | None = None) -> Path:
        """Write audio; raises AudioError, SoundfontError or OutputError."""
        from midivibe.output.audio import render_score

        render_score(Score.from_midi(self.data), path, soundfont)  # with its controllers and bends
        return Path(path)

    def plot(self, path: str | Path, context: int = 8) -> Path:
        """Write a piano roll of the new notes, in red, with `context` bars on both sides; raises OutputError."""
        from midivibe.output.pianoroll import plot_score

        place = {(p.track, p.channel): i for i, p in enumerate(self.song.parts)}
        fresh = set()
        for part in self.job.parts:
            index = place.get((part.track, part.channel))
            fresh |= {(index, n.start, n.pitch) for n in self.new.get(part.number, ()) if index is not None}
        first, last = self.bars
        bars = (max(0, first - 1 - context), max(min(self.song.bars, last + context), 1))
        marked = [
            (int(self.song.bar_start[a]), int(self.song.bar_start[b]))
            for a, b in runs_of(sorted({b for held in self.job.holes.values() for b in held}))
            if b <= self.song.bars
        ]
        plot_score(self.score, path, self.title, self.why(), new=frozenset(fresh), bars=bars, marked=marked)
        return Path(path)

    def why(self) -> str:
        """One line: what was written, and from which mood."""
        if not any(self.job.holes.values()):
            return "nothing was to be changed"
        first, last = self.bars
        names = [p.shown for p in self.job.parts if self.job.holes.get(p.number)]
        count, fresh = sum(map(len, self.new.values())), self.fresh
        bars = f"bar {first}" if first == last else f"bars {first}-{last}"
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        said = f"{fresh} of {count} notes are new" if fresh < count else f"{count} new notes"
        return f"{bars} of {shown}: {said}; {self.vibe.describe()}"

    @property
    def fresh(self) -> int:
        """How many of the notes that were put in did not stand there: no note of that pitch on that sixteenth of that part."""
        sixteenth, count = self.job.song.ticks_per_beat / 4, 0
        for part in self.job.parts:
            stood = {(round(n.start / sixteenth), n.pitch) for n in part.notes}
            count += sum((round(n.start / sixteenth), n.pitch) not in stood for n in self.new.get(part.number, ()))
        return count


# From what is asked to cells -------------------------------------------------------------------------------------------


def parse_register(text: str) -> tuple[int, int]:
    """ "low", "mid", "high" or "C3-C5" (middle C is C4) → lowest and highest pitch; raises InputError."""
    if text.lower() in REGISTERS:
        return REGISTERS[text.lower()]
    match = re.fullmatch(r"\s*([A-Ga-g][#b]?)(-?\d)\s*-\s*([A-Ga-g][#b]?)(-?\d)\s*", text)
    if match:
        low, high = (
            "C D EF G A B".index(n[0].upper()) + n.count("#") - n[1:].count("b") + 12 * (int(o) + 1)
            for n, o in (match.groups()[:2], match.groups()[2:])
        )
        if 0 <= low < high <= 127 and high - low >= 7:
            return low, high
    raise InputError(f"register {text!r}: write low, mid, high, or two pitches at least a fifth apart, as in C3-C5")


def open_song(path: str | Path, more_bars: int = 0) -> Song:
    """Read a file to edit; raises MidiError where it has no notes, or as `read_file`."""
    song = Song(read_file(path), more_bars)
    if not song.parts:
        damage = f" ({song.file.warnings[0]})" if song.file.warnings else ""
        raise MidiError(f"{path} has no notes{damage}")
    return song


def job_of(request: EditRequest, seed: int, steering: Vibe, sampling: SampleConfig) -> Job:
    """The song of a request with its cells open; raises InputError or MidiError where they cannot be."""
    match request:
        case Inpaint():
            song, parts, holes, command = _inpainted(request)
        case Continue():
            song, parts, holes, command = _continued(request)
        case Accompany():
            song, parts, holes, command = _accompanied(request)
        case Vary():
            song, parts, holes, command = _varied(request, seed)
    if request.chords is not None:
        command["chords"] = request.chords
    return Job(
        song, parts, holes, seed, steering, sampling,
        register=parse_register(request.register) if request.register is not None else None,
        chords=tuple(parse_bars(request.chords)) if request.chords is not None else (),
        keep_rhythm=isinstance(request, Inpaint | Vary) and request.keep_rhythm,
        amount=request.amount if isinstance(request, Vary) else None, title=Path(request.song).stem, command=command,
    )  # fmt: skip


Opened = tuple[Song, list[Part], Cells, dict[str, Any]]


def _inpainted(request: Inpaint) -> Opened:
    """The cells of some bars (all where None) and tracks (all where None)."""
    song, bars, tracks = open_song(request.song), request.bars, request.tracks
    if bars is None and tracks is None:
        raise InputError("nothing is selected; name --bars, --tracks or both")
    text = bars if isinstance(bars, str) else ",".join(str(b) for b in bars) if bars is not None else f"1-{song.bars}"
    chosen, parts = parse_numbers(text, song.bars), song.select(tracks)
    command = {"command": "inpaint", "bars": text, "tracks": [str(p) for p in parts] if tracks is not None else None}
    return song, list(song.parts), {p.number: chosen for p in parts}, command


def _continued(request: Continue) -> Opened:
    """New bars after the end, for the parts that play in the last eight."""
    bars = request.bars
    song = open_song(request.song, more_bars=bars)
    new = list(range(song.bars - bars, song.bars))
    since = int(song.bar_start[max(0, song.bars - bars - RECENT_BARS)])
    playing = [p for p in song.parts if p.notes[-1].start >= since] or list(song.parts)
    return song, list(song.parts), {p.number: new for p in playing}, {"command": "continue", "bars": bars}


def _accompanied(request: Accompany) -> Opened:
    """New tracks, each on a channel of its own."""
    programs = parse_instruments(request.instruments)
    song = open_song(request.song)
    chosen = parse_numbers(request.bars, song.bars) if request.bars is not None else list(range(song.bars))
    parts, file = list(song.parts), song.file
    taken: set[int] = set()
    for program in programs:
        part, events = new_part(song, program, taken)
        file = file.with_new_track(events)
        parts.append(replace(part, track=len(file.tracks) - 1, number=len(parts) + 1))
        taken.add(part.channel)
    wider = Song(file)
    new = parts[len(song.parts) :]
    command = {"command": "accompany", "instruments": [name_of(p) for p in programs], "bars": request.bars}
    return wider, [*wider.parts, *new], {p.number: chosen for p in new}, command


def _varied(request: Vary, seed: int) -> Opened:
    """A share `amount` of the cells that hold notes, drawn at random."""
    song, bars, amount = open_song(request.song), request.bars, request.amount
    chosen = set(parse_numbers(bars, song.bars)) if bars is not None else set(range(song.bars))
    cells = sorted({(p.number, int(b)) for p in song.select(request.tracks) for b in song.bar_of([n.start for n in p.notes])})
    cells = [c for c in cells if c[1] in chosen]
    if not cells:
        raise InputError("there are no notes in these bars and tracks")
    rng = np.random.default_rng([seed, 2])
    count = 0 if amount == 0 else max(1, round(amount * len(cells)))
    holes: Cells = {}
    for i in sorted(rng.permutation(len(cells))[:count].tolist()):
        holes.setdefault(cells[i][0], []).append(cells[i][1])
    return song, list(song.parts), holes, {"command": "vary", "amount": amount, "bars": bars}


__all__ = ["Edit", "Job", "job_of", "open_song", "parse_register"]
