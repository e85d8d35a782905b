"""The command line: parse, call, print. What a command needs is imported inside it, so that --help is quick."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from midivibe.errors import AudioError, InputError, MidivibeError, OutputError, SilenceError
from midivibe.version import VERSION

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"midivibe: error: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """All commands with their flags."""
    parser = _Parser(prog="midivibe", description="A picture, a feeling or half a song → music you can edit.")
    parser.add_argument("--version", action="version", version=f"midivibe {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    compose = commands.add_parser("compose", help="music from pictures, words or axes", description=_compose.__doc__)
    compose.add_argument("-o", "--out", metavar="OUT", help="a folder, or a file such as song.mid or song.flac")
    compose.add_argument("--variations", default="1", metavar="K", help="that many different pieces (1)")
    compose.add_argument("--from", dest="settings", metavar="JSON", help="make a piece again from its .json")
    compose.add_argument("--no-audio", action="store_true", help="write no audio")
    compose.add_argument("--json", action="store_true", help="print the result as JSON")
    _wish_flags(compose)
    compose.set_defaults(run=_compose)

    live = commands.add_parser("play", help="hear a piece while it is composed", description=_play.__doc__)
    live.add_argument("-o", "--out", metavar="OUT.mid", help="keep the piece, too")
    live.add_argument("--port", metavar="NAME", help="a MIDI output port, or part of its name (needs midivibe[live])")
    live.add_argument("--driver", metavar="NAME", help="FluidSynth's audio driver, such as alsa or pulseaudio")
    _wish_flags(live)
    live.set_defaults(run=_play)

    inpaint = commands.add_parser("inpaint", help="rewrite bars of a MIDI file, and nothing else", description=_inpaint.__doc__)
    _edit_flags(inpaint)
    inpaint.add_argument("--bars", metavar="BARS", help="such as 9-12 or 1,5-8; all where only tracks are named")
    inpaint.add_argument("--tracks", metavar="LIST", help="names, numbers or instruments; all where only bars are named")
    inpaint.add_argument("--keep-rhythm", action="store_true", help="new pitches on the old onsets")
    inpaint.set_defaults(run=_inpaint, what="inpaint")

    go_on = commands.add_parser("continue", help="write on after the end of a MIDI file", description=_continue.__doc__)
    _edit_flags(go_on)
    go_on.add_argument("--bars", metavar="N", default="8", help="how many bars (8)")
    go_on.set_defaults(run=_continue, what="continue")

    accompany = commands.add_parser("accompany", help="add tracks to a MIDI file", description=_accompany.__doc__)
    _edit_flags(accompany)
    accompany.add_argument("--instruments", metavar="LIST", required=True, help="such as bass,drums")
    accompany.add_argument("--bars", metavar="BARS", help="only there")
    accompany.set_defaults(run=_accompany, what="accompany")

    vary = commands.add_parser("vary", help="a MIDI file again, a little or quite different", description=_vary.__doc__)
    _edit_flags(vary)
    vary.add_argument("--amount", metavar="A", default="0.3", help="0 as it was to 1 all new (0.3)")
    vary.add_argument("--bars", metavar="BARS", help="only there")
    vary.add_argument("--tracks", metavar="LIST", help="only these")
    vary.add_argument("--keep-rhythm", action="store_true", help="new pitches on the old onsets")
    vary.set_defaults(run=_vary, what="vary")

    vibe = commands.add_parser("vibe", help="say what a picture, a MIDI file or words feel like", description=_vibe.__doc__)
    vibe.add_argument("subject", metavar='IMAGE|SONG.mid|"words"')
    vibe.add_argument("--encoder", choices=("pixels", "clip"), default="pixels")
    vibe.add_argument("--json", action="store_true")
    vibe.set_defaults(run=_vibe)

    render = commands.add_parser("render", help="audio from a MIDI file", description=_render.__doc__)
    render.add_argument("song", metavar="SONG.mid")
    render.add_argument("-o", "--out", metavar="OUT", help="a file (.wav, .flac, .ogg, .mp3) or a folder")
    render.add_argument("--stems", action="store_true", help="one file a track as well")
    render.add_argument("--soundfont", metavar="SF2")
    render.add_argument("--json", action="store_true")
    render.set_defaults(run=_render)

    prepare = commands.add_parser("prepare", help="MIDI files → a corpus to train on", description=_prepare.__doc__)
    prepare.add_argument("place", metavar="MIDI_FOLDER|CSV", help="a folder, or a CSV with a column path (style, licence, ...)")
    prepare.add_argument("-o", "--out", metavar="CORPUS", required=True)
    prepare.add_argument("--cap", action="append", default=[], metavar="STYLE=SHARE", help="such as rock=0.4; may be repeated")
    prepare.add_argument("--workers", metavar="N", help="processes (as many as there are cores)")
    prepare.add_argument("--json", action="store_true")
    prepare.set_defaults(run=_prepare)

    train = commands.add_parser("train", help="a corpus → a model", description=_train.__doc__)
    train.add_argument("corpus", metavar="CORPUS", help="a folder that midivibe prepare made")
    train.add_argument("-o", "--out", metavar="RUN", required=True, help="the run's folder; compose --checkpoint RUN uses it")
    train.add_argument("--preset", metavar="NAME", help="debug, mini, small (default) or medium: the model's shape")
    train.add_argument("--init", metavar="NAME|DIR", help="start from a checkpoint: small, or a folder")
    train.add_argument("--resume", action="store_true", help="go on with the run in RUN, or begin it")
    train.add_argument("--max-minutes", metavar="M", help="training time of the whole run; the schedule follows the clock")
    train.add_argument("--max-steps", metavar="N", help="steps of the whole run (20000 where no minutes are given)")
    train.add_argument("--batch-tokens", metavar="N", help="tokens of a batch (6144)")
    train.add_argument("--accumulate", metavar="N", help="batches a step (1)")
    train.add_argument("--learning-rate", metavar="R")
    train.add_argument("--seed", metavar="N")
    train.add_argument("--precision", choices=("auto", "fp32", "bf16"))
    train.add_argument("--compile", choices=("auto", "on", "off"))
    train.add_argument("--sample-every", metavar="N", help="steps between sample pieces in RUN/samples (1000, 0 for none)")
    train.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any other setting of TrainConfig")
    train.set_defaults(run=_train)

    judge = commands.add_parser("evaluate", help="how good a model is, beside people's music", description=_evaluate.__doc__)
    judge.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint or run folder, or small")
    judge.add_argument("corpus", metavar="CORPUS", help="a folder that midivibe prepare made")
    judge.add_argument("-o", "--out", metavar="REPORT", required=True, help="folder for report.html, report.json, pieces")
    judge.add_argument("--pieces", metavar="N", help="pieces of ours, and of people on each side (200)")
    judge.add_argument("--quick", action="store_true", help="12 pieces of 8 bars, for a first look in 3 minutes")
    judge.add_argument("--split", choices=("valid", "test"), help="held-out songs to compare with (test)")
    judge.add_argument("--sections", metavar="A,B", help="such as music,control; all where left out")
    judge.add_argument("--rated", metavar="CSV", help="rated music for the judge of mood: path, valence, arousal, group, set")
    judge.add_argument("--pictures", metavar="FOLDER", help="pictures to compose from and judge; needs --rated")
    judge.add_argument("--seed", metavar="N")
    judge.add_argument("--engine", default="auto", choices=("auto", "onnx", "onnx-fp32", "torch"))
    for name in (
        "temperature", "top-p", "pitch-top-p", "guidance", "header-guidance", "prior-scale", "emphasis", "feedback", "recall",
    ):  # fmt: skip
        judge.add_argument(f"--{name}", metavar="X")
    judge.add_argument("--json", action="store_true")
    judge.set_defaults(run=_evaluate)

    graphs = commands.add_parser("export-onnx", help="graphs for ONNX Runtime from a checkpoint", description=_export.__doc__)
    graphs.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint or run folder; the graphs go into it")
    graphs.set_defaults(run=_export)

    speed = commands.add_parser("benchmark", help="how fast this machine is, beside peers", description=_benchmark.__doc__)
    speed.add_argument("--checkpoint", metavar="DIR", help="another model than the one that ships")
    speed.add_argument("-o", "--out", metavar="DIR", default=".", help="folder for benchmark.json and benchmark.png (here)")
    speed.add_argument("--image", metavar="IMAGE", help="a picture for the cold start")
    speed.add_argument("--corpus", metavar="CORPUS", help="measure training too, on this corpus")
    speed.add_argument(
        "--rounds", metavar="N", default="5", help="times that all take turns; medians are shown (5, in training 3)"
    )
    speed.add_argument("--only", metavar="A,B", help="such as decoding,composing; all where left out")
    speed.add_argument("--json", action="store_true")
    speed.set_defaults(run=_benchmark)

    doctor = commands.add_parser("doctor", help="check the installation", description=_doctor.__doc__)
    doctor.add_argument("--checkpoint", metavar="DIR")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(run=_doctor)
    return parser


def _wish_flags(parser: argparse.ArgumentParser) -> None:
    """What a piece may be asked to be; `_wishes` reads them."""
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="a picture; several make a journey through the bars")
    parser.add_argument("--text", metavar="WORDS", help='such as "slow sad piano in D minor, 70 bpm"')
    parser.add_argument("--vibe", metavar="AXES", help="such as valence=0.2,density=0.8; beats words and picture")
    parser.add_argument("--bars", default="16", metavar="N", help="exact length, 1 to 1024 (16)")
    parser.add_argument("--seed", metavar="N", help="the same seed gives the same piece")
    parser.add_argument("--tempo", metavar="BPM", help="beats a minute, 20 to 300")
    parser.add_argument("--key", metavar="KEY", help='such as "D minor" or F#')
    parser.add_argument("--time-signature", metavar="N/D", help="such as 3/4 or 6/8")
    parser.add_argument("--instruments", metavar="LIST", help="such as piano,bass,drums, or General MIDI numbers from 0")
    parser.add_argument("--style", metavar="STYLE", help="rock, pop, country, rap, rnb, classic, games, folk, children")
    parser.add_argument("--temperature", metavar="T", help="0 is the likeliest note each time, 1 as trained")
    parser.add_argument("--top-p", metavar="P", help="draw among the likeliest that reach this share")
    parser.add_argument("--guidance", metavar="G", help="above 1 follows the vibe more strictly")
    parser.add_argument("--recall", metavar="R", help="how far bars repeat what bars like them hold, 0 to 1")
    parser.add_argument("--encoder", choices=("pixels", "clip"), default="pixels", help="how pictures are read")
    parser.add_argument("--checkpoint", metavar="DIR", help="another model than the one that ships")
    parser.add_argument("--engine", choices=("auto", "onnx", "onnx-fp32", "torch"), default="auto", help="what runs the model")
    parser.add_argument("--soundfont", metavar="SF2", help="sounds for the audio")


def _wishes(options: argparse.Namespace) -> dict[str, Any]:
    """The flags of `_wish_flags` as arguments of `Studio.settle`."""
    return {
        "image": options.images, "text": options.text, "vibe": options.vibe, "key": options.key,
        "time_signature": options.time_signature, "instruments": options.instruments, "style": options.style,
        "encoder": options.encoder, "bars": _number(options.bars, "bars", int), "tempo": _number(options.tempo, "tempo"),
        "seed": _number(options.seed, "seed", int), "temperature": _number(options.temperature, "temperature"),
        "top_p": _number(options.top_p, "top-p"), "guidance": _number(options.guidance, "guidance"),
        "recall": _number(options.recall, "recall"),
    }  # fmt: skip


def _studio(options: argparse.Namespace) -> Any:
    """The checkpoint and engine asked for; a person is told where a faster engine could run."""
    from midivibe.studio import Studio

    studio = Studio.open(options.checkpoint, options.engine)
    if studio.note:
        print(f"midivibe: note: torch runs the model, which is slower: {studio.note}", file=sys.stderr)
    return studio


def _edit_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("song", metavar="SONG.mid")
    parser.add_argument("-o", "--out", metavar="OUT", help="a folder or a .mid file (SONG-inpaint.mid and so on, here)")
    parser.add_argument("--overwrite", action="store_true", help="allow OUT to be SONG.mid itself")
    parser.add_argument("--image", metavar="IMAGE", help="a picture that steers the mood; else the context does")
    parser.add_argument("--text", metavar="WORDS")
    parser.add_argument("--vibe", metavar="AXES", help="such as valence=0.2,density=0.8")
    parser.add_argument("--variations", default="1", metavar="K")
    parser.add_argument("--seed", metavar="N")
    parser.add_argument("--density", metavar="D", help="of the new notes, 0 to 1")
    parser.add_argument("--register", metavar="R", help="low, mid, high, or C3-C5")
    parser.add_argument("--temperature", metavar="T")
    parser.add_argument("--top-p", metavar="P")
    parser.add_argument("--guidance", metavar="G")
    parser.add_argument("--recall", metavar="R", help="how far the hole repeats bars like it elsewhere in the song, 0 to 1")
    parser.add_argument("--encoder", choices=("pixels", "clip"), default="pixels")
    parser.add_argument("--checkpoint", metavar="DIR")
    parser.add_argument("--engine", choices=("auto", "onnx", "onnx-fp32", "torch"), default="auto", help="what runs the model")
    parser.add_argument("--no-plot", action="store_true", help="write no piano roll")
    parser.add_argument("--json", action="store_true")


def main(argv: list[str] | None = None) -> int:
    """Run a command line; returns the exit status: 0 done, 1 doctor found a fault, 2 bad input, 130 interrupted."""
    options = build_parser().parse_args(argv)
    try:
        return options.run(options)
    except MidivibeError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
    except MemoryError:
        return _fail("out of memory; ask for fewer bars or variations")
    except Exception as error:
        if os.environ.get("MIDIVIBE_DEBUG"):
            raise
        return _fail(f"unexpected {type(error).__name__}: {error} (a bug; MIDIVIBE_DEBUG=1 shows where)", 1)


def _fail(message: str, status: int = 2) -> int:
    print(f"midivibe: error: {' '.join(message.split())}", file=sys.stderr)
    return status


def _number(text: str | None, name: str, kind: Callable[[str], Any] = float) -> Any:
    if text is None:
        return None
    try:
        value = kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise InputError(f"{name} is {text!r}; it must be {what}") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise InputError(f"{name} is {text}; it must be a finite number")
    return value


def _compose(options: argparse.Namespace) -> int:
    """Compose music: writes NAME.mid, NAME.wav, NAME.png (piano roll) and NAME.json (all settings)."""
    variations = _number(options.variations, "variations", int)
    if not 1 <= variations <= 64:
        raise InputError(f"variations is {variations}; it must be from 1 to 64")
    if not (options.images or options.text or options.vibe or options.settings):
        raise InputError('nothing to compose from; name a picture, or give --text "...", --vibe or --from')
    if options.settings:
        _alone(options)
    folder, stem, suffix = _destination(options.out, _stem(options), (".mid", ".midi", *AUDIO_SUFFIXES))
    audio_suffix = suffix if suffix.lower() in AUDIO_SUFFIXES else ".wav"
    midi = suffix if suffix.lower() in (".mid", ".midi") else ".mid"
    audio, quiet_because = _audio_plan(options, audio_suffix)

    from dataclasses import replace

    from midivibe.studio import Settings
    from midivibe.threads import side_by_side

    wishes = _wishes(options)
    settings = Settings.from_json(_read_json(options.settings)) if options.settings else None
    studio = _studio(options)
    if settings is None:
        settings = studio.settle(**wishes)
    elif settings.checkpoint != studio.name:
        raise InputError(
            f"{options.settings} was made with checkpoint {settings.checkpoint!r}, this is {studio.name!r}; "
            "name the right one with --checkpoint and --engine"
        )
    names = [stem if variations == 1 else f"{stem}-{i + 1}" for i in range(variations)]
    batch = [replace(settings, seed=(settings.seed + i) % 2**63, title=name) for i, name in enumerate(names)]
    if options.settings:
        batch = [replace(b, title=settings.title) for b in batch]
    with _progress(settings.bars * variations, options.json) as advance:
        pieces = studio.perform(batch, advance)
    results = []
    with _staging(folder) as staging:
        files: list[tuple[Path, Path]] = []
        written: dict[str, list[Path]] = {name: [] for name in names}

        def to_see() -> Iterator[None]:
            for piece, name in zip(pieces, names, strict=True):
                written[name] += [
                    piece.save(staging / f"{name}{midi}"),
                    piece.plot(staging / _roll(folder, name, options.images)),
                ]
                written[name].append(piece.save_settings(staging / f"{name}.json"))
                yield

        def to_hear() -> Iterator[None]:
            for piece, name in zip(pieces, names, strict=True):
                piece.render(staging / f"{name}{audio_suffix}", options.soundfont)
                yield

        side_by_side([to_see(), to_hear()] if audio else [to_see()])
        for piece, name, asked in zip(pieces, names, batch, strict=True):
            made = written[name] + ([staging / f"{name}{audio_suffix}"] if audio else [])
            files += [(path, folder / path.name) for path in made]
            results.append(
                {
                    "files": [str(folder / path.name) for path in made], "why": piece.why(), "key": piece.key,
                    "tempo": piece.tempo, "meter": piece.meter, "bars": settings.bars, "seed": asked.seed,
                    "instruments": piece.settings["result"]["instruments"], "notes": piece.settings["result"]["notes"],
                    "vibe": _vibe_json(piece.vibe), "heard": _vibe_json(piece.heard),
                }
            )  # fmt: skip
        _publish(files, [*options.images, options.soundfont])
    if options.json:
        print(json.dumps(results[0] if variations == 1 else results, indent=1))
    else:
        for result in results:
            print(result["why"])
            print("  " + "  ".join(result["files"]))
    if quiet_because:
        print(f"midivibe: no audio: {quiet_because}", file=sys.stderr)
    return 0


def _play(options: argparse.Namespace) -> int:
    """Compose and play at the same time, through the loudspeakers or a MIDI port; Ctrl-C ends it."""
    if not (options.images or options.text or options.vibe):
        raise InputError('nothing to compose from; name a picture, or give --text "..." or --vibe')
    wishes = _wishes(options)
    if options.out is not None and Path(options.out).suffix.lower() not in (".mid", ".midi"):
        raise InputError(f"cannot write {options.out}: the suffix must be .mid")
    if options.out is not None and not Path(options.out).resolve().parent.is_dir():
        raise InputError(f"cannot write {options.out}: there is no such folder")

    from midivibe.output.audio import Speaker, find_soundfont
    from midivibe.output.live import open_port, play

    studio = _studio(options)
    stream = studio.stream(**wishes)
    sink = open_port(options.port) if options.port else Speaker(find_soundfont(options.soundfont), options.driver)
    with _progress(stream.settings.bars, False) as advance:
        result = play(stream, sink, on_bar=lambda bar: advance(bar.number, bar.bars) if advance else None)
    piece = stream.piece
    print(piece.why())
    if options.out is not None:
        print(f"  {piece.save(options.out)}")
    margin = f"bars were ready {result.margin:.1f} s before their time or more; " if result.margin < float("inf") else ""
    print(f"  first sound after {result.first_sound:.1f} s; {margin}{result.waits} waits")
    return 0


def _inpaint(options: argparse.Namespace) -> int:
    """Rewrite the selected bars and tracks; every other event of the file keeps its tick and its bytes."""
    selection = {"bars": options.bars, "tracks": options.tracks, "keep_rhythm": options.keep_rhythm}
    return _edit(options, **selection)


def _continue(options: argparse.Namespace) -> int:
    """Write bars after the end, for the tracks that play there; what is there stays as it is."""
    return _edit(options, bars=_number(options.bars, "bars", int))


def _accompany(options: argparse.Namespace) -> int:
    """Add tracks on free channels that go with the ones there; those stay as they are."""
    return _edit(options, instruments=options.instruments, bars=options.bars)


def _vary(options: argparse.Namespace) -> int:
    """Rewrite a share of the cells (bar by track), chosen by the seed, close to what they were where the share is small."""
    selection = {"bars": options.bars, "tracks": options.tracks, "keep_rhythm": options.keep_rhythm}
    return _edit(options, amount=_number(options.amount, "amount"), **selection)


def _edit(options: argparse.Namespace, **own: Any) -> int:
    variations = _number(options.variations, "variations", int)
    song = Path(options.song)
    folder, stem, suffix = _destination(options.out, f"{song.stem}-{options.what}", (".mid", ".midi"))
    suffix = suffix or ".mid"
    names = [stem if variations == 1 else f"{stem}-{i + 1}" for i in range(max(variations, 1))]
    for name in names:
        target = folder / f"{name}{suffix}"
        if target.exists() and song.exists() and target.samefile(song) and not options.overwrite:
            raise InputError(f"{target} is the input; choose another -o, or allow it with --overwrite")

    wishes = {
        "seed": _number(options.seed, "seed", int), "density": _number(options.density, "density"),
        "temperature": _number(options.temperature, "temperature"), "top_p": _number(options.top_p, "top-p"),
        "guidance": _number(options.guidance, "guidance"), "recall": _number(options.recall, "recall"),
        "image": options.image, "text": options.text,
        "vibe": options.vibe, "register": options.register, "encoder": options.encoder,
    }  # fmt: skip
    last = [0]
    with _bar(options.what, 1000, "‰", options.json) as advance:

        def show(done: int, total: int) -> None:
            now = round(1000 * done / max(total, 1))
            advance(now - last[0], 0)
            last[0] = now

        edits = _studio(options).edit(options.what, song, variations, show, **own, **wishes)
    damaged = edits[0].request.song.file.warnings
    if damaged and any(_same(folder / f"{name}{suffix}", [song]) for name in names):
        raise InputError(f"{song} is damaged ({damaged[0]}), and what is lost would be lost for good; choose another -o")
    results = []
    with _staging(folder) as staging:
        files: list[tuple[Path, Path]] = []
        for edit, name in zip(edits, names, strict=True):
            made = [edit.save(staging / f"{name}{suffix}")]
            if not options.no_plot and any(edit.new.values()):
                made.append(edit.plot(staging / _roll(folder, name, [options.image])))
            files += [(path, folder / path.name) for path in made]
            written = [str(folder / path.name) for path in made]
            results.append({"files": written, "why": edit.why(), "warnings": edit.warnings, **edit.settings})
        _publish(files, [options.image])
    for warning in edits[0].warnings:
        print(f"midivibe: warning: {song}: {warning}", file=sys.stderr)
    if options.json:
        print(json.dumps(results[0] if variations == 1 else results, indent=1))
    else:
        for result in results:
            print(result["why"])
            print("  " + "  ".join(result["files"]))
    return 0


def _alone(options: argparse.Namespace) -> None:
    """--from says everything about a piece: any other wish beside it is a mistake."""
    wishes = (
        "text", "vibe", "seed", "tempo", "key", "time_signature", "instruments", "style", "temperature", "top_p", "guidance",
        "recall",
    )  # fmt: skip
    given = [name for name in wishes if getattr(options, name) is not None]
    given += (
        ["images"] * bool(options.images) + ["bars"] * (options.bars != "16") + ["variations"] * (options.variations != "1")
    )
    if given:
        raise InputError(f"--from makes a piece again as it was; leave out {', '.join(given)}")


def _audio_plan(options: argparse.Namespace, suffix: str) -> tuple[bool, str]:
    """Whether to render, and what to say where that was wanted but cannot be; raises where a flag asks for the impossible."""
    if options.no_audio:
        return False, ""
    from midivibe.output import audio

    audio.check_format(Path("x" + suffix))
    if audio.synthesizer() is None:
        if options.soundfont:
            raise AudioError(audio.HOW_TO_GET_SOUND)
        return False, audio.HOW_TO_GET_SOUND
    audio.find_soundfont(options.soundfont)
    return True, ""


def _vibe(options: argparse.Namespace) -> int:
    """Say what a picture, a MIDI file or words feel like, on seven axes, and why."""
    from midivibe.vibe import words

    path = Path(options.subject)
    request = None
    if path.suffix.lower() in (".mid", ".midi", ".kar", ".rmi"):
        from midivibe.midi.score import read
        from midivibe.vibe.music import music_vibe

        vibe, kind = music_vibe(read(path)), "music"
    elif _is_path(options.subject):
        from midivibe.studio import picture_vibe

        vibe, kind = picture_vibe(path, options.encoder), "picture"
    else:
        request = words.parse(options.subject)
        vibe, kind = request.vibe, "words"
    nearest = words.nearest_moods(vibe)
    if options.json:
        result: dict[str, Any] = {"kind": kind, **_vibe_json(vibe), "moods": nearest}
        if request is not None:
            result["understood"] = [list(pair) for pair in request.understood]
            result["ignored"] = list(request.ignored)
        print(json.dumps(result, indent=1))
        return 0
    from midivibe.vibe.axes import AXES

    for axis, value, confidence in zip(AXES, vibe.values, vibe.confidence, strict=True):
        bar = "█" * round(20 * value) + "·" * (20 - round(20 * value))
        why = vibe.reasons.get(axis, "") if confidence else "not said"
        print(f"{axis:<11}{bar} {value:4.2f}  {why}")
    print(f"nearest moods: {', '.join(nearest)}")
    if request is not None:
        print("understood: " + ("; ".join(f"{word} → {meaning}" for word, meaning in request.understood) or "nothing"))
        if request.ignored:
            print("ignored: " + ", ".join(request.ignored))
    return 0


def _is_path(subject: str) -> bool:
    """Whether a subject names a file rather than words: it exists, or it looks like a file name."""
    if not subject.strip():
        return False
    try:
        if Path(subject).exists():
            return True
    except (OSError, ValueError):
        return False
    looks_like_a_picture = re.fullmatch(r"\S*\.(jpe?g|png|gif|tiff?|bmp|webp|heic|svg|avif)", subject, re.IGNORECASE)
    return bool(looks_like_a_picture) or ("/" in subject.strip("/") and " " not in subject and not subject[0].isdigit())


def _render(options: argparse.Namespace) -> int:
    """Render a MIDI file to 44.1 kHz stereo audio, normalised to -1 dBFS."""
    from midivibe.midi.score import read
    from midivibe.output import audio

    folder, stem, suffix = _destination(options.out, Path(options.song).stem, AUDIO_SUFFIXES)
    suffix = suffix or ".wav"
    audio.check_format(Path("x" + suffix))
    score = read(options.song)
    if not score.note_num():
        raise InputError(f"{options.song} has no notes to render")
    with _staging(folder) as staging:
        names = [f"{stem}{suffix}"]
        audio.render_score(score, staging / names[0], options.soundfont)
        if options.stems:
            for number, track in enumerate(score.tracks, 1):
                if not len(track.notes):
                    continue
                alone = score.copy()
                alone.tracks = [track]
                label = re.sub(r"[^\w\-]+", "-", track.name).strip("-")[:40] or "track"
                name = f"{stem}-{number:02d}-{label}{suffix}"
                try:
                    audio.render_score(alone, staging / name, options.soundfont)
                    names.append(name)
                except SilenceError:
                    print(f"midivibe: track {number}, {label}, makes no sound and gets no stem", file=sys.stderr)
        _publish([(staging / name, folder / name) for name in names], [options.song, options.soundfont])
    files = [str(folder / name) for name in names]
    print(json.dumps({"files": files}) if options.json else "\n".join(files))
    return 0


def _prepare(options: argparse.Namespace) -> int:
    """Turn MIDI files into a corpus: token shards, corpus.json and statistics.html. Run it again after a kill: it goes on."""
    caps = {}
    for text in options.cap:
        style, _, share = text.partition("=")
        caps[style.strip().lower()] = _number(share or "nothing", f"--cap {style}")
    cores = os.cpu_count() or 1
    workers = min(_number(options.workers or str(cores), "workers", int), 4 * cores)
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1")
    _needs("pyarrow")
    from midivibe.training.corpus import prepare
    from midivibe.training.sources import sources_of
    from midivibe.training.statistics import write_page

    sources = sources_of(options.place)
    with _bar("preparing", len(sources), "files", options.json) as advance:
        summary = prepare(sources, options.out, workers, caps, advance)
    page = write_page(options.out)
    if options.json:
        print(json.dumps({**summary, "statistics": str(page)}, indent=1))
        return 0
    splits = ", ".join(f"{count:,} {name}" for name, count in summary["splits"].items())
    print(f"{summary['windows']:,} windows ({splits}), {summary['tokens']:,} tokens from {summary['files']:,} files")
    for reason, count in summary["skipped_by_reason"].items():
        print(f"  skipped {count:,}: {reason}")
    if "valid" not in summary["splits"]:
        print("  nothing is held out to check with, so training cannot tell learning from learning by heart")
    if "train" not in summary["splits"]:
        print("  nothing is left to train on: the table gives every song that could be used to another split")
    print(f"  {page}")
    return 0


def _train(options: argparse.Namespace) -> int:
    """Train a model on a corpus; killed at any moment, --resume goes on. Several devices: torchrun -m midivibe train ..."""
    _needs("pyarrow")
    from midivibe.config import FINE_TUNE, PRESETS, TrainConfig

    if options.preset and options.init:
        raise InputError("--init brings its own shape; leave out --preset")
    preset = options.preset or "small"
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}; one of {', '.join(PRESETS)}")
    kinds = {field: type(value) for field, value in TrainConfig().to_dict().items()}
    wishes: dict[str, Any] = dict(FINE_TUNE) if options.init else {}
    wishes["sample_every"] = 1000
    given = {k: getattr(options, k) for k in kinds if getattr(options, k, None) is not None}
    given |= {k.strip().replace("-", "_"): v for k, _, v in (text.partition("=") for text in options.set)}
    for name, text in given.items():
        wishes[name] = text if kinds.get(name) in (str, None) else _number(text, name.replace("_", "-"), kinds[name])
    if wishes.get("max_minutes") and "max_steps" not in wishes:
        wishes["max_steps"] = 10**9
    config = TrainConfig.from_dict(wishes)

    from midivibe.training.trainer import Run

    init = _init_folder(options.init) if options.init else None
    out = Path(options.out)
    with _training_display(out) as listener:
        run = Run(options.corpus, out, PRESETS[preset], config, init, options.resume, listener)

        def stop(*_: object) -> None:
            run.stop = True
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C does not wait

        before = signal.signal(signal.SIGINT, stop)
        try:
            run.train()
        finally:
            signal.signal(signal.SIGINT, before)
    if run.stop:
        return _fail(f"interrupted and saved at step {run.step}; the same command with --resume goes on", 130)
    if run.workers.first:
        print(f"{out}: {run.step} steps, {run.tokens:,} tokens; midivibe compose ... --checkpoint {out}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    """Measure a model beside people's music: likelihood, distance, control, latent, originality, holes, mood. Resumes."""
    _needs("pyarrow")
    _needs("scipy")
    from midivibe.config import SampleConfig, replace
    from midivibe.evaluation.report import Evaluation, Options

    given = {k: _number(getattr(options, k), k.replace("_", "-")) for k in SampleConfig().to_dict() if getattr(options, k)}
    sampling = SampleConfig.from_dict(given)
    wishes: dict[str, Any] = {"sampling": sampling, "rated": options.rated, "pictures": options.pictures}
    for name in ("pieces", "seed"):
        if getattr(options, name):
            wishes[name] = _number(getattr(options, name), name, int)
    wishes |= {"split": options.split} if options.split else {}
    wishes["sections"] = tuple(s.strip() for s in (options.sections or "").split(",") if s.strip())
    checkpoint = _init_folder(options.checkpoint)
    with _sections(options.json) as listener:
        settings = replace(Options.quick() if options.quick else Options(), **wishes)
        report = Evaluation(checkpoint, options.corpus, options.out, settings, options.engine, listener).run()
    if options.json:
        print(json.dumps(report))
        return 0
    print(f"{Path(options.out) / 'report.html'}\n{Path(options.out) / 'report.json'}")
    return 0


