"""Section "mood": pieces asked for quadrants, pictures and words, rated by a judge that learned from people's ratings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from midivibe.errors import ImageError, InputError
from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.intervals import correlation, estimate, rank_correlation
from midivibe.evaluation.judge import events_of, read_rated, train_judge
from midivibe.evaluation.options import FEWEST
from midivibe.evaluation.page import shown, table
from midivibe.requests import Compose
from midivibe.studio import picture_vibe
from midivibe.vibe import words
from midivibe.vibe.axes import Vibe
from midivibe.vibe.music import music_vibe

QUADRANTS = {"Q1 happy": (0.85, 0.85), "Q2 angry": (0.15, 0.85), "Q3 sad": (0.15, 0.15), "Q4 calm": (0.85, 0.15)}
"""Valence and arousal that are asked for, as percentiles."""
BANDS = {"piano": "piano", "any instruments": None}
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
BARS = 8
AMONG = 50
"""Requests among which the right one is to be found."""
SHUFFLES = 2000
"""Permutations behind a p-value: enough for p of 0.001."""
ROUNDS = 20
"""Random divisions into groups of 50."""
RANKED = ("by the judge", "by the seven axes")
MIDDLES = ("against zero", "against their middle")


def measure(c: Context) -> Result:
    """Hit rates of the quadrants, and correlations of pictures and words with what is heard in their music."""
    options = c.options
    assert options.rated is not None, "the section is left out without rated music"
    each = max(FEWEST // 2, options.pieces // 8)
    seen, unread = _seen(options.pictures, options.pieces)
    tags = sorted(words.moods())[:: max(1, len(words.moods()) // (2 * each))]
    advance = c.progress("mood", 5 + 8 * each + len(seen) + len(tags))
    judge = train_judge(
        read_rated(options.rated), options.seed, epochs=options.judge_epochs, listener=lambda done, of: advance(1)
    )

    def judged(name: str, wishes: Sequence[Compose]) -> tuple[np.ndarray, np.ndarray]:
        """Valence and arousal by the judge (N, 2), and the vibe by our own scorer (N, 7), of eight bars for each wish."""
        scores = c.compose(name, c.settings_of([replace(w, bars=BARS) for w in wishes], options.seed), advance)
        return judge([events_of(s) for s in scores]), np.array([music_vibe(s).values for s in scores])

    result: Result = {"judge": judge.held_out()}
    vibes = [Vibe.of(valence=v, arousal=a) for v, a in QUADRANTS.values() for _ in range(each)]
    for name, band in BANDS.items():
        rated, _ = judged(f"quadrants-{name.split()[0]}", [Compose(vibe=v, instruments=band) for v in vibes])
        result[name] = quadrant_hits(rated, each, options.seed)
    if seen:
        asked = np.array(list(seen.values()))
        result["pictures"] = matched(asked, *judged("pictures", [Compose(image=p) for p in seen]), options.seed)
        result["pictures"]["unread"] = unread
    asked = np.array([words.parse(tag).vibe.values for tag in tags])
    result["words"] = matched(asked, *judged("words", [Compose(text=tag) for tag in tags]), options.seed)
    return result


def _seen(folder: str | None, most: int) -> tuple[dict[Path, tuple[float, ...]], list[str]]:
    """The first pictures of a folder with their vibes, and the errors of those that cannot be read."""
    if not folder:
        return {}, []
    pictures = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in PICTURES)
    if not pictures:
        raise InputError(f"no pictures in {folder}; it needs files that end in {', '.join(PICTURES)}")
    seen: dict[Path, tuple[float, ...]] = {}
    unread = []
    for path in pictures[:most]:
        try:
            seen[path] = picture_vibe(path).values
        except ImageError as error:
            unread.append(str(error))
    return seen, unread


def quadrant_hits(judged: np.ndarray, each: int, seed: int) -> Result:
    """Judged (4 · each, 2) of pieces asked for the quadrants in turn -> hit rates, with and without the set's own middle.

    The judge knows piano performances; a shift that all our pieces share is taken out in the second.
    """
    wanted = np.repeat([[v > 0.5, a > 0.5] for v, a in QUADRANTS.values()], each, axis=0)
    heard = np.isfinite(judged).all(1)
    found: Result = {"pieces": int(heard.sum()), "without_pitches": int((~heard).sum()), "means": {}}
    if not heard.any():
        return found
    for k, name in enumerate(QUADRANTS):
        found["means"][name] = np.nanmean(judged[k * each : (k + 1) * each], axis=0).tolist()
    for way, middle in zip(MIDDLES, (np.zeros(2), np.nanmedian(judged, axis=0)), strict=True):
        right = ((judged > middle) == wanted)[heard].astype(float)
        figures = {"valence": right[:, 0], "arousal": right[:, 1], "quadrant": right.all(1).astype(float)}
        found[way] = {k: estimate(v, seed=seed) for k, v in figures.items()}
    return found


def matched(asked: np.ndarray, judged: np.ndarray, heard: np.ndarray, seed: int, among: int = AMONG) -> Result:
    """Requests (N, 7), judged (N, 2) and heard (N, 7) -> correlations, permutation p, and the right request found among 50."""
    rng = np.random.default_rng(seed)
    known = np.isfinite(judged).all(1)
    found: Result = {"pieces": int(known.sum()), "without_pitches": int((~known).sum())}
    asked, judged, heard = asked[known], judged[known], heard[known]
    for i, name in enumerate(("valence", "arousal")):
        x, y = asked[:, i], judged[:, i]
        chance = np.array([correlation(rng.permutation(x), y) for _ in range(SHUFFLES)])
        r = estimate(np.arange(len(x)), seed=seed, figure=_correlation_of_rows(x, y))
        found[name] = {
            "r": r, "spearman": rank_correlation(x, y, seed)[0],
            "p_one_sided": float(((chance >= correlation(x, y)).sum() + 1) / (len(chance) + 1)),
        }  # fmt: skip
    for name, query, key in zip(RANKED, (judged, heard), (asked[:, :2], asked), strict=True):
        ranks = _ranks(_standard(query), _standard(key), among, rng)
        if len(ranks):
            r1, r5 = float((ranks <= 1).mean()), float((ranks <= 5).mean())
            found[name] = {
                "among": among, "r1": r1, "r5": r5, "median_rank": float(np.median(ranks)),
                "by_chance": {"r1": 1 / among, "r5": 5 / among, "median_rank": (among + 1) / 2},
            }  # fmt: skip
    return found


def _correlation_of_rows(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: correlation(x[rows.astype(int)], y[rows.astype(int)])


def _standard(values: np.ndarray) -> np.ndarray:
    standard: np.ndarray = (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)
    return standard


def _ranks(queries: np.ndarray, keys: np.ndarray, among: int, rng: np.random.Generator) -> np.ndarray:
    """The rank of each query's own key by distance in random groups, ties counted half; none where there are too few."""
    ranks: list[float] = []
    for _ in range(ROUNDS):
        order = rng.permutation(len(queries))
        for at in range(0, len(order) - among + 1, among):
            group = order[at : at + among]
            gaps = np.linalg.norm(queries[group][:, None] - keys[group][None], axis=-1)
            own = gaps.diagonal()[:, None]
            ranks += (1 + (gaps < own).sum(1) + ((gaps == own).sum(1) - 1) / 2).tolist()
    return np.array(ranks)


def layout(found: Result, folder: Path) -> str:
    """The judge on people's music, then quadrants, pictures and words."""
    made = [
        table(f"The judge on people's music that it has not seen: {name}", [(k, shown(v)) for k, v in values.items()])
        for name, values in found["judge"].items()
    ]
    for name in BANDS:
        hits = found[name]
        if hits["pieces"]:
            rows = [(k, *(shown(hits[way][k]) for way in MIDDLES)) for k in ("valence", "arousal", "quadrant")]
            made.append(table(f"Asked for a quadrant, {name}, {hits['pieces']} pieces", rows, ("hit rates", *MIDDLES)))
    for name in ("pictures", "words"):
        if name in found:
            values = found[name]
            rows = [(f"{axis}: {k}", shown(v)) for axis in ("valence", "arousal") for k, v in values[axis].items()]
            for way in RANKED:
                ranks = {k: v for k, v in values.get(way, {}).items() if k not in ("among", "by_chance")}
                rows += [(f"found among {AMONG} {way}: {k}", shown(v)) for k, v in ranks.items()]
            made.append(table(f"From {name} to music, {values['pieces']} pieces", rows))
    return "".join(made)


SECTION = Section("mood", measure, layout, {"rated": "no rated music was given (--rated)"})
