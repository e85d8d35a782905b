"""The one decode loop: writers side by side, window by window, an id a turn.

A `Writer` is a header, a piece or a fill while it is written. It opens a window (a `Prompt`), takes the ids that are drawn
for it until it says that the window has ended, and closes it. The driver knows ids and engines, not music.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from midivibe.model.engine.base import Engine
from midivibe.writing.sampling import Constraint, Filter, Recall, prefill, write


@dataclass(frozen=True)
class Prompt:
    """What a window is written from: the ids before it, what may follow them, and how the model is conditioned."""

    ids: list[int]
    constraint: Constraint
    z: np.ndarray
    """(Z,) float32"""
    vibe: np.ndarray
    """(M,) float32"""
    recall: Recall | None = None
    filters: Sequence[Filter] = ()
    """of this row alone, applied before those of all rows"""


class Writer(Protocol):
    """One row of the loop."""

    generator: np.random.Generator

    def window(self, engine: Engine) -> Prompt | None:
        """Open the next window; None when all is written."""
        ...

    def take(self, token: int) -> bool:
        """Take an id; returns whether it ends the window."""
        ...

    def steering(self, engine: Engine) -> tuple[np.ndarray, np.ndarray] | None:
        """After an id: z (Z,) and vibe (M,) from here on, or None to go on as before."""
        ...

    def close(self) -> None:
        """Put away what was written in the window."""
        ...


def drive(
    engine: Engine, writers: Sequence[Writer], filters: Sequence[Filter], guidance: float, recall: float
) -> Iterator[None]:
    """Write until every writer is finished; a turn is one id of one of them. `recall` is the strength of recalls, 0 to 1."""
    while open_ := [(w, prompt) for w in writers if (prompt := w.window(engine)) is not None]:
        engine.begin(np.stack([p.z for _, p in open_]), np.stack([p.vibe for _, p in open_]), guidance)
        constraints = [p.constraint for _, p in open_]
        logits = [prefill(engine, row, p.ids, p.constraint) for row, (_, p) in enumerate(open_)]
        recalls = [p.recall for _, p in open_ if p.recall is not None]

        def done(row: int, token: int, rows: Sequence[tuple[Writer, Prompt]] = tuple(open_)) -> bool:
            writer = rows[row][0]
            ended = writer.take(token)
            steering = writer.steering(engine)
            if steering is not None:
                engine.steer(row, steering[0][None], steering[1][None])
            return ended

        generators, own = [w.generator for w, _ in open_], [p.filters for _, p in open_]
        for _ in write(engine, constraints, logits, list(filters), generators, done, recalls, recall, own):
            yield
        for writer, _ in open_:
            writer.close()


__all__ = ["Prompt", "Writer", "drive"]
