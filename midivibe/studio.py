"""The studio: load a checkpoint once, then compose. Every arrow of the design meets here.

pictures, words, axes → Vibe → z ~ p(z | vibe) → ids under the grammar → Piece
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from symusic import ControlChange, KeySignature, Note, Score, Tempo, TextMeta, TimeSignature, Track

from midivibe.config import FILLING, SampleConfig
from midivibe.editing import Edit, EditWishes
from midivibe.errors import CheckpointError, InputError, nearest
from midivibe.files import replacing
from midivibe.midi.instruments import family_of, name_of, parse_instruments, pitch_range
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.score import write
from midivibe.midi.theory import Key
from midivibe.plan.choose import HARSH_GUITARS, choose
from midivibe.threads import side_by_side
from midivibe.tokens import layout
from midivibe.tokens.grammar import Grammar, Rules
from midivibe.tokens.holes import Window
from midivibe.tokens.vocabulary import (
    BAR,
    EOS,
    MODE,
    PITCH,
    PROGRAM,
    STYLE,
    STYLES,
    TEMPO,
    TIMESIG,
    Vocabulary,
)
from midivibe.version import VERSION
from midivibe.vibe import words
from midivibe.vibe.axes import AXES, Vibe, blend
from midivibe.vibe.music import vibe_of
from midivibe.writing.recall import PHRASES, RECALLED_BARS, Recall

TICKS_PER_BEAT = 480
MAX_BARS = 1024
HEADERS = 12
"""Headers that are drawn for a piece, of which the one that suits the vibe best is taken."""
PARTS = (3.2, 5.0, 1.2)
FEWEST_PARTS, MOST_PARTS = 3, 8
MOST_HEARD = 8
"""Last bars whose vibe is measured while a piece is written."""
FEWEST_TO_CLOSE = 4
"""Bars from which on a piece has an ending; shorter ones are loops."""
STAYS, SHORT_RESTS = 0.35, 0.4
"""Share of bars after which a part may not rest; share of its rests that last one bar. Chosen on validation songs:
3.2 rests a piece of 16 bars, 1.6 bars long, where people's have 2.9 of 2.0."""
FARTHEST = 3.0
"""How far from its middle an axis may be told; 1 is the end of what people's music has."""
DYNAMICS = 18
"""How much louder the liveliest request is played than the calmest, in velocity, beyond what the model does. Performances
rated from calm to lively differ by 36 (EMOPIA); the model gave pictures 17, for what is lively in them is tense too."""
WINDOW_BARS = 16
"""Longest window that the model was trained on."""
METERS = ("4/4", "3/4", "6/8", "12/8")
"""Meters that the model may choose by itself; any other can be asked for."""
BASSES = tuple(range(32, 40))
SOUND_EFFECTS = tuple(range(119, 128))
"""Programs that the model may not choose by itself."""
TONICS = {"major": (0, 2, 3, 4, 5, 7, 9, 10), "minor": (0, 1, 2, 4, 5, 6, 7, 9, 11)}
"""Tonics drawn where no key is asked for: keys with at most four accidentals."""


@dataclass(frozen=True)
class Settings:
    """All that decides a piece. The same settings and checkpoint give the same bytes."""

    bars: int = 16
    seed: int = 0
    vibes: tuple[Vibe, ...] = (Vibe(),)
    """one, or the stations of a journey through the bars"""
    tempo: float | None = None
    key: str | None = None
    """such as "D minor"; None draws one"""
    mode: str | None = None
    meter: tuple[int, int] | None = None
    programs: tuple[int, ...] | None = None
    excluded: tuple[int, ...] = ()
    style: str | None = None
    sampling: SampleConfig = field(default_factory=SampleConfig)
    source: tuple[str, ...] = ()
    """where the vibe came from, for people to read"""
    title: str = "midivibe"
    """the name that the MIDI file carries"""
    checkpoint: str = ""
    """name and digest of the weights"""

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        values = asdict(replace(self, vibes=()))
        values["vibes"] = [
            {"values": dict(zip(AXES, v.values, strict=True)), "confidence": list(v.confidence), "reasons": dict(v.reasons)}
            for v in self.vibes
        ]
        return {"midivibe": VERSION, **values}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """Raises InputError where the values are not those of a piece."""
        try:
            values = {k: v for k, v in values.items() if k in cls.__dataclass_fields__}
            vibes = tuple(
                Vibe(tuple(v["values"][a] for a in AXES), tuple(v["confidence"]), v.get("reasons", {}))
                for v in values.pop("vibes")
            )
            for name in ("meter", "programs", "excluded", "source"):
                if values.get(name) is not None:
                    values[name] = tuple(values[name])
            made = cls(vibes=vibes, **{**values, "sampling": SampleConfig.from_dict(values["sampling"])})
            fine = {
                "bars": isinstance(made.bars, int) and 1 <= made.bars <= MAX_BARS,
                "seed": isinstance(made.seed, int) and 0 <= made.seed < 2**63,
                "vibes": bool(vibes),
                "tempo": made.tempo is None or 20 <= made.tempo <= 300,
                "meter": made.meter is None or [n > 0 for n in made.meter] == [True, True],
                "programs": made.programs is None or all(isinstance(p, int) and -1 <= p <= 127 for p in made.programs),
                "style": made.style is None or made.style in STYLES,
                "title": isinstance(made.title, str),
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"these are not the settings of a piece: {error!r}") from error
        for name, is_fine in fine.items():
            if not is_fine:
                raise InputError(f"these are not the settings of a piece: {name} is {getattr(made, name)!r}")
        return made


