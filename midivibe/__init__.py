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
    from midivibe.studio import Piece, Settings, Studio
    from midivibe.vibe.axes import Vibe

_HOME = {"Studio": "midivibe.studio", "Piece": "midivibe.studio", "Settings": "midivibe.studio", "Vibe": "midivibe.vibe.axes"}

__all__ = ["Piece", "Settings", "Studio", "Vibe", "__version__", "compose"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'midivibe' has no attribute {name!r}")


def compose(*args: Any, checkpoint: str | None = None, **kwargs: Any) -> Piece:
    """Compose with the checkpoint that ships; see `Studio.compose` for the arguments. Loads the model on every call."""
    from midivibe.studio import Studio

    return Studio.open(checkpoint).compose(*args, **kwargs)
