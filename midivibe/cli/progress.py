"""What a person sees on stderr while work goes on; nothing where nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

Row = dict[str, Any]
"""A row of a training run's metrics."""


def _watched(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()


@contextmanager
def bar(what: str, unit: str = "", *, quiet: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with the time left; its function takes how much is done, and how much there is. None where nobody watches.

    With a `unit` it shows counts, else the share that is done.
    """
    if not _watched(quiet):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    count: list[ProgressColumn] = [MofNCompleteColumn(), TextColumn(unit)] if unit else [TaskProgressColumn()]
    columns = (TextColumn(what), BarColumn(), *count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def files(what: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar of files with their rate; its function takes how many more are done, and how many of these were before."""
    if not _watched(quiet):
        yield lambda more, before: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    began, fresh = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, rate="")

        def advance(more: int, before: int) -> None:
            nonlocal fresh
            fresh += more - before
            progress.update(task, advance=more, rate=f"{fresh / max(time.monotonic() - began, 1e-3):.1f} files/s")

        yield advance


@contextmanager
def sections(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each section of an evaluation; its function takes the section's name, the steps done, and their number."""
    if not _watched(quiet):
        yield lambda section, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def show(section: str, done: int, of: int) -> None:
            if section not in tasks:
                tasks[section] = progress.add_task(section, total=of)
            progress.update(tasks[section], completed=done)

        yield show


@contextmanager
def training(out: Path) -> Iterator[Callable[[Row], None]]:
    """What a run says while it trains: a live line for a person, else a line for each check. Plots and samples go to `out`."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    watched = Live("", console=console, transient=True, refresh_per_second=2) if console.is_terminal else nullcontext()
    with watched as live:
        line = _TrainingLine()

        def hear(row: Row) -> None:
            if "sample" in row:
                _sample(row, out)
            elif "valid" in row:
                if row["valid"]:
                    console.print(line.check(row))
                _plot_losses(out)
            else:
                text = line.step(row)
                if live is not None:
                    live.update(text)

        yield hear


class _TrainingLine:
    """Where a run is, in a line; the time left is judged by the pace since it was started."""

    def __init__(self) -> None:
        self.began: tuple[float, float] | None = None
        """clock and progress at the first step"""
        self.held_out: Row = {}

    def check(self, row: Row) -> str:
        """The line of a check on held-out windows."""
        self.held_out = row["valid"]
        return (
            f"step {row['step']}: held out {self.held_out['nats_per_note']:.3f} nats a note, "
            f"KL {self.held_out['kl_per_window']:.1f} and shuffle gap {self.held_out['shuffle_gap']:.1f} nats a window"
        )

    def step(self, row: Row) -> str:
        """The line of a step."""
        now, done = time.monotonic(), row["progress"]
        self.began = self.began or (now, done)
        (began, first) = self.began
        left = (1 - done) * (now - began) / (done - first) if done > first else 0.0
        parts = [f"step {row['step']}", f"{row['tokens_per_s']:,.0f} tokens/s", f"{row['nats_per_token']:.3f} nats a token"]
        parts.append(f"KL {row['kl']:.1f}")
        if self.held_out:
            parts.append(f"held out {self.held_out['nats_per_note']:.3f} nats a note, gap {self.held_out['shuffle_gap']:.1f}")
        return "  ".join([*parts, f"{100 * done:.0f} %, {left / 60:.0f} min left"])


def _plot_losses(out: Path) -> None:
    try:
        from midivibe.output.curves import plot_run
    except ImportError:  # a training machine without matplotlib
        return
    plot_run(out / "metrics.jsonl", out / "loss.png")


def _sample(row: Row, out: Path) -> None:
    """A piece of 8 bars from the weights as they are: RUN/samples/step-001000.mid and .png."""
    try:
        from midivibe.studio import Studio
    except ImportError:  # a training machine without MIDI libraries
        return
    piece = Studio.open(row["sample"]).compose(vibe="valence=0.5", bars=8, seed=1)
    piece.save(out / "samples" / f"step-{row['step']:06d}.mid")
    piece.plot(out / "samples" / f"step-{row['step']:06d}.png")
