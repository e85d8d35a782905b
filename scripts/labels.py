"""How right the labels of chords and sections are. (`scripts/fit_labels.py` fits their weights.)

    python scripts/labels.py chords                 agreement with POP909's chord files on the 218 songs held out of the fit
    python scripts/labels.py sections               sections of marked band songs held out of the fit
    python scripts/labels.py symbols                agreement with the chord symbols inside some band files
    python scripts/labels.py speed                  CPU time a file, after parsing, over 300 random files of the band set
    python scripts/labels.py show FILE...           key, form and chords of files, bar by bar, to check by eye

Data: data/raw/pop909 and data/raw/band (data/README.md says what they are). All on one core.
"""

from __future__ import annotations

import argparse
import random
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np

from midivibe.errors import MidivibeError
from midivibe.midi.beats import on_beats, read_beats
from midivibe.midi.notes import Notes
from midivibe.midi.score import FILE_TICKS, note_table, read
from midivibe.midi.theory import QUALITIES, Key, detect_key
from midivibe.plan import chords, form
from midivibe.plan.bars import Bars, bars_of

POP909 = Path("data/raw/pop909")
BAND = Path("data/raw/band")
UNKNOWN, SILENT = -2, 12 * len(QUALITIES)
TRIAD = {"maj": 0, "7": 0, "maj7": 0, "min": 1, "m7": 1}


