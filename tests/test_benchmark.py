"""That every measure runs and its figures hang together; how fast they are is no law, and is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from midivibe.benchmark import measure
from midivibe.benchmark.measure import benchmark
from midivibe.cli import main
from midivibe.errors import InputError


def test_figures_of_this_machine(checkpoint_folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(measure, "TOKENS", 12)
    monkeypatch.setattr(measure, "LENGTHS", (2, 4))
    quick = ("decoding", "composing", "python_share", "playing")
    found = benchmark(checkpoint_folder, tmp_path / "out", rounds=1, only=quick)
    assert set(quick) < set(found)
    speeds = found["decoding"]["tokens_per_s"]
    assert {"midivibe, torch fp32", "transformers generate, GPT-2", "uncached loop (minGPT)"} <= set(speeds)
    assert all(s > 0 for s in speeds.values())
    assert found["machine"]["cores"] >= 1
    assert 0 < found["python_share"]["engine_share"] < 1
    assert found["composing"]["bars"]["4"]["notes"] > 0
    assert found["playing"]["music_s"] == pytest.approx(76.8)
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text()) == found
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 5000


def test_the_command_line(checkpoint_folder: Path, tmp_path: Path, capsys) -> None:
    model = ["--checkpoint", str(checkpoint_folder), "-o", str(tmp_path), "--rounds", "1"]
    assert main(["benchmark", *model, "--only", "rendering"]) == 0
    assert "times real time" in capsys.readouterr().out
    assert main(["benchmark", *model, "--only", "speed"]) == 2
    assert "unknown measure 'speed'" in capsys.readouterr().err
    assert main(["benchmark", *model, "--image", "nowhere.png"]) == 2
    assert main(["benchmark", *model, "--image", __file__]) == 2
    assert "no picture at nowhere.png" in capsys.readouterr().err
    with pytest.raises(InputError, match="rounds is 0"):
        benchmark(checkpoint_folder, tmp_path, rounds=0)
