"""MIDI files → Parquet shards of token windows, corpus.json and a page of statistics.

A row is a window of 4 to 16 bars: ids of its bars (in C major / A minor where the key is sure) with the offset of each bar,
programs, style, key and its confidence, meter, tempo, whether it starts or ends its song, its vibe, its source and
licence, and the split of its song.

Files are worked on in pieces of a few dozen by a pool of processes; a piece is written whole or not at all, so a run that
was killed goes on where it was. Then the pieces are put together: copies of a song are left out, and shards are cut.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import random
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from midivibe.errors import CorpusError, InputError, MidiError, MidivibeError, OutputError, nearest
from midivibe.files import replacing
from midivibe.midi.beats import ON_GRID, beat_strength, on_beats, read_beats
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.score import note_table, read
from midivibe.midi.theory import detect_key
from midivibe.tokens.layout import encode, home_shift, quantize, transpose
from midivibe.tokens.miditok import BarTrackREMI
from midivibe.tokens.vocabulary import (
    STYLES,
)
from midivibe.training.dataset import FORMAT, kept_shares
from midivibe.vibe.music import pitch_class_weights, vibe_of

WINDOW_TOKENS = 900
"""Longest window, so that header, SEP and Hole tokens still fit into 1,024."""
KEY_CONFIDENCE = 0.7
"""Below this correlation the key is called unknown and the notes stay where they are."""
PIECE_FILES = 40
SHARD_TOKENS = 6_000_000
MOST_NOTES = 200_000
FINGERPRINT_NOTES = 400

SUFFIXES = (".mid", ".midi", ".kar", ".rmi")

SCHEMA = pa.schema(
    [
        ("ids", pa.list_(pa.uint16())), ("bar_offsets", pa.list_(pa.uint16())), ("notes", pa.int32()), ("bars", pa.int32()),
        ("programs", pa.list_(pa.int16())), ("style", pa.string()), ("mode", pa.string()), ("tonic", pa.int16()),
        ("key_confidence", pa.float32()), ("meter", pa.string()), ("tempo", pa.float32()), ("start", pa.bool_()),
        ("end", pa.bool_()), ("vibe", pa.list_(pa.float32())), ("file", pa.string()), ("song", pa.string()),
        ("source", pa.string()), ("licence", pa.string()), ("split", pa.string()),
    ]
)  # fmt: skip
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Source:
    """One file to prepare. Files of one `song` share a split."""

    path: Path
    name: str
    song: str
    style: str = "other"
    source: str = ""
    licence: str = "none stated"
    split: str = ""
    drawn: bool = False
    """whether nobody chose the split"""


# Finding files ---------------------------------------------------------------------------------------------------------


def sources_of(place: str | Path) -> list[Source]:
    """The MIDI files of a folder and its subfolders, or those that a CSV names.

    The CSV has a column `path`, relative to its own folder, and may have style, licence, source, song and split.

    Raises:
        CorpusError: no such place, or no MIDI file there.
        InputError: a row of the CSV that cannot be meant.
    """
    place = Path(place)
    if place.is_dir():
        found = [Source(place / name, readable, _song_of(readable)) for name, readable in _walk(place)]
        if not found:
            raise CorpusError(f"no MIDI files in {place}; looked for {', '.join(SUFFIXES)} in it and its subfolders")
    elif place.is_file():
        found = _table(place)
        if not found:
            raise CorpusError(f"{place} names no MIDI files")
    else:
        raise CorpusError(f"no folder or CSV of MIDI files at {place}")
    return _with_splits(found)


def _walk(place: Path) -> list[tuple[str, str]]:
    """Every MIDI file's name under a folder, as the system has it and in letters that can be written down.

    Links are followed, each folder once. Folders that cannot be opened and links to nothing are among them, to be listed.
    """
    found: list[str] = []
    been: set[Path] = set()

    def closed(error: OSError) -> None:
        found.append(os.path.relpath(error.filename, place))

    for root, folders, files in os.walk(place, onerror=closed, followlinks=True):
        if Path(root).resolve() in been:
            folders.clear()
            continue
        been.add(Path(root).resolve())
        folders.sort()  # so that of two ways to a folder it is always the same that counts
        found += [os.path.relpath(Path(root, f), place) for f in files if f.lower().endswith(SUFFIXES)]
    return [(name, os.fsencode(name).decode("utf-8", "backslashreplace")) for name in sorted(found)]


def _song_of(name: str) -> str:
    """A file name without its suffix and without the number of a copy or version: "a/Song (2).mid" → "a/song"."""
    stem = re.sub(r"\.[^.]*$", "", name).lower()
    return re.sub(r"(\s*[-_. ]?\((v|ver)?\s*\d{1,2}\)|[-_. ](v|ver)\s?\d{1,2}|\.\d{1,2})$", "", stem) or stem


def _table(path: Path) -> list[Source]:
    found: list[Source] = []
    seen: dict[str, str] = {}
    splits: dict[str, str] = {}
    read = gzip.open if path.suffix == ".gz" else open
    try:
        with read(path, "rt", newline="", encoding="utf-8-sig") as file:  # Excel puts a mark before the first column
            reader = csv.DictReader(file)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
            if "path" not in (reader.fieldnames or []):
                raise InputError(f"{path} has no column named path; it has {', '.join(reader.fieldnames or ['none'])}")
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                name = (row["path"] or "").strip()
                style = (row.get("style") or "other").strip().lower()
                split = (row.get("split") or "").strip().lower()
                if not name:
                    raise InputError(f"{where}: the path is empty")
                if style not in STYLES:
                    raise InputError(f"{where}: unknown style {style!r}; the nearest are {nearest(style, STYLES)}")
                if split and split not in SPLITS:
                    raise InputError(f"{where}: split is {split!r}; it must be train, valid, test or empty")
                if seen.setdefault(name, where) != where:
                    raise InputError(f"{where}: {name} is named before, in {seen[name]}")
                song = (row.get("song") or "").strip() or (name if split else _song_of(name))
                if split and splits.setdefault(song, split) != split:
                    raise InputError(f"{where}: song {song!r} is in the splits {splits[song]} and {split}; it must be in one")
                licence = (row.get("licence") or row.get("license") or "none stated").strip()
                found.append(Source(path.parent / name, name, song, style, (row.get("source") or "").strip(), licence, split))
    except (UnicodeDecodeError, csv.Error, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is neither a folder nor a CSV that can be read: {error}") from error
    return found


def _bucket(song: str) -> int:
    return zlib.crc32(song.encode()) % 100


def _with_splits(sources: list[Source]) -> list[Source]:
    """Each song's split: as the table says, else by a stable hash of its name.

    96 % train, 2 % valid, 2 % test; under 200 songs 80, 10 and 10 %, and never a train split alone while there are two.
    """
    given = {s.song: s.split for s in sources if s.split and not s.drawn}
    songs = sorted({s.song for s in sources})
    share = 2 if len(songs) >= 200 else 10
    split_of = {}
    for song in songs:
        bucket = _bucket(song)
        by_hash = "train" if bucket < 100 - 2 * share else "valid" if bucket < 100 - share else "test"
        split_of[song] = given.get(song, by_hash)
    if songs and "train" not in split_of.values() and len(given) < len(songs):
        split_of[min((s for s in songs if s not in given), key=lambda s: zlib.crc32(s.encode()))] = "train"
    for name, least in (("valid", 2), ("test", 3)):
        free = sorted((s for s in songs if s not in given and split_of[s] == "train"), key=lambda s: zlib.crc32(s.encode()))
        if name not in split_of.values() and len(songs) >= least and len(free) > 1:
            split_of[free[-1]] = name
    return [replace(s, split=split_of[s.song], drawn=s.song not in given) for s in sources]


# One file --------------------------------------------------------------------------------------------------------------


def fingerprint(notes: Notes) -> int:
    """A number that two files share where their first 400 pitched notes are the same but for transposition and tempo.

    Of the grid notes: steps from onset to onset and from pitch to pitch, in order of onset and pitch; drums only where
    there is nothing else. 63 bits of SHA-1.
    """
    pitched = notes.program != DRUMS
    if not pitched.any():
        pitched = ~pitched
    order = np.lexsort((notes.pitch[pitched], notes.onset[pitched]))[:FINGERPRINT_NOTES]
    onset, pitch = notes.onset[pitched][order], notes.pitch[pitched][order]
    steps = np.stack([np.diff(onset), np.diff(pitch)]).astype("<i4").tobytes()
    return int.from_bytes(hashlib.sha1(steps + len(order).to_bytes(4, "little")).digest()[:8], "little") >> 1


def windows(notes: Notes, rng: random.Random, tokens_of: Any, full: bool) -> Iterator[tuple[int, int, list[int]]]:
    """Cut a song into windows: (first bar, last bar + 1, programs). `full` keeps every track, for evaluation.

    Half of the training windows hold a part of the band, so that small line-ups and long windows are seen too.
    """
    first = 0 if full or notes.bars < 8 else rng.choice((0, 0, 1, 2, 3))
    while first < notes.bars - 1:
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


def _beats_of(source: Source) -> Path:
    return source.path.parent / "beat_midi.txt"


def grid_notes(source: Source, tokenizer: BarTrackREMI) -> Notes:
    """The notes of a file on the vocabulary's grid; beats marked in a beat_midi.txt beside it (POP909) are used.

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
    beats = _beats_of(source)
    if beats.is_file():
        notes = on_beats(score, *read_beats(beats))
    else:
        notes = note_table(score)
        strength = beat_strength(notes)
        if strength < ON_GRID:
            raise CorpusError(f"off the grid: beat strength {strength:.2f}, the least is {ON_GRID}")
    return quantize(notes, tokenizer.layout_vocabulary)


