"""Token windows → training batches. Needs torch, numpy and pyarrow, and no MIDI library.

An example is either a plain window or a hole example (`tokens.holes`); the order of programs is shuffled anew each time.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from midivibe.config import TrainConfig
from midivibe.errors import CorpusError, EmptySplitError
from midivibe.model.latent import Batch
from midivibe.tokens.holes import Window, leaping, random_holes
from midivibe.tokens.layout import Header
from midivibe.tokens.leads import is_plan, without
from midivibe.tokens.places import coordinates
from midivibe.tokens.vocabulary import COORDINATES, Vocabulary
from midivibe.vibe.axes import AXES, Vibe

FORMAT = 3
"""Of a corpus folder, in corpus.json."""

SMALLEST_BATCH = 4
"""The guide normalises over a batch: none is smaller, and a smaller remainder is left out of its epoch."""

ROUND = 8
"""A batch is as long as its longest example, rounded up to this: 128 made 12 % of a batch padding, 16 makes it 4 to 6 %."""

POOL = 4096
"""Windows sorted by length together, so that little of a batch is padding."""


@dataclass(frozen=True)
class Example:
    """One sequence: ids (T,), coordinates (T, 5), where the scored part begins, and what the model reads of the vibe (M,).

    `seed` fixes the noise that the example meets in training, whichever batch or process it lands in. `plan` (T,) marks the
    ids of the plan, which are not scored where it is `given`. `manner` is another window of the same song from which the guide
    is to read z, as ids and coordinates; without it the guide reads the example itself.
    """

    ids: np.ndarray
    coordinates: np.ndarray
    scored_from: int
    vibe: np.ndarray
    notes: int
    seed: int = 0
    plan: np.ndarray | None = None
    given: bool = False
    manner: tuple[np.ndarray, np.ndarray] | None = None


class Ragged:
    """Rows of different lengths, flat in one array."""

    def __init__(self, parts: list[np.ndarray], lengths: list[np.ndarray]) -> None:
        self.values = np.concatenate(parts)
        self.lengths = np.concatenate(lengths).astype(np.int64)
        self._ends = np.cumsum(self.lengths)

    @classmethod
    def of(cls, tables: list[pa.Table], name: str, kind: type[np.generic]) -> Ragged:
        """A column of lists."""
        chunks = [chunk for table in tables for chunk in table[name].chunks]
        return cls([np.asarray(c.flatten(), dtype=kind) for c in chunks], [np.diff(np.asarray(c.offsets)) for c in chunks])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> np.ndarray:
        end = self._ends[row]
        return self.values[end - self.lengths[row] : end]


STYLE_DROPOUT = 0.1
"""Training examples whose style is hidden: most people ask for none."""
GIVEN = 0.4
"""Plain examples whose plan is given beforehand: it is read, with the coming chord, and not scored."""
UNWRITTEN = 0.4
"""Hole examples whose fill writes its chords; the others keep those that were there."""
LEAPS = 0.1
"""Plain examples that leap over some bars (`holes.leaping`)."""

TEXTS = ("style", "mode", "meter", "song")
NUMBERS = ("notes", "bars", "tonic", "tempo", "start", "end")


def _summary(folder: Path) -> dict[str, Any]:
    """corpus.json; raises CorpusError where there is none that this version reads."""
    try:
        read = json.loads((folder / "corpus.json").read_text())
    except (OSError, ValueError) as error:
        raise CorpusError(f"{folder} has no readable corpus.json; run midivibe prepare again") from error
    summary: dict[str, Any] = read if isinstance(read, dict) else {}
    found_format = summary.get("format")
    if found_format != FORMAT:
        raise CorpusError(f"{folder} has corpus format {found_format}, this version reads {FORMAT}; prepare it again")
    if not isinstance(summary.get("caps", {}), dict):
        raise CorpusError(f"{folder} has a damaged corpus.json; run midivibe prepare again")
    return summary


def _table(shard: Path, split: str) -> pa.Table:
    """The rows of one split; raises CorpusError where the file is damaged."""
    names = ["ids", "programs", "vibe", *TEXTS, *NUMBERS]
    try:
        table = pq.read_table(shard, columns=names, filters=[("split", "=", split)]).combine_chunks()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorpusError(f"damaged shard {shard}: {error}; run midivibe prepare again") from error
    if any(table[name].null_count for name in names):
        raise CorpusError(f"damaged shard {shard}: it has empty cells; run midivibe prepare again")
    return table


class Corpus:
    """The rows of one split in memory, 2 bytes a token; `columns` holds an array a column, `ids` the bars' tokens.

    With `shards`, the rows of those files alone.

    Raises:
        CorpusError: no corpus in the folder, an unfinished one, one of another format, a damaged shard, an empty split.
    """

    def __init__(self, folder: str | Path, split: str, shards: list[Path] | None = None) -> None:
        folder = Path(folder)
        read = sorted(folder.glob("*.parquet")) if shards is None else shards
        if not read:
            unfinished = (folder / ".pieces").is_dir()
            state = f"the corpus in {folder} is unfinished" if unfinished else f"no .parquet shards in {folder}"
            raise CorpusError(
                f"{state}; " + ("run midivibe prepare again" if unfinished else "make them with midivibe prepare")
            )
        summary = _summary(folder)
        self.caps: dict[str, float] = summary.get("caps", {})
        self.vocabulary = Vocabulary.load(folder / "tokenizer.json")
        self.plans = True
        """whether examples hold the ids of the plan; set it to False for a model that does not know them"""
        tables = [_table(shard, split) for shard in read]
        stored = sum(pq.read_metadata(shard).num_rows for shard in read)
        if shards is None and stored != summary.get("windows"):
            raise CorpusError(f"{folder} holds {stored} of {summary.get('windows')} windows; run midivibe prepare again")
        if not sum(map(len, tables)):
            raise EmptySplitError(f"the split {split!r} of {folder} is empty")
        self.ids = Ragged.of(tables, "ids", np.uint16)
        self.columns: dict[str, Any] = {"programs": Ragged.of(tables, "programs", np.int16)}
        self.columns["vibe"] = Ragged.of(tables, "vibe", np.float32).values.reshape(-1, len(AXES))
        for name in TEXTS:
            texts = [sys.intern(text) for table in tables for text in table[name].to_pylist()]
            self.columns[name] = np.array(texts, dtype=object)
        for name in NUMBERS:
            self.columns[name] = np.concatenate([table[name].to_numpy() for table in tables])
        self._refuse_strange_rows(folder)

    def _refuse_strange_rows(self, folder: Path) -> None:
        """Raises CorpusError where a row holds what the vocabulary does not know, or no music."""
        if self.ids.values.max(initial=0) >= len(self.vocabulary):
            raise CorpusError(f"{folder} holds ids beyond its tokenizer.json; run midivibe prepare again")
        kinds = (("Style", "style"), ("Mode", "mode"), ("TimeSig", "meter"))
        named = [f"{kind}_{x}" for kind, name in kinds for x in set(self.columns[name])]
        named += [f"Program_{p}" for p in np.unique(self.columns["programs"].values)]
        strange = [n for n in named if n not in self.vocabulary]
        if strange or (self.columns["notes"] < 1).any() or not np.isfinite(self.columns["vibe"]).all():
            raise CorpusError(f"{folder} holds rows of another vocabulary or none ({', '.join(strange[:3])}); prepare it again")

    def __len__(self) -> int:
        return len(self.ids)

    def header(self, row: int, order: list[int], rng: random.Random | None = None) -> list[int]:
        """The ids of `header_of`."""
        return self.header_of(row, order, rng).ids(self.vocabulary)

    def header_of(self, row: int, order: list[int], rng: random.Random | None = None) -> Header:
        """The header of a window, its programs in some order; some training examples hide the style."""
        c = self.columns
        style = c["style"][row] if rng is None or rng.random() > STYLE_DROPOUT else "other"
        numerator, denominator = map(int, c["meter"][row].split("/"))
        return Header(
            tuple(order), style, c["mode"][row], (numerator, denominator), float(c["tempo"][row]), bool(c["start"][row]),
            bool(c["end"][row]),
        )  # fmt: skip

    def vibe_input(self, row: int, rng: random.Random | None, dropout: float) -> np.ndarray:
        """What the model reads of a window's vibe: (M,).

        While training, a share of windows (`dropout`) loses its vibe whole, and one and a half times as many lose half of
        the axes, so that the model learns to be asked for some of them.
        """
        known = [True] * len(AXES)
        if rng is not None:
            draw = rng.random()
            if draw < dropout:
                known = [False] * len(AXES)
            elif draw < 2.5 * dropout:
                known = [rng.random() < 0.5 for _ in AXES]
        return Vibe(tuple(self.columns["vibe"][row].tolist()), tuple(map(float, known))).array()

    def plain(self, row: int, rng: random.Random | None = None, config: TrainConfig | None = None) -> Example:
        """A whole window, everything scored but BOS. Without `rng` programs ascend, and all of the plan is said."""
        v, order = self.vocabulary, self.columns["programs"][row].tolist()
        ids, given = self._said(row, rng, config), False
        if rng is not None:
            rng.shuffle(order)
            window = Window.cut(ids, v)
            if rng.random() < LEAPS:
                window = leaping(rng, window, v)
            ids, given = window.body(order), rng.random() < GIVEN
        ids = np.concatenate([self.header(row, order, rng), ids, [v["EOS_None"]]])
        example = self._example(row, ids, 1, rng, config, given)
        if rng is not None and config is not None and rng.random() < config.manner:
            return replace(example, manner=self._other(row, rng))
        return example

    def hole(self, row: int, rng: random.Random, config: TrainConfig | None = None) -> Example:
        """A window with a random hole: context, SEP, fill; only the fill is scored."""
        v, order = self.vocabulary, self.columns["programs"][row].tolist()
        rng.shuffle(order)
        window = Window.cut(self._said(row, rng, config), v)
        holes = random_holes(rng, window.bars, order)
        bars = frozenset(bar for bar, _ in holes)
        if rng.random() < 0.5:  # who fills a hole does not know what returned there
            hidden = [without(p, v, returns=bar in bars) for bar, p in enumerate(window.prefix)]
            window = Window(hidden, window.cells)
        unwritten = bars if rng.random() < UNWRITTEN else frozenset()
        context = np.concatenate([self.header(row, order, rng), window.context(order, holes, v, unwritten)])
        ids = np.concatenate([context, window.fill(order, holes, v, unwritten), [v["EOS_None"]]])
        return self._example(row, ids, len(context), rng, config)

    def _said(self, row: int, rng: random.Random | None, config: TrainConfig | None) -> np.ndarray:
        """The ids of a window's bars; while training, some without their chords, sections or returns."""
        ids = self.ids[row].astype(np.int64)
        dropped = [not self.plans] * 3
        if self.plans and rng is not None and config is not None:
            dropped = [rng.random() < config.plan_dropout for _ in dropped]
        return without(ids, self.vocabulary, chords=dropped[0], sections=dropped[1], returns=dropped[2])

    def _other(self, row: int, rng: random.Random) -> tuple[np.ndarray, np.ndarray] | None:
        """Another window of the same song, whole, as the guide reads it; None where there is none."""
        others = [r for r in self._windows_of[self.columns["song"][row]] if r != row]
        if not others:
            return None
        other = self.plain(rng.choice(others), rng)
        return other.ids, other.coordinates

    @cached_property
    def _windows_of(self) -> dict[str, list[int]]:
        """The rows of each song."""
        found: dict[str, list[int]] = {}
        for row, song in enumerate(self.columns["song"]):
            found.setdefault(song, []).append(row)
        return found

    def _example(
        self, row: int, ids: np.ndarray, scored_from: int, rng: random.Random | None, config: TrainConfig | None,
        given: bool = False,
    ) -> Example:  # fmt: skip
        vibe = self.vibe_input(row, rng, config.vibe_dropout if config else 0.0)
        seed, plan = rng.getrandbits(63) if rng else 0, is_plan(ids, self.vocabulary)
        places = coordinates(ids, self.vocabulary, ahead=given)
        return Example(ids, places, scored_from, vibe, int(self.columns["notes"][row]), seed, plan, given)


