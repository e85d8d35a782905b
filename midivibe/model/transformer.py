"""ids, z and vibe → logits: a decoder-only transformer that hears z and the vibe at every layer.

B batch, T tokens, K coordinates, V vocabulary, C channels, H heads, D channels a head, Z latent, M vibe inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from midivibe.config import ModelConfig
from midivibe.tokens.vocabulary import CHORD_CODES, LONGEST_ENDING

TOKEN_SPREAD = 0.06
"""Standard deviation of the decoder's token embeddings at the start: three times that of everything added to them."""
PARTS = 130
"""none, drums and 128 programs"""


class LayerCache:
    """Keys and values of one layer for up to S tokens a row, written in place: k and v (B, H, S, D)."""

    def __init__(self, batch: int, heads: int, size: int, width: int, device: torch.device | str = "cpu") -> None:
        self.k = torch.zeros(batch, heads, size, width, device=device)
        self.v = torch.zeros(batch, heads, size, width, device=device)

    def append(self, k: Tensor, v: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor]:
        """Put one new token a row (B, H, 1, D) at its row's length; returns views of all that is filled."""
        longest = max(lengths) + 1
        for row, length in enumerate(lengths):
            self.k[row, :, length] = k[row, :, 0]
            self.v[row, :, length] = v[row, :, 0]
        return self.k[:, :, :longest], self.v[:, :, :longest]


def rotary(length: int, size: int, base: float = 10000.0) -> Tensor:
    """Cosine and sine of the rotary position angles (Su et al. 2021): (2, length, size / 2)."""
    angle = torch.arange(length)[:, None] / base ** (torch.arange(0, size, 2) / size)[None, :]
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the halves of each head by the angles of their positions: x (B, H, T, D), turn (2, T, D/2)."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = turn[0].to(x.dtype), turn[1].to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions; causal in the decoder, both ways in the encoder."""

    def __init__(self, width: int, heads: int, causal: bool, kv_heads: int = 0) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.causal = heads, kv_heads or heads, causal
        self.size = width // heads
        self.parts = [n * self.size for n in (heads, self.kv_heads, self.kv_heads)]
        """rows of `qkv` that make queries, keys and values"""
        self.qkv = nn.Linear(width, sum(self.parts), bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Tensor, turn: Tensor, mask: Tensor | None, cache: LayerCache | None = None, lengths: list[int] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, T, C) -> (B, T, C), and this call's keys and values (B, H, T, D). With a cache, T is 1."""
        batch, length, width = x.shape
        parts = self.qkv(x).split(self.parts, dim=-1)
        q, k, v = (part.unflatten(-1, (-1, self.size)).transpose(1, 2) for part in parts)  # each (B, H or K, T, D)
        q, k = rotate(q, turn), rotate(k, turn)
        every_k, every_v = cache.append(k, v, lengths or []) if cache is not None else (k, v)
        causal = self.causal and cache is None
        shared = self.kv_heads < self.heads
        y = F.scaled_dot_product_attention(q, every_k, every_v, attn_mask=mask, is_causal=causal, enable_gqa=shared)
        return self.out(y.transpose(1, 2).reshape(batch, length, width)), k, v


class Block(nn.Module):
    """Pre-norm attention and a gated feed-forward layer (SwiGLU, Shazeer 2020)."""

    def __init__(self, width: int, heads: int, causal: bool, dropout: float = 0.0, kv_heads: int = 0) -> None:
        super().__init__()
        hidden = (8 * width // 3 + 31) // 32 * 32
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, heads, causal, kv_heads)
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        h: Tensor,
        turn: Tensor,
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
        lengths: list[int] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        a, k, v = self.attention(self.norm1(h), turn, mask, cache, lengths)
        h = h + self.dropout(a)
        gate, value = self.up(self.norm2(h)).chunk(2, dim=-1)
        return h + self.dropout(self.down(F.silu(gate) * value)), (k, v)


