"""Half a song → a whole one: inpaint, continue, accompany and vary, all of them holes in an existing file.

    file → Song → Canvas: windows with Hole tokens → z ~ q(z | context) → fills under the grammar → splice → the same file

`Studio` has the entry points; what is here turns a request into pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from symusic import Note, Score, Tempo, TimeSignature, Track

from midivibe.config import SampleConfig
from midivibe.errors import InputError, MidiError
from midivibe.files import replacing
from midivibe.midi.instruments import name_of, parse_instruments
from midivibe.midi.notes import DRUMS, Notes, concatenate
from midivibe.midi.smf import MidiFile, read_file
from midivibe.midi.song import NewNote, Part, Song, parse_bars, runs_of
from midivibe.midi.splice import Change, fit_between, new_part, splice
from midivibe.threads import side_by_side
from midivibe.tokens import layout
from midivibe.tokens.grammar import Grammar, Rules
from midivibe.tokens.holes import Window, coordinates
from midivibe.tokens.vocabulary import (
    BAR,
    EOS,
    PITCH,
    Vocabulary,
)
from midivibe.vibe.axes import AXES, Vibe
from midivibe.vibe.music import vibe_of
from midivibe.writing.canvas import Canvas, View
from midivibe.writing.recall import RECALLED_BARS, Recall

CANDIDATES = 4
"""Ways in which a hole is filled, of which the one that agrees most with the others is taken."""
FEW_CELLS = 64
"""Holes of more cells are filled once; with recall, what is long repeats itself anyway."""
ROWS = 32
"""Most fills that are written side by side."""
FEWEST_NOTES = 8
"""Notes from which on a vibe is heard in them."""
FULLNESS = ("density", "contrast")
"""Axes that a missing part changes most."""
REGISTERS = {"low": (28, 55), "mid": (48, 76), "high": (67, 96)}


class EditWishes(TypedDict, total=False):
    """What may be asked for when a file is rewritten."""

    image: str | Path | None
    text: str | None
    vibe: Vibe | str | None
    seed: int | None
    density: float | None
    """0 to 1, as the vibe's density axis, for the new notes"""
    register: str | None
    """low, mid, high, or two pitches as in "C3-C5", for new notes that have a pitch"""
    keep_rhythm: bool
    """new pitches on the old onsets"""
    temperature: float | None
    top_p: float | None
    guidance: float | None
    recall: float | None
    encoder: str


@dataclass(frozen=True)
class Request:
    """A file with cells to fill: which bars (of the file, from 0) of which part, and how."""

    song: Song
    parts: list[Part]
    """all parts, new ones at the end"""
    holes: dict[int, list[int]]
    """part number → bars to be written"""
    seed: int
    steering: Vibe = field(default_factory=Vibe)
    sampling: SampleConfig = field(default_factory=SampleConfig)
    register: tuple[int, int] | None = None
    keep_rhythm: bool = False
    amount: float | None = None
    """None where z comes from the context; else z comes from the original and this much of its posterior's noise"""
    look_ahead: bool = True
    """whether the bars after a hole are read; off to measure what they are worth"""
    candidates: int = CANDIDATES
    title: str = "midivibe"
    command: dict[str, Any] = field(default_factory=dict)

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
        self, request: Request, file: MidiFile, new: dict[int, list[NewNote]], vibe: Vibe, settings: dict[str, Any],
        warnings: Sequence[str] = (),
    ):  # fmt: skip
        self.request, self.data, self.new, self.vibe, self.settings = request, file.to_bytes(), new, vibe, settings
        self.song = Song(file)
        self.title, self.warnings = request.title, [*request.song.file.warnings, *warnings]

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
        bars = [b for part_bars in self.request.holes.values() for b in part_bars] or [0]
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
        for part in self.request.parts:
            index = place.get((part.track, part.channel))
            fresh |= {(index, n.start, n.pitch) for n in self.new.get(part.number, ()) if index is not None}
        first, last = self.bars
        bars = (max(0, first - 1 - context), max(min(self.song.bars, last + context), 1))
        marked = [
            (int(self.song.bar_start[a]), int(self.song.bar_start[b]))
            for a, b in runs_of(sorted({b for held in self.request.holes.values() for b in held}))
            if b <= self.song.bars
        ]
        plot_score(self.score, path, self.title, self.why(), new=frozenset(fresh), bars=bars, marked=marked)
        return Path(path)

    def why(self) -> str:
        """One line: what was written, and from which mood."""
        if not any(self.request.holes.values()):
            return "nothing was to be changed"
        first, last = self.bars
        names = [p.shown for p in self.request.parts if self.request.holes.get(p.number)]
        count = sum(map(len, self.new.values()))
        bars = f"bar {first}" if first == last else f"bars {first}-{last}"
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        return f"{bars} of {shown}: {count} new notes; {self.vibe.describe()}"


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


