"""Section "music": what pieces measure as, and how far each set of pieces is from people's music."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Score

from midivibe.evaluation import distances, metrics, page
from midivibe.evaluation.baselines import MarkovEngine, repeated_bars, shuffled_bars
from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.intervals import estimate
from midivibe.evaluation.options import FEWEST
from midivibe.evaluation.page import label, shown, table
from midivibe.evaluation.pieces import at_home, enough, on_grid, played_by, window_notes
from midivibe.midi.notes import Notes

SETS = ("human", "ours", "markov", "unigram", "shuffled bars", "repeated bars")
RIVALS = {"markov": 3, "unigram": 0}
"""Markov models that compose beside ours, with their order."""
ENDINGS = {"on_tonic": metrics.ends_on_tonic, "last_bar_density": metrics.last_bar_density}
CLOSING_BARS = 4
"""Last bars of a piece whose ending is measured."""
PAST_THE_END = 10**6
"""A first bar after every piece's end: `on_grid` then takes the last bars there are."""


def measure(c: Context) -> Result:
    """People's pieces, ours, two Markov models, shuffled and repeated bars: scalars, MGEval, frames and Fréchet distance.

    All are excerpts of the same length, moved to C major or A minor, with 32 pitched notes at least.
    """
    asked, others = c.human
    made, whole = _pieces(c)
    every = {name: [at_home(p) for p in pieces if enough(p)] for name, pieces in made.items()}
    sets = {name: pieces for name, pieces in every.items() if len(pieces) >= FEWEST}
    people = [at_home(p.notes) for p in others]
    reference = distances.Reference(people)
    known = reference.values
    songs = [p.song for p in asked]
    result: Result = {
        "pieces": {k: len(v) for k, v in sets.items()}, "reference_pieces": len(people),
        "too_sparse": {k: len(made[k]) - len(v) for k, v in every.items()},
        "songs": [len(set(songs)), len({p.song for p in others})],
        "reference": {k: [np.nanmean(v), np.nanstd(v)] for k, v in known.items()},
    }  # fmt: skip
    features = [distances.mgeval_features(p) for p in people]
    spare = reference.place(metrics.scalars(sets["human"]))
    for name, pieces in sets.items():
        from_songs = name in ("human", "shuffled bars", "repeated bars") and len(pieces) == len(songs)
        values = metrics.scalars(pieces)
        areas = distances.mgeval([distances.mgeval_features(p) for p in pieces], features)
        result[name] = {
            "scalars": {k: estimate(v, songs if from_songs else None, c.options.seed) for k, v in values.items()},
            "gap_in_sd": {k: (np.nanmean(values[k]) - np.nanmean(v)) / max(np.nanstd(v), 1e-6) for k, v in known.items()},
            "mgeval": areas, "mean_overlap": np.mean([oa for oa, _ in areas.values()]),
            "framewise": distances.framewise(pieces, people),
            "frechet": reference.against(reference.place(values), spare, c.options.seed),
        }  # fmt: skip
    far = np.sqrt((distances.feature_matrix(metrics.scalars([at_home(p) for p in made["ours"]]), known) ** 2).mean(1))
    order = far.argsort()
    return result | {
        "endings": _endings(c, whole),
        "shown": {"best": int(order[0]), "median": int(order[len(order) // 2]), "worst": int(order[-1])},
        "far": far.tolist(),
    }


def _pieces(c: Context) -> tuple[dict[str, list[Notes]], list[Score]]:
    """The excerpts of every set, and our whole pieces."""
    asked, options = c.human[0], c.options
    few = max(FEWEST, len(asked) // 2)
    advance = c.progress("music", len(asked) + len(RIVALS) * few)
    whole = c.ours(advance)
    made = {"human": [p.notes for p in asked], "ours": c.inner(whole, options.bars)}
    engine = c.studio.engine
    for (name, order), chain in zip(RIVALS.items(), c.markov(*RIVALS.values()), strict=True):
        rival = played_by(c.studio, MarkovEngine(chain, engine.block_size, engine.latents), f"{name} {order}")
        made[name] = c.inner(c.compose(name, c.settings_of_ours[:few], advance, rival), options.bars)
    made["shuffled bars"] = [shuffled_bars(p.notes, options.seed + i) for i, p in enumerate(asked)]
    made["repeated bars"] = [repeated_bars(p.notes) for p in asked]
    return made, whole


def _endings(c: Context, whole: Sequence[Score]) -> dict[str, dict[str, Any]]:
    """The last four bars of people's songs and of our pieces."""
    closings = [window_notes(c.corpus, r) for r in np.flatnonzero(c.corpus.columns["end"]).tolist()]
    last = {
        "human": [p.window(p.bars - CLOSING_BARS, p.bars) for p in closings if p.bars >= CLOSING_BARS],
        "ours": [on_grid(s, c.studio, PAST_THE_END, CLOSING_BARS) for s in whole],
    }
    return {
        who: {"pieces": len(pieces)}
        | {name: estimate(np.array([close(p) for p in pieces]), seed=c.options.seed) for name, close in ENDINGS.items()}
        for who, pieces in last.items()
    }


def layout(found: Result, folder: Path) -> str:
    """Distances, gaps as bars, all scalars, endings, and the rolls of our nearest, median and farthest piece."""
    sets = [n for n in SETS if n in found]
    head = ("", "people, reference", *("people, other songs" if n == "human" else n for n in sets))

    def row(name: str, figure: Callable[..., object], digits: int = 3) -> tuple[str, ...]:
        return (name, "", *(shown(figure(found[n]), digits) for n in sets))

    far: list[tuple[object, ...]] = [("pieces", found["reference_pieces"], *(found["pieces"][n] for n in sets))]
    far += [("pieces left out, too sparse", "", *(found["too_sparse"][n] for n in sets))]
    far += [row("Fréchet distance to the reference", lambda s: s["frechet"]["distance"], 2)]
    far += [row("the same for as many of people's pieces", lambda s: s["frechet"]["people"], 2)]
    far += [row("mean overlap of MGEval's nine features", lambda s: s["mean_overlap"])]
    far += [row(f"overlap of {label(k)}", lambda s, k=k: s["mgeval"][k][0]) for k in found["human"]["mgeval"]]
    far += [
        row(f"self-similarity of frames: {label(k)}", lambda s, k=k: s["framewise"][k]) for k in found["human"]["framewise"]
    ]
    rows = [
        (label(k), shown(mean), *(shown(found[n]["scalars"][k]) for n in sets)) for k, (mean, _) in found["reference"].items()
    ]
    ends = [(label(k), *(shown(found["endings"][who][k]) for who in ("human", "ours"))) for k in ("pieces", *ENDINGS)]
    names = list(found["reference"])
    gaps: dict[str, Sequence[float]] = {}
    gaps |= {n: [found[n]["gap_in_sd"][k] or 0.0 for k in names] for n in ("human", "ours", "markov") if n in found}
    rolls = [
        page.roll(f"{what} of our pieces, {found['far'][number]:.2f} standard deviations from people's mean", ours, number)
        for ours in [folder / "pieces" / "ours"]
        for what, number in zip(("The nearest", "The median", "The farthest"), found["shown"].values(), strict=True)
    ]
    return (
        table("Distance to people's music", far, head)
        + page.bars("gap to people's music, in its standard deviations", names, gaps, 4)
        + table("What the pieces measure as", rows, head)
        + table("Endings", ends, ("", "people", "ours"))
        + "".join(rolls)
    )


SECTION = Section("music", measure, layout)
