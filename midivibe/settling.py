"""What is asked of a piece, brought together: flags beat the plan, the plan beats words, and words beat pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from midivibe.config import SampleConfig
from midivibe.errors import InputError, nearest
from midivibe.midi.instruments import parse_instruments
from midivibe.midi.theory import Key
from midivibe.piece import Settings
from midivibe.plan.form import LONGEST_SECTION, Section, parse_form, write_form
from midivibe.plan.plan import Plan, key_of, parse_chords, parse_meter, show_bars, spread
from midivibe.plan.song import plan_of_song
from midivibe.requests import MAX_BARS, Compose, Wish
from midivibe.tokens.vocabulary import STYLES
from midivibe.vibe import words
from midivibe.vibe.axes import Vibe

Meter = tuple[int, int]


def settle(request: Compose, meters: Sequence[Meter], checkpoint: str) -> Settings:
    """The settings of a piece, for a checkpoint that knows some meters; raises InputError, ImageError, MidiError."""
    plan = planned(request)
    key = Key.parse(request.key) if request.key is not None else plan.key if plan else None
    said = words.parse(request.text or "", key)
    images = [request.image] if isinstance(request.image, str | Path) else list(request.image or [])
    asked = Vibe.parse(request.vibe) if isinstance(request.vibe, str) else request.vibe or Vibe()
    stations = [picture_vibe(path, request.encoder) for path in images] or [Vibe()]
    bars, form, chords = _shape(request, plan, said)
    key = key or said.key or (key_of(parse_chords(chords)) if chords else None)
    plan = plan or Plan(bars, tempo=request.tempo, meter=_meter(request), style=_style(request), programs=_band(request))
    if plan.meter is not None:
        know(plan.meter, meters)
    return Settings(
        bars=bars, form=form, chords=chords, seed=drawn(request.seed),
        vibes=tuple(v.override(said.vibe).override(asked) for v in stations),
        tempo=plan.tempo if plan.tempo is not None else said.tempo, key=str(key) if key else None,
        mode=key.mode if key else said.mode, meter=plan.meter or (said.meter if said.meter in meters else None),
        programs=plan.programs or (parse_instruments(said.programs) if said.programs else None), excluded=said.excluded,
        style=plan.style or said.style, sampling=sampling_of(SampleConfig(), request),
        source=tuple(Path(p).name for p in images) + ((request.text,) if request.text else ()), checkpoint=checkpoint,
    )  # fmt: skip


def planned(request: Compose) -> Plan | None:
    """The plan that a request names, with what its flags change; None where it names none.

    Another key moves the chords. Another form takes the chords of each section from the first of its letter.

    Raises:
        InputError, MidiError: a plan, a song or a flag that cannot be used.
    """
    if request.plan is not None and request.plan_from is not None:
        raise InputError("plan and plan-from both say what the piece is to be; leave out one of them")
    if request.plan_from is not None:
        plan = plan_of_song(request.plan_from).plan
    elif request.plan is not None:
        plan = request.plan if isinstance(request.plan, Plan) else Plan.read(request.plan)
    else:
        return None
    if request.form is not None:
        plan = plan.formed(_form(request))
    if request.bars is not None:
        plan = plan.cut(request.bars)
    if request.key is not None:
        plan = plan.moved(Key.parse(request.key))
    if request.chords is not None:
        plan = replace(plan, chords=spread(parse_chords(request.chords), plan.bars, plan.sections))
    return replace(
        plan, tempo=request.tempo if request.tempo is not None else plan.tempo, meter=_meter(request) or plan.meter,
        style=_style(request) or plan.style, programs=_band(request) or plan.programs,
    )  # fmt: skip


def _shape(request: Compose, plan: Plan | None, said: words.Words) -> tuple[int, str | None, str | None]:
    """Bars, form and chords: those of the plan or the flags; what they leave out, words may say."""
    if plan is not None:
        if plan.bars > MAX_BARS:
            raise InputError(f"the plan has {plan.bars} bars, and a piece may have {MAX_BARS}; cut it with bars")
        bars: int | None = plan.bars
        form, chords = plan.form or None, show_bars(plan.chords, plan.key) if plan.chords else None
    else:
        bars, form, chords = request.bars, request.form, request.chords
        bars = _form(request)[-1].end if form is not None else bars
    if form is None and said.form:
        form = _fitted(said.form, bars, said.bars)
        bars = parse_form(form)[-1].end if form else bars
    return bars or said.bars or Settings.bars, form, chords if chords is not None else said.chords


def _form(request: Compose) -> tuple[Section, ...]:
    """The sections asked for; raises InputError where their bars are not those asked for."""
    sections = parse_form(request.form or "")
    if request.bars not in (None, sections[-1].end):
        raise InputError(f"bars is {request.bars}, and the form {request.form} has {sections[-1].end}; leave one of them out")
    return sections


def _fitted(form: str, bars: int | None, section_bars: int | None) -> str | None:
    """A form that words named, its sections shorter or longer where the bars are given; None where they do not fit."""
    sections = parse_form(form)
    if section_bars is None and bars in (None, sections[-1].end):
        return form if sections[-1].end <= MAX_BARS else None
    each, rest = (section_bars or 0, 0) if bars is None else divmod(bars, len(sections))
    if rest or not 1 <= each <= LONGEST_SECTION or each * len(sections) > MAX_BARS:
        return None
    return write_form([Section(s.letter, i * each, each) for i, s in enumerate(sections)])


def _meter(request: Compose) -> Meter | None:
    return parse_meter(request.time_signature)


def know(meter: Meter, meters: Sequence[Meter]) -> None:
    """Raises InputError where a meter is none of those that a checkpoint knows."""
    if meter not in meters:
        known = ", ".join(f"{n}/{d}" for n, d in meters)
        raise InputError(f"unknown time signature '{meter[0]}/{meter[1]}'; the model knows {known}")


def _style(request: Compose) -> str | None:
    style = request.style.lower() if request.style else None
    if style is not None and style not in STYLES:
        raise InputError(f"unknown style {style!r}; the nearest are {nearest(style, STYLES)}")
    return style


def _band(request: Compose) -> tuple[int, ...] | None:
    return parse_instruments(request.instruments) if request.instruments is not None else None


def picture_vibe(path: str | Path, encoder: str = "pixels") -> Vibe:
    """The vibe of a picture by the encoder asked for: "pixels" or "clip"; raises ImageError."""
    if encoder == "clip":
        from midivibe.vibe.clip import clip_vibe

        return clip_vibe(path)
    from midivibe.vibe.image import image_vibe

    return image_vibe(path)


def drawn(seed: int | None) -> int:
    """The seed asked for, else one that nobody had before."""
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed


def sampling_of(base: SampleConfig, wish: Wish) -> SampleConfig:
    """What is asked for, on top of a default; top-p is then that of pitches too."""
    names = ("temperature", "top_p", "guidance", "recall")
    chosen = {name: float(value) for name in names if (value := getattr(wish, name)) is not None}
    return replace(base, **chosen, **({"pitch_top_p": chosen["top_p"]} if "top_p" in chosen else {}))


__all__ = ["drawn", "know", "picture_vibe", "planned", "sampling_of", "settle"]
