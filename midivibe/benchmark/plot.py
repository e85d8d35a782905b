"""The benchmark as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from midivibe.files import replacing

OURS, THEIRS = "#0072B2", "#999999"


def plot(figures: dict[str, Any], path: str | Path) -> None:
    """Decoding and training beside the peers, time over bars, and variations in a batch; what was not measured is left out."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    axes = iter(figure.subplots(2, 2).ravel())
    for name, title in (("decoding", "tokens a second, batch 1, 512 tokens"), ("training", "training, tokens a second")):
        axis = next(axes)
        speeds = figures.get(name, {}).get("tokens_per_s", {})
        names = sorted(speeds, key=speeds.get)
        colours = [OURS if "midivibe" in n else THEIRS for n in names]
        bars = axis.barh(names, [speeds[n] for n in names], color=colours)
        axis.bar_label(bars, [f"{speeds[n]:,.0f}" for n in names], padding=3, fontsize=8)
        axis.set_title(title)
        axis.tick_params(labelsize=8)
    composed = figures.get("composing", {})
    for key, title, label in (("bars", "seconds for a piece", "bars"), ("variations", "seconds for a batch", "variations")):
        axis = next(axes)
        found = composed.get(key, {})
        axis.plot([int(k) for k in found], [v["seconds"] for v in found.values()], "o-", color=OURS)
        axis.set_xlabel(label)
        axis.set_title(title)
        axis.set_ylim(0)
        axis.set_xlim(0)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


__all__ = ["plot"]
