"""AdamW, and Muon for the matrices inside the blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from midivibe.config import TrainConfig
from midivibe.model.latent import VibeModel
from midivibe.model.transformer import Attention, Block

MOMENTUM = 0.95
PLAN_TABLES = 5
"""Coordinates from which on their embeddings are of the plan."""


@torch.no_grad()
def orthogonal(x: Tensor, rounds: int = 5) -> Tensor:
    """The nearest matrix whose singular values are all about 1, by Newton-Schulz in bfloat16: (R, C) -> (R, C)."""
    wide = x.bfloat16() if x.shape[0] <= x.shape[1] else x.bfloat16().T  # products of the shorter side are cheaper
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(rounds):  # a quintic whose slope at 0 is steep: small singular values rise quickly
        s = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * s + 2.0315 * s @ s) @ wide
    nearest: Tensor = (wide if x.shape[0] <= x.shape[1] else wide.T).to(x.dtype)
    return nearest


class Muon(torch.optim.AdamW):
    """AdamW, but groups with `parts` are stepped by Muon (Jordan et al. 2024): momentum, made orthogonal.

    `parts` are the rows of each parameter's fused matrices, such as queries, keys and values: each is a matrix of its own.
    """

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            if "parts" not in group:
                continue
            for p in group["params"]:
                if p.grad is None:
                    continue
                if not self.state[p]:  # AdamW looks for a "step" where a state is loaded
                    self.state[p] |= {"momentum": torch.zeros_like(p), "step": torch.zeros(())}
                momentum = self.state[p]["momentum"]
                momentum.lerp_(p.grad, 1 - MOMENTUM)
                ahead = p.grad.lerp(momentum, MOMENTUM)  # Nesterov
                p.mul_(1 - group["lr"] * group["weight_decay"])
                for rows, change in zip(p.split(group["parts"]), ahead.split(group["parts"]), strict=True):
                    r, c = rows.shape
                    rows.sub_(orthogonal(change), alpha=group["lr"] * max(1.0, r / c) ** 0.5)
                p.grad = None  # AdamW leaves alone what has no gradient
        super().step()


def make_optimizer(model: VibeModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only; with `muon`, Muon for the matrices inside the blocks.

    A group's `scale` is its learning rate in units of AdamW's.
    """
    inside: list[dict[str, Any]] = []
    if config.optimizer == "muon":
        for module in model.modules():
            if isinstance(module, Attention):
                inside += [{"params": [module.qkv.weight], "parts": module.parts},
                           {"params": [module.out.weight], "parts": [len(module.out.weight)]}]  # fmt: skip
            elif isinstance(module, Block):
                hidden = module.down.in_features
                inside += [{"params": [module.up.weight], "parts": [hidden, hidden]},
                           {"params": [module.down.weight], "parts": [len(module.down.weight)]}]  # fmt: skip
        for group in inside:
            group |= {"scale": config.muon_rate / config.learning_rate, "weight_decay": config.muon_decay}
    tables = model.transformer.embedding.tables[PLAN_TABLES:]
    plan = [{"params": [t.weight for t in tables], "weight_decay": 0.0, "scale": config.plan_rate}] if tables else []
    taken = {id(p) for group in (*inside, *plan) for p in group["params"]}
    matrices = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in taken]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay, "scale": 1.0},
              {"params": rest, "weight_decay": 0.0, "scale": 1.0}, *plan, *inside]  # fmt: skip
    kind = Muon if config.optimizer == "muon" else torch.optim.AdamW
    return kind(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """AdamW's learning rate from now on, and in proportion that of every other group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


__all__ = ["Muon", "make_optimizer", "orthogonal", "set_rate"]
