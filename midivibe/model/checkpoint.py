"""A folder ↔ a model: config.json, tokenizer.json, safetensors (sharded over 16 MB), MODEL_CARD.md. Nothing is unpickled."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from midivibe.config import ModelConfig
from midivibe.errors import CheckpointError, MidivibeError
from midivibe.model.folder import locate
from midivibe.model.latent import VibeModel
from midivibe.tokens.vocabulary import (
    Vocabulary,
)

SHARD_BYTES = 15_000_000
FORMAT = 1


def save(
    folder: str | Path, model: VibeModel, tokenizer: str | Path, half: bool = False, facts: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint folder. It appears whole or not at all; a MODEL_CARD.md already there stays.

    `half` stores float16; `facts` (steps, tokens seen, figures) go into config.json.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        if half:
            tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
        shards: list[dict[str, torch.Tensor]] = [{}]
        size = 0
        for name, value in tensors.items():
            bytes_ = value.numel() * value.element_size()
            if size + bytes_ > SHARD_BYTES and shards[-1]:
                shards.append({})
                size = 0
            shards[-1][name] = value
            size += bytes_
        for index, shard in enumerate(shards):
            name = "model.safetensors" if len(shards) == 1 else f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors"
            save_file(shard, staging / name)
        config = {"format": FORMAT, "model": model.config.to_dict(), "facts": facts or {}}
        (staging / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        shutil.copyfile(tokenizer, staging / "tokenizer.json")
        if (folder / "MODEL_CARD.md").exists():
            shutil.copyfile(folder / "MODEL_CARD.md", staging / "MODEL_CARD.md")
        staging.chmod(0o755)
        for file in staging.iterdir():
            file.chmod(0o644)
        if folder.exists():
            old = folder.with_name(f".{folder.name}-old-{os.getpid()}")
            folder.rename(old)
            staging.rename(folder)
            shutil.rmtree(old)
        else:
            staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def load(folder: str | Path) -> tuple[VibeModel, Vocabulary]:
    """Read a checkpoint or run folder: the model in float32 and evaluation mode, and its vocabulary.

    Raises:
        CheckpointError: missing or damaged files, weights of another shape, a vocabulary of another size.
    """
    folder = locate(folder)
    if not folder.is_dir():
        raise CheckpointError(f"no checkpoint folder at {folder}")
    try:
        config = json.loads((folder / "config.json").read_text())
        model_config = ModelConfig.stored(config["model"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, MidivibeError) as error:
        raise CheckpointError(f"damaged checkpoint {folder}: config.json: {error}") from error
    if config.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {folder} has format {config.get('format')}, this version reads {FORMAT}")
    vocabulary = Vocabulary.load(folder / "tokenizer.json")
    if len(vocabulary) != model_config.vocab_size:
        raise CheckpointError(
            f"checkpoint {folder} is for {model_config.vocab_size} tokens, its tokenizer.json has {len(vocabulary)}"
        )
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"no .safetensors weights in {folder}")
    tensors: dict[str, torch.Tensor] = {}
    try:
        for file in files:
            tensors.update(load_file(file))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"damaged checkpoint {folder}: {error}") from error
    try:
        model = VibeModel(model_config)
        model.load_state_dict(tensors)
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f"damaged checkpoint {folder}: {str(error).splitlines()[0]}") from error
    return model.float().eval(), vocabulary
