"""How fast, on this machine: midivibe and its peers side by side in one run, medians of rounds in which all take turns."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from midivibe.benchmark.turns import in_turns
from midivibe.config import ModelConfig
from midivibe.errors import AudioError, InputError, SoundfontError
from midivibe.files import replacing
from midivibe.model.engine.base import Engine
from midivibe.model.engine.onnx import DECODERS, OnnxEngine, why_not
from midivibe.model.folder import locate
from midivibe.piece import Settings
from midivibe.requests import Compose
from midivibe.studio import Studio, picture_vibe
from midivibe.tokens.vocabulary import COORDINATES
from midivibe.training.dataset import Corpus
from midivibe.writing.sampling import draw, nucleus, shares_of

P = ParamSpec("P")
R = TypeVar("R")
Figures = dict[str, Any]
"""What a measure found, as JSON has it."""

TOKENS = 512
LENGTHS = (16, 32, 64, 128)
VARIATIONS = (1, 4, 8)
WEIGH = """import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
print(os.wait4(child.pid, 0)[2].ru_maxrss)"""
"""Runs a command and prints its peak memory in KiB; from here it would count what this process held when it forked."""
SIXTEEN = Compose(vibe="density=0.6", bars=16, seed=0)
"""The piece that is asked for where nothing else is."""
PLAYING = 100.0
"""BPM at which playing must not starve"""


def benchmark(
    checkpoint: str | Path | None,
    out: str | Path,
    image: str | Path | None = None,
    corpus: str | Path | None = None,
    rounds: int = 5,
    only: tuple[str, ...] = (),
    listener: Callable[[str], None] = lambda name: None,
) -> Figures:
    """Measure into OUT/benchmark.json and OUT/benchmark.png; returns the figures.

    Raises:
        InputError: an unknown measure, or rounds below 1.
        CheckpointError, CorpusError, OutputError: what is measured cannot be used, or the result not written.
    """
    if rounds < 1:
        raise InputError(f"rounds is {rounds}; it must be at least 1")
    unknown = set(only) - set(MEASURES)
    if unknown:
        raise InputError(f"unknown measure {min(unknown)!r}; they are {', '.join(MEASURES)}")
    folder = locate(checkpoint)
    job = Job(folder, image, corpus, rounds)
    file = Path(out) / "benchmark.json"
    figures: Figures = {"machine": machine(), "checkpoint": Studio.open(folder).name, "rounds": rounds}
    if image is not None:  # what cannot be read is better found now than after ten minutes
        picture_vibe(image)
    if corpus is not None:
        Corpus(corpus, "train")
    file.parent.mkdir(parents=True, exist_ok=True)
    for name, measure in MEASURES.items():
        if not only or name in only:
            listener(name)
            try:
                figures[name] = measure(job)
            except (AudioError, SoundfontError) as error:  # no audio here: the rest is worth knowing
                figures[name] = {"left_out": str(error)}
            with replacing(file) as temporary:  # after each, so that an interruption costs one
                temporary.write_text(json.dumps(figures, indent=1))
    from midivibe.benchmark.plot import plot

    plot(figures, file.with_suffix(".png"))
    return figures


class Job:
    """What is measured."""

    def __init__(self, folder: Path, image: str | Path | None, corpus: str | Path | None, rounds: int) -> None:
        self.folder, self.image, self.corpus, self.rounds = folder, image, corpus, rounds
        self.config = ModelConfig.stored(json.loads((folder / "config.json").read_text())["model"])


def machine() -> Figures:
    """What it ran on."""
    packages = ("torch", "onnxruntime", "transformers", "numpy")
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")
    return {
        "cpu": model or platform.processor(), "cores": os.cpu_count(), "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2), **{n: version(n) for n in packages if find_spec(n)},
    }  # fmt: skip


def bandwidth() -> float:
    """Bytes a second that all cores together read from memory, the best of ten passes over 512 MB."""
    parts = np.array_split(np.ones(2**26), os.cpu_count() or 1)
    best = 0.0
    with ThreadPoolExecutor(len(parts)) as pool:
        for _ in range(10):
            began = time.perf_counter()
            list(pool.map(np.sum, parts))
            best = max(best, 2**29 / (time.perf_counter() - began))
    return best


def decoding(job: Job) -> Figures:
    """512 tokens at batch 1: engines with top-p but no grammar, like their peers, and the floor that memory sets."""
    import torch

    from midivibe.benchmark.peers import Plain, gpt2
    from midivibe.model.checkpoint import load
    from midivibe.model.engine.torch import TorchEngine

    engines: dict[str, Engine] = {
        f"midivibe, ONNX Runtime {'int8' if bits == 8 else 'fp32'}": OnnxEngine(job.folder, bits)
        for bits in DECODERS
        if not why_not(job.folder, bits)
    }
    model = load(job.folder)[0]
    engines["midivibe, torch fp32"] = TorchEngine(model)
    keep, every = nucleus(0.95), np.arange(job.config.vocab_size)

    def ours(engine: Engine) -> Callable[[], None]:
        def run() -> None:
            rng = np.random.default_rng(0)
            engine.begin(np.zeros((1, engine.latents), np.float32), np.zeros((1, 14), np.float32))
            logits = engine.prefill(0, [1], np.zeros((1, COORDINATES), np.int64))
            for _ in range(count - 1):
                logits = engine.step([draw(shares_of(keep(logits, every)), rng)], np.zeros((1, COORDINATES), np.int64))[0]

        return run

    peer, plain = gpt2(job.config), Plain(job.config).eval()
    count = min(TOKENS, job.config.block_size - 1)

    def generate() -> None:
        with torch.inference_mode():
            peer.generate(
                torch.ones(1, 1, dtype=torch.long), do_sample=True, top_p=0.95, top_k=0, pad_token_id=0,
                min_new_tokens=count, max_new_tokens=count,
            )  # fmt: skip

    peers: dict[str, Callable[[], object]] = {name: ours(engine) for name, engine in engines.items()}
    peers |= {"transformers generate, GPT-2": generate, "uncached loop (minGPT)": lambda: plain.generate(count)}
    seconds = in_turns(peers, job.rounds)
    speeds = {name: count / statistics.median(s) for name, s in seconds.items()}
    read = bandwidth()
    # what a token must read: every matrix, at the width that it has in memory, and keys and values, half of a full cache
    weights = sum(p.numel() for block in model.transformer.blocks for p in block.parameters() if p.ndim == 2)
    weights += job.config.vocab_size * job.config.n_embd
    cache = job.config.n_layer * 2 * job.config.n_embd * count / 2
    widths = {"midivibe, ONNX Runtime int8": (1 + 4 / 32, 1.0), "midivibe, ONNX Runtime fp32": (4.0, 4.0)}
    floors = {n: (weights * w / read, (weights * w + cache * c) / read) for n, (w, c) in widths.items() if n in speeds}
    return {
        "tokens_per_s": speeds, "read_bandwidth_gb_s": read / 1e9,
        "floor_ms": {n: 1000 * s for n, (_, s) in floors.items()},
        "times_the_floor": {n: 1 / speeds[n] / s for n, (_, s) in floors.items()},
        "times_the_floor_of_the_weights_alone": {n: 1 / speeds[n] / s for n, (s, _) in floors.items()},
    }  # fmt: skip


def composing(job: Job) -> Figures:
    """Whole pieces, grammar and all: 1, 4 and 8 variations in one batch of 16 bars, and one piece of 16 to 128 bars."""
    studio = Studio.open(job.folder)
    band = "piano,bass,strings,drums"
    asked = studio.settle(replace(SIXTEEN, tempo=120, time_signature="4/4", instruments=band))
    notes: dict[str, int] = {}

    def batch(name: str, *settings: Settings) -> Callable[[], None]:
        def run() -> None:
            notes[name] = sum(p.score.note_num() for p in studio.perform(list(settings)))

        return run

    seeds = [replace(asked, seed=i) for i in range(max(VARIATIONS))]
    peers = {f"{count} variations": batch(f"{count} variations", *seeds[:count]) for count in VARIATIONS}
    peers |= {f"piece {i}": batch(f"piece {i}", s) for i, s in enumerate(seeds)}
    peers |= {f"{bars} bars": batch(f"{bars} bars", replace(asked, bars=bars)) for bars in LENGTHS}
    seconds = {name: statistics.median(s) for name, s in in_turns(peers, job.rounds).items()}

    def figures(name: str, bars: int) -> dict[str, float]:
        spent = seconds[name]
        return {"seconds": spent, "notes_per_s": notes[name] / spent, "bars_per_s": bars / spent, "notes": notes[name]}

    alone = statistics.mean(seconds[f"piece {i}"] for i in range(len(seeds)))
    return {
        "variations": {str(count): figures(f"{count} variations", 16 * count) for count in VARIATIONS},
        "bars": {str(bars): figures(f"{bars} bars", bars) for bars in LENGTHS},
        "one_alone_s": alone, "eight_over_one": seconds[f"{len(seeds)} variations"] / alone,
    }  # fmt: skip


def _alone(studio: Studio, settings: Settings) -> float:
    began = time.perf_counter()
    studio.perform([settings])
    return time.perf_counter() - began


def python_share(job: Job) -> Figures:
    """Of a piece's time: what passes in the engine, what in Python; and the functions that take most, under a profiler."""
    import cProfile
    import pstats

    studio = Studio.open(job.folder)
    settings = studio.settle(SIXTEEN)
    spent = [0.0]

    def timed(call: Callable[P, R]) -> Callable[P, R]:
        def run(*values: P.args, **named: P.kwargs) -> R:
            at = time.perf_counter()
            result = call(*values, **named)
            spent[0] += time.perf_counter() - at
            return result

        return run

    for method in ("step", "prefill"):
        setattr(studio.engine, method, timed(getattr(studio.engine, method)))
    shares, walls = [], []
    for _ in range(job.rounds):
        spent[0] = 0.0
        walls.append(_alone(studio, settings))
        shares.append(spent[0] / walls[-1])
    profile = cProfile.Profile()
    profile.runcall(studio.perform, [settings])
    stats: Any = pstats.Stats(profile)  # its `stats` is documented, but in no stub
    top = sorted(((v[2], k) for k, v in stats.stats.items()), reverse=True)[:8]
    names = [f"{Path(file).name}:{function} {seconds:.3f} s (profiled)" for seconds, (file, _, function) in top]
    share = statistics.median(shares)
    return {"seconds": statistics.median(walls), "engine_share": share, "python_share": 1 - share, "most": names}


