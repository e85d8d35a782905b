"""The parser of all commands, and what happens when one of them fails."""

from __future__ import annotations

import io
import os
import sys
from functools import partial
from importlib import import_module

from midivibe.cli import printing
from midivibe.cli.parser import Parser
from midivibe.errors import MidivibeError
from midivibe.version import VERSION

COMMANDS = {
    "compose": ("compose", "compose a piece from pictures, words or vibe axes"),
    "plan": ("plan", "print the plan of a song, or the plan that compose would follow"),
    "play": ("compose", "hear a piece while it is composed"),
    "inpaint": ("edit", "rewrite bars and tracks of a MIDI file, and nothing else"),
    "continue": ("edit", "write on after the end of a MIDI file"),
    "accompany": ("edit", "add tracks to a MIDI file"),
    "vary": ("edit", "rewrite a little or a lot of a MIDI file"),
    "vibe": ("listen", "say what a picture, a MIDI file or words feel like"),
    "render": ("listen", "render a MIDI file to audio"),
    "prepare": ("train", "turn MIDI files into a corpus to train on"),
    "train": ("train", "train a model on a corpus"),
    "export-onnx": ("train", "write the graphs that ONNX Runtime composes with"),
    "evaluate": ("evaluate", "measure how good a model is, beside human music"),
    "benchmark": ("evaluate", "measure how fast this machine is, beside peers"),
    "doctor": ("doctor", "check the installation"),
}
"""Command → the module that holds it, and what it does. Only the module of the command that runs is imported."""


def build_parser() -> Parser:
    """All commands; the flags of each are added when it is chosen."""
    parser = Parser(prog="midivibe", description="Turn a picture, a feeling or half a song into music you can edit.")
    parser.add_argument("--version", action="version", version=f"midivibe {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name, (module, what) in COMMANDS.items():
        commands.add_parser(name, help=what).fill = partial(_fill, name, module)
    return parser


def _fill(name: str, module: str, parser: Parser) -> None:
    """Add the flags of a command."""
    import_module(f"midivibe.cli.{module}").FLAGS[name](parser)


def main(argv: list[str] | None = None) -> int:
    """Run a command line; returns the exit status: 0 done, 1 doctor found a fault, 2 bad input, 130 interrupted.

    Raises:
        SystemExit: --help, --version, or flags and commands that do not exist (status 2).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows fewer letters loses some, and no result
            stream.reconfigure(errors="replace")
    try:
        options = build_parser().parse_args(argv)
        status: int = options.run(options)
        return status
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
        return _fail(f"unexpected {type(error).__name__}: {error} (this is a bug; MIDIVIBE_DEBUG=1 shows where)", 1)


def _fail(message: str, status: int = 2) -> int:
    printing.error(message)
    return status