@contextmanager
def _sections(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Progress of an evaluation: a bar a section."""
    if quiet or not sys.stderr.isatty():
        yield lambda section, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, Any] = {}

        def show(section: str, done: int, of: int) -> None:
            if section not in tasks:
                tasks[section] = progress.add_task(section, total=of)
            progress.update(tasks[section], completed=done)

        yield show


def _benchmark(options: argparse.Namespace) -> int:
    """Time decoding, composing, playing, cold start, audio, corpora and training in one run, beside transformers and minGPT."""
    _needs("pyarrow", "benchmark")
    from midivibe.benchmark.measure import benchmark

    only = tuple(s.strip() for s in (options.only or "").split(",") if s.strip())
    rounds = _number(options.rounds, "rounds", int)

    def say(name: str) -> None:
        if sys.stderr.isatty():
            print(f"measuring {name.replace('_', ' ')} ...", file=sys.stderr)

    figures = benchmark(options.checkpoint, options.out, options.image, options.corpus, rounds, only, say)
    if options.json:
        print(json.dumps(figures))
        return 0
    for name, found in figures.items():
        if isinstance(found, dict):
            print(name.replace("_", " "))
            for key, value in _flat(found):
                print(f"  {key:58} {value:12,.3f}" if isinstance(value, float) else f"  {key:58} {value}")
    print(Path(options.out) / "benchmark.json")
    return 0


def _flat(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}: ")
        elif not isinstance(value, list):
            yield before + key.replace("_", " "), value


def _export(options: argparse.Namespace) -> int:
    """Write the graphs that make composing several times as fast on a CPU: decoder (8 and 32 bits), start and guide."""
    _needs("onnx")
    from midivibe.model.checkpoint import load
    from midivibe.model.export import export
    from midivibe.model.folder import locate, weights_digest

    folder = locate(options.checkpoint)
    model, _ = load(folder)
    for path in export(model, folder, weights_digest(folder)):
        print(f"{path}  {path.stat().st_size:,} bytes")
    return 0


def _needs(package: str, extra: str = "train") -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise InputError(f"this needs {package}: pip install {package} (or midivibe with its extra [{extra}])")


def _init_folder(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    from midivibe.model.folder import default_checkpoint

    if "/" in name:
        raise InputError(f"no checkpoint folder at {name}")
    return default_checkpoint(name)


@contextmanager
def _training_display(out: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What a run says while it works: a live line for a person, a line a check otherwise; plots and samples into its folder."""
    import time

    from rich.console import Console
    from rich.live import Live

    began: list[tuple[float, float]] = []
    held_out: dict[str, Any] = {}
    console = Console(stderr=True)
    with Live("", console=console, transient=True, refresh_per_second=2) if console.is_terminal else _nothing() as live:

        def show(row: dict[str, Any]) -> None:
            if "sample" in row:
                _sample(row, out)
                return
            if "valid" in row:
                held_out.update(row["valid"] or {})
                if held_out:
                    console.print(
                        f"step {row['step']}: held out {held_out['nats_per_note']:.3f} nats a note, KL "
                        f"{held_out['kl_per_window']:.1f} and shuffle gap {held_out['shuffle_gap']:.1f} nats a window"
                    )
                _plot_losses(out)
                return
            began.append((time.monotonic(), row["progress"]))
            (t0, p0), (t1, p1) = began[0], began[-1]
            left = (1 - p1) * (t1 - t0) / (p1 - p0) if p1 > p0 else 0.0
            line = f"step {row['step']}  {row['tokens_per_s']:,.0f} tokens/s  {row['nats_per_token']:.3f} nats a token  "
            line += f"KL {row['kl']:.1f}  "
            if held_out:
                line += f"held out {held_out['nats_per_note']:.3f} nats a note, gap {held_out['shuffle_gap']:.1f}  "
            line += f"{100 * row['progress']:.0f} %, {left / 60:.0f} min left"
            if live is not None:
                live.update(line)

        yield show


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _plot_losses(out: Path) -> None:
    try:
        from midivibe.output.curves import plot_run
    except ImportError:  # a training machine without matplotlib
        return
    plot_run(out / "metrics.jsonl", out / "loss.png")


def _sample(row: dict[str, Any], out: Path) -> None:
    """A piece of 8 bars from the weights as they are: RUN/samples/step-001000.mid and .png."""
    try:
        from midivibe.studio import Studio
    except ImportError:  # a training machine without MIDI libraries
        return
    piece = Studio.open(row["sample"]).compose(vibe="valence=0.5", bars=8, seed=1)
    piece.save(out / "samples" / f"step-{row['step']:06d}.mid")
    piece.plot(out / "samples" / f"step-{row['step']:06d}.png")


def _doctor(options: argparse.Namespace) -> int:
    """Check Python, torch, the synthesizer, soundfont, checkpoint and engine, and compose a 2-bar test piece."""
    from midivibe.doctor import examine

    findings = examine(options.checkpoint)
    if options.json:
        print(json.dumps([vars(f) for f in findings], indent=1))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name:<12} {finding.detail}")
            if not finding.ok:
                print(f"      {'':<12} to mend: {finding.mend}")
    return 0 if all(f.ok for f in findings) else 1


