"""inpaint, continue, accompany and vary: edits of a MIDI file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from midivibe.cli import files, flags, loading, printing, progress
from midivibe.config import FILLING, SampleConfig, replace
from midivibe.errors import InputError
from midivibe.requests import Accompany, Continue, EditRequest, EditWish, Inpaint, Vary

if TYPE_CHECKING:
    from midivibe.cli.parser import Parser
    from midivibe.edits import Edit

MOOD = ("image", "text", "vibe", "density", "register", "chords", "encoder")
DRAWING = ("seed", "temperature", "top_p", "guidance", "recall")
Kind: TypeAlias = type[Inpaint] | type[Continue] | type[Accompany] | type[Vary]


def _edit_flags(parser: Parser, run: Callable[[argparse.Namespace], int], kind: Kind, own: tuple[str, ...]) -> None:
    """The flags of an edit: its own, and those of all edits."""
    parser.runs(run)
    parser.add_argument("song", metavar="SONG.mid", help="the MIDI file to edit")
    flags.add(parser.add_argument_group("what to write"), kind, names=own)
    mood = parser.add_argument_group("how it should sound", "Whatever you leave out follows the surrounding bars.")
    flags.add(mood, kind, names=MOOD)
    note = (
        f"If --image, --text, --vibe or --density sets the mood, recall defaults to {SampleConfig().recall:g}."
        if kind is not Vary
        else None
    )
    drawing = parser.add_argument_group("how to draw the notes", note)
    flags.add(drawing, kind, names=DRAWING, shown=FILLING if kind is not Vary else replace(FILLING, recall=0.0))
    flags.add(parser.add_argument_group("model"), loading.Model)
    where = parser.add_argument_group("output")
    name = parser.prog.split()[-1]
    where.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help=f"a folder or a .mid file (default SONG-{name}.mid in the current folder, SONG-{name}-2.mid if that is there)",
    )
    where.add_argument(
        "--overwrite", action="store_true", help="replace an earlier result of the same name, or let OUT be SONG.mid itself"
    )
    flags.add(where, flags.Takes)
    where.add_argument("--no-plot", action="store_true", help="write no piano roll")
    flags.as_json(where)


def inpaint(options: argparse.Namespace) -> int:
    """Rewrite the selected bars and tracks. Every other event of the file keeps its tick and its bytes."""
    return _edit(options, flags.read(options, Inpaint))


def continue_(options: argparse.Namespace) -> int:
    """Write bars after the end, for the tracks that play there. The rest of the file does not change."""
    return _edit(options, flags.read(options, Continue))


def accompany(options: argparse.Namespace) -> int:
    """Add tracks that go with the ones there, on free channels. The rest of the file does not change."""
    return _edit(options, flags.read(options, Accompany))


def vary(options: argparse.Namespace) -> int:
    """Rewrite a share of the cells (one bar of one track). The seed chooses them; a small share stays close to the original."""
    return _edit(options, flags.read(options, Vary))


def _edit(options: argparse.Namespace, request: EditRequest) -> int:
    takes, song = flags.read(options, flags.Takes), Path(request.song)
    to = files.Destination.of(options.out, f"{song.stem}-{options.command}", files.MIDI)
    stem = to.stem if to.suffix or options.overwrite else files.unused(to, takes.names)
    targets = [to.folder / f"{name}{to.suffix or '.mid'}" for name in takes.names(stem)]
    over = [target for target in targets if files.same(target, [song])]
    if over and not options.overwrite:
        raise InputError(f"{over[0]} is the input; choose another -o, or allow it with --overwrite")
    if over:
        _refuse_damaged(song)
    studio = loading.open_studio(options)
    with progress.bar("writing", quiet=options.json) as on_bar:
        edits = studio.edit(request, takes.variations, on_bar)
    paths = _write(edits, targets, to.folder, request, plot=not options.no_plot)
    for warning in edits[0].warnings:
        printing.warn(f"{song}: {warning}")
    found = [
        {"files": written, "why": edit.why(), "warnings": edit.warnings, **edit.settings}
        for edit, written in zip(edits, paths, strict=True)
    ]
    printing.results(found, options.json)
    return 0


def _refuse_damaged(song: Path) -> None:
    """Raises InputError where a file cannot be read whole: what is lost would be lost for good."""
    from midivibe.midi.smf import read_file

    if damage := read_file(song).warnings:
        raise InputError(f"{song} is damaged ({damage[0]}), and overwriting it would lose the rest; choose another -o")


def _write(edits: Sequence[Edit], targets: Sequence[Path], folder: Path, request: EditWish, *, plot: bool) -> list[list[str]]:
    """Write the edited files and their piano rolls; returns the paths of each."""
    with files.staging(folder) as place:
        made = []
        for edit, target in zip(edits, targets, strict=True):
            paths = [edit.save(place / target.name)]
            if plot and any(edit.new.values()):
                paths.append(edit.plot(place / files.roll_name(folder, target.stem, [request.image])))
            made.append(paths)
        return files.publish(made, folder, [request.image])


FLAGS = {
    "inpaint": partial(_edit_flags, run=inpaint, kind=Inpaint, own=("bars", "tracks", "keep_rhythm")),
    "continue": partial(_edit_flags, run=continue_, kind=Continue, own=("bars",)),
    "accompany": partial(_edit_flags, run=accompany, kind=Accompany, own=("instruments", "bars")),
    "vary": partial(_edit_flags, run=vary, kind=Vary, own=("amount", "bars", "tracks", "keep_rhythm")),
}
"""Command → the function that adds its flags."""