class Embedding(nn.Module):
    """Token embedding plus one for each coordinate (`tokens.places.Place.coordinates`).

    All but the first three begin at nothing and are learned. Without the part and the part expected next a 5 M model had not
    learned, after 9 M tokens, in which order the header says that parts write, and left most of them out.
    """

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        bars = config.n_bars
        self.token = nn.Embedding(config.vocab_size, width)
        sizes = {
            "bar": bars, "left": bars, "position": config.n_positions, "part": PARTS, "following": PARTS,
            "chord": CHORD_CODES, "coming": CHORD_CODES, "ending": LONGEST_ENDING + 1, "source": bars,
        }  # fmt: skip
        self.names = tuple(sizes)[: config.n_coordinates]
        for name in self.names:
            self.add_module(name, nn.Embedding(sizes[name], width))

    @property
    def tables(self) -> list[nn.Embedding]:
        """The embedding of each coordinate, in their order."""
        return [getattr(self, name) for name in self.names]

    def forward(self, ids: Tensor, coordinates: Tensor) -> Tensor:  # (B, T), (B, T, K) -> (B, T, C)
        h: Tensor = self.token(ids)
        for i, table in enumerate(self.tables):
            h = h + table(coordinates[..., i].clamp(0, table.num_embeddings - 1))
        return h


class Transformer(nn.Module):
    """The likelihood network. h ← h + α_l·P_l(z) + (1 − α_l)·Q_l(vibe) before every block, α_l learned."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.n_embd
        self.embedding = Embedding(config, width)
        self.blocks = nn.ModuleList(
            Block(width, config.n_head, True, config.dropout, config.kv_heads) for _ in range(config.n_layer)
        )
        self.from_z = nn.ModuleList(nn.Linear(config.n_latent, width, bias=False) for _ in range(config.n_layer))
        self.from_vibe = nn.ModuleList(nn.Linear(config.vibe_inputs, width, bias=False) for _ in range(config.n_layer))
        self.alpha = nn.Parameter(torch.zeros(config.n_layer))  # before the sigmoid: 0 is an even mix
        self.norm = nn.RMSNorm(width)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.turn: Tensor
        self.register_buffer("turn", rotary(config.block_size, width // config.n_head), persistent=False)
        self.apply(_initialise)
        # Measured (docs/ablations.md): conditioning that begins silent and tokens that begin loud learn far faster.
        nn.init.normal_(self.embedding.token.weight, std=TOKEN_SPREAD)
        for layer in (*self.from_z, *self.from_vibe):
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
        for block in self.blocks:
            assert isinstance(block, Block)
            for projection in (block.attention.out, block.down):
                nn.init.normal_(projection.weight, std=0.02 / (2 * config.n_layer) ** 0.5)

    def condition(self, z: Tensor, vibe: Tensor) -> Tensor:
        """What each layer adds to every token: z (B, Z), vibe (B, M) -> (L, B, 1, C)."""
        share = self.alpha.sigmoid()
        return torch.stack(
            [a * p(z) + (1 - a) * q(vibe) for a, p, q in zip(share, self.from_z, self.from_vibe, strict=True)]
        ).unsqueeze(2)

    def forward(self, ids: Tensor, coordinates: Tensor, condition: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Logits of the next id at every place, and each layer's keys and values.

        ids (B, T), coordinates (B, T, K), condition (L, B, 1, C) from `condition`; returns (B, T, V).
        """
        turn = self.turn[:, : ids.shape[1]]
        h = self.embedding(ids, coordinates)  # (B, T, C)
        presents = []
        for layer, block in enumerate(self.blocks):
            h, present = block(h + condition[layer], turn)
            presents.append(present)
        return self.readout(h), presents

    def step(self, ids: Tensor, coordinates: Tensor, condition: Tensor, caches: list[LayerCache], lengths: list[int]) -> Tensor:
        """One more token for every row: ids (B, 1), coordinates (B, 1, K) -> logits (B, 1, V). The caches grow in place.

        `lengths` are the tokens that each row's cache holds; rows may differ.
        """
        turn = self.turn[:, lengths][:, :, None, None, :]  # (2, B, 1, 1, D/2)
        mask = None
        if min(lengths) != max(lengths):
            places = torch.arange(max(lengths) + 1, device=ids.device)
            mask = places[None, :] <= torch.tensor(lengths, device=ids.device)[:, None]
            mask = mask[:, None, None, :]  # (B, 1, 1, S)
        h = self.embedding(ids, coordinates)
        for layer, block in enumerate(self.blocks):
            h, _ = block(h + condition[layer], turn, mask, caches[layer], lengths)
        return self.readout(h)

    def readout(self, h: Tensor) -> Tensor:
        """(B, T, C) -> logits (B, T, V), with the weights of the token embedding."""
        return F.linear(self.norm(h), self.embedding.token.weight, self.bias)


