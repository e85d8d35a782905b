"""A tiny real model and a few real scores; no network, no downloads, nothing from outside the repository."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from midivibe.config import PRESETS, replace
from midivibe.midi.notes import DRUMS, Notes
from midivibe.model import checkpoint
from midivibe.model.latent import VibeModel
from midivibe.studio import Studio
from midivibe.tokens.miditok import BarTrackREMI
from midivibe.tokens.vocabulary import (
    GRID_TICKS,
    Vocabulary,
)

torch.set_num_threads(1)  # quicker for tiny models, and kind to whatever else runs
ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "examples" / "images"


@pytest.fixture(scope="session")
def tokenizer() -> BarTrackREMI:
    return BarTrackREMI()


@pytest.fixture(scope="session")
def v(tokenizer: BarTrackREMI) -> Vocabulary:
    return tokenizer.layout_vocabulary


@pytest.fixture(scope="session")
def model(v: Vocabulary) -> VibeModel:
    torch.manual_seed(0)
    model = VibeModel(replace(PRESETS["debug"], vocab_size=len(v))).eval()
    with torch.no_grad():  # untrained, it would fill each bar to the brim; these make its pieces short
        for name in ("Bar_None", "EOS_None"):
            model.transformer.bias[v[name]] = 5.0
    return model


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory, model: VibeModel, tokenizer: BarTrackREMI) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "debug"
    tokenizer.save_tokenizer(folder.parent / "tokenizer.json")
    checkpoint.save(folder, model, folder.parent / "tokenizer.json")
    return folder


@pytest.fixture(scope="session")
def studio(checkpoint_folder: Path) -> Studio:
    return Studio.open(checkpoint_folder)


def random_notes(seed: int, v: Vocabulary, bars: int = 6, programs: tuple[int, ...] = (0, 33, 48, DRUMS)) -> Notes:
    """Notes on the grid, with meter and tempo changes, chords, triplets and drums."""
    rng = np.random.default_rng(seed)
    meters = [v.meters[i] for i in rng.choice(len(v.meters), bars)] if seed % 2 else [(4, 4)] * bars
    lengths = [n * 4 * GRID_TICKS // d for n, d in meters]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tempos = rng.choice(v.tempos, bars) if seed % 3 else np.full(bars, v.tempos[10])
    rows = set()
    for _ in range(int(rng.integers(20, 120))):
        bar = int(rng.integers(bars))
        rows.add((int(starts[bar] + rng.integers(lengths[bar])), int(rng.choice(programs)), int(rng.integers(128))))
    onset, program, pitch = np.array(sorted(rows)).T
    duration = np.where(program == DRUMS, 3, rng.choice(v.durations, len(onset)))
    velocity = rng.choice(v.velocities, len(onset))
    order = np.lexsort((pitch, program, onset))
    columns = (a[order] for a in (onset, duration, pitch, velocity, program))
    return Notes(*columns, GRID_TICKS, starts, tempos, meters)


def same(a: Notes, b: Notes) -> bool:
    return (
        all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("onset", "duration", "pitch", "velocity", "program"))
        and a.bar_meter == b.bar_meter
        and np.array_equal(a.bar_start, b.bar_start)
        and np.array_equal(a.bar_tempo, b.bar_tempo)
    )


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())
