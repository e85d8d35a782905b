"""What a picture shows: scenes and labels hold together, odd pictures are not trusted, cool hues ask for nothing harsh."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from midivibe import cli
from midivibe.piece import Settings
from midivibe.vibe import content
from midivibe.vibe.axes import AXES, Vibe
from midivibe.vibe.image import LOOKS_LIKE, image_vibe, pixels, read, sized
from midivibe.writing.arrangement import Arrangement
from tests.conftest import IMAGES

FELT = ("valence", "arousal", "tension")


def confidence(vibe: Vibe, axis: str = "valence") -> float:
    return vibe.confidence[AXES.index(axis)]


def saved(picture: Image.Image, folder: Path, name: str) -> Path:
    picture.save(folder / f"{name}.png")
    return folder / f"{name}.png"


def test_every_class_of_the_table_exists_and_has_one_scene() -> None:
    names = [name for scene in content.scenes() for name in scene["classes"]]
    assert set(names) <= set(content.class_names())
    assert max(Counter(names).values()) == 1
    for scene in content.scenes():
        assert -1 <= scene["valence"] <= 1 and -1 <= scene["energy"] <= 1 and scene["why"], scene["name"]
    energy = {scene["name"]: scene["energy"] for scene in content.scenes()}
    assert energy["still water and shore"] < energy["mountains and valleys"] < energy["traffic and city"] < energy["sport"]


def test_the_numbers_fit_the_classifier() -> None:
    assert len(content.class_names()) == 1000
    assert content.head()["basis"].shape[0] == 1024
    assert content.head()["quantiles"].shape[0] == len(FELT)
    assert all(np.isfinite(values).all() for values in content.head().values())
    assert (np.diff(content.head()["quantiles"]) >= 0).all()


@pytest.mark.parametrize("size", [(1, 1), (16, 4000), (4000, 16), (400, 320), (256, 171), (1024, 1024), (60_000, 2)])
def test_a_picture_of_any_shape_costs_as_much_as_any_other(size: tuple[int, int]) -> None:
    width, height = content.shape_of(*size)
    assert width % content.SIDE == height % content.SIDE == 0
    assert width * height <= 1.15 * content.AREA


@pytest.mark.parametrize(("name", "shows"), [("coffee", "espresso"), ("cat", "cat"), ("china", "monastery")])
def test_photographs_are_named_and_say_why(name: str, shows: str) -> None:
    vibe = image_vibe(IMAGES / f"{name}.jpg")
    assert shows in vibe.reasons[LOOKS_LIKE] and "%" in vibe.reasons[LOOKS_LIKE]
    assert vibe["valence"] > 0.6
    assert vibe["arousal"] < 0.5
    assert all("shows" in vibe.reasons[axis] for axis in FELT)
    assert set(AXES) | {LOOKS_LIKE} == set(vibe.reasons)
    assert vibe == image_vibe(IMAGES / f"{name}.jpg")


def drawing() -> Image.Image:
    picture = Image.new("RGB", (640, 480), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((420, 40, 520, 140), fill="yellow", outline="black", width=4)
    pen.polygon([(130, 250), (250, 150), (370, 250)], fill="#a22222", outline="black")
    return picture


def screenshot() -> Image.Image:
    picture = Image.new("RGB", (1280, 800), "#f5f5f5")
    pen = ImageDraw.Draw(picture)
    for line in range(60, 780, 18):
        pen.text((240, line), "def value(self): return 42  # a line of code", fill="black")
    return picture


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("black", lambda: Image.new("RGB", (640, 480))), ("drawing", drawing), ("screenshot", screenshot), ("noise", noise),
        ("dot", lambda: Image.new("RGB", (1, 1), "red")), ("line", lambda: Image.new("RGB", (3000, 2), "red")),
    ],
)  # fmt: skip
def test_what_is_no_photograph_is_not_read_as_one(tmp_path: Path, name: str, make: object) -> None:
    vibe = image_vibe(saved(make(), tmp_path, name))  # type: ignore[operator]
    assert LOOKS_LIKE not in vibe.reasons
    assert confidence(vibe, "valence") <= 0.3 and confidence(vibe, "arousal") <= 0.3


@pytest.mark.parametrize("name", ["coffee", "cat", "china", "flower"])
def test_grey_and_turned_photographs_are_trusted_less(tmp_path: Path, name: str) -> None:
    picture = Image.open(IMAGES / f"{name}.jpg").convert("RGB")
    plain = image_vibe(saved(picture, tmp_path, "plain"))
    grey = image_vibe(saved(picture.convert("L"), tmp_path, "grey"))
    assert confidence(grey) < confidence(plain)
    turned = [confidence(image_vibe(saved(picture.rotate(angle, expand=True), tmp_path, "turned"))) for angle in (90, 270)]
    assert np.mean(turned) <= confidence(plain) + 0.02


def test_what_a_picture_shows_moves_only_what_is_felt(tmp_path: Path) -> None:
    """Light, detail, hue and contrast are the pixels' own, whatever is shown."""
    said = Vibe.of(0.9, valence=0.1, arousal=0.9, tension=0.9)
    assert {a for a, c in zip(AXES, said.confidence, strict=True) if c} == set(FELT)
    shown = image_vibe(IMAGES / "cat.jpg")
    picture = read(IMAGES / "cat.jpg")
    assert pixels(picture).shape[2] == 3 and sized(picture).dtype == np.uint8
    assert confidence(shown, "brightness") == 0.9


def test_without_onnx_runtime_pictures_are_read_from_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "runtime", lambda: None)
    vibe = image_vibe(IMAGES / "cat.jpg")
    assert "pip install onnxruntime" in vibe.reasons[LOOKS_LIKE]
    assert confidence(vibe) <= 0.3


@pytest.mark.parametrize("hue", [(150, 190, 230), (40, 80, 160), (10, 30, 60), (120, 200, 190)])
def test_cool_hues_ask_for_nothing_harsh(tmp_path: Path, hue: tuple[int, int, int]) -> None:
    """Blank, and with hard slanted lines: no overdriven or distorted guitars, and hardly a cold timbre."""
    plain = Image.new("RGB", (320, 240), hue)
    lined = plain.copy()
    for x in range(0, 640, 12):
        ImageDraw.Draw(lined).line((x, 0, x - 200, 240), fill="white", width=4)
    for name, picture in (("plain", plain), ("lined", lined)):
        vibe = image_vibe(saved(picture, tmp_path, name))
        assert vibe["tension"] <= 0.5
        assert vibe["warmth"] >= 0.35
        assert Arrangement(Settings(vibes=(vibe,), seed=1)).gentle


def test_the_command_line_says_what_it_looks_like(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["vibe", str(IMAGES / "cat.jpg")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("looks like: ")
    assert printed.count("% sure") == len(AXES)
    assert cli.main(["vibe", str(IMAGES / "cat.jpg"), "--json"]) == 0
    assert "cat" in json.loads(capsys.readouterr().out)["reasons"][LOOKS_LIKE]
