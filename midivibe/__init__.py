"""midivibe: a picture, a feeling or half a song → music you can edit.

    import midivibe
    piece = midivibe.compose("harbour.jpg", bars=16, seed=7)
    piece.save("harbour.mid"); piece.render("harbour.wav"); piece.plot("harbour.png")

Names load on first use, so that importing midivibe costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midivibe.version import VERSION as __version__

if TYPE_CHECKING:
    from midivibe.edits import Edit
    from midivibe.piece import Piece, Settings
    from midivibe.plan.plan import Plan
    from midivibe.requests import Accompany, Compose, Continue, Inpaint, Vary
    from midivibe.studio import Studio
    from midivibe.vibe.axes import Vibe

_HOME = {
    "Accompany": "requests", "Compose": "requests", "Continue": "requests", "Edit": "edits", "Inpaint": "requests",
    "Piece": "piece", "Plan": "plan.plan", "Settings": "piece", "Studio": "studio", "Vary": "requests", "Vibe": "vibe.axes",
}  # fmt: skip

__all__ = [
    "Accompany", "Compose", "Continue", "Edit", "Inpaint", "Piece", "Plan", "Settings", "Studio", "Vary", "Vibe", "__version__",
    "compose", "inpaint",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f"midivibe.{_HOME[name]}"), name)
    raise AttributeError(f"module 'midivibe' has no attribute {name!r}")


def compose(
    image: str | Path | Sequence[str | Path] | None = None,
    text: str | None = None,
    vibe: Vibe | str | None = None,
    *,
    bars: int | None = None,
    form: str | None = None,
    chords: str | None = None,
    plan: Plan | str | Path | None = None,
    plan_from: str | Path | None = None,
    seed: int | None = None,
    tempo: float | None = None,
    key: str | None = None,
    time_signature: str | None = None,
    instruments: str | Sequence[int] | None = None,
    style: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    guidance: float | None = None,
    recall: float | None = None,
    encoder: str = "pixels",
    checkpoint: str | Path | None = None,
) -> Piece:
    """Compose with the checkpoint that ships, or another; see `Studio.compose`. Loads the model on every call."""
    from midivibe.studio import Studio

    return Studio.open(checkpoint).compose(
        image, text, vibe, bars=bars, form=form, chords=chords, plan=plan, plan_from=plan_from, seed=seed, tempo=tempo, key=key,
        time_signature=time_signature, instruments=instruments, style=style, temperature=temperature, top_p=top_p,
        guidance=guidance, recall=recall, encoder=encoder,
    )  # fmt: skip


def inpaint(
    song: str | Path,
    bars: str | Sequence[int] | None = None,
    tracks: str | Sequence[str | int] | None = None,
    *,
    keep_rhythm: bool = False,
    image: str | Path | None = None,
    text: str | None = None,
    vibe: Vibe | str | None = None,
    density: float | None = None,
    register: str | None = None,
    chords: str | None = None,
    seed: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    guidance: float | None = None,
    recall: float | None = None,
    encoder: str = "pixels",
    checkpoint: str | Path | None = None,
) -> Edit:
    """Inpaint with the checkpoint that ships, or another; see `Studio.inpaint`. Loads the model on every call."""
    from midivibe.studio import Studio

    return Studio.open(checkpoint).inpaint(
        song, bars, tracks, keep_rhythm=keep_rhythm, image=image, text=text, vibe=vibe, density=density, register=register,
        chords=chords, seed=seed, temperature=temperature, top_p=top_p, guidance=guidance, recall=recall, encoder=encoder,
    )  # fmt: skip