def playing(job: Job) -> Figures:
    """32 bars at 100 BPM, as `midivibe play` would need them: the first bar, and how long each was ready before it was due."""
    studio = Studio.open(job.folder)
    firsts, margins, wholes = [], [], []
    for seed in range(job.rounds):
        began = time.perf_counter()
        ready = []
        for bar in studio.stream(vibe="density=0.8", bars=32, seed=seed, tempo=PLAYING, time_signature="4/4"):
            ready.append((time.perf_counter() - began, bar.start))
        first = ready[0][0]
        firsts.append(first)
        wholes.append(ready[-1][0])
        margins += [first + start - at for at, start in ready[1:]]  # where the music begins with the first bar
    return {
        "pieces": job.rounds, "first_bar_s": statistics.median(firsts), "slowest_first_bar_s": max(firsts),
        "least_margin_s": min(margins), "seconds_for_32_bars": statistics.median(wholes), "music_s": 32 * 4 * 60 / PLAYING,
    }  # fmt: skip


def cold_start(job: Job) -> Figures:
    """A new process in an empty folder: 16 bars with audio from a picture; --help; peak memory."""
    image = [str(Path(job.image).resolve())] if job.image else ["--text", "a calm sea at night"]
    walls: list[float] = []
    helps: list[float] = []
    peak = 0.0
    for seed in range(job.rounds):
        with tempfile.TemporaryDirectory() as place:
            command = [sys.executable, "-m", "midivibe", "compose", *image, "--bars", "16", "--seed", str(seed)]
            command += ["--checkpoint", str(job.folder.resolve())]
            for what, seconds in ((command, walls), ([sys.executable, "-m", "midivibe", "--help"], helps)):
                began = time.perf_counter()
                status = subprocess.run(what, cwd=place, stdout=subprocess.DEVNULL).returncode
                seconds.append(time.perf_counter() - began)
                if status:
                    raise InputError(f"{' '.join(what)} ended with status {status}")
            lean = subprocess.run([sys.executable, "-c", WEIGH, *command], cwd=place, stdout=subprocess.PIPE, check=True)
            peak = max(peak, float(lean.stdout) / 1024)
    return {
        "compose_s": walls,
        "compose_median_s": statistics.median(walls),
        "help_s": statistics.median(helps),
        "peak_mb": peak,
    }


