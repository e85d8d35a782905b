"""Choices decided by measurement: one small model a choice, equal tokens seen, held-out nats a note.

    python scripts/ablations.py pick data/corpus/band -o runs/ablations     a small corpus that fits every layout
    python scripts/ablations.py run -o runs/ablations [--only NAME ...] [--seeds 1 2 3]
    python scripts/ablations.py decode -o runs/ablations                    tokens and notes a second of each vocabulary
    python scripts/ablations.py table -o runs/ablations                     the table of docs/ablations.md
    python scripts/ablations.py recipe data/corpus/music -o runs/recipe     equal minutes on one core, not equal tokens
    python scripts/ablations.py recipe-table -o runs/recipe

Runs that results.jsonl already holds are not repeated. Plain windows only; every variant sees the same windows in the
same order until its tokens are used up, and is judged on the same held-out notes.
"""

from __future__ import annotations

import argparse
import copy
import fcntl
import json
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyro
import torch

from midivibe.config import ModelConfig, TrainConfig
from midivibe.model import checkpoint
from midivibe.model.engine.onnx import OnnxEngine
from midivibe.model.export import export
from midivibe.model.folder import default_checkpoint, weights_digest
from midivibe.model.latent import VibeModel, beta_at, objective
from midivibe.model.transformer import TOKEN_SPREAD, LayerCache
from midivibe.tokens.layout import home_shift
from midivibe.tokens.vocabulary import BAR, COORDINATES, PART_OF_PROGRAM, PITCH
from midivibe.training.dataset import FORMAT, Corpus, Example, batches, collate
from midivibe.training.held_out import held_out_examples, held_out_rows, score
from midivibe.training.merges import as_text, ids_of, learn
from midivibe.training.optimizer import make_optimizer, set_rate
from midivibe.training.trainer import learning_rate, token_dropout_at

LONGEST = 640
"""ids of a window in the house's layout; MidiTok's plain stream of the same notes then fits into the block"""
TOKENS = 3_000_000
MODEL = ModelConfig(block_size=1152, n_layer=4, n_head=4, n_embd=160, n_latent=24, encoder_layers=1, encoder_embd=96, n_bars=32)
TRAIN = TrainConfig(
    optimizer="adamw", batch_tokens=4096, learning_rate=2e-3, warmup_steps=60, token_dropout=0.2, token_dropout_end=0.02
)
"""As `small` was trained; the table has since turned token dropout off."""


@dataclass(frozen=True)
class Variant:
    """One row of the table: what differs from the house's choice."""

    stream: str = "cells"
    bpe: int = 0
    home: bool = True
    header: bool = True
    alpha: float | None = None
    token_spread: float = TOKEN_SPREAD
    """standard deviation of the decoder's token embeddings at the start"""
    loud: tuple[str, ...] = ()
    """conditioning whose weights begin at random (sd 0.02), not at zero"""
    train: dict[str, Any] = field(default_factory=dict)


VARIANTS: dict[str, Variant] = {
    "house": Variant(),
    "bpe-1k": Variant(bpe=1000),
    "bpe-2k": Variant(bpe=2000),
    "bpe-4k": Variant(bpe=4000),
    "untransposed": Variant(home=False),
    "plain-remi": Variant(stream="remi"),
    "no-style-key-header": Variant(header=False),
    "alpha-half": Variant(alpha=0.5),
    "z-alone": Variant(alpha=1.0),
    "vibe-alone": Variant(alpha=0.0, train={"kl_weight": 1e-6, "bag_weight": 0.0}),
    "no-warm-up": Variant(train={"kl_warmup": 0.0, "kl_cycles": 0}),
    "no-free-bits": Variant(train={"free_bits": 0.0}),
    "no-bag": Variant(train={"bag_weight": 0.0}),
    "no-token-dropout": Variant(train={"token_dropout": 0.0, "token_dropout_end": 0.0}),
    "batch-8k": Variant(train={"batch_tokens": 8192}),
    "lr-4e-3": Variant(train={"learning_rate": 4e-3}),
    "tokens-0.16": Variant(token_spread=0.16),
}
QUIET = {name: replace(v, token_spread=0.02) for name, v in VARIANTS.items()}
VARIANTS |= {f"quiet tokens / {name}": v for name, v in QUIET.items()}
VARIANTS |= {"quiet tokens / loud vibe": replace(QUIET["house"], loud=("from_vibe",))}
VARIANTS |= {f"first init / {name}": replace(v, loud=("from_z", "from_vibe")) for name, v in QUIET.items()}


