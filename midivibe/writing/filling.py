"""Holes while they are filled: a song on the grid, windows with Hole tokens, z ~ q(z | context), fills, and back to the file.

Job → Canvas → Filling (windows of the driver) → Edit
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from midivibe.edits import Edit, Job
from midivibe.midi.notes import DRUMS, Notes, bar_at, concatenate
from midivibe.midi.song import runs_of
from midivibe.midi.splice import Change, fit_between, splice
from midivibe.model.engine.base import Engine
from midivibe.threads import side_by_side
from midivibe.tokens import layout
from midivibe.tokens.grammar import Grammar
from midivibe.tokens.holes import Window
from midivibe.tokens.leads import Lead
from midivibe.tokens.places import coordinates
from midivibe.tokens.rules import Opening, Rules
from midivibe.tokens.vocabulary import BAR, EOS, PITCH, Vocabulary
from midivibe.vibe.axes import AXES, Vibe
from midivibe.vibe.music import vibe_of
from midivibe.writing.canvas import Canvas, View, follow
from midivibe.writing.driver import Prompt, drive
from midivibe.writing.feel import new_notes
from midivibe.writing.harmony import ChordTones
from midivibe.writing.recall import RECALLED_BARS, Recall
from midivibe.writing.sampling import filters_of

FEW_CELLS = 64
"""Holes of more cells are filled once; with recall, what is long repeats itself anyway. Four fills of 200 cells took 30 s."""
ROWS = 32
"""Most fills that are written side by side; each needs a cache of its own."""
FEWEST_NOTES = 8
"""Notes from which on a vibe is heard in them."""
FULLNESS = ("density", "contrast")
"""Axes that a missing part changes most."""
CELL_TOKENS = 250
"""Longest cell of a fill: 90 notes, denser than any people wrote in the corpus."""


class Filling:
    """One variation of a job while it is written: a writer of the driver."""

    def __init__(
        self, job: Job, v: Vocabulary, blank: Canvas, seed: int, candidate: int = 0, report: Callable[[], None] = lambda: None
    ) -> None:
        """`report` is called when a window is put away."""
        self.job, self.v, self.seed, self.report = job, v, seed, report
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
        self._view: View | None = None
        self._shift = 0
        """semitones from the song's key to the modelled one"""
        self._context: list[int] = []
        self._open: list[int] = []
        self._room = 0

    def window(self, engine: Engine) -> Prompt | None:
        """The context of the next open cells up to SEP, and what may fill them."""
        view = self.canvas.next_view(engine.block_size, self.job.look_ahead)
        if view is None:
            return None
        v, canvas, job = self.v, self.canvas, self.job
        self._view = view
        self._shift, mode = canvas.shift(view)
        kept, leads = canvas.window_notes(view), self._leads(view)
        header = layout.Header(
            tuple(view.order), "other", mode, kept.bar_meter[0], float(kept.bar_tempo[0]),
            start=view.first == 0, end=view.last == canvas.bars,
        ).ids(v)  # fmt: skip
        cut = Window.cut(self._ids(kept, view, leads), v)
        self._context, self._open = [*header, *cut.context(view.order, view.cells, v).tolist()], []
        self._room = engine.block_size - len(self._context) - 2
        original = canvas.original_notes(view)
        read = self._context if job.amount is None else [*header, *self._ids(original, view, leads).tolist()]
        vibe = self._heard(kept, view.first).override(job.steering)
        self.vibe = self.vibe or vibe
        fill = self._cells_in_order(view)
        rules = Rules(
            bars=view.last - view.first, programs=tuple(view.order), start=view.first == 0, end=view.last == canvas.bars,
            must_fill=self._must_fill(view), most_rests=self._most_rests(view),
            rhythm=self._rhythm(view, original) if job.keep_rhythm else None,
            pitches=self._playable, max_bar_tokens=CELL_TOKENS, plan=lambda bar: Opening(chords=not leads[bar].chords),
        )  # fmt: skip
        recall = self._recall(view, fill) if job.recalls else None
        grammar = Grammar(v, rules, fill)
        asked = [canvas.asked.get(bar, ()) for bar in range(view.first, view.last)]
        home = [tuple((tick, chord.transposed(self._shift)) for tick, chord in bar) for bar in asked]
        leanings = [ChordTones(v, grammar, home)] if any(home) else []
        return Prompt(self._context, grammar, self._latent(engine, read), vibe.array(), recall, leanings)

    def take(self, token: int) -> bool:
        self._open.append(token)
        return self.v.entries[token][0] == EOS or len(self._open) >= self._room

    def steering(self, engine: Engine) -> None:
        return None

    def close(self) -> None:
        """Put what was written into the canvas; a bar that the window's end cut off is written again."""
        v, view, written = self.v, self._view, self._open
        assert view is not None
        whole = bool(written) and v.entries[written[-1]][0] == EOS
        begun = sum(v.entries[t][0] == BAR for t in written)
        decoded = layout.decode([*self._context, *written], v).fill
        assert decoded is not None
        self.canvas.fill(view, layout.transpose(decoded, -self._shift), begun if whole else max(begun - 1, 1))
        self.canvas.drop_silent(view)
        self.report()

    def _ids(self, notes: Notes, view: View, leads: Sequence[Lead] = ()) -> np.ndarray:
        """The bars of a window in the modelled key, as ids."""
        return layout.encode(layout.transpose(notes, self._shift), self.v, view.order, leads)[0]

    def _leads(self, view: View) -> list[Lead]:
        """The plan of a window's bars: the song's own. Where nothing sounded in a bar of the hole, its chords are open."""
        leads = self.canvas.reading.leads(view.first, view.last, self._shift)
        for bar in self.hole & set(range(view.first, view.last)):
            lead = leads[bar - view.first]
            sounds = any(root >= 0 for _, root, _ in lead.chords)
            leads[bar - view.first] = replace(lead, back=0, chords=lead.chords if sounds else ())
        return leads

    def _latent(self, engine: Engine, read: list[int]) -> np.ndarray:
        """z from the guide: its mean, and the variation's own draw of its noise, (Z,)."""
        mean, sd = engine.posterior(read, coordinates(np.array(read), self.v))
        scale = 1.0 if self.job.amount is None else self.job.amount
        return (mean + scale * sd * self._noise[: engine.latents]).astype(np.float32)

    def _cells_in_order(self, view: View) -> list[tuple[int, tuple[int, ...]]]:
        """(bar of the window, its open programs in order) for each bar with a hole."""
        by_bar: dict[int, set[int]] = {}
        for bar, program in view.cells:
            by_bar.setdefault(bar, set()).add(program)
        return [(bar, tuple(p for p in view.order if p in by_bar[bar])) for bar in sorted(by_bar)]

    def _playable(self, _: str, program: int) -> tuple[int, int]:
        """Lowest and highest pitch of a part, in the modelled key."""
        low, high = self.canvas.pitch_limits(program, self.job.register)
        if program == DRUMS:
            return low, high
        shift = self._shift
        octave = 12 * ((high + shift < 0) - (low + shift > 127))  # the lowest and highest notes there are
        return low + shift + octave, high + shift + octave

    def _recall(self, view: View, fill: list[tuple[int, tuple[int, ...]]]) -> Recall:
        """What the bars around the window hold, more of them than it does."""
        canvas = self.canvas
        ahead = RECALLED_BARS if self.job.look_ahead else 0
        low, high = max(0, view.first - RECALLED_BARS), min(canvas.bars, view.last + ahead)
        cells = Window.cut(self._ids(canvas.notes.window(low, high, set(view.order), cut=False), view), self.v).cells
        had = {canvas.program_of[p.number] for p in self.job.parts if p.notes}
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
        fresh = {self.canvas.program_of[p.number] for p in self.job.parts if not p.notes}
        return frozenset((had | fresh) & programs or programs)

    def _most_rests(self, view: View) -> dict[int, int]:
        """A part that plays just before the hole and just after it does not rest in it; a new one for a bar at most."""
        stood, cells = self.canvas.stood, {p: [b for b, q in view.cells if q == p] for _, p in view.cells}
        playing = set(zip(stood.bar.tolist(), stood.program.tolist(), strict=True))
        fresh = {self.canvas.program_of[p.number] for p in self.job.parts if not p.notes}
        around = {p: (view.first + min(bars) - 1, view.first + max(bars) + 1) for p, bars in cells.items()}
        steady = {p: 0 for p, bars in around.items() if all((bar, p) in playing for bar in bars)}
        return {**dict.fromkeys(fresh & set(cells), 1), **steady}

    def _rhythm(self, view: View, original: Notes) -> dict[tuple[int, int], list[int]]:
        """The old ids of each open cell, whose onsets, velocities and durations the fill repeats."""
        window = Window.cut(self._ids(original, view), self.v)
        return {(b, p): window.cells[b][p].tolist()[1:] for b, p in view.cells if p in window.cells[b]}


