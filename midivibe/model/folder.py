"""What a checkpoint folder is and where it lies, for those who do not load its weights. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from midivibe.errors import CheckpointError

ENGINES = ("auto", "onnx", "onnx-fp32", "torch")
DEFAULT = "small"
POINTERS = ("best", "latest")
"""Files of a run folder, each with the name of the state that is meant."""


def locate(checkpoint: str | Path | None = None) -> Path:
    """The checkpoint folder that a name or path means: of a run folder its best checkpoint, else its latest.

    `checkpoint` is the name of a checkpoint that ships, such as "small", a checkpoint folder, or a run folder; None is the
    checkpoint that ships as the default.

    Raises:
        CheckpointError: there is none of that name or at that path.
    """
    folder = named(checkpoint)
    for pointer in POINTERS:
        if (folder / pointer).is_file():
            return folder / (folder / pointer).read_text(errors="replace").strip() / "checkpoint"
    return folder


def named(checkpoint: str | Path | None = None) -> Path:
    """The folder that a name or path means; a run folder stays itself. See `locate`."""
    if checkpoint is None:
        return default_checkpoint()
    folder, known = Path(checkpoint), shipped()
    if any((folder / name).is_file() for name in ("config.json", *POINTERS)):
        return folder
    if str(checkpoint) in known:  # even where a folder that is called so holds something else
        return known[str(checkpoint)]
    names = f"the checkpoints that ship are: {', '.join(known) or 'none'}"
    if folder.is_dir():
        raise CheckpointError(f"no checkpoint in the folder {folder}: it has no config.json; {names}")
    raise CheckpointError(f"no checkpoint folder at {folder}; {names}")


def shipped() -> dict[str, Path]:
    """Name → folder of each checkpoint that comes with this installation."""
    here = Path(__file__).parents[1]
    roots = (here.parent / "checkpoints", here / "checkpoints")  # a source tree, an installed package
    return {file.parent.name: file.parent for root in roots for file in sorted(root.glob("*/config.json"))}


def default_checkpoint() -> Path:
    """The folder of the checkpoint that ships; raises CheckpointError."""
    if DEFAULT not in (known := shipped()):
        raise CheckpointError(f"this installation has no checkpoint {DEFAULT!r}; name a folder with --checkpoint, or train one")
    return known[DEFAULT]


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights, by which graphs know what they were made of and pieces what wrote them."""
    import hashlib

    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


__all__ = ["ENGINES", "default_checkpoint", "locate", "named", "shipped", "weights_digest"]
