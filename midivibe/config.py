"""What can be set, as frozen dataclasses; an unknown key is an error that names the nearest known one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from midivibe.errors import InputError, nearest

Config = TypeVar("Config", bound="StrictConfig")


@dataclass(frozen=True)
class StrictConfig:
    """A frozen dataclass that can be made from a dictionary, and refuses keys that it does not know."""

    @classmethod
    def from_dict(cls: type[Config], values: dict[str, Any]) -> Config:
        """Build from plain values; raises InputError on an unknown key."""
        known = {field.name for field in fields(cls)}
        for key in values:
            if key not in known:
                raise InputError(f"{cls.__name__} has no setting {key!r}; did you mean {nearest(key, known, 1)}?")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ModelConfig(StrictConfig):
    """The shape of the network."""

    vocab_size: int = 0
    """ids, set from the tokenizer"""
    block_size: int = 1024
    """longest sequence, in tokens"""
    n_layer: int = 6
    """decoder blocks"""
    n_head: int = 4
    """attention heads; n_embd / n_head must be even (rotary positions)"""
    n_embd: int = 256
    """channels"""
    n_latent: int = 32
    """dimensions of z"""
    n_vibe: int = 7
    """vibe axes"""
    n_bars: int = 64
    """largest bar index (and count of bars left) told apart"""
    n_positions: int = 128
    """positions in a bar told apart, one more for "none yet" """
    encoder_layers: int = 2
    """blocks of the posterior encoder"""
    encoder_embd: int = 128
    """channels of the posterior encoder"""
    dropout: float = 0.0
    n_kv_head: int = 0
    """key/value heads that the attention heads share; 0 is as many as n_head"""

    @property
    def kv_heads(self) -> int:
        return self.n_kv_head or self.n_head


@dataclass(frozen=True)
class TrainConfig(StrictConfig):
    """One training run."""

    seed: int = 1
    batch_tokens: int = 6144
    """tokens of a batch, padding included"""
    accumulate: int = 1
    """batches whose gradients make one step"""
    max_steps: int = 20000
    """optimiser steps of the whole schedule"""
    max_minutes: float = 0.0
    """training time of the whole run, all its resumptions added; 0 is none. The schedule then follows the clock"""
    precision: str = "auto"
    """fp32 or bf16; auto is bf16 on a GPU and on a CPU that multiplies it (2.5 times as fast here), else fp32"""
    compile: str = "auto"
    """on or off; auto is on where there is a GPU"""
    learning_rate: float = 2e-3
    optimizer: str = "muon"
    """muon for the matrices inside the blocks and AdamW for the rest, or adamw for all"""
    muon_rate: float = 0.02
    """Muon's learning rate at its top: the spectral norm of one step"""
    muon_decay: float = 0.01
    """weight decay of what Muon steps, in units of its learning rate"""
    warmup_steps: int = 150
    min_lr_ratio: float = 0.05
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.99
    grad_clip: float = 1.0
    kl_weight: float = 1.0
    """β at its top"""
    kl_warmup: float = 0.25
    """share of the run that is a deterministic autoencoder (β ≈ 0)"""
    kl_cycles: int = 4
    """β rises from 0 in the first half of each cycle"""
    free_bits: float = 0.25
    """nats a latent dimension that cost nothing"""
    bag_weight: float = 0.1
    """weight of predicting the histogram of tokens from z"""
    token_dropout: float = 0.0
    """share of decoder input tokens hidden in the first half of a run; .2 cost .15 nats a note (docs/ablations.md)"""
    token_dropout_end: float = 0.0
    """the same at its end"""
    vibe_dropout: float = 0.1
    """examples that lose their vibe; needed for guidance"""
    hole_share: float = 0.5
    """examples that are infilling tasks"""
    eval_windows: int = 96
    """held-out windows that a check reads"""
    check_minutes: float = 4.0
    """a check: evaluate on held-out windows and save"""
    sample_every: int = 0
    """steps between sample pieces; 0 is none"""

    def __post_init__(self) -> None:
        above_zero = ("batch_tokens", "accumulate", "max_steps", "learning_rate", "warmup_steps", "eval_windows", "grad_clip")
        for name in above_zero:
            if not getattr(self, name) > 0:
                raise InputError(f"{name.replace('_', '-')} is {getattr(self, name)}; it must be above 0")
        for name in ("max_minutes", "check_minutes", "sample_every", "free_bits", "kl_cycles", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name.replace('_', '-')} is {getattr(self, name)}; it must not be below 0")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be from 0 to below 1")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}; it must be from 0 to 2^32 - 1")
        for name, allowed in (
            ("precision", ("auto", "fp32", "bf16")),
            ("compile", ("auto", "on", "off")),
            ("optimizer", ("adamw", "muon")),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; it must be {', '.join(allowed[:-1])} or {allowed[-1]}")
        for name in ("kl_warmup", "token_dropout", "token_dropout_end", "vibe_dropout", "hole_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name.replace('_', '-')} is {getattr(self, name)}; it must be from 0 to 1")


FINE_TUNE = {"optimizer": "adamw", "learning_rate": 3e-4, "warmup_steps": 20, "kl_warmup": 0.0, "kl_cycles": 0}
"""What differs when training starts from weights that know music."""


@dataclass(frozen=True)
class SampleConfig(StrictConfig):
    """How ids are drawn."""

    temperature: float = 1.0
    top_p: float = 0.95
    pitch_top_p: float = 1.0
    """the same for pitches, where it is higher: rare pitches colour music, rare onsets make it stumble"""
    guidance: float = 1.0
    """1 is none; above 1 pushes away from the model without vibe"""
    header_guidance: float = 5.0
    """the same while style, mode, meter, tempo and instruments are chosen: the strongest levers of mood, and few tokens"""
    prior_scale: float = 1.0
    """multiplies the prior's standard deviation"""
    emphasis: float = 1.5
    """how much stronger than asked the model is told the vibe; 1 is as it was asked"""
    feedback: float = 3.0
    """how far each bar makes up for what the bars before it missed of the vibe; 0 is not at all"""
    recall: float = 0.4
    """how much a bar takes from bars like it in the same music; 0 leaves it all to the model"""

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            low = 0.01 if name.endswith("top_p") else 0
            high = 10 if name.endswith("guidance") else 1 if name.endswith(("top_p", "recall")) else 5
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} is {getattr(self, name):g}; it must be from {low:g} to {high:g}")

    @property
    def recalls(self) -> bool:
        """Whether bars like the one that is written have a say: not where the likeliest id is wanted each time."""
        return bool(self.recall and self.temperature)


FILLING = SampleConfig(temperature=0.75, pitch_top_p=0.95, recall=1.0)
"""For holes in music that exists: nearer to what is likeliest there, and to what the song does in bars like these."""

PRESETS: dict[str, ModelConfig] = {
    "debug": ModelConfig(block_size=256, n_layer=2, n_head=2, n_embd=32, n_latent=8, encoder_layers=1, encoder_embd=32),
    "mini": ModelConfig(n_layer=4, n_embd=160, n_latent=24, encoder_layers=1, encoder_embd=96),
    "small": ModelConfig(),
    "medium": ModelConfig(block_size=2048, n_layer=8, n_head=8, n_embd=448, n_latent=48, encoder_layers=3, encoder_embd=224),
}
"""debug is for tests; mini (1.7 M) learns in minutes on a CPU, small (5.8 M) in hours; medium (24 M) wants a GPU"""

__all__ = ["FILLING", "PRESETS", "ModelConfig", "SampleConfig", "StrictConfig", "TrainConfig", "replace"]
