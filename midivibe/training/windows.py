"""One MIDI file → rows of a corpus: its notes on the grid, cut into windows, and a fingerprint by which copies are found."""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from midivibe.errors import CorpusError, MidiError
from midivibe.midi.beats import ON_GRID, beat_strength, on_beats, read_beats
from midivibe.midi.notes import Notes
from midivibe.midi.score import note_table, read
from midivibe.midi.theory import detect_key
from midivibe.plan.reading import Reading
from midivibe.tokens.layout import KEY_CONFIDENCE, WINDOW_BARS, encode, home_shift, quantize, transpose
from midivibe.tokens.miditok import BarTrackREMI
from midivibe.training.sources import Source
from midivibe.vibe.music import pitch_class_weights, vibe_of

LENGTHS = (4, WINDOW_BARS // 2, WINDOW_BARS // 2, WINDOW_BARS, WINDOW_BARS)
"""Bars of a window, one of these each time."""
WINDOW_TOKENS = 900
"""Longest window, so that header, SEP and Hole tokens still fit into 1,024."""
TOKENS_A_NOTE, TOKENS_A_CELL, TOKENS_A_BAR = 2.75, 2.0, 5.0
"""About what a window takes, a little above the mean of the corpus; exact counts would mean encoding every candidate."""
MOST_NOTES = 200_000
"""Of a file: more is no song, and costs minutes."""
LEAST_NOTES, LEAST_NOTES_A_BAR = 16, 4
"""Sparser windows are left out: there is little to learn from them."""
FINGERPRINT_NOTES = 400

SCHEMA = pa.schema(
    [
        ("ids", pa.list_(pa.uint16())), ("bar_offsets", pa.list_(pa.uint16())), ("notes", pa.int32()), ("bars", pa.int32()),
        ("programs", pa.list_(pa.int16())), ("style", pa.string()), ("mode", pa.string()), ("tonic", pa.int16()),
        ("key_confidence", pa.float32()), ("meter", pa.string()), ("tempo", pa.float32()), ("start", pa.bool_()),
        ("end", pa.bool_()), ("vibe", pa.list_(pa.float32())), ("file", pa.string()), ("song", pa.string()),
        ("source", pa.string()), ("licence", pa.string()), ("split", pa.string()),
    ]
)  # fmt: skip


def fingerprint(notes: Notes) -> int:
    """A number that two files share where their first 400 pitched notes are the same but for transposition and tempo.

    Of the grid notes: steps from onset to onset and from pitch to pitch, in order of onset and pitch; drums only where
    there is nothing else. 63 bits of SHA-1.
    """
    counted = notes.take(notes.pitched) if notes.pitched.any() else notes
    order = np.lexsort((counted.pitch, counted.onset))[:FINGERPRINT_NOTES]
    steps = np.stack([np.diff(counted.onset[order]), np.diff(counted.pitch[order])]).astype("<i4").tobytes()
    return int.from_bytes(hashlib.sha1(steps + len(order).to_bytes(4, "little")).digest()[:8], "little") >> 1


def windows(
    notes: Notes, rng: random.Random, tokens_of: Callable[[int, int, list[int]], float], full: bool
) -> Iterator[tuple[int, int, list[int]]]:
    """Cut a song into windows: (first bar, last bar + 1, programs). `full` keeps every track, for evaluation.

    Half of the training windows hold a part of the band, so that small line-ups and long windows are seen too.
    `tokens_of(first, last, programs)` is about how many ids a window takes; one that takes too many loses its end.
    """
    first = 0 if full or notes.bars < 8 else rng.choice((0, 0, 1, 2, 3))
    while first < notes.bars - 1:
        last = min(first + rng.choice(LENGTHS), notes.bars)
        a, b = np.searchsorted(notes.onset, notes.bar_start[[first, last]])
        programs = sorted(set(notes.program[a:b].tolist()))
        if len(programs) > 2 and not full and rng.random() < 0.5:
            programs = sorted(rng.sample(programs, rng.randint(2, min(6, len(programs)))))
        while programs and last - first > 2 and tokens_of(first, last, programs) > WINDOW_TOKENS:
            last -= max(1, (last - first) // 4)
        if programs and last - first >= 2:
            yield first, last, programs
        first = last


def beats_of(source: Source) -> Path:
    """Where the beats of a performance would be written down (as POP909 does)."""
    return source.path.parent / "beat_midi.txt"


def grid_notes(source: Source, tokenizer: BarTrackREMI) -> tuple[Notes, list[tuple[int, str]]]:
    """The notes of a file on the vocabulary's grid, and its markers (ticks of that grid and texts).

    Beats marked in a beat_midi.txt beside it (POP909) are used; markers where they can be placed.

    Raises:
        MidiError: a file that cannot be read or used.
        CorpusError: a performance that does not keep to the beat of its file.
    """
    if source.path.is_dir():
        raise MidiError("a folder that cannot be opened")
    score = read(source.path)
    count = score.note_num()
    if not count:
        raise MidiError("no notes")
    if count > MOST_NOTES:
        raise MidiError(f"too many notes: {count:,}, the most is {MOST_NOTES:,}")
    beats = beats_of(source)
    if beats.is_file():
        return quantize(on_beats(score, *read_beats(beats)), tokenizer.layout_vocabulary), []
    notes = note_table(score)
    strength = beat_strength(notes)
    if strength < ON_GRID:
        raise CorpusError(f"off the grid: beat strength {strength:.2f}, the least is {ON_GRID}")
    grid = quantize(notes, tokenizer.layout_vocabulary)
    if grid.bars != notes.bars or not score.markers:  # a long bar became several
        return grid, []
    ticks = np.interp([m.time for m in score.markers], notes.bar_start, grid.bar_start).round().astype(int)
    return grid, [(int(tick), m.text) for tick, m in zip(ticks, score.markers, strict=True)]


def song_rows(source: Source, tokenizer: BarTrackREMI) -> tuple[list[dict[str, Any]], int]:
    """All windows of one file as rows of SCHEMA, and its fingerprint; raises as `grid_notes`."""
    notes, markers = grid_notes(source, tokenizer)
    reading = Reading.of(notes, markers)
    tonic, mode, confidence = detect_key(pitch_class_weights(notes))
    if confidence < KEY_CONFIDENCE:
        tonic, mode = -1, "unknown"
    shift = home_shift(tonic, mode) if tonic >= 0 else 0
    home = transpose(notes, shift)
    rng = random.Random(zlib.crc32(source.name.encode()))
    counts = {p: np.bincount(notes.bar[notes.program == p], minlength=notes.bars) for p in set(notes.program.tolist())}

    def tokens_of(first: int, last: int, programs: list[int]) -> float:
        bars = [counts[p][first:last] for p in programs]
        tokens: float = sum(TOKENS_A_NOTE * each.sum() + TOKENS_A_CELL * (each > 0).sum() for each in bars)
        return tokens + TOKENS_A_BAR * (last - first)

    rows = []
    song_end = int(notes.bar.max(initial=-1)) + 1
    for first, last, programs in windows(notes, rng, tokens_of, full=source.split != "train"):
        window = home.window(first, last, set(programs), cut=False)
        if len(window) < max(LEAST_NOTES, LEAST_NOTES_A_BAR * (last - first)):
            continue
        ids, offsets = encode(window, tokenizer.layout_vocabulary, leads=reading.leads(first, last, shift))
        if len(ids) > np.iinfo(np.uint16).max:  # the offsets are stored in 16 bits
            continue
        rows.append(
            {
                "ids": ids.astype(np.uint16), "bar_offsets": offsets.astype(np.uint16), "notes": len(window),
                "bars": last - first, "programs": sorted(set(window.program.tolist())), "style": source.style, "mode": mode,
                "tonic": tonic, "key_confidence": confidence, "meter": "{}/{}".format(*window.bar_meter[0]),
                "tempo": float(window.bar_tempo[0]), "start": first == 0, "end": last >= song_end,
                "vibe": vibe_of(notes.window(first, last, set(programs))).values, "file": source.name, "song": source.song,
                "source": source.source, "licence": source.licence, "split": source.split,
            }
        )  # fmt: skip
    if not rows:
        least = f"{LEAST_NOTES} notes and {LEAST_NOTES_A_BAR} a bar"
        raise MidiError(f"too sparse: no window of it has {least} ({len(notes)} notes, {notes.bars} bars)")
    return rows, fingerprint(notes)


__all__ = ["SCHEMA", "fingerprint", "grid_notes", "song_rows", "windows"]