def fill(
    engine: Engine, v: Vocabulary, job: Job, variations: int, on_bar: Callable[[int, int], None] | None = None
) -> list[Filling]:
    """Write the open cells of a job window by window; of each variation the candidate that the others agree with most."""
    blank = blank_canvas(job, v)
    cells = len(blank.cells)
    candidates = job.candidates if cells <= FEW_CELLS else 1
    at_once = max(1, ROWS // candidates)
    filters = filters_of(job.sampling, v.mask[PITCH])
    chosen: list[Filling] = []
    batch: list[Filling] = []

    def report() -> None:
        if on_bar:
            closed = sum(cells - len(f.canvas.cells) for f in batch)
            on_bar(len(chosen) * candidates * cells + closed, variations * candidates * cells)

    for first in range(0, variations, at_once):
        seeds = [(job.seed + i) % 2**63 for i in range(first, min(first + at_once, variations))]
        batch = [Filling(job, v, blank, seed, c, report) for seed in seeds for c in range(candidates)]
        lanes = engine.lanes(len(batch))
        guidance, recall = job.sampling.guidance, job.sampling.recall
        side_by_side([drive(e, batch[i :: len(lanes)], filters, guidance, recall) for i, e in enumerate(lanes)])
        chosen += [agreed(batch[i : i + candidates]) for i in range(0, len(batch), candidates)]
    return chosen


def blank_canvas(job: Job, v: Vocabulary) -> Canvas:
    """The song with its holes open."""
    erased = {number: set(bars) for number, bars in job.holes.items()}
    canvas = Canvas(job.song, v, job.parts, lambda bar, part: bar in erased.get(part.number, ()))
    if job.chords and canvas.cells:
        follow(canvas, job.chords)
    if job.keep_rhythm:  # where nothing sounded, nothing is to sound
        bar = bar_at(canvas.grid_start, canvas.erased.onset)
        canvas.cells &= set(zip(bar.tolist(), canvas.erased.program.tolist(), strict=True))
    return canvas


def agreed(fillings: Sequence[Filling]) -> Filling:
    """The one whose notes the others share most, by F1: the choice of least expected error (Kumar & Byrne 2004)."""
    written = [f.canvas.written for f in fillings]
    notes = [set(zip(w.onset.tolist(), w.program.tolist(), w.pitch.tolist(), strict=True)) for w in written]
    shared = [sum(2 * len(a & b) / max(len(a) + len(b), 1) for b in notes) for a in notes]
    return fillings[int(np.argmax(shared))]


def edit_of(job: Job, filling: Filling, checkpoint: str) -> Edit:
    """The file of a job with a filling spliced into it."""
    song, vibe = job.song, filling.vibe or Vibe()
    rng = np.random.Generator(np.random.PCG64([filling.seed, 3]))
    changes: list[Change] = []
    for part in job.parts:
        if bars := job.holes.get(part.number):
            ticks = [(int(song.bar_start[a]), int(song.bar_start[b])) for a, b in runs_of(bars)]
            changes.append((part, ticks, new_notes(filling.canvas, part, bars, rng, job.keep_rhythm)))
    beyond = job.command.get("command") == "continue"
    fitted = fit_between(song, changes, beyond)
    late = [str(p) for p, ticks, _ in fitted if not beyond and 0 < song.file.tracks[p.track].end <= ticks[0][0]]
    warnings = [f"track {name} has ended before these bars; nothing was written there" for name in late]
    new = {part.number: list(notes) for part, _, notes in fitted}
    if any(job.holes.values()) and not any(new.values()) and not warnings:
        warnings = ["no note was found that fits between those that sound there; the cells are empty now"]
    settings = {
        **job.command, "seed": filling.seed, "checkpoint": checkpoint, "vibe": dict(zip(AXES, vibe.values, strict=True)),
        "notes": sum(map(len, new.values())),
    }  # fmt: skip
    return Edit(replace(job, seed=filling.seed), splice(song, fitted), new, vibe, settings, warnings)


__all__ = ["Filling", "agreed", "blank_canvas", "edit_of", "fill"]