# POP909 -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Song:
    """A POP909 song on its beats; `times` holds the second of each beat of its grid.

    Labels are codes: root · Q + quality, SILENT for N, UNKNOWN for what is no chord of ours.
    """

    name: str
    notes: Notes
    times: np.ndarray

    def tick(self, seconds: np.ndarray) -> np.ndarray:
        ticks: np.ndarray = np.interp(seconds, self.times, FILE_TICKS * np.arange(len(self.times), dtype=float))
        return ticks

    def seconds(self, ticks: np.ndarray) -> np.ndarray:
        seconds: np.ndarray = np.interp(ticks, FILE_TICKS * np.arange(len(self.times), dtype=float), self.times)
        return seconds

    def labels(self, kind: str, seconds: np.ndarray) -> np.ndarray:
        """The annotators' labels (kind audio or midi) at some times, as codes."""
        rows = [line.split() for line in (POP909 / self.name / f"chord_{kind}.txt").read_text().splitlines()]
        rows = [row for row in rows if len(row) == 3]
        begin, end = (np.array([float(row[k]) for row in rows]) for k in (0, 1))
        code = np.array([code_of(row[2]) for row in rows])
        index = np.searchsorted(begin, seconds, side="right") - 1
        return np.where((index >= 0) & (seconds < end[index]), code[index], UNKNOWN)

    def reference(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Ticks of the middles of the beats that the labels were made on, and the labels there."""
        beats = np.loadtxt(POP909 / self.name / f"beat_{kind}.txt", ndmin=2)[:, 0]
        at = beats[:-1] + 0.4 * np.diff(beats)
        return self.tick(at), self.labels(kind, at)


def code_of(text: str) -> int:
    """ "Bb:min7/b3" → a code. Richer chords become the seventh or triad that they hold."""
    if text[0] in "NX":
        return SILENT if text[0] == "N" else UNKNOWN
    root, _, shape = text.partition(":")
    shape = shape.split("/")[0]
    for prefix, quality in (
        ("hdim", "m7b5"), ("minmaj", "min"), ("min6", "min"), ("min7", "m7"), ("min9", "m7"), ("min1", "m7"), ("min", "min"),
        ("maj7", "maj7"), ("maj9", "maj7"), ("maj", "maj"), ("dim", "dim"), ("aug", "aug"), ("sus2", "sus2"),
        ("sus4", "sus4"), ("7", "7"), ("9", "7"), ("11", "7"), ("13", "7"),
    ):  # fmt: skip
        if shape.startswith(prefix):
            return chords.Chord.parse(root).root * len(QUALITIES) + list(QUALITIES).index(quality)
    return UNKNOWN


def pop909(held_out: bool | None = None) -> Iterator[Song]:
    """Songs on the grid; every fourth (number divisible by four) is held out."""
    for folder in sorted(POP909.iterdir()):
        if held_out is not None and (int(folder.name) % 4 == 0) != held_out:
            continue
        score = read(folder / f"{folder.name}.mid")
        beats, down = read_beats(folder / "beat_midi.txt")
        notes = on_beats(score, beats, down)
        first = min(track.notes[0].start for track in score.to("second").tracks if len(track.notes))
        before = int(np.ceil((beats[0] - min(first, beats[0])) / (beats[1] - beats[0]) - 0.25))  # as on_beats counts
        head, tail = beats[1] - beats[0], beats[-1] - beats[-2]
        times = np.concatenate([beats[0] - head * np.arange(before, 0, -1), beats, beats[-1] + tail * np.arange(1, 400)])
        yield Song(folder.name, notes, times)


def triads(code: np.ndarray) -> np.ndarray:
    """Codes → 2 · root + (0 major, 1 minor); 24 for N; -1 for what is neither."""
    size = len(QUALITIES)
    third = np.array([TRIAD.get(q, -1) for q in QUALITIES])
    inside = (code >= 0) & (code < SILENT)
    mode = third[np.where(inside, code % size, 0)]
    return np.where(inside & (mode >= 0), code // size * 2 + mode, np.where(code == SILENT, 24, -1))


def codes(labels: chords.Labels, ticks: np.ndarray) -> np.ndarray:
    beat = np.clip(np.searchsorted(labels.start, ticks, side="right") - 1, 0, len(labels) - 1)
    return np.where(labels.root < 0, SILENT, labels.root * len(QUALITIES) + labels.quality)[beat]


def plain_labels(notes: Notes) -> chords.Labels:
    """The usual 24 states to compare with: templates of triads on the chroma of a beat, .4 for the lowest note, .5 a change."""
    start, bar, _ = chords.beat_grid(notes)
    chroma, low = chords.sounding(notes, start)
    unit = chroma / np.maximum(np.linalg.norm(chroma, axis=1, keepdims=True), 1e-9)
    above = (np.arange(12)[None, :] + np.arange(12)[:, None]) % 12
    bass = 0.4 * (low == low.max(1, keepdims=True)) * (low > 0)
    score = [unit[:, above][:, :, list(tones)].sum(2) / np.sqrt(3) + bass for tones in ((0, 4, 7), (0, 3, 7))]
    path = chords.best_path(np.hstack(score), np.full(len(bar), 0.5))
    return chords.Labels(start, bar, path % 12, path // 12, np.full(len(bar), -1), notes.bar_start)


def chord_figures() -> None:
    """Major/minor agreement at beats with both sets of labels, sevenths apart; the plain pass beside it."""
    rows: dict[str, list[tuple[np.ndarray, ...]]] = {"audio": [], "midi": []}
    for song in pop909(held_out=True):
        both = chords.chords_of(song.notes), plain_labels(song.notes)
        for kind, into in rows.items():
            ticks, truth = song.reference(kind)
            into.append((codes(both[0], ticks), truth, codes(both[1], ticks)))
    size = len(QUALITIES)
    for kind, into in rows.items():
        ours, truth, plain = (np.concatenate(column) for column in zip(*into, strict=True))
        theirs = triads(truth)
        known = (theirs >= 0) & (theirs < 24)
        songs = [np.mean((triads(o) == triads(t))[(triads(t) >= 0) & (triads(t) < 24)]) for o, t, _ in into]
        chord = (truth >= 0) & (truth < SILENT)
        seventh = chord & np.isin(truth % size, [2, 3, 4])
        found = chord & (ours < SILENT) & np.isin(ours % size, [2, 3, 4])
        print(
            f"{kind:5s}: {len(into)} songs, {known.sum():,} beats; major/minor {np.mean((triads(ours) == theirs)[known]):.3f} "
            f"(mean of songs {np.nanmean(songs):.3f}; plain 24 states {np.mean((triads(plain) == theirs)[known]):.3f}), roots "
            f"{np.mean((ours // size == truth // size)[chord]):.3f}; sevenths: {np.mean((ours == truth)[seventh]):.3f} of "
            f"theirs found exactly, {np.mean((ours == truth)[found]):.3f} of ours right"
        )


# Chord symbols inside files of the band set -----------------------------------------------------------------------------

XF_CHORD = b"\x43\x7b\x01"  # a Yamaha XF chord: accidental and letter, type, bass
XF_ROOT, XF_THIRD = (
    (None, 0, 2, 4, 5, 7, 9, 11),
    "maj maj maj maj maj maj maj - min min min - min min min min min - - maj - maj",
)
TEXT = re.compile(rb"\xff[\x01\x05\x06][\x01-\x09][A-G][#b]?(?:maj|min|m|M)?[0-9]?(?:/[A-G])?[\x00\x20]?(?=[\x00-\xff])")
SYMBOL = re.compile(r"\s*([A-G][#b]?)(maj|min|m)?(?:[679]|maj7|maj9)?(?:/[A-G][#b]?)?\s*")
FAULTY = ("There_Were_Roses", "9648")  # symbols of another key than the notes


def symbols_of(path: Path) -> list[tuple[int, int]]:
    """Chord events of a file, as (tick, 2 · root + minor, or -1 for other chords): XF events, else texts that are chords."""
    xf, text = [], []
    for track in mido.MidiFile(path, clip=True).tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "sequencer_specific" and bytes(message.data[:3]) == XF_CHORD and len(message.data) > 4:
                letter, kind = message.data[3] & 15, message.data[4]
                root = (XF_ROOT[letter] + (message.data[3] >> 4) - 3) % 12 if 0 < letter < 8 else 0
                third = XF_THIRD.split()[kind] if kind < len(XF_THIRD.split()) else "-"
                xf.append((tick, -1 if third == "-" else 2 * root + (third == "min")))
            elif message.type in ("text", "lyrics", "marker") and (match := SYMBOL.fullmatch(message.text.strip("\x00"))):
                text.append((tick, 2 * chords.Chord.parse(match[1]).root + (match[2] in ("m", "min"))))
    found = xf if len(xf) >= 20 else text
    return sorted(found) if len(found) >= 20 and len({code for _, code in found}) >= (3 if found is xf else 8) else []


def symbol_figures() -> None:
    """Major/minor agreement with symbols that the files' authors wrote: XF chords, or twenty and more texts of eight chords."""
    rows = []
    for path in sorted(BAND.rglob("*.mid")):
        data = path.read_bytes()
        if any(name in path.name for name in FAULTY) or (data.count(XF_CHORD) < 20 and len(TEXT.findall(data)) < 30):
            continue
        try:
            events, notes = symbols_of(path), note_table(read(path))
        except (MidivibeError, OSError, ValueError, EOFError, KeyError):
            continue
        if events:
            labels = chords.chords_of(notes)
            index = np.searchsorted([tick for tick, _ in events], (labels.start[1:] + labels.start[:-1]) / 2, side="right") - 1
            truth = np.where(index >= 0, np.array([code for _, code in events])[index], -1)
            ours = [triads(codes(found, labels.start[:-1])) for found in (labels, plain_labels(notes))]
            rows.append([np.mean((o == truth)[truth >= 0]) for o in ours])
    ours, plain = np.mean(rows, 0)
    print(f"{len(rows)} band files with chord symbols: major/minor {ours:.3f}, plain 24 states {plain:.3f} (means of songs)")


# Marked songs of the band set -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Marked:
    """A song of the band set whose markers name sections: the bars where they begin, and their names."""

    name: str
    notes: Notes
    named: list[tuple[int, str]]
    labels: chords.Labels
    bars: Bars

    @property
    def complete(self) -> bool:
        """Whether the markers leave no section much longer than songs have."""
        lengths = np.diff([bar for bar, _ in self.named] + [self.notes.bars])
        return len(self.named) >= 5 and float(np.median(lengths)) <= 20 and int(lengths.max()) <= 40


def marked_songs(held_out: bool | None = None) -> Iterator[Marked]:
    """Songs of at most 400 bars with three or more markers that name sections; a third, by checksum of path, is held out."""
    for path in sorted(BAND.rglob("*.mid")):
        if held_out is not None and (zlib.crc32(f"data/raw/band/{path.relative_to(BAND)}".encode()) % 3 == 0) != held_out:
            continue
        if path.read_bytes().count(b"\xff\x06") < 3:
            continue
        try:
            score = read(path)
            notes = note_table(score)
        except MidivibeError:
            continue
        named = form.named_bars([(m.time, m.text) for m in score.markers], notes)
        if named and len(notes) and notes.bars <= 400:
            labels = chords.chords_of(notes)
            yield Marked(str(path.relative_to(BAND)), notes, named, labels, bars_of(notes, labels))


def hits(found: list[int], true: list[int], tolerance: int = 1) -> tuple[int, int, int]:
    """(matched, found, true): each true boundary is matched by one found within the tolerance in bars."""
    left, matched = set(true), 0
    for bar in found:
        near = [t for t in left if abs(t - bar) <= tolerance]
        if near:
            left.remove(min(near, key=lambda t: abs(t - bar)))
            matched += 1
    return matched, len(found), len(true)


def f1(found: list[int], true: list[int], tolerance: int = 1) -> float:
    matched, ours, theirs = hits(found, true, tolerance)
    return 2 * matched / max(ours + theirs, 1)


def auc(score: np.ndarray, same: np.ndarray) -> float:
    """Chance that a same pair scores above a different one; nan without both."""
    if same.all() or not same.any():
        return float("nan")
    rank = np.argsort(np.argsort(score, kind="stable"), kind="stable")
    return float((rank[same].mean() - (same.sum() - 1) / 2) / (~same).sum())


def section_figures() -> None:
    """Boundaries and same-or-different on marked songs held out of the fit, with an 8-bar grid beside."""
    rows, pairs = [], []
    for song in marked_songs(held_out=True):
        true = [bar for bar, _ in song.named]
        ours = form.sections_of(song.notes, (), song.labels, song.bars)
        found = [s.start for s in ours.sections if s.start >= max(1, true[0] - 1)]
        inner = [bar for bar in true if bar > 0]
        grid = list(range(8, song.notes.bars, 8))
        rows.append((song.complete, f1(found, inner), f1(found, inner, 0), f1(grid, inner), ours.confidence))
        odds = form.pair_scores(song.bars.alike, true, [*true[1:], song.notes.bars])
        low = np.tril_indices(len(true), -1)
        names = np.array([name for _, name in song.named])
        pairs.append((odds[low], (names[:, None] == names)[low], *together(song, odds)))
    table = np.array(rows, dtype=float)
    for title, rows_of in (("all", table), ("completely marked", table[table[:, 0] > 0])):
        mean = rows_of.mean(0)
        print(
            f"{title}: {len(rows_of)} songs; boundaries F1 at ±1 bar {mean[1]:.3f}, exact {mean[2]:.3f}; "
            f"a grid of 8 bars {mean[3]:.3f}"
        )
    for least in (0.3, 0.4, 0.5, 0.6):
        sure = table[table[:, 4] >= least]
        print(f"  confidence {least} and more: {len(sure) / len(table):.0%} of songs, F1 at ±1 bar {sure[:, 1].mean():.3f}")
    score, same = np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])
    songs = [auc(*p[:2]) for p in pairs if len(p[0])]
    print(f"same or different: AUC {auc(score, same):.3f} over all pairs, mean of songs {np.nanmean(songs):.3f}")
    both, ours_same, true_same = (sum(p[k] for p in pairs) for k in (2, 3, 4))
    print(f"  letters on the true sections: precision {both / ours_same:.3f}, recall {both / true_same:.3f} of same pairs")