def pick(corpus: Path, out: Path, train: int = 14000, valid: int = 300) -> None:
    """Windows short enough for every layout, spread evenly over the corpus."""
    rows: dict[str, list[pa.Table]] = {"train": [], "valid": []}
    for shard in sorted(corpus.glob("*.parquet")):
        table = pq.read_table(shard)
        split = np.array(table["split"].to_pylist())
        fits = np.array([len(i) <= LONGEST for i in table["ids"].to_pylist()])
        for name, found in rows.items():
            found.append(table.filter((split == name) & fits))
    (out / "corpus").mkdir(parents=True, exist_ok=True)
    parts = []
    for name, count in (("train", train), ("valid", valid)):
        table = pa.concat_tables(rows[name])
        parts.append(table.take(np.linspace(0, len(table) - 1, count).astype(int)))
    picked = pa.concat_tables(parts)
    pq.write_table(picked, out / "corpus" / "shard-0000.parquet")
    (out / "corpus" / "corpus.json").write_text(json.dumps({"format": FORMAT, "caps": {}, "windows": len(picked)}))
    (out / "corpus" / "tokenizer.json").write_bytes((corpus / "tokenizer.json").read_bytes())


class Layout:
    """Rows of a corpus as examples of one variant."""

    def __init__(self, variant: Variant, folder: Path) -> None:
        self.variant = variant
        self.train, self.valid = Corpus(folder, "train"), Corpus(folder, "valid")
        self.train.plans = self.valid.plans = False  # these layouts are of before plans
        self.v = self.train.vocabulary
        self.size = len(self.v) + (13 if not variant.home else 0)
        if variant.bpe:
            self._learn_merges()

    def example(self, corpus: Corpus, row: int, rng: random.Random | None) -> Example:
        """A plain window in this variant's ids."""
        variant, v = self.variant, self.v
        plain = corpus.plain(row, rng, TrainConfig(vibe_dropout=0.1, manner=0.0) if rng else None)
        ids, places = plain.ids, plain.coordinates
        if variant.stream == "remi":
            ids, places = self._remi(ids)
        head = int(np.argmax(v.type[ids] == BAR))
        if not variant.home:
            tonic = corpus.columns["tonic"][row]
            if tonic >= 0:
                ids = self._moved(ids, -home_shift(tonic, corpus.columns["mode"][row]))
            ids = np.insert(ids, 3, len(v) + (tonic if tonic >= 0 else 12))
            places = np.insert(places, 3, places[3], axis=0)
        if not variant.header:
            ids, places = np.delete(ids, [1, 2]), np.delete(places, [1, 2], axis=0)
        if variant.bpe:
            ids, places = self._merged(ids, places, head)
        return Example(ids, places, 1, plain.vibe, plain.notes, plain.seed)

    def _moved(self, ids: np.ndarray, semitones: int) -> np.ndarray:
        v = self.v
        pitch = v.value[ids].astype(int) + semitones
        pitch = np.where(pitch < 0, pitch + 12, np.where(pitch > 127, pitch - 12, pitch))
        return np.where(v.type[ids] == PITCH, v.lookup(PITCH, 0, 127)[pitch.clip(0, 127)], ids)

    def _remi(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """MidiTok's stream of several programs: Bar (Position (Program Pitch Velocity [Duration])+)+."""
        v = self.v
        head = int(np.argmax(v.type[ids] == BAR))
        bars: list[list[int]] = []
        notes: list[list[tuple[int, float, float, list[int]]]] = []
        program = position = velocity = 0
        for token in ids[head:-1].tolist():
            name = v.names[token].partition("_")[0]
            if name == "Bar":
                bars.append([token])
                notes.append([])
            elif name in ("TimeSig", "Tempo"):
                bars[-1].append(token)
            elif name == "Program":
                program = token
            elif name == "Position":
                position = token
            elif name == "Velocity":
                velocity = token
            elif name == "Duration":
                notes[-1][-1][-1].append(token)
            else:
                notes[-1].append((position, v.value[program], v.value[token], [program, token, velocity]))
        out = ids[:head].tolist()
        for bar, found in zip(bars, notes, strict=True):
            out += bar
            last = None
            for position, _, _, tokens in sorted(found, key=lambda n: n[:3]):
                if position != last:
                    out.append(position)
                    last = position
                out += tokens
        out.append(int(ids[-1]))
        stream = np.array(out)
        kind = v.type[stream]
        index = np.cumsum(kind == BAR) - 1
        total = int((kind == BAR).sum())
        places = np.zeros((len(stream), COORDINATES), dtype=np.int64)
        places[:, 0] = index.clip(0)
        places[:, 1] = np.where(index < 0, total, total - 1 - index)
        position = part = 0
        for i, token in enumerate(out):
            name = v.names[token].partition("_")[0]
            if name == "Bar":
                position = part = 0
            elif name == "Position":
                position, part = int(v.value[token]) + 1, 0
            elif name == "Program" and i >= head:
                part = int(v.value[token]) + PART_OF_PROGRAM
            places[i, 2:4] = position, part
        return stream, places

    def _learn_merges(self) -> None:
        bodies = (as_text(self.train.ids[r].astype(int), self.v) for r in range(0, len(self.train), 3))
        self.merges = learn(bodies, self.v, self.variant.bpe, longest=40)
        learned = sorted(t for t in self.merges.get_vocab() if len(t) > 1)
        self.id_of = {t: ids_of(t)[0] for t in self.merges.get_vocab() if len(t) == 1}
        self.id_of |= {t: len(self.v) + i for i, t in enumerate(learned)}
        self.size = len(self.v) + len(learned)

    def _merged(self, ids: np.ndarray, places: np.ndarray, head: int) -> tuple[np.ndarray, np.ndarray]:
        tokens = self.merges.encode(as_text(ids[head:-1], self.v)).tokens
        lengths = np.cumsum([len(t) for t in tokens])
        out = np.concatenate([ids[:head], [self.id_of[t] for t in tokens], ids[-1:]])
        # a merged token stands where its last part stood
        return out, np.concatenate([places[:head], places[head + lengths - 1], places[-1:]])


def groups(layout: Layout, seed: int, budget: int, block: int) -> Iterator[list[Example]]:
    """Batches of examples of like length, epoch after epoch."""
    epoch = 0
    while True:
        rows = list(range(len(layout.train)))
        random.Random(f"{seed}/{epoch}").shuffle(rows)
        for at in range(0, len(rows), 256):
            rng = random.Random(f"{seed}/{epoch}/{at}")
            pool = [layout.example(layout.train, r, rng) for r in rows[at : at + 256]]
            pool = sorted((e for e in pool if len(e.ids) <= block), key=lambda e: -len(e.ids))
            found: list[list[Example]] = [[]]
            for e in pool:
                if found[-1] and (len(found[-1]) + 1) * len(found[-1][0].ids) > budget:
                    found.append([])
                found[-1].append(e)
            found = [g for g in found if len(g) >= 4]
            rng.shuffle(found)
            yield from found
        epoch += 1


def fit(name: str, seed: int, folder: Path, tokens: int) -> dict[str, Any]:
    """Train one variant and judge it."""
    variant = VARIANTS[name]
    layout = Layout(variant, folder / "corpus")
    torch.manual_seed(seed)
    pyro.set_rng_seed(seed)
    config = TrainConfig(**{**TRAIN.to_dict(), "seed": seed, **variant.train})
    model = VibeModel(ModelConfig(**{**MODEL.to_dict(), "vocab_size": layout.size}))
    if variant.alpha is not None:
        logit = {0.5: 0.0, 1.0: 30.0, 0.0: -30.0}[variant.alpha]
        model.transformer.alpha.data.fill_(logit)
        model.transformer.alpha.requires_grad_(False)
    torch.nn.init.normal_(model.transformer.embedding.token.weight, std=variant.token_spread)
    for part in variant.loud:
        for layer in getattr(model.transformer, part):
            torch.nn.init.normal_(layer.weight, std=0.02)
    optimizer = make_optimizer(model, config)
    seen, step, began = 0, 0, time.monotonic()
    curve = []
    for examples in groups(layout, seed, config.batch_tokens, MODEL.block_size):
        batch = collate(examples, MODEL.block_size, latent=MODEL.n_latent)
        progress = seen / tokens
        beta = beta_at(progress, config.kl_warmup, config.kl_cycles, config.kl_weight) if config.kl_cycles else 1.0
        set_rate(optimizer, learning_rate(step, progress, config))
        with torch.autocast("cpu", torch.bfloat16):
            terms = model.terms(batch, token_dropout_at(progress, config))
        objective(terms, beta, config.free_bits, config.bag_weight).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += sum(len(e.ids) - 1 for e in examples)
        step += 1
        if step % 50 == 0:
            curve.append(round((terms.nll.sum() / terms.tokens.sum()).item(), 3))
            print(
                f"{name} {seed} {100 * seen / tokens:.0f}% {curve[-1]} {seen / (time.monotonic() - began):.0f} tok/s",
                flush=True,
            )
        if seen >= tokens:
            break
    seconds = time.monotonic() - began
    rows = held_out_rows(layout.valid, MODEL.block_size, len(layout.valid))  # all of them: `pick` took short ones
    held_out = [layout.example(layout.valid, r, None) for r in rows]
    assert max(len(e.ids) for e in held_out) <= MODEL.block_size
    figures = score(model, held_out)
    if variant.alpha == 0.0:  # z reaches nothing, so its KL is no part of the bound
        figures["nats_per_note"] = figures["reconstruction"]
        figures["kl_per_window"] = figures["kl_per_note"] = 0.0
    return {
        "name": name, "seed": seed, "tokens": seen, "steps": step, "seconds": round(seconds), "vocabulary": layout.size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_per_note": sum(len(e.ids) - 1 for e in held_out) / sum(e.notes for e in held_out), **figures,
    }  # fmt: skip


RECIPE_MODEL = ModelConfig(n_layer=3, encoder_layers=1)
"""Half of `small`: its matrices have the shapes of those of `small`, so that learning rates carry over."""
RECIPE_TRAIN = TrainConfig(optimizer="adamw", batch_tokens=3072, warmup_steps=40)

Changes = dict[str, Any]
"""Settings of a ModelConfig or TrainConfig that differ."""
MUON: Changes = {"optimizer": "muon"}
RECIPES: dict[str, tuple[Changes, Changes]] = {  # what differs in the model, and in training
    "adamw": ({}, {}),
    "adamw 1e-3": ({}, {"learning_rate": 1e-3}),
    "adamw 4e-3": ({}, {"learning_rate": 4e-3}),
    "adamw batch 6144": ({}, {"batch_tokens": 6144}),
    "muon .005": ({}, MUON | {"muon_rate": 0.005}),
    "muon .01": ({}, MUON | {"muon_rate": 0.01}),
    "muon .02": ({}, MUON),
    "muon .04": ({}, MUON | {"muon_rate": 0.04}),
    "muon .02 batch 6144": ({}, MUON | {"batch_tokens": 6144}),
    "muon .02 adamw 4e-3": ({}, MUON | {"learning_rate": 4e-3}),
    "muon .02 heads 2": ({"n_head": 2}, MUON),
    "muon .02 kv 2": ({"n_kv_head": 2}, MUON),
    "muon .02 kv 1": ({"n_kv_head": 1}, MUON),
}
EMA = 0.99
"""Decay of the average of the weights that every run keeps beside them."""


class Trial:
    """One recipe at work: its model, its optimiser and its batches."""

    def __init__(self, train: Corpus, name: str, seed: int, shape: Changes, minutes: float) -> None:
        model_change, train_change = RECIPES[name]
        torch.manual_seed(seed)
        pyro.set_rng_seed(seed)
        self.config = replace(RECIPE_TRAIN, seed=seed, max_minutes=minutes, **train_change)
        self.shape = replace(RECIPE_MODEL, vocab_size=len(train.vocabulary), **(shape | model_change))
        self.model = VibeModel(self.shape)
        self.optimizer = make_optimizer(self.model, self.config)
        self.batches = batches(train, self.config, self.shape.block_size)
        self.steps = 0

    def step(self, examples: list[Example], progress: float) -> tuple[float, int, int]:
        """Learn from a batch as the trainer does; returns its nats, its scored tokens, and its tokens with their padding."""
        config = self.config
        batch = collate(examples, self.shape.block_size, latent=self.shape.n_latent)
        set_rate(self.optimizer, learning_rate(self.steps, progress, config))
        beta = beta_at(progress, config.kl_warmup, config.kl_cycles, config.kl_weight)
        with torch.autocast("cpu", torch.bfloat16):
            terms = self.model.terms(batch)
        objective(terms, beta, config.free_bits, config.bag_weight).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        return terms.nll.sum().item(), int(terms.tokens.sum()), batch.loss.numel()


def kind_of(name: str) -> str:
    """What the time of a step depends on: rates and starts cost nothing."""
    model, train = RECIPES[name]
    free = ("muon_rate", "learning_rate")
    return json.dumps([{k: v for k, v in part.items() if k not in free} for part in (model, train)])


def time_recipes(corpus: Path, folder: Path, names: list[str], shape: Changes, rounds: int = 3) -> None:
    """Seconds of one core a thousand tokens: the recipes step in turn on the same windows, the quickest round counts.

    Runs then last as many tokens as fit into their minutes, so that other work on the machine changes nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train = Corpus(corpus, "train")
    trials = {kind_of(name): Trial(train, name, 1, shape, 1.0) for name in names}
    first = next(iter(trials.values()))
    drawn = sorted((next(first.batches) for _ in range(4)), key=lambda group: len(group[0].ids))
    best = dict.fromkeys(trials, float("inf"))
    for _ in range(rounds):
        for kind, trial in trials.items():
            joined = trial.config.batch_tokens // first.config.batch_tokens
            groups = [list(chain.from_iterable(drawn[i : i + joined])) for i in range(0, len(drawn), joined)]
            began = time.process_time()
            tokens = sum(trial.step(group, 0.5)[2] for group in groups)
            best[kind] = min(best[kind], (time.process_time() - began) / tokens * 1000)
    least = next(iter(best.values()))
    for kind, seconds in best.items():
        append(folder / "cost.jsonl", {"kind": kind, "shape": shape, "seconds": seconds})
        print(f"{kind:80} {seconds:.4f} s a thousand tokens, {seconds / least - 1:+.1%}", flush=True)


def at_equal_minutes(
    corpora: tuple[Corpus, Corpus], name: str, seed: int, minutes: float, shape: Changes, cost: float
) -> dict[str, Any]:
    """Train for so many minutes of one core, at `cost` seconds a thousand tokens; judge the weights and their average."""
    train, valid = corpora
    trial = Trial(train, name, seed, shape, minutes)
    model, length = trial.model, trial.shape.block_size
    average = copy.deepcopy(model)
    weights = list(model.parameters())
    budget = 60 * minutes / cost * 1000
    scored, seen, real, curve = 0, 0, 0, []
    began = time.process_time(), time.monotonic()
    while seen < budget:
        examples = next(trial.batches)
        nats, tokens, padded = trial.step(examples, seen / budget)
        seen, scored = seen + padded, scored + tokens
        real += sum(min(len(e.ids) - 1, length) for e in examples)
        curve.append((scored, nats, tokens))
        if trial.steps % 20 == 0:
            last = curve[-20:]
            print(f"{name} {seen / budget:.0%} {sum(x[1] for x in last) / sum(x[2] for x in last):.3f}", flush=True)
        with torch.no_grad():
            torch._foreach_lerp_([*average.parameters()], [*weights], 1 - min(EMA, trial.steps / (trial.steps + 10)))
    spent = time.process_time() - began[0], time.monotonic() - began[1]
    for mine, theirs in zip(average.buffers(), model.buffers(), strict=True):
        mine.copy_(theirs)
    examples = held_out_examples(valid, length, 80)
    figures = score(model, examples)
    averaged = score(average, examples)["nats_per_note"]
    every = max(1, len(curve) // 40)
    parts = [curve[i : i + every] for i in range(0, len(curve), every)]
    return {
        "name": name, "seed": seed, "minutes": minutes, "shape": shape, "steps": trial.steps, "seen": seen, "scored": scored,
        "padding": 1 - real / seen, "cpu": spent[0], "wall": spent[1], "parameters": sum(p.numel() for p in weights),
        "averaged": averaged, **figures,
        "curve": [(p[-1][0], round(sum(x[1] for x in p) / sum(x[2] for x in p), 3)) for p in parts],
    }  # fmt: skip


def recipe(corpus: Path, folder: Path, names: list[str], seeds: list[int], minutes: float, shape: Changes) -> None:
    """Every (recipe, seed) that recipe.jsonl does not hold at these minutes and this shape; `time` comes first."""
    corpora = Corpus(corpus, "train"), Corpus(corpus, "valid")
    costs = {r["kind"]: r["seconds"] for r in read(folder / "cost.jsonl") if r["shape"] == shape}
    for seed in seeds:
        for name in names:
            done = [(r["name"], r["seed"], r["minutes"], r["shape"]) for r in read(folder / "recipe.jsonl")]
            if (name, seed, minutes, shape) in done:
                continue
            row = at_equal_minutes(corpora, name, seed, minutes, shape, costs[kind_of(name)])
            append(folder / "recipe.jsonl", row)
            print({k: v for k, v in row.items() if k != "curve"}, flush=True)


def recipe_table(folder: Path) -> None:
    """Print a row a run, beside AdamW of the same seed, minutes and shape."""
    rows = read(folder / "recipe.jsonl")
    base = {(r["seed"], r["minutes"], str(r["shape"])): r["nats_per_note"] for r in rows if r["name"] == "adamw"}
    print("| recipe | seed | minutes | parameters | steps | scored tokens | nats a note | against AdamW | average | KL | gap |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        against = r["nats_per_note"] - base.get((r["seed"], r["minutes"], str(r["shape"])), float("nan"))
        print(
            f"| {r['name']} | {r['seed']} | {r['minutes']:g} | {r['parameters'] / 1e6:.1f} M | {r['steps']} | "
            f"{r['scored'] / 1e6:.2f} M | {r['nats_per_note']:.3f} | {against:+.3f} | {r['averaged']:.3f} | "
            f"{r['kl_per_window']:.1f} | {r['shuffle_gap']:.1f} |"
        )


def heads_speed(rows: int = 8, past: int = 600, steps: int = 40, rounds: int = 5) -> None:
    """Milliseconds of one cached step of `small` in ONNX Runtime, by its key/value heads; the quickest round of each."""
    variants = [(bits, heads) for bits in (8, 32) for heads in (4, 2, 1)]
    engines = {}
    with tempfile.TemporaryDirectory() as temporary:
        for bits, heads in variants:
            folder = Path(temporary) / f"{bits}-{heads}"
            told = json.loads((default_checkpoint() / "config.json").read_text())["model"] | {"n_kv_head": heads}
            model = VibeModel(ModelConfig.stored(told)).eval()
            checkpoint.save(folder, model, default_checkpoint() / "tokenizer.json")
            export(model, folder, weights_digest(folder), (bits,))
            engines[bits, heads] = OnnxEngine(folder, bits, threads=1)
    rng = np.random.default_rng(1)
    best = dict.fromkeys(variants, float("inf"))
    for _ in range(rounds):
        for key, engine in engines.items():
            engine.begin(np.zeros((rows, engine.latents), np.float32), np.zeros((rows, 14), np.float32))
            for row in range(rows):
                engine.prefill(row, rng.integers(1, 600, past).tolist(), rng.integers(0, 9, (past, 5)))
            began = time.process_time()
            for _ in range(steps):
                engine.step(rng.integers(1, 600, rows).tolist(), rng.integers(0, 9, (rows, 5)))
            best[key] = min(best[key], (time.process_time() - began) / steps * 1000)
    for (bits, heads), spent in best.items():
        print(f"{bits:2} bits, {heads} key/value heads: {spent:.2f} ms a step of {rows} rows, {spent / best[bits, 4] - 1:+.0%}")


def append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(folder: Path, names: list[str], seeds: list[int], tokens: int) -> None:
    """Every (variant, seed) not done and not claimed by another process."""
    claims = folder / "claims"
    claims.mkdir(exist_ok=True)
    for seed in seeds:
        for name in names:
            try:
                (claims / f"{name.replace(chr(47), chr(45))}-{seed}").touch(exist_ok=False)
            except FileExistsError:
                continue
            append(folder / "results.jsonl", fit(name, seed, folder, tokens))


@torch.no_grad()
def decode_speed(folder: Path, rounds: int = 5, steps: int = 256) -> None:
    """Cached steps at batch 1 without grammar, every vocabulary in turn, medians of rounds."""
    rows = {r["name"].split(" / ")[-1]: r for r in read(folder / "results.jsonl")}  # the start does not change the vocabulary
    sizes = {name: rows[name]["vocabulary"] for name in ("house", "bpe-1k", "bpe-2k", "bpe-4k", "plain-remi") if name in rows}
    speeds: dict[str, list[float]] = {name: [] for name in sizes}
    for _ in range(rounds):
        for name, size in sizes.items():
            model = VibeModel(ModelConfig(**{**MODEL.to_dict(), "vocab_size": size})).eval().transformer
            caches = [LayerCache(1, MODEL.n_head, steps, MODEL.n_embd // MODEL.n_head) for _ in range(MODEL.n_layer)]
            condition = model.condition(torch.zeros(1, MODEL.n_latent), torch.zeros(1, MODEL.vibe_inputs))
            began = time.perf_counter()
            for at in range(steps):
                model.step(
                    torch.zeros(1, 1, dtype=torch.long),
                    torch.zeros(1, 1, COORDINATES, dtype=torch.long),
                    condition,
                    caches,
                    [at],
                )
            speeds[name].append(steps / (time.perf_counter() - began))
    for name, found in speeds.items():
        speed = median(found)
        row = {"name": name, "tokens_per_s": speed, "notes_per_s": speed / rows[name]["tokens_per_note"]}
        append(folder / "decode.jsonl", row)
        print(f"{name:12} {speed:7.0f} tokens/s {row['notes_per_s']:7.0f} notes/s")


def table(folder: Path) -> None:
    """Print the markdown table, each variant's mean over its seeds."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in read(folder / "results.jsonl"):
        found.setdefault(row["name"], []).append(row)
    speed = {r["name"]: r["notes_per_s"] for r in read(folder / "decode.jsonl")}
    columns = ("nats_per_note", "reconstruction", "kl_per_window", "active", "shuffle_gap", "tokens_per_note")
    print("| variant | seeds | nats a note | sd | reconstruction | KL a window | active | gap | tokens a note | notes/s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in VARIANTS:
        rows = found.get(name)
        if not rows:
            continue
        bound, reconstruction, kl, active, gap, per_note = (mean(r[k] for r in rows) for k in columns)
        sd = f"{stdev(r['nats_per_note'] for r in rows):.3f}" if len(rows) > 1 else ""
        print(
            f"| {name} | {len(rows)} | {bound:.3f} | {sd} | {reconstruction:.3f} | {kl:.1f} | {active:.0f}/{MODEL.n_latent} | "
            f"{gap:.1f} | {per_note:.2f} | {f'{speed[name]:.0f}' if name in speed else ''} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pick", "run", "decode", "table", "time", "recipe", "recipe-table", "heads"))
    parser.add_argument("corpus", nargs="?", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--only", nargs="+", default=None, choices=[*VARIANTS, *RECIPES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--shape", type=json.loads, default={}, help="a model's shape that differs, as JSON")
    options = parser.parse_args()
    if options.what == "pick":
        pick(options.corpus, options.out)
    elif options.what == "run":
        run(options.out, options.only or list(VARIANTS), options.seeds, options.tokens)
    elif options.what == "recipe-table":
        recipe_table(options.out)
    elif options.what == "heads":
        heads_speed()
    elif options.what == "time":
        time_recipes(options.corpus, options.out, options.only or list(RECIPES), options.shape)
    elif options.what == "recipe":
        recipe(options.corpus, options.out, options.only or list(RECIPES), options.seeds, options.minutes, options.shape)
    elif options.what == "decode":
        decode_speed(options.out)
    else:
        table(options.out)
