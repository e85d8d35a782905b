"""What can be set, as frozen dataclasses; an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from midivibe.errors import InputError, nearest

Config = TypeVar("Config", bound="StrictConfig")


def option(
    default: Any = MISSING, help: str = "", *, low: float | None = None, high: float | None = None, above: float | None = None,
    below: float | None = None, unit: str = "", choices: tuple[str, ...] = (), metavar: str = "",
) -> Any:  # fmt: skip
    """A dataclass field that says all there is to say of a setting: its default, range, unit and help.

    `StrictConfig` checks values against it, and the command line makes its flag from it. Ranges include `low` and `high`, not
    `above` and `below`.
    """
    bounds = {"low": low, "high": high, "above": above, "below": below}
    known = {**bounds, "help": help, "unit": unit, "choices": choices, "metavar": metavar}
    return field(default=default, metadata=known)


def as_in(config: type[StrictConfig], name: str) -> Any:
    """A field that says of a setting what another dataclass says of it, and is None where nothing is asked."""
    return field(default=None, metadata=next(each.metadata for each in fields(config) if each.name == name))


def kinds(cls: type[StrictConfig]) -> dict[str, str]:
    """Of each setting, what one value of it is: int, float, bool, str, or object for what checks itself."""
    found = {}
    for each in fields(cls):
        stated = str(each.type).removesuffix(" | None")
        found[each.name] = stated if stated in ("int", "float", "bool", "str") else "object"
    return found


TOO_LARGE = 10**300
"""Whole numbers from here on fit into no float, and some cannot be printed."""


def check(name: str, value: Any, kind: str, rule: Mapping[str, Any]) -> None:
    """Raises InputError where a value is not of its kind, out of its range or none of its choices."""
    shown = name.replace("_", "-")
    if kind in ("int", "float"):
        whole = kind == "int"
        fits = not isinstance(value, bool) and isinstance(value, int if whole else (int, float))
        if isinstance(value, int) and abs(value) >= TOO_LARGE:
            raise InputError(f"{shown} has too many digits; it must be a number {limits(rule)}".rstrip())
        if not fits or (isinstance(value, float) and not math.isfinite(value)):
            what = "a whole number" if whole else "a finite number" if isinstance(value, float) else "a number"
            raise InputError(f"{shown} is {value!r}; it must be {what} {limits(rule)}".rstrip())
        low, high, above, below = (rule.get(k) for k in ("low", "high", "above", "below"))
        inside = (low is None or value >= low) and (high is None or value <= high)
        if not inside or (above is not None and value <= above) or (below is not None and value >= below):
            said, what = (value, "a whole number ") if whole else (f"{value:g}", "")
            raise InputError(f"{shown} is {said}; it must be {what}{limits(rule)}")
    elif kind in ("bool", "str") and not isinstance(value, bool if kind == "bool" else str):
        raise InputError(f"{shown} is {value!r}; it must be {'true or false' if kind == 'bool' else 'text'}")
    if (choices := rule.get("choices")) and value not in choices:
        raise InputError(f"unknown {name.replace('_', ' ')} {value!r}; it must be {', '.join(choices[:-1])} or {choices[-1]}")


def limits(rule: Mapping[str, Any]) -> str:
    """The range and unit of a setting in words, such as "from 20 to 300 beats a minute"; "" where it has none."""
    low, high, above, below = (rule.get(k) for k in ("low", "high", "above", "below"))
    unit = f" {rule['unit']}" if rule.get("unit") else ""
    if low is not None and high is not None:
        return f"from {_plain(low)} to {_plain(high)}{unit}"
    parts = [
        f"{word} {_plain(x)}"
        for word, x in (("at least", low), ("above", above), ("at most", high), ("below", below))
        if x is not None
    ]
    return f"{' and '.join(parts)}{unit}" if parts else ""


def _plain(number: float) -> str:
    """A bound as people write it: 2^63 - 1 where it is one."""
    for bits in (32, 63):
        if number == 2**bits - 1:
            return f"2^{bits} - 1"
    return f"{number:g}"


@dataclass(frozen=True)
class StrictConfig:
    """A frozen dataclass whose values are checked however it is made; it refuses keys that it does not know."""

    def __post_init__(self) -> None:
        """Check every setting against its `option`; raises InputError."""
        of = kinds(type(self))
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and str(each.type).endswith("None"):
                continue
            check(each.name, value, of[each.name], each.metadata)

    @classmethod
    def from_dict(cls: type[Config], values: dict[str, Any]) -> Config:
        """Build from plain values; raises InputError on an unknown key or a value out of its range."""
        known = {each.name for each in fields(cls)}
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

    vocab_size: int = option(0, "ids; taken from the tokenizer", low=0)
    block_size: int = option(1024, "longest sequence", low=2, unit="tokens")
    n_layer: int = option(6, "decoder blocks", low=1)
    n_head: int = option(4, "attention heads; n_embd / n_head must be whole and even (rotary positions turn pairs)", low=1)
    n_embd: int = option(256, "channels of the decoder", low=2)
    n_latent: int = option(32, "dimensions of z", low=1)
    n_vibe: int = option(7, "vibe axes; the model reads a value and a known-flag of each", low=1)
    n_bars: int = option(64, "largest bar index (and count of bars left) told apart", low=1)
    n_positions: int = option(128, 'positions in a bar told apart, one of them "none yet"', low=1)
    encoder_layers: int = option(2, "blocks of the posterior encoder", low=1)
    encoder_embd: int = option(128, "channels of the posterior encoder, an even number", low=2)
    dropout: float = option(0.0, "share of what decoder blocks add that is dropped while training", low=0, below=1)
    n_coordinates: int = option(
        9, "numbers that the model reads of where an id stands; 5 in checkpoints from before plans", low=5, high=9
    )
    n_kv_head: int = option(0, "key/value heads that the attention heads share; 0 is as many as n_head", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_embd % self.n_head or self.n_embd // self.n_head % 2:
            raise InputError(
                f"n-embd is {self.n_embd} and n-head {self.n_head}; n-embd must be an even multiple of n-head, "
                f"such as {2 * self.n_head * max(1, round(self.n_embd / (2 * self.n_head)))}"
            )
        if self.n_head % self.kv_heads:
            raise InputError(f"n-kv-head is {self.n_kv_head}; it must divide n-head, which is {self.n_head}")
        if self.encoder_embd % 2:
            raise InputError(f"encoder-embd is {self.encoder_embd}; it must be even, such as {self.encoder_embd + 1}")

    @classmethod
    def stored(cls, values: dict[str, Any]) -> ModelConfig:
        """The shape that a checkpoint's or a run's config.json holds; those from before plans read five coordinates."""
        return cls.from_dict({"n_coordinates": 5, **values})

    @property
    def kv_heads(self) -> int:
        """Key/value heads of the decoder."""
        return self.n_kv_head or self.n_head

    @property
    def vibe_inputs(self) -> int:
        """Numbers that the model reads of a vibe: a value and a known-flag an axis."""
        return 2 * self.n_vibe

    @property
    def encoder_heads(self) -> int:
        """Attention heads of the posterior encoder: as many as divide it into even heads of 64 channels or more."""
        most = max(1, self.encoder_embd // 64)
        return max(n for n in range(1, most + 1) if self.encoder_embd % (2 * n) == 0)


@dataclass(frozen=True)
class TrainConfig(StrictConfig):
    """One training run."""

    seed: int = option(1, "the same seed, corpus and shape give the same batches", low=0, high=2**32 - 1, metavar="N")
    batch_tokens: int = option(6144, "tokens in a batch, padding included", above=0, metavar="N")
    accumulate: int = option(1, "batches whose gradients are summed into one step", above=0, metavar="N")
    max_steps: int = option(20000, "optimiser steps of the whole run", above=0, metavar="N")
    max_minutes: float = option(
        0.0, "training time of the whole run, before and after resuming; 0 is no limit", low=0,
        unit="minutes", metavar="M",
    )  # fmt: skip
    precision: str = option(
        "auto", "auto is bf16 where the GPU or CPU multiplies it in hardware, else fp32", choices=("auto", "fp32", "bf16")
    )
    compile: str = option(
        "auto", "compile the network with torch.compile; auto is on where there is a GPU", choices=("auto", "on", "off")
    )
    learning_rate: float = option(2e-3, "peak learning rate", above=0, metavar="R")
    optimizer: str = option(
        "muon", "muon for the matrices inside the blocks and AdamW for the rest, or adamw for all", choices=("muon", "adamw")
    )
    muon_rate: float = option(0.02, "Muon's peak learning rate: the spectral norm of one step", above=0)
    muon_decay: float = option(0.01, "weight decay of what Muon steps, in units of its learning rate", low=0)
    plan_rate: float = option(
        1.0, "learning rate of the plan's embeddings in units of AdamW's: above 1 where the others are trained already", above=0
    )
    warmup_steps: int = option(150, "steps until the learning rate is at its highest", above=0, metavar="N")
    min_lr_ratio: float = option(0.05, "the last learning rate over the highest", low=0, high=1)
    weight_decay: float = option(0.05, "AdamW's, on matrices", low=0)
    beta1: float = option(0.9, "AdamW's first momentum", low=0, below=1)
    beta2: float = option(0.99, "AdamW's second momentum", low=0, below=1)
    grad_clip: float = option(1.0, "longest gradient", above=0)
    kl_weight: float = option(1.0, "β at its highest", low=0)
    kl_warmup: float = option(0.25, "share of the run that is a deterministic autoencoder (β near 0)", low=0, high=1)
    kl_cycles: int = option(4, "β rises from 0 in the first half of each cycle", low=0)
    free_bits: float = option(0.25, "nats of each latent dimension that cost nothing", low=0)
    bag_weight: float = option(0.1, "weight of predicting the histogram of tokens from z", low=0)
    token_dropout: float = option(
        0.0, "share of decoder input tokens hidden in the first half of a run; .2 cost .15 nats a note (docs/ablations.md)",
        low=0, high=1,
    )  # fmt: skip
    token_dropout_end: float = option(0.0, "the same at the end of the run", low=0, high=1)
    vibe_dropout: float = option(0.1, "examples that lose their vibe; guidance needs it", low=0, high=1)
    plan_dropout: float = option(
        0.15, "examples that lose their chords; as many lose their sections, and as many their returns", low=0, high=1
    )
    manner: float = option(0.5, "plain examples whose z is read from another window of the same song", low=0, high=1)
    hole_share: float = option(0.5, "examples that are infilling tasks", low=0, high=1)
    eval_windows: int = option(96, "held-out windows that a check reads", above=0)
    check_minutes: float = option(
        4.0, "time between checks, each of which scores held-out windows and saves", low=0, unit="minutes"
    )
    sample_every: int = option(0, "steps between sample pieces in RUN/samples; 0 writes none", low=0, metavar="N")


FINE_TUNE = {"optimizer": "adamw", "learning_rate": 3e-4, "warmup_steps": 20, "kl_warmup": 0.0, "kl_cycles": 0}
"""What differs when training starts from weights that know music."""


@dataclass(frozen=True)
class SampleConfig(StrictConfig):
    """How ids are drawn."""

    temperature: float = option(1.0, "0 always takes the likeliest note, 1 draws as trained", low=0, high=5, metavar="T")
    top_p: float = option(
        0.95, "draw only from the likeliest tokens whose probabilities add up to this", low=0.01, high=1, metavar="P"
    )
    pitch_top_p: float = option(1.0, "top-p of pitches, if higher than --top-p", low=0.01, high=1, metavar="P")
    """Rare pitches colour music; rare onsets make it stumble."""
    guidance: float = option(1.0, "above 1 follows the vibe more strictly", low=0, high=10, metavar="G")
    """1 is none; above 1 pushes away from the model without vibe."""
    header_guidance: float = option(1.5, "guidance of style, mode, meter, tempo and band", low=0, high=10, metavar="G")
    """At 5 every axis went to its end: 25 % of bands had three harsh parts and 15 % of tempi were 170 BPM and over."""
    prior_scale: float = option(1.0, "factor on the prior's standard deviation", low=0, high=5, metavar="S")
    emphasis: float = option(1.5, "factor by which the vibe is exaggerated for the model", low=0, high=5, metavar="E")
    feedback: float = option(
        1.0, "how strongly each bar corrects the vibe that earlier bars missed", low=0, high=5, metavar="F"
    )
    recall: float = option(
        0.6, "how closely bars imitate similar bars of the same music; 0 turns it off", low=0, high=1, metavar="R"
    )

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

__all__ = [
    "FILLING",
    "PRESETS",
    "ModelConfig",
    "SampleConfig",
    "StrictConfig",
    "TrainConfig",
    "as_in",
    "check",
    "kinds",
    "limits",
    "option",
    "replace",
]