def together(song: Marked, odds: np.ndarray) -> tuple[int, int, int]:
    """Pairs of marked sections that ours and the markers both call the same; ours; the markers'."""
    group = np.array(form.groups(odds))
    names = np.array([name for _, name in song.named])
    ours, true = (np.tril(x[:, None] == x, -1) for x in (group, names))
    return int((ours & true).sum()), int(ours.sum()), int(true.sum())


# Speed, and songs to look at --------------------------------------------------------------------------------------------


def everything(notes: Notes) -> tuple[chords.Labels, form.Form, np.ndarray]:
    labels = chords.chords_of(notes)
    bars = bars_of(notes, labels)
    return labels, form.sections_of(notes, (), labels, bars), form.repeats_of(notes, bars)


def speed() -> None:
    """CPU milliseconds a file, after parsing."""
    for title, work in (("chords", chords.chords_of), ("chords, form and repeats", everything)):
        spent, sizes = [], []
        for path in random.Random(0).sample(sorted(BAND.rglob("*.mid")), 300):
            try:
                notes = note_table(read(path))
            except MidivibeError:
                continue
            begin = time.process_time()
            work(notes)
            spent.append(1000 * (time.process_time() - begin))
            sizes.append(len(notes))
        print(
            f"{title}: {len(spent)} files of {np.mean(sizes):,.0f} notes; mean {np.mean(spent):.1f} ms, "
            f"95 % under {np.percentile(spent, 95):.1f} ms"
        )