def song_rows(source: Source, tokenizer: BarTrackREMI) -> tuple[list[dict[str, Any]], int]:
    """All windows of one file as rows of SCHEMA, and its fingerprint; raises as `grid_notes`."""
    v = tokenizer.layout_vocabulary
    notes = grid_notes(source, tokenizer)
    tonic, mode, confidence = detect_key(pitch_class_weights(notes))
    if confidence < KEY_CONFIDENCE:
        tonic, mode = -1, "unknown"
    home = transpose(notes, home_shift(tonic, mode)) if tonic >= 0 else notes
    rng = random.Random(zlib.crc32(source.name.encode()))
    # A bound on the mean of 2.75 tokens a note; exact counts would mean encoding every candidate.
    bar_of = np.searchsorted(notes.bar_start, notes.onset, side="right") - 1
    counts = {p: np.bincount(bar_of[notes.program == p], minlength=notes.bars) for p in set(notes.program.tolist())}

    def tokens_of(first: int, last: int, programs: list[int]) -> float:
        return sum(2.75 * counts[p][first:last].sum() + 2.0 * (counts[p][first:last] > 0).sum() for p in programs)

    rows = []
    played = np.flatnonzero(sum(counts.values()))
    song_end = int(played[-1]) + 1 if len(played) else 0
    for first, last, programs in windows(notes, rng, tokens_of, full=source.split != "train"):
        window = home.window(first, last, set(programs), cut=False)
        if len(window) < 4 * (last - first) or len(window) < 16:
            continue
        ids, offsets = encode(window, v)
        if len(ids) > 65_535:
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
        raise MidiError(f"too sparse: no window of it has 16 notes and 4 a bar ({len(notes)} notes, {notes.bars} bars)")
    return rows, fingerprint(notes)


