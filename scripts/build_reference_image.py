"""Measure the picture axes on reference photographs: writes midivibe/data/reference_image.json.

    python scripts/build_reference_image.py [--photos data/raw/photos]

Means, standard deviations and 101 quantiles only; no picture is stored.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from midivibe.vibe.axes import AXES
from midivibe.vibe.image import features, load, raw_axes

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=Path("data/raw/photos"))
    options = parser.parse_args()
    rows = [features(load(path)) for path in sorted(options.photos.glob("*.jpg"))]
    scale = {name: [float(np.mean([r[name] for r in rows])), float(np.std([r[name] for r in rows]))] for name in rows[0]}
    raw = np.array([raw_axes(row, scale) for row in rows])
    table = {
        "version": 1,
        "axes": AXES,
        "photographs": len(rows),
        "scale": {name: [round(m, 5), round(s, 5)] for name, (m, s) in scale.items()},
        "quantiles": np.quantile(raw, np.linspace(0, 1, 101), axis=0).T.round(4).tolist(),
    }
    Path("midivibe/data/reference_image.json").write_text(json.dumps(table) + "\n")
    print(len(rows), "photographs; correlation of the axes:\n", np.corrcoef(raw.T).round(2))
