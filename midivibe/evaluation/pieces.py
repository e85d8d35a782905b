"""The pieces that are compared: people's, from the held-out songs of a corpus, and ours, composed into files.

Composed pieces are .mid files in a folder, so an interrupted evaluation resumes, and people can open what was measured.
What the evaluation asks of the studio is asked here (`settle`, `played_by`, `compose`) and in `infilling`.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from symusic import Score

from midivibe.errors import CorpusError
from midivibe.midi.notes import Notes, concatenate
from midivibe.midi.score import note_table, read
from midivibe.midi.theory import detect_key
from midivibe.model.engine.base import Engine
from midivibe.piece import Settings
from midivibe.requests import Compose
from midivibe.studio import Studio
from midivibe.tokens import layout
from midivibe.training.dataset import Corpus
from midivibe.vibe.axes import Vibe
from midivibe.vibe.music import pitch_class_weights, vibe_of
from midivibe.writing.composing import METERS

BATCH = 16
"""Pieces written side by side."""
FEWEST_NOTES = 32
"""Pitched notes of a piece that counts: a drum solo has no harmony to compare."""


@dataclass(frozen=True)
class HumanPiece:
    """Some bars of a held-out song in its own key; `vibe` is what they measure as."""

    notes: Notes
    song: str
    style: str
    vibe: Vibe


def window_notes(corpus: Corpus, row: int) -> Notes:
    """The notes of a window of a corpus, on the grid, in the song's own key."""
    v, order = corpus.vocabulary, corpus.columns["programs"][row].tolist()
    notes = layout.decode([*corpus.header(row, order), *corpus.ids[row].tolist()], v).notes
    tonic, mode = int(corpus.columns["tonic"][row]), corpus.columns["mode"][row]
    return layout.transpose(notes, -layout.home_shift(tonic, mode)) if tonic >= 0 else notes


def human_pieces(corpus: Corpus, count: int, bars: int, seed: int = 0) -> list[HumanPiece]:
    """Up to `count` pieces of `bars` bars from the songs of a split, no two of them sharing a bar; songs in random order.

    Songs give one piece each before any gives a second.
    """
    rng = np.random.default_rng(seed)
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, song in enumerate(corpus.columns["song"]):
        rows_of[song].append(row)
    found: dict[str, list[HumanPiece]] = {}
    for song in sorted(rows_of):
        runs = _runs(corpus, rows_of[song], bars)
        made = []
        for chosen in rng.permutation(len(runs))[: 2 + 2 * count // max(len(rows_of), 1)]:
            rows = runs[int(chosen)]
            notes = concatenate([window_notes(corpus, r) for r in rows]).window(0, bars)
            notes = layout.quantize(notes, corpus.vocabulary)  # what the last bar line cut has an odd length
            if enough(notes):
                made.append(HumanPiece(notes, song, corpus.columns["style"][rows[0]], vibe_of(notes)))
        if made:
            found[song] = made
    songs = [str(s) for s in rng.permutation(sorted(found))] if found else []
    return [found[s][turn] for turn in range(count) for s in songs if turn < len(found[s])][:count]


def _runs(corpus: Corpus, rows: Sequence[int], bars: int) -> list[list[int]]:
    """Rows of one song in runs of at least `bars` bars; windows of a held-out split follow one another, so a run is whole."""
    runs: list[list[int]] = []
    run: list[int] = []
    length = 0
    for row in rows:
        if corpus.columns["start"][row]:
            run, length = [], 0
        run.append(row)
        length += int(corpus.columns["bars"][row])
        if length >= bars:
            runs.append(run)
            run, length = [], 0
    return runs


def on_grid(score: Score, studio: Studio, first: int = 0, bars: int | None = None) -> Notes:
    """The notes of a composed score on the model's grid; of `bars` bars from `first` alone where that is asked."""
    notes = layout.quantize(note_table(score), studio.vocabulary)
    if bars is None:
        return notes
    first = min(first, max(notes.bars - bars, 0))  # silent last bars are not in a file
    return layout.quantize(notes.window(first, min(first + bars, notes.bars)), studio.vocabulary)


def at_home(notes: Notes) -> Notes:
    """The notes moved so that their key, as detected, is C major or A minor."""
    tonic, mode, _ = detect_key(pitch_class_weights(notes))
    return layout.transpose(notes, layout.home_shift(tonic, mode))


def enough(notes: Notes) -> bool:
    """Whether a piece has the 32 pitched notes that make it worth comparing, people's or ours."""
    return int(notes.pitched.sum()) >= FEWEST_NOTES


def settle(studio: Studio, wish: Compose) -> Settings:
    """The settings of a wish, as the studio makes them."""
    return studio.settle(wish)


def played_by(studio: Studio, engine: Engine, name: str = "") -> Studio:
    """The same studio with another engine, as `baselines.MarkovEngine`."""
    return Studio(engine, studio.vocabulary, name or studio.name)


def like(studio: Studio, piece: HumanPiece, bars: int, seed: int) -> Settings:
    """Settings that ask for what a human piece is: its vibe, its style and, where the model may choose it, its meter."""
    meter = "{}/{}".format(*piece.notes.bar_meter[0])
    known = meter if meter in METERS else None
    return settle(studio, Compose(vibe=sure(piece.vibe), style=piece.style, bars=bars, seed=seed, time_signature=known))


def sure(vibe: Vibe) -> Vibe:
    """The same vibe, every axis asked for."""
    return Vibe(vibe.values, (1.0,) * 7)


def compose(
    studio: Studio, settings: Sequence[Settings], folder: Path, listener: Callable[[int], None] = lambda more: None
) -> list[Score]:
    """The pieces of these settings: read from the folder where they are there already, else composed, 16 at a time.

    They share one sampling configuration. A file's name holds a digest of its settings, so no other piece is taken for it.
    `listener` hears how many more pieces are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digests = [hashlib.sha1(json.dumps(s.to_json(), sort_keys=True).encode()).hexdigest()[:8] for s in settings]
    files = [folder / f"{i:04d}-{digest}.mid" for i, digest in enumerate(digests)]
    waiting = [i for i, file in enumerate(files) if not file.exists()]
    listener(len(files) - len(waiting))
    for at in range(0, len(waiting), BATCH):
        chunk = waiting[at : at + BATCH]
        named = [replace(settings[i], title=f"{folder.name} {i}") for i in chunk]
        for i, piece in zip(chunk, studio.perform(named), strict=True):
            piece.save(files[i])
        listener(len(chunk))
    return [read(file) for file in files]


def require(pieces: Sequence[object], least: int, what: str) -> None:
    """Raises CorpusError where there are too few pieces."""
    if len(pieces) < least:
        raise CorpusError(f"{len(pieces)} {what} are too few to evaluate on; {least} is the least")


__all__ = [
    "HumanPiece", "at_home", "compose", "enough", "human_pieces", "like", "on_grid", "played_by", "require", "settle", "sure",
    "window_notes",
]  # fmt: skip