def _vibe_json(vibe: Any) -> dict[str, Any]:
    from midivibe.vibe.axes import AXES

    return {
        "axes": {a: round(v, 4) for a, v in zip(AXES, vibe.values, strict=True)},
        "confidence": {a: round(c, 3) for a, c in zip(AXES, vibe.confidence, strict=True)},
        "reasons": dict(vibe.reasons),
        "summary": vibe.describe(),
    }


def _stem(options: argparse.Namespace) -> str:
    if options.images:
        return Path(options.images[0]).stem or "midivibe"
    if options.settings:
        return Path(options.settings).stem
    slug = re.sub(r"[^a-z0-9]+", "-", (options.text or "").lower()).strip("-")[:40].strip("-")
    return slug or "midivibe"


def _destination(out: str | None, stem: str, suffixes: tuple[str, ...]) -> tuple[Path, str, str]:
    """-o → (folder, stem, suffix): with a suffix it names the file, else a folder; an unknown suffix is an error."""
    if out is None:
        folder, suffix = Path.cwd(), ""
    elif (path := Path(out)).suffix and not path.is_dir() and not out.endswith("/"):
        folder, stem, suffix = path.parent, path.stem, path.suffix
        if suffix.lower() not in suffixes:
            raise InputError(f"cannot write {out}: the suffix must be one of {', '.join(suffixes)}, or -o names a folder")
    else:
        folder, suffix = path, ""
    return (Path() if out is None else folder), stem, suffix


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A temporary folder beside the results; gone at the end, whatever happens."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".midivibe-", dir=folder))
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror or error}") from error
    try:
        yield staging
    except OutputError as error:
        raise OutputError(str(error).replace(str(staging), str(folder))) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _roll(folder: Path, name: str, read: Iterable[str | Path | None]) -> str:
    """The name of a piano roll: NAME.png, or NAME-roll.png where that was read, or is a picture of somebody's own."""
    from midivibe.output.pianoroll import is_roll

    target = folder / f"{name}.png"
    taken = target.is_file() and (not is_roll(target) or _same(target, read))
    return f"{name}-roll.png" if taken else target.name