MEAN_SPREAD = 0.8
"""Standard deviation of the posterior means over windows: with a posterior sd near 0.6, z as a whole has variance 1."""
SD_OFFSET = 0.5
"""Softplus of it is 0.97: where its raw output is 0, the posterior is about as wide as the prior at its start."""
SD_SLOPE = 0.3
"""Raw outputs begin with a spread of about 1 (their inputs are normalised), so standard deviations begin at 0.8 to 1.2."""
SD_FLOOR = 1e-3
"""Least standard deviation of posterior and prior: the KL divides by it."""


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the batches of all data-parallel workers together (nn.SyncBatchNorm is for GPUs only)."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C) -> (B, C)
        if not (self.training and distributed.is_initialized()):
            return super().forward(x)
        from torch.distributed.nn.functional import all_reduce  # a second to import, and rarely needed

        sums = torch.cat([x.sum(0), (x * x).sum(0), x.new_tensor([len(x)])])
        sums = all_reduce(sums)  # with gradient
        count = sums[-1].detach()
        mean, square = (sums[:-1] / count).chunk(2)
        variance = (square - mean * mean).clamp(min=0)
        with torch.no_grad():
            assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
        normal: Tensor = (x - mean) / (variance + self.eps).sqrt()
        return normal


class Encoder(nn.Module):
    """A small bidirectional transformer: ids → the mean and standard deviation of q(z | ids).

    Averaged over hundreds of tokens, windows differ little. So both the pooled features and the means are batch-normalised,
    the means to a fixed spread (Zhu et al. 2020); without this the signal stayed under the noise and the latent died.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, heads = config.encoder_embd, config.encoder_heads
        self.embedding = Embedding(config, width)
        self.blocks = nn.ModuleList(Block(width, heads, causal=False) for _ in range(config.encoder_layers))
        self.norm = nn.RMSNorm(width)
        self.pooled = BatchNorm(width, affine=False, momentum=0.05)
        self.out = nn.Linear(width, 2 * config.n_latent)
        self.spread = BatchNorm(config.n_latent, affine=False, momentum=0.05)
        self.turn: Tensor
        self.register_buffer("turn", rotary(config.block_size, width // heads), persistent=False)
        self.apply(_initialise)
        nn.init.normal_(self.embedding.token.weight, std=0.2)
        nn.init.normal_(self.out.weight, std=width**-0.5)

    def forward(self, ids: Tensor, coordinates: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B, T), visible (B, T) bool: which tokens the guide may read -> mean and sd, each (B, Z)."""
        h = self.embedding(ids, coordinates)
        mask = visible[:, None, None, :]  # (B, 1, 1, T)
        for block in self.blocks:
            h, _ = block(h, self.turn[:, : ids.shape[1]], mask)
        weight = visible.unsqueeze(-1)
        mean_h = (self.norm(h).float() * weight).sum(1) / weight.sum(1).clamp(min=1)  # (B, C)
        mean, raw = self.out(self.pooled(mean_h)).float().chunk(2, dim=-1)
        return MEAN_SPREAD * self.spread(mean), F.softplus(SD_SLOPE * raw + SD_OFFSET) + SD_FLOOR


def _initialise(module: nn.Module) -> None:
    if isinstance(module, Embedding):
        for table in module.tables[3:]:
            nn.init.zeros_(table.weight)
        return
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
