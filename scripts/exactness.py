"""Is an edit exact? Random holes in random files, each judged by a program that shares no code with midivibe.

    python scripts/exactness.py [--pairs 300] [--raw data/raw] [--judge ../shared/checks/splice_check.py] [--out pairs.json]

Files come in turn from the folders of --raw; a hole is 1 to 16 bars of all tracks or of some. The judge reads with mido, whose
version 1.3.3 forgets the delta time of meta events that it does not know; it runs here with that mended.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import mido
import numpy as np

from midivibe.edits import open_song
from midivibe.errors import MidivibeError
from midivibe.studio import Studio

FOLDERS = ("band", "pop909", "vgmidi", "emopia", "groove")


def _build_meta_message(kind: int, data: bytes, delta: int = 0) -> mido.MetaMessage:
    message = mido.midifiles.meta.build_meta_message(kind, data, delta)
    message.time = delta
    return message


def judged(judge: Path, *arguments: str) -> dict[str, Any]:
    """The judge's line of figures."""
    spec = importlib.util.spec_from_file_location("judge", judge)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before, sys.argv = sys.argv, ["judge", *arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            module.main()
    finally:
        sys.argv = before
    figures: dict[str, Any] = json.loads(said.getvalue())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--raw", type=Path, default=Path("data/raw"))
    parser.add_argument("--judge", type=Path, default=Path("../shared/checks/splice_check.py"))
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    mido.midifiles.midifiles.build_meta_message = _build_meta_message
    studio, rng = Studio.open(options.checkpoint), random.Random(options.seed)
    files = {name: sorted((options.raw / name).rglob("*.mid")) for name in FOLDERS}
    total: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    by_folder: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    seconds: list[float] = []
    while sum(by_folder.values()) < options.pairs:
        name = FOLDERS[(sum(by_folder.values()) + sum(refused.values())) % len(FOLDERS)]
        file = rng.choice(files[name])
        try:
            song = open_song(file)
            length = rng.choice((1, 1, 2, 4, 4, 8, 16))
            first = rng.randint(1, max(1, song.bars - length + 1))
            bars = f"{first}-{min(song.bars, first + length - 1)}"
            track = rng.choice(song.parts).track if rng.random() < 0.6 else None  # the judge names tracks, not parts
            parts = [p for p in song.parts if track in (None, p.track)]
            began = time.perf_counter()
            edit = studio.inpaint(file, bars, None if track is None else [p.number for p in parts], seed=len(seconds))
            seconds.append(time.perf_counter() - began)
        except MidivibeError as error:
            refused[str(error).replace(str(file), "the file")] += 1
            continue
        with tempfile.TemporaryDirectory() as folder:
            result = edit.save(Path(folder) / "result.mid")
            wanted = ["--bars", bars, *([] if track is None else ["--tracks", str(track)])]
            figures = judged(options.judge, str(file), str(result), *wanted)
        by_folder[name] += 1
        total.update({k: figures[k] for k in ("outside", "kept", "erased", "new")})
        if figures["faults"]:
            faults.append({"file": str(file), "bars": bars, "track": track, **figures["faults"]})
            print(f"BROKEN {faults[-1]}", flush=True)
        if len(seconds) % 25 == 0:
            print(f"{len(seconds)} pairs, {len(faults)} broken", flush=True)
    report = {
        "pairs": dict(by_folder), "broken": len(faults), **total, "faults": faults, "refused": dict(refused),
        "seconds_median": float(np.median(seconds)), "seconds_p95": float(np.percentile(seconds, 95)),
    }  # fmt: skip
    print(json.dumps(report, indent=1))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
