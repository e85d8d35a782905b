"""Weights of an earlier shape → weights of a later one that say the same, where what is new begins at nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from midivibe.config import replace
from midivibe.model.latent import VibeModel

UNHEARD = -8.0
"""Bias of an id that the weights have never met: it begins out of the way."""


@torch.no_grad()
def grown(model: VibeModel, vocab_size: int, kv_heads: int = 0) -> VibeModel:
    """A model with more ids and all of today's coordinates, and, where `kv_heads` is given, fewer key/value heads.

    New ids and coordinates begin at zero. Key/value heads are the means of those that they stand for (Ainslie et al. 2023).

    Raises:
        ValueError: fewer ids than the model has.
    """
    old = model.config
    if vocab_size < old.vocab_size:
        raise ValueError(f"the model knows {old.vocab_size} ids already, more than {vocab_size}")
    new = VibeModel(replace(old, vocab_size=vocab_size, n_coordinates=9, n_kv_head=kv_heads or old.n_kv_head))
    weights = new.state_dict()
    for name, value in model.state_dict().items():
        weights[name] = _fitted(name, value, weights[name], old.n_head, old.kv_heads, new.config.kv_heads)
    for name, value in weights.items():
        if name not in model.state_dict():
            value.zero_()
    new.load_state_dict(weights)
    return new.eval()


def _fitted(name: str, value: Tensor, like: Tensor, heads: int, kv_heads: int, fewer: int) -> Tensor:
    """One tensor in its new shape."""
    if value.shape == like.shape:
        return value
    if name.startswith("transformer.") and name.endswith("qkv.weight"):
        size = len(value) // (heads + 2 * kv_heads)
        q, k, v = value.split([n * size for n in (heads, kv_heads, kv_heads)])
        pooled = [part.view(fewer, kv_heads // fewer, size, -1).mean(1).flatten(0, 1) for part in (k, v)]
        return torch.cat([q, *pooled])
    padded = torch.zeros_like(like)
    if name in ("transformer.bias", "bag.bias"):
        padded += UNHEARD
    padded[: len(value)] = value
    return padded


__all__ = ["grown"]
