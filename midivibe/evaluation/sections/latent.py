"""Section "latent": what lies between two z, how different pieces of one vibe are, and where windows lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from midivibe.evaluation import metrics, page
from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.distances import feature_matrix
from midivibe.evaluation.intervals import estimate, rank_correlation
from midivibe.evaluation.page import shown, table
from midivibe.evaluation.pieces import human_pieces, on_grid, played_by, require, sure
from midivibe.midi.notes import Notes
from midivibe.model.engine.base import Engine
from midivibe.requests import Compose
from midivibe.training.held_out import held_out_rows
from midivibe.vibe.music import music_vibe

ALIKE = 20
"""Pieces from one vibe, and people's pieces beside them."""
STEPS = 5
"""Places on a line between two z, its ends included."""
LINE_BARS, BARS = 4, 8
MOST_PAIRS = 8
QUADRANTS = ("happy", "calm", "angry", "sad")
"""By 2 · (valence is low) + (arousal is low)."""
STYLES_SHOWN = 8


class FixedLatent:
    """An engine whose prior always gives one z: (Z,)."""

    def __init__(self, engine: Engine, z: np.ndarray) -> None:
        self._engine, self._z = engine, z.astype(np.float32)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def lanes(self, rows: int) -> list[FixedLatent]:
        """Engines for parts of a batch: itself alone, since the inner engine's would draw z."""
        return [self]

    def another(self) -> FixedLatent:
        """An engine with the same z and a state of its own, after its `begin`."""
        return FixedLatent(self._engine.another(), self._z)

    def prior(self, vibe: np.ndarray, noise: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """The same z for every row: (B, Z)."""
        return np.repeat(self._z[None], len(vibe), axis=0)


def measure(c: Context) -> Result:
    """Lines between posterior means, the spread of pieces from one vibe, and the plane of most variance."""
    engine, options = c.studio.engine, c.options
    rows = held_out_rows(c.corpus, engine.block_size, options.windows)
    human = human_pieces(c.corpus, ALIKE, BARS, options.seed + 7)
    require(rows, 2, "held-out windows")
    require(human, 2, f"held-out pieces of {BARS} bars")
    examples = [c.corpus.plain(r) for r in rows]
    means = np.stack([engine.posterior(x.ids.tolist(), x.coordinates)[0] for x in examples])
    pairs = max(2, min(MOST_PAIRS, options.pieces // 8))
    advance = c.progress("latent", pairs * STEPS + ALIKE)
    lines = _between(c, means, pairs, advance)
    same = c.settings_of([Compose(vibe=sure(human[0].vibe), bars=BARS)] * ALIKE, options.seed + 8)
    ours = [on_grid(s, c.studio) for s in c.compose("one-vibe", same, advance)]
    known = metrics.scalars([p.notes for p in human])
    centred = means - means.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    vibes = c.corpus.columns["vibe"][rows]
    quadrant = 2 * (vibes[:, 0] < 0.5) + (vibes[:, 1] < 0.5)
    return lines | {
        "spread_of_20_from_one_vibe": _spread(ours, known),
        "spread_of_20_human_songs": _spread([p.notes for p in human], known),
        "plane": (centred @ axes[:2].T).round(3).tolist(), "plane_share": float((sizes[:2] ** 2).sum() / (sizes**2).sum()),
        "styles": [str(c.corpus.columns["style"][r]) for r in rows], "quadrants": quadrant.tolist(),
    }  # fmt: skip


def _between(c: Context, means: np.ndarray, pairs: int, advance: Callable[[int], None]) -> Result:
    """Pieces along lines between pairs of z (N, Z): how steadily their vibe moves, and the largest step it takes."""
    rng = np.random.default_rng(c.options.seed)
    order, chance, jumps = [], [], []
    for pair in range(pairs):
        a, b = means[rng.choice(len(means), 2, replace=False)]
        heard = []
        for step in range(STEPS):
            fixed = played_by(c.studio, FixedLatent(c.studio.engine, a + (b - a) * step / (STEPS - 1)))
            setting = c.settings_of([Compose(bars=LINE_BARS)], c.options.seed + 20 + pair)
            heard.append(music_vibe(c.compose(f"between-{pair}-{step}", setting, lambda more: None, fixed)[0]).values)
            advance(1)
        line = np.array(heard)
        order.append(steadiness(line))
        shuffled = [line[[0, *(1 + rng.permutation(STEPS - 2)), STEPS - 1]] for _ in range(50)]
        chance.append(np.mean([steadiness(x) for x in shuffled]))
        jumps.append(np.linalg.norm(np.diff(line, axis=0), axis=1).max() / max(np.linalg.norm(line[-1] - line[0]), 1e-6))
    return {
        "between_order": estimate(np.array(order)), "between_order_by_chance": float(np.mean(chance)),
        "between_largest_jump": float(np.mean(jumps)), "pairs": pairs, "steps": STEPS,
    }  # fmt: skip


def _spread(pieces: Sequence[Notes], known: dict[str, np.ndarray]) -> float:
    """Mean distance between pieces, in standard deviations of the known scalars."""
    matrix = feature_matrix(metrics.scalars(pieces), known)
    gaps = np.linalg.norm(matrix[:, None] - matrix[None], axis=-1)
    return float(gaps[np.triu_indices(len(gaps), 1)].mean())


def steadiness(line: np.ndarray) -> float:
    """Rank correlation of the steps of a line (steps, 7) with their place along it; its ends are in order by construction."""
    return rank_correlation(np.arange(len(line)), (line - line[0]) @ (line[-1] - line[0]))[0] or 0.0


def layout(found: Result, folder: Path) -> str:
    """The figures, and posterior means by style and by quadrant of mood."""
    styles, quadrants = found["styles"], [QUADRANTS[q] for q in found["quadrants"]]
    share = f"posterior means on two principal axes ({100 * found['plane_share']:.0f} % of the variance)"
    commonest = sorted(set(styles), key=lambda x: -styles.count(x))[:STYLES_SHOWN]
    plots = {f"{share}, by style": (styles, commonest), f"{share}, by quadrant": (quadrants, QUADRANTS)}
    rows = [
        (
            f"order of the vibe along {found['pairs']} lines of {found['steps']} steps (1 is steady)",
            shown(found["between_order"]),
        ),
        ("the same with the inner steps shuffled", shown(found["between_order_by_chance"])),
        ("largest step, as a share of its line", shown(found["between_largest_jump"])),
        (f"mean distance between {ALIKE} pieces from one vibe", shown(found["spread_of_20_from_one_vibe"])),
        (f"mean distance between {ALIKE} of people's songs", shown(found["spread_of_20_human_songs"])),
    ]
    return table("The latent", rows) + page.scatter(np.array(found["plane"]), plots)


SECTION = Section("latent", measure, layout)