# Requests --------------------------------------------------------------------------------------------------------------


def open_song(path: str | Path, more_bars: int = 0) -> Song:
    """Read a file to edit; raises MidiError where it has no notes, or as `read_file`."""
    song = Song(read_file(path), more_bars)
    if not song.parts:
        damage = f" ({song.file.warnings[0]})" if song.file.warnings else ""
        raise MidiError(f"{path} has no notes{damage}")
    return song


def inpaint_request(path: str | Path, bars: str | Sequence[int] | None = None, tracks: Any = None, **how: Any) -> Request:
    """The cells of some bars (from 1; all where None) and tracks (all where None)."""
    song = open_song(path)
    if bars is None and tracks is None:
        raise InputError("nothing is selected; name --bars, --tracks or both")
    text = bars if isinstance(bars, str) else ",".join(str(b) for b in bars) if bars is not None else f"1-{song.bars}"
    chosen, parts = parse_bars(text, song.bars), song.select(tracks)
    command = {"command": "inpaint", "bars": text, "tracks": [str(p) for p in parts] if tracks is not None else None}
    return Request(song, list(song.parts), {p.number: chosen for p in parts}, command=command, **how)


def continue_request(path: str | Path, bars: int = 8, **how: Any) -> Request:
    """New bars after the end, for the parts that play in the last eight."""
    if not 1 <= bars <= 512:
        raise InputError(f"bars is {bars}; it must be from 1 to 512")
    song = open_song(path, more_bars=bars)
    new = list(range(song.bars - bars, song.bars))
    since = int(song.bar_start[max(0, song.bars - bars - 8)])
    playing = [p for p in song.parts if p.notes[-1].start >= since] or list(song.parts)
    return Request(
        song, list(song.parts), {p.number: new for p in playing}, command={"command": "continue", "bars": bars}, **how
    )


def accompany_request(path: str | Path, instruments: str | Sequence[int], bars: str | None = None, **how: Any) -> Request:
    """New tracks, each on a channel of its own."""
    programs = parse_instruments(instruments)
    song = open_song(path)
    chosen = parse_bars(bars, song.bars) if bars is not None else list(range(song.bars))
    parts, file = list(song.parts), song.file
    taken: set[int] = set()
    for program in programs:
        part, events = new_part(song, program, taken)
        file = file.with_new_track(events)
        part = replace(part, track=len(file.tracks) - 1, number=len(parts) + 1)
        taken.add(part.channel)
        parts.append(part)
    wider = Song(file)
    holes = {p.number: chosen for p in parts[len(song.parts) :]}
    command = {"command": "accompany", "instruments": [name_of(p) for p in programs], "bars": bars}
    return Request(wider, [*wider.parts, *parts[len(song.parts) :]], holes, command=command, **how)


def vary_request(
    path: str | Path, amount: float = 0.3, bars: str | None = None, tracks: Any = None, *, seed: int, **how: Any
) -> Request:
    """A share `amount` of the cells that hold notes, drawn at random."""
    if not 0 <= amount <= 1:
        raise InputError(f"amount is {amount:g}; it must be from 0 (as it was) to 1 (all new)")
    song = open_song(path)
    chosen = set(parse_bars(bars, song.bars)) if bars is not None else set(range(song.bars))
    cells = sorted({(p.number, int(b)) for p in song.select(tracks) for b in song.bar_of([n.start for n in p.notes])})
    cells = [c for c in cells if c[1] in chosen]
    if not cells:
        raise InputError("there are no notes in these bars and tracks")
    rng = np.random.default_rng([seed, 2])
    count = 0 if amount == 0 else max(1, round(amount * len(cells)))
    holes: dict[int, list[int]] = {}
    for i in sorted(rng.permutation(len(cells))[:count].tolist()):
        holes.setdefault(cells[i][0], []).append(cells[i][1])
    command = {"command": "vary", "amount": amount, "bars": bars}
    return Request(song, list(song.parts), holes, seed=seed, amount=amount, command=command, **how)