@dataclass
class Piece:
    """A composed piece. `score` is at 480 ticks a beat; `vibe` is what was asked, `heard` what its notes measure as."""

    score: Score
    vibe: Vibe
    settings: dict[str, Any]
    key: str
    meter: str
    tempo: float
    programs: tuple[int, ...]
    title: str = "midivibe"

    @cached_property
    def heard(self) -> Vibe:
        """The vibe that the music itself measures as."""
        from midivibe.vibe.music import music_vibe

        return music_vibe(self.score)

    def save(self, path: str | Path) -> Path:
        """Write the MIDI file; raises OutputError."""
        write(self.score, path, self.title)
        return Path(path)

    def render(self, path: str | Path, soundfont: str | Path | None = None) -> Path:
        """Write audio (.wav, .flac, .ogg, .mp3); raises AudioError, SoundfontError or OutputError."""
        from midivibe.output.audio import render_score

        render_score(self.score, path, soundfont)
        return Path(path)

    def plot(self, path: str | Path) -> Path:
        """Write a piano roll as PNG; raises OutputError."""
        from midivibe.output.pianoroll import plot_score

        caption = f"{self.key}, {self.meter}, {self.tempo:g} BPM — {self.vibe.describe()}"
        plot_score(self.score, path, title=self.title, caption=caption)
        return Path(path)

    def save_settings(self, path: str | Path) -> Path:
        """Write the settings as JSON, enough to compose the piece again."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.settings, indent=1) + "\n")
        return Path(path)

    def why(self) -> str:
        """One line that says why the piece is as it is."""
        band = ", ".join(name_of(p).lower() for p in self.programs)
        return f"{self.vibe.describe()} → {self.key}, {self.tempo:g} BPM, {self.meter}, {band}"


class Wishes(TypedDict, total=False):
    """What may be asked for beside picture, words and vibe; whatever is left out, the model or the seed decides."""

    bars: int
    """exact length, 1 to 1024 (16)"""
    seed: int | None
    """None draws one; it is in `Piece.settings`"""
    tempo: float | None
    """beats (quarter notes) a minute, 20 to 300"""
    key: str | None
    """such as "D minor" """
    time_signature: str | None
    """such as "3/4" """
    instruments: str | Sequence[int] | None
    """names with commas, or General MIDI programs from 0 with -1 for drums"""
    style: str | None
    temperature: float | None
    top_p: float | None
    guidance: float | None
    """1 is none; above 1 follows the vibe more strictly"""
    recall: float | None
    """how far bars repeat what bars like them hold, 0 to 1"""
    encoder: str
    """how pictures are read: "pixels" or "clip" """


class Studio:
    """A loaded checkpoint and what can be done with it. `note` says why a slower engine runs than there could be."""

    def __init__(self, engine: Any, vocabulary: Vocabulary, name: str, note: str = "") -> None:
        self.engine, self.vocabulary, self.name, self.note = engine, vocabulary, name, note

    @classmethod
    def open(cls, checkpoint: str | Path | None = None, engine: str = "auto", device: str = "cpu") -> Studio:
        """Load a checkpoint or run folder, or the checkpoint that ships.

        `engine` is onnx (8-bit matrices), onnx-fp32, torch, or auto: onnx where the checkpoint has graphs and ONNX Runtime is
        there, else torch. `device` is where torch runs, such as cuda; auto is torch then.

        Raises:
            CheckpointError: a missing or damaged checkpoint, or no graphs for the engine asked for.
            InputError: an engine or device that there is not.
        """
        from midivibe.model.engine.onnx import OnnxEngine, why_not
        from midivibe.model.folder import ENGINES, locate, weights_digest

        if engine not in ENGINES:
            raise InputError(f"unknown engine {engine!r}; one of {', '.join(ENGINES)}")
        folder = locate(checkpoint)
        note = ""
        if engine == "auto" and device != "cpu":
            engine = "torch"
        if engine == "auto":
            note = why_not(folder)
            engine = "torch" if note else "onnx"
        name = f"{folder.name} {weights_digest(folder)[:12]}" + ("" if engine == "torch" else f" {engine}")
        if engine != "torch":
            made = OnnxEngine(folder, 32 if engine == "onnx-fp32" else 8)
            vocabulary = Vocabulary.load(folder / "tokenizer.json")
            if len(vocabulary) != made.tokens:
                raise CheckpointError(f"{folder} is for {made.tokens} tokens, its tokenizer.json has {len(vocabulary)}")
            return cls(made, vocabulary, name)
        from midivibe.model.checkpoint import load
        from midivibe.model.engine.torch import TorchEngine

        model, vocabulary = load(folder)
        try:
            model.to(device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"torch has no device {device!r} here: {str(error).splitlines()[0]}") from error
        return cls(TorchEngine(model), vocabulary, name, note)

    def compose(
        self,
        image: str | Path | Sequence[str | Path] | None = None,
        text: str | None = None,
        vibe: Vibe | str | None = None,
        *,
        on_bar: Callable[[int, int], None] | None = None,
        **wishes: Unpack[Wishes],
    ) -> Piece:
        """Compose one piece from a picture (several make a journey), words, axes, or nothing.

        Args:
            vibe: axes as "valence=0.2,density=0.8" or a Vibe; beats words, which beat the picture.
            on_bar: called with (bars written, bars in all) as the piece grows.
            wishes: what else is asked for, see `Wishes`.

        Raises:
            InputError, ImageError: a value or picture that cannot be used.
        """
        return self.perform([self.settle(image, text, vibe, **wishes)], on_bar)[0]

    def settle(
        self,
        image: str | Path | Sequence[str | Path] | None = None,
        text: str | None = None,
        vibe: Vibe | str | None = None,
        **wishes: Unpack[Wishes],
    ) -> Settings:
        """Check what is asked and bring it together: axes beat words, words beat pictures. See `compose`."""
        for name in wishes:
            if name not in Wishes.__annotations__:
                raise TypeError(f"unknown argument {name!r}; did you mean {nearest(name, Wishes.__annotations__, 1)}?")
        bars, seed, tempo = wishes.get("bars", 16), wishes.get("seed"), wishes.get("tempo")
        key, time_signature, style = wishes.get("key"), wishes.get("time_signature"), wishes.get("style")
        instruments, encoder = wishes.get("instruments"), wishes.get("encoder", "pixels")
        images = [image] if isinstance(image, str | Path) else list(image or [])
        request = words.parse(text or "")
        asked = Vibe.parse(vibe) if isinstance(vibe, str) else vibe or Vibe()
        stations = [picture_vibe(path, encoder) for path in images] or [Vibe()]
        vibes = tuple(v.override(request.vibe).override(asked) for v in stations)
        if isinstance(bars, bool) or int(bars) != bars or not 1 <= bars <= MAX_BARS:
            raise InputError(f"bars is {bars}; it must be a whole number from 1 to {MAX_BARS}")
        tempo = tempo if tempo is not None else request.tempo
        if tempo is not None and not 20 <= tempo <= 300:
            raise InputError(f"tempo is {tempo:g}; it must be from 20 to 300 beats a minute")
        asked_key = Key.parse(key) if key else request.key
        mode = asked_key.mode if asked_key else request.mode
        meter = _parse_meter(time_signature) if time_signature else request.meter
        if meter is not None and meter not in self.vocabulary.meters:
            known = ", ".join(f"{n}/{d}" for n, d in self.vocabulary.meters)
            if time_signature:
                raise InputError(f"unknown time signature {time_signature!r}; the model knows {known}")
            meter = None
        band = instruments if instruments is not None else request.programs or None
        programs = parse_instruments(band) if band is not None else None
        style = style.lower() if style else request.style
        if style is not None and style not in STYLES:
            raise InputError(f"unknown style {style!r}; the nearest are {nearest(style, STYLES)}")
        sampling = _sampling(SampleConfig(), wishes)
        seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        if not 0 <= seed < 2**63:
            raise InputError(f"seed is {seed}; it must be from 0 to 2^63 - 1")
        return Settings(
            bars=int(bars), seed=seed, vibes=vibes, tempo=tempo, key=str(asked_key) if asked_key else None, mode=mode,
            meter=meter, programs=programs, excluded=request.excluded, style=style, sampling=sampling,
            source=tuple(Path(p).name for p in images) + ((text,) if text else ()), checkpoint=self.name,
        )  # fmt: skip

    def inpaint(
        self,
        path: str | Path,
        bars: str | Sequence[int] | None = None,
        tracks: str | Sequence[str | int] | None = None,
        **wishes: Unpack[EditWishes],
    ) -> Edit:
        """Rewrite bars and tracks of a MIDI file, and change nothing else.

        Args:
            bars: from 1, as "9-12" or "1,5-8" or numbers; every bar where only tracks are named.
            tracks: names, numbers from 1, or instruments; every track where only bars are named.
            wishes: see `EditWishes`. The mood is the context's unless a picture, words or axes steer it.

        Raises:
            InputError, MidiError: a selection, value or file that cannot be used.
        """
        return self.edit("inpaint", path, bars=bars, tracks=tracks, **wishes)[0]

    def continue_song(self, path: str | Path, bars: int = 8, **wishes: Unpack[EditWishes]) -> Edit:
        """Write bars after the end of a MIDI file, for the tracks that play there; see `inpaint`."""
        return self.edit("continue", path, bars=bars, **wishes)[0]

    def accompany(
        self, path: str | Path, instruments: str | Sequence[int], bars: str | None = None, **wishes: Unpack[EditWishes]
    ) -> Edit:
        """Add tracks to a MIDI file, on free channels; see `inpaint`."""
        return self.edit("accompany", path, instruments=instruments, bars=bars, **wishes)[0]

    def vary(
        self, path: str | Path, amount: float = 0.3, bars: str | None = None, tracks: Any = None, **wishes: Unpack[EditWishes]
    ) -> Edit:
        """Rewrite a share `amount` of the cells of a MIDI file, close to what they were where it is small; see `inpaint`."""
        return self.edit("vary", path, amount=amount, bars=bars, tracks=tracks, **wishes)[0]

    def edit(
        self,
        what: str,
        path: str | Path,
        variations: int = 1,
        on_bar: Callable[[int, int], None] | None = None,
        **wishes: Any,
    ) -> list[Edit]:
        """`what` is inpaint, continue, accompany or vary; several variations are written side by side, seeds counting up.

        `wishes` are those of `EditWishes` and the arguments of the method of that name.

        Raises:
            InputError, ImageError, MidiError: a value, picture or file that cannot be used.
        """
        from midivibe import editing

        takes = {
            "inpaint": ("bars", "tracks"), "continue": ("bars",), "accompany": ("instruments", "bars"),
            "vary": ("amount", "bars", "tracks"),
        }  # fmt: skip
        known = set(EditWishes.__annotations__)
        own = {k: wishes.pop(k) for k in takes[what] if k in wishes}
        for name in wishes:
            if name not in known:
                raise TypeError(f"unknown argument {name!r}; did you mean {nearest(name, known, 1)}?")
        if not 1 <= variations <= 64:
            raise InputError(f"variations is {variations}; it must be from 1 to 64")
        settled = self.settle(
            wishes.get("image"), wishes.get("text"), wishes.get("vibe"), seed=wishes.get("seed"),
            encoder=wishes.get("encoder", "pixels"),
        )  # fmt: skip
        steering, density, register = settled.vibes[0], wishes.get("density"), wishes.get("register")
        if density is not None:
            if not 0 <= density <= 1:
                raise InputError(f"density is {density:g}; it must be from 0 to 1")
            steering = steering.override(Vibe.parse(f"density={density}"))
        sampling = FILLING
        if what == "vary":  # else what repeats would come back as it was
            sampling = replace(FILLING, recall=0.0)
        elif any(steering.confidence):  # it is to have a mood of its own, as a piece has
            sampling = replace(FILLING, recall=SampleConfig().recall)
        how = {
            "seed": settled.seed, "steering": steering, "sampling": _sampling(sampling, wishes), "title": Path(path).stem,
            "register": editing.parse_register(register) if register is not None else None,
            "keep_rhythm": bool(wishes.get("keep_rhythm")),
        }  # fmt: skip
        makers: dict[str, Callable[..., Any]] = {
            "inpaint": editing.inpaint_request, "continue": editing.continue_request,
            "accompany": editing.accompany_request, "vary": editing.vary_request,
        }  # fmt: skip
        return editing.perform(self, makers[what](path, **own, **how), variations, on_bar)

    def _write(
        self,
        engine: Any,
        writers: list[_Writer],
        filters: list[Any],
        sampling: SampleConfig,
        guidance: float,
        done: Callable[[_Writer, int], bool],
    ) -> Iterator[None]:
        """One window of each writer, side by side, an id a turn: prompt, draw until `done`, put away what was written."""
        from midivibe.writing.sampling import prefill, write

        grammars, prompts = zip(*(w.window() for w in writers), strict=True)
        vibes = np.stack([w.steering(sampling) for w in writers])
        noise = np.stack([w.noise(engine.latents) for w in writers])
        engine.begin(engine.prior(vibes, noise, sampling.prior_scale), vibes, guidance)
        logits = [prefill(engine, row, list(p), g) for row, (p, g) in enumerate(zip(prompts, grammars, strict=True))]

        def take(row: int, token: int) -> bool:
            writer = writers[row]
            writer.take(token)
            if writer.header and self.vocabulary.entries[token][0] == BAR:
                vibe = writer.steering(sampling)[None]
                engine.steer(row, engine.prior(vibe, writer.noise(engine.latents)[None], sampling.prior_scale), vibe)
            return done(writer, token)

        recalls = [w.recall() for w in writers] if sampling.recalls and all(w.header for w in writers) else []
        generators = [w.generator for w in writers]
        for _ in write(engine, list(grammars), logits, filters, generators, take, recalls, sampling.recall):
            yield
        for writer in writers:
            writer.close_window()

    def perform(self, settings: Sequence[Settings], on_bar: Callable[[int, int], None] | None = None) -> list[Piece]:
        """Write one piece for each of the settings, side by side in one batch; they share the sampling configuration."""
        writers = [_Writer(s, self.vocabulary, self.engine.block_size) for s in settings]
        total = sum(s.bars for s in settings)

        def report() -> None:
            if on_bar:
                on_bar(sum(max(0, w.bars_begun - (not w.finished)) for w in writers), total)

        lanes = self.engine.lanes(len(writers))
        side_by_side([self._turns(engine, writers[i :: len(lanes)], report) for i, engine in enumerate(lanes)])
        return [w.piece() for w in writers]

    def stream(
        self,
        image: str | Path | Sequence[str | Path] | None = None,
        text: str | None = None,
        vibe: Vibe | str | None = None,
        **wishes: Unpack[Wishes],
    ) -> Stream:
        """Compose as `compose` does, and hand out each bar when it is written; see `Stream`."""
        return Stream(self, self.settle(image, text, vibe, **wishes))

    def _turns(self, engine: Any, writers: list[_Writer], report: Callable[[], None] | None = None) -> Iterator[None]:
        """Write until all are finished, header first, then window by window; a turn is an id of one of them."""
        from midivibe.writing.sampling import filters_of

        v = self.vocabulary
        sampling = writers[0].settings.sampling
        filters = filters_of(sampling, v.mask[PITCH])
        drafts = [[writer.draft(i) for i in range(HEADERS)] for writer in writers]
        yield from self._write(
            engine, [*chain.from_iterable(drafts)], filters, sampling, sampling.header_guidance,
            lambda writer, token: v.entries[token][0] == BAR,
        )  # fmt: skip
        for writer, drawn in zip(writers, drafts, strict=True):
            writer.choose(drawn)
        while unfinished := [w for w in writers if not w.finished]:

            def done(writer: _Writer, token: int) -> bool:
                if v.entries[token][0] == BAR and report:
                    report()
                return v.entries[token][0] == EOS or writer.length >= engine.block_size - 2

            yield from self._write(engine, unfinished, filters, sampling, sampling.guidance, done)
        if report:
            report()


@dataclass(frozen=True)
class Bar:
    """A bar of a piece that is being written: its number from 1, its notes at their place in the piece, its time in seconds.

    Tracks of `score` stand in the order of the piece's instruments, `programs`; silent ones are there without notes.
    """

    number: int
    bars: int
    start: float
    length: float
    score: Score
    programs: tuple[int, ...]


class Stream:
    """The bars of a piece, each as soon as it is written; when all are out, `piece` is what `compose` would have given.

    A note that is struck again in a later bar ends there: in a bar alone it may sound longer than in the piece.
    """

    def __init__(self, studio: Studio, settings: Settings) -> None:
        self.settings = settings
        self._writer = _Writer(settings, studio.vocabulary, studio.engine.block_size)
        self._turns = studio._turns(studio.engine.another(), [self._writer])
        self._out = 0

    def __iter__(self) -> Iterator[Bar]:
        for _ in self._turns:
            if self._writer.at_bar_line:
                yield from self._waiting()
        yield from self._waiting()

    def _waiting(self) -> Iterator[Bar]:
        while self._out < min(self._writer.bars_whole, self.settings.bars):
            self._out += 1
            yield self._writer.bar(self._out - 1)

    @property
    def piece(self) -> Piece:
        """The whole piece; raises RuntimeError before the last bar is out."""
        if not self._writer.finished:
            raise RuntimeError("the piece is not finished; take all its bars first")
        return self._writer.piece()


def _closing(mode: str, program: int) -> tuple[int, ...]:
    """Pitch classes of the last bar, where the model is in C major or A minor: the tonic's triad, in the bass its root."""
    root, third, fifth = (9, 0, 4) if mode == "minor" else (0, 4, 7)
    return (root,) if program in BASSES else (root, third, fifth)


