"""MIDI files → a corpus folder: Parquet shards of token windows, tokenizer.json and corpus.json.

A row is a window of 4 to 16 bars: ids of its bars (in C major / A minor where the key is sure) with the offset of each bar,
programs, style, key and its confidence, meter, tempo, whether it starts or ends its song, its vibe, its source and
licence, and the split of its song (`windows.SCHEMA`).

Files are worked on in pieces of a few dozen by a pool of processes; a piece is written whole or not at all, so a run that
was killed goes on where it was. Then the pieces are put together: copies of a song are left out, and shards are cut.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from midivibe.errors import CorpusError, InputError, MidivibeError, OutputError
from midivibe.files import replacing
from midivibe.tokens.miditok import BarTrackREMI
from midivibe.tokens.vocabulary import STYLES
from midivibe.training.dataset import FORMAT, kept_shares
from midivibe.training.sources import Source, with_splits
from midivibe.training.windows import SCHEMA, beats_of, song_rows

PIECE_FILES = 40
"""Files that one worker prepares at a time: what a kill costs, a minute or less."""
SHARD_TOKENS = 6_000_000
"""Ids of a shard: about 5 MB on disk, and what the page of statistics holds at a time."""
SHARD = re.compile(r"shard-\d{4}\.parquet")

# Pieces: some files each, worked on in parallel, kept on disk until all are done ----------------------------------------


@dataclass(frozen=True)
class Piece:
    """Some files that are prepared together, a digest of what they are, and where their rows go."""

    sources: list[Source]
    digest: str
    path: Path

    @property
    def done(self) -> bool:
        return (_report(self.path) or {}).get("digest") == self.digest


def _digest(sources: list[Source]) -> str:
    """Changes when a file of the piece, what is said about it, or this format changes."""
    facts: list[object] = [FORMAT]
    for s in sources:
        try:
            stat, beats = s.path.stat(), beats_of(s)
            marked = beats.stat().st_mtime_ns if beats.is_file() else None
            facts.append([s.name, stat.st_size, stat.st_mtime_ns, marked, *list(asdict(s).values())[2:]])
        except OSError:
            facts.append([s.name, None])
    return hashlib.sha1(json.dumps(facts).encode()).hexdigest()


@cache
def _tokenizer() -> BarTrackREMI:
    """One a process: it takes a while to make."""
    return BarTrackREMI()


def _work(piece: Piece) -> None:
    """Prepare some files and write their rows, with a report of what was skipped, as one Parquet file."""
    rows: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    prints: dict[str, int] = {}
    for source in piece.sources:
        try:
            found, prints[source.name] = song_rows(source, _tokenizer())
            rows += found
        except MidivibeError as error:
            skipped.append((source.name, str(error).replace(str(source.path), "the file")))
        except Exception as error:  # a malformed file never stops the run
            skipped.append((source.name, f"{type(error).__name__}: {error}"))
    _write_piece(piece, rows, skipped, prints)


def _write_piece(
    piece: Piece, rows: list[dict[str, Any]], skipped: list[tuple[str, str]], fingerprints: dict[str, int]
) -> None:
    report = {"digest": piece.digest, "files": len(piece.sources), "skipped": skipped, "fingerprints": fingerprints}
    table = pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata({"midivibe": json.dumps(report)})
    with replacing(piece.path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _report(path: Path) -> dict[str, Any] | None:
    """What a finished piece says about itself; None where there is none, or a damaged one."""
    try:
        report: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {})[b"midivibe"])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    return report


def _one_by_one(piece: Piece) -> None:
    """A piece that killed its worker: every file in a process of its own, so that one bad file costs only itself."""
    rows: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    prints: dict[str, int] = {}
    single = piece.path.with_name(f"single-{piece.path.name}")
    for source in piece.sources:
        try:
            with ProcessPoolExecutor(1) as pool:
                pool.submit(_work, Piece([source], piece.digest, single)).result()
        except BrokenProcessPool:
            skipped.append((source.name, "crashed: reading it ends the process"))
            continue
        report = _report(single) or {"skipped": [], "fingerprints": {}}
        skipped += report["skipped"]
        prints |= report["fingerprints"]
        rows += pq.read_table(single).to_pylist()
    single.unlink(missing_ok=True)
    _write_piece(piece, rows, skipped, prints)


def _make_pieces(sources: list[Source], folder: Path, workers: int, advance: Callable[[int, int], None]) -> list[Path]:
    """All pieces, those that are there already as they are; `advance` hears of files done and of those that were."""
    pieces = []
    for at in range(0, len(sources), PIECE_FILES):
        batch = sources[at : at + PIECE_FILES]
        pieces.append(Piece(batch, _digest(batch), folder / f"piece-{at // PIECE_FILES:06d}.parquet"))
    waiting = []
    for piece in pieces:
        if piece.done:
            advance(len(piece.sources), len(piece.sources))
        else:
            waiting.append(piece)
    for piece in _in_parallel(waiting, workers, advance):
        if not piece.done:
            _one_by_one(piece)
        advance(len(piece.sources), 0)
    return [piece.path for piece in pieces]


def _in_parallel(pieces: list[Piece], workers: int, advance: Callable[[int, int], None]) -> list[Piece]:
    """Work on pieces in a pool of processes, anew after each crash; returns those that were under way at one."""
    waiting = pieces[::-1]
    broken: list[Piece] = []
    while waiting:
        pool = ProcessPoolExecutor(workers)
        running: dict[Future[None], Piece] = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    running[pool.submit(_work, waiting[-1])] = waiting[-1]
                    waiting.pop()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    advance(len(running.pop(future).sources), 0)
        except BrokenProcessPool:
            broken += running.values()
            pool.shutdown(wait=True)
            continue
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown(wait=True)
    return broken


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
    _check_caps(caps, sources)
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


def _check_caps(caps: dict[str, float], sources: list[Source]) -> None:
    for style, share in caps.items():
        if style not in STYLES or not 0 < share <= 1:
            raise InputError(f"cap {style}={share}: a known style and a share above 0, up to 1; styles: {', '.join(STYLES)}")
        if style not in {s.style for s in sources}:
            raise InputError(f"cap {style}={share}: no file has that style; a CSV with a column style says which have")
    kept_shares(Counter(s.style for s in sources if s.split == "train"), caps)


def _resplit(sources: list[Source], pieces: list[Path]) -> list[Source]:
    """The same sources; where the songs that could be used left a split empty, with these songs split anew."""
    used, _ = _used(pieces)
    left = [s for s in sources if s.name in used]
    split_of = {s.name: s.split for s in with_splits(left)}
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


@dataclass
class Tally:
    """What corpus.json says of the windows that were kept and the files that were not."""

    files: int = 0
    tokens: int = 0
    notes: int = 0
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in ("splits", "styles", "licences", "songs")}
    )
    skipped: list[tuple[str, str]] = field(default_factory=list)
    songs: set[str] = field(default_factory=set)

    def add(self, table: pa.Table) -> int:
        """Count the windows of a piece; returns their ids."""
        columns = (table[c].to_pylist() for c in ("split", "style", "licence", "song"))
        for split, style, licence, song in zip(*columns, strict=True):
            self.counts["splits"][split] += 1
            self.counts["styles"][style] += split == "train"
            self.counts["licences"][licence] += 1
            self.counts["songs"][split] += song not in self.songs
            self.songs.add(song)
        ids = len(table["ids"].combine_chunks().flatten())
        self.tokens += ids
        self.notes += int(np.sum(table["notes"].to_numpy()))
        return ids

    def summary(self, caps: dict[str, float]) -> dict[str, Any]:
        """corpus.json; raises CorpusError where nothing was kept."""
        kinds = Counter(reason.split(":")[0] for _, reason in self.skipped)
        if not self.songs:
            most = "; ".join(f"{kind} ({count})" for kind, count in kinds.most_common(3))
            raise CorpusError(f"none of the {self.files} files could be used: {most}")
        return {
            "format": FORMAT, "files": self.files, "windows": self.counts["splits"].total(), "tokens": self.tokens,
            "notes": self.notes, **{name: dict(sorted(count.items())) for name, count in self.counts.items()}, "caps": caps,
            "skipped_by_reason": dict(kinds.most_common()), "skipped": self.skipped,
        }  # fmt: skip


def _assemble(pieces: list[Path], out: Path, caps: dict[str, float]) -> dict[str, Any]:
    """Pieces → shards without second copies of a song, tokenizer.json, corpus.json; the old ones stay until all are ready."""
    new = out / ".pieces" / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    BarTrackREMI().save_tokenizer(new / "tokenizer.json")
    summary = _write_shards(pieces, new, caps)
    (new / "corpus.json").write_text(json.dumps(summary, indent=1))
    (out / "corpus.json").unlink(missing_ok=True)  # from here to the end there is no finished corpus
    for old in out.glob("shard-*.parquet"):
        old.unlink()
    for made in sorted(new.iterdir(), key=lambda p: p.name == "corpus.json"):
        made.replace(out / made.name)
    return summary


def _write_shards(pieces: list[Path], new: Path, caps: dict[str, float]) -> dict[str, Any]:
    """Shards of about SHARD_TOKENS ids; returns the summary."""
    _, copies = _used(pieces)
    tally = Tally()
    pending: list[pa.Table] = []
    size = shard = 0
    for number, piece in enumerate(pieces):
        report = _report(piece)
        if report is None:
            raise CorpusError(f"{piece} is damaged; run prepare again, it will be made anew")
        tally.files += report["files"]
        tally.skipped += [(name, reason) for name, reason in report["skipped"]]
        tally.skipped += [(n, f"a copy: the same notes as {copies[n]}") for n in report["fingerprints"] if n in copies]
        table = pq.read_table(piece).replace_schema_metadata(None)
        if any(name in copies for name in report["fingerprints"]):
            table = table.filter(pa.array([name not in copies for name in table["file"].to_pylist()], pa.bool_()))
        if len(table):
            size += tally.add(table)
            pending.append(table)
        if pending and (size > SHARD_TOKENS or number == len(pieces) - 1):
            pq.write_table(pa.concat_tables(pending), new / f"shard-{shard:04d}.parquet", compression="zstd")
            pending.clear()
            size, shard = 0, shard + 1
    return tally.summary(caps)


__all__ = ["prepare"]
