"""The whole system, measured: sections of figures, each kept when it is done, joined into one JSON and one page.

Whatever ends an evaluation, the same command goes on with it: finished sections and composed pieces are read again. A
report folder belongs to one checkpoint, corpus and set of options.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Score

from midivibe.config import FILLING, SampleConfig
from midivibe.errors import CorpusError, ImageError, InputError
from midivibe.evaluation import infilling, likelihood, metrics, originality
from midivibe.evaluation.baselines import Markov, MarkovEngine, repeated_bars, shuffled_bars
from midivibe.evaluation.pieces import (
    HumanPiece,
    at_home,
    compose,
    enough,
    human_pieces,
    like,
    on_grid,
    require,
    sure,
    window_notes,
)  # fmt: skip
from midivibe.files import replacing
from midivibe.midi.notes import Notes
from midivibe.midi.score import note_table
from midivibe.midi.theory import MAJOR_SCALE, MINOR_SCALE, Key, detect_key
from midivibe.model.folder import weights_digest
from midivibe.studio import Settings, Studio, picture_vibe
from midivibe.tokens import layout
from midivibe.training.dataset import Corpus
from midivibe.training.held_out import held_out_rows
from midivibe.version import VERSION
from midivibe.vibe import words
from midivibe.vibe.axes import AXES, Vibe
from midivibe.vibe.music import music_vibe, pitch_class_weights

FEWEST = 8
"""Human pieces, on each side, below which nothing is compared."""
MARGIN = 4
"""Bars composed before and after those that are compared."""
STEERING: dict[str, dict[str, float]] = {
    "as set": {}, "guidance 1.5": {"guidance": 1.5}, "guidance 2.5": {"guidance": 2.5},
    "without emphasis and feedback": {"emphasis": 1.0, "feedback": 0.0},
}  # fmt: skip
"""Ways to follow the vibe, each a change of the sampling; the first on all pieces, the others on a fifth."""
QUADRANTS = {"Q1 happy": (0.85, 0.85), "Q2 angry": (0.15, 0.85), "Q3 sad": (0.15, 0.15), "Q4 calm": (0.85, 0.15)}
ENDINGS = {"on_tonic": metrics.ends_on_tonic, "last_bar_density": metrics.last_bar_density}
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
BAND = (0, 4, 11, 19, 24, 25, 26, 30, 33, 48, 52, 56, 61, 65, 73, 81, 89, -1)
"""Instruments that the exactness check draws from."""


@dataclass(frozen=True)
class Options:
    """What an evaluation measures, and how much of it."""

    pieces: int = 200
    bars: int = 16
    split: str = "test"
    seed: int = 0
    rated: str | None = None
    """CSV of rated music, for the judge of mood; without it that is left out"""
    pictures: str | None = None
    """folder of pictures, judged too; needs `rated`"""
    sections: tuple[str, ...] = ()
    """all where empty"""
    sampling: SampleConfig = field(default_factory=SampleConfig)
    filling: SampleConfig = FILLING
    windows: int = 300
    """of the likelihood"""
    training_windows: int = 30_000
    """that Markov models are counted on"""
    searched_windows: int = 10**9
    """of the training split in which copies are looked for"""
    judge_epochs: int = 24

    @classmethod
    def quick(cls) -> Options:
        """Few pieces, for a first look in minutes."""
        return cls(pieces=12, bars=8, windows=12, training_windows=2_000, searched_windows=10_000, judge_epochs=6)


class Evaluation:
    """A checkpoint against a corpus, into a folder. `run` does it; `listener` hears of section, steps done and steps in all.

    Raises:
        CheckpointError, CorpusError: either cannot be used, or they have different tokenizers, or a split is empty.
        InputError: the folder holds another evaluation.
    """

    def __init__(
        self,
        checkpoint: str | Path | None,
        corpus: str | Path,
        out: str | Path,
        options: Options,
        engine: str = "auto",
        listener: Callable[[str, int, int], None] = lambda section, done, of: None,
    ) -> None:
        from midivibe.model.folder import locate

        if options.pieces < FEWEST:
            raise InputError(f"pieces is {options.pieces}; it must be at least {FEWEST}")
        if options.pictures and not options.rated:
            raise InputError("--pictures needs --rated: a judge must learn what moods sound like")
        unknown = set(options.sections) - set(SECTIONS)
        if unknown:
            raise InputError(f"unknown section {min(unknown)!r}; the sections are {', '.join(SECTIONS)}")
        self.folder = locate(checkpoint)
        self.studio = Studio.open(self.folder, engine)
        self.corpus_folder, self.options, self.listener = Path(corpus), options, listener
        self.corpus = Corpus(corpus, options.split)
        if self.corpus.vocabulary.names != self.studio.vocabulary.names:
            raise CorpusError(f"{corpus} was made with another tokenizer than {self.folder}; prepare it again")
        self.out = Path(out)
        self._claim()

    def _claim(self) -> None:
        chosen = {k: v for k, v in asdict(self.options).items() if k != "sections"}
        mine = {
            "midivibe": VERSION, "weights": weights_digest(self.folder), "engine": engine_of(self.studio),
            "corpus": hashlib.sha1((self.corpus_folder / "corpus.json").read_bytes()).hexdigest(), "options": chosen,
        }  # fmt: skip
        file = self.out / "evaluation.json"
        if file.exists():
            try:
                theirs = json.loads(file.read_text())
            except ValueError:
                theirs = None
            if not isinstance(theirs, dict):
                raise InputError(f"{file} is damaged or no evaluation's; choose another folder")
            differing = [k for k in mine if json.loads(json.dumps(mine[k])) != theirs.get(k)]
            if differing:
                raise InputError(f"{self.out} holds an evaluation of another {differing[0]}; choose another folder")
            return
        if self.out.exists() and any(self.out.iterdir()):
            raise InputError(f"{self.out} is not empty and holds no evaluation; choose another folder")
        self.out.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(mine, indent=1))

    def run(self) -> dict[str, Any]:
        """Do what is not done yet; write report.json and report.html; returns the report."""
        from midivibe.evaluation.page import write_page

        found: dict[str, Any] = {}
        for name, section in SECTIONS.items():
            file = self.out / "sections" / f"{name}.json"
            if not _whole(file) and (not self.options.sections or name in self.options.sections):
                began = time.monotonic()
                result = section(self)
                result["seconds"] = round(time.monotonic() - began, 1)
                file.parent.mkdir(exist_ok=True)
                with replacing(file) as temporary:
                    temporary.write_text(json.dumps(_plain(result), indent=1))
            if _whole(file):
                found[name] = json.loads(file.read_text())
        report = {**json.loads((self.out / "evaluation.json").read_text()), "sections": found}
        with replacing(self.out / "report.json") as temporary:
            temporary.write_text(json.dumps(report, indent=1))
        write_page(self.out, report)
        return report

    # What sections share ---------------------------------------------------------------------------------------------

    def progress(self, section: str, of: int) -> Callable[[int], None]:
        """A function that takes how many more steps are done."""
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            self.listener(section, done, of)

        return advance

    @cached_property
    def human(self) -> tuple[list[HumanPiece], list[HumanPiece]]:
        """Two halves of people's pieces, no song in both: what we ask for, and what everything is compared with."""
        return self.halves(self.options.bars, self.options.pieces)

    def halves(self, bars: int, count: int) -> tuple[list[HumanPiece], list[HumanPiece]]:
        """Pieces of some length, up to `count` a half; a song is in the same half at every length."""
        every = human_pieces(self.corpus, 3 * count, bars, self.options.seed)
        first = {s for s in {p.song for p in every} if hashlib.sha1(s.encode()).digest()[0] % 2}
        halves = [p for p in every if p.song in first], [p for p in every if p.song not in first]
        for half in halves:
            require(half, FEWEST, f"held-out pieces of {bars} bars")
        return halves[0][:count], halves[1][:count]

    def ask_like(
        self, asked: Sequence[HumanPiece], count: int, bars: int, seed: int, sampling: SampleConfig | None = None
    ) -> list[Settings]:
        """Settings after people's pieces, in turn; longer by what `inner` takes off at both ends."""
        made = [like(self.studio, asked[i % len(asked)], bars + 2 * MARGIN, seed * 100_000 + i) for i in range(count)]
        return [replace(s, sampling=sampling or self.options.sampling) for s in made]

    def inner(self, scores: Sequence[Score], bars: int) -> list[Notes]:
        """The inside of composed pieces: people's are mostly cut from inside a song, without its beginning and its end."""
        return [on_grid(s, self.studio, MARGIN, bars) for s in scores]

    def ask(self, wishes: Sequence[dict[str, Any]], seed: int = 0) -> list[Settings]:
        """Settings for these wishes (arguments of `Studio.settle`), with the evaluation's sampling."""
        made = [self.studio.settle(**w, seed=seed * 100_000 + i) for i, w in enumerate(wishes)]
        return [replace(s, sampling=self.options.sampling) for s in made]


