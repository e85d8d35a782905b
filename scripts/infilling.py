"""Do fills fit? Holes in held-out songs, filled by the model and by three simpler ways, against what stood there.

    python scripts/infilling.py [--checkpoint DIR] [--corpus data/corpus/music] [--raw data/raw] [--songs 40]

Four kinds of hole in excerpts of 16 bars: four bars of everything; four bars of one track; a whole melodic track; the drums.
Ways: the model; the model without the bars after the hole; copying the bars before the hole; a Markov model of order 4 under
the same grammar. Onset F1 and chroma similarity (science.md A1) with 95 % intervals (bootstrap over songs), the share of
new pitches in the scale of the context beside that of the erased ones, and the seam beside the one in the original.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from midivibe import editing
from midivibe.errors import MidivibeError
from midivibe.evaluation.baselines import Markov, MarkovEngine
from midivibe.evaluation.infilling import chroma_similarity, in_scale, onset_f1, seam
from midivibe.score.canvas import Canvas, joined
from midivibe.score.layout import quantize
from midivibe.score.midi import DRUMS, Notes, note_table, read, to_score, write
from midivibe.studio import Studio
from midivibe.training.dataset import Corpus

KINDS = ("4 bars of everything", "4 bars of one track", "a whole melodic track", "the drums")
WAYS = ("model", "model, nothing after", "copy", "markov")
EXCERPT = 16


def excerpt(path: Path, rng: random.Random, v) -> Notes | None:
    """Sixteen bars in which at least two melodic parts and the drums play most of the time."""
    notes = quantize(note_table(read(path)), v)
    if notes.bars < EXCERPT + 2:
        return None
    for _ in range(12):
        first = rng.randint(0, notes.bars - EXCERPT)
        window = notes.window(first, first + EXCERPT)
        bar = np.searchsorted(window.bar_start, window.onset, side="right") - 1
        busy = [p for p in set(window.program.tolist()) if len(set(bar[window.program == p].tolist())) >= 12]
        if DRUMS in busy and len(busy) >= 3 and len(window) < 1500:
            return window
    return None


def holes(kind: str, song, rng: random.Random) -> dict[int, list[int]] | None:
    """Part number → bars of a hole of that kind."""
    middle = list(range(6, 10))
    steady = [p for p in song.parts if len(set(song.bar_of([n.start for n in p.notes]).tolist())) >= 12]
    melodic = [p for p in steady if p.program != DRUMS]
    if kind == KINDS[0]:
        return {p.number: middle for p in song.parts}
    if kind == KINDS[1]:
        return {rng.choice(song.parts).number: middle} if len(song.parts) > 1 else None
    if kind == KINDS[2]:
        return {rng.choice(melodic).number: list(range(song.bars))} if len(melodic) > 1 else None
    drums = [p for p in song.parts if p.program == DRUMS]
    return {drums[0].number: list(range(song.bars))} if drums else None


def copied(canvas: Canvas, cells: set[tuple[int, int]]) -> Notes:
    """The erased cells with the latest bars before the hole, over and over; for a whole track, what the part above plays."""
    bars = sorted({b for b, _ in cells})
    programs = {p for _, p in cells}
    start = canvas.grid_start
    if bars[0] == 0:  # nothing of the part is left: the busiest other part of its kind, one octave is as good as another
        others = [p for p in set(canvas.notes.program.tolist()) if p not in programs and p != DRUMS]
        if not others or DRUMS in programs:
            return canvas.notes.window(0, 0)
        source = max(others, key=lambda p: int((canvas.notes.program == p).sum()))
        taken = canvas.notes.window(0, canvas.bars, {source}, cut=False)
        return replace(taken, program=np.full(len(taken), next(iter(programs))))
    length = len(bars)
    taken = canvas.notes.window(max(0, bars[0] - length), bars[0], programs, cut=False)
    return replace(taken, onset=taken.onset + int(start[bars[0]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus/music"))
    parser.add_argument("--raw", type=Path, default=Path("data/raw"))
    parser.add_argument("--songs", type=int, default=40)
    parser.add_argument("--split", default="test")
    parser.add_argument("--markov-windows", type=int, default=20_000)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--top-p", type=float)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    studio = Studio.open(options.checkpoint)
    v = studio.vocabulary
    songs = set(Corpus(options.corpus, options.split).columns["song"])
    names = sorted(f"band/{s}" for s in songs if not s.startswith(("pop909", "vgmidi", "groove")))
    chain = None
    if "markov" in options.ways:
        train = Corpus(options.corpus, "train")
        step = max(1, len(train) // options.markov_windows)
        chain = Markov(4, len(v)).fit([train.plain(r).ids for r in range(0, len(train), step)])
    engines = {
        "model": studio.engine, "model, nothing after": studio.engine,
        "markov": MarkovEngine(chain, studio.engine.block_size, studio.engine.latents) if chain else None,
    }  # fmt: skip
    sampling = replace(studio.settle(seed=0, temperature=options.temperature, top_p=options.top_p).sampling)
    rng = random.Random(options.seed)
    rng.shuffle(names)
    found: dict[str, list[dict]] = defaultdict(list)
    done = 0
    for name in names:
        if done == options.songs:
            break
        try:
            window = excerpt(options.raw / name, rng, v)
        except MidivibeError:
            continue
        if window is None:
            continue
        done += 1
        with tempfile.NamedTemporaryFile(suffix=".mid") as file:
            write(to_score(window), file.name)
            song = editing.open_song(file.name)
        for kind in KINDS:
            hole = holes(kind, song, rng)
            if hole is None:
                continue
            request = editing.Request(song, list(song.parts), hole, seed=options.seed + done, sampling=sampling)
            blank = Canvas(song, v, song.parts, lambda bar, part, hole=hole: bar in hole.get(part.number, ()))
            cells, original = set(blank.cells), blank.erased
            if len(original) < 4:
                continue
            low, high = (int(blank.grid_start[b]) for b in (min(c[0] for c in cells), max(c[0] for c in cells) + 1))
            row: dict[str, dict] = {}
            for way in options.ways:
                if way == "copy":
                    filled = copied(blank, cells)
                else:
                    fillings = editing.fill(
                        engines[way], v, replace(request, look_ahead=way != "model, nothing after"), variations=1
                    )
                    canvas = fillings[0].canvas
                    bar = np.searchsorted(canvas.grid_start, canvas.notes.onset, side="right") - 1
                    rows = [(int(b), int(p)) in cells for b, p in zip(bar, canvas.notes.program, strict=True)]
                    filled = take(canvas.notes, np.array(rows, dtype=bool))
                row[way] = {
                    "f1": onset_f1(original, filled), "chroma": chroma_similarity(original, filled, low, high),
                    "scale": in_scale(filled, blank.notes), "notes": len(filled) / len(original),
                }  # fmt: skip
                if kind == KINDS[0]:
                    row[way]["seam"] = edges(joined(blank.notes, filled), blank)
            row["original"] = {"scale": in_scale(original, blank.notes)}
            if kind == KINDS[0]:
                row["original"]["seam"] = edges(joined(blank.notes, original), blank)
            found[kind].append(row)
        if done % 5 == 0:
            print(f"{done} songs", flush=True)
    draws = np.random.default_rng(options.seed)
    for kind, rows in found.items():
        print(f"\n{kind}: {len(rows)} songs")
        for way in [*options.ways, "original"]:
            print("  " + describe(way, [r[way] for r in rows], draws))


def take(notes: Notes, rows: np.ndarray) -> Notes:
    return replace(
        notes, onset=notes.onset[rows], duration=notes.duration[rows], pitch=notes.pitch[rows], velocity=notes.velocity[rows],
        program=notes.program[rows],
    )  # fmt: skip


def edges(notes: Notes, canvas: Canvas) -> dict[str, float]:
    """Mean of the jumps at both edges of bars 7 to 10: two bars before against two after."""
    jumps = [seam(notes.window(at - 2, at), notes.window(at, at + 2)) for at in (6, 10)]
    return {k: float(np.mean([j[k] for j in jumps])) for k in jumps[0]}


def describe(way: str, rows: list[dict], draws: np.random.Generator) -> str:
    parts = [f"{way:22}"]
    for figure in ("f1", "chroma", "scale", "notes"):
        values = np.array([r[figure] for r in rows if r.get(figure) is not None])
        if len(values):
            means = draws.choice(values, (1000, len(values))).mean(1)
            low, high = np.percentile(means, [2.5, 97.5])
            parts.append(f"{figure} {values.mean():.3f} [{low:.3f}, {high:.3f}]")
    if "seam" in rows[0]:
        parts.append("seam " + json.dumps({k: round(float(np.mean([r["seam"][k] for r in rows])), 3) for k in rows[0]["seam"]}))
    return "  ".join(parts)


if __name__ == "__main__":
    main()
