"""Picture → Vibe: what it shows (`content`) for valence, arousal, tension; its pixels for light, detail, colour, contrast.

Pixels alone (colour-emotion formulas, borders and lines) explain little of what people feel (published r .25 to .45, Redies
2020), so they weigh in where a picture is no photograph. Words or `--vibe` override any axis.

H, W height and width of the analysed picture (long side at most 256); colours are CIE L*a*b* under D65.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from midivibe.errors import ImageError
from midivibe.vibe import content
from midivibe.vibe.axes import AXES, Vibe

LONG_SIDE = 256
MAX_PIXELS = 150_000_000
CONFIDENCE = dict(zip(AXES, (0.3, 0.3, 0.4, 0.9, 0.8, 0.9, 0.8), strict=True))
"""Of what pixels say: little of what people feel (r .18 for valence, .05 for arousal on 722 rated photographs)."""
LOOKS_LIKE, CLEAR_SCENE = "looks like", 0.3
"""The reason that names what a picture shows, and the share from which its scene is named."""


def load(path: str | Path) -> np.ndarray:
    """Read a picture for its pixels, its long side at most LONG_SIDE: (H, W, 3) float in 0..1; raises ImageError as `read`."""
    return pixels(read(path))


def pixels(picture: Image.Image) -> np.ndarray:
    """A picture as sRGB in 0..1, its long side at most LONG_SIDE: (H, W, 3)."""
    small = picture.copy()
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64) / 255


def sized(picture: Image.Image) -> np.ndarray:
    """A picture in the size that the classifier reads: (H, W, 3) bytes."""
    return np.asarray(picture.resize(content.shape_of(*picture.size), Image.Resampling.BILINEAR))


def read(path: str | Path) -> Image.Image:
    """Read a picture upright as sRGB, its long side at most twice LONG_SIDE.

    The first frame of an animation or multi-page file; transparency is laid on white.

    Raises:
        ImageError: missing, a folder, not a picture, damaged, or over MAX_PIXELS.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"no picture at {path}")
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name a picture in it")
    if not path.is_file():  # a pipe would be waited for
        raise ImageError(f"{path} is not a picture that can be read")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ImageError(f"cannot open {path}: {error.strerror}") from error
    if b"<svg" in head.lower() or path.suffix.lower() == ".svg":
        raise ImageError(f"{path} is an SVG drawing; export it as PNG first")
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"heim"):
        _register_heif(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                return _upright(picture, path)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not a picture that can be read, or is damaged") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} has too many pixels; make it smaller than {MAX_PIXELS:,}") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error ... all meaning damaged bytes
        raise ImageError(f"cannot read {path}: {error}") from error


def _register_heif(path: Path) -> None:
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(f"{path} is HEIC; pip install pillow-heif to read it, or save it as JPEG") from None
    pillow_heif.register_heif_opener()


