"""Cold `midivibe compose` of 16 bars with audio: seconds, peak memory and where the time goes, medians of several runs.

    python benchmarks/cold_start.py [--runs 5] [--image examples/images/coffee.jpg]

Every run is a new process in an empty folder. The stages are timed inside one more process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = """
import json, sys, time
marks = [("start", time.perf_counter())]
def mark(name): marks.append((name, time.perf_counter()))
import torch; mark("import torch")
import pyro; mark("import pyro")
from midivibe.studio import Studio; mark("import the rest")
studio = Studio.open(); mark("load the checkpoint")
settings = studio.settle(sys.argv[1], bars=16, seed=int(sys.argv[2])); mark("see the picture")
piece = studio.perform([settings])[0]; mark("write the notes")
piece.save("x.mid"); mark("save the MIDI")
piece.render("x.wav"); mark("render the audio")
piece.plot("x.png"); mark("plot the piano roll")
tokens = piece.score.note_num()
print(json.dumps({"notes": tokens, **{n: round(t - p, 3) for (_, p), (n, t) in zip(marks, marks[1:])}}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--image", type=Path, default=Path(__file__).parent.parent / "examples" / "images" / "coffee.jpg")
    options = parser.parse_args()
    image = str(options.image.resolve())
    walls, helps = [], []
    for seed in range(options.runs):
        with tempfile.TemporaryDirectory() as place:
            began = time.perf_counter()
            command = [sys.executable, "-m", "midivibe", "compose", image, "--bars", "16", "--seed", str(seed)]
            subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)
            walls.append(time.perf_counter() - began)
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "midivibe", "--help"], cwd=place, check=True, stdout=subprocess.DEVNULL)
            helps.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as place:
        run = subprocess.run([sys.executable, "-c", STAGES, image, "0"], cwd=place, check=True, capture_output=True, text=True)
    print(
        json.dumps(
            {
                "compose_seconds": [round(w, 2) for w in walls],
                "compose_median": round(statistics.median(walls), 2),
                "help_median": round(statistics.median(helps), 3),
                "peak_megabytes": round(peak),
                "stages_of_one_run": json.loads(run.stdout.splitlines()[-1]),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
