"""The command line: parse, call, print. What a command needs is imported inside it, so that --help is quick."""

from midivibe.cli.main import build_parser, main

__all__ = ["build_parser", "main"]
