"""Held-out likelihood, taken apart: nats a note by kind of part and by style, and what z and the vibe are worth.

B windows, T tokens, Z latent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from midivibe.evaluation.intervals import interval
from midivibe.midi.instruments import family_of
from midivibe.model.latent import VibeModel
from midivibe.tokens.vocabulary import (
    BAR,
    DURATION,
    PITCH,
    PITCHDRUM,
    POSITION,
    PROGRAM,
    VELOCITY,
    Vocabulary,
)
from midivibe.training.dataset import Corpus, Example, collate

ACTIVE = 0.05
"""Nats a window that a dimension of z must carry to count as active (the means' variance is fixed by normalisation)."""
WAYS = ("own z", "other z", "prior z", "no vibe")
_OF_A_PART = (PROGRAM, POSITION, VELOCITY, PITCH, PITCHDRUM, DURATION)


@dataclass(frozen=True)
class Losses:
    """Nats of every scored token of every window, one array a window and way; KL of each dimension (N, Z)."""

    tokens: dict[str, list[np.ndarray]]
    kl: np.ndarray


@torch.no_grad()
def token_losses(
    model: VibeModel,
    examples: Sequence[Example],
    seed: int = 0,
    per_batch: int = 16,
    listener: Callable[[int], None] = lambda more: None,
) -> Losses:
    """Score windows four ways: z from the guide, from the guide of another window, from the prior; and without the vibe.

    z is one draw each. "Other" is half a batch away, so that neighbouring windows of one song do not meet.
    """
    model.eval()
    block = model.config.block_size
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    divergences = []
    for at in range(0, len(examples), per_batch):
        chunk = list(examples[at : at + per_batch])
        batch = collate(chunk, block)
        mean, sd = model.posterior(batch)
        prior_mean, prior_sd = model.prior(batch.vibe)
        normal = torch.distributions.Normal
        divergences.append(torch.distributions.kl_divergence(normal(mean, sd), normal(prior_mean, prior_sd)))
        z = mean + sd * torch.randn(mean.shape, generator=generator)
        from_prior = prior_mean + prior_sd * torch.randn(mean.shape, generator=generator)
        silent = torch.zeros_like(batch.vibe)
        other = z.roll(max(len(chunk) // 2, 1), 0)
        read = batch.vibe
        for way, latent, vibe in zip(WAYS, (z, other, from_prior, z), (read, read, read, silent), strict=True):
            condition = model.transformer.condition(latent, vibe)
            logits, _ = model.transformer(batch.ids[:, :-1], batch.coordinates[:, :-1], condition)
            losses = F.cross_entropy(logits.float().flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none")
            losses = losses.view(batch.loss.shape)
            found[way] += [row[mask].numpy() for row, mask in zip(losses, batch.loss, strict=True)]
        listener(len(chunk))
    return Losses(found, torch.cat(divergences).numpy())


def describe(losses: Losses, examples: Sequence[Example], rows: Sequence[int], corpus: Corpus, seed: int = 0) -> dict[str, Any]:
    """All figures of some windows (`rows` of the corpus), with 95 % intervals over songs where songs are enough."""
    v = corpus.vocabulary
    notes = np.array([e.notes for e in examples], dtype=float)
    bars = np.array([corpus.columns["bars"][r] for r in rows], dtype=float)
    songs = [corpus.columns["song"][r] for r in rows]
    styles = np.array([corpus.columns["style"][r] for r in rows])
    nll = {way: np.array([x.sum() for x in losses.tokens[way]]) for way in WAYS}
    own, kl = nll["own z"], losses.kl.sum(1)

    def ratio(a: np.ndarray, b: np.ndarray) -> list[Any]:
        """Σa / Σb with its interval."""
        bounds = interval(np.arange(len(a)), songs, seed=seed, figure=lambda i: a[i.astype(int)].sum() / b[i.astype(int)].sum())
        return [float(a.sum() / b.sum()), *(bounds or (None, None))]

    ones = np.ones(len(own))
    by_part, part_notes = by_kind_of_part(losses.tokens["own z"], examples, v)
    return {
        "windows": len(own), "songs": len(set(songs)), "notes": int(notes.sum()),
        "nats_a_note": ratio(own + kl, notes), "reconstruction_a_note": ratio(own, notes),
        "nats_a_bar": ratio(own + kl, bars), "kl_a_window": ratio(kl, ones),
        "shuffle_gap_a_window": ratio(nll["other z"] - own, ones),
        "z_from_the_prior_costs_a_note": ratio(nll["prior z"] - own, notes),
        "losing_the_vibe_costs_a_note": ratio(nll["no vibe"] - own, notes),
        "active_dimensions": int((losses.kl.mean(0) > ACTIVE).sum()), "dimensions": losses.kl.shape[1],
        "by_part": {k: float(by_part[k] / part_notes[k]) for k in sorted(by_part) if part_notes[k] >= 40},
        "by_style": {
            str(s): float((own + kl)[styles == s].sum() / notes[styles == s].sum()) for s in np.unique(styles)
        },
    }  # fmt: skip


def by_kind_of_part(
    losses: Sequence[np.ndarray], examples: Sequence[Example], v: Vocabulary
) -> tuple[dict[str, float], dict[str, int]]:
    """Nats and notes of each instrument family: the tokens from a Program to the next, or to the next bar."""
    nats: dict[str, float] = defaultdict(float)
    notes: dict[str, int] = defaultdict(int)
    for loss, example in zip(losses, examples, strict=True):
        ids = example.ids[example.scored_from : example.scored_from + len(loss)]
        kinds, values = v.type[ids], v.value[ids].astype(int)
        index = np.arange(len(ids))
        bar = np.maximum.accumulate(np.where(kinds == BAR, index, -1))
        program = np.maximum.accumulate(np.where(kinds == PROGRAM, index, -1))
        inside = (program > bar) & (bar >= 0) & np.isin(kinds, _OF_A_PART)
        owner = values[np.maximum(program, 0)]
        for number in np.unique(owner[inside]).tolist():
            rows = inside & (owner == number)
            nats[family_of(number)] += float(loss[rows].sum())
            notes[family_of(number)] += int(np.isin(kinds[rows], (PITCH, PITCHDRUM)).sum())
    return nats, notes


__all__ = ["Losses", "by_kind_of_part", "describe", "token_losses"]