# Filling ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt:
    """What a window's fill is written from: ids of the context up to SEP, the ids that the guide reads, and how."""

    grammar: Grammar
    context: list[int]
    read: list[int]
    vibe: Vibe
    shift: int
    """semitones from the song's key to the modelled one"""
    recall: Recall | None


class Filling:
    """One variation while it is written."""

    def __init__(self, request: Request, v: Vocabulary, blank: Canvas, seed: int, candidate: int = 0) -> None:
        self.request, self.v, self.seed = request, v, seed
        self.canvas = copy(blank)  # its notes are replaced, never changed; its cells are closed one by one
        self.canvas.cells = set(blank.cells)
        self.hole = {bar for bar, _ in blank.cells}
        self.taken = np.zeros(blank.bars)
        """how often each bar was what a bar of the hole was taken from"""
        drawn, noise = (seed, [seed, 1]) if candidate == 0 else ([seed, 4, candidate], [seed, 5, candidate])
        self.generator = np.random.Generator(np.random.PCG64(drawn))
        self._noise = np.random.Generator(np.random.PCG64(noise)).standard_normal(4096).astype(np.float32)
        self.vibe: Vibe | None = None
        """of the first window"""

    def prompt(self, view: View) -> Prompt:
        """The prompt of a window."""
        v, canvas, request = self.v, self.canvas, self.request
        shift, mode = canvas.shift(view)
        kept = canvas.window_notes(view)
        header = layout.Header(
            tuple(view.order), "other", mode, kept.bar_meter[0], float(kept.bar_tempo[0]),
            start=view.first == 0, end=view.last == canvas.bars,
        ).ids(v)  # fmt: skip
        window = Window.cut(layout.encode(layout.transpose(kept, shift), v, view.order)[0], v)
        context = [*header, *window.context(view.order, view.cells, v).tolist()]
        read = context
        original = canvas.original_notes(view)
        if request.amount is not None:
            read = [*header, *layout.encode(layout.transpose(original, shift), v, view.order)[0].tolist()]
        vibe = self._heard(kept, view.first).override(request.steering)
        by_bar: dict[int, list[int]] = {}
        for bar, program in sorted(view.cells):
            by_bar.setdefault(bar, []).append(program)
        rhythm = self._rhythm(view, layout.transpose(original, shift)) if request.keep_rhythm else None

        def limits(_: str, program: int) -> tuple[int, int]:
            low, high = canvas.pitch_limits(program, request.register)
            if program == DRUMS:
                return low, high
            octave = 12 * ((high + shift < 0) - (low + shift > 127))  # the lowest and highest notes there are
            return low + shift + octave, high + shift + octave

        rules = Rules(
            bars=view.last - view.first, programs=tuple(view.order), start=view.first == 0, end=view.last == canvas.bars,
            must_fill=self._must_fill(view), rhythm=rhythm, pitches=limits, max_bar_tokens=250,
        )  # fmt: skip
        fill = [(bar, tuple(p for p in view.order if p in by_bar[bar])) for bar in sorted(by_bar)]
        self.vibe = self.vibe or vibe
        recall = self._recall(view, shift, fill) if request.recalls else None
        return Prompt(Grammar(v, rules, fill), context, read, vibe, shift, recall)

    def _recall(self, view: View, shift: int, fill: list[tuple[int, tuple[int, ...]]]) -> Recall:
        """What the bars around the window hold, more of them than it does."""
        canvas = self.canvas
        ahead = RECALLED_BARS if self.request.look_ahead else 0
        low, high = max(0, view.first - RECALLED_BARS), min(canvas.bars, view.last + ahead)
        notes = layout.transpose(canvas.notes.window(low, high, set(view.order), cut=False), shift)
        cells = Window.cut(layout.encode(notes, self.v, view.order)[0], self.v).cells
        had = {canvas.program_of[p.number] for p in self.request.parts if p.notes}
        open_ = {
            (bar - low, p) for bar in range(low, high) for p in view.order
            if (bar, p) in canvas.cells or (p not in had and bar not in self.hole)  # a new part does not rest: it is new
        }  # fmt: skip
        here = [(bar + view.first - low, programs) for bar, programs in fill]
        hole = [bar - low for bar in range(low, high) if bar in self.hole]
        return Recall(self.v, cells, view.order, open_, here, hole, self.taken[low:high])

    def _heard(self, kept: Notes, first: int) -> Vibe:
        """The vibe of the bars of a window that no hole touches.

        Where they hold too little, that of all that is kept, except what depends on how much sounds: it lacks what is to
        come, and the model, trained on whole windows, would write too little.
        """
        bars = [b for b in range(kept.bars) if b + first not in self.hole]
        outside = [kept.window(a, b) for a, b in runs_of(bars)]
        if len(bars) >= 2 and sum(map(len, outside)) >= FEWEST_NOTES:
            return vibe_of(concatenate(outside))
        heard = vibe_of(kept if len(kept) >= FEWEST_NOTES else self.canvas.notes)
        sure = tuple(0.0 if axis in FULLNESS else c for axis, c in zip(AXES, heard.confidence, strict=True))
        return replace(heard, confidence=sure)

    def _must_fill(self, view: View) -> frozenset[int]:
        """Parts that may not stay silent: new ones, those that had notes here; all of them where none did."""
        programs = {p for _, p in view.cells}
        had = set(self.canvas.erased.window(view.first, view.last, programs).program.tolist())
        fresh = {self.canvas.program_of[p.number] for p in self.request.parts if not p.notes}
        return frozenset((had | fresh) & programs or programs)

    def _rhythm(self, view: View, original: Notes) -> dict[tuple[int, int], list[int]]:
        window = Window.cut(layout.encode(original, self.v, view.order)[0], self.v)
        return {(b, p): window.cells[b][p].tolist()[1:] for b, p in view.cells if p in window.cells[b]}

    def latent(self, engine: Any, read: list[int]) -> np.ndarray:
        """z from the guide: its mean, and the variation's own draw of its noise, (Z,)."""
        mean, sd = engine.posterior(read, coordinates(np.array(read), self.v))
        scale = 1.0 if self.request.amount is None else self.request.amount
        return (mean + scale * sd * self._noise[: engine.latents]).astype(np.float32)

    def close(self, view: View, prompt: Prompt, written: list[int]) -> None:
        """Put what was written into the canvas; a bar that the window's end cut off is written again."""
        v = self.v
        whole = bool(written) and v.entries[written[-1]][0] == EOS
        begun = sum(v.entries[t][0] == BAR for t in written)
        decoded = layout.decode([*prompt.context, *written], v).fill
        assert decoded is not None
        self.canvas.fill(view, layout.transpose(decoded, -prompt.shift), begun if whole else max(begun - 1, 1))
        self.canvas.drop_silent(view)


