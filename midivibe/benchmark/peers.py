"""What midivibe is timed against, at the same shape: a plain minGPT-style model and transformers' GPT-2.

B rows, T tokens, C channels, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from midivibe.config import ModelConfig


class PlainBlock(nn.Module):
    """Attention and feed-forward as minGPT has them: LayerNorm, GELU, an explicit mask, no cache."""

    mask: Tensor

    def __init__(self, width: int, heads: int, block: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.register_buffer("mask", torch.tril(torch.ones(block, block)).bool())

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C)
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) / (c // self.heads) ** 0.5
        weights = scores.masked_fill(~self.mask[:t, :t], float("-inf")).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(b, t, c))
        y: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return y


class Plain(nn.Module):
    """A GPT with learned positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.n_embd
        self.token, self.place = nn.Embedding(config.vocab_size, width), nn.Embedding(config.block_size, width)
        self.blocks = nn.Sequential(*(PlainBlock(width, config.n_head, config.block_size) for _ in range(config.n_layer)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, config.vocab_size, bias=False)

    def forward(self, ids: Tensor) -> Tensor:  # (B, T) -> (B, T, V)
        x = self.token(ids) + self.place(torch.arange(ids.shape[1]))
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits

    def loss(self, ids: Tensor) -> Tensor:
        """Cross-entropy of the next id."""
        return F.cross_entropy(self(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    @torch.inference_mode()
    def generate(self, count: int) -> None:
        """Draw ids as minGPT does: the whole sequence anew for each."""
        ids = torch.ones(1, 1, dtype=torch.long)
        for _ in range(count):
            chances = self(ids)[:, -1].softmax(-1)
            ids = torch.cat([ids, torch.multinomial(chances, 1)], dim=1)


def gpt2(config: ModelConfig) -> Any:  # its own types do not let `generate` be called
    """transformers' GPT-2 of the same layers, heads, channels and vocabulary, untrained, without dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = GPT2Config(
        vocab_size=config.vocab_size, n_positions=config.block_size + 1, n_embd=config.n_embd, n_layer=config.n_layer,
        n_head=config.n_head, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(shape).eval()


__all__ = ["Plain", "gpt2"]
