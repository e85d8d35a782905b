"""What an engine is: ids in, logits out, a cache for each row. It knows nothing of music.

B rows (pieces written side by side), T tokens, V vocabulary, Z latent, M vibe inputs, D coordinates of a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Engine(Protocol):
    """Decodes B rows side by side: `begin` fixes z and vibe, `prefill` sets a row's past, `step` adds a token to each."""

    @property
    def block_size(self) -> int:
        """Longest sequence, in tokens."""
        ...

    @property
    def latents(self) -> int:
        """Dimensions of z."""
        ...

    def lanes(self, rows: int) -> Sequence[Engine]:
        """Engines that share the weights, for parts of a batch that run in threads of their own."""
        ...

    def another(self) -> Engine:
        """An engine with the same weights and a state of its own."""
        ...

    def prior(self, vibe: np.ndarray, noise: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """Draw z ~ p(z | vibe): vibe (B, M), standard normal noise (B, Z) → (B, Z)."""
        ...

    def posterior(self, ids: list[int], coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """q(z | ids): ids (T,) with coordinates (T, D) → mean and standard deviation, each (Z,)."""
        ...

    def begin(self, z: np.ndarray, vibe: np.ndarray, guidance: float = 1.0) -> None:
        """Start B rows: z (B, Z) and vibe (B, M), both float32."""
        ...

    def steer(self, row: int, z: np.ndarray, vibe: np.ndarray) -> None:
        """Change z (1, Z) and vibe (1, M) of a row from the next token on; its past stays as it was heard."""
        ...

    def prefill(self, row: int, ids: list[int], coordinates: np.ndarray) -> np.ndarray:
        """Replace a row's past by ids (T,) with coordinates (T, D); returns the next logits (V,)."""
        ...

    def step(self, ids: list[int], coordinates: np.ndarray, running: list[bool] | None = None) -> np.ndarray:
        """Add one id to each row: ids (B,), coordinates (B, D) → logits (B, V). A row that does not run forgets its past."""
        ...


__all__ = ["Engine"]
