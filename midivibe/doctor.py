"""Is this installation complete? Every check that fails says how to fix it."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """The result of one check; `mend` says how to fix what is not ok."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


def examine(checkpoint: str | None = None) -> list[Finding]:
    """Run every check; none of them raises."""
    return [
        _check("Python", _python, "install Python 3.11 or newer"),
        _check("torch", _torch, "pip install torch"),
        _check("synthesizer", _synthesizer, "apt install libfluidsynth3, or: pip install --no-deps tinysoundfont"),
        _check("soundfont", _soundfont, "pip install pretty_midi, or name an .sf2 in MIDIVIBE_SOUNDFONT"),
        _check("checkpoint", lambda: _checkpoint(checkpoint), "reinstall midivibe, or name a folder with --checkpoint"),
        _check("engine", lambda: _engine(checkpoint), "do what the line says; until then torch composes, several times slower"),
        _check("test piece", lambda: _piece(checkpoint), "fix the lines above first"),
    ]


def _check(name: str, look: Callable[[], str], mend: str) -> Finding:
    try:
        return Finding(name, True, look())
    except Exception as error:
        return Finding(name, False, str(error) or type(error).__name__, mend)


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _torch() -> str:
    import torch

    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def _synthesizer() -> str:
    from midivibe.output.audio import HOW_TO_GET_SOUND, synthesizer

    made = synthesizer()
    if made is None:
        raise RuntimeError(HOW_TO_GET_SOUND)
    return made[0] + ("" if made[0].startswith("FluidSynth") else ": renders audio, but midivibe play needs FluidSynth")


def _soundfont() -> str:
    from midivibe.output.audio import find_soundfont

    return str(find_soundfont())


def _checkpoint(folder: str | None) -> str:
    from midivibe.model.checkpoint import load
    from midivibe.model.folder import locate

    path = locate(folder)
    model, _ = load(path)
    return f"{path}, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} million parameters"


def _engine(folder: str | None) -> str:
    from midivibe.model.engine.onnx import runtime, why_not
    from midivibe.model.folder import locate

    if reason := why_not(locate(folder)):
        raise RuntimeError(reason)
    ort = runtime()
    assert ort is not None
    return f"ONNX Runtime {ort.__version__}"


def _piece(folder: str | None) -> str:
    from midivibe.studio import Studio

    began = time.perf_counter()
    piece = Studio.open(folder).compose(text="calm piano", bars=2, seed=1)
    with tempfile.TemporaryDirectory() as place:
        path = piece.save(Path(place) / "test.mid")
        size = path.stat().st_size
    return f"2 bars, {piece.score.note_num()} notes, {size} bytes of MIDI in {time.perf_counter() - began:.1f} s"
