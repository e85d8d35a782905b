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

from midivibe.evaluation.intervals import interval
from midivibe.midi.instruments import family_of
from midivibe.model.latent import VibeModel
from midivibe.tokens.vocabulary import BAR, DURATION, PITCH, PITCHDRUM, POSITION, PROGRAM, VELOCITY, Vocabulary
from midivibe.training.dataset import Corpus, Example
from midivibe.training.held_out import ACTIVE, latents

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
    listener: Callable[[int], None] = lambda more: None,
) -> Losses:
    """Score windows four ways: z from the guide, from the guide of another window, from the prior; and without the vibe.

    z is one draw each, as `held_out.score` draws it.
    """
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    divergences = []
    for window in latents(model, examples, generator):
        batch, prior = window.batch, window.prior
        divergences.append(window.kl)
        from_prior = prior.mean + prior.stddev * torch.randn(prior.mean.shape, generator=generator).to(prior.mean.device)
        silent = torch.zeros_like(batch.vibe)
        ways = ((window.z, batch.vibe), (window.other, batch.vibe), (from_prior, batch.vibe), (window.z, silent))
        for way, (z, vibe) in zip(WAYS, ways, strict=True):
            losses = model.losses_with(batch, z, vibe)
            found[way] += [row[mask].cpu().numpy() for row, mask in zip(losses, batch.loss, strict=True)]
        listener(len(batch.ids))
    return Losses(found, torch.cat(divergences).cpu().numpy())


def ratio(a: np.ndarray, b: np.ndarray, songs: Sequence[object], seed: int = 0) -> list[float | None]:
    """Σa / Σb over windows with its 95 % interval over songs, or without where songs are few."""
    bounds = interval(np.arange(len(a)), songs, seed=seed, figure=lambda i: a[i.astype(int)].sum() / b[i.astype(int)].sum())
    return [float(a.sum() / b.sum()), *(bounds or (None, None))]


def describe(losses: Losses, examples: Sequence[Example], rows: Sequence[int], corpus: Corpus, seed: int = 0) -> dict[str, Any]:
    """All figures of some windows (`rows` of the corpus), with 95 % intervals over songs where songs are enough."""
    v = corpus.vocabulary
    notes = np.array([e.notes for e in examples], dtype=float)
    bars = np.array([corpus.columns["bars"][r] for r in rows], dtype=float)
    songs = [corpus.columns["song"][r] for r in rows]
    styles = np.array([corpus.columns["style"][r] for r in rows])
    nll = {way: np.array([x.sum() for x in losses.tokens[way]]) for way in WAYS}
    own, kl = nll["own z"], losses.kl.sum(1)

    def per(a: np.ndarray, b: np.ndarray) -> list[float | None]:
        return ratio(a, b, songs, seed)

    ones = np.ones(len(own))
    by_part, part_notes = by_kind_of_part(losses.tokens["own z"], examples, v)
    return {
        "windows": len(own), "songs": len(set(songs)), "notes": int(notes.sum()),
        "nats_a_note": per(own + kl, notes), "reconstruction_a_note": per(own, notes),
        "nats_a_bar": per(own + kl, bars), "kl_a_window": per(kl, ones),
        "shuffle_gap_a_window": per(nll["other z"] - own, ones),
        "z_from_the_prior_costs_a_note": per(nll["prior z"] - own, notes),
        "losing_the_vibe_costs_a_note": per(nll["no vibe"] - own, notes),
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


__all__ = ["Losses", "by_kind_of_part", "describe", "ratio", "token_losses"]
