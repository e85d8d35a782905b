"""Does a piece keep to its plan? What was asked beside what is heard, and people's songs beside ours.

    python scripts/following.py chords [--checkpoint DIR]     50 progressions in 6 keys, 3 bands, 4/4, 3/4 and 6/8
    python scripts/following.py forms                         100 forms, each with its bars and section markers
    python scripts/following.py sections [--pieces 24]        bars of sections that return, 32 bars from photographs

Chords are heard by `evaluation.metrics` (the triad with most sounding time in a bar), which composing does not use. People's
rows are the same labeller on windows of a split beside midivibe's own labels: what it can find at all.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from midivibe.evaluation.intervals import estimate
from midivibe.evaluation.metrics import bar_triads, cells, shared
from midivibe.evaluation.page import shown
from midivibe.evaluation.pieces import compose, human_pieces, on_grid
from midivibe.midi.instruments import family_of
from midivibe.midi.notes import Notes
from midivibe.plan.chords import Chord
from midivibe.plan.form import Section, parse_form
from midivibe.plan.reading import Reading
from midivibe.requests import Compose
from midivibe.studio import Studio
from midivibe.training.dataset import Corpus

PROGRESSIONS = (
    "C G Am F", "Am F C G", "C Am F G", "C F G C", "Dm7 G7 Cmaj7 Am7", "Am G F E", "C Em F G", "Am Dm E7 Am", "F G Em Am",
    "C G | Am F", "C7 C7 C7 C7 F7 F7 C7 C7 G7 F7 C7 G7", "Am C Dm F", "C Bb F C", "Em C G D", "C A7 Dm G7", "Am Em F C",
    "Cm Ab Eb Bb",
)  # fmt: skip
"""Four-chord songs, jazz, blues, folk and minor progressions; each is moved to the keys in turn."""
SHIFTS = (0, 2, 5, 7, 9, 10)
BANDS = ("piano,bass,drums", "nylon guitar,flute,strings,acoustic bass", "electric piano,clean guitar,bass,drums,trumpet")
METERS = ("4/4", "4/4", "3/4", "6/8")
BASS = "bass"


def requests(count: int = 50) -> list[tuple[str, Compose]]:
    """Progressions with their requests, keys, bands and meters in turn."""
    found = []
    rounds = zip(range(count), cycle(PROGRESSIONS), cycle(SHIFTS), cycle(BANDS), cycle(METERS), strict=False)
    for seed, progression, shift, band, meter in islice(rounds, count):
        moved = " | ".join(
            " ".join(Chord.parse(symbol).transposed(shift).symbol() for symbol in bar.split())
            for bar in (progression.split("|") if "|" in progression else progression.split())
        )
        chords = moved + " |"
        found.append((chords, Compose(chords=chords, bars=16, instruments=band, time_signature=meter, seed=seed)))
    return found


def triad(chord: Chord) -> int:
    """0 to 11 major, 12 to 23 minor by the chord's third; -1 for others."""
    if chord.root < 0:
        return -1
    thirds = [(p - chord.root) % 12 for p in chord.pitch_classes if (p - chord.root) % 12 in (3, 4)]
    return chord.root + 12 * (thirds == [3]) if len(thirds) == 1 else -1


def agreement(notes: Notes, bars: list[tuple[Chord, ...]]) -> dict[str, float]:
    """Shares of the bars with one chord whose triad, or whose root, is heard; of all, those whose bass begins on the root."""
    heard = bar_triads(notes)
    hits: list[bool] = []
    roots: list[bool] = []
    bass: list[bool] = []
    is_bass = np.array([family_of(int(p)) == BASS for p in notes.program], dtype=bool)
    for bar, chords in enumerate(bars):
        if not chords or chords[0].root < 0:
            continue
        rows = np.flatnonzero(is_bass & (notes.bar == bar))
        if len(rows):
            bass.append(bool(notes.pitch[rows[notes.onset[rows].argmin()]] % 12 == chords[0].root))
        if len(chords) == 1 and triad(chords[0]) >= 0 and heard[bar] >= 0:
            hits.append(bool(heard[bar] == triad(chords[0])))
            roots.append(bool(heard[bar] % 12 == chords[0].root))
    return {"root and major/minor": _mean(hits), "root": _mean(roots), "bass begins on the root": _mean(bass)}


def _mean(values: list[bool]) -> float:
    return float(np.mean(values)) if values else np.nan


