"""Which MIDI files to prepare, what is said about each, and which split its song belongs to."""

from __future__ import annotations

import csv
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from midivibe.errors import CorpusError, InputError, nearest
from midivibe.tokens.vocabulary import STYLES

SUFFIXES = (".mid", ".midi", ".kar", ".rmi")
SPLITS = ("train", "valid", "test")
MANY_SONGS = 200
"""From here on 2 % of the songs are enough for each of valid and test; with fewer they get 10 %."""


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
    """whether the split comes from the hash of the song's name, not from the table"""


def sources_of(place: str | Path) -> list[Source]:
    """The MIDI files of a folder and its subfolders, or those that a CSV names.

    The CSV has a column `path`, relative to its own folder, and may have style, licence, source, song and split.

    Raises:
        CorpusError: no such place, or no MIDI file there.
        InputError: a row of the CSV that cannot be meant.
    """
    place = Path(place)
    if place.is_dir():
        found = [Source(place / name, readable, song_of(readable)) for name, readable in _walk(place)]
        if not found:
            raise CorpusError(f"no MIDI files in {place}; looked for {', '.join(SUFFIXES)} in it and its subfolders")
    elif place.is_file():
        found = _table(place)
        if not found:
            raise CorpusError(f"{place} names no MIDI files")
    else:
        raise CorpusError(f"no folder or CSV of MIDI files at {place}")
    return with_splits(found)


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


def song_of(name: str) -> str:
    """A file name without its suffix and without the number of a copy or version: "a/Song (2).mid" → "a/song"."""
    stem = re.sub(r"\.[^.]*$", "", name).lower()
    return re.sub(r"(\s*[-_. ]?\((v|ver)?\s*\d{1,2}\)|[-_. ](v|ver)\s?\d{1,2}|\.\d{1,2})$", "", stem) or stem


def _table(path: Path) -> list[Source]:
    """The rows of a CSV, plain or gzipped; raises InputError where they cannot be read or contradict each other."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:  # Excel puts a mark before the first column
            reader = csv.DictReader(file)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
            if "path" not in (reader.fieldnames or []):
                raise InputError(f"{path} has no column named path; it has {', '.join(reader.fieldnames or ['none'])}")
            return list(_rows(path, reader))
    except (UnicodeDecodeError, csv.Error, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is neither a folder nor a CSV that can be read: {error}") from error


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[Source]:
    seen: dict[str, str] = {}
    split_of: dict[str, str] = {}
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
        song = (row.get("song") or "").strip() or (name if split else song_of(name))
        if split and split_of.setdefault(song, split) != split:
            raise InputError(f"{where}: song {song!r} is in the splits {split_of[song]} and {split}; it must be in one")
        licence = (row.get("licence") or row.get("license") or "none stated").strip()
        yield Source(path.parent / name, name, song, style, (row.get("source") or "").strip(), licence, split)


def split_by_hash(song: str, share: int = 2) -> str:
    """A song's split by a stable hash of its name, whatever other songs there are: `share` % each for valid and test."""
    bucket = zlib.crc32(song.encode()) % 100
    return "train" if bucket < 100 - 2 * share else "valid" if bucket < 100 - share else "test"


def with_splits(sources: list[Source]) -> list[Source]:
    """Each song's split: as the table says, else by a stable hash of its name.

    96 % train, 2 % valid, 2 % test; under 200 songs 80, 10 and 10 %. Whatever the hashes, one song is trained on, one of two
    is held out, and one of three is for each split, unless the table gives them elsewhere.
    """
    given = {s.song: s.split for s in sources if s.split and not s.drawn}
    songs = sorted({s.song for s in sources})
    drawn = sorted((s for s in songs if s not in given), key=lambda s: zlib.crc32(s.encode()))
    share = 2 if len(songs) >= MANY_SONGS else 10
    split_of = {song: given.get(song) or split_by_hash(song, share) for song in songs}
    if songs and "train" not in split_of.values() and drawn:
        split_of[drawn[0]] = "train"
    for name, least in (("valid", 2), ("test", 3)):
        free = [s for s in drawn if split_of[s] == "train"]
        if name not in split_of.values() and len(songs) >= least and len(free) > 1:
            split_of[free[-1]] = name
    return [replace(s, split=split_of[s.song], drawn=s.song not in given) for s in sources]


__all__ = ["Source", "song_of", "sources_of", "split_by_hash", "with_splits"]