def collate(examples: list[Example], length: int, pad: int = 0, latent: int = 0) -> Batch:
    """Examples → a padded batch of at most `length` predicted tokens; longer ones lose their end.

    With `latent`, each example brings its own noise: `noise` (B, latent) normal for z, `chance` (B, T) for token dropout.
    """
    ids, coords = _padded([(e.ids, e.coordinates) for e in examples], length, pad)
    size, longest = ids.shape
    loss, plan = np.zeros((2, size, longest - 1), dtype=bool)
    visible = np.zeros((size, longest), dtype=bool)
    noise = np.zeros((size, latent), dtype=np.float32)
    chance = np.ones((size, longest - 1), dtype=np.float32)
    for i, e in enumerate(examples):
        n = min(len(e.ids), longest)
        loss[i, max(e.scored_from - 1, 0) : n - 1] = True
        if e.plan is not None:
            plan[i, : n - 1] = e.plan[1:n]
            loss[i] &= not e.given or ~plan[i]
        visible[i, : e.scored_from if e.scored_from > 1 else n] = True  # the guide never reads a fill
        if latent:
            rng = np.random.default_rng(e.seed)
            noise[i] = rng.standard_normal(latent)
            chance[i, : n - 1] = rng.random(n - 1)
    vibe = np.stack([e.vibe for e in examples]).astype(np.float32)
    arrays = {"ids": ids, "coordinates": coords, "loss": loss, "visible": visible, "vibe": vibe, "plan": plan}
    if latent:
        arrays |= {"noise": noise, "chance": chance}
    tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
    batch = Batch(**tensors)
    if any(e.manner for e in examples):
        read = [e.manner or (e.ids[: e.scored_from if e.scored_from > 1 else None], e.coordinates) for e in examples]
        others, places = _padded(read, length, pad)
        seen = np.arange(others.shape[1])[None] < np.array([[len(r)] for r, _ in read])
        batch = replace(batch, read=tuple(map(torch.from_numpy, (others, places, seen))))
    return batch