def rendering(job: Job) -> Figures:
    """Audio of 32 bars against the time it takes to hear it."""
    from midivibe.output.audio import RATE, render

    piece = Studio.open(job.folder).compose(vibe="density=0.6", bars=32, seed=0, tempo=120, time_signature="4/4")
    seconds, length = [], 0.0
    for _ in range(job.rounds):
        began = time.perf_counter()
        length = len(render(piece.score)) / RATE
        seconds.append(time.perf_counter() - began)
    return {"times_real_time": length / statistics.median(seconds), "audio_s": length}


def preparing(job: Job) -> Figures:
    """Files a second of `midivibe prepare`, on 80 pieces of 16 bars that were just composed."""
    from midivibe.training.corpus import prepare
    from midivibe.training.sources import sources_of

    studio = Studio.open(job.folder)
    asked = studio.settle(SIXTEEN)
    with tempfile.TemporaryDirectory() as place:
        for at in range(0, 80, 16):
            for i, piece in enumerate(studio.perform([replace(asked, seed=at + i) for i in range(16)])):
                piece.save(Path(place) / f"{at + i}.mid")
        sources, spent = sources_of(place), []
        for turn in range(job.rounds):
            began = time.perf_counter()
            prepare(sources, Path(place) / f"corpus-{turn}", os.cpu_count() or 1)
            spent.append(time.perf_counter() - began)
        return {"files_per_s": len(sources) / statistics.median(spent), "files": len(sources)}


def training(job: Job) -> Figures:
    """Tokens a second in training, beside a minGPT loop and transformers' Trainer; needs a corpus."""
    if job.corpus is None:
        return {"left_out": "no corpus was given"}
    from midivibe.benchmark.training import training_speeds

    return {"tokens_per_s": training_speeds(job.corpus, job.config)}


MEASURES: dict[str, Callable[[Job], Figures]] = {
    "decoding": decoding, "composing": composing, "python_share": python_share, "playing": playing, "cold_start": cold_start,
    "rendering": rendering, "preparing": preparing, "training": training,
}  # fmt: skip

__all__ = ["MEASURES", "benchmark"]
