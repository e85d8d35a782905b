"""prepare, train and export-onnx: a model of your own."""

from __future__ import annotations

import argparse
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midivibe.cli import files, flags, printing, progress
from midivibe.config import FINE_TUNE, PRESETS, StrictConfig, TrainConfig, option, replace
from midivibe.errors import InputError

if TYPE_CHECKING:
    from midivibe.cli.parser import Parser

SAMPLE_EVERY = 1000
"""Steps between sample pieces of a run that is started here; from Python none are written unless asked for."""
NO_LIMIT = 10**9
"""Steps of a run that the clock ends."""
WORKERS_PER_CORE = 4
"""Most worker processes for each core; more would only cost memory."""
OFTEN_SET = (
    "max_minutes", "max_steps", "batch_tokens", "accumulate", "learning_rate", "seed", "precision", "compile", "sample_every",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Preparing(StrictConfig):
    """How a corpus is prepared."""

    workers: int | None = option(None, "worker processes; default one for each core", low=1, metavar="N")


@dataclass(frozen=True, kw_only=True)
class Shape(StrictConfig):
    """The network of a new run."""

    preset: str = option(
        "small",
        "shape of the network; mini has 1.7, small 5.8 and medium 24 million weights, debug is for tests",
        choices=tuple(PRESETS),
    )


def _prepare_flags(parser: Parser) -> None:
    parser.runs(prepare)
    parser.add_argument(
        "place", metavar="MIDI_FOLDER|CSV", help="a folder, or a CSV with a column path and, if you like, style, licence, "
        "source, song and split",
    )  # fmt: skip
    parser.add_argument("-o", "--out", metavar="CORPUS", required=True, help="folder for the corpus")
    parser.add_argument(
        "--cap", action="append", default=[], metavar="STYLE=SHARE",
        help="largest share of a style in training, such as rock=0.4; may be repeated",
    )  # fmt: skip
    flags.add(parser, Preparing)
    flags.as_json(parser)


def _train_flags(parser: Parser) -> None:
    parser.runs(train)
    parser.add_argument("corpus", metavar="CORPUS", help="a folder that midivibe prepare made")
    parser.add_argument("-o", "--out", metavar="RUN", required=True, help="folder of the run; compose --checkpoint RUN uses it")
    start = parser.add_argument_group("where to start")
    flags.add(start, Shape)
    start.add_argument(
        "--init", metavar="NAME|DIR",
        help=f"start from a checkpoint, such as small; the learning rate is {FINE_TUNE['learning_rate']:g} then by default",
    )  # fmt: skip
    start.add_argument("--resume", action="store_true", help="go on with the run in RUN; start it if there is none")
    how = parser.add_argument_group("how to train", "With --max-minutes and no --max-steps, only the clock ends the run.")
    flags.add(how, TrainConfig, names=OFTEN_SET, shown=replace(TrainConfig(), sample_every=SAMPLE_EVERY))
    how.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE",
        help="any setting of TrainConfig (midivibe/config.py), such as weight_decay=0.1; may be repeated",
    )  # fmt: skip


def _export_onnx_flags(parser: Parser) -> None:
    parser.runs(export_onnx)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint or run folder, or small; the graphs go into it")


def prepare(options: argparse.Namespace) -> int:
    """Turn MIDI files into a corpus: token shards, corpus.json and statistics.html.

    After an interruption, the same command goes on where it stopped.
    """
    caps = dict(_cap(text) for text in options.cap)
    cores = os.cpu_count() or 1
    workers = min(flags.read(options, Preparing).workers or cores, WORKERS_PER_CORE * cores)
    files.needs("pyarrow")
    from midivibe.training.corpus import prepare
    from midivibe.training.sources import sources_of
    from midivibe.training.statistics import write_page

    sources = sources_of(options.place)
    with progress.files("preparing", len(sources), quiet=options.json) as advance:
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
        print("  nothing is held out for validation, so training cannot tell learning from memorising")
    if "train" not in summary["splits"]:
        print("  nothing is left to train on: the table puts every usable song into another split")
    print(f"  {page}")
    return 0


def _cap(text: str) -> tuple[str, float]:
    """ "rock=0.4" → ("rock", 0.4); raises InputError."""
    style, _, share = text.partition("=")
    try:
        return style.strip().lower(), float(share)
    except ValueError:
        raise InputError(f"cannot read --cap {text!r}; write STYLE=SHARE, such as rock=0.4") from None


def train(options: argparse.Namespace) -> int:
    """Train a model on a corpus. Whenever it is stopped, --resume goes on. Several devices: torchrun -m midivibe train ..."""
    files.needs("pyarrow")
    if options.init and flags.given(options, Shape):
        raise InputError("--init brings its own shape; leave out --preset")
    shape, config = PRESETS[flags.read(options, Shape).preset], _train_config(options)

    from midivibe.model.folder import named
    from midivibe.training.trainer import Run

    init = named(options.init) if options.init else None
    out = Path(options.out)
    with progress.training(out) as listener:
        run = Run(options.corpus, out, shape, config, init, options.resume, listener)

        def stop(*_: object) -> None:
            run.stop = True
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C does not wait

        before = signal.signal(signal.SIGINT, stop)
        try:
            run.train()
        finally:
            signal.signal(signal.SIGINT, before)
    if run.stop:
        printing.error(f"interrupted and saved at step {run.step}; the same command with --resume goes on")
        return 130
    if run.workers.first:
        print(f"{out}: {run.step} steps, {run.tokens:,} tokens; midivibe compose ... --checkpoint {out}")
    return 0


def _train_config(options: argparse.Namespace) -> TrainConfig:
    """Settings of a run: those given, else those of fine-tuning where it starts from weights, else the defaults."""
    given = flags.given(options, TrainConfig) | flags.assigned(options.set, TrainConfig)
    wishes: dict[str, Any] = {"sample_every": SAMPLE_EVERY, **(FINE_TUNE if options.init else {}), **given}
    if wishes.get("max_minutes") and "max_steps" not in wishes:
        wishes["max_steps"] = NO_LIMIT
    return TrainConfig.from_dict(wishes)


def export_onnx(options: argparse.Namespace) -> int:
    """Write the graphs that make composing several times as fast on a CPU: decoder (8 and 32 bits), start and guide."""
    files.needs("onnx")
    from midivibe.model.checkpoint import load
    from midivibe.model.export import export
    from midivibe.model.folder import locate, weights_digest

    folder = locate(options.checkpoint)
    model, _ = load(folder)
    for path in export(model, folder, weights_digest(folder)):
        print(f"{path}  {path.stat().st_size:,} bytes")
    return 0


FLAGS = {"prepare": _prepare_flags, "train": _train_flags, "export-onnx": _export_onnx_flags}
"""Command → the function that adds its flags."""
