"""The documentation is true: its code blocks run, its links lead somewhere, and the README stays short."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from functools import cache
from pathlib import Path

import pytest
from symusic import Note, Score, Tempo, TimeSignature, Track

from midivibe import cli
from midivibe.output import audio
from midivibe.studio import Studio
from tests.conftest import IMAGES, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [*PAGES, *(ROOT / p for p in ("CHANGELOG.md", "checkpoints/small/MODEL_CARD.md", "examples/README.md"))]
MOST_WORDS = 900

SHORTER = (
    (r"--max-minutes \d+", "--max-steps 2 --batch-tokens 1024 --precision fp32 --sample-every 0"),  # minutes of training
    (r"--init small", "--preset debug --set warmup_steps=1"),  # the debug network instead of the shipped one
    (r"--preset mini", "--preset debug"),
    (r"(midivibe prepare .*)", r"\1 --workers 1"),  # no processes to start
    (r"(compose .*|continue .*)--bars \d+", r"\1--bars 1"),
    (r"(compose (?!.*(--bars|--from|--form)).*)", r"\1 --bars 1"),
    (r"--form \w+", "--form A1B1"),
    (r"(midivibe compose (?!photo|.*--no-audio).*)", r"\1 --no-audio"),  # once is enough; render makes audio too
    (r"((inpaint|continue|accompany|vary) (?!.*(-o|--bars 9-12 --tracks bass)).*)", r"\1 --no-plot"),  # once is enough
    (r"--bars 9-12", "--bars 5"),  # edits: fewer cells
    (r"--bars 5-8", "--bars 1"),
    (r"accompany (.*)", r"accompany \1 --bars 3"),
    (r"--amount 0\.\d", "--amount 0.1"),
    (r"--variations [48]", "--variations 2"),
    (r"bars=(8|16|32)\b", "bars=2"),  # Python
    (r'bars="9-12"', 'bars="5"'),
    (r"variations=8", "variations=2"),
)
"""What the test runs instead of what the page says, so that it takes seconds: patterns, and what replaces them."""

PARSED = ("play", "evaluate", "benchmark", "doctor")
"""Commands that need loudspeakers, minutes or a clean machine: their flags are parsed, and they do not run."""


# The blocks of a page --------------------------------------------------------------------------------------------------


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, code) of each fenced block, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def shortened(code: str) -> str:
    for pattern, shorter in SHORTER:
        code = re.sub(pattern, shorter, code)
    return code


def needs_sound(line: str) -> bool:
    return ".render(" in line or line.startswith("midivibe render")


@pytest.fixture(scope="module")
def synthesizer() -> bool:
    return audio.synthesizer() is not None


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages name, as the current folder; a checkpoint is loaded once."""
    pictures = {"harbour": "china", "photo": "coffee", "dawn": "flower", "noon": "cat", "night": "hubble"}
    for name, image in pictures.items():
        shutil.copy(IMAGES / f"{image}.jpg", tmp_path / f"{name}.jpg")
    song(0).dump_midi(str(tmp_path / "song.mid"))
    (tmp_path / "my_midis").mkdir()
    for seed in range(12):
        song(seed).dump_midi(str(tmp_path / "my_midis" / f"song {seed}.mid"))
    rows = "".join(f"my_midis/song {seed}.mid,{'rock' if seed % 2 else 'pop'}\n" for seed in range(12))
    (tmp_path / "my_music.csv").write_text("path,style\n" + rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Studio, "open", cache(Studio.open))
    return tmp_path


def song(seed: int, bars: int = 8) -> Score:
    """A song of piano, bass and drums, different for each seed."""
    score = Score(480)
    score.tempos.append(Tempo(0, 100 + seed))
    score.time_signatures.append(TimeSignature(0, 4, 4))
    score.tracks.extend([Track("piano", 0), Track("bass", 33), Track("drums", 0, True)])
    piano, bass, drums = score.tracks
    for beat in range(4 * bars):
        root = (0, 5, 7, 9, 3, 2)[(beat // 4 * (seed + 1) + seed) % 6] + seed
        start = beat * 480
        piano.notes.append(Note(start, 240, 60 + root + (0, 4, 7, 12)[beat * (seed % 3 + 1) % 4], 80))
        bass.notes.append(Note(start, 480, 36 + root, 80))
        drums.notes.append(Note(start, 120, 38 if beat % 2 else 36, 90))
        drums.notes.append(Note(start + 240, 120, 42, 70))
    return score


def run_line(line: str) -> None:
    """One command of a shell block; fails where it does not exit with 0."""
    words = shlex.split(shortened(line))
    if words[1] in PARSED:
        cli.build_parser().parse_args(words[1:])
    else:
        assert cli.main(words[1:]) == 0, f"{line} (run as: {shlex.join(words)})"


def run_shell(code: str, synthesizer: bool) -> None:
    """The commands of a shell block, line by line."""
    for command in re.split(r"\n|&&", re.sub(r"(?<=\s)# .*", "", code.replace("\\\n", " "))):
        words = shlex.split(command)
        if not words or words[0] == "pip":
            continue
        if words[0] == "make":
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
            continue
        assert words[0] == "midivibe", f"the test does not know how to run {command}"
        if synthesizer or not needs_sound(command.strip()):
            run_line(command)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_code_blocks_run(page: Path, desk: Path, synthesizer: bool) -> None:
    namespace: dict[str, object] = {"__name__": page.stem}
    for language, code in blocks(page):
        if language == "python":
            kept = "\n".join(line for line in shortened(code).splitlines() if synthesizer or not needs_sound(line))
            exec(compile(kept, page.name, "exec"), namespace)
        else:
            assert language in ("bash", "console"), f"{page.name} has a block in {language}"
            run_shell(code, synthesizer)


# Pages -----------------------------------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= MOST_WORDS


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", TEXTS, ids=lambda p: p.name)
def test_links_and_images_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        path, _, anchor = (target[0] or target[1]).partition("#")
        if "://" in path:
            continue
        there = page if not path else Path(os.path.normpath(page.parent / path))
        assert there.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {path}#{anchor}"


def test_the_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site needs midivibe[docs]")
    pytest.importorskip("mkdocstrings", reason="the site needs midivibe[docs]")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site")))
    assert (tmp_path / "site" / "index.html").is_file()


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda p: p.name)
def test_every_page_is_in_the_site(page: Path) -> None:
    assert f": {page.name}\n" in (ROOT / "mkdocs.yml").read_text()