def _padded(rows: list[tuple[np.ndarray, np.ndarray]], length: int, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids (B, T+1) and coordinates (B, T+1, K) of several sequences, T at most `length`."""
    longest = min(max(len(ids) for ids, _ in rows), length + 1)
    longest = min(-(-(longest - 1) // ROUND) * ROUND, length) + 1
    every = np.full((len(rows), longest), pad, dtype=np.int64)
    places = np.zeros((len(rows), longest, COORDINATES), dtype=np.int64)
    for i, (ids, coords) in enumerate(rows):
        n = min(len(ids), longest)
        every[i, :n], places[i, :n] = ids[:n], coords[:n]
    return every, places


def epoch_rows(styles: np.ndarray, caps: dict[str, float], epoch: int, seed: int) -> list[int]:
    """Rows of one epoch, shuffled; styles over their cap are thinned to it, each epoch to another choice."""
    rng = random.Random(f"{seed}/{epoch}")
    keep = kept_shares(Counter(styles), caps)
    rows = [r for r in range(len(styles)) if keep[styles[r]] == 1.0 or rng.random() < keep[styles[r]]]
    rng.shuffle(rows)
    return rows


def kept_shares(counts: Counter[str], caps: dict[str, float]) -> dict[str, float]:
    """What share of each style stays, so that none has more than its cap of what is left.

    Raises:
        CorpusError: each of several styles is capped, and the caps add up to less than the whole.
    """
    if len(counts) > 1 and sum(caps.get(style, 1.0) for style in counts) < 1 - 1e-9:
        styles = ", ".join(f"{style} {caps[style]:g}" for style in counts)
        raise CorpusError(f"these caps leave no music: {styles} add up to less than 1; prepare it again with others")
    kept: dict[str, float] = dict.fromkeys(counts, 1.0)
    for _ in range(20):  # several caps pull on each other's total; a few rounds settle them
        total = sum(n * kept[s] for s, n in counts.items())
        for style, cap in caps.items():
            rest = total - counts[style] * kept.get(style, 0)
            if counts[style] and cap < 1 and rest > 0:
                kept[style] = min(1.0, cap / (1 - cap) * rest / counts[style])
                total = rest + counts[style] * kept[style]
    return kept


def batches(
    corpus: Corpus, config: TrainConfig, block_size: int, start: int = 0, smallest: int = SMALLEST_BATCH
) -> Iterator[list[Example]]:
    """Endless groups of examples of about `batch_tokens` with their padding, the same for the same seed.

    `start` skips that many without building them; none has fewer than `smallest`. Windows of similar length are put together.

    Raises:
        CorpusError: the split has too few windows for one group.
    """
    step, epoch = 0, 0
    while True:
        rows = epoch_rows(corpus.columns["style"], corpus.caps, epoch, config.seed)
        before = step
        for at in range(0, len(rows), POOL):
            rng = random.Random(f"{config.seed}/{epoch}/{at}")
            groups = _groups(rows[at : at + POOL], corpus.ids.lengths, config.batch_tokens, block_size, smallest)
            rng.shuffle(groups)
            for group in groups:
                step += 1
                if step > start:
                    own = random.Random(f"{config.seed}/{epoch}/{at}/{step}")
                    yield [
                        corpus.hole(r, own, config) if own.random() < config.hole_share else corpus.plain(r, own, config)
                        for r in group
                    ]
        if step == before:
            raise CorpusError(f"{len(rows)} windows are too few to train on; {smallest} is the least")
        epoch += 1


def _groups(rows: list[int], lengths: np.ndarray, tokens: int, block_size: int, smallest: int) -> list[list[int]]:
    """Rows by falling length, in groups of about `tokens` ids with their padding and no fewer than `smallest` rows."""
    groups: list[list[int]] = []
    group: list[int] = []
    for row in sorted(rows, key=lambda r: -lengths[r]):
        # a hole example is a little longer than its window, and each has a header
        longest = min(lengths[(group or [row])[0]] * 1.05 + 40, block_size)
        if len(group) >= smallest and (len(group) + 1) * longest > tokens:
            groups.append(group)
            group = []
        group.append(row)
    return [*groups, group] if len(group) >= smallest else groups


__all__ = ["Corpus", "Example", "batches", "collate", "epoch_rows"]
