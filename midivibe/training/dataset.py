"""Token windows → training batches. Needs torch, numpy and pyarrow, and no MIDI library.

An example is either a plain window or a hole example (`score.holes`); the order of programs is shuffled anew each time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from midivibe.config import TrainConfig
from midivibe.errors import CorpusError
from midivibe.model.latent import Batch
from midivibe.model.transformer import VIBE_INPUTS
from midivibe.score.grammar import COORDINATES, TEMPO, Vocabulary
from midivibe.score.holes import Window, coordinates, random_holes

SMALLEST_BATCH = 4
"""The guide normalises over a batch; a smaller remainder is left out of its epoch."""


@dataclass(frozen=True)
class Example:
    """One sequence: ids (T,), coordinates (T, 5), where the scored part begins, and the model's vibe input (14,)."""

    ids: np.ndarray
    coordinates: np.ndarray
    scored_from: int
    vibe: np.ndarray
    notes: int


class Corpus:
    """The rows of one split, ids kept flat in memory (2 bytes a token)."""

    def __init__(self, folder: str | Path, split: str) -> None:
        shards = sorted(Path(folder).glob("*.parquet"))
        if not shards:
            raise CorpusError(f"no .parquet shards in {folder}; make them with midivibe prepare")
        self.vocabulary = Vocabulary.load(Path(folder) / "tokenizer.json")
        columns: dict[str, list] = {}
        pieces = []
        for shard in shards:
            table = pq.read_table(shard)
            table = table.filter(np.array([s == split for s in table["split"].to_pylist()]))
            ids = table["ids"].combine_chunks()
            pieces += [np.asarray(chunk, dtype=np.uint16) for chunk in (row.values for row in ids)]
            for name in ("notes", "bars", "programs", "style", "mode", "meter", "tempo", "start", "end", "vibe", "song"):
                columns.setdefault(name, []).extend(table[name].to_pylist())
        self.ids = pieces
        self.columns = columns
        if not pieces:
            raise CorpusError(f"the split {split!r} of {folder} is empty")

    def __len__(self) -> int:
        return len(self.ids)

    def header(self, row: int, order: list[int], rng: random.Random | None = None) -> list[int]:
        """Header ids of a window; some training examples hide the style."""
        v, c = self.vocabulary, self.columns
        style = c["style"][row] if rng is None or rng.random() > 0.1 else "other"
        tempo = v.of_type[TEMPO][np.abs(np.log(v.tempos / c["tempo"][row])).argmin()]
        ids = [v["BOS_None"], v[f"Style_{style}"], v[f"Mode_{c['mode'][row]}"], v[f"TimeSig_{c['meter'][row]}"], int(tempo)]
        ids += [v[f"Program_{p}"] for p in order]
        return ids + [v["Start_None"]] * c["start"][row] + [v["End_None"]] * c["end"][row]

    def vibe_input(self, row: int, rng: random.Random | None, dropout: float) -> np.ndarray:
        """The 14 model inputs; while training, a share loses its vibe whole and some axes are hidden."""
        known = np.ones(7, dtype=np.float32)
        if rng is not None:
            draw = rng.random()
            if draw < dropout:
                known[:] = 0
            elif draw < 2.5 * dropout:
                known = np.array([rng.random() < 0.5 for _ in range(7)], dtype=np.float32)
        values = np.array(self.columns["vibe"][row], dtype=np.float32)
        return np.concatenate([(2 * values - 1) * known, known])

    def plain(self, row: int, rng: random.Random | None = None, vibe_dropout: float = 0.0) -> Example:
        """A whole window, everything scored but BOS. Without `rng` the order of programs is ascending."""
        v, order = self.vocabulary, list(self.columns["programs"][row])
        ids = self.ids[row].astype(np.int64)
        if rng is not None:
            rng.shuffle(order)
            ids = Window.cut(ids, v).body(order)
        ids = np.concatenate([self.header(row, order, rng), ids, [v["EOS_None"]]])
        return Example(ids, coordinates(ids, v), 1, self.vibe_input(row, rng, vibe_dropout), self.columns["notes"][row])

    def hole(self, row: int, rng: random.Random, vibe_dropout: float = 0.0) -> Example:
        """A window with a random hole: context, SEP, fill; only the fill is scored."""
        v, order = self.vocabulary, list(self.columns["programs"][row])
        rng.shuffle(order)
        window = Window.cut(self.ids[row].astype(np.int64), v)
        holes = random_holes(rng, window.bars, order)
        context = np.concatenate([self.header(row, order, rng), window.context(order, holes, v)])
        ids = np.concatenate([context, window.fill(order, holes, v), [v["EOS_None"]]])
        return Example(
            ids, coordinates(ids, v), len(context), self.vibe_input(row, rng, vibe_dropout), self.columns["notes"][row]
        )