def _whole(file: Path) -> bool:
    """Whether a section was measured to its end."""
    try:
        return "seconds" in json.loads(file.read_text())
    except (OSError, ValueError, TypeError):
        return False


def engine_of(studio: Studio) -> str:
    """The engine's name, as in the studio's."""
    last = studio.name.split()[-1]
    return last if last.startswith("onnx") else "torch"


def _plain(value: Any) -> Any:
    """JSON has no NaN and no NumPy."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


# Sections --------------------------------------------------------------------------------------------------------------


def music(e: Evaluation) -> dict[str, Any]:
    """Ours, two Markov models, shuffled and repeated bars: every scalar, MGEval, frames and distance, beside people's.

    All are excerpts of the same length, moved to C major or A minor, with 32 pitched notes at least.
    """
    asked, reference = e.human
    options, n = e.options, len(asked)
    few = max(FEWEST, n // 2)
    advance = e.progress("music", n + 2 * few)
    settings = e.ask_like(asked, n, options.bars, options.seed + 1)
    whole = compose(e.studio, settings, e.out / "pieces" / "ours", advance)
    made: dict[str, list[Notes]] = {"human": [p.notes for p in asked], "ours": e.inner(whole, options.bars)}
    engine = e.studio.engine
    for (name, order), chain in zip((("markov", 3), ("unigram", 0)), markov_models(e, (3, 0)), strict=True):
        rival = Studio(MarkovEngine(chain, engine.block_size, engine.latents), e.studio.vocabulary, f"{name} {order}")
        made[name] = e.inner(compose(rival, settings[:few], e.out / "pieces" / name, advance), options.bars)
    made["shuffled bars"] = [shuffled_bars(p.notes, options.seed + i) for i, p in enumerate(asked)]
    made["repeated bars"] = [repeated_bars(p.notes) for p in asked]
    songs = [p.song for p in asked]
    groups = {"human": songs, "shuffled bars": songs, "repeated bars": songs}
    every = {name: [at_home(p) for p in pieces if enough(p)] for name, pieces in made.items()}
    sets = {name: pieces for name, pieces in every.items() if len(pieces) >= FEWEST}
    people = [at_home(p.notes) for p in reference]
    known = metrics.scalars(people)
    result: dict[str, Any] = {
        "pieces": {k: len(v) for k, v in sets.items()}, "reference_pieces": len(people),
        "too_sparse": {k: len(made[k]) - len(v) for k, v in every.items()},
        "songs": [len(set(songs)), len({p.song for p in reference})],
        "reference": {k: [np.nanmean(v), np.nanstd(v)] for k, v in known.items()},
    }  # fmt: skip
    theirs = [metrics.mgeval_features(p) for p in people]
    target = metrics.feature_matrix(known, known)
    axes = metrics.principal(target)
    spare = metrics.feature_matrix(metrics.scalars(sets["human"]), known) @ axes
    for name, pieces in sets.items():
        values = metrics.scalars(pieces)
        owners = groups.get(name)
        owners = owners if owners and len(owners) == len(pieces) else None
        table = {
            k: [np.nanmean(v), *(metrics.interval(v, owners, seed=options.seed) or (None, None))] for k, v in values.items()
        }
        areas = metrics.mgeval([metrics.mgeval_features(p) for p in pieces], theirs)
        result[name] = {
            "scalars": table,
            "gap_in_sd": {k: (table[k][0] - np.nanmean(known[k])) / max(np.nanstd(known[k]), 1e-6) for k in known},
            "mgeval": areas, "mean_overlap": np.mean([oa for oa, _ in areas.values()]),
            "framewise": metrics.framewise(pieces, people),
            "frechet": against(metrics.feature_matrix(values, known) @ axes, target @ axes, spare, options.seed),
        }  # fmt: skip
    closings = [window_notes(e.corpus, r) for r in np.flatnonzero(e.corpus.columns["end"]).tolist()]
    last = {
        "human": [p.window(p.bars - 4, p.bars) for p in closings if p.bars >= 4],
        "ours": [on_grid(s, e.studio, 10**6, 4) for s in whole],
    }
    result["endings"] = {
        who: {"pieces": len(pieces)} | {name: _mean_of(measure, pieces, options.seed) for name, measure in ENDINGS.items()}
        for who, pieces in last.items()
    }
    far = np.sqrt((metrics.feature_matrix(metrics.scalars([at_home(p) for p in made["ours"]]), known) ** 2).mean(1))
    order = far.argsort()
    result["shown"] = {"best": int(order[0]), "median": int(order[len(order) // 2]), "worst": int(order[-1])}
    result["far"] = far.tolist()
    return result


def against(ours: np.ndarray, target: np.ndarray, spare: np.ndarray, seed: int) -> dict[str, Any]:
    """Fréchet distance of features (N, F) to people's, with its interval over pieces, and that of other people's pieces.

    A resample has fewer different pieces and so lies further off than the pieces do: the interval is the basic bootstrap's,
    reflected at the distance (Davison & Hinkley 1997, 5.2).
    """
    size = min(len(ours), len(target), len(spare))
    rows = np.arange(size)

    def drawn(chosen: np.ndarray) -> float:
        return metrics.frechet(ours[chosen.astype(int)], target[:size])

    distance = metrics.frechet(ours[:size], target[:size])
    low, high = metrics.interval(rows, seed=seed, draws=200, figure=drawn) or (None, None)
    bounds: tuple[float | None, float | None] = (None, None)
    if low is not None and high is not None and np.isfinite([distance, low, high]).all():
        bounds = max(0.0, 2 * distance - high), max(0.0, 2 * distance - low)
    return {
        "distance": [distance, *bounds], "pieces": size,
        "people": metrics.frechet(spare[:size], target[:size]),
    }  # fmt: skip


def _mean_of(measure: Callable[[Notes], float], pieces: Sequence[Notes], seed: int) -> list[float | None]:
    values = np.array([measure(p) for p in pieces])
    return [float(np.nanmean(values)) if len(values) else None, *(metrics.interval(values, seed=seed) or (None, None))]


def markov_models(e: Evaluation, orders: Sequence[int]) -> list[Markov]:
    """Markov models of the training split, counted on windows spread evenly over it."""
    train = Corpus(e.corpus_folder, "train")
    step = max(1, len(train) // e.options.training_windows)
    ids = [train.plain(r).ids for r in range(0, len(train), step)]
    return [Markov(order, len(train.vocabulary)).fit(ids) for order in orders]


def control(e: Evaluation) -> dict[str, Any]:
    """What was asked against what is in the files: flags exactly; each axis by rank, steered in several ways."""
    n, options, bars = e.options.pieces, e.options, 8
    part = max(FEWEST, n // 5)
    advance = e.progress("control", part + n + (2 * len(STEERING) - 1) * part)
    rng = np.random.default_rng(options.seed)
    wishes = [exact_wish(rng) for _ in range(part)]
    scores = compose(e.studio, e.ask(wishes), e.out / "pieces" / "exact", advance)
    checks = [exact_check(w, s) for w, s in zip(wishes, scores, strict=True)]
    result: dict[str, Any] = {"exact": {k: float(np.mean([c[k] for c in checks])) for k in checks[0]}, "exact_pieces": part}
    asked, reference = e.halves(bars, part)
    known = metrics.scalars([at_home(p.notes) for p in reference])
    target = metrics.feature_matrix(known, known)
    axes = metrics.principal(target)
    spare = metrics.feature_matrix(metrics.scalars([at_home(p.notes) for p in asked]), known) @ axes
    spread = rng.uniform(0.03, 0.97, (n, 7))
    result["steering"] = {}
    for number, (way, changes) in enumerate(STEERING.items()):
        count = part if changes else n
        sampling = replace(options.sampling, **changes)
        wanted = [{"vibe": Vibe(tuple(map(float, row)), (1.0,) * 7), "bars": bars} for row in spread[:count]]
        settings = [replace(s, sampling=sampling) for s in e.ask(wanted, options.seed + 4)]
        heard = np.array(
            [music_vibe(s).values for s in compose(e.studio, settings, e.out / "pieces" / f"axes-{number}", advance)]
        )
        settings = e.ask_like(asked, part, bars, options.seed + 5, sampling)
        pieces = e.inner(compose(e.studio, settings, e.out / "pieces" / f"like-{number}", advance), bars)
        ours = metrics.feature_matrix(metrics.scalars([at_home(p) for p in pieces if enough(p)]), known) @ axes
        result["steering"][way] = {
            "pieces": count, "frechet": against(ours, target @ axes, spare, options.seed),
            "spearman": {a: rank_correlation(spread[:count, i], heard[:, i], options.seed) for i, a in enumerate(AXES)},
        }  # fmt: skip
    return result


def exact_wish(rng: np.random.Generator) -> dict[str, Any]:
    """Random flags of a piece."""
    tonic, mode = int(rng.integers(12)), str(rng.choice(["major", "minor"]))
    band = rng.permutation(BAND)[: int(rng.integers(1, 6))].tolist()
    return {
        "bars": int(rng.integers(2, 21)), "tempo": float(round(rng.uniform(45, 190), 1)), "key": str(Key.of(tonic, mode)),
        "time_signature": str(rng.choice(["4/4", "3/4", "6/8"])), "instruments": band,
    }  # fmt: skip


def exact_check(wish: dict[str, Any], score: Score) -> dict[str, float]:
    """What of the flags is true of a file that was read again.

    `key_detected`: Krumhansl's algorithm finds that key or its relative, which in short pieces it often does not in people's
    music either; `sounding_in_scale`: the share of sounding time on notes of the key's major or natural minor scale.
    """
    tracks = [(-1 if t.is_drum else t.program) for t in score.tracks if len(t.notes)]
    meter = tuple(map(int, wish["time_signature"].split("/")))
    length = score.ticks_per_quarter * 4 * meter[0] // meter[1]
    key = Key.parse(wish["key"])
    last = max((n.end for t in score.tracks for n in t.notes), default=0)
    first = max((n.start for t in score.tracks for n in t.notes), default=0)
    weights = pitch_class_weights(note_table(score))
    tonic, mode, _ = detect_key(weights)
    scale = [(p + key.tonic) % 12 for p in (MAJOR_SCALE if key.mode == "major" else MINOR_SCALE)]
    relative = ((key.tonic + 9) % 12, "minor") if key.mode == "major" else ((key.tonic + 3) % 12, "major")
    drums_only = tracks == [-1]
    return {
        "bars": (wish["bars"] - 1) * length <= first < last <= wish["bars"] * length,
        "tempo": len(score.tempos) == 1 and abs(score.tempos[0].qpm - wish["tempo"]) < 0.01,
        "meter": [(s.numerator, s.denominator) for s in score.time_signatures] == [meter],
        "key_signature": len(score.key_signatures) == 1 and score.key_signatures[0].key == key.sharps,
        "instruments": sorted(tracks) == sorted(wish["instruments"]),
        "key_detected": drums_only or (tonic, mode) in ((key.tonic, key.mode), relative),
        "sounding_in_scale": float(weights[scale].sum() / weights.sum()) if weights.any() else 1.0,
    }


def rank_correlation(x: np.ndarray, y: np.ndarray, seed: int = 0) -> list[float | None]:
    """Spearman's correlation with its 95 % interval."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    def figure(rows: np.ndarray) -> float:
        a, b = ranks(x[rows.astype(int)]), ranks(y[rows.astype(int)])
        return float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else 0.0

    every = np.arange(len(x))
    return [figure(every), *(metrics.interval(every, seed=seed, figure=figure) or (None, None))]


