"""Draw the pictures of the README and the site (docs/coffee.png, docs/inpaint-*.png): readme_pictures.py [SEED]."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from midivibe import Studio
from midivibe.midi.score import read
from midivibe.output.pianoroll import plot_score

ROOT = Path(__file__).parent.parent

if __name__ == "__main__":
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    studio = Studio.open()
    piece = studio.compose(ROOT / "examples" / "images" / "coffee.jpg", seed=seed)
    piece.title = "coffee"
    piece.plot(ROOT / "docs" / "coffee.png")
    print(piece.why())
    with tempfile.TemporaryDirectory() as folder:
        song = piece.save(Path(folder) / "coffee.mid")
        edit = studio.inpaint(song, "9-12", seed=seed)
        score, bars = read(song), edit.song.bar_start
        hole = (int(bars[8]), int(bars[12]))
        plot_score(score, ROOT / "docs" / "inpaint-before.png", "before: bars 9-12 are selected", marked=[hole])
        edit.title = "after: every other note is unchanged"
        edit.plot(ROOT / "docs" / "inpaint-after.png")
        print(edit.why())