def _same(target: Path, others: Iterable[str | Path | None]) -> bool:
    """Whether a path is one of some files, however they are named."""
    return target.exists() and any(Path(o).exists() and target.samefile(o) for o in others if o)


def _publish(files: list[tuple[Path, Path]], read: Iterable[str | Path | None] = ()) -> None:
    """Rename finished files into place, once all of them exist; never over what was `read`."""
    read = list(read)
    for _, target in files:
        if _same(target, read):
            raise InputError(f"{target} is what was read; choose another -o")
        if target.is_dir():
            raise OutputError(f"cannot write {target}: it is a folder")
    for made, target in files:
        try:
            made.replace(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror or error}") from error


def _read_json(path: str) -> dict[str, Any]:
    try:
        values = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"no settings file at {path}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read settings from {path}: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} does not hold the settings of a piece")
    return values


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar of bars written, on stderr while a person is watching."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with _bar("composing", total, "bars", quiet) as advance:
        last = [0]

        def show(done: int, _: int) -> None:
            advance(done - last[0], 0)
            last[0] = done

        yield show


@contextmanager
def _bar(what: str, total: int, unit: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Progress with rate and time left; its function takes how many more are done, and how many of these were already."""
    if quiet or not sys.stderr.isatty():
        yield lambda more, before: None
        return
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    began, fresh = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, rate=unit)

        def advance(more: int, before: int) -> None:
            nonlocal fresh
            fresh += more - before
            rate = fresh / max(time.monotonic() - began, 1e-3)
            progress.update(task, advance=more, rate=f"{rate:.1f} {unit}/s")

        yield advance