# Pieces: some files each, worked on in parallel, kept on disk until all are done ----------------------------------------


def _digest(sources: list[Source]) -> str:
    """Changes when a file of the piece, what is said about it, or this format changes."""
    facts: list[Any] = [FORMAT]
    for s in sources:
        try:
            stat, beats = s.path.stat(), _beats_of(s)
            marked = beats.stat().st_mtime_ns if beats.is_file() else None
            facts.append([s.name, stat.st_size, stat.st_mtime_ns, marked, *list(asdict(s).values())[2:]])
        except OSError:
            facts.append([s.name, None])
    return hashlib.sha1(json.dumps(facts).encode()).hexdigest()


_tokenizer: list[BarTrackREMI] = []


def _work(sources: list[Source], digest: str, piece: Path) -> None:
    """Prepare some files and write their rows, with a report of what was skipped, as one Parquet file."""
    if not _tokenizer:
        _tokenizer.append(BarTrackREMI())
    rows: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    prints: dict[str, int] = {}
    for source in sources:
        try:
            found, prints[source.name] = song_rows(source, _tokenizer[0])
            rows += found
        except MidivibeError as error:
            skipped.append((source.name, str(error).replace(str(source.path), "the file")))
        except Exception as error:  # a malformed file never stops the run
            skipped.append((source.name, f"{type(error).__name__}: {error}"))
    _write_piece(piece, rows, {"digest": digest, "files": len(sources), "skipped": skipped, "fingerprints": prints})


def _write_piece(piece: Path, rows: list[dict[str, Any]], report: dict[str, Any]) -> None:
    table = pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata({"midivibe": json.dumps(report)})
    with replacing(piece) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _report(piece: Path) -> dict[str, Any] | None:
    """What a finished piece says about itself; None where there is none, or a damaged one."""
    try:
        return json.loads((pq.read_schema(piece).metadata or {})[b"midivibe"])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None


