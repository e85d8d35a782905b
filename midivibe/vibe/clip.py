"""Picture → Vibe through transformers' CLIP (`--encoder clip`), when its weights are at hand.

Each axis is asked of the picture as a pair of opposite prompts; the softmax over CLIP's scaled similarities is its value.
Weights come from a local folder ($MIDIVIBE_CLIP) or, where there is a network, from the hub.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from midivibe.errors import ImageError
from midivibe.vibe.axes import AXES, Vibe
from midivibe.vibe.image import load

DEFAULT_MODEL = "openai/clip-vit-base-patch32"

# axis: prompts of its low end, prompts of its high end
PROMPTS = {
    "valence": (("a sad, unpleasant picture", "a gloomy scene"), ("a happy, pleasant picture", "a joyful scene")),
    "arousal": (("a calm, sleepy picture", "a quiet scene"), ("an exciting, energetic picture", "a wild scene")),
    "tension": (("a peaceful, harmonious picture", "a safe scene"), ("a tense, threatening picture", "a frightening scene")),
    "brightness": (("a dark picture", "a scene at night"), ("a bright picture", "a scene in full sunlight")),
    "density": (("an empty, minimal picture", "a plain scene"), ("a crowded, busy picture", "a cluttered scene")),
    "warmth": (("a picture in cold blue tones", "an icy scene"), ("a picture in warm red and orange tones", "a cosy scene")),
    "contrast": (
        ("a flat picture without contrast", "an even, hazy scene"),
        ("a picture of stark contrasts", "a dramatic scene"),
    ),
}


@lru_cache(maxsize=1)
def _model(name: str) -> tuple[Any, Any]:
    from transformers import CLIPModel, CLIPProcessor

    try:
        return CLIPModel.from_pretrained(name).eval(), CLIPProcessor.from_pretrained(name)
    except Exception as error:  # transformers raises OSError, ValueError, ImportError ... all meaning no usable weights
        raise ImageError(
            f"no CLIP weights at {name!r} ({str(error).splitlines()[0][:120]}); "
            "set MIDIVIBE_CLIP to a folder with a CLIP model, or use the default encoder"
        ) from error


def clip_vibe(path: str | Path, model: str | Path | None = None) -> Vibe:
    """The vibe of a picture through CLIP.

    Args:
        model: a folder or hub name; by default $MIDIVIBE_CLIP, else DEFAULT_MODEL.

    Raises:
        ImageError: the picture cannot be read, or no weights are at hand.
    """
    import torch

    pixels = load(path)
    network, processor = _model(str(model or os.environ.get("MIDIVIBE_CLIP") or DEFAULT_MODEL))
    prompts = [prompt for low, high in PROMPTS.values() for prompt in (*low, *high)]
    inputs = processor(text=prompts, images=(pixels * 255).astype(np.uint8), return_tensors="pt", padding=True, truncation=True)
    with torch.inference_mode():
        logits = network(**inputs).logits_per_image[0].double().numpy()  # (prompts,)
    values, at = [], 0
    for low, high in PROMPTS.values():
        pair = np.array([logits[at : at + len(low)].mean(), logits[at + len(low) : at + len(low) + len(high)].mean()])
        weight = np.exp(pair - pair.max())
        values.append(float(weight[1] / weight.sum()))
        at += len(low) + len(high)
    reasons = {axis: f"CLIP: {PROMPTS[axis][value > 0.5][0]}" for axis, value in zip(AXES, values, strict=True)}
    return Vibe(tuple(values), (0.8,) * len(AXES), reasons)