def perform(studio: Any, request: Request, variations: int = 1, on_bar: Callable[[int, int], None] | None = None) -> list[Edit]:
    """Fill the holes of a request, as often as `variations` says, side by side; the seed counts up."""
    fillings = fill(studio.engine, studio.vocabulary, request, variations, on_bar)
    return [_edit(request, f, studio.name) for f in fillings]


def fill(
    engine: Any, v: Vocabulary, request: Request, variations: int, on_bar: Callable[[int, int], None] | None = None
) -> list[Filling]:
    """Write the open cells of a request window by window; of each variation the candidate that the others agree with most."""

    blank = _blank(request, v)
    cells = len(blank.cells)
    candidates = request.candidates if cells <= FEW_CELLS else 1
    at_once = max(1, ROWS // candidates)
    chosen: list[Filling] = []
    for first in range(0, variations, at_once):
        seeds = [(request.seed + i) % 2**63 for i in range(first, min(first + at_once, variations))]
        batch = [Filling(request, v, blank, seed, c) for seed in seeds for c in range(candidates)]

        def report(batch: list[Filling] = batch, done: int = first * candidates * cells) -> None:
            if on_bar:
                on_bar(done + sum(cells - len(f.canvas.cells) for f in batch), variations * candidates * cells)

        lanes = engine.lanes(len(batch))
        side_by_side([_turns(one, v, request, batch[i :: len(lanes)], report) for i, one in enumerate(lanes)])
        chosen += [_agreed(batch[i : i + candidates]) for i in range(0, len(batch), candidates)]
    return chosen


def _blank(request: Request, v: Vocabulary) -> Canvas:
    """The song with its holes open."""
    erased = {number: set(bars) for number, bars in request.holes.items()}
    canvas = Canvas(request.song, v, request.parts, lambda bar, part: bar in erased.get(part.number, ()))
    if request.keep_rhythm:  # where nothing sounded, nothing is to sound
        bar = np.searchsorted(canvas.grid_start, canvas.erased.onset, side="right") - 1
        canvas.cells &= set(zip(bar.tolist(), canvas.erased.program.tolist(), strict=True))
    return canvas


def _agreed(fillings: list[Filling]) -> Filling:
    """The one whose notes the others share most, by F1: the choice of least expected error (Kumar & Byrne 2004)."""
    written = [f.canvas.written for f in fillings]
    notes = [set(zip(w.onset.tolist(), w.program.tolist(), w.pitch.tolist(), strict=True)) for w in written]
    shared = [sum(2 * len(a & b) / max(len(a) + len(b), 1) for b in notes) for a in notes]
    return fillings[int(np.argmax(shared))]


def _turns(engine: Any, v: Vocabulary, request: Request, fillings: list[Filling], report: Callable[[], None]) -> Iterator[None]:
    """Fill until nothing is open; a turn is an id of one of the fillings."""
    from midivibe.writing.sampling import filters_of, prefill, write

    filters = filters_of(request.sampling, v.mask[PITCH])
    while True:
        views = [(f, f.canvas.next_view(engine.block_size, request.look_ahead)) for f in fillings]
        open_ = [(f, view) for f, view in views if view is not None]
        if not open_:
            return
        prompts = [f.prompt(view) for f, view in open_]
        z = [f.latent(engine, prompt.read) for (f, _), prompt in zip(open_, prompts, strict=True)]
        engine.begin(np.stack(z), np.stack([p.vibe.array() for p in prompts]), request.sampling.guidance)
        logits = [prefill(engine, row, p.context, p.grammar) for row, p in enumerate(prompts)]
        written: list[list[int]] = [[] for _ in open_]
        room = [engine.block_size - len(p.context) - 2 for p in prompts]

        sampling = request.sampling
        recalls = [p.recall for p in prompts if p.recall]

        def done(row: int, token: int, written: list[list[int]] = written, room: list[int] = room) -> bool:
            written[row].append(token)
            return v.entries[token][0] == EOS or len(written[row]) >= room[row]

        for _ in write(
            engine,
            [p.grammar for p in prompts],
            logits,
            filters,
            [f.generator for f, _ in open_],
            done,
            recalls,
            sampling.recall,
        ):
            yield
        for (filling, view), prompt, ids in zip(open_, prompts, written, strict=True):
            filling.close(view, prompt, ids)
        report()


def _edit(request: Request, filling: Filling, checkpoint: str) -> Edit:
    song, vibe = request.song, filling.vibe or Vibe()
    rng = np.random.Generator(np.random.PCG64([filling.seed, 3]))
    changes: list[Change] = []
    for part in request.parts:
        if bars := request.holes.get(part.number):
            ticks = [(int(song.bar_start[a]), int(song.bar_start[b])) for a, b in runs_of(bars)]
            changes.append((part, ticks, filling.canvas.new_notes(part, bars, rng, request.keep_rhythm)))
    beyond = request.command.get("command") == "continue"
    fitted = fit_between(song, changes, beyond)
    late = [str(p) for p, ticks, _ in fitted if not beyond and 0 < song.file.tracks[p.track].end <= ticks[0][0]]
    warnings = [f"track {name} has ended before these bars; nothing was written there" for name in late]
    new = {part.number: list(notes) for part, _, notes in fitted}
    if any(request.holes.values()) and not any(new.values()) and not warnings:
        warnings = ["no note was found that fits between those that sound there; the cells are empty now"]
    settings = {
        **request.command, "seed": filling.seed, "checkpoint": checkpoint, "vibe": dict(zip(AXES, vibe.values, strict=True)),
        "notes": sum(map(len, new.values())),
    }  # fmt: skip
    return Edit(replace(request, seed=filling.seed), splice(song, fitted), new, vibe, settings, warnings)


__all__ = ["Edit", "EditWishes", "Request", "fill", "perform"]
