"""compose and play: pieces from pictures, words or axes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from midivibe.cli import files, flags, loading, printing, progress
from midivibe.config import SampleConfig
from midivibe.errors import AudioError, InputError
from midivibe.requests import Compose

if TYPE_CHECKING:
    from midivibe.cli.parser import Parser
    from midivibe.piece import Piece, Settings

SEEDS = 2**63
"""Seeds count up from the one asked for, and start again from 0 here."""


def _compose_flags(parser: Parser) -> None:
    parser.runs(compose)
    piece_flags(parser)
    where = parser.add_argument_group("output")
    where.add_argument(
        "-o", "--out", metavar="OUT", help="a folder, or a file such as song.mid or song.flac (default the current folder)"
    )
    flags.add(where, flags.Takes)
    where.add_argument("--from", dest="settings", metavar="JSON", help="compose a piece again from the .json written with it")
    where.add_argument("--no-audio", action="store_true", help="write no audio")
    where.add_argument("--soundfont", metavar="SF2", help="sounds for the audio (default the first soundfont found)")
    flags.as_json(where)


def _play_flags(parser: Parser) -> None:
    parser.runs(play)
    piece_flags(parser)
    where = parser.add_argument_group("output")
    where.add_argument("-o", "--out", metavar="OUT.mid", help="also write the piece to this file")
    where.add_argument("--port", metavar="NAME", help="a MIDI output port, or part of its name; needs midivibe[live]")
    where.add_argument("--driver", metavar="NAME", help="FluidSynth's audio driver, such as alsa, pulseaudio or coreaudio")
    where.add_argument("--soundfont", metavar="SF2", help="sounds for the loudspeakers (default the first soundfont found)")


def piece_flags(parser: Parser) -> None:
    """What a piece may be asked to be."""
    what = parser.add_argument_group("what to compose", "Whatever you leave out, the model or the seed decides.")
    flags.positional(what, Compose, "image", nargs="*")
    flags.add(
        what, Compose,
        names=(
            "text", "vibe", "bars", "form", "chords", "plan", "plan_from", "tempo", "key", "time_signature", "instruments",
            "style", "encoder",
        ),
    )  # fmt: skip
    flags.add(
        parser.add_argument_group("how to draw the notes"), Compose,
        names=("seed", "temperature", "top_p", "guidance", "recall"), shown=SampleConfig(),
    )  # fmt: skip
    flags.add(parser.add_argument_group("model"), loading.Model)


def compose(options: argparse.Namespace) -> int:
    """Compose music from pictures, words or vibe axes.

    Writes NAME.mid, NAME.wav, NAME.png (a piano roll) and NAME.json (all settings).
    """
    request, takes = flags.read(options, Compose), flags.read(options, flags.Takes)
    if options.settings:
        _refuse_wishes(options)
    else:
        require_a_wish(request, "--vibe, --chords, --form, --plan, --plan-from or --from")
    to = files.Destination.of(options.out, stem_of(request, options.settings), (*files.MIDI, *files.AUDIO))
    audio, why_silent = _audio(options, to)
    settings = _settings_of(options.settings) if options.settings else None
    studio = loading.open_studio(options)
    if settings is None:
        settings = studio.settle(request)
    elif settings.checkpoint != studio.name:
        raise InputError(
            f"{options.settings} was composed with checkpoint {settings.checkpoint!r}, this is {studio.name!r}; "
            "choose the same with --checkpoint and --engine"
        )
    names = takes.names(to.stem)
    batch = [
        replace(settings, seed=(settings.seed + i) % SEEDS, title=settings.title if options.settings else name)
        for i, name in enumerate(names)
    ]
    with progress.bar("composing", "bars", quiet=options.json) as on_bar:
        pieces = studio.perform(batch, on_bar)
    inputs = [*inputs_of(request), options.soundfont]
    written = _write(pieces, names, to, audio, inputs)
    found = [_result(*each) for each in zip(pieces, batch, written, strict=True)]
    printing.results(found, options.json)
    if why_silent:
        printing.note(f"no audio: {why_silent}")
    return 0


def require_a_wish(request: Compose, flags: str) -> None:
    """Raises InputError where nothing says what the piece should be like."""
    if not (inputs_of(request) or request.text or request.vibe or request.chords or request.form):
        raise InputError(f'nothing to compose from; name a picture, or give --text "...", {flags}')


def _refuse_wishes(options: argparse.Namespace) -> None:
    """--from says everything about a piece; raises InputError where something else was asked for, too."""
    asked = [*flags.given(options, Compose), *flags.given(options, flags.Takes)]
    if asked:
        names = ", ".join("the pictures" if name == "image" else flags.flag(name) for name in asked)
        raise InputError(f"--from composes a piece again exactly as it was; leave out {names}")


def _settings_of(path: str) -> Settings:
    from midivibe.files import read_json
    from midivibe.piece import Settings

    return Settings.from_json(read_json(path, "settings"))


def _pictures(request: Compose) -> list[str | Path]:
    image = request.image or []
    return [image] if isinstance(image, str | Path) else list(image)


def _plans(request: Compose) -> list[str | Path]:
    return [path for path in (request.plan, request.plan_from) if isinstance(path, str | Path)]


def inputs_of(request: Compose) -> list[str | Path]:
    """The files that a piece is made from, which nothing may overwrite."""
    return [*_pictures(request), *_plans(request)]


def stem_of(request: Compose, settings: str | None = None) -> str:
    """The name of what is written where -o gives none."""
    named_after = [*_pictures(request), *([settings] if settings else [])]
    if named_after:
        return Path(named_after[0]).stem or "midivibe"
    if plans := _plans(request):  # never the name of the plan or of the song itself
        return f"{Path(plans[0]).stem.removesuffix('-plan')}-compose"
    slug = re.sub(r"[^a-z0-9]+", "-", (request.text or "").lower()).strip("-")[:40].strip("-")
    return slug or "midivibe"


def _audio(options: argparse.Namespace, to: files.Destination) -> tuple[str | None, str]:
    """The suffix of the audio, or None, and why there is none though it is wanted.

    Raises:
        InputError, AudioError, SoundfontError: flags that contradict each other, or ask for what cannot be had.
    """
    suffix = to.suffix_or(".wav", files.AUDIO)
    if options.no_audio:
        if suffix == to.suffix:
            raise InputError(f"-o {options.out} asks for audio and --no-audio for none; leave out one of them")
        return None, ""
    from midivibe.output import audio

    audio.check_format(Path("x" + suffix))
    if audio.synthesizer() is None:
        if options.soundfont:
            raise AudioError(audio.HOW_TO_GET_SOUND)
        return None, audio.HOW_TO_GET_SOUND
    audio.find_soundfont(options.soundfont)
    return suffix, ""


def _write(
    pieces: Sequence[Piece], names: Sequence[str], to: files.Destination, audio: str | None, inputs: Sequence[str | Path | None]
) -> list[list[str]]:
    """Write what belongs to each piece; returns the paths. All files are whole before the first one is moved into place."""
    from midivibe.threads import side_by_side

    midi, soundfont = to.suffix_or(".mid", files.MIDI), inputs[-1]
    with files.staging(to.folder) as place:
        made: list[list[Path]] = [[] for _ in pieces]

        def to_see() -> Iterator[None]:
            for piece, name, paths in zip(pieces, names, made, strict=True):
                paths.append(piece.save(place / f"{name}{midi}"))
                paths.append(piece.plot(place / files.roll_name(to.folder, name, inputs)))
                paths.append(piece.save_settings(place / f"{name}.json"))
                yield

        def to_hear() -> Iterator[None]:
            for piece, name in zip(pieces, names, strict=True):
                piece.render(place / f"{name}{audio}", soundfont)
                yield

        side_by_side([to_see(), to_hear()] if audio else [to_see()])
        if audio:
            made = [[*paths, place / f"{name}{audio}"] for paths, name in zip(made, names, strict=True)]
        return files.publish(made, to.folder, inputs)


def _result(piece: Piece, settings: Settings, paths: list[str]) -> printing.Result:
    made = piece.settings["result"]
    return {
        "files": paths, "why": piece.why(), "key": piece.key, "tempo": piece.tempo, "meter": piece.meter,
        "bars": settings.bars, "seed": settings.seed, "instruments": made["instruments"], "notes": made["notes"],
        "vibe": printing.vibe_values(piece.vibe), "heard": printing.vibe_values(piece.heard),
    }  # fmt: skip


def play(options: argparse.Namespace) -> int:
    """Compose and play at the same time, through the loudspeakers or a MIDI port. Ctrl-C ends it."""
    request = flags.read(options, Compose)
    require_a_wish(request, "--vibe, --chords, --form, --plan or --plan-from")
    if options.out is not None:
        if Path(options.out).suffix.lower() not in files.MIDI:
            raise InputError(f"cannot write {options.out}: the suffix must be .mid")
        if not Path(options.out).resolve().parent.is_dir():
            raise InputError(f"cannot write {options.out}: there is no such folder")

    from midivibe.output.audio import Speaker, find_soundfont
    from midivibe.output.live import open_port
    from midivibe.output.live import play as play_bars

    studio = loading.open_studio(options)
    stream = studio.follow(studio.settle(request))
    sink = open_port(options.port) if options.port else Speaker(find_soundfont(options.soundfont), options.driver)
    with progress.bar("composing", "bars") as advance:
        result = play_bars(stream, sink, on_bar=lambda bar: advance(bar.number, bar.bars) if advance else None)
    piece = stream.piece
    print(piece.why())
    if options.out is not None:
        print(f"  {piece.save(options.out)}")
    if result.margin < float("inf"):
        spare = f"each bar was ready at least {result.margin:.1f} s before it was due; "
    else:
        spare = ""
    print(f"  first sound after {result.first_sound:.1f} s; {spare}{result.waits} pauses to wait for a bar")
    return 0


FLAGS = {"compose": _compose_flags, "play": _play_flags}
"""Command → the function that adds its flags."""
