"""A folder of MIDI files → Parquet shards of token windows, and corpus.json.

A row is a window of 4 to 16 bars: ids of its bars (in C major / A minor where the key is sure), programs, style, mode,
meter, tempo, whether it starts or ends its song, its vibe, its source and licence, and the split of its song.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from midivibe.errors import MidivibeError
from midivibe.score.layout import encode, home_shift, quantize, transpose
from midivibe.score.midi import Notes, note_table, read
from midivibe.score.theory import detect_key
from midivibe.score.tokens import BarTrackREMI
from midivibe.vibe.music import pitch_class_weights, vibe_of

WINDOW_TOKENS = 900
"""Longest window, so that header, SEP and Hole tokens still fit into 1,024."""
KEY_CONFIDENCE = 0.7
"""Below this correlation the key is called unknown and the notes stay where they are."""

SCHEMA = pa.schema(
    [
        ("ids", pa.list_(pa.uint16())), ("notes", pa.int32()), ("bars", pa.int32()), ("programs", pa.list_(pa.int16())),
        ("style", pa.string()), ("mode", pa.string()), ("tonic", pa.int16()), ("meter", pa.string()), ("tempo", pa.float32()),
        ("start", pa.bool_()), ("end", pa.bool_()), ("vibe", pa.list_(pa.float32())), ("song", pa.string()),
        ("source", pa.string()), ("licence", pa.string()), ("split", pa.string()),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One file to prepare."""

    path: Path
    name: str
    style: str = "other"
    source: str = ""
    licence: str = ""


def split_of(name: str) -> str:
    """The split of a song, by a stable hash of its name: 96 % train, 2 % valid, 2 % test."""
    bucket = zlib.crc32(name.encode()) % 100
    return "train" if bucket < 96 else "valid" if bucket < 98 else "test"


def windows(notes: Notes, rng: random.Random, tokens_of: Any, full: bool) -> Iterator[tuple[int, int, list[int]]]:
    """Cut a song into windows: (first bar, last bar + 1, programs). `full` keeps every track, for evaluation.

    Half of the training windows hold a part of the band, so that small line-ups and long windows are seen too.
    """
    first = 0 if full else rng.choice((0, 0, 1, 2, 3))
    while first < notes.bars - 2:
        length = rng.choice((4, 8, 8, 16, 16))
        last = min(first + length, notes.bars)
        a, b = np.searchsorted(notes.onset, notes.bar_start[[first, last]])
        programs = sorted(set(notes.program[a:b].tolist()))
        if len(programs) > 2 and not full and rng.random() < 0.5:
            programs = sorted(rng.sample(programs, rng.randint(2, min(6, len(programs)))))
        while programs and last - first > 2 and tokens_of(first, last, programs) > WINDOW_TOKENS:
            last -= max(1, (last - first) // 4)
        if programs and last - first >= 2:
            yield first, last, programs
        first = last


def song_rows(source: Source, tokenizer: BarTrackREMI) -> list[dict[str, Any]]:
    """All windows of one file as rows of SCHEMA; raises MidiError where the file cannot be used."""
    v = tokenizer.layout_vocabulary
    notes = quantize(note_table(read(source.path)), v)
    tonic, mode, confidence = detect_key(pitch_class_weights(notes))
    if confidence < KEY_CONFIDENCE:
        tonic, mode = -1, "unknown"
    home = transpose(notes, home_shift(tonic, mode)) if tonic >= 0 else notes
    split = split_of(source.name)
    rng = random.Random(zlib.crc32(source.name.encode()))
    # A bound on the mean of 2.75 tokens a note; exact counts would mean encoding every candidate.
    bar_of = np.searchsorted(notes.bar_start, notes.onset, side="right") - 1
    counts = {p: np.bincount(bar_of[notes.program == p], minlength=notes.bars) for p in set(notes.program.tolist())}

    def tokens_of(first: int, last: int, programs: list[int]) -> float:
        return sum(2.75 * counts[p][first:last].sum() + 2.0 * (counts[p][first:last] > 0).sum() for p in programs)

    rows = []
    played = np.flatnonzero(sum(counts.values()))
    song_end = int(played[-1]) + 1 if len(played) else 0
    for first, last, programs in windows(notes, rng, tokens_of, full=split != "train"):
        window = home.window(first, last, set(programs), cut=False)
        if len(window) < 4 * (last - first) or len(window) < 16:
            continue
        present = sorted(set(window.program.tolist()))
        ids, _ = encode(window, v)
        rows.append(
            {
                "ids": ids.astype(np.uint16), "notes": len(window), "bars": last - first, "programs": present,
                "style": source.style, "mode": mode, "tonic": tonic, "meter": "{}/{}".format(*window.bar_meter[0]),
                "tempo": float(window.bar_tempo[0]), "start": first == 0, "end": last >= song_end,
                "vibe": vibe_of(notes.window(first, last, set(programs))).values, "song": source.name,
                "source": source.source, "licence": source.licence, "split": split,
            }
        )  # fmt: skip
    return rows


def _work(batch: list[Source]) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    tokenizer = BarTrackREMI()
    rows, skipped = [], []
    for source in batch:
        try:
            rows += song_rows(source, tokenizer)
        except MidivibeError as error:
            skipped.append((source.name, str(error)))
        except Exception as error:  # a malformed file never stops the run
            skipped.append((source.name, f"{type(error).__name__}: {error}"))
    return rows, skipped


def prepare(sources: list[Source], out: Path, workers: int = 2, batch: int = 400) -> dict[str, Any]:
    """Write shards and corpus.json; returns its content."""
    out.mkdir(parents=True, exist_ok=True)
    batches = [sources[i : i + batch] for i in range(0, len(sources), batch)]
    skipped: list[tuple[str, str]] = []
    rows = 0
    splits: Counter[str] = Counter()
    with ProcessPoolExecutor(workers) as pool:
        for number, (found, lost) in enumerate(pool.map(_work, batches)):
            skipped += lost
            rows += len(found)
            splits.update(row["split"] for row in found)
            pq.write_table(pa.Table.from_pylist(found, SCHEMA), out / f"shard-{number:04d}.parquet", compression="zstd")
    tokenizer = BarTrackREMI()
    tokenizer.save_tokenizer(out / "tokenizer.json")
    summary = {"files": len(sources), "windows": rows, "splits": dict(splits), "skipped": skipped}
    (out / "corpus.json").write_text(json.dumps(summary, indent=1))
    return summary


BAND_STYLES = {
    "rock": "rock", "pop": "pop", "country": "country", "rap_hip_hop": "rap", "rnb_soul": "rnb", "classic": "classic",
    "irishmidifiles": "folk", "elephanttalk": "rock",
}  # fmt: skip


def band_sources(table: Path, folder: Path) -> list[Source]:
    """The files of band.csv.gz (see ../shared/data/README.md) as sources."""
    licences = {
        "freedoom": "BSD-3-Clause",
        "children": "CC BY-NC-SA",
        "tiny-karaoke": "CC BY-NC-SA",
        "rare-scores": "CC BY-NC-SA",
    }
    sources = []
    with gzip.open(table, "rt") as file:
        for row in csv.DictReader(file):
            style = {"children": "children", "freedoom": "games"}.get(row["set"], BAND_STYLES.get(row["group"], "other"))
            sources.append(
                Source(folder / row["path"], row["path"], style, row["set"], licences.get(row["set"], "none stated"))
            )
    return sources
