"""The laws of the house: who may import whom, one owner a library, nothing heavy before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "midivibe"

# Each room and the rooms that it may use (itself always, errors, config, files and version always).
MAY_USE = {
    "requests": {"vibe.axes", "plan.plan"},
    "vibe.axes": set(),
    "vibe.content": set(),
    "vibe.image": {"vibe.axes", "vibe.content"},
    "vibe.clip": {"vibe.axes", "vibe.image"},
    "vibe.words": {"vibe.axes", "midi", "plan.plan", "plan.chords"},
    "vibe.timbre": set(),
    "vibe.music": {"vibe.axes", "vibe.timbre", "midi"},
    "midi": {"midi"},
    "tokens": {"tokens", "midi"},
    "plan": {"plan", "vibe.axes", "midi", "tokens"},
    "model": {"model", "tokens"},
    "writing": {"writing", "plan", "vibe", "midi", "tokens", "model", "piece", "edits"},
    "piece": {"vibe", "midi", "tokens", "plan", "output", "requests"},
    "edits": {"vibe", "midi", "plan", "output", "requests"},
    "settling": {"requests", "piece", "plan", "vibe", "midi", "tokens"},
    "studio": {"settling", "piece", "edits", "requests", "plan", "midi", "tokens", "vibe", "model", "writing"},
    "training": {"training", "midi", "tokens", "vibe", "plan", "model", "output"},
    "evaluation": {
        "evaluation",
        "training",
        "midi",
        "tokens",
        "vibe",
        "model",
        "writing",
        "output",
        "piece",
        "edits",
        "studio",
        "requests",
    },
    "output": {"output", "midi"},
    "output.live": {"output", "midi", "piece"},
    "benchmark": {"benchmark", "training", "tokens", "model", "writing", "output", "piece", "studio", "requests"},
    "doctor": {"studio", "model", "output"},
    "cli": {
        "cli",
        "requests",
        "settling",
        "plan",
        "studio",
        "piece",
        "edits",
        "vibe",
        "midi",
        "model",
        "output",
        "training",
        "evaluation",
        "benchmark",
        "doctor",
    },
    "__init__": {"studio", "piece", "edits", "requests", "plan.plan", "vibe.axes"},
    "__main__": {"cli"},
}
FREE = {"errors", "config", "files", "threads", "version"}
OWNERS = {
    "miditok": {"tokens.miditok"},
    "mido": {"midi.score", "output.live"},
    "music21": {"midi.theory"},
    "pyro": {"model.latent", "training.trainer"},
    "transformers": {"vibe.clip", "benchmark.peers", "benchmark.training"},
    "fluidsynth": {"output.audio"},
    "tinysoundfont": {"output.audio"},
    "matplotlib": {
        "output.pianoroll",
        "output.curves",
        "output.page",
        "training.statistics",
        "evaluation.page",
        "benchmark.plot",
    },
    "PIL": {"vibe.image"},
    "pychord": {"plan.chords"},
    "scipy": {"evaluation.distances"},
    "sklearn": {"evaluation.realism"},
    "onnx": {"model.export"},
    "onnxruntime": {"model.engine.onnx", "vibe.content"},
}


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if name.endswith(".__init__"):
            continue
        found[name] = ast.parse(path.read_text())
    return found


def imports(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module.startswith("midivibe") else set()
    return names


def room_of(name: str) -> str:
    return name if name in MAY_USE else name.split(".")[0]


@pytest.mark.parametrize("name", sorted(modules()))
def test_no_arrow_points_back(name: str) -> None:
    if name in FREE:
        assert not any(i.startswith("midivibe") and i.split(".")[1] not in FREE for i in imports(modules()[name]) if "." in i)
        return
    allowed = MAY_USE[room_of(name)] | FREE | {name}
    known = set(modules())
    for used in imports(modules()[name]):
        if not used.startswith("midivibe."):
            continue
        inner = used.removeprefix("midivibe.")
        while inner and inner not in known:
            inner = inner.rpartition(".")[0]
        if inner:
            assert inner in allowed or inner.split(".")[0] in allowed, f"{name} may not import {inner}"


@pytest.mark.parametrize("name", sorted(modules()))
def test_each_library_has_its_owner(name: str) -> None:
    for used in imports(modules()[name]):
        top = used.split(".")[0]
        if top in OWNERS:
            assert name in OWNERS[top], f"{name} imports {top}, which belongs to {OWNERS[top]}"


def test_the_command_line_starts_light() -> None:
    code = (
        "import sys, midivibe, midivibe.cli; midivibe.cli.build_parser(); "
        "print([m for m in ('torch', 'numpy', 'symusic', 'miditok', 'transformers', 'matplotlib', 'music21', 'rich', 'PIL') "
        "if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_composing_imports_no_tokenizer_plot_or_notation_library(checkpoint_folder: Path) -> None:
    code = (
        "import sys; from midivibe.studio import Studio; "
        f"Studio.open({str(checkpoint_folder)!r}).compose(text='calm', bars=1, seed=1); "
        "print([m for m in ('miditok', 'transformers', 'matplotlib', 'music21', 'pretty_midi') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("judge", ["splice_check.py", "daw_check.py"])
def test_the_judges_are_at_hand(judge: str) -> None:
    """Tests of files ask them too where they are there; where they are not, this says so."""
    path = ROOT.parent / "shared" / "checks" / judge
    if not path.exists():
        pytest.skip(f"no judge at {path}: files are checked by the tests' own laws alone")
    ast.parse(path.read_text())


MOST_LINES, LONGEST_FUNCTION, LONGEST_CLASS = 400, 60, 200
LONGER = {"studio.Studio"}
"""Classes where splitting would hurt: `Studio` spells out the keywords of every method."""


@pytest.mark.parametrize("name", sorted(modules()))
def test_nothing_grows_too_large(name: str) -> None:
    path = PACKAGE / Path(*name.split(".")).with_suffix(".py")
    assert len(path.read_text().splitlines()) <= MOST_LINES
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and f"{name}.{node.name}" not in LONGER:
            most = LONGEST_CLASS if isinstance(node, ast.ClassDef) else LONGEST_FUNCTION
            assert node.end_lineno - node.lineno < most, f"{name}.{node.name} has over {most} lines"
