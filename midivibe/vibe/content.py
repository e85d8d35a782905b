"""What a picture shows, and what that means for music: a small classifier of ImageNet and a head fitted on people's ratings.

Valence is what people rate a photograph; energy is how fast and loud its music may be, which is not their arousal: that is the
strength of a feeling, and a beach scores high. Both come from three sources at once: the classifier's features, the scenes of
`data/scenes.json` (placed by hand), and how alike the picture is to the rated ones. `scripts/fit_content.py` fits the numbers.

H, W height and width; C 1000 classes; F 1024 features; K components; N rated photographs; S scenes; P numbers of the prior.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from types import ModuleType
from typing import Any

import numpy as np

AREA = 400 * 320
"""Pixels that the classifier reads: those of the rated photographs (short side 320), so time and memory are bounded."""
SHOWN, WORTH_NAMING = 3, 0.05
"""Classes that are named at most, and the share from which one is."""
SIDE = 16
"""Its sides are multiples of this."""
FLATTENED = 0.5
"""Exponent that gives the classes behind the first a say."""
TABLE = np.array([0.2, 0.35])
"""Share of the table of scenes in valence and energy, beside the head: costs nothing on people's ratings, and makes fewer odd
errors (a castle read as sad)."""
SURE, LOST = 0.7, 5.5
"""Entropy of the classes, in nats, of a picture that the classifier is sure of and of one that says nothing to it (the 5th and
the 95th percentile of the rated photographs)."""
MOST, LEAST = 0.75, 0.35
"""Confidence of a photograph that the classifier is sure of, and of one that it is not."""
DRAWN = 0.5, 0.75
"""Share of pixels equal to their neighbour where a picture is hardly, and surely not, a photograph: 99 of 100 photographs have
less than 0.55, drawings, logos and screenshots have 0.8 and more."""
COLOURLESS, GREY = 3.0, 0.5
"""Mean chroma below which a picture is grey, and what is left of the confidence then: the classifier learned on colours."""
NOISY = 0.6, 0.75
"""The same for the share of pixels on an edge: noise and etchings; no photograph of 400 has 0.6."""


@dataclass(frozen=True)
class Content:
    """What a picture shows: classes with their shares, a scene; valence, energy and danger as percentiles of photographs."""

    classes: tuple[tuple[str, float], ...]
    scene: str
    why: str
    share: float
    valence: float
    energy: float
    danger: float
    confidence: float

    def __str__(self) -> str:
        return ", ".join(f"{name} {100 * share:.0f} %" for name, share in self.classes) or "nothing that it knows"


def runtime() -> ModuleType | None:
    """The onnxruntime module, or None where it is not installed: pictures are then read from their pixels alone."""
    try:
        import onnxruntime
    except ImportError:
        return None
    module: ModuleType = onnxruntime
    return module


@cache
def classifier() -> Any:
    """Tiny Darknet (Joseph Redmon, public domain) as a session of ONNX Runtime, on one thread."""
    ort = runtime()
    assert ort is not None
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False  # 8 MB less, as fast
    options.log_severity_level = 3
    with as_file(files("midivibe") / "data" / "tiny_darknet_fp16.onnx") as path:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@cache
def scenes() -> tuple[dict[str, Any], ...]:
    """The table of scenes: name, valence, energy, why, classes."""
    found: list[dict[str, Any]] = json.loads((files("midivibe") / "data" / "scenes.json").read_text())["scenes"]
    return tuple(found)


@cache
def head() -> dict[str, np.ndarray]:
    """What `scripts/fit_content.py` fitted, in single precision."""
    with as_file(files("midivibe") / "data" / "content.npz") as path, np.load(path) as found:
        return {name: values.astype(np.float32) for name, values in found.items()}


@cache
def class_names() -> tuple[str, ...]:
    """The classes in the order of the classifier's output: (C,)."""
    return tuple(json.loads((files("midivibe") / "data" / "classes.json").read_text()))


@cache
def scene_of_class() -> np.ndarray:
    """Which scene a class belongs to: (C, S) of 0 and 1; a class has one scene or none."""
    scene_of = {name: k for k, scene in enumerate(scenes()) for name in scene["classes"]}
    table = np.zeros((len(class_names()), len(scenes())), dtype=np.float32)
    for i, name in enumerate(class_names()):  # two cranes and two maillots share a name each
        if name in scene_of:
            table[i, scene_of[name]] = 1
    return table


