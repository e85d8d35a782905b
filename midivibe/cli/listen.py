"""vibe and render: what something feels like, and how a MIDI file sounds."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from midivibe.cli import files, flags, printing
from midivibe.errors import InputError, MidiError, SilenceError
from midivibe.requests import Wish

if TYPE_CHECKING:
    from symusic import Score

    from midivibe.cli.parser import Parser
    from midivibe.vibe.axes import Vibe
    from midivibe.vibe.words import Words

PICTURES = r"\S*\.(jpe?g|png|gif|tiff?|bmp|webp|heic|svg|avif)"


def _vibe_flags(parser: Parser) -> None:
    parser.runs(vibe)
    parser.add_argument("subject", metavar='IMAGE|SONG.mid|"WORDS"', help="what to describe")
    flags.add(parser, Wish, names=("encoder",))
    flags.as_json(parser)


def _render_flags(parser: Parser) -> None:
    parser.runs(render)
    parser.add_argument("song", metavar="SONG.mid", help="the MIDI file")
    where = f"an audio file ({', '.join(files.AUDIO)}) or a folder (default SONG.wav in the current folder)"
    parser.add_argument("-o", "--out", metavar="OUT", help=where)
    parser.add_argument("--stems", action="store_true", help="also write one audio file for each track")
    parser.add_argument("--soundfont", metavar="SF2", help="sounds to use (default the first soundfont found)")
    flags.as_json(parser)


def vibe(options: argparse.Namespace) -> int:
    """Say what a picture, a MIDI file or words feel like, on seven axes from 0 to 1, and why."""
    from midivibe.vibe import words

    path, request = Path(options.subject), None
    if path.suffix.lower() in files.MUSIC:
        from midivibe.midi.score import read
        from midivibe.vibe.music import music_vibe

        score = read(path)
        if not score.note_num():
            raise MidiError(f"{path} has no notes")
        found, kind = music_vibe(score), "music"
    elif _is_path(options.subject):
        from midivibe.studio import picture_vibe

        found, kind = picture_vibe(path, flags.read(options, Wish).encoder), "picture"
    else:
        request = words.parse(options.subject)
        found, kind = request.vibe, "words"
    moods = words.nearest_moods(found)
    if not options.json:
        _print_vibe(found, moods, request)
        return 0
    result = {"kind": kind, **printing.vibe_values(found), "moods": moods}
    if request is not None:
        result["understood"] = [list(pair) for pair in request.understood]
        result["ignored"] = list(request.ignored)
    print(json.dumps(result, indent=1))
    return 0


def _print_vibe(found: Vibe, moods: list[str], request: Words | None) -> None:
    from midivibe.vibe.axes import AXES

    if "looks like" in found.reasons:
        print(f"looks like: {found.reasons['looks like']}")
    for axis, value, confidence in zip(AXES, found.values, found.confidence, strict=True):
        bar = "█" * round(20 * value) + "·" * (20 - round(20 * value))
        reason = f"{100 * confidence:3.0f} % sure  {found.reasons.get(axis, '')}" if confidence else "not said"
        print(f"{axis:<11}{bar} {value:4.2f}  {reason}")
    print(f"nearest moods: {', '.join(moods)}")
    if request is not None:
        print("understood: " + ("; ".join(f"{word} → {meaning}" for word, meaning in request.understood) or "nothing"))
        if request.ignored:
            print("ignored: " + ", ".join(request.ignored))


def _is_path(subject: str) -> bool:
    """Whether a subject names a file rather than words: it exists, or it looks like a file name."""
    if not subject.strip():
        return False
    try:
        if Path(subject).exists():
            return True
    except (OSError, ValueError):
        return False
    picture = re.fullmatch(PICTURES, subject, re.IGNORECASE)
    return bool(picture) or ("/" in subject.strip("/") and " " not in subject and not subject[0].isdigit())


def render(options: argparse.Namespace) -> int:
    """Render a MIDI file to 44.1 kHz stereo audio, normalised to -1 dBFS."""
    from midivibe.midi.score import read
    from midivibe.output import audio

    to = files.Destination.of(options.out, Path(options.song).stem, files.AUDIO)
    suffix = to.suffix or ".wav"
    audio.check_format(Path("x" + suffix))
    score = read(options.song)
    if not score.note_num():
        raise InputError(f"{options.song} has no notes to render")
    with files.staging(to.folder) as place:
        made = [place / f"{to.stem}{suffix}"]
        audio.render_score(score, made[0], options.soundfont)
        if options.stems:
            made += _stems(score, made[0], options.soundfont)
        (written,) = files.publish([made], to.folder, [options.song, options.soundfont])
    print(json.dumps({"files": written}) if options.json else "\n".join(written))
    return 0


def _stems(score: Score, mix: Path, soundfont: str | None) -> list[Path]:
    """Write one audio file for each track that can be heard, beside the mix."""
    from midivibe.output import audio

    made = []
    for number, track in enumerate(score.tracks, 1):
        if not len(track.notes):
            continue
        alone = score.copy()
        alone.tracks = [track]
        label = re.sub(r"[^\w\-]+", "-", track.name).strip("-")[:40] or "track"
        stem = mix.with_name(f"{mix.stem}-{number:02d}-{label}{mix.suffix}")
        try:
            audio.render_score(alone, stem, soundfont)
            made.append(stem)
        except SilenceError:
            printing.note(f"no stem for track {number}, {label}: it makes no sound")
    return made


FLAGS = {"vibe": _vibe_flags, "render": _render_flags}
"""Command → the function that adds its flags."""
