"""Which model a command uses."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midivibe.cli import flags, printing
from midivibe.config import StrictConfig, option
from midivibe.model.folder import ENGINES

if TYPE_CHECKING:
    from midivibe.studio import Studio


@dataclass(frozen=True, kw_only=True)
class Model(StrictConfig):
    """Which weights, and what runs them."""

    checkpoint: str | None = option(
        None, "name of a shipped checkpoint, or a checkpoint or run folder (default small)", metavar="NAME|DIR"
    )
    engine: str = option(
        "auto", "what runs the model; auto is onnx if the checkpoint has its graphs, else torch", choices=ENGINES
    )


def open_studio(options: argparse.Namespace) -> Studio:
    """The checkpoint and engine asked for; says so where a faster engine could run."""
    from midivibe.studio import Studio

    model = flags.read(options, Model)
    studio = Studio.open(model.checkpoint, model.engine)
    if studio.note:
        printing.note(f"torch runs the model, which is slower: {studio.note}")
    return studio
