"""midivibe: a picture, a feeling or half a song → music you can edit.

    import midivibe
    piece = midivibe.compose("harbour.jpg", bars=16, seed=7)
    piece.save("harbour.mid"); piece.render("harbour.wav"); piece.plot("harbour.png")

Names load on first use, so that importing midivibe costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from midivibe.version import VERSION as __version__

if TYPE_CHECKING:
    from midivibe.editing import Edit
    from midivibe.studio import Piece, Settings, Studio
    from midivibe.vibe.axes import Vibe

_HOME = {
    "Edit": "midivibe.editing", "Piece": "midivibe.studio", "Settings": "midivibe.studio", "Studio": "midivibe.studio",
    "Vibe": "midivibe.vibe.axes",
}  # fmt: skip

__all__ = ["Edit", "Piece", "Settings", "Studio", "Vibe", "__version__", "compose", "inpaint"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'midivibe' has no attribute {name!r}")


def inpaint(*args: Any, checkpoint: str | None = None, **kwargs: Any) -> Edit:
    """Inpaint with the checkpoint that ships; see `Studio.inpaint` for the arguments. Loads the model on every call."""
    from midivibe.studio import Studio

    return Studio.open(checkpoint).inpaint(*args, **kwargs)


def compose(*args: Any, checkpoint: str | None = None, **kwargs: Any) -> Piece:
    """Compose with the checkpoint that ships; see `Studio.compose` for the arguments. Loads the model on every call."""
    from midivibe.studio import Studio

    return Studio.open(checkpoint).compose(*args, **kwargs)
