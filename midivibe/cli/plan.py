"""plan: the plan of a song, or the one that compose would follow."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from midivibe.cli import compose, files, flags, loading, printing
from midivibe.errors import InputError
from midivibe.requests import Compose

if TYPE_CHECKING:
    from midivibe.cli.parser import Parser
    from midivibe.plan.plan import Plan


def _plan_flags(parser: Parser) -> None:
    parser.runs(plan)
    compose.piece_flags(parser)
    where = parser.add_argument_group("output")
    where.add_argument("-o", "--out", metavar="OUT", help="also write the plan, to a .json file or a folder; edit it at will")
    flags.as_json(where)


def plan(options: argparse.Namespace) -> int:
    """Print the plan of a song (SONG.mid in the place of IMAGE): key, tempo, meter, form and chords.

    For pictures and words, print the plan that compose would follow with the same flags and seed. compose --plan follows a
    plan that was written with -o, and edited.
    """
    request, song = _request(options)
    compose.require_a_wish(request, "--vibe, --chords, --form, --plan or a song")
    to = files.Destination.of(options.out, compose.stem_of(request).removesuffix("-compose") + "-plan", (".json",))
    inputs = [*compose.inputs_of(request), song]
    facts: dict[str, str | int] = {}
    warnings: tuple[str, ...] = ()
    if song is not None and request.plan is None:
        from midivibe.plan.song import plan_of_song

        read = plan_of_song(song)
        facts, warnings = {} if request.form else {"form_from": read.form_from}, read.warnings
        request = replace(request, plan=read.plan, plan_from=None)
    if request.plan is not None and not (request.image or request.text or request.vibe):
        from midivibe.settling import planned

        found = planned(request)
    else:
        studio = loading.open_studio(options)
        settings = studio.settle(request)
        facts["seed"], found = settings.seed, studio.plan(settings)
    assert found is not None
    written = _write(found, to, inputs) if options.out is not None else []
    if options.json:
        result = {"plan": found.to_json(), "left": found.left, **facts, "warnings": warnings, "files": written}
        print(json.dumps(result, indent=1))
        return 0
    _print(found, facts)
    for warning in warnings:
        printing.warn(f"{song}: {warning}")
    if written:
        print("  " + written[0])
    return 0


def _request(options: argparse.Namespace) -> tuple[Compose, str | None]:
    """What is asked for, and the song among the pictures or of --plan-from."""
    given = getattr(options, "image", [])
    songs = [path for path in given if Path(path).suffix.lower() in files.MUSIC]
    if songs:
        if len(songs) > 1 or hasattr(options, "plan_from") or hasattr(options, "plan"):
            raise InputError(f"{songs[-1]} is one plan too many; name one song, or one plan")
        options.image, options.plan_from = [path for path in given if path not in songs], songs[0]
    return flags.read(options, Compose), getattr(options, "plan_from", None)


def _print(found: Plan, facts: dict[str, str | int]) -> None:
    values = found.to_json()
    rows = {name: values[name] for name in ("key", "tempo", "meter", "style", "instruments", "bars")}
    rows["tempo"] = f"{found.tempo:g} BPM" if found.tempo else None
    rows["instruments"] = ", ".join(values["instruments"] or [])
    rows["form"] = found.form + (f" ({facts['form_from']})" if found.form and "form_from" in facts else "")
    rows["seed"] = facts.get("seed")
    rows["left to compose"] = ", ".join(found.left)
    for name, value in rows.items():
        if value is not None and value != "":
            print(f"{name:<16}{value}")
    if found.sections or found.chords:
        print(f"\n{found.chart()}")


def _write(found: Plan, to: files.Destination, inputs: list[str | Path | None]) -> list[str]:
    with files.staging(to.folder) as place:
        path = place / f"{to.stem}.json"
        path.write_text(json.dumps(found.to_json(), indent=1) + "\n")
        return files.publish([[path]], to.folder, inputs)[0]


FLAGS = {"plan": _plan_flags}
"""Command → the function that adds its flags."""