def _upright(picture: Image.Image, path: Path) -> Image.Image:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path} is {width} × {height} pixels; the limit is {MAX_PIXELS:,} in all")
    picture.draft("RGB", (2 * LONG_SIDE, 2 * LONG_SIDE))  # JPEG decoders can skip detail that is not needed
    picture.seek(0)
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        grey = np.asarray(upright, dtype=np.float64)
        top = 65535.0 if upright.mode.startswith("I;16") or grey.max() > 255 else 255.0 if grey.max() > 1 else 1.0
        upright = Image.fromarray((grey / top * 255).clip(0, 255).astype(np.uint8), "L")
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    upright = upright.convert("RGB")
    upright.thumbnail((2 * LONG_SIDE, 2 * LONG_SIDE), Image.Resampling.BOX)
    return upright


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB 0..1 → CIE L*a*b*, D65 (IEC 61966-2-1, CIE 15): (H, W, 3)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array(
        [[0.4124564, 0.2126729, 0.0193339], [0.3575761, 0.7151522, 0.1191920], [0.1804375, 0.0721750, 0.9503041]]
    )
    t = xyz / np.array([0.95047, 1.0, 1.08883])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def features(rgb: np.ndarray) -> dict[str, float]:
    """What the axes are made of, from an (H, W, 3) picture in 0..1."""
    lab = to_lab(rgb)
    light, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    chroma, hue = np.hypot(a, b), np.arctan2(b, a)
    top, low = rgb.max(-1), rgb.min(-1)
    value, saturation = float(top.mean()), float(((top - low) / np.maximum(top, 1e-9)).mean())
    # Valdez & Mehrabian 1994
    pleasure, energy = 0.69 * value + 0.22 * saturation, -0.31 * value + 0.60 * saturation
    # Ou et al. 2004: warm-cool, heavy-light, active-passive; colours add, so means over pixels are legitimate
    warm = float((-0.5 + 0.02 * chroma**1.07 * np.cos(hue - np.deg2rad(50))).mean())
    heavy = float((-2.1 + 0.05 * (100 - light)).mean())
    active = float((-1.1 + 0.03 * np.sqrt(chroma**2 + ((light - 50) / 1.5) ** 2)).mean())
    # Two-term fits to the Berkeley Color Project's ratings of happy, sad and angry (Palmer & Schloss)
    ls, cs = (light - 60) / 40, chroma / 60
    joy = float((-0.336 + 0.319 * ls + 0.648 * cs).mean())
    anger = float((-0.316 - 0.267 * ls - 0.036 * cs + 0.370 * a / 60 + 0.338 * b / 60).mean())
    # Hasler & Süsstrunk 2003
    red_green, yellow_blue = 255 * (rgb[..., 0] - rgb[..., 1]), 255 * ((rgb[..., 0] + rgb[..., 1]) / 2 - rgb[..., 2])
    colourful = float(np.hypot(red_green.std(), yellow_blue.std()) + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))
    gy, gx = np.gradient(light) if min(light.shape) > 1 else (np.zeros_like(light), np.zeros_like(light))
    edge = np.hypot(gx, gy)
    angle = np.rad2deg(np.arctan2(gy, gx)) % 90
    slanted = (angle > 15) & (angle < 75)
    strong = edge > 12
    return {
        "pleasure": pleasure, "energy": energy, "warm": warm, "heavy": heavy, "active": active, "joy": joy, "anger": anger,
        "colourful": colourful, "edges": float((edge > 6).mean()), "texture": float(np.log1p(edge.mean())),
        "slanted": float(edge[slanted].sum() / max(edge.sum(), 1e-9)) if edge.sum() > 1e-6 else 0.0,
        "harsh": float(strong.mean()), "lightness": float(light.mean()), "spread": float(light.std()),
        "chroma": float(chroma.mean()), "saturation": saturation,
    }  # fmt: skip


def raw_axes(feature: dict[str, float], scale: dict[str, list[float]]) -> np.ndarray:
    """Seven unscaled values in the order of AXES; `scale` holds the mean and sd of each feature over the references: (7,)."""
    z = {name: float(np.clip((feature[name] - m) / s, -3, 3)) for name, (m, s) in scale.items()}
    return np.array(
        [
            0.45 * z["pleasure"] + 0.45 * z["joy"] - 0.10 * z["heavy"],
            0.30 * z["energy"] + 0.30 * z["active"] + 0.15 * z["colourful"] + 0.15 * z["edges"] + 0.10 * z["anger"],
            0.40 * z["anger"] + 0.25 * z["slanted"] + 0.35 * z["harsh"],
            feature["lightness"],
            0.5 * z["edges"] + 0.5 * z["texture"],
            feature["warm"],
            feature["spread"],
        ]
    )


COOL = 0.3
"""How much of a cool hue is asked of the timbre. Colours reach music through feeling (Palmer et al. 2013): blue and pale go
with slow and soft, not with harsh; asked for whole, every cool picture became distorted guitars."""


