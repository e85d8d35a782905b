"""Training tokens a second on this machine: midivibe beside a plain minGPT-style loop and transformers' Trainer.

    pip install accelerate && python benchmarks/training_speed.py data/corpus/music [--steps 6] [--rounds 3]

One run, the same batches of ids, the same shape (layers, heads, channels, vocabulary), AdamW everywhere; the three take
turns, medians of rounds. midivibe does more a token than its peers: coordinates, conditioning, guide, KL and bag.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from midivibe.config import PRESETS, TrainConfig, replace
from midivibe.model.latent import VibeModel, objective
from midivibe.training.dataset import Corpus, batches, collate
from midivibe.training.trainer import make_optimizer


class PlainBlock(nn.Module):
    """Attention and feed-forward as minGPT has them: learned positions elsewhere, LayerNorm, GELU, an explicit mask."""

    def __init__(self, width: int, heads: int, block: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.register_buffer("mask", torch.tril(torch.ones(block, block)).bool())

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, T, C)
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) / (c // self.heads) ** 0.5
        weights = scores.masked_fill(~self.mask[:t, :t], float("-inf")).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Plain(nn.Module):
    """A GPT of the same shape, cross-entropy on the next id."""

    def __init__(self, vocabulary: int, width: int, heads: int, layers: int, block: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(block, width)
        self.blocks = nn.Sequential(*(PlainBlock(width, heads, block) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.token(ids[:, :-1]) + self.place(torch.arange(ids.shape[1] - 1))
        return F.cross_entropy(self.head(self.norm(self.blocks(x))).flatten(0, 1), ids[:, 1:].flatten())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="small", choices=list(PRESETS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    corpus = Corpus(options.corpus, "train")
    shape = replace(PRESETS[options.preset], vocab_size=len(corpus.vocabulary))
    config = TrainConfig()
    groups = list(islice(batches(corpus, config, shape.block_size), options.steps))
    data = [collate(g, shape.block_size, latent=shape.n_latent) for g in groups]
    tokens = sum(b.loss.numel() for b in data)

    def midivibe(kind: torch.dtype, compiled: bool) -> Callable[[], None]:
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

    def plain(kind: torch.dtype) -> Callable[[], None]:
        model = Plain(shape.vocab_size, shape.n_embd, shape.n_head, shape.n_layer, shape.block_size)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

        def run() -> None:
            for batch in data:
                with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
                    loss = model(batch.ids)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        return run

    def trainer(bf16: bool) -> Callable[[], None]:
        from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

        gpt2 = GPT2LMHeadModel(
            GPT2Config(vocab_size=shape.vocab_size, n_positions=shape.block_size + 1, n_embd=shape.n_embd,
                       n_layer=shape.n_layer, n_head=shape.n_head, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        )  # fmt: skip

        def run() -> None:
            with tempfile.TemporaryDirectory() as folder:
                arguments = TrainingArguments(
                    folder, per_device_train_batch_size=1, max_steps=len(data), report_to=[], save_strategy="no",
                    logging_strategy="no", use_cpu=True, bf16=bf16, disable_tqdm=True,
                )  # fmt: skip
                whole = [{"ids": b.ids} for b in data]
                Trainer(
                    model=gpt2, args=arguments, train_dataset=whole,
                    data_collator=lambda rows: {"input_ids": rows[0]["ids"], "labels": rows[0]["ids"]},
                ).train()  # fmt: skip

        return run

    peers = {
        "midivibe bf16": midivibe(torch.bfloat16, False), "midivibe bf16, compiled": midivibe(torch.bfloat16, True),
        "midivibe fp32": midivibe(torch.float32, False), "minGPT loop fp32": plain(torch.float32),
        "minGPT loop bf16": plain(torch.bfloat16), "transformers Trainer fp32": trainer(False),
        "transformers Trainer bf16": trainer(True),
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for round_ in range(options.rounds + 1):
        for name, run in peers.items():
            began = time.perf_counter()
            run()
            if round_:  # the first warms up and compiles
                seconds[name].append(time.perf_counter() - began)
    speeds = {name: round(tokens / statistics.median(s)) for name, s in seconds.items()}
    for name, speed in speeds.items():
        print(f"{name:28} {speed:7,} tokens/s   {speed / speeds['minGPT loop fp32']:.2f} × the minGPT loop")
    if options.out:
        facts = {"threads": torch.get_num_threads(), "torch": torch.__version__, "tokens": tokens, "rounds": options.rounds}
        options.out.write_text(json.dumps({"facts": facts, "tokens_per_s": speeds}, indent=1))


if __name__ == "__main__":
    main()
