"""Two engines, one music: ONNX Runtime against torch."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer, main_thread

import numpy as np
import pytest
import torch

from midivibe.cli import main
from midivibe.config import replace
from midivibe.errors import CheckpointError, InputError
from midivibe.model import checkpoint
from midivibe.model.engine import onnx as onnx_engine
from midivibe.model.engine.onnx import OnnxEngine
from midivibe.model.engine.torch import TorchEngine
from midivibe.model.folder import default_checkpoint
from midivibe.model.latent import VibeModel
from midivibe.requests import Compose
from midivibe.studio import Studio
from midivibe.threads import side_by_side
from midivibe.tokens.vocabulary import COORDINATES
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory, checkpoint_folder: Path) -> Path:
    """The tiny checkpoint with its graphs."""
    folder = tmp_path_factory.mktemp("onnx") / "debug"
    shutil.copytree(checkpoint_folder, folder)
    assert main(["export-onnx", str(folder)]) == 0
    return folder


def play(engine, guidance: float) -> list[np.ndarray]:
    """Logits of three rows of different length, one of which ends early, steered on the way."""
    rng = np.random.default_rng(0)
    vibe = rng.uniform(-1, 1, (3, 14)).astype(np.float32)
    z = engine.prior(vibe, rng.standard_normal((3, engine.latents)).astype(np.float32), 0.7)
    ids = rng.integers(1, 600, (3, 120))
    places = rng.integers(0, 9, (3, 120, COORDINATES))
    engine.begin(z, vibe, guidance)
    found = [z, *engine.posterior(ids[0, :50].tolist(), places[0, :50])]
    at = [5, 40, 17]
    found += [engine.prefill(row, ids[row, :n].tolist(), places[row, :n]) for row, n in enumerate(at)]
    for step in range(60):
        if step == 30:
            engine.steer(2, z[:1], vibe[1:2])
        running = [True, step < 20, True]
        logits = engine.step([int(ids[r, n]) for r, n in enumerate(at)], places[np.arange(3), at], running)
        found.append(logits[running])
        at = [n + move for n, move in zip(at, running, strict=True)]
    return found


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_the_fp32_graphs_are_the_model(folder: Path, model: VibeModel, guidance: float) -> None:
    for a, b in zip(play(OnnxEngine(folder, 32), guidance), play(TorchEngine(model), guidance), strict=True):
        assert np.abs(a - b).max() < 1e-4


@pytest.mark.parametrize("heads", [1, 2])
def test_shared_keys_and_values_are_the_same_in_both_engines(
    heads: int, model: VibeModel, checkpoint_folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    shape = replace(model.config, n_embd=64, n_head=4, n_kv_head=heads)
    checkpoint.save(tmp_path / "m", VibeModel(shape), checkpoint_folder / "tokenizer.json")
    assert main(["export-onnx", str(tmp_path / "m")]) == 0
    engine = TorchEngine(checkpoint.load(tmp_path / "m")[0])
    exact = play(engine, 1.0)
    for a, b, eighth in zip(
        play(OnnxEngine(tmp_path / "m", 32), 1.0), exact, play(OnnxEngine(tmp_path / "m", 8), 1.0), strict=True
    ):
        assert np.abs(a - b).max() < 1e-4
        assert np.abs(eighth - b).max() < 0.05


def test_the_shipped_graph_is_the_shipped_model_over_512_steps() -> None:
    model, vocabulary = checkpoint.load(default_checkpoint())
    rng = np.random.default_rng(0)
    ids, places = rng.integers(1, len(vocabulary), 520), rng.integers(0, 9, (520, COORDINATES))
    engines = [OnnxEngine(default_checkpoint(), 32), TorchEngine(model)]
    vibe = rng.uniform(-1, 1, (1, 14)).astype(np.float32)
    noise = rng.standard_normal((1, engines[0].latents)).astype(np.float32)
    for engine in engines:
        engine.begin(engine.prior(vibe, noise), vibe)
    a, b = (e.prefill(0, ids[:8].tolist(), places[:8]) for e in engines)
    for at in range(8, 520):
        assert np.abs(a - b).max() < 1e-4, at
        a, b = (e.step([int(ids[at])], places[at : at + 1])[0] for e in engines)


def test_eight_bits_come_close(folder: Path, model: VibeModel) -> None:
    ours, exact = play(OnnxEngine(folder, 8), 1.0)[3:], play(TorchEngine(model), 1.0)[3:]

    def probabilities(logits: np.ndarray) -> np.ndarray:
        return torch.softmax(torch.from_numpy(np.asarray(logits)), -1).numpy()

    distance = [np.abs(probabilities(a) - probabilities(b)).sum(-1).max() / 2 for a, b in zip(ours, exact, strict=True)]
    assert max(distance) < 0.05


def test_one_seed_gives_the_same_ids_on_both(folder: Path) -> None:
    torch_studio, onnx_studio = Studio.open(folder, "torch"), Studio.open(folder, "onnx-fp32")
    for seed in range(20):
        a, b = (s.compose(vibe="valence=0.3", bars=2, seed=seed) for s in (torch_studio, onnx_studio))
        assert [list(t.notes) for t in a.score.tracks] == [list(t.notes) for t in b.score.tracks]


def test_a_batch_on_threads_gives_what_each_piece_gives_alone(folder: Path, monkeypatch) -> None:
    studio = Studio.open(folder)
    monkeypatch.setattr(studio.engine, "_lanes", 3)
    asked = [studio.settle(Compose(vibe="density=0.8", bars=bars, seed=bars)) for bars in (1, 4, 2, 3)]
    together = studio.perform(asked)
    for settings, piece in zip(asked, together, strict=True):
        (alone,) = studio.perform([settings])
        assert [list(t.notes) for t in alone.score.tracks] == [list(t.notes) for t in piece.score.tracks]


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_stream_is_not_disturbed_by_what_is_composed_meanwhile(folder: Path, engine: str) -> None:
    studio = Studio.open(folder, engine)
    one, two = (studio.stream(vibe="density=0.8", bars=4, seed=seed) for seed in (1, 2))
    for _ in zip(one, two, strict=True):
        studio.compose(vibe="density=0.2", bars=1, seed=3)
    for seed, stream in ((1, one), (2, two)):
        alone = studio.compose(vibe="density=0.8", bars=4, seed=seed)
        assert [list(t.notes) for t in stream.piece.score.tracks] == [list(t.notes) for t in alone.score.tracks]


def test_an_error_in_one_thread_stops_all() -> None:
    def endless() -> Iterator[None]:
        while True:
            yield

    def broken() -> Iterator[None]:
        yield
        raise ArithmeticError

    for loops in ((endless(), broken()), (broken(), endless(), endless())):
        with pytest.raises(ArithmeticError):
            side_by_side(loops)


def test_an_interrupt_stops_all_even_while_the_others_are_waited_for() -> None:
    turns = [0]

    def endless() -> Iterator[None]:
        while True:
            turns[0] += 1
            time.sleep(0.001)
            yield

    Timer(0.2, signal.pthread_kill, (main_thread().ident, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        side_by_side([iter(()), endless()])
    stopped = turns[0]
    time.sleep(0.05)
    assert turns[0] == stopped > 0


def test_the_engine_is_chosen_and_named(folder: Path, checkpoint_folder: Path) -> None:
    assert isinstance(Studio.open(folder).engine, OnnxEngine)
    assert Studio.open(folder).name.endswith(" onnx")
    without = Studio.open(checkpoint_folder)  # no graphs there
    assert isinstance(without.engine, TorchEngine)
    assert "midivibe export-onnx" in without.note
    assert Studio.open(folder).note == ""
    with pytest.raises(CheckpointError, match="make them with midivibe export-onnx"):
        Studio.open(checkpoint_folder, "onnx")
    assert isinstance(Studio.open(folder, device="cpu").engine, OnnxEngine)
    with pytest.raises(InputError, match="no device 'nowhere'"):  # and not ONNX Runtime, which would not use it
        Studio.open(folder, device="nowhere")
    with pytest.raises(InputError, match="unknown engine 'tpu'"):
        Studio.open(folder, "tpu")


def test_wrong_and_damaged_graphs_are_refused(folder: Path, tmp_path: Path, monkeypatch) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    weights = other / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="made of other weights"):
        Studio.open(other)
    cut = Path(shutil.copytree(folder, tmp_path / "cut"))
    (cut / "guide.onnx").write_bytes((cut / "guide.onnx").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged graph"):
        Studio.open(cut)
    longer = Path(shutil.copytree(folder, tmp_path / "longer"))
    tokenizer = json.loads((longer / "tokenizer.json").read_text())
    tokenizer["vocabulary"].append("Program_-2")
    (longer / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match="tokens, its tokenizer"):
        Studio.open(longer)
    monkeypatch.setattr(onnx_engine, "OLDEST", (99, 0))
    assert isinstance(Studio.open(folder).engine, TorchEngine)
    with pytest.raises(CheckpointError, match="missing or older than 99"):
        Studio.open(folder, "onnx")


PICTURE = ROOT / "examples" / "images" / "coffee.jpg"
COMPOSED = ["compose", "--text", "calm", "--bars", "1", "--seed", "1", "--no-audio"]


@pytest.mark.parametrize(
    "command",
    [
        [*COMPOSED, "-o", "a.mid"],
        ["compose", str(PICTURE), "--bars", "1", "--no-audio", "-o", "b.mid"],
        ["inpaint", "x.mid", "--bars", "1", "-o", "y.mid"],
        ["render", "x.mid", "-o", "x.wav"],
        ["vibe", "x.mid"],
        ["vibe", str(PICTURE)],
    ],
    ids=lambda command: f"{command[0]} {Path(command[1]).suffix}",
)
def test_commands_on_onnx_import_no_torch(folder: Path, tmp_path: Path, monkeypatch, command: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    model = ["--checkpoint", str(folder)]
    assert main([*COMPOSED, "-o", "x.mid", *model]) == 0
    command = command + (model if command[0] in ("compose", "inpaint") else [])
    code = (
        f"import sys; from midivibe.cli import main; assert main({command!r}) == 0; "
        "print([m for m in ('torch', 'pyro', 'transformers', 'music21', 'miditok', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr


def test_composing_on_onnx_imports_no_torch(folder: Path) -> None:
    code = (
        "import sys; from midivibe.studio import Studio; "
        f"studio = Studio.open({str(folder)!r}); p = studio.compose(text='calm', bars=1, seed=1); p.save('x.mid'); "
        "studio.inpaint('x.mid', '1', seed=1); "
        "print([m for m in ('torch', 'pyro', 'transformers', 'matplotlib', 'music21', 'miditok', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder.parent)
    assert done.stdout.strip() == "[]", done.stderr
