"""One decoding step at a time, with a cache of keys and values. Ids in, logits out; knows nothing of music.

B rows (pieces written side by side), V vocabulary, Z latent, M vibe inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy as duplicate

import numpy as np
import torch

from midivibe.model.latent import VibeModel
from midivibe.model.transformer import LayerCache


class TorchEngine:
    """Decodes with PyTorch, on the device where the model is.

    `begin` fixes z and vibe; `prefill` sets a row's past; `step` adds a token a row.
    With guidance g other than 1, every row is computed twice, once without vibe, and logits are n + g · (c − n).
    """

    def __init__(self, model: VibeModel) -> None:
        self.model = model
        self.block_size = model.config.block_size
        self.latents = model.config.n_latent
        self.device = next(model.parameters()).device

    def lanes(self, rows: int) -> list[TorchEngine]:
        """Engines for parts of a batch in threads of their own: one, for PyTorch itself uses every core."""
        return [self]

    def another(self) -> TorchEngine:
        """An engine with the same weights and a state of its own, after its `begin`."""
        return duplicate(self)

    def _here(self, values: np.ndarray | Sequence[object]) -> torch.Tensor:
        return torch.as_tensor(values).to(self.device)

    @torch.inference_mode()
    def prior(self, vibe: np.ndarray, noise: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """Draw z ~ p(z | vibe): vibe (B, M), standard normal noise (B, Z) -> (B, Z)."""
        mean, sd = self.model.prior(self._here(vibe))
        z: np.ndarray = (mean + scale * sd * self._here(noise)).cpu().numpy()
        return z

    @torch.inference_mode()
    def posterior(self, ids: list[int], coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """q(z | ids): ids (T,) with coordinates (T, K) -> mean and sd, each (Z,). What lies beyond the block is not read."""
        ids, coordinates = ids[: self.block_size], coordinates[: self.block_size]
        visible = torch.ones(1, len(ids), dtype=torch.bool, device=self.device)
        mean, sd = self.model.encoder(self._here([ids]), self._here(coordinates)[None], visible)
        return mean[0].cpu().numpy(), sd[0].cpu().numpy()

    @torch.inference_mode()
    def begin(self, z: np.ndarray, vibe: np.ndarray, guidance: float = 1.0) -> None:
        """Start B rows: z (B, Z) and vibe (B, M), both float32."""
        self.guidance = guidance
        self.rows = len(z)
        copies = 1 if guidance == 1.0 else 2
        z_all, vibe_all = np.concatenate([z] * copies), np.concatenate([vibe] + [np.zeros_like(vibe)] * (copies - 1))
        config = self.model.config
        transformer = self.model.transformer
        self.condition = transformer.condition(self._here(z_all), self._here(vibe_all))
        shape = (len(z_all), config.kv_heads, config.block_size, config.n_embd // config.n_head)
        self.caches = [LayerCache(*shape, self.device) for _ in range(config.n_layer)]
        self.lengths = [0] * len(z_all)

    @torch.inference_mode()
    def steer(self, row: int, z: np.ndarray, vibe: np.ndarray) -> None:
        """Change z (1, Z) and vibe (1, M) of a row from the next token on; its past stays as it was heard."""
        for copy in range(row, len(self.lengths), self.rows):
            heard = vibe if copy < self.rows else np.zeros_like(vibe)
            self.condition[:, copy] = self.model.transformer.condition(self._here(z), self._here(heard))[:, 0]

    @torch.inference_mode()
    def prefill(self, row: int, ids: list[int], coordinates: np.ndarray) -> np.ndarray:
        """Replace a row's past by ids (T,) with coordinates (T, K) in one pass; returns the next logits (V,)."""
        logits = []
        for copy in range(row, len(self.lengths), self.rows):
            condition = self.condition[:, copy : copy + 1]
            out, presents = self.model.transformer(self._here([ids]), self._here(coordinates)[None], condition)
            for cache, (k, v) in zip(self.caches, presents, strict=True):
                cache.k[copy, :, : len(ids)] = k[0]
                cache.v[copy, :, : len(ids)] = v[0]
            self.lengths[copy] = len(ids)
            logits.append(out[0, -1])
        following: np.ndarray = self._guided(torch.stack(logits)[:, None])[0]
        return following

    @torch.inference_mode()
    def step(self, ids: list[int], coordinates: np.ndarray, running: list[bool] | None = None) -> np.ndarray:
        """Add one id a row: ids (B,), coordinates (B, K) -> logits (B, V). A row that does not run forgets its past."""
        copies = len(self.lengths) // self.rows
        tokens = self._here(ids * copies)[:, None]
        coords = self._here(np.concatenate([coordinates] * copies))[:, None]
        out = self.model.transformer.step(tokens, coords, self.condition, self.caches, self.lengths)
        moving = (running or [True] * self.rows) * copies
        self.lengths = [n + 1 if moves else 0 for n, moves in zip(self.lengths, moving, strict=True)]
        return self._guided(out[:, 0].view(copies, self.rows, -1))

    def _guided(self, logits: torch.Tensor) -> np.ndarray:  # (copies, B, V) -> (B, V)
        if len(logits) == 1:
            return logits[0].cpu().numpy()
        return (logits[1] + self.guidance * (logits[0] - logits[1])).cpu().numpy()