def held_out(e: Evaluation) -> dict[str, Any]:
    """Nats a note and a bar, taken apart; the latent's nats, dimensions and gap come from the same windows."""
    from midivibe.model.checkpoint import load

    model, _ = load(e.folder)
    rows = held_out_rows(e.corpus, model.config.block_size, e.options.windows)
    require(rows, 2, "held-out windows")
    examples = [e.corpus.plain(r) for r in rows]
    advance = e.progress("likelihood", len(examples))
    losses = likelihood.token_losses(model, examples, e.options.seed, listener=advance)
    return likelihood.describe(losses, examples, rows, e.corpus, e.options.seed)


class FixedLatent:
    """An engine whose prior always gives one z: (Z,)."""

    def __init__(self, engine: Any, z: np.ndarray) -> None:
        self._engine, self._z = engine, z.astype(np.float32)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def lanes(self, rows: int) -> list[FixedLatent]:
        return [self]

    def prior(self, vibe: np.ndarray, noise: np.ndarray, scale: float = 1.0) -> np.ndarray:
        return np.repeat(self._z[None], len(vibe), axis=0)


def latent(e: Evaluation) -> dict[str, Any]:
    """What lies between two z, how different pieces of one vibe are, and where windows lie in the latent space."""
    engine, options = e.studio.engine, e.options
    rows = held_out_rows(e.corpus, engine.block_size, options.windows)
    human = human_pieces(e.corpus, 20, 8, options.seed + 7)
    require(rows, 2, "held-out windows")
    require(human, 2, "held-out pieces of 8 bars")
    examples = [e.corpus.plain(r) for r in rows]
    means = np.stack([engine.posterior(x.ids.tolist(), x.coordinates)[0] for x in examples])
    pairs, steps, bars = max(2, min(8, options.pieces // 8)), 5, 4
    advance = e.progress("latent", pairs * steps + 20)
    rng = np.random.default_rng(options.seed)
    order, chance, jumps = [], [], []
    for pair in range(pairs):
        a, b = means[rng.choice(len(means), 2, replace=False)]
        heard = []
        for step in range(steps):
            fixed = Studio(FixedLatent(engine, a + (b - a) * step / (steps - 1)), e.studio.vocabulary, e.studio.name)
            setting = e.ask([{"bars": bars}], options.seed + 20 + pair)
            heard.append(music_vibe(compose(fixed, setting, e.out / "pieces" / f"between-{pair}-{step}")[0]).values)
            advance(1)
        line = np.array(heard)
        order.append(steadiness(line))
        shuffled = [line[[0, *(1 + rng.permutation(steps - 2)), steps - 1]] for _ in range(50)]
        chance.append(np.mean([steadiness(x) for x in shuffled]))
        jumps.append(np.linalg.norm(np.diff(line, axis=0), axis=1).max() / max(np.linalg.norm(line[-1] - line[0]), 1e-6))
    same = e.ask([{"vibe": sure(human[0].vibe), "bars": 8}] * 20, options.seed + 8)
    ours = [on_grid(s, e.studio) for s in compose(e.studio, same, e.out / "pieces" / "one-vibe", advance)]
    known = metrics.scalars([p.notes for p in human])

    def spread(pieces: Sequence[Notes]) -> float:
        matrix = metrics.feature_matrix(metrics.scalars(pieces), known)
        gaps = np.linalg.norm(matrix[:, None] - matrix[None], axis=-1)
        return float(gaps[np.triu_indices(len(gaps), 1)].mean())

    centred = means - means.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    vibes = e.corpus.columns["vibe"][rows]
    quadrant = 2 * (vibes[:, 0] < 0.5) + (vibes[:, 1] < 0.5)
    return {
        "between_order": [float(np.mean(order)), *(metrics.interval(np.array(order), seed=0) or (None, None))],
        "between_order_by_chance": float(np.mean(chance)), "between_largest_jump": float(np.mean(jumps)),
        "pairs": pairs, "steps": steps,
        "spread_of_20_from_one_vibe": spread(ours), "spread_of_20_human_songs": spread([p.notes for p in human]),
        "plane": (centred @ axes[:2].T).round(3).tolist(), "plane_share": float((sizes[:2] ** 2).sum() / (sizes**2).sum()),
        "styles": [str(e.corpus.columns["style"][r]) for r in rows], "quadrants": quadrant.tolist(),
    }  # fmt: skip


def steadiness(line: np.ndarray) -> float:
    """Rank correlation of the steps of a line (steps, 7) with their place along it; its ends are in order by construction."""
    return rank_correlation(np.arange(len(line)), (line - line[0]) @ (line[-1] - line[0]))[0] or 0.0


def original(e: Evaluation) -> dict[str, Any]:
    """Are we copying? Ours and held-out songs against the whole training set, in the same way."""
    v, options = e.studio.vocabulary, e.options
    settings = e.ask_like(e.human[0], len(e.human[0]), options.bars, options.seed + 1)
    advance = e.progress("originality", 3 + len(settings))
    scores = compose(e.studio, settings, e.out / "pieces" / "ours", advance)
    train = Corpus(e.corpus_folder, "train")
    rows = np.arange(0, len(train), max(1, len(train) // options.searched_windows))
    index = originality.TrainingIndex([train.ids[i] for i in rows.tolist()], train.columns["meter"][rows] == "4/4", v)
    advance(1)
    result: dict[str, Any] = {"training_windows": len(rows), "training_four_bars": len(index.bars)}
    queries = min(options.pieces, 200)

    for name, pieces in (("human", [p.notes for p in e.human[1]]), ("ours", e.inner(scores, options.bars))):
        four_four = [set(p.bar_meter) == {(4, 4)} for p in pieces]
        ids = [layout.encode(at_home(p), v)[0] for p in pieces]
        result[name] = originality.report(index, ids, four_four, queries, options.seed)
        advance(1)
    return result


def infill(e: Evaluation) -> dict[str, Any]:
    """Holes in held-out songs, against copying, the model without what follows, and Markov."""
    count = max(FEWEST, e.options.pieces // 5)
    pieces = [p for p in human_pieces(e.corpus, 12 * count, 16, e.options.seed + 11) if infilling.suits(p)][:count]
    require(pieces, FEWEST, "held-out pieces with drums and two melodic parts")
    chain = markov_models(e, (4,))[0]
    advance = e.progress("infilling", len(pieces))
    found = infilling.fill_holes(e.studio, chain, pieces, e.options.seed, e.options.filling, advance)
    return infilling.summary(found, e.options.seed)


def mood(e: Evaluation) -> dict[str, Any]:
    """Pieces asked for each quadrant, pictures and words, all rated by a judge that was trained on people's ratings."""
    from midivibe.evaluation.judge import events_of, read_rated, train_judge

    options = e.options
    if options.rated is None:
        return {"left_out": "no rated music was given (--rated)"}
    each = max(FEWEST // 2, options.pieces // 8)
    pictures = sorted(p for p in Path(options.pictures).iterdir() if p.suffix.lower() in PICTURES) if options.pictures else []
    if options.pictures and not pictures:
        raise InputError(f"no pictures in {options.pictures}")
    seen, unread = _seen(pictures[: options.pieces])
    tags = sorted(words.moods())[:: max(1, len(words.moods()) // (2 * each))]
    advance = e.progress("mood", 5 + 8 * each + len(seen) + len(tags))
    judge = train_judge(
        read_rated(options.rated), options.seed, epochs=options.judge_epochs, listener=lambda done, of: advance(1)
    )

    def judged(name: str, wishes: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Valence and arousal by the judge (N, 2), and the vibe by our own scorer (N, 7), of eight bars for each wish."""
        scores = compose(e.studio, e.ask([{**w, "bars": 8} for w in wishes], options.seed), e.out / "pieces" / name, advance)
        return judge([events_of(s) for s in scores]), np.array([music_vibe(s).values for s in scores])

    result: dict[str, Any] = {"judge": judge.held_out()}
    vibes = [{"vibe": Vibe.of(valence=v, arousal=a)} for v, a in QUADRANTS.values() for _ in range(each)]
    for name, wish in (("piano", {"instruments": "piano"}), ("any instruments", {})):
        rated, _ = judged(f"quadrants-{name.split()[0]}", [{**v, **wish} for v in vibes])
        result[name] = quadrant_hits(rated, each, options.seed)
    if seen:
        wishes = [{"image": p} for p in seen]
        result["pictures"] = matched(np.array(list(seen.values())), *judged("pictures", wishes), options.seed)
        result["pictures"]["unread"] = unread
    asked = [words.parse(tag).vibe.values for tag in tags]
    result["words"] = matched(np.array(asked), *judged("words", [{"text": tag} for tag in tags]), options.seed)
    return result


def _seen(pictures: Sequence[Path]) -> tuple[dict[Path, tuple[float, ...]], list[str]]:
    """Pictures that can be read, each with its vibe, and what stands against the others."""
    seen: dict[Path, tuple[float, ...]] = {}
    unread = []
    for path in pictures:
        try:
            seen[path] = picture_vibe(path).values
        except ImageError as error:
            unread.append(str(error))
    return seen, unread


def quadrant_hits(judged: np.ndarray, each: int, seed: int) -> dict[str, Any]:
    """Judged (4 · each, 2) of pieces asked for the quadrants in turn → hit rates, with and without the set's own middle.

    The judge knows piano performances; a shift that all our pieces share is taken out in the second.
    """
    wanted = np.repeat([[v > 0.5, a > 0.5] for v, a in QUADRANTS.values()], each, axis=0)
    heard = np.isfinite(judged).all(1)
    found: dict[str, Any] = {"pieces": int(heard.sum()), "without_pitches": int((~heard).sum()), "means": {}}
    if not heard.any():
        return found
    for k, name in enumerate(QUADRANTS):
        found["means"][name] = np.nanmean(judged[k * each : (k + 1) * each], axis=0).tolist()
    for label, middle in (("against zero", np.zeros(2)), ("against their middle", np.nanmedian(judged, axis=0))):
        right = ((judged > middle) == wanted)[heard].astype(float)
        figures = {"valence": right[:, 0], "arousal": right[:, 1], "quadrant": right.all(1).astype(float)}
        found[label] = {k: [v.mean(), *(metrics.interval(v, seed=seed) or (None, None))] for k, v in figures.items()}
    return found


def matched(asked: np.ndarray, judged: np.ndarray, heard: np.ndarray, seed: int, among: int = 50) -> dict[str, Any]:
    """Requests (N, 7), judged (N, 2) and heard (N, 7) → correlations, permutation p, and the right request found among 50."""
    rng = np.random.default_rng(seed)
    known = np.isfinite(judged).all(1)
    found: dict[str, Any] = {"pieces": int(known.sum()), "without_pitches": int((~known).sum())}
    asked, judged, heard = asked[known], judged[known], heard[known]

    def correlation(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.corrcoef(x, y)[0, 1]) if x.std() and y.std() else 0.0

    def standard(values: np.ndarray) -> np.ndarray:
        return (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)

    for i, name in enumerate(("valence", "arousal")):
        x, y = asked[:, i], judged[:, i]
        r = correlation(x, y)
        chance = np.array([correlation(rng.permutation(x), y) for _ in range(2000)])

        def drawn(rows: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> float:
            return correlation(x[rows.astype(int)], y[rows.astype(int)])

        bounds = metrics.interval(np.arange(len(x)), seed=seed, figure=drawn) or (None, None)
        found[name] = {
            "r": [r, *bounds],
            "spearman": rank_correlation(x, y, seed)[0],
            "p_one_sided": float(((chance >= r).sum() + 1) / (len(chance) + 1)),
        }
    for name, query, key in (("by the judge", judged, asked[:, :2]), ("by the seven axes", heard, asked)):
        q, k = standard(query), standard(key)
        ranks = []
        for _ in range(20):
            order = rng.permutation(len(q))
            for at in range(0, len(order) - among + 1, among):
                group = order[at : at + among]
                gaps = np.linalg.norm(q[group][:, None] - k[group][None], axis=-1)
                own = gaps.diagonal()[:, None]
                ranks += (1 + (gaps < own).sum(1) + ((gaps == own).sum(1) - 1) / 2).tolist()  # ties count half
        if ranks:
            place = np.array(ranks)
            r1, r5 = float((place <= 1).mean()), float((place <= 5).mean())
            found[name] = {"among": among, "r1": r1, "r5": r5, "median_rank": float(np.median(place))}
            found[name]["by_chance"] = {"r1": 1 / among, "r5": 5 / among, "median_rank": (among + 1) / 2}
    return found


SECTIONS: dict[str, Callable[[Evaluation], dict[str, Any]]] = {
    "likelihood": held_out, "music": music, "control": control, "latent": latent, "originality": original,
    "infilling": infill, "mood": mood,
}  # fmt: skip

__all__ = ["SECTIONS", "Evaluation", "Options"]
