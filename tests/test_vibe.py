"""Pictures, words and music on the same seven axes; no input makes them fail in an unplanned way."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from midivibe.errors import ImageError, InputError
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.theory import Key, detect_key
from midivibe.tokens.vocabulary import (
    GRID_TICKS,
)
from midivibe.vibe import words
from midivibe.vibe.axes import AXES, Vibe, blend
from midivibe.vibe.image import image_vibe, load, to_lab
from midivibe.vibe.music import features, vibe_of
from tests.conftest import IMAGES


def test_axes_parse_override_and_blend() -> None:
    asked = Vibe.parse("valence=0.2, density=0.8")
    assert asked["valence"] == 0.2
    assert asked["arousal"] == 0.5
    assert asked.confidence[AXES.index("arousal")] == 0
    picture = Vibe((0.9,) * 7, (0.5,) * 7)
    both = picture.override(asked)
    assert both["valence"] == 0.2  # full confidence wins whole
    assert both["arousal"] == 0.9
    half = picture.override(Vibe.of(0.5, valence=0.1))
    assert 0.1 < half["valence"] < 0.5
    middle = blend([(Vibe.of(valence=0.0), 1.0), (Vibe.of(valence=1.0), 1.0)])
    assert middle["valence"] == pytest.approx(0.5)
    assert picture.distance(both) > 0
    assert picture.distance(picture) == 0
    assert asked.array().shape == (14,)
    assert asked.array()[0] == pytest.approx(-0.6)
    assert asked.array()[1] == 0
    assert "dense" in asked.describe()


@pytest.mark.parametrize(
    ("text", "match"),
    [("valance=0.2", "nearest are valence"), ("valence=2", "from 0 to 1"), ("valence=x", "'x'"), ("valence", "number")],
)
def test_bad_axes_are_named(text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        Vibe.parse(text)


def test_lab_of_known_colours() -> None:
    """Values of the CIE for sRGB white, red and mid grey under D65."""
    lab = to_lab(np.array([[[1.0, 1, 1], [1, 0, 0], [0.5, 0.5, 0.5]]]))[0]
    assert np.allclose(lab, [[100, 0, 0], [53.24, 80.09, 67.20], [53.39, 0, 0]], atol=0.05)


def solid(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (64, 48), colour)


def test_pictures_say_what_their_colours_say(tmp_path: Path) -> None:
    vibes = {}
    for name, colour in {"black": (5, 5, 8), "sun": (255, 225, 120), "ice": (150, 190, 230), "red": (200, 20, 20)}.items():
        solid(colour).save(tmp_path / f"{name}.png")
        vibes[name] = image_vibe(tmp_path / f"{name}.png")
    assert vibes["black"]["brightness"] < 0.05 < 0.9 < vibes["sun"]["brightness"]
    assert vibes["ice"]["warmth"] < 0.4 < 0.8 < vibes["red"]["warmth"]
    assert vibes["sun"]["valence"] > 0.8 > vibes["black"]["valence"]
    assert vibes["red"]["tension"] > vibes["ice"]["tension"]
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert image_vibe(tmp_path / "noise.png")["density"] > 0.95 > vibes["red"]["density"]
    assert set(vibes["red"].reasons) == set(AXES)


def test_the_way_a_picture_is_stored_does_not_matter(tmp_path: Path) -> None:
    """PNG, palette, alpha on white, EXIF rotation, CMYK, 16 bit, GIF and TIFF frames."""
    picture = Image.open(IMAGES / "coffee.jpg").resize((240, 160))
    picture.save(tmp_path / "plain.png")
    plain = np.array(image_vibe(tmp_path / "plain.png").values)

    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert np.allclose(image_vibe(tmp_path / "turned.png").values, plain, atol=1e-9)

    picture.convert("RGBA").save(tmp_path / "alpha.png")
    picture.convert("CMYK").save(tmp_path / "cmyk.tif")
    picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(tmp_path / "palette.png", transparency=0)
    picture.save(tmp_path / "frames.gif", save_all=True, append_images=[solid((0, 0, 0)).resize((240, 160))])
    picture.save(tmp_path / "pages.tif", save_all=True, append_images=[solid((0, 0, 0)).resize((240, 160))])
    for name, near in (
        ("alpha.png", 1e-9),
        ("cmyk.tif", 0.05),
        ("palette.png", 0.25),
        ("frames.gif", 0.25),
        ("pages.tif", 1e-9),
    ):
        assert np.allclose(image_vibe(tmp_path / name).values, plain, atol=near), name

    grey = np.asarray(picture.convert("L"))
    Image.fromarray(grey).save(tmp_path / "grey8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey16.png")
    assert np.allclose(image_vibe(tmp_path / "grey8.png").values, image_vibe(tmp_path / "grey16.png").values, atol=1e-6)
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    assert len(image_vibe(tmp_path / "dot.png").values) == 7


def test_heic(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    Image.open(IMAGES / "cat.jpg").save(tmp_path / "cat.heic", quality=90)
    assert np.allclose(image_vibe(tmp_path / "cat.heic").values, image_vibe(IMAGES / "cat.jpg").values, atol=0.1)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 64)
    chunks = [body, data]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)


def test_bad_pictures_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes((IMAGES / "coffee.jpg").read_bytes()[:9000])
    (tmp_path / "vast.png").write_bytes(png_header(60_000, 60_000))
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'></svg>")
    (tmp_path / "folder.jpg").mkdir()
    for name, match in (
        ("missing.jpg", "no picture at"), ("folder.jpg", "is a folder"), ("text.jpg", "not a picture"),
        ("empty.png", "not a picture"), ("cut.jpg", "truncated"), ("vast.png", "pixels"), ("drawing.svg", "export it as PNG"),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=match):
            load(tmp_path / name)


def test_words_are_understood() -> None:
    request = words.parse("slow sad piano in D minor, 70 bpm")
    assert request.tempo == 70
    assert request.key == Key("D", "minor")
    assert request.programs == (0,)
    assert request.vibe["valence"] < 0.3
    assert request.vibe["arousal"] < 0.4
    assert request.ignored == ()
    waltz = words.parse("not sad, very happy waltz with no drums, strings and flute")
    assert waltz.meter == (3, 4)
    assert waltz.excluded == (DRUMS,)
    assert waltz.programs == (48, 73)
    assert words.parse("fast-paced").tempo == words.parse("fast").tempo
    assert words.parse("a 'happy-go' up-tempo tune").vibe["valence"] > 0.7
    assert words.parse("very " * 3000 + "fast").tempo == 220
    assert words.parse("calm, no bass and without fiddle").excluded == (*range(32, 40), 110)
    assert waltz.vibe["valence"] > 0.7
    assert words.parse("sparse and bright").vibe["density"] < 0.2
    assert words.parse("dark").vibe["brightness"] < 0.2
    assert words.parse("a minor tune").key is None
    assert words.parse("a tune in A minor").key == Key("A", "minor")
    assert words.parse("6/8").meter == (6, 8)
    assert words.parse("celtic").style == "folk"
    assert words.parse("flibbertigibbet").ignored == ("flibbertigibbet",)


def test_degree_negation_and_inflection() -> None:
    plain, very, slightly, negated = (
        words.parse(t).vibe["valence"] for t in ("happy", "very happy", "slightly happy", "not happy")
    )
    assert negated < 0.5 < slightly < plain <= very
    assert words.parse("very slow").tempo < words.parse("slow").tempo < words.parse("slightly slow").tempo  # type: ignore[operator]
    for inflected, base in (
        ("sadness", "sad"),
        ("happily", "happy"),
        ("gloomier", "gloomy"),
        ("calmly", "calm"),
        ("stormy", "stormy"),
    ):
        assert words.stem(inflected) == base


def test_there_are_enough_mood_words() -> None:
    rated = [w for w, entry in words.moods().items() if "valence" in entry]
    assert len(rated) >= 150
    assert all(-1 <= words.moods()[w][axis] <= 1 for w in rated for axis in ("valence", "arousal"))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_no_text_fails(text: str) -> None:
    request = words.parse(text)
    assert all(0 <= x <= 1 for x in request.vibe.values)


def test_keys() -> None:
    for text, spelled, tonic, sharps in (
        ("D minor", "D minor", 2, -1), ("F# major", "F# major", 6, 6), ("Gb", "Gb major", 6, -6), ("Bbm", "Bb minor", 10, -5),
        ("c", "C major", 0, 0), ("C# major", "C# major", 1, 7), ("g#maj", "Ab major", 8, -4), ("Eb min", "Eb minor", 3, -6),
    ):  # fmt: skip
        key = Key.parse(text)
        assert (str(key), key.tonic, key.sharps) == (spelled, tonic, sharps)
    for bad in ("H minor", "", "D dorian", "minor"):
        with pytest.raises(InputError, match="unknown key"):
            Key.parse(bad)
    for mode in ("major", "minor"):
        for tonic in range(12):
            key = Key.of(tonic, mode)
            assert (Key.parse(str(key)), key.tonic) == (key, tonic)
            assert (7 * key.sharps) % 12 == (tonic if mode == "major" else (tonic + 3) % 12)
            assert -6 <= key.sharps <= 6
    scale = np.zeros(12)
    scale[[0, 2, 4, 5, 7, 9, 11]] = [4, 1, 2, 1, 3, 1, 1]
    for tonic in range(12):
        assert detect_key(np.roll(scale, tonic))[:2] == (tonic, "major")


def tune(pitches: list[int], step: int, length: int, velocity: int = 80, program: int = 0, tempo: float = 120.0) -> Notes:
    n = len(pitches)
    onset = np.arange(n) * step
    bars = int((onset[-1] + length) // (4 * GRID_TICKS)) + 1
    starts = np.arange(bars + 1) * 4 * GRID_TICKS
    columns = onset, np.full(n, length), np.array(pitches), np.full(n, velocity), np.full(n, program)
    return Notes(*columns, GRID_TICKS, starts, np.full(bars, tempo), [(4, 4)] * bars)


def test_music_moves_along_the_axes() -> None:
    major, minor = [60, 64, 67, 72, 67, 64, 65, 69] * 4, [60, 63, 67, 72, 67, 63, 65, 68] * 4
    base = vibe_of(tune(major, 6, 6))
    assert base["valence"] > vibe_of(tune(minor, 6, 6))["valence"]
    assert (
        vibe_of(tune(major, 3, 3, 110, tempo=160.0))["arousal"]
        > base["arousal"]
        > vibe_of(tune(major, 24, 24, 40, tempo=60.0))["arousal"]
    )
    assert vibe_of(tune([p + 12 for p in major], 6, 6))["brightness"] > base["brightness"]
    assert vibe_of(tune(major, 6, 6, program=48))["warmth"] > vibe_of(tune(major, 6, 6, program=81))["warmth"]
    clusters = tune([60, 61, 66, 62] * 8, 3, 12)
    assert vibe_of(clusters)["tension"] > vibe_of(tune([60, 64, 67, 64] * 8, 3, 12))["tension"]
    assert features(tune(major, 6, 6))["dissonance"] == features(tune([p + 5 for p in major], 6, 6))["dissonance"]


def test_distortion_is_tense_and_neither_warm_nor_cold() -> None:
    fifths = [40, 47, 40, 47, 43, 50, 43, 50] * 4
    nylon, clean, overdriven, distorted = (vibe_of(tune(fifths, 6, 12, program=p)) for p in (24, 27, 29, 30))
    assert min(overdriven["tension"], distorted["tension"]) > nylon["tension"] + 0.3
    assert clean["tension"] == nylon["tension"]
    assert clean["warmth"] <= distorted["warmth"] == overdriven["warmth"] == pytest.approx(0.5, abs=0.05)
    assert "distorted" in distorted.reasons["tension"]
    assert "distorted" not in clean.reasons["tension"]
    band = tune(fifths, 6, 12, program=48)
    both = band.joined(tune(fifths, 6, 12, program=30))
    assert vibe_of(both)["warmth"] == vibe_of(band)["warmth"] > 0.8
    assert vibe_of(both)["tension"] > vibe_of(band)["tension"]


def test_bells_glass_and_airy_pads_are_cold() -> None:
    warm, cold = (48, 52, 24, 71, 68), (8, 9, 14, 92, 88, 98)
    notes = [60, 64, 67, 72] * 6
    heard = {p: vibe_of(tune(notes, 6, 6, program=p))["warmth"] for p in warm + cold}
    assert max(heard[p] for p in cold) < 0.1 < 0.8 < min(heard[p] for p in warm)


def test_density_hears_tempo_voices_and_drums() -> None:
    notes = [60, 64, 67, 72] * 8
    slow, fast = (vibe_of(tune(notes, 6, 6, tempo=t))["density"] for t in (75.0, 150.0))
    assert slow < fast
    halved = vibe_of(tune(notes, 3, 3, tempo=75.0))["density"]  # as many notes a second as `fast`, twice as many a bar
    assert halved > fast
    one = tune(notes, 6, 6)
    densities = [
        vibe_of(n)["density"]
        for n in (one, one.joined(tune(notes, 6, 6, program=48)), one.joined(tune([36] * 32, 6, 6, program=DRUMS)))
    ]
    assert densities[0] < min(densities[1:])


def test_clip_reads_a_local_model(tmp_path: Path) -> None:
    """The real loading code on a tiny CLIP built here; and a clear error where no weights are."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        CLIPTextConfig,
        CLIPVisionConfig,
        PreTrainedTokenizerFast,
    )

    from midivibe.vibe.clip import PROMPTS, clip_vibe

    vocabulary = {"<pad>": 0, "<end>": 1, "<unk>": 2}
    for low, high in PROMPTS.values():
        for word in " ".join((*low, *high)).split():
            vocabulary.setdefault(word.strip(","), len(vocabulary))
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextConfig(vocab_size=len(vocabulary), max_position_embeddings=32, eos_token_id=1, pad_token_id=0, **size)
    vision = CLIPVisionConfig(image_size=32, patch_size=8, **size)
    CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)).save_pretrained(
        tmp_path
    )
    crop = {"height": 32, "width": 32}
    CLIPProcessor(CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop), fast).save_pretrained(tmp_path)
    vibe = clip_vibe(IMAGES / "coffee.jpg", tmp_path)
    assert all(0 < x < 1 for x in vibe.values)
    assert vibe.values == clip_vibe(IMAGES / "coffee.jpg", tmp_path).values
    with pytest.raises(ImageError, match="MIDIVIBE_CLIP"):
        clip_vibe(IMAGES / "coffee.jpg", tmp_path / "nowhere")
