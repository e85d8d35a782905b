"""The parser of all commands, and what happens when one of them fails."""

from __future__ import annotations

import os
import sys

from midivibe.cli import compose, doctor, edit, evaluate, listen, printing, train
from midivibe.cli.flags import Parser
from midivibe.errors import MidivibeError
from midivibe.version import VERSION

GROUPS = (compose, edit, listen, train, evaluate, doctor)


def build_parser() -> Parser:
    """All commands with their flags."""
    parser = Parser(prog="midivibe", description="Turn a picture, a feeling or half a song into music you can edit.")
    parser.add_argument("--version", action="version", version=f"midivibe {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for group in GROUPS:
        group.add(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command line; returns the exit status: 0 done, 1 doctor found a fault, 2 bad input, 130 interrupted.

    Raises:
        SystemExit: --help, --version, or flags and commands that do not exist (status 2).
    """
    try:
        options = build_parser().parse_args(argv)
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
        return _fail(f"unexpected {type(error).__name__}: {error} (this is a bug; MIDIVIBE_DEBUG=1 shows where)", 1)


def _fail(message: str, status: int = 2) -> int:
    printing.error(message)
    return status
