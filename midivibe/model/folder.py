"""What a checkpoint folder is, for those who do not load its weights. Imports nothing heavy."""

from __future__ import annotations

import hashlib
from pathlib import Path

from midivibe.errors import CheckpointError


def locate(folder: str | Path) -> Path:
    """A checkpoint folder itself, or the best (else the latest) checkpoint of a run folder."""
    folder = Path(folder)
    for pointer in ("best", "latest"):
        if (folder / pointer).is_file():
            return folder / (folder / pointer).read_text(errors="replace").strip() / "checkpoint"
    return folder


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights, by which graphs know what they were made of and pieces what wrote them."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def default_checkpoint(name: str = "small") -> Path:
    """The folder of the checkpoint that ships; raises CheckpointError."""
    here = Path(__file__).parents[1]
    for root in (here / "checkpoints", here.parent / "checkpoints"):
        if (root / name / "config.json").is_file():
            return root / name
    raise CheckpointError("no checkpoint in this installation; name one with --checkpoint, or train one")


__all__ = ["default_checkpoint", "locate", "weights_digest"]