def _one_by_one(sources: list[Source], digest: str, piece: Path) -> None:
    """A piece that killed its worker: every file in a process of its own, so that one bad file costs only itself."""
    rows: list[dict[str, Any]] = []
    total: dict[str, Any] = {"digest": digest, "files": len(sources), "skipped": [], "fingerprints": {}}
    single = piece.with_name(f"single-{piece.name}")
    for source in sources:
        try:
            with ProcessPoolExecutor(1) as pool:
                pool.submit(_work, [source], digest, single).result()
        except BrokenProcessPool:
            total["skipped"].append((source.name, "crashed: reading it ends the process"))
            continue
        report = _report(single) or {"skipped": [], "fingerprints": {}}
        total["skipped"] += report["skipped"]
        total["fingerprints"] |= report["fingerprints"]
        rows += pq.read_table(single).to_pylist()
    single.unlink(missing_ok=True)
    _write_piece(piece, rows, total)


def _make_pieces(sources: list[Source], folder: Path, workers: int, advance: Callable[[int, int], None]) -> list[Path]:
    """All pieces, those that are there already as they are; `advance` hears of files done and of those that were."""
    jobs, pieces = [], []
    for at in range(0, len(sources), PIECE_FILES):
        batch = sources[at : at + PIECE_FILES]
        digest, piece = _digest(batch), folder / f"piece-{at // PIECE_FILES:06d}.parquet"
        pieces.append(piece)
        if (_report(piece) or {}).get("digest") == digest:
            advance(len(batch), len(batch))
        else:
            jobs.append((batch, digest, piece))
    jobs.reverse()
    broken: list[tuple[list[Source], str, Path]] = []
    while jobs:
        pool = ProcessPoolExecutor(workers)
        running: dict[Any, tuple[list[Source], str, Path]] = {}
        try:
            while jobs or running:
                while jobs and len(running) < 2 * workers:
                    running[pool.submit(_work, *jobs[-1])] = jobs[-1]
                    jobs.pop()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    advance(len(running.pop(future)[0]), 0)
        except BrokenProcessPool:
            broken += running.values()
            pool.shutdown(wait=True)
            continue
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown(wait=True)
    for job in broken:
        if (_report(job[2]) or {}).get("digest") != job[1]:
            _one_by_one(*job)
        advance(len(job[0]), 0)
    return pieces


# The corpus ------------------------------------------------------------------------------------------------------------


def prepare(
    sources: list[Source],
    out: str | Path,
    workers: int = 2,
    caps: dict[str, float] | None = None,
    advance: Callable[[int, int], None] = lambda done, before: None,
) -> dict[str, Any]:
    """Write shards and corpus.json; returns the latter's content.

    `caps` are the largest shares of the training windows that a style may have; they thin what training draws, the shards
    keep everything. `advance(files, of these done before)` is called as pieces finish. Call it again after a kill: finished
    pieces are kept.

    Raises:
        InputError: a cap of an unknown style or share.
        CorpusError: not one file could be used.
        OutputError: `out` cannot be written, or the disk is full.
    """
    out = Path(out)
    _refuse_foreign(out)
    caps = dict(caps or {})
    for style, share in caps.items():
        if style not in STYLES or not 0 < share <= 1:
            raise InputError(f"cap {style}={share}: a known style and a share above 0, up to 1; styles: {', '.join(STYLES)}")
        if style not in {s.style for s in sources}:
            raise InputError(f"cap {style}={share}: no file has that style; a CSV with a column style says which have")
    kept_shares(Counter(s.style for s in sources if s.split == "train"), caps)
    try:
        (out / ".pieces").mkdir(parents=True, exist_ok=True)
        pieces = _make_pieces(sources, out / ".pieces", workers, advance)
        again = _resplit(sources, pieces)
        if again != sources:
            pieces = _make_pieces(again, out / ".pieces", workers, lambda done, before: None)
        summary = _assemble(pieces, out, caps)
        shutil.rmtree(out / ".pieces")
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    return summary


def _resplit(sources: list[Source], pieces: list[Path]) -> list[Source]:
    """The same sources; where the songs that could be used left a split empty, with these songs split anew."""
    used, _ = _used(pieces)
    left = [s for s in sources if s.name in used]
    split_of = {s.name: s.split for s in _with_splits(left)}
    if set(split_of.values()) <= {s.split for s in left}:
        return sources
    return [replace(s, split=split_of.get(s.name, s.split)) for s in sources]


