"""The held-out score: which windows of a split are scored, and what a model makes of them.

Whoever reports nats a note takes the windows from here: a check while training, the report, and the scripts.
B windows of a batch, T tokens, Z latent, M vibe inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from midivibe.model.latent import Batch, VibeModel
from midivibe.training.dataset import Corpus, Example, collate

HEADER_ROOM = 30
"""Ids of a block that are kept for the header and EOS: a window of up to 24 programs is then scored whole."""
ACTIVE = 0.05
"""Nats a window that a dimension of z must carry to count as active (the means' variance is fixed by normalisation)."""
PER_BATCH = 16
"""Windows scored together. The other z of the shuffle gap is one of these, so figures depend on it."""


def held_out_rows(corpus: Corpus, block_size: int, count: int) -> list[int]:
    """Up to `count` windows spread evenly over a split, of those that fit into a block whole."""
    rows = np.flatnonzero(corpus.ids.lengths < block_size - HEADER_ROOM)
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)].tolist() if len(rows) else []


def held_out_examples(corpus: Corpus, block_size: int, count: int) -> list[Example]:
    """The plain examples of `held_out_rows`: every track of the song, programs in ascending order, the vibe known."""
    return [corpus.plain(r) for r in held_out_rows(corpus, block_size, count)]


@dataclass(frozen=True)
class Latents:
    """What the guide makes of some windows: one draw of z, the z of other windows, each (B, Z), and KL (B, Z) in nats."""

    batch: Batch
    z: Tensor
    other: Tensor
    prior: Normal
    kl: Tensor


@torch.no_grad()
def latents(model: VibeModel, examples: Sequence[Example], generator: torch.Generator) -> Iterator[Latents]:
    """Windows batch by batch, on the model's device; the model is in evaluation mode.

    z is one draw from the guide. The other z is half a batch away, so that neighbouring windows of one song do not count
    as another piece.
    """
    device = next(model.parameters()).device
    for at in range(0, len(examples), PER_BATCH):
        chunk = list(examples[at : at + PER_BATCH])
        batch = collate(chunk, model.config.block_size).to(device)
        mean, sd = model.posterior(batch)
        z = mean + sd * torch.randn(mean.shape, generator=generator).to(device)
        prior = Normal(*model.prior(batch.vibe))
        yield Latents(batch, z, z.roll(len(chunk) // 2, 0), prior, kl_divergence(Normal(mean, sd), prior))


@torch.no_grad()
def score(model: VibeModel, examples: Sequence[Example], seed: int = 0) -> dict[str, float]:
    """Held-out figures in nats a note: reconstruction, KL and their sum, the bound; and the shuffle gap.

    Reconstruction and KL are summed over all tokens of all windows, header and EOS included, and divided by all notes;
    `plan` is what the plan's ids cost of it. The shuffle gap is NLL(z of another window) - NLL(own z), in nats a window.
    `active` counts dimensions of z that carry more than ACTIVE nats a window: the spread of their means says nothing, being
    normalised.
    """
    was = model.training
    model.eval()
    nll = kl = gap = plan = 0.0
    carried = []
    for found in latents(model, examples, torch.Generator().manual_seed(seed)):
        losses = model.losses_with(found.batch, found.z) * found.batch.loss
        own = losses.sum(1)
        plan += (losses * found.batch.plan).sum().item() if found.batch.plan is not None else 0.0
        other = model.nll_with(found.batch, found.other)
        nll += own.sum().item()
        kl += found.kl.sum().item()
        gap += (other - own).sum().item()
        carried.append(found.kl.cpu())
    model.train(was)
    notes, count = sum(e.notes for e in examples), len(examples)
    return {
        "nats_per_note": (nll + kl) / notes,
        "reconstruction": nll / notes,
        "plan": plan / notes,
        "kl_per_note": kl / notes,
        "kl_per_window": kl / count,
        "shuffle_gap": gap / count,
        "active": int((torch.cat(carried).mean(0) > ACTIVE).sum()),
        "windows": count,
        "notes": notes,
    }


__all__ = ["ACTIVE", "Latents", "held_out_examples", "held_out_rows", "latents", "score"]
