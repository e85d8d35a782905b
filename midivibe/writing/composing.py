"""A piece while it is written: several headers are drafted, one is chosen, then bars follow window by window.

Settings → Draft (a header each) → choose → Composing (bars) → Piece
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise

import numpy as np

from midivibe.config import SampleConfig
from midivibe.midi.instruments import name_of
from midivibe.midi.notes import Notes
from midivibe.midi.theory import Key
from midivibe.model.engine.base import Engine
from midivibe.piece import Bar, Piece, Settings, plan_of
from midivibe.plan.choose import HARSH_GUITARS, choose, usual_form
from midivibe.plan.form import parse_form
from midivibe.plan.plan import Plan
from midivibe.tokens import layout
from midivibe.tokens.grammar import Grammar
from midivibe.tokens.holes import Window
from midivibe.tokens.layout import WINDOW_BARS
from midivibe.tokens.rules import Opening, Rules
from midivibe.tokens.vocabulary import BAR, EOS, MODE, PITCH, PROGRAM, QUALITY, ROOT, STYLE, TEMPO, TIMESIG, Vocabulary
from midivibe.vibe.axes import AXES, blend
from midivibe.vibe.music import vibe_of
from midivibe.writing.arrangement import BASSES, Arrangement, closing, playable
from midivibe.writing.driver import Prompt, drive
from midivibe.writing.harmony import ChordTones
from midivibe.writing.leading import Leading
from midivibe.writing.performance import dynamics, finish
from midivibe.writing.recall import PHRASES, RECALLED_BARS, Recall
from midivibe.writing.sampling import filters_of

HEADERS = 12
"""Headers that are drafted for a piece, of which the one that suits the vibe best is taken."""
MOST_HEARD = 8
"""Last bars whose vibe is measured while a piece is written."""
FEWEST_FOR_A_FORM = 24
"""Bars from which on a piece has sections, where no form is asked for."""
FARTHEST = 3.0
"""How far from its middle an axis may be told; 1 is the end of what people's music has."""
MOST_OF_A_BLOCK = 3
"""A bar may take one part in so many of a block, so that two fit beside the header."""
METERS = ("4/4", "3/4", "6/8", "12/8")
"""Meters that the model may choose by itself; any other can be asked for."""
SOUND_EFFECTS = tuple(range(119, 128))
"""Programs that the model may not choose by itself."""


def _header_rules(settings: Settings, arrangement: Arrangement, v: Vocabulary) -> Rules:
    """What may stand in the header of a piece."""
    s = settings
    header = {
        STYLE: [v[f"Style_{s.style}"]] if s.style else None,
        MODE: [v[f"Mode_{m}"] for m in ([s.mode] if s.mode else ("major", "minor"))],
        TIMESIG: [v["TimeSig_{}/{}".format(*s.meter)]] if s.meter else [v[f"TimeSig_{m}"] for m in METERS],
        TEMPO: [layout.tempo_id(v, s.tempo)] if s.tempo else None,
    }
    harsh = HARSH_GUITARS if arrangement.gentle else ()
    return Rules(
        header=header, programs=s.programs, excluded=(*s.excluded, *SOUND_EFFECTS, *harsh), at_most_one=(BASSES,),
        min_programs=max(arrangement.parts - 1, 2), max_programs=arrangement.parts,
    )  # fmt: skip


def _last_played(bars: list[list[int]], v: Vocabulary) -> dict[int, int]:
    """Program → the bar in which it last plays, counted from the end: -1 is the last bar."""
    found = {int(v.value[t]): i for i, bar in enumerate(bars) for t in bar if v.type[t] == PROGRAM}
    return {program: bar - len(bars) for program, bar in found.items()}


class Draft:
    """A header while it is written: style, mode, meter, tempo and band, as the model has them for the vibe."""

    def __init__(self, settings: Settings, arrangement: Arrangement, v: Vocabulary, number: int) -> None:
        self.settings, self.arrangement, self.v = settings, arrangement, v
        self.generator = np.random.Generator(np.random.PCG64([settings.seed, 3, number]))
        self.ids: list[int] = []
        self._open: list[int] = []

    def window(self, engine: Engine) -> Prompt | None:
        if self.ids:
            return None
        new = min(self.settings.bars, WINDOW_BARS)
        rules = _header_rules(self.settings, self.arrangement, self.v)
        grammar = Grammar(self.v, replace(rules, bars=new, start=True, end=new == self.settings.bars))
        asked = self.arrangement.vibe_at(0).array()  # the header has guidance of its own: it is told what was asked
        noise = self.arrangement.noise(engine.latents)
        z = engine.prior(asked[None], noise[None], self.settings.sampling.prior_scale)[0]
        return Prompt([self.v["BOS_None"]], grammar, z, asked)

    def take(self, token: int) -> bool:
        self._open.append(token)
        return self.v.entries[token][0] == BAR

    def steering(self, engine: Engine) -> None:
        return None

    def close(self) -> None:
        flags = ("Start_None", "End_None")
        self.ids = [self.v["BOS_None"], *(t for t in self._open[:-1] if self.v.names[t] not in flags)]

    @property
    def header(self) -> layout.Header:
        return layout.decode(self.ids, self.v).header