class _Writer:
    """One piece while it is written: header and bars so far, window by window."""

    def __init__(self, settings: Settings, v: Vocabulary, block_size: int) -> None:
        self.settings, self.v, self.block_size = settings, v, block_size
        self.generator = np.random.Generator(np.random.PCG64(settings.seed))
        draws = np.random.Generator(np.random.PCG64([settings.seed, 1]))
        self._noise = draws.standard_normal(4096).astype(np.float32)
        self._tonic_draw = float(draws.random())
        self._parts_draw = float(draws.standard_normal())
        self._shares: dict[tuple[int, int], float] = {}
        self.header: list[int] = []
        self.bars: list[list[int]] = []
        """ids of each finished bar"""
        self.open: list[int] = []
        """ids since the window's prompt"""
        self.context: list[list[int]] = []
        self.length = 0
        self.journey = len(settings.vibes) > 1
        self.key: Key | None = Key.parse(settings.key) if settings.key else None

    def draft(self, number: int) -> _Writer:
        """A writer that draws a header of its own for the same piece."""
        draft = _Writer(self.settings, self.v, self.block_size)
        draft.generator = np.random.Generator(np.random.PCG64([self.settings.seed, 3, number]))
        return draft

    def choose(self, drafts: Sequence[_Writer]) -> None:
        """Take the header of the draft that suits the vibe best."""
        headers = [layout.decode(draft.header, self.v).header for draft in drafts]
        best = drafts[choose(headers, self.vibe_at(0), self.settings.tempo)]
        self.header, self.key = best.header, best.key

    @property
    def finished(self) -> bool:
        return len(self.bars) >= self.settings.bars

    @property
    def next_bar(self) -> int:
        return len(self.bars)

    @property
    def bars_begun(self) -> int:
        return len(self.bars) + sum(self.v.entries[t][0] == BAR for t in self.open)

    @property
    def at_bar_line(self) -> bool:
        """Whether the last id ended a bar, or nothing is open."""
        return not self.open or self.v.entries[self.open[-1]][0] in (BAR, EOS)

    def _cuts(self) -> list[int]:
        return [i for i, t in enumerate(self.open) if self.v.entries[t][0] in (BAR, EOS)]

    @property
    def bars_whole(self) -> int:
        """Bars written to their end; while the header is written there are none."""
        return len(self.bars) + (max(0, len(self._cuts()) - 1) if self.header else 0)

    def noise(self, size: int) -> np.ndarray:
        """The piece's own standard normal draw for z: (size,)."""
        return self._noise[:size]

    def vibe_at(self, bar: int) -> Vibe:
        """The vibe asked for at a bar: stations of a journey stand evenly from the first bar to the last."""
        vibes = self.settings.vibes
        place = bar / max(1, self.settings.bars - 1) * (len(vibes) - 1)
        low = min(int(place), len(vibes) - 1)
        high = min(low + 1, len(vibes) - 1)
        if low == high:
            return vibes[low]
        return blend([(vibes[low], 1 - (place - low)), (vibes[high], place - low)])

    def steering(self, sampling: SampleConfig) -> np.ndarray:
        """What the model is told of the vibe at the bar that begins (14,): more than was asked, and what was missed.

        An axis asked for as v and measured as h in the last 8 bars, both from -1 to 1, is told as
        emphasis · v + feedback · (v − h). That reaches beyond -1 and 1, where no training example was: it works as
        guidance does, at no cost. The header is told what was asked.
        """
        at = max(self.bars_begun - 1, 0)
        asked = self.vibe_at(at).array()
        if not self.header:  # which has guidance of its own
            return asked
        told, known = asked[: len(AXES)] * np.float32(sampling.emphasis), asked[len(AXES) :]
        heard = min(self.bars_whole, MOST_HEARD)
        if heard and sampling.feedback and known.any():
            missed = self.vibe_at(at - heard // 2).array() - vibe_of(self.latest(heard)).array()
            told += np.float32(sampling.feedback) * missed[: len(AXES)] * known
        return np.concatenate([told.clip(-FARTHEST, FARTHEST), known])

    def latest(self, count: int) -> Notes:
        """The notes of the last whole bars, in the piece's own key."""
        cuts = self._cuts()
        ids = [*self.bars, *(self.open[a:b] for a, b in pairwise(cuts))][-count:]
        decoded = layout.decode([*self.header, *chain.from_iterable(ids), self.v["EOS_None"]], self.v, bars=count)
        notes = self._performed(layout.transpose(decoded.notes, self._shift(self.mode)), self.bars_whole - count)
        return replace(notes, bar_tempo=np.full_like(notes.bar_tempo, self._tempo(decoded.header)))

    def _performed(self, notes: Notes, first: int = 0) -> Notes:
        """The notes louder or softer by the arousal that was asked for at their bars, counted from `first`."""
        at, level = AXES.index("arousal"), np.zeros(len(notes))
        bars = np.searchsorted(notes.bar_start, notes.onset, side="right") - 1
        for bar in np.unique(bars):
            asked = self.vibe_at(first + int(bar)).array()
            if asked[len(AXES) + at] > 0:
                level[bars == bar] = DYNAMICS / 2 * asked[at]
        return replace(notes, velocity=(notes.velocity + np.rint(level).astype(int)).clip(1, 127))

    def rules(self, window_bars: int, first: bool, last: bool) -> Rules:
        s, v = self.settings, self.v
        header: dict[int, list[int] | None] = {
            STYLE: [v[f"Style_{s.style}"]] if s.style else None,
            MODE: [v[f"Mode_{m}"] for m in ([s.mode] if s.mode else ("major", "minor"))],
            TIMESIG: [v["TimeSig_{}/{}".format(*s.meter)]] if s.meter else [v[f"TimeSig_{m}"] for m in METERS],
            TEMPO: [layout.tempo_id(v, s.tempo)] if s.tempo else None,
        }
        harsh = HARSH_GUITARS if self._is_gentle else ()
        return Rules(
            bars=window_bars, header=header, programs=s.programs, excluded=(*s.excluded, *SOUND_EFFECTS, *harsh),
            min_programs=max(self._parts - 1, 2), max_programs=self._parts,
            at_most_one=(BASSES,), start=first, end=last, longest_rest=self._longest_rest, pitches=self._range,
            entry=self._entry, last_played=self._last_played(),
            max_bar_tokens=self.block_size // 3, closing=_closing if last and s.bars >= FEWEST_TO_CLOSE else None,
        )  # fmt: skip

    @property
    def _is_gentle(self) -> bool:
        """Whether the piece is to be calm and at ease as a whole: no distorted guitars then, unless they are asked for."""
        return all(v["arousal"] < 0.5 and v["tension"] <= 0.5 for v in self.settings.vibes)

    @property
    def _parts(self) -> int:
        """Instruments of the band: people's have 4 to 8, more where music is denser."""
        drawn = PARTS[0] + PARTS[1] * self.vibe_at(0)["density"] + PARTS[2] * self._parts_draw
        return int(np.clip(np.rint(drawn), FEWEST_PARTS, MOST_PARTS))

    def recall(self) -> Recall:
        """What the bars that are written hold, for those to come."""
        written, programs = self.bars[-RECALLED_BARS:], self.programs
        cells = Window.cut(np.array(list(chain.from_iterable(written))), self.v).cells if written else []
        to_come = range(len(written), len(written) + min(self.settings.bars - len(self.bars), WINDOW_BARS))
        open_ = {(bar, p) for bar in to_come for p in programs}
        fill = [(bar, programs) for bar in to_come]
        return Recall(self.v, [*cells, *({} for _ in to_come)], programs, open_, fill, distances=PHRASES)

    @property
    def programs(self) -> tuple[int, ...]:
        return tuple(int(self.v.value[t]) for t in self.header if self.v.type[t] == PROGRAM)

    @property
    def mode(self) -> str:
        return self.settings.mode or next(self.v.names[t].split("_")[1] for t in self.header if self.v.type[t] == MODE)

    def window(self) -> tuple[Grammar, list[int]]:
        """The next window's grammar and prompt: BOS, or the header and the last half window of bars."""
        self.context = []
        if self.bars:
            budget = 2 * self.block_size // 5
            for bar in reversed(self.bars[-WINDOW_BARS // 2 :]):
                budget -= len(bar)
                if budget < 0 and self.context:
                    break
                self.context.insert(0, bar)
        remaining = self.settings.bars - len(self.bars)
        new = min(remaining, WINDOW_BARS - len(self.context))
        last = new == remaining
        first = not self.bars
        grammar = Grammar(self.v, self.rules(len(self.context) + new, first, last))
        prompt = [self.v["BOS_None"]]
        if self.header:  # the grammar takes a prompt as it is
            flags = [self.v["Start_None"]] * first + [self.v["End_None"]] * last
            prompt = [*self.header, *flags, *(t for bar in self.context for t in bar)]
        self.open, self.length = [], len(prompt)
        return grammar, prompt

    @property
    def _window_start(self) -> int:
        """The bar of the piece with which the window begins."""
        return len(self.bars) - len(self.context)

    def _share(self, program: int, bar: int) -> float:
        """A draw from 0 to 1 that belongs to a part and a bar of the piece."""
        if (program, bar) not in self._shares:
            self._shares[program, bar] = float(np.random.default_rng([self.settings.seed, 2, program + 1, bar]).random())
        return self._shares[program, bar]

    def _entry(self, program: int) -> int:
        """The bar of the window by whose end a part has played: parts come in one by one, over half of the piece."""
        half = max(0, (self.settings.bars - 1) // 2)
        return min(half, 1 + int(self._share(program, 0) * half)) - self._window_start

    def _last_played(self) -> dict[int, int]:
        """Program → the bar, counted from the window's first, in which it last played before the window."""
        v, start = self.v, self._window_start
        found = {int(v.value[t]): i for i, bar in enumerate(self.bars[:start]) for t in bar if v.type[t] == PROGRAM}
        return {program: bar - start for program, bar in found.items()}

    def _longest_rest(self, program: int, last: int) -> int:
        """Bars that a part may rest after a bar of the window: often none, else mostly one; 64 of 100 of people's rests are.

        Left to itself the model rests more often than people do, and does not bring a part back. Sparse music rests longer,
        bass and drums half as long.
        """
        bars = 2 + round(4 * (1 - self.vibe_at(self.next_bar)["density"]))
        bars = bars // 2 if program == DRUMS or family_of(program) == "bass" else bars
        draw = (self._share(program, last + self._window_start + 1) - STAYS) / (1 - STAYS)
        return 0 if draw < 0 else 1 + int(bars * max(0.0, draw - SHORT_RESTS) / (1 - SHORT_RESTS))

    def _range(self, mode: str, program: int) -> tuple[int, int]:
        """Range of an instrument, in the key that is modelled."""
        low, high = pitch_range(program)
        shift = 0 if program == DRUMS else self._shift(mode)
        return low - shift, high - shift

    def _shift(self, mode: str) -> int:
        """Semitones from the modelled key to the piece's own; draws a tonic where none was asked for."""
        if self.key is None:
            tonics = TONICS[mode]
            self.key = Key.of(tonics[int(self._tonic_draw * len(tonics))], mode)
        return -layout.home_shift(self.key.tonic, mode)

    def take(self, token: int) -> None:
        self.open.append(token)
        self.length += 1

    def close_window(self) -> None:
        """Move what is finished from the window to the piece; a bar cut off by the window's end is written again."""
        v, cuts = self.v, self._cuts()
        if not self.header:
            names = ("Start_None", "End_None")
            self.header = [v["BOS_None"], *(t for t in self.open[: cuts[0]] if v.names[t] not in names)]
        self.bars += [self.open[a:b] for a, b in pairwise(cuts)]
        self.open = []

    def bar(self, number: int) -> Bar:
        """A whole bar, from 0."""
        if number < len(self.bars):
            ids = self.bars[number]
        else:
            cuts = self._cuts()
            ids = self.open[cuts[number - len(self.bars)] : cuts[number - len(self.bars) + 1]]
        decoded = layout.decode([*self.header, *ids, self.v["EOS_None"]], self.v, bars=self.settings.bars)
        length = int(decoded.notes.bar_start[1])
        notes = layout.transpose(decoded.notes, self._shift(self.mode))
        notes = self._performed(replace(notes, onset=notes.onset + number * length))
        tempo, programs = self._tempo(decoded.header), decoded.header.programs
        assert self.key is not None
        score = finish(notes, programs, tempo, self.key, silent=True)
        seconds = length / notes.ticks_per_beat * 60 / tempo
        return Bar(number + 1, self.settings.bars, number * seconds, seconds, score, programs)

    def _tempo(self, header: layout.Header) -> float:
        return float(self.settings.tempo) if self.settings.tempo else float(round(header.tempo))

    def piece(self) -> Piece:
        s, v = self.settings, self.v
        ids = [*self.header, *(t for bar in self.bars[: s.bars] for t in bar), v["EOS_None"]]
        decoded = layout.decode(ids, v, bars=s.bars)
        header, mode = decoded.header, self.mode
        notes = self._performed(layout.transpose(decoded.notes, self._shift(mode)))
        assert self.key is not None
        tempo, programs = self._tempo(header), header.programs
        score = finish(notes, programs, tempo, self.key)
        vibe = s.vibes[0] if not self.journey else blend([(x, 1.0) for x in s.vibes])
        settings = {
            **s.to_json(),
            "result": {
                "key": str(self.key), "tempo": tempo, "meter": "{}/{}".format(*header.meter),
                "style": header.style, "instruments": [name_of(p) for p in programs], "notes": len(notes),
            },
        }  # fmt: skip
        meter = "{}/{}".format(*header.meter)
        return Piece(score, vibe, settings, str(self.key), meter, tempo, programs, s.title)


def finish(notes: Notes, programs: Sequence[int], tempo: float, key: Key, silent: bool = False) -> Score:
    """Grid notes → a Score at 480 ticks a beat that a DAW opens as expected: named parts, levels, pan, key, markers.

    Notes of one pitch never overlap and none outlasts the last bar. Parts without notes are left out unless `silent`.
    """
    scale = TICKS_PER_BEAT // notes.ticks_per_beat
    end = int(notes.bar_start[-1])
    score = Score(TICKS_PER_BEAT)
    score.tempos.append(Tempo(0, tempo))
    score.time_signatures.append(TimeSignature(0, *notes.bar_meter[0]))
    score.key_signatures.append(KeySignature(0, key.sharps, int(key.mode == "minor")))
    for bar in range(0, notes.bars, 8):
        score.markers.append(TextMeta(int(notes.bar_start[bar]) * scale, f"Bar {bar + 1}"))
    parts = [p for p in dict.fromkeys(programs) if silent or (notes.program == p).any()]
    parts.sort(key=lambda p: (p == DRUMS, p // 8 == 4))  # bass and drums stand last, as in most sessions
    for place, program in enumerate(parts):
        track = Track(name_of(program), max(program, 0), program == DRUMS)
        rows = np.flatnonzero(notes.program == program)
        next_onset: dict[int, int] = {}
        made = []
        for row in rows[::-1]:
            onset, pitch = int(notes.onset[row]), int(notes.pitch[row])
            stop = min(onset + int(notes.duration[row]), next_onset.get(pitch, end), end)
            next_onset[pitch] = onset
            velocity = min(int(notes.velocity[row]), 127 - STRONGEST_ACCENT) + accent(onset, notes)
            made.append(Note(onset * scale, (stop - onset) * scale, pitch, max(1, velocity)))
        for note in reversed(made):
            track.notes.append(note)
        track.controls.append(ControlChange(0, 7, _LEVEL.get(family_of(program), 90)))
        track.controls.append(ControlChange(0, 10, _pan(program, place, len(parts))))
        score.tracks.append(track)
    return score


STRONGEST_ACCENT = 6


def accent(onset: int, notes: Notes) -> int:
    """What an onset's place in bar and phrase adds to its velocity (-3 to STRONGEST_ACCENT).

    The model knows 12 velocities, some 10 apart; inside such a step, downbeats and beats are played a little louder, and
    four-bar phrases swell, as a player would.
    """
    bar = int(np.searchsorted(notes.bar_start, onset, side="right")) - 1
    place = onset - int(notes.bar_start[bar])
    beat = notes.ticks_per_beat
    metrical = 4 if place == 0 else 2 if place % beat == 0 else 0 if 2 * place % beat == 0 else -2
    return metrical + (0, 1, 2, -1)[bar % 4]


_LEVEL = {
    "bass": 100,
    "drums": 100,
    "piano": 96,
    "strings": 84,
    "ensemble": 80,
    "synth pad": 72,
    "guitar": 88,
    "synth lead": 84,
}


def _pan(program: int, place: int, parts: int) -> int:
    """Bass and drums in the middle, the others spread to both sides."""
    if program == DRUMS or program // 8 == 4 or parts < 3:
        return 64
    return 64 + (-1) ** place * min(36, 12 + 8 * (place // 2))


def picture_vibe(path: str | Path, encoder: str = "pixels") -> Vibe:
    """The vibe of a picture by the encoder asked for: "pixels" or "clip"; raises ImageError."""
    if encoder == "clip":
        from midivibe.vibe.clip import clip_vibe

        return clip_vibe(path)
    from midivibe.vibe.image import image_vibe

    return image_vibe(path)


def _sampling(base: SampleConfig, wishes: Mapping[str, Any]) -> SampleConfig:
    """What is asked for, on top of a default; top-p is then that of pitches too."""
    chosen = {k: float(wishes[k]) for k in ("temperature", "top_p", "guidance", "recall") if wishes.get(k) is not None}
    return replace(base, **chosen, **({"pitch_top_p": chosen["top_p"]} if "top_p" in chosen else {}))


def _parse_meter(text: str) -> tuple[int, int]:
    numerator, _, denominator = text.strip().partition("/")
    try:
        return int(numerator), int(denominator)
    except ValueError:
        raise InputError(f'unknown time signature {text!r}; write it as in "3/4"') from None
