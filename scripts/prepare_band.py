"""Prepare the band corpus for training: python scripts/prepare_band.py [--data data/raw] [--out data/corpus/band]."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from midivibe.training.corpus import band_sources, prepare

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, default=Path("../shared/data/band.csv.gz"))
    parser.add_argument("--data", type=Path, default=Path("data/raw/band"))
    parser.add_argument("--out", type=Path, default=Path("data/corpus/band"))
    parser.add_argument("--limit", type=int, default=0)
    options = parser.parse_args()
    sources = band_sources(options.table, options.data)
    if options.limit:
        sources = sources[:: len(sources) // options.limit]
    began = time.perf_counter()
    summary = prepare(sources, options.out)
    seconds = time.perf_counter() - began
    reasons = Counter(reason.split(":")[0][:60] for _, reason in summary["skipped"])
    print(f"{summary['files'] / seconds:.0f} files/s, {summary['windows']} windows {summary['splits']}, skipped {reasons}")
