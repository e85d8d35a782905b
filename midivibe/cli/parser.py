"""The parser of one command. Its flags are added when they are first needed, so that no command pays for another's."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from midivibe.errors import nearest


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and which names the nearest flags where one is misspelt."""

    fill: Callable[[Parser], None] | None = None
    """adds the flags"""

    def filled(self) -> Parser:
        """The parser itself, with its flags."""
        fill, self.fill = self.fill, None
        if fill:
            fill(self)
        return self

    def runs(self, run: Callable[[argparse.Namespace], int]) -> None:
        """Say what the command runs; the docstring is its description."""
        self.set_defaults(run=run)
        self.description = " ".join((run.__doc__ or "").split())

    def parse_known_args(  # type: ignore[override]  # argparse's has overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        options, unknown = argparse.ArgumentParser.parse_known_args(self.filled(), args, namespace)
        if unknown:  # said here and not by the parser of all commands, which does not know the command's flags
            word = unknown[0].partition("=")[0]
            known = [flag for flag in self._option_string_actions if flag.startswith("--")]
            near = f"; the nearest are {nearest(word, known)}" if word.startswith("--") else ""
            self.error(f"unexpected argument {word!r}{near}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"midivibe: error: {message}; see {self.prog} --help\n")
