"""doctor: is this installation whole?"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from midivibe.cli import flags, loading

if TYPE_CHECKING:
    from midivibe.cli.parser import Parser


def _doctor_flags(parser: Parser) -> None:
    parser.runs(doctor)
    flags.add(parser, loading.Model, names=("checkpoint",))
    flags.as_json(parser)


def doctor(options: argparse.Namespace) -> int:
    """Check Python, torch, the synthesizer, soundfont, checkpoint and engine, and compose a test piece of 2 bars."""
    from midivibe.doctor import examine

    findings = examine(flags.read(options, loading.Model).checkpoint)
    if options.json:
        print(json.dumps([vars(f) for f in findings], indent=1))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name:<12} {finding.detail}")
            if not finding.ok:
                print(f"      {'':<12} to fix it: {finding.mend}")
    return 0 if all(f.ok for f in findings) else 1


FLAGS = {"doctor": _doctor_flags}
"""Command → the function that adds its flags."""
