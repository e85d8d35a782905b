"""The variational latent, in Pyro: what a window is about, beside what its vibe says.

    z ~ p(z | vibe) = Normal(f(vibe), s(vibe))        prior
    ids ~ p(ids | z, vibe)                            likelihood, the transformer
    bag ~ p(bag | z) = Multinomial(softmax(W z))      the scored tokens without their order (Zhao et al. 2017)
    z ~ q(z | ids)                                    guide, a bidirectional encoder over what is visible

The bag is seen while training only: an autoregressive likelihood explains hundreds of tokens so well from the ones
before that z got no gradient to speak of; predicting their histogram gives it one.

Trained on the ELBO with β warm-up and free bits. B batch, T tokens, Z latent, M vibe inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import kl_divergence
from torch.nn import functional as F

from midivibe.config import ModelConfig
from midivibe.model.transformer import SD_FLOOR, Encoder, Transformer

UNIT_SD = 0.5413
"""Softplus of it is 1 (it is ln(e - 1)): the prior is a standard normal where its network says nothing."""


@dataclass
class Batch:
    """Padded examples: ids (B, T+1), coordinates (B, T+1, K), loss (B, T) and visible (B, T+1) masks, vibe (B, M).

    `noise` (B, Z), standard normal, and `chance` (B, T), uniform, fix what is drawn for z and for token dropout; without
    them both are drawn anew. `plan` (B, T) marks targets that are of the plan. `read` holds ids, coordinates and visible of
    what the guide reads, where that is not the batch itself.
    """

    ids: Tensor
    coordinates: Tensor
    loss: Tensor
    visible: Tensor
    vibe: Tensor
    noise: Tensor | None = None
    chance: Tensor | None = None
    plan: Tensor | None = None
    read: tuple[Tensor, ...] | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""

        def moved(value: Tensor | tuple[Tensor, ...] | None) -> Any:
            return tuple(map(moved, value)) if isinstance(value, tuple) else None if value is None else value.to(device)

        return Batch(*(moved(getattr(self, field.name)) for field in fields(self)))


@dataclass
class Terms:
    """The parts of the ELBO in nats: nll (B,) summed over scored tokens, kl (B, Z), bag (B,); tokens (B,) counts."""

    nll: Tensor
    kl: Tensor
    tokens: Tensor
    bag: Tensor


class Drawn(dist.Normal):  # type: ignore[misc]  # Pyro is skipped, so its classes are Any
    """A normal distribution whose reparameterised draw uses noise that is given."""

    def __init__(self, loc: Tensor, scale: Tensor, noise: Tensor) -> None:
        super().__init__(loc, scale)
        self.noise = noise

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> Drawn:
        return Drawn(*(value.expand(batch_shape) for value in (self.loc, self.scale, self.noise)))

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        drawn: Tensor = self.loc + self.scale * self.noise
        return drawn


class Prior(nn.Module):
    """p(z | vibe): a small network to the mean and standard deviation of a diagonal normal."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        last = nn.Linear(64, 2 * config.n_latent)
        nn.init.normal_(last.weight, std=0.02)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Linear(config.vibe_inputs, 64), nn.SiLU(), last)

    def forward(self, vibe: Tensor) -> tuple[Tensor, Tensor]:  # (B, M) -> (B, Z), (B, Z)
        mean, raw = self.net(vibe).float().chunk(2, dim=-1)
        return mean, F.softplus(raw + UNIT_SD) + SD_FLOOR


