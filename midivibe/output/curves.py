"""Pictures of a training run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from midivibe.files import replacing


def plot_run(metrics: str | Path, path: str | Path) -> None:
    """Plot a metrics.jsonl: training loss, held-out nats a note, KL and shuffle gap over steps."""
    rows = [json.loads(line) for line in Path(metrics).read_text().splitlines()]
    train = [r for r in rows if "nats_per_token" in r]
    held_out = [r for r in rows if r.get("valid")]
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    if train:
        steps = np.array([r["step"] for r in train])
        nats = np.array([r["nats_per_token"] for r in train])
        width = min(15, len(nats))
        left.plot(steps, nats, color="#CCCCCC", linewidth=0.6)
        left.plot(steps[width - 1 :], np.convolve(nats, np.ones(width) / width, "valid"), color="#0072B2")
        left.set_ylim(*np.percentile(nats, [0, 97]) * np.array([0.95, 1.05]))
        right.plot(steps, [r["kl"] for r in train], color="#009E73", linewidth=0.8, label="KL while training")
    left.set_title("training, nats a token (half of them holes)")
    seen = held_out[1:] or held_out  # the untrained model would flatten all the rest
    checks = [r["step"] for r in seen]
    middle.plot(checks, [r["valid"]["nats_per_note"] for r in seen], "o-", color="#D55E00", label="reconstruction + KL")
    middle.plot(checks, [r["valid"]["reconstruction"] for r in seen], "o--", color="#E69F00", label="reconstruction")
    middle.set_title("held out, nats a note")
    middle.legend()
    right.plot(checks, [r["valid"]["shuffle_gap"] for r in seen], "o-", color="#CC79A7", label="shuffle gap, held out")
    right.set_title("latent, nats a window")
    right.legend()
    for axis in (left, middle, right):
        axis.set_xlabel("step")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")


__all__ = ["plot_run"]