def _used(pieces: list[Path]) -> tuple[set[str], dict[str, str]]:
    """Files whose notes the corpus will hold; and those that hold the same notes as one of them, with which that is."""
    first_with: dict[int, str] = {}
    copies: dict[str, str] = {}
    for piece in pieces:
        for name, value in (_report(piece) or {"fingerprints": {}})["fingerprints"].items():
            if (other := first_with.setdefault(value, name)) != name:
                copies[name] = other
    return set(first_with.values()), copies


SHARD = re.compile(r"shard-\d{4}\.parquet")


def _refuse_foreign(out: Path) -> None:
    """Raises InputError where a folder holds shards or a corpus.json that prepare did not make."""
    foreign = [p.name for p in out.glob("*.parquet") if not SHARD.fullmatch(p.name)] if out.is_dir() else []
    if (out / "corpus.json").exists():
        try:
            summary = json.loads((out / "corpus.json").read_text())
        except (OSError, ValueError):
            summary = None
        foreign += ["corpus.json"] * (not isinstance(summary, dict) or "format" not in summary)
    if foreign:
        raise InputError(f"{out} holds {foreign[0]}, which midivibe prepare did not write; choose another folder")


def _assemble(pieces: list[Path], out: Path, caps: dict[str, float]) -> dict[str, Any]:
    """Pieces → shards without second copies of a song, tokenizer.json, corpus.json; the old ones stay until all are ready."""
    new = out / ".pieces" / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    BarTrackREMI().save_tokenizer(new / "tokenizer.json")
    _, copies = _used(pieces)
    skipped: list[tuple[str, str]] = []
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("splits", "styles", "licences", "songs")}
    files = tokens = notes = 0
    split_of: dict[str, str] = {}
    pending: list[pa.Table] = []
    size = shard = 0

    def flush() -> None:
        nonlocal size, shard
        if pending:
            pq.write_table(pa.concat_tables(pending), new / f"shard-{shard:04d}.parquet", compression="zstd")
            pending.clear()
            size, shard = 0, shard + 1

    for piece in pieces:
        report = _report(piece)
        if report is None:
            raise CorpusError(f"{piece} is damaged; run prepare again, it will be made anew")
        files += report["files"]
        skipped += [(name, reason) for name, reason in report["skipped"]]
        skipped += [(n, f"a copy: the same notes as {copies[n]}") for n in report["fingerprints"] if n in copies]
        table = pq.read_table(piece).replace_schema_metadata(None)
        if any(name in copies for name in report["fingerprints"]):
            table = table.filter(pa.array([name not in copies for name in table["file"].to_pylist()], pa.bool_()))
        if not len(table):
            continue
        for split, style, licence, song in zip(
            *(table[c].to_pylist() for c in ("split", "style", "licence", "song")), strict=True
        ):
            counts["splits"][split] += 1
            counts["styles"][style] += split == "train"
            counts["licences"][licence] += 1
            if song not in split_of:
                split_of[song] = split
                counts["songs"][split] += 1
        here = len(table["ids"].combine_chunks().flatten())
        tokens += here
        size += here
        notes += int(np.sum(table["notes"].to_numpy()))
        pending.append(table)
        if size > SHARD_TOKENS:
            flush()
    flush()
    kinds = Counter(reason.split(":")[0] for _, reason in skipped)
    if not split_of:
        most = "; ".join(f"{kind} ({count})" for kind, count in kinds.most_common(3))
        raise CorpusError(f"none of the {files} files could be used: {most}")
    summary = {
        "format": FORMAT, "files": files, "windows": sum(counts["splits"].values()), "tokens": tokens, "notes": notes,
        **{name: dict(sorted(count.items())) for name, count in counts.items()}, "caps": caps,
        "skipped_by_reason": dict(kinds.most_common()), "skipped": skipped,
    }  # fmt: skip
    (new / "corpus.json").write_text(json.dumps(summary, indent=1))
    (out / "corpus.json").unlink(missing_ok=True)  # from here to the end there is no finished corpus
    for old in out.glob("shard-*.parquet"):
        old.unlink()
    for made in sorted(new.iterdir(), key=lambda p: p.name == "corpus.json"):
        made.replace(out / made.name)
    return summary


__all__ = ["SCHEMA", "Source", "fingerprint", "prepare", "song_rows", "sources_of"]
