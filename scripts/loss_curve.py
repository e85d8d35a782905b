"""Plot nats a note, KL and shuffle gap of a training run: python scripts/loss_curve.py OUT.png METRICS.jsonl..."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def main() -> None:
    out, *files = sys.argv[1:]
    rows = {}
    for file in files:  # later files overwrite the steps that they trained again
        found = [json.loads(line) for line in Path(file).read_text().splitlines()]
        begin = min(r["step"] for r in found)
        rows = {k: r for k, r in rows.items() if k[0] < begin}
        rows |= {(r["step"], "valid" in r): r for r in found}
    train = [r for (_, held), r in sorted(rows.items()) if not held]
    held = [r for (_, held), r in sorted(rows.items()) if held]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    steps = np.array([r["step"] for r in train])
    nats = np.array([r["nats_per_token"] for r in train])
    width = min(15, len(nats))
    smooth = np.convolve(nats, np.ones(width) / width, "valid")
    left.plot(steps, nats, color="#CCCCCC", linewidth=0.6)
    left.plot(steps[width - 1 :], smooth, color="#0072B2", label="training, nats a token (inputs partly hidden)")
    left.plot([r["step"] for r in held], [r["valid"]["nats_per_note"] / 2.75 for r in held], "o-", color="#D55E00",
              label="held out, bound in nats a note / 2.75")  # fmt: skip
    left.set_ylim(0.8, 4)
    left.set_xlabel("step")
    left.legend()
    right.plot(steps, [r["kl"] for r in train], color="#009E73", linewidth=0.8, label="KL, nats a window")
    right.plot([r["step"] for r in held], [r["valid"]["shuffle_gap"] for r in held], "o-", color="#CC79A7",
               label="shuffle gap, nats a window (held out)")  # fmt: skip
    right.set_ylim(-3, 30)
    right.set_xlabel("step")
    right.legend()
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main()
