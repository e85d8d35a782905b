"""The studio: load a checkpoint once, then compose and edit. Every arrow of the design meets here.

pictures, words, axes → Vibe → z ~ p(z | vibe) → ids under the grammar → Piece, Edit
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from midivibe import settling
from midivibe.config import FILLING, SampleConfig
from midivibe.edits import Edit, job_of
from midivibe.errors import CheckpointError, InputError
from midivibe.model.engine.base import Engine
from midivibe.piece import Piece, Settings
from midivibe.plan.plan import Plan
from midivibe.requests import Accompany, Compose, Continue, EditRequest, Inpaint, Vary
from midivibe.settling import picture_vibe
from midivibe.threads import side_by_side
from midivibe.tokens.vocabulary import Vocabulary
from midivibe.vibe import words
from midivibe.vibe.axes import Vibe
from midivibe.writing.composing import Composing, Stream, turns
from midivibe.writing.filling import edit_of, fill

MOST_VARIATIONS = 64


class Studio:
    """A loaded checkpoint and what can be done with it. `note` says why a slower engine runs, where it does.

    Most of its length is signatures: every method spells out its keywords, so that editors complete them.
    """

    def __init__(self, engine: Engine, vocabulary: Vocabulary, name: str, note: str = "") -> None:
        self.engine, self.vocabulary, self.name, self.note = engine, vocabulary, name, note

    @classmethod
    def open(cls, checkpoint: str | Path | None = None, engine: str = "auto", device: str = "cpu") -> Studio:
        """Load a checkpoint by its name or folder, a run folder, or the checkpoint that ships.

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

    # Pieces ------------------------------------------------------------------------------------------------------------

    def compose(
        self,
        image: str | Path | Sequence[str | Path] | None = None,
        text: str | None = None,
        vibe: Vibe | str | None = None,
        *,
        bars: int | None = None,
        form: str | None = None,
        chords: str | None = None,
        plan: Plan | str | Path | None = None,
        plan_from: str | Path | None = None,
        seed: int | None = None,
        tempo: float | None = None,
        key: str | None = None,
        time_signature: str | None = None,
        instruments: str | Sequence[int] | None = None,
        style: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        guidance: float | None = None,
        recall: float | None = None,
        encoder: str = Compose.encoder,
        on_bar: Callable[[int, int], None] | None = None,
    ) -> Piece:
        """Compose one piece from a picture (several make a journey), words, axes, or nothing.

        Args:
            plan, plan_from: a plan or the file of one; a MIDI file whose plan is followed. Other keywords change it.
            vibe: axes as "valence=0.2,density=0.8" or a Vibe; beats words, which beat the picture.
            seed: None draws one; it is in `Piece.settings`.
            on_bar: called with (bars written, bars in all) as the piece grows.
            others: see `requests.Compose`; what is left out, the model or the seed decides.

        Raises:
            InputError, ImageError, MidiError: a value, picture or song that cannot be used.
        """
        request = Compose(
            image=image, text=text, vibe=vibe, bars=bars, form=form, chords=chords, plan=plan,
            plan_from=plan_from, seed=seed, tempo=tempo, key=key, time_signature=time_signature, instruments=instruments,
            style=style, temperature=temperature, top_p=top_p, guidance=guidance, recall=recall, encoder=encoder,
        )  # fmt: skip
        return self.perform([self.settle(request)], on_bar)[0]

    def stream(
        self,
        image: str | Path | Sequence[str | Path] | None = None,
        text: str | None = None,
        vibe: Vibe | str | None = None,
        *,
        bars: int | None = None,
        form: str | None = None,
        chords: str | None = None,
        plan: Plan | str | Path | None = None,
        plan_from: str | Path | None = None,
        seed: int | None = None,
        tempo: float | None = None,
        key: str | None = None,
        time_signature: str | None = None,
        instruments: str | Sequence[int] | None = None,
        style: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        guidance: float | None = None,
        recall: float | None = None,
        encoder: str = Compose.encoder,
    ) -> Stream:
        """Compose as `compose` does, and hand out each bar when it is written; see `Stream`."""
        request = Compose(
            image=image, text=text, vibe=vibe, bars=bars, form=form, chords=chords, plan=plan,
            plan_from=plan_from, seed=seed, tempo=tempo, key=key, time_signature=time_signature, instruments=instruments,
            style=style, temperature=temperature, top_p=top_p, guidance=guidance, recall=recall, encoder=encoder,
        )  # fmt: skip
        return self.follow(self.settle(request))

    def settle(self, request: Compose) -> Settings:
        """Check what is asked and bring it together; see `settling`. Raises as `compose`."""
        return settling.settle(request, self.vocabulary.meters, self.name)

    def plan(self, settings: Settings) -> Plan:
        """The plan that a piece with these settings follows: what was asked for, and what the model or the seed draws.

        Drawn are key, tempo, meter, style, band, from 24 bars on the form, and the chords: the piece is written for them.
        """
        composing = self._composing(settings)
        for _ in turns(self.engine.another(), [composing]):
            if composing.header and not self.vocabulary.plans:  # bars say no chords; a piece without a note knows the rest
                break
        return composing.piece().plan

    def _composing(self, settings: Settings, report: Callable[[], None] = lambda: None) -> Composing:
        """A piece that is about to be written; raises InputError where this checkpoint cannot write it."""
        if settings.meter is not None:
            settling.know(settings.meter, self.vocabulary.meters)
        return Composing(settings, self.vocabulary, self.engine.block_size, report)

    def perform(self, settings: Sequence[Settings], on_bar: Callable[[int, int], None] | None = None) -> list[Piece]:
        """Write one piece for each of the settings, side by side in one batch; they share the sampling configuration."""
        total = sum(s.bars for s in settings)

        def report() -> None:
            if on_bar:
                on_bar(sum(max(0, w.bars_begun - (not w.finished)) for w in pieces), total)

        pieces = [self._composing(s, report) for s in settings]
        lanes = self.engine.lanes(len(pieces))
        side_by_side([turns(engine, pieces[i :: len(lanes)]) for i, engine in enumerate(lanes)])
        return [w.piece() for w in pieces]

    def follow(self, settings: Settings) -> Stream:
        """The bars of a piece with these settings, each as soon as it is written."""
        composing = self._composing(settings)
        return Stream(composing, turns(self.engine.another(), [composing]))

    # Half a song -------------------------------------------------------------------------------------------------------

    def inpaint(
        self,
        song: str | Path,
        bars: str | Sequence[int] | None = None,
        tracks: str | Sequence[str | int] | None = None,
        *,
        keep_rhythm: bool = False,
        image: str | Path | None = None,
        text: str | None = None,
        vibe: Vibe | str | None = None,
        density: float | None = None,
        register: str | None = None,
        chords: str | None = None,
        seed: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        guidance: float | None = None,
        recall: float | None = None,
        encoder: str = Inpaint.encoder,
    ) -> Edit:
        """Rewrite bars and tracks of a MIDI file, and change nothing else.

        Args:
            bars: from 1, as "9-12" or "1,5-8" or numbers; every bar where only tracks are named.
            tracks: names, numbers from 1, or instruments; every track where only bars are named.
            keep_rhythm: new pitches on the old onsets.
            density, register: of the new notes: 0 to 1; "low", "mid", "high" or two pitches as in "C3-C5".
            chords: of the bars that are written, as in "Am F | C G"; else they keep those that were there.
            others: see `requests.Inpaint`. The mood is the context's unless a picture, words or axes steer it.

        Raises:
            InputError, ImageError, MidiError: a selection, value, picture or file that cannot be used.
        """
        request = Inpaint(
            song, bars, tracks, keep_rhythm, image=image, text=text, vibe=vibe, density=density, register=register,
            chords=chords, seed=seed, temperature=temperature, top_p=top_p, guidance=guidance, recall=recall, encoder=encoder,
        )  # fmt: skip
        return self.edit(request)[0]

    def continue_song(
        self,
        song: str | Path,
        bars: int = Continue.bars,
        *,
        image: str | Path | None = None,
        text: str | None = None,
        vibe: Vibe | str | None = None,
        density: float | None = None,
        register: str | None = None,
        chords: str | None = None,
        seed: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        guidance: float | None = None,
        recall: float | None = None,
        encoder: str = Continue.encoder,
    ) -> Edit:
        """Write bars after the end of a MIDI file, for the tracks that play there; see `inpaint`."""
        request = Continue(
            song, bars, image=image, text=text, vibe=vibe, density=density, register=register, chords=chords,
            seed=seed, temperature=temperature, top_p=top_p, guidance=guidance, recall=recall, encoder=encoder,
        )  # fmt: skip
        return self.edit(request)[0]

    def accompany(
        self,
        song: str | Path,
        instruments: str | Sequence[int],
        bars: str | None = None,
        *,
        image: str | Path | None = None,
        text: str | None = None,
        vibe: Vibe | str | None = None,
        density: float | None = None,
        register: str | None = None,
        chords: str | None = None,
        seed: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        guidance: float | None = None,
        recall: float | None = None,
        encoder: str = Accompany.encoder,
    ) -> Edit:
        """Add tracks to a MIDI file, on free channels; see `inpaint`."""
        request = Accompany(
            song, instruments, bars, image=image, text=text, vibe=vibe, density=density, register=register, chords=chords,
            seed=seed, temperature=temperature, top_p=top_p, guidance=guidance, recall=recall, encoder=encoder,
        )  # fmt: skip
        return self.edit(request)[0]

    def vary(
        self,
        song: str | Path,
        amount: float = Vary.amount,
        bars: str | None = None,
        tracks: str | Sequence[str | int] | None = None,
        *,
        keep_rhythm: bool = False,
        image: str | Path | None = None,
        text: str | None = None,
        vibe: Vibe | str | None = None,
        density: float | None = None,
        register: str | None = None,
        chords: str | None = None,
        seed: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        guidance: float | None = None,
        recall: float | None = None,
        encoder: str = Vary.encoder,
    ) -> Edit:
        """Rewrite a share `amount` of the cells of a MIDI file, close to what they were where it is small; see `inpaint`."""
        request = Vary(
            song, amount, bars, tracks, keep_rhythm, image=image, text=text, vibe=vibe, density=density, register=register,
            chords=chords, seed=seed, temperature=temperature, top_p=top_p, guidance=guidance, recall=recall, encoder=encoder,
        )  # fmt: skip
        return self.edit(request)[0]

    def edit(self, request: EditRequest, variations: int = 1, on_bar: Callable[[int, int], None] | None = None) -> list[Edit]:
        """Fill the cells that a request opens; several variations are written side by side, seeds counting up.

        Raises:
            InputError, ImageError, MidiError: a value, picture or file that cannot be used.
        """
        if isinstance(variations, bool) or not 1 <= variations <= MOST_VARIATIONS:
            raise InputError(f"variations is {variations}; it must be a whole number from 1 to {MOST_VARIATIONS}")
        steering = picture_vibe(request.image, request.encoder) if request.image is not None else Vibe()
        asked = Vibe.parse(request.vibe) if isinstance(request.vibe, str) else request.vibe or Vibe()
        steering = steering.override(words.parse(request.text or "").vibe).override(asked)
        if request.density is not None:
            steering = steering.override(Vibe.of(density=request.density))
        sampling = FILLING
        if isinstance(request, Vary) or request.chords is not None:  # else what repeats would come back as it was
            sampling = replace(FILLING, recall=0.0)
        elif any(steering.confidence):  # it is to have a mood of its own, as a piece has
            sampling = replace(FILLING, recall=SampleConfig().recall)
        job = job_of(request, settling.drawn(request.seed), steering, settling.sampling_of(sampling, request))
        return [edit_of(job, filling, self.name) for filling in fill(self.engine, self.vocabulary, job, variations, on_bar)]


__all__ = ["Stream", "Studio", "picture_vibe"]
