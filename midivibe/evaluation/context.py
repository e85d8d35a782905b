"""What the sections of a report share: the model, people's music, the options, and the folder with composed pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from symusic import Score

from midivibe.config import SampleConfig
from midivibe.evaluation.baselines import Markov
from midivibe.evaluation.options import FEWEST, MARGIN, Options
from midivibe.evaluation.pieces import HumanPiece, compose, human_pieces, like, on_grid, require, settle
from midivibe.midi.notes import Notes
from midivibe.piece import Settings
from midivibe.requests import Compose
from midivibe.studio import Studio
from midivibe.training.dataset import Corpus

Result = dict[str, Any]
"""What a section measured: values that JSON can hold, NumPy's numbers and NaN included."""
SEEDS = 100_000
"""Between the first seeds of two sets of pieces: no set has as many."""


@dataclass(frozen=True)
class Section:
    """One section of a report: what it measures, and how its part of the page looks.

    `layout` takes what `measure` returned, read back from JSON, and the report's folder; it returns HTML. `needs` names the
    options without which the section is left out, each with what to say then.
    """

    name: str
    measure: Callable[[Context], Result]
    layout: Callable[[Result, Path], str]
    needs: Mapping[str, str] = field(default_factory=dict)

    def missing(self, options: Options) -> str:
        """What is needed and was not given, in words; empty where nothing is missing."""
        return next((reason for name, reason in self.needs.items() if getattr(options, name) is None), "")


@dataclass
class Context:
    """A checkpoint, a split of a corpus, and the folder `out` of the report.

    `listener` hears of the section, the steps done and the steps in all.
    """

    folder: Path
    studio: Studio
    corpus: Corpus
    corpus_folder: Path
    options: Options
    out: Path
    listener: Callable[[str, int, int], None] = lambda section, done, of: None

    def progress(self, section: str, of: int) -> Callable[[int], None]:
        """A function that takes how many more of the `of` steps are done."""
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            self.listener(section, done, of)

        return advance

    @cached_property
    def human(self) -> tuple[list[HumanPiece], list[HumanPiece]]:
        """Two halves of people's pieces, no song in both: what we ask for, and what everything is compared with."""
        return self.halves(self.options.bars, self.options.pieces)

    def halves(self, bars: int, count: int) -> tuple[list[HumanPiece], list[HumanPiece]]:
        """Pieces of some length, up to `count` a half; a song is in the same half at every length."""
        every = human_pieces(self.corpus, 3 * count, bars, self.options.seed)
        first = {s for s in {p.song for p in every} if hashlib.sha1(s.encode()).digest()[0] % 2}
        halves = [p for p in every if p.song in first], [p for p in every if p.song not in first]
        for half in halves:
            require(half, FEWEST, f"held-out pieces of {bars} bars")
        return halves[0][:count], halves[1][:count]

    def settings_like(
        self, asked: Sequence[HumanPiece], count: int, bars: int, seed: int, sampling: SampleConfig | None = None
    ) -> list[Settings]:
        """Settings that ask for people's pieces, in turn; longer by the margins that `inner` takes off at both ends."""
        made = [like(self.studio, asked[i % len(asked)], bars + 2 * MARGIN, seed * SEEDS + i) for i in range(count)]
        return [replace(s, sampling=sampling or self.options.sampling) for s in made]

    def settings_of(self, wishes: Sequence[Compose], seed: int = 0) -> list[Settings]:
        """Settings of these wishes, with the evaluation's sampling."""
        made = [settle(self.studio, replace(wish, seed=seed * SEEDS + i)) for i, wish in enumerate(wishes)]
        return [replace(s, sampling=self.options.sampling) for s in made]

    def compose(
        self, name: str, settings: Sequence[Settings], advance: Callable[[int], None], by: Studio | None = None
    ) -> list[Score]:
        """The pieces of these settings in the folder of that name, composed now or before; `by` another studio if named."""
        return compose(by or self.studio, settings, self.out / "pieces" / name, advance)

    @cached_property
    def settings_of_ours(self) -> list[Settings]:
        """Settings of our pieces that several sections measure: one like each of the first half of people's."""
        asked = self.human[0]
        return self.settings_like(asked, len(asked), self.options.bars, self.options.seed + 1)

    def ours(self, advance: Callable[[int], None]) -> list[Score]:
        """Our whole pieces that several sections measure."""
        return self.compose("ours", self.settings_of_ours, advance)

    def inner(self, scores: Sequence[Score], bars: int) -> list[Notes]:
        """The inside of composed pieces: people's are mostly cut from inside a song, without its beginning and its end."""
        return [on_grid(s, self.studio, MARGIN, bars) for s in scores]

    def markov(self, *orders: int) -> list[Markov]:
        """Markov models of the training split, counted on windows spread evenly over it."""
        train = Corpus(self.corpus_folder, "train")
        step = max(1, len(train) // self.options.training_windows)
        ids = [train.plain(r).ids for r in range(0, len(train), step)]
        return [Markov(order, len(train.vocabulary)).fit(ids) for order in orders]


__all__ = ["Context", "Result", "Section"]
