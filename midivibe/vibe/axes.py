"""The vibe: seven percentiles with a confidence each, shared by pictures, words and music.

An axis value is a percentile (0..1, 0.5 typical) against a reference set of its own kind, so that a picture and a
piece of music meet without one paired example. Confidence 0 means that nothing is known about the axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from midivibe.errors import InputError, nearest

AXES = ("valence", "arousal", "tension", "brightness", "density", "warmth", "contrast")


@dataclass(frozen=True)
class Vibe:
    """Seven values and seven confidences, each 0..1, in the order of AXES; `reasons` says in words where they come from."""

    values: tuple[float, ...] = (0.5,) * 7
    confidence: tuple[float, ...] = (0.0,) * 7
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for numbers, what in ((self.values, "values"), (self.confidence, "confidences")):
            if len(numbers) != len(AXES) or not all(0 <= x <= 1 for x in numbers):
                raise InputError(f"a vibe needs {len(AXES)} {what} from 0 to 1, not {numbers}")

    def __getitem__(self, axis: str) -> float:
        return self.values[AXES.index(axis)]

    @classmethod
    def of(cls, confidence: float = 1.0, reasons: Mapping[str, str] | None = None, **axes: float) -> Vibe:
        """A vibe that knows only the axes given: Vibe.of(valence=0.2, density=0.8)."""
        for axis, value in axes.items():
            if axis not in AXES:
                raise InputError(f"unknown vibe axis {axis!r}; the axes are {', '.join(AXES)}")
            if not 0 <= value <= 1:
                raise InputError(f"vibe axis {axis} is {value:g}; it must be from 0 to 1")
        return cls(
            tuple(float(axes.get(axis, 0.5)) for axis in AXES),
            tuple(confidence if axis in axes else 0.0 for axis in AXES),
            dict(reasons or {}),
        )

    @classmethod
    def parse(cls, text: str) -> Vibe:
        """ "valence=0.2,density=0.8" → a Vibe of full confidence on those axes; raises InputError."""
        axes: dict[str, float] = {}
        for part in filter(None, (p.strip() for p in text.split(","))):
            name, _, value = part.partition("=")
            name = name.strip().lower()
            if name not in AXES:
                raise InputError(f"unknown vibe axis {name!r}; the nearest are {nearest(name, AXES)}")
            try:
                axes[name] = float(value)
            except ValueError:
                raise InputError(f"vibe axis {name} is {value.strip()!r}; it must be a number from 0 to 1") from None
        return cls.of(1.0, dict.fromkeys(axes, "asked for"), **axes)

    def array(self) -> np.ndarray:
        """What the model reads: centred values times a known-flag, then the flags: (14,) float32."""
        known = np.array([c > 0 for c in self.confidence], dtype=np.float32)
        return np.concatenate([(2 * np.array(self.values, dtype=np.float32) - 1) * known, known])

    def override(self, stronger: Vibe) -> Vibe:
        """Each axis moved towards `stronger` by the share that its confidence has of the two."""
        values, confidence = [], []
        for v, c, w, d in zip(self.values, self.confidence, stronger.values, stronger.confidence, strict=True):
            share = d / (d + c * (1 - d)) if d else 0.0
            values.append((1 - share) * v + share * w)
            confidence.append(max(c, d))
        return Vibe(tuple(values), tuple(confidence), {**self.reasons, **stronger.reasons})

    def distance(self, other: Vibe) -> float:
        """Root mean square difference over the axes that both know, weighted by both confidences; 0.5 where none."""
        weight = np.array(self.confidence) * np.array(other.confidence)
        if weight.sum() == 0:
            return 0.5
        difference = np.array(self.values) - np.array(other.values)
        return float(np.sqrt((weight * difference**2).sum() / weight.sum()))

    def describe(self, count: int = 3) -> str:
        """The axes furthest from typical, in words: "dark, sparse, calm"."""
        low_high = {
            "valence": ("sad", "happy"),
            "arousal": ("calm", "energetic"),
            "tension": ("at ease", "tense"),
            "brightness": ("dark", "bright"),
            "density": ("sparse", "dense"),
            "warmth": ("cool", "warm"),
            "contrast": ("even", "contrasting"),
        }
        ranked = sorted(range(len(AXES)), key=lambda i: -abs(self.values[i] - 0.5) * (self.confidence[i] > 0))
        words = [low_high[AXES[i]][self.values[i] > 0.5] for i in ranked[:count] if abs(self.values[i] - 0.5) > 0.12]
        return ", ".join(words) or "typical"


def blend(vibes: Iterable[tuple[Vibe, float]]) -> Vibe:
    """Confidence-weighted mean of (vibe, weight) pairs; axes that nobody knows stay at 0.5 with confidence 0."""
    pairs = list(vibes)
    values = np.array([v.values for v, _ in pairs])
    weights = np.array([[w * c for c in v.confidence] for v, w in pairs])
    total = weights.sum(0)
    shares = weights / np.where(total > 0, total, 1)
    mean = np.where(total > 0, (values * shares).sum(0), 0.5)
    confidence = total / max(sum(w for _, w in pairs), 1e-9)
    reasons: dict[str, str] = {}
    for vibe, _ in pairs:
        reasons.update(vibe.reasons)
    return Vibe(tuple(map(float, mean.clip(0, 1))), tuple(map(float, confidence.clip(0, 1))), reasons)