def chords(studio: Studio, corpus: Corpus) -> None:
    asked = requests()
    settings = [studio.settle(request) for _, request in asked]
    with tempfile.TemporaryDirectory() as folder:
        ours = [on_grid(score, studio) for score in compose(studio, settings, Path(folder))]
    plans = [list(studio_plan(s.chords or "", 16)) for s in settings]
    rows = {"asked": [agreement(n, p) for n, p in zip(ours, plans, strict=True)]}
    people = human_pieces(corpus, 100, 16, 0)
    labels = [[tuple(c for _, c in bar) for bar in Reading.of(p.notes).chords] for p in people]
    rows["people"] = [agreement(p.notes, bars) for p, bars in zip(people, labels, strict=True)]
    songs = {"asked": None, "people": [p.song for p in people]}
    for name, found in rows.items():
        figures = {k: estimate(np.array([f[k] for f in found]), songs[name], 0) for k in found[0]}
        print(name, len(found), "pieces:", "; ".join(f"{k} {shown(v, 3)}" for k, v in figures.items()))
    for meter in dict.fromkeys(METERS):
        agreed = [
            f["root and major/minor"] for f, (_, r) in zip(rows["asked"], asked, strict=True) if r.time_signature == meter
        ]
        print(f"  {meter}: {np.nanmean(agreed):.3f}")
    for band in BANDS:
        agreed = [f["root and major/minor"] for f, (_, r) in zip(rows["asked"], asked, strict=True) if r.instruments == band]
        print(f"  {band}: {np.nanmean(agreed):.3f}")


def studio_plan(text: str, bars: int) -> tuple[tuple[Chord, ...], ...]:
    """The chords of every bar."""
    from midivibe.plan.plan import parse_chords, spread

    return spread(parse_chords(text), bars)


def forms(studio: Studio, count: int = 100) -> None:
    rng = np.random.default_rng(0)
    kept = 0
    for seed in range(count):
        letters = rng.choice(list("ABC"), rng.integers(2, 5))
        form = " ".join(f"{letter}{rng.integers(1, 4)}" for letter in letters)
        sections = parse_form(form)
        score = studio.compose(form=form, seed=seed, instruments="piano,bass").score
        lines = [int(m.time) for m in score.markers]
        bar = score.ticks_per_quarter * 4 * score.time_signatures[0].numerator // score.time_signatures[0].denominator
        right = lines == [s.start * bar for s in sections] and [m.text for m in score.markers] == [s.letter for s in sections]
        kept += right and max(n.time for t in score.tracks for n in t.notes) < sections[-1].end * bar
    print(f"forms kept: {kept} of {count}")


def likeness(notes: Notes, sections: tuple[Section, ...]) -> tuple[list[float], list[float]]:
    """Overlap of the notes of bars at the same place in two sections: of one letter, and of two."""
    bars = cells(notes)
    same: list[float] = []
    other: list[float] = []
    for i, late in enumerate(sections):
        for early in sections[:i]:
            pairs = zip(range(early.start, early.end), range(late.start, late.end), strict=False)
            found = [shared(bars[a], bars[b]) for a, b in pairs if b < len(bars) and (bars[a] or bars[b])]
            if found:
                (same if early.letter == late.letter else other).append(float(np.mean(found)))
    return same, other


def auc(same: list[float], other: list[float]) -> float:
    a, b = np.array(same)[:, None], np.array(other)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def sections(studio: Studio, corpus: Corpus, pictures: Path, pieces: int) -> None:
    chosen = np.random.default_rng(1).permutation(sorted(pictures.glob("*.jpg")))[:pieces]
    settings = [studio.settle(Compose(image=p, bars=32, seed=i, form="AABA")) for i, p in enumerate(chosen)]
    with tempfile.TemporaryDirectory() as folder:
        ours = [likeness(on_grid(s, studio), parse_form("AABA")) for s in compose(studio, settings, Path(folder))]
    people = []
    for piece in human_pieces(corpus, 400, 32, 0):
        reading = Reading.of(piece.notes)
        found = tuple(s for s in reading.sections if s.bars >= 4)
        if len(found) >= 3:
            people.append(likeness(piece.notes, found))
    for name, rows in (("people", people), ("ours", ours)):
        same, other = ([x for row in rows for x in row[i]] for i in (0, 1))
        quartiles = " ".join(f"{q:.2f}" for q in np.percentile(same, [25, 50, 75]))
        print(f"{name}: {len(rows)} pieces, same letter {quartiles}, others {np.median(other):.2f}, AUC {auc(same, other):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("chords", "forms", "sections"))
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus/music"))
    parser.add_argument("--split", default="valid")
    parser.add_argument("--pictures", type=Path, default=Path("data/raw/photos"))
    parser.add_argument("--pieces", type=int, default=24)
    options = parser.parse_args()
    studio = Studio.open(options.checkpoint)
    if options.what == "forms":
        forms(studio)
        return
    corpus = Corpus(options.corpus, options.split)
    if options.what == "chords":
        chords(studio, corpus)
    else:
        sections(studio, corpus, options.pictures, options.pieces)


if __name__ == "__main__":
    main()