@cache
def reference() -> dict[str, Any]:
    """Scales and percentile tables measured on reference photographs, from data/reference_image.json."""
    found: dict[str, Any] = json.loads((files("midivibe") / "data" / "reference_image.json").read_text())
    return found


def image_vibe(path: str | Path) -> Vibe:
    """The vibe of a picture file, with the reasons in words: what it shows over what its pixels say; raises ImageError."""
    picture = read(path)
    rgb = pixels(picture)
    feature = features(rgb)
    seen = vibe_of_features(feature)
    photograph = content.likeness_to_photographs(rgb, feature["chroma"], feature["edges"])
    if photograph == 0:
        return seen
    if content.runtime() is None:
        return seen.override(Vibe(reasons={LOOKS_LIKE: "not read, for want of ONNX Runtime: pip install onnxruntime"}))
    shown = vibe_of_content(content.content_of(sized(picture), photograph))
    both = {axis: f"{reason}; {seen.reasons[axis]}" if axis in AXES else reason for axis, reason in shown.reasons.items()}
    return seen.override(replace(shown, reasons=both))


def vibe_of_content(shown: content.Content) -> Vibe:
    """Valence, arousal and tension of what a picture shows."""

    def side(value: float, low: str, high: str) -> str:
        return low if value < 0.35 else high if value > 0.65 else f"neither {low} nor {high}"

    scene = f" ({shown.scene}: {shown.why})" if shown.share >= CLEAR_SCENE else ""
    reasons = {
        LOOKS_LIKE: str(shown),
        "valence": f"shows what people find {side(shown.valence, 'unpleasant', 'pleasant')}",
        "arousal": f"shows what is {side(shown.energy, 'serene', 'lively')}{scene}",
        "tension": f"shows what is {side(shown.danger, 'peaceful', 'threatening')}",
    }
    values = {"valence": shown.valence, "arousal": shown.energy, "tension": shown.danger}
    return Vibe.of(shown.confidence, reasons, **values)


def vibe_of_features(feature: dict[str, float]) -> Vibe:
    """The vibe of a picture by its pixels alone."""
    table = reference()
    raw = raw_axes(feature, table["scale"])
    grid = np.linspace(0, 1, len(table["quantiles"][0]))
    values = [float(np.interp(x, q, grid)) for x, q in zip(raw, table["quantiles"], strict=True)]
    v = dict(zip(AXES, values, strict=True))
    if v["warmth"] < 0.5:
        values[AXES.index("warmth")] = 0.5 - COOL * (0.5 - v["warmth"])
        values[AXES.index("tension")] = min(0.5, v["tension"])  # only what it shows can make a cool picture harsh

    def side(axis: str, low: str, middle: str, high: str) -> str:
        return low if v[axis] < 0.35 else high if v[axis] > 0.65 else middle

    reasons = {
        "valence": side("valence", "dull or dark colours", "ordinary colours", "light, clear colours")
        + f" (chroma {feature['chroma']:.0f})",
        "arousal": side("arousal", "quiet, pale colours", "ordinary colours", "saturated, active colours")
        + f" (saturation {feature['saturation']:.2f}, colourfulness {feature['colourful']:.0f})",
        "tension": side("tension", "soft borders", "some hard borders", "red tones or hard, slanted borders")
        + f" ({100 * feature['harsh']:.0f} % harsh)",
        "brightness": side("brightness", "dark", "medium light", "bright") + f" (L* {feature['lightness']:.0f})",
        "density": side("density", "smooth, few edges", "some detail", "busy, many edges")
        + f" ({100 * feature['edges']:.0f} % edges)",
        "warmth": side("warmth", "cool hues", "neutral hues", "warm hues") + f" ({feature['warm']:+.2f})",
        "contrast": side("contrast", "even light", "medium contrast", "strong light and dark")
        + f" (L* spread {feature['spread']:.0f})",
    }
    return Vibe(tuple(values), tuple(CONFIDENCE[a] for a in AXES), reasons)
