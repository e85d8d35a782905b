"""What an evaluation measures, and how much of it. Nothing heavy is imported here: the command line reads it."""

from __future__ import annotations

from dataclasses import dataclass

from midivibe.config import FILLING, SampleConfig, StrictConfig, option
from midivibe.errors import InputError
from midivibe.requests import MAX_BARS

FEWEST = 8
"""Pieces on each side below which nothing is compared: a bootstrap of fewer says too little."""
MARGIN = 4
"""Bars composed before and after those that are compared: people's are mostly cut from inside a song."""
LONGEST = MAX_BARS - 2 * MARGIN
"""Bars of a compared piece; with both margins it can still be composed."""


@dataclass(frozen=True)
class Options(StrictConfig):
    """What an evaluation measures, and how much of it.

    Raises:
        InputError: a value out of its range, or pictures without rated music.
    """

    pieces: int = option(200, "pieces of people's and of the model's to compare", low=FEWEST, metavar="N")
    bars: int = option(16, "length of each compared piece", low=1, high=LONGEST, unit="bars", metavar="N")
    split: str = option("test", "the songs to compare with; choose settings on valid, report on test",
                        choices=("test", "valid", "train"))  # fmt: skip
    seed: int = option(0, "the same seed gives the same pieces and figures", low=0, high=2**32 - 1, metavar="N")
    rated: str | None = option(None, "a CSV of rated music, which trains the judge of the section mood", metavar="CSV")
    pictures: str | None = option(None, "a folder of pictures for the section mood; needs --rated", metavar="FOLDER")
    sections: tuple[str, ...] = option((), "measure only these, separated by commas; all by default", metavar="LIST")
    sampling: SampleConfig = option(SampleConfig(), "how pieces are sampled")
    filling: SampleConfig = option(FILLING, "how holes are sampled")
    windows: int = option(300, "held-out windows that the likelihood is measured on", low=2, metavar="N")
    training_windows: int = option(30_000, "training windows that the Markov models are counted on", low=1, metavar="N")
    searched_windows: int = option(10**9, "training windows that are searched for copies", low=1, metavar="N")
    judge_epochs: int = option(24, "passes over the rated music when the judge is trained", low=1, metavar="N")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pictures and not self.rated:
            raise InputError("--pictures needs --rated: the judge must learn what moods sound like")

    @classmethod
    def quick(cls) -> Options:
        """Few pieces, for a first look in minutes."""
        return cls(pieces=12, bars=8, windows=12, training_windows=2_000, searched_windows=10_000, judge_epochs=6)


__all__ = ["FEWEST", "MARGIN", "Options"]