def _tempo(settings: Settings, header: layout.Header) -> float:
    """Beats a minute: those that are asked for, else the header's."""
    return float(settings.tempo) if settings.tempo else float(round(header.tempo))


class Composing:
    """One piece while its bars are written, window by window, after `begin` with a header."""

    def __init__(self, settings: Settings, v: Vocabulary, block_size: int, report: Callable[[], None] = lambda: None) -> None:
        """`report` is called at each bar line."""
        self.settings, self.v, self.block_size, self.report = settings, v, block_size, report
        self.arrangement = Arrangement(settings)
        self.plan = plan_of(settings)
        if not self.plan.sections and settings.bars >= FEWEST_FOR_A_FORM:
            form = usual_form(settings.bars, self.arrangement.form_draw)
            self.plan = replace(self.plan, sections=parse_form(form))
        self.generator = np.random.Generator(np.random.PCG64(settings.seed))
        self.header: list[int] = []
        self.bars: list[list[int]] = []
        """ids of each finished bar"""
        self.open: list[int] = []
        """ids since the window's prompt"""
        self.places: list[int] = []
        """the bar of the piece at each place of the window"""
        self.length = 0
        self.key: Key | None = Key.parse(settings.key) if settings.key else None
        self.leading: Leading
        """from `begin` on"""

    def drafts(self) -> list[Draft]:
        """Headers to choose from."""
        return [Draft(self.settings, self.arrangement, self.v, i) for i in range(HEADERS)]

    def begin(self, drafts: Sequence[Draft]) -> None:
        """Take the header of the draft that suits the vibe best."""
        best = choose([d.header for d in drafts], self.arrangement.vibe_at(0), self.settings.tempo)
        self.header, said = drafts[best].ids, drafts[best].header
        self.programs, self.mode = said.programs, self.settings.mode or said.mode
        if self.key is None:
            self.key = Key.of(self.arrangement.tonic(self.mode), self.mode)
        self.leading = Leading(self.v, self.plan, said.meter, self._shift, self.mode)

    @property
    def finished(self) -> bool:
        return len(self.bars) >= self.settings.bars

    @property
    def bars_begun(self) -> int:
        return len(self.bars) + sum(self.v.entries[t][0] == BAR for t in self.open)

    @property
    def at_bar_line(self) -> bool:
        """Whether the last id ended a bar, or nothing is open."""
        return not self.open or self.v.entries[self.open[-1]][0] in (BAR, EOS)

    @property
    def bars_whole(self) -> int:
        """Bars written to their end."""
        return len(self.bars) + max(0, len(self._cuts()) - 1)

    def _cuts(self) -> list[int]:
        return [i for i, t in enumerate(self.open) if self.v.entries[t][0] in (BAR, EOS)]

    @property
    def _shift(self) -> int:
        """Semitones from the modelled key to the piece's own."""
        assert self.key is not None
        return -layout.home_shift(self.key.tonic, self.mode)

    def window(self, engine: Engine) -> Prompt | None:
        """The header, the bars that matter to those that come, and what may follow."""
        if self.finished:
            return None
        context, most = self.leading.context(self.bars, self.block_size)
        remaining = self.settings.bars - len(self.bars)
        new = min(remaining, WINDOW_BARS - len(context), most or WINDOW_BARS)
        self.places = [*context, *range(len(self.bars), len(self.bars) + new)]
        first, last = not self.bars, new == remaining
        flags = [self.v["Start_None"]] * first + [self.v["End_None"]] * last
        said = [self.leading.said(self.bars[bar], self.places, place) for place, bar in enumerate(context)]
        ids = [*self.header, *flags, *chain.from_iterable(said)]
        self.open, self.length = [], len(ids)
        recall = recall_of(self.v, self.bars, self.programs, self.plan, self.places) if self.settings.sampling.recalls else None
        told = self.told(self.settings.sampling)
        grammar = Grammar(self.v, self._rules(first, last))
        leanings = [ChordTones(self.v, grammar, [self.leading.asked[bar] for bar in self.places])]
        return Prompt(ids, grammar, self._z(engine, told), told, recall, leanings)

    def take(self, token: int) -> bool:
        self.open.append(token)
        self.length += 1
        kind = self.v.entries[token][0]
        if kind == BAR:
            self.report()
        return kind == EOS or self.length >= self.block_size - 2

    def steering(self, engine: Engine) -> tuple[np.ndarray, np.ndarray] | None:
        if self.v.entries[self.open[-1]][0] != BAR:
            return None
        told = self.told(self.settings.sampling)
        return self._z(engine, told), told

    def close(self) -> None:
        """Move what is finished from the window to the piece; a bar cut off by the window's end is written again."""
        self.bars += [self.open[a:b] for a, b in pairwise(self._cuts())]
        for ids in self.bars[len(self.leading.written) :]:
            self.leading.take(ids, self.places)
        self.open = []
        self.report()

    def told(self, sampling: SampleConfig) -> np.ndarray:
        """What the model is told of the vibe at the bar that begins (14,): more than was asked, and what was missed.

        An axis asked for as v and measured as h in the last 8 bars, both from -1 to 1, is told as
        emphasis · v + feedback · (v − h). That reaches beyond -1 and 1, where no training example was: it works as
        guidance does, at no cost.
        """
        at = max(self.bars_begun - 1, 0)
        asked = self.arrangement.vibe_at(at).array()
        told, known = asked[: len(AXES)] * np.float32(sampling.emphasis), asked[len(AXES) :]
        heard = min(self.bars_whole, MOST_HEARD)
        if heard and sampling.feedback and known.any():
            missed = self.arrangement.vibe_at(at - heard // 2).array() - vibe_of(self._latest(heard)).array()
            told += np.float32(sampling.feedback) * missed[: len(AXES)] * known
        return np.concatenate([told.clip(-FARTHEST, FARTHEST), known])

    def _z(self, engine: Engine, told: np.ndarray) -> np.ndarray:
        noise = self.arrangement.noise(engine.latents)
        z: np.ndarray = engine.prior(told[None], noise[None], self.settings.sampling.prior_scale)[0]
        return z

    def _latest(self, count: int) -> Notes:
        """The notes of the last whole bars, in the piece's own key."""
        ids = [*self.bars, *(self.open[a:b] for a, b in pairwise(self._cuts()))][-count:]
        decoded = layout.decode([*self.header, *chain.from_iterable(ids), self.v["EOS_None"]], self.v, bars=count)
        notes = self._played(decoded.notes, self.bars_whole - count)
        return replace(notes, bar_tempo=np.full_like(notes.bar_tempo, _tempo(self.settings, decoded.header)))

    def _rules(self, first: bool, last: bool) -> Rules:
        closes = last and self.leading.closes
        places = self.places
        start = len(self.bars) - places.index(len(self.bars))  # the piece's bar at place 0, had it no gap
        return replace(
            _header_rules(self.settings, self.arrangement, self.v), bars=len(places), start=first, end=last,
            entry=lambda program: self.arrangement.entry(program) - start,
            longest_rest=lambda program, last: self.arrangement.longest_rest(
                program, last + start, self.arrangement.vibe_at(len(self.bars))["density"]
            ),
            pitches=lambda mode, program: playable(program, self._shift),
            last_played=_last_played(self.bars[:start], self.v),
            max_bar_tokens=self.block_size // MOST_OF_A_BLOCK, closing=closing if closes else None,
            plan=self._opening,
        )  # fmt: skip

    def _opening(self, place: int) -> Opening:
        """How a bar of the window begins; the one before it is whole now."""
        if self.open and len(self.leading.written) < self.places[place]:
            last = max(i for i, token in enumerate(self.open) if self.v.entries[token][0] == BAR)
            self.leading.take(self.open[last:], self.places)
        return self.leading.opening(self.places, place)

    def _played(self, notes: Notes, first: int = 0) -> Notes:
        """Notes of bars from `first` on, in the piece's own key, as loud as was asked."""
        return dynamics(layout.transpose(notes, self._shift), self.arrangement.vibe_at, first)

    def bar(self, number: int) -> Bar:
        """A whole bar, from 0."""
        if number < len(self.bars):
            ids = self.bars[number]
        else:
            cuts = self._cuts()
            ids = self.open[cuts[number - len(self.bars)] : cuts[number - len(self.bars) + 1]]
        decoded = layout.decode([*self.header, *ids, self.v["EOS_None"]], self.v, bars=self.settings.bars)
        length = int(decoded.notes.bar_start[1])
        notes = self._played(replace(decoded.notes, onset=decoded.notes.onset + number * length))
        tempo, programs = _tempo(self.settings, decoded.header), decoded.header.programs
        assert self.key is not None
        score = finish(notes, programs, tempo, self.key, silent=True)
        seconds = length / notes.ticks_per_beat * 60 / tempo
        return Bar(number + 1, self.settings.bars, number * seconds, seconds, score, programs)

    def piece(self) -> Piece:
        s = self.settings
        ids = [*self.header, *chain.from_iterable(self.bars[: s.bars]), self.v["EOS_None"]]
        decoded = layout.decode(ids, self.v, bars=s.bars)
        header, notes = decoded.header, self._played(decoded.notes)
        assert self.key is not None
        tempo, programs, meter = _tempo(s, header), header.programs, "{}/{}".format(*header.meter)
        plan = replace(
            self.plan, key=self.key, tempo=tempo, meter=header.meter, style=header.style, programs=programs,
            chords=self.leading.progression(self._shift),
        )  # fmt: skip
        result = {
            "key": str(self.key), "tempo": tempo, "meter": meter, "style": header.style,
            "instruments": [name_of(p) for p in programs], "notes": len(notes),
            "plan": plan.to_json(),
        }  # fmt: skip
        vibe = s.vibes[0] if len(s.vibes) == 1 else blend([(x, 1.0) for x in s.vibes])
        settings = {**s.to_json(), "result": result}
        marks = [(section.start, section.name) for section in self.plan.sections]
        score = finish(notes, programs, tempo, self.key, marks=marks)
        return Piece(score, vibe, settings, str(self.key), meter, tempo, programs, s.title)


def recall_of(
    v: Vocabulary, bars: list[list[int]], programs: tuple[int, ...], plan: Plan, places: Sequence[int] = ()
) -> Recall:
    """What the bars that are written hold, for those to come: of a section that returns, else the phrase before.

    `places` are the bars of the window that is written.
    """
    first = max(0, len(bars) - RECALLED_BARS)
    written = bars[first:]
    cells = Window.cut(np.array(list(chain.from_iterable(written))), v).cells if written else []
    to_come = range(len(written), len(written) + min(plan.bars - len(bars), WINDOW_BARS))
    open_ = {(bar, p) for bar in to_come for p in programs}
    follow = {bar: [b - first for b in followed(plan, first + bar)] for bar in to_come}
    returns = {bar: b[0] - first for bar in to_come if (b := plan.earlier(first + bar)) and b[0] >= first}
    fill = [(bar, programs) for bar in to_come]
    said = [[t for t in ids if v.entries[t][0] in (ROOT, QUALITY)] for ids in written]
    return Recall(
        v, [*cells, *({} for _ in to_come)], programs, open_, fill, follow=follow, returns=returns,
        places=[bar - first for bar in places], chords=[*said, *([] for _ in to_come)],
    )  # fmt: skip


def followed(plan: Plan, bar: int) -> list[int]:
    """Bars a phrase or more before this one, in its own section where there is a form."""
    section = plan.section_at(bar)
    start = section.start if section else 0
    return [bar - distance for distance in PHRASES if bar - distance >= start]


def turns(engine: Engine, pieces: Sequence[Composing]) -> Iterator[None]:
    """Write pieces side by side to their ends, headers first; a turn is an id of one of them. They share their sampling."""
    sampling, v = pieces[0].settings.sampling, pieces[0].v
    filters = filters_of(sampling, v.mask[PITCH])
    drafts = [piece.drafts() for piece in pieces]
    yield from drive(engine, list(chain.from_iterable(drafts)), filters, sampling.header_guidance, 0.0)
    for piece, drawn in zip(pieces, drafts, strict=True):
        piece.begin(drawn)
    yield from drive(engine, pieces, filters, sampling.guidance, sampling.recall)


class Stream:
    """The bars of a piece, each as soon as it is written; when all are out, `piece` is what `compose` would have given.

    A note that is struck again in a later bar ends there: in a bar alone it may sound longer than in the piece.
    """

    def __init__(self, composing: Composing, loop: Iterator[None]) -> None:
        self.settings = composing.settings
        self._composing, self._loop = composing, loop
        self._out = 0

    def __iter__(self) -> Iterator[Bar]:
        for _ in self._loop:
            if self._composing.at_bar_line:
                yield from self._waiting()
        yield from self._waiting()

    def _waiting(self) -> Iterator[Bar]:
        while self._out < min(self._composing.bars_whole, self.settings.bars):
            self._out += 1
            yield self._composing.bar(self._out - 1)

    @property
    def piece(self) -> Piece:
        """The whole piece; raises RuntimeError before the last bar is out."""
        if not self._composing.finished:
            raise RuntimeError("the piece is not finished; take all its bars first")
        return self._composing.piece()


__all__ = ["FARTHEST", "METERS", "Composing", "Draft", "Stream", "turns"]