class VibeModel(nn.Module):
    """Prior, guide and likelihood under one roof; `model` and `guide` are the graphical model."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.encoder = Encoder(config)
        self.prior = Prior(config)
        self.bag = nn.Linear(config.n_latent, config.vocab_size)

    def model(self, batch: Batch, inputs: Tensor) -> None:  # z ~ p(z | vibe), ids ~ p(ids | z, vibe)
        mean, sd = self.prior(batch.vibe)
        with pyro.plate("batch", len(batch.ids)):
            z = pyro.sample("z", dist.Normal(mean, sd).to_event(1))
            condition = self.transformer.condition(z, batch.vibe)
            logits, _ = self.transformer(inputs, batch.coordinates[:, :-1], condition)  # (B, T, V)
            likelihood = dist.Categorical(logits=logits.float(), validate_args=False).mask(batch.loss).to_event(1)
            pyro.sample("ids", likelihood, obs=batch.ids[:, 1:])
            words = dist.Categorical(logits=self.bag(z).float().unsqueeze(1), validate_args=False)
            pyro.sample("bag", words.expand(batch.loss.shape).mask(batch.loss).to_event(1), obs=batch.ids[:, 1:])

    def guide(self, batch: Batch, inputs: Tensor) -> None:  # z ~ q(z | ids)
        mean, sd = self.posterior(batch)
        posterior = dist.Normal(mean, sd) if batch.noise is None else Drawn(mean, sd, batch.noise)
        with pyro.plate("batch", len(batch.ids)):
            pyro.sample("z", posterior.to_event(1))

    def terms(self, batch: Batch, token_dropout: float = 0.0) -> Terms:
        """One-sample ELBO terms. `token_dropout` hides that share of the decoder's inputs behind PAD."""
        inputs = batch.ids[:, :-1]
        if token_dropout > 0:
            chance = torch.rand(inputs.shape, device=inputs.device) if batch.chance is None else batch.chance
            keep = chance >= token_dropout
            inputs = torch.where(keep, inputs, torch.zeros_like(inputs))
        guide = poutine.trace(self.guide).get_trace(batch, inputs)
        model = poutine.trace(poutine.replay(self.model, trace=guide)).get_trace(batch, inputs)
        ids = model.nodes["ids"]
        nll = -ids["fn"].log_prob(ids["value"])  # (B,)
        q, p = guide.nodes["z"]["fn"].base_dist, model.nodes["z"]["fn"].base_dist
        bag = model.nodes["bag"]
        return Terms(nll, kl_divergence(q, p), batch.loss.sum(1), -bag["fn"].log_prob(bag["value"]))

    def posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and sd of q(z | visible tokens), each (B, Z); the last column, mostly EOS or PAD, is not read."""
        read = batch.read or (batch.ids, batch.coordinates, batch.visible)
        mean_and_sd: tuple[Tensor, Tensor] = self.encoder(*(each[:, :-1] for each in read))
        return mean_and_sd

    @torch.no_grad()
    def losses_with(self, batch: Batch, z: Tensor, vibe: Tensor | None = None) -> Tensor:
        """Nats of each token (B, T) under a given z (B, Z) and, where given, another vibe (B, M) than the batch's."""
        condition = self.transformer.condition(z, batch.vibe if vibe is None else vibe)
        logits, _ = self.transformer(batch.ids[:, :-1], batch.coordinates[:, :-1], condition)
        losses = F.cross_entropy(logits.float().flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none")
        return losses.view(batch.loss.shape)

    def nll_with(self, batch: Batch, z: Tensor) -> Tensor:
        """Negative log likelihood (B,) of the scored tokens under a given z (B, Z)."""
        return (self.losses_with(batch, z) * batch.loss).sum(1)


def objective(
    terms: Terms, beta: float, free_bits: float, bag_weight: float, tokens: Tensor | None = None, kl: Tensor | None = None
) -> Tensor:
    """Nats a scored token: reconstruction + β · KL + weighted bag; a dimension's mean KL counts only above `free_bits`.

    Where a batch is spread over workers, `tokens` is the count of all of it and `kl` (Z,) its mean KL: then the workers'
    values, and gradients, add up to those of the whole batch.
    """
    tokens = terms.tokens.sum() if tokens is None else tokens
    costs = (terms.kl.mean(0) if kl is None else kl).detach() > free_bits
    counted = torch.where(costs, terms.kl.sum(0), free_bits * len(terms.nll)).sum()
    return (terms.nll.sum() + beta * counted + bag_weight * terms.bag.sum()) / tokens.clamp(min=1)


def beta_at(progress: float, warmup: float, cycles: int, top: float) -> float:
    """β over a run's progress 0..1: about 0 during the warm-up, then cycles whose first half rises linearly (Fu 2019).

    Without cycles it is at its top after the warm-up.
    """
    if progress < warmup:
        return 1e-6
    if not cycles:
        return top
    phase = ((progress - warmup) / (1 - warmup) * cycles) % 1.0 if progress < 1 else 1.0
    return top * max(1e-6, min(1.0, 2 * phase))
