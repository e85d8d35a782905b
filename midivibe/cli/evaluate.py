"""evaluate and benchmark: how good a model is, and how fast."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midivibe.cli import files, flags, loading, progress
from midivibe.config import SampleConfig, StrictConfig, option, replace
from midivibe.evaluation.options import Options

if TYPE_CHECKING:
    from midivibe.cli.parser import Parser


@dataclass(frozen=True, kw_only=True)
class Turns(StrictConfig):
    """How often a benchmark measures."""

    rounds: int = option(
        5, "rounds in which all candidates take turns; figures are medians; training takes at most 3", low=1, metavar="N"
    )


def _evaluate_flags(parser: Parser) -> None:
    parser.runs(evaluate)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint or run folder, or small")
    parser.add_argument("corpus", metavar="CORPUS", help="a folder that midivibe prepare made")
    parser.add_argument("-o", "--out", metavar="REPORT", required=True, help="folder for report.html, report.json and pieces")
    what = parser.add_argument_group("what to measure")
    flags.add(what, Options, names=("pieces", "split", "seed", "sections", "rated", "pictures"))
    what.add_argument("--quick", action="store_true", help="12 pieces of 8 bars, for a first look in 3 minutes")
    flags.add(parser.add_argument_group("how to draw the notes"), SampleConfig)
    flags.add(parser.add_argument_group("model"), loading.Model, names=("engine",))
    flags.as_json(parser)


def _benchmark_flags(parser: Parser) -> None:
    parser.runs(benchmark)
    flags.add(parser, loading.Model, names=("checkpoint",))
    parser.add_argument(
        "-o",
        "--out",
        metavar="DIR",
        default=".",
        help="folder for benchmark.json and benchmark.png (default the current folder)",
    )
    parser.add_argument("--image", metavar="IMAGE", help="a picture for the cold start")
    parser.add_argument("--corpus", metavar="CORPUS", help="also measure training, on this corpus")
    flags.add(parser, Turns)
    parser.add_argument("--only", metavar="A,B", help="measures to take, such as decoding,composing (default all)")
    flags.as_json(parser)


def evaluate(options: argparse.Namespace) -> int:
    """Measure a model beside human music: likelihood, distance, control, latent, originality, infilling and mood.

    After an interruption, the same command goes on where it stopped.
    """
    files.needs("pyarrow")
    files.needs("scipy")
    files.needs("sklearn")
    from midivibe.evaluation.report import Evaluation

    wishes = flags.given(options, Options) | {"sampling": flags.read(options, SampleConfig)}
    wishes["sections"] = _names(wishes.get("sections"))
    settings = replace(Options.quick() if options.quick else Options(), **wishes)
    engine = flags.read(options, loading.Model).engine
    with progress.sections(quiet=options.json) as listener:
        report = Evaluation(options.checkpoint, options.corpus, options.out, settings, engine, listener).run()
    if options.json:
        print(json.dumps(report))
    else:
        print(f"{Path(options.out) / 'report.html'}\n{Path(options.out) / 'report.json'}")
    return 0


def benchmark(options: argparse.Namespace) -> int:
    """Time decoding, composing, playing, cold start, audio, corpora and training in one run, beside transformers and minGPT."""
    files.needs("pyarrow", "benchmark")
    from midivibe.benchmark.measure import benchmark

    def say(name: str) -> None:
        if sys.stderr.isatty():
            print(f"measuring {name.replace('_', ' ')} ...", file=sys.stderr)

    rounds, only = flags.read(options, Turns).rounds, _names(options.only)
    checkpoint = flags.read(options, loading.Model).checkpoint
    figures = benchmark(checkpoint, options.out, options.image, options.corpus, rounds, only, say)
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


def _names(text: str | None) -> tuple[str, ...]:
    """ "a, b" → ("a", "b")."""
    return tuple(s.strip() for s in (text or "").split(",") if s.strip())


def _flat(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}: ")
        elif not isinstance(value, list):
            yield before + key.replace("_", " "), value


FLAGS = {"evaluate": _evaluate_flags, "benchmark": _benchmark_flags}
"""Command → the function that adds its flags."""
