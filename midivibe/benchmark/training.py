"""Training tokens a second: midivibe beside a plain minGPT-style loop and transformers' Trainer.

The same batches of ids, the same shape, AdamW everywhere; the peers take turns, medians of rounds. midivibe does more a
token than they do: coordinates, conditioning, guide, KL and bag.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from midivibe.benchmark.peers import Plain, gpt2
from midivibe.benchmark.turns import in_turns
from midivibe.config import ModelConfig, TrainConfig, replace
from midivibe.model.latent import Batch, VibeModel, objective
from midivibe.training.dataset import Corpus, batches, collate
from midivibe.training.optimizer import make_optimizer

Data = list[Batch]
"""The same batches for every peer."""


def training_speeds(folder: str | Path, shape: ModelConfig, steps: int = 6, rounds: int = 3) -> dict[str, float]:
    """Tokens (padding included) a second of every peer; transformers' Trainer only where accelerate is installed."""
    warnings.filterwarnings("ignore")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    corpus = Corpus(folder, "train")
    shape = replace(shape, vocab_size=len(corpus.vocabulary))
    config = TrainConfig(optimizer="adamw")
    groups = list(islice(batches(corpus, config, shape.block_size), steps))
    data = [collate(g, shape.block_size, latent=shape.n_latent) for g in groups]
    tokens = sum(b.loss.numel() for b in data)
    peers: dict[str, Callable[[], object]] = {
        "midivibe bf16": _midivibe(shape, config, data, torch.bfloat16),
        "midivibe fp32": _midivibe(shape, config, data, torch.float32),
        "minGPT loop bf16": _plain(shape, data, torch.bfloat16),
        "minGPT loop fp32": _plain(shape, data, torch.float32),
    }
    if shutil.which("c++"):
        peers["midivibe bf16, compiled"] = _midivibe(shape, config, data, torch.bfloat16, compiled=True)
    if find_spec("accelerate") is not None:
        peers |= {f"transformers Trainer {'bf16' if b else 'fp32'}": _trainer(shape, data, bf16=b) for b in (False, True)}
    return {name: tokens / statistics.median(s) for name, s in in_turns(peers, rounds).items()}


def _midivibe(
    shape: ModelConfig, config: TrainConfig, data: Data, kind: torch.dtype, compiled: bool = False
) -> Callable[[], None]:
    """Every batch once, as `midivibe train` does it."""
    model = VibeModel(shape)
    optimizer = make_optimizer(model, config)
    if compiled:
        for stack in (model.transformer.blocks, model.encoder.blocks):
            for block in stack:
                block.compile()

    def run() -> None:
        for batch in data:
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
                terms = model.terms(batch, 0.1)
            objective(terms, 0.5, config.free_bits, config.bag_weight).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


def _plain(shape: ModelConfig, data: Data, kind: torch.dtype) -> Callable[[], None]:
    """Every batch once in a plain loop, as minGPT has it."""
    model = Plain(shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def run() -> None:
        for batch in data:
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
                loss = model.loss(batch.ids)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


def _trainer(shape: ModelConfig, data: Data, bf16: bool) -> Callable[[], float]:
    """Every batch once in transformers' Trainer; it times itself."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    peer = gpt2(shape)

    class Clock(TrainerCallback):
        """From the first step to the last: making a Trainer takes a second of its own."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == 0:
                self.began = time.perf_counter()

        def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.seconds = time.perf_counter() - self.began

    def run() -> float:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder, per_device_train_batch_size=1, max_steps=len(data), report_to=[], save_strategy="no",
                logging_strategy="no", use_cpu=True, bf16=bf16, disable_tqdm=True, remove_unused_columns=False,
            )  # fmt: skip
            whole = [{"ids": b.ids} for b in data]
            Trainer(
                model=peer, args=arguments, train_dataset=whole, callbacks=[clock],
                data_collator=lambda rows: {"input_ids": rows[0]["ids"], "labels": rows[0]["ids"]},
            ).train()  # fmt: skip
        return clock.seconds

    return run


__all__ = ["training_speeds"]