def show(path: Path) -> None:
    """Key, form, and the chords of each bar of a file, eight bars a line, with the bar that a line's first bar repeats."""
    score = read(path)
    notes = note_table(score)
    labels, ours, repeats = everything(notes)
    weights = chords.sounding(notes, labels.start)[0].sum(0)
    tonic, mode, sure = detect_key(weights)
    key = Key.of(tonic, mode)
    marked = form.sections_of(notes, [(m.time, m.text) for m in score.markers], labels)
    print(f"{path}: {key} ({sure:.2f}), {notes.bar_tempo[0]:.0f} BPM, {notes.bar_meter[0]}, {notes.bars} bars")
    print(f"  form ({ours.confidence:.2f}): {ours}" + (f"\n  its markers: {marked}" if marked.marked else ""))
    by_bar: dict[int, str] = {}
    for bar, _, chord in chords.changes(labels, "half"):
        by_bar[bar] = f"{by_bar.get(bar, '')} {chord.symbol(key)}".strip()
    for first in range(0, notes.bars, 8):
        cells = [by_bar.get(bar, "%") for bar in range(first, min(first + 8, notes.bars))]
        print(f"  {first + 1:4d} (={repeats[first] + 1:3d}) | " + " | ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["chords", "symbols", "sections", "speed", "show"])
    parser.add_argument("files", nargs="*", type=Path)
    args = parser.parse_args()
    if args.what == "show":
        for path in args.files:
            show(path)
    else:
        {"chords": chord_figures, "symbols": symbol_figures, "sections": section_figures, "speed": speed}[args.what]()


if __name__ == "__main__":
    main()
