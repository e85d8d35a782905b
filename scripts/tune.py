"""Which sampling is nearest to people's music? Settings tried on validation songs, by distance and by control.

    python scripts/tune.py [--checkpoint DIR] [--corpus data/corpus/music] [--pieces 64] [--out tune.jsonl] [--only NAME ...]

Each piece is asked to be like one of people's. Distance: Fréchet distance of the inner 8 bars of 16 to other people's, people
beside it; `gap` is the mean over features of |mean difference to the piece that was the model|, in standard deviations.
Control: mean Spearman correlation over the seven axes. What is chosen here is reported on test songs by `midivibe evaluate`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from midivibe.config import SampleConfig
from midivibe.evaluation import metrics
from midivibe.evaluation.distances import Reference, frechet
from midivibe.evaluation.intervals import rank_correlation
from midivibe.evaluation.options import MARGIN
from midivibe.evaluation.pieces import at_home, compose, enough, human_pieces, like, on_grid
from midivibe.midi.notes import Notes
from midivibe.requests import Compose
from midivibe.studio import Studio
from midivibe.training.dataset import Corpus
from midivibe.vibe.axes import AXES, Vibe
from midivibe.vibe.music import music_vibe

HOUSE = SampleConfig()
SETTINGS = {
    "house": HOUSE,
    "as asked": replace(HOUSE, emphasis=1.0, feedback=0.0),
    **{
        f"emphasis {e:g}, feedback {f:g}": replace(HOUSE, emphasis=e, feedback=f)
        for e in (1.0, 1.25, 1.5, 2.0)
        for f in (0.0, 1.0, 2.0, 3.0)
    },
    **{f"temperature {t:g}": replace(HOUSE, temperature=t) for t in (0.9, 0.95, 1.05)},
    **{f"top-p {p:g}": replace(HOUSE, top_p=p) for p in (0.9, 0.98, 1.0)},
    **{f"guidance {g:g}": replace(HOUSE, guidance=g) for g in (1.25, 1.5, 2.0)},
    **{f"pitch top-p {p:g}": replace(HOUSE, pitch_top_p=p) for p in (0.9, 0.95, 0.97, 0.98, 0.99)},
    **{f"header guidance {g:g}": replace(HOUSE, header_guidance=g) for g in (1.0, 3.0, 8.0)},
    **{f"recall {r:g}": replace(HOUSE, recall=r) for r in (0.2, 0.4, 0.6, 0.8)},
    **{f"prior scale {s:g}": replace(HOUSE, prior_scale=s) for s in (0.5, 0.8, 1.2)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus/music"))
    parser.add_argument("--pieces", type=int, default=64)
    parser.add_argument("--bars", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(SETTINGS))
    options = parser.parse_args()
    studio = Studio.open(options.checkpoint)
    people = human_pieces(Corpus(options.corpus, "valid"), 2 * options.pieces, options.bars, options.seed)
    songs = set(list(dict.fromkeys(p.song for p in people))[::2])
    asked, held = ([p for p in people if (p.song in songs) == side][: options.pieces] for side in (True, False))
    reference = Reference([at_home(p.notes) for p in held])
    known, target = reference.values, reference.places
    axes = np.random.default_rng(options.seed).uniform(0.03, 0.97, (options.pieces, len(AXES)))

    def distance(pieces: list[Notes]) -> dict[str, Any]:
        kept = [i for i, p in enumerate(pieces) if enough(p)]
        values = metrics.scalars([at_home(pieces[i]) for i in kept])
        models = metrics.scalars([at_home(asked[i].notes) for i in kept])
        ours = reference.place(values)
        size = min(len(ours), len(target))
        gaps = {k: float(np.nanmean(values[k] - models[k]) / max(np.nanstd(known[k]), 1e-6)) for k in known}
        widest = sorted(gaps, key=lambda k: -abs(gaps[k]))[:6]
        return {
            "frechet": round(frechet(ours[:size], target[:size]), 2),
            "gap": round(float(np.mean(np.abs(list(gaps.values())))), 3),
            "widest": {k: round(gaps[k], 2) for k in widest},
        }

    print(json.dumps({"people": distance([p.notes for p in asked]), "pieces": [len(asked), len(held)]}), flush=True)
    for name in options.only or SETTINGS:
        sampling = SETTINGS[name]
        with tempfile.TemporaryDirectory() as folder:
            made = [replace(like(studio, p, options.bars + 2 * MARGIN, i), sampling=sampling) for i, p in enumerate(asked)]
            ours = [on_grid(s, studio, MARGIN, options.bars) for s in compose(studio, made, Path(folder) / "like")]
            free = [
                replace(
                    studio.settle(Compose(vibe=Vibe(tuple(map(float, row)), (1.0,) * len(AXES)), bars=options.bars, seed=i)),
                    sampling=sampling,
                )
                for i, row in enumerate(axes)
            ]
            heard = np.array([music_vibe(s).values for s in compose(studio, free, Path(folder) / "free")])
        control = [rank_correlation(axes[:, i], heard[:, i])[0] or 0.0 for i in range(len(AXES))]
        row = {
            "name": name,
            **distance(ours),
            "control": round(float(np.mean(control)), 3),
            "axes": np.round(control, 2).tolist(),
        }
        print(json.dumps(row), flush=True)
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
