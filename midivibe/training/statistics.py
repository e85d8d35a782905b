"""What is in a corpus, as one HTML page with plots: look at it before training on it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from midivibe.errors import EmptySplitError
from midivibe.files import replacing
from midivibe.midi.instruments import name_of
from midivibe.output.page import figure_html, page_html, table_html
from midivibe.tokens.vocabulary import TYPES
from midivibe.training.dataset import Corpus, epoch_rows
from midivibe.training.merges import as_text, ids_of, learn
from midivibe.vibe.axes import AXES

BPE_WINDOWS = 3000
"""Windows that merges are learned from: enough for the few that are most frequent, in seconds."""


def write_page(folder: str | Path, path: str | Path | None = None) -> Path:
    """Write `statistics.html` into a corpus folder (or to `path`); returns where it is."""
    folder = Path(folder)
    path = Path(path or folder / "statistics.html")
    summary = json.loads((folder / "corpus.json").read_text())
    split = "train" if summary["splits"].get("train") else next(iter(summary["splits"]))
    corpus = Contents(folder, split, summary["splits"][split])
    licences = sorted(summary["licences"].items(), key=lambda x: -x[1])
    body = "".join(
        [
            table_html("Size", _size(summary, corpus)),
            "<h2>Music</h2>",
            figure_html(_music_plots(corpus)),
            "<h2>Vibe</h2><p>Percentiles against the reference bands: a flat line is like them.</p>",
            figure_html(_vibe_plots(corpus)),
            "<h2>Tokens</h2>",
            figure_html(_token_plots(corpus)),
            table_html("Most frequent merges (BPE inside a cell)", frequent_merges(corpus)),
            table_html("Windows a style, and in one epoch under the caps", _styles(corpus, summary["caps"])),
            table_html("Licences", licences),
            table_html("Skipped files", list(summary["skipped_by_reason"].items()) or [("none", 0)]),
            table_html("The first of them", [(n, r) for n, r in summary["skipped"][:200]]),
        ]
    )
    with replacing(path) as temporary:
        temporary.write_text(page_html(f"Corpus {folder.resolve().name}", body))
    return path


class Contents:
    """What the page needs of a split, read shard by shard: of the ids, 99 % of a corpus, only counts and a few windows stay.

    `columns` as those of `Corpus`, `tokens` (V,) how often each id occurs, `lengths` ids a window, `bodies` ids of some.
    """

    def __init__(self, folder: Path, split: str, windows: int) -> None:
        self.bodies: list[np.ndarray] = []
        tokens: list[np.ndarray] = []
        lengths: list[np.ndarray] = []
        programs: list[np.ndarray] = []
        columns: dict[str, list[np.ndarray]] = {}
        every, seen = max(1, windows // BPE_WINDOWS), 0
        for shard in sorted(folder.glob("*.parquet")):
            try:
                part = Corpus(folder, split, [shard])
            except EmptySplitError:
                continue
            self.vocabulary = part.vocabulary
            tokens.append(np.bincount(part.ids.values, minlength=len(part.vocabulary)))
            lengths.append(part.ids.lengths)
            programs.append(part.columns.pop("programs").values)
            self.bodies += [part.ids[row].copy() for row in range(-seen % every, len(part), every)]
            seen += len(part)
            for name, values in part.columns.items():
                columns.setdefault(name, []).append(values)
        self.tokens, self.lengths = np.sum(tokens, 0), np.concatenate(lengths)
        self.columns = {name: np.concatenate(parts) for name, parts in columns.items()}
        self.programs = np.concatenate(programs)

    def __len__(self) -> int:
        return len(self.lengths)


def _size(summary: dict[str, Any], corpus: Contents) -> list[tuple[str, object]]:
    rows = [("files", summary["files"]), ("windows", summary["windows"]), ("notes", summary["notes"])]
    rows += [("tokens", summary["tokens"]), ("tokens a note", round(summary["tokens"] / max(summary["notes"], 1), 2))]
    rows += [(f"songs, {name}", count) for name, count in summary["songs"].items()]
    return rows + [(f"windows, {name}", count) for name, count in summary["splits"].items()]


def _styles(corpus: Contents, caps: dict[str, float]) -> list[tuple[str, object]]:
    styles = corpus.columns["style"]
    whole, drawn = Counter(styles), Counter(styles[r] for r in epoch_rows(styles, caps, 0, 0))
    return [
        (style + (f" (cap {caps[style]:g})" if style in caps else ""), f"{n:,} → {drawn[style]:,}")
        for style, n in whole.most_common()
    ]


def _bars(axis: Axes, title: str, found: Counter[str], most: int = 24) -> None:
    top = found.most_common(most)[::-1]
    axis.barh([str(name) for name, _ in top], [count for _, count in top], color="#4878a8")
    axis.set_title(title)
    axis.tick_params(labelsize=7)


def _music_plots(corpus: Contents) -> Figure:
    c = corpus.columns
    figure = Figure(figsize=(12, 8), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    numbers, counts = np.unique(corpus.programs, return_counts=True)
    _bars(axes[0], "instruments (windows)", Counter({name_of(int(n)): int(k) for n, k in zip(numbers, counts, strict=True)}))
    axes[1].hist(c["tempo"].clip(30, 250), bins=44, color="#4878a8")
    axes[1].set_title("tempo, BPM")
    _bars(axes[2], "meter", Counter(c["meter"]), 12)
    names = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
    keys = [f"{names[t]} {m}" if t >= 0 else "unknown" for t, m in zip(c["tonic"], c["mode"], strict=True)]
    _bars(axes[3], "key", Counter(keys), 25)
    _bars(axes[4], "style", Counter(c["style"]))
    axes[5].hist(c["bars"], bins=np.arange(1.5, 18), color="#4878a8")
    axes[5].set_title("bars a window")
    return figure


def _vibe_plots(corpus: Contents) -> Figure:
    figure = Figure(figsize=(12, 2.4), layout="constrained")
    for axis, name, values in zip(figure.subplots(1, len(AXES), sharey=True), AXES, corpus.columns["vibe"].T, strict=True):
        axis.hist(values, bins=20, range=(0, 1), color="#a86848")
        axis.set_title(name)
    return figure


def _token_plots(corpus: Contents) -> Figure:
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    counts = np.bincount(corpus.vocabulary.type, weights=corpus.tokens, minlength=len(TYPES))
    _bars(axes[0], "token types", Counter({t: int(n) for t, n in zip(TYPES, counts, strict=True) if n}))
    lengths = corpus.lengths
    axes[1].hist(lengths, bins=40, color="#689868")
    axes[1].set_title("tokens a window")
    axes[2].hist(lengths / corpus.columns["notes"], bins=40, range=(1, 6), color="#689868")
    axes[2].set_title("tokens a note")
    return figure


def frequent_merges(corpus: Contents, most: int = 24) -> list[tuple[str, int]]:
    """The learned BPE tokens that occur most in 3,000 windows or some more, spelled out, with their counts."""
    v = corpus.vocabulary
    texts = [as_text(body.astype(int), v) for body in corpus.bodies]
    bpe = learn(texts, v, len(v) + 400)
    found: Counter[str] = Counter()
    for text in texts:
        found.update(t for t in bpe.encode(text).tokens if len(t) > 1)
    return [(" ".join(v.names[i] for i in ids_of(token)), n) for token, n in found.most_common(most)]


__all__ = ["frequent_merges", "write_page"]