def collate(examples: list[Example], length: int, pad: int = 0) -> Batch:
    """Examples → a padded batch of at most `length` predicted tokens; longer ones lose their end."""
    longest = min(max(len(e.ids) for e in examples), length + 1)
    longest = min(-(-(longest - 1) // 128) * 128, length) + 1  # few distinct shapes, so that compiled code is reused
    size = len(examples)
    ids = np.full((size, longest), pad, dtype=np.int64)
    coords = np.zeros((size, longest, COORDINATES), dtype=np.int64)
    loss = np.zeros((size, longest - 1), dtype=bool)
    visible = np.zeros((size, longest), dtype=bool)
    vibe = np.zeros((size, VIBE_INPUTS), dtype=np.float32)
    for i, e in enumerate(examples):
        n = min(len(e.ids), longest)
        ids[i, :n] = e.ids[:n]
        coords[i, :n] = e.coordinates[:n]
        loss[i, max(e.scored_from - 1, 0) : n - 1] = True
        visible[i, : e.scored_from if e.scored_from > 1 else n] = True  # the guide never reads a fill
        vibe[i] = e.vibe
    tensors = (torch.from_numpy(a) for a in (ids, coords, loss, visible, vibe))
    return Batch(*tensors)


def order_of_epoch(corpus: Corpus, epoch: int, config: TrainConfig) -> list[int]:
    """Rows of one epoch, shuffled, with rock thinned to its cap."""
    rng = random.Random(f"{config.seed}/{epoch}")
    styles = corpus.columns["style"]
    rows = list(range(len(corpus)))
    rock = sum(s == "rock" for s in styles)
    other = len(rows) - rock
    keep = 1.0
    if rock and config.sample_cap_rock < 1:
        keep = min(1.0, config.sample_cap_rock / (1 - config.sample_cap_rock) * other / rock)
    rows = [r for r in rows if styles[r] != "rock" or rng.random() < keep]
    rng.shuffle(rows)
    return rows


def batches(corpus: Corpus, config: TrainConfig, block_size: int, start: int = 0) -> Iterator[Batch]:
    """Endless batches of about `batch_tokens`, the same for the same seed; `start` skips that many without building them.

    Windows of similar length are put together (sorted in pools), so that little is padding.
    """
    step, epoch = 0, 0
    while True:
        rows = order_of_epoch(corpus, epoch, config)
        pool_size = 512
        for at in range(0, len(rows), pool_size):
            rng = random.Random(f"{config.seed}/{epoch}/{at}")
            pool = sorted(rows[at : at + pool_size], key=lambda r: -len(corpus.ids[r]))
            groups: list[list[int]] = []
            group: list[int] = []
            for row in pool:
                longest = min(len(corpus.ids[(group or [row])[0]]) * 1.05 + 40, block_size)
                if group and (len(group) + 1) * longest > config.batch_tokens:
                    groups.append(group)
                    group = []
                group.append(row)
            if len(group) >= min(SMALLEST_BATCH, len(pool)):
                groups.append(group)
            rng.shuffle(groups)
            for group in groups:
                step += 1
                if step > start:
                    own = random.Random(f"{config.seed}/{epoch}/{at}/{step}")
                    examples = [
                        corpus.hole(r, own, config.vibe_dropout)
                        if own.random() < config.hole_share
                        else corpus.plain(r, own, config.vibe_dropout)
                        for r in group
                    ]
                    yield collate(examples, block_size)
        epoch += 1


__all__ = ["Batch", "Corpus", "Example", "batches", "collate"]
