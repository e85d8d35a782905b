"""Fit valence and arousal on rated music, and measure the percentile tables: writes midivibe/data/reference_music.json.

    python scripts/rated_table.py
    python scripts/build_reference_music.py [--data data/raw] [--labels ../shared/data] [--seed 1]

Fit: ridge on EMOPIA (quadrants, split by song) and labelled VGMIDI (ratings, split by series), as rated_table.py wrote them.
The figures it prints are held out: ten folds by group. The tables are 101 quantiles over 8-bar windows of the band corpus.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
from pathlib import Path

import numpy as np

from midivibe.errors import MidivibeError
from midivibe.midi.score import note_table, read
from midivibe.training.sources import split_by_hash
from midivibe.vibe.axes import AXES
from midivibe.vibe.music import FIT_FEATURES, features, raw_axes

DRUM_AROUSAL = 0.25
"""Arousal that a busy drum kit adds; the rated pieces have no drums, so this is set, not fitted (science: Eerola)."""


def rated(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, F), targets (N, 2) as valence and arousal in -1..1, group (N,) and set (N,) of every rated piece."""
    rows, targets, groups, sets = [], [], [], []
    with (data / "rated.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            feature = features(note_table(read(data / row["path"])))
            rows.append([feature[name] for name in FIT_FEATURES])
            targets.append((float(row["valence"]), float(row["arousal"])))
            groups.append(f"{row['set'][0]}:{row['group']}")
            sets.append(row["set"])
    return np.array(rows), np.array(targets), np.array(groups), np.array(sets)


def ridge(x: np.ndarray, y: np.ndarray, weight: np.ndarray, penalty: float) -> np.ndarray:
    """Weighted ridge coefficients without intercept: x (N, F), y (N, K) -> (F, K)."""
    wx = x * weight[:, None]
    return np.linalg.solve(x.T @ wx + penalty * np.eye(x.shape[1]), wx.T @ y)


def fit(x: np.ndarray, y: np.ndarray, sets: np.ndarray, penalty: float = 20.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardise within each set (their recordings differ in level), then one ridge for both: (mean, sd, coefficients)."""
    z, t = np.zeros_like(x), np.zeros_like(y)
    for name in np.unique(sets):
        rows = sets == name
        z[rows] = (x[rows] - x[rows].mean(0)) / (x[rows].std(0) + 1e-9)
        t[rows] = (y[rows] - y[rows].mean(0)) / y[rows].std(0)
    weight = np.where(sets == "vgmidi", 3.0, 1.0)
    return x.mean(0), x.std(0), ridge(z.clip(-3, 3), t, weight, penalty)


def held_out(x: np.ndarray, y: np.ndarray, groups: np.ndarray, sets: np.ndarray, seed: int) -> dict[str, float]:
    """Ten folds by group: correlation on VGMIDI, accuracy on EMOPIA."""
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    fold = {name: i % 10 for i, name in enumerate(names)}
    folds = np.array([fold[g] for g in groups])
    predicted = np.zeros_like(y)
    for k in range(10):
        train, test = folds != k, folds == k
        _, _, coefficients = fit(x[train], y[train], sets[train])
        for name in np.unique(sets[test]):
            rows, base = test & (sets == name), train & (sets == name)
            z = (x[rows] - x[base].mean(0)) / x[base].std(0)
            predicted[rows] = z.clip(-3, 3) @ coefficients
    v, e = sets == "vgmidi", sets == "emopia"
    right = np.sign(predicted[e]) == np.sign(y[e])
    return {
        "vgmidi_valence_r": float(np.corrcoef(predicted[v, 0], y[v, 0])[0, 1]),
        "vgmidi_arousal_r": float(np.corrcoef(predicted[v, 1], y[v, 1])[0, 1]),
        "emopia_valence_accuracy": float(right[:, 0].mean()),
        "emopia_arousal_accuracy": float(right[:, 1].mean()),
        "emopia_quadrant_accuracy": float(right.all(1).mean()),
    }


def band_windows(data: Path, labels: Path, seed: int, count: int) -> list[dict[str, float]]:
    """Features of 8-bar windows, two a song, rock capped at 40 % and only songs of the training split."""
    with gzip.open(labels / "band.csv.gz", "rt") as file:
        rows = [r for r in csv.DictReader(file) if split_by_hash(r["path"]) == "train"]
    rng = random.Random(seed)
    rng.shuffle(rows)
    rock = 0
    windows: list[dict[str, float]] = []
    for row in rows:
        if row["group"] == "rock":
            if rock > 0.4 * len(windows) / 2:
                continue
            rock += 1
        try:
            notes = note_table(read(data / "band" / row["path"].removeprefix("band/")))
        except MidivibeError:
            continue
        for _ in range(2):
            if notes.bars > 12:
                first = rng.randrange(2, notes.bars - 9)
                window = notes.window(first, first + 8)
                if len(window) > 20:
                    windows.append(features(window))
        if len(windows) >= count:
            break
    return windows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/raw"))
    parser.add_argument("--labels", type=Path, default=Path("../shared/data"))
    parser.add_argument("--windows", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    x, y, groups, sets = rated(options.data)
    figures = held_out(x, y, groups, sets, options.seed)
    _, _, coefficients = fit(x, y, sets)
    windows = band_windows(options.data, options.labels, options.seed, options.windows)
    matrix = np.array([[w[name] for name in FIT_FEATURES] for w in windows])
    fitted = {
        # Bands are standardised against bands: what is loud or fast for a band is not what is so for a piano.
        "mean": matrix.mean(0).round(5).tolist(),
        "sd": matrix.std(0).round(5).tolist(),
        "valence": coefficients[:, 0].round(5).tolist(),
        "arousal": coefficients[:, 1].round(5).tolist(),
        "drum_arousal": DRUM_AROUSAL,
    }
    raw = np.array([raw_axes(w, fitted) for w in windows])
    quantiles = np.quantile(raw, np.linspace(0, 1, 101), axis=0).T.round(5)
    out = Path("midivibe/data/reference_music.json")
    table = {
        "version": 1,
        "axes": AXES,
        "features": FIT_FEATURES,
        "fit": fitted,
        "held_out": {k: round(v, 3) for k, v in figures.items()},
        "windows": len(windows),
        "quantiles": quantiles.tolist(),
    }
    out.write_text(json.dumps(table) + "\n")
    print(json.dumps(table["held_out"], indent=1))
    for name, v, a in zip(FIT_FEATURES, *coefficients.T, strict=True):
        print(f"{name:16} valence {v:+.2f}  arousal {a:+.2f}")
    print("correlation of the seven axes over windows:\n", np.corrcoef(raw.T).round(2))


if __name__ == "__main__":
    main()