def prior(probabilities: np.ndarray) -> np.ndarray:
    """What the table of scenes says of pictures: probabilities (B, C) -> valence, energy and strength twice: (B, P)."""
    table = np.array([(s["valence"], s["energy"], abs(s["valence"])) for s in scenes()])
    flat = probabilities**FLATTENED
    both = [share @ scene_of_class() @ table for share in (probabilities, flat / flat.sum(-1, keepdims=True))]
    found: np.ndarray = np.concatenate(both, axis=-1)
    return found


def shape_of(width: int, height: int) -> tuple[int, int]:
    """The width and height in which the classifier reads a picture of this shape."""
    scale = (AREA / (width * height)) ** 0.5
    w, h = (max(2 * SIDE, round(scale * side / SIDE) * SIDE) for side in (width, height))
    return min(w, AREA // (2 * SIDE)), min(h, AREA // (2 * SIDE))


def look(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) of bytes, in `shape_of` its shape -> probabilities (C,) and features (F,)."""
    image = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
    probabilities, features = classifier().run(["probabilities", "features"], {"image": image})
    return probabilities[0], features[0]


def judge(
    probabilities: np.ndarray, features: np.ndarray, m: dict[str, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(B, C) and (B, F) -> valence and energy before percentiles (B, 2), and likeness to the nearest rated photograph (B,)."""
    m = head() if m is None else m
    components = (features - m["mean"]) / m["sd"] @ m["basis"]  # (B, K)
    gaps = (components**2).sum(-1)[:, None] + (m["rated"] ** 2).sum(-1) - 2 * components @ m["rated"].T
    alike = np.exp(-gaps / m["width"])  # (B, N)
    table = prior(probabilities)
    told = (table - m["prior_mean"]) / m["prior_sd"]  # (B, P)
    fitted = m["middle"] + alike @ m["alpha"] + told @ m["beta"]
    return (1 - TABLE) * fitted + TABLE * told[:, :2] * m["spread"], alike.max(-1)


def danger(said: np.ndarray) -> np.ndarray:
    """Valence and energy (B, 2) -> how much a picture frightens: unpleasant and lively at once (B,)."""
    found: np.ndarray = said[:, 1] - said[:, 0]
    return found


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """How little the classifier is sure of a picture: (..., C) -> nats (...)."""
    found: np.ndarray = -(probabilities * np.log(probabilities + 1e-9)).sum(-1)
    return found


def likeness_to_photographs(pixels: np.ndarray, chroma: float, edges: float) -> float:
    """How far the classifier may be trusted with a picture (H, W, 3): 0 for logos, drawings, blank frames and noise, to 1."""
    if min(pixels.shape[:2]) < SIDE:
        return 0.0
    flat = float((np.abs(np.diff(pixels, axis=1)).max(-1) == 0).mean())
    drawn, noisy = (np.clip((x - low) / (high - low), 0, 1) for x, (low, high) in ((flat, DRAWN), (edges, NOISY)))
    return float((1 - drawn) * (1 - noisy) * (GREY if chroma < COLOURLESS else 1.0))


def content_of(picture: np.ndarray, photograph: float) -> Content:
    """What a picture (H, W, 3) of bytes shows; `photograph` is its `likeness_to_photographs`."""
    probabilities, features = look(picture)
    said, _ = judge(probabilities[None], features[None])
    said = np.append(said[0], danger(said))
    grid = np.linspace(0, 1, head()["quantiles"].shape[1])
    valence, energy, fright = (float(np.interp(x, q, grid)) for x, q in zip(said, head()["quantiles"], strict=True))
    sure = float(np.clip((LOST - entropy(probabilities)) / (LOST - SURE), 0, 1))
    best = np.argsort(-probabilities)[:SHOWN]
    shares = probabilities @ scene_of_class()
    scene = scenes()[int(shares.argmax())]
    return Content(
        tuple((class_names()[i], float(probabilities[i])) for i in best if probabilities[i] >= WORTH_NAMING),
        scene["name"], scene["why"], float(shares.max()), valence, energy, fright,
        photograph * (LEAST + (MOST - LEAST) * sure),
    )  # fmt: skip
