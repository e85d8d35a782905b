"""What must not change while the house is put in order: the notes of three pieces and three edits, as digests.

By the shipped checkpoint with the fp32 engine. A change of the weights, the sampling or the grammar makes new digests, in a
commit that says so; a change of structure makes none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from symusic import Score

from midivibe.studio import Studio

PIECES = ["55b8e512703df4da", "70e13ee419fafbed", "59632cb46e5b42fc"]
EDITS = ["10b00b5ca7e37a46", "85d265101a8a5785", "0494091b5c180c05"]
IMAGES = Path(__file__).parent.parent / "examples" / "images"


@pytest.fixture(scope="module")
def shipped() -> Studio:
    return Studio.open(engine="onnx-fp32")


def digest(score: Score) -> str:
    """SHA-256 of (program, start, duration, pitch, velocity) of every note, track by track."""
    rows = [(t.program, n.start, n.duration, n.pitch, n.velocity) for t in score.tracks for n in t.notes]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def song(shipped: Studio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pinned") / "song.mid"
    return shipped.compose(bars=12, seed=5, instruments="piano,bass,drums", tempo=100, key="G major").save(path)


def test_pieces_are_the_same(shipped: Studio) -> None:
    found = [
        digest(shipped.compose(IMAGES / "coffee.jpg", bars=8, seed=1).score),
        digest(shipped.compose(text="slow sad waltz", bars=20, seed=2).score),
        digest(shipped.compose([IMAGES / "cat.jpg", IMAGES / "rocket.jpg"], bars=6, seed=3, instruments="piano,bass").score),
    ]
    assert found == PIECES


def test_edits_are_the_same(shipped: Studio, song: Path) -> None:
    found = [
        digest(shipped.inpaint(song, bars="5-6", tracks="bass", seed=1).score),
        digest(shipped.continue_song(song, bars=2, seed=2).score),
        digest(shipped.accompany(song, "strings", bars="3-8", seed=3).score),
    ]
    assert found == EDITS
