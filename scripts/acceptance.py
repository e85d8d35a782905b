"""Pictures × flag sets × seeds through compose, each file judged by a DAW check: is what was asked what came?

    python scripts/acceptance.py --judge ../shared/checks/daw_check.py [--photos data/raw/photos] [--pictures 20]

Prints a line a flag set and the faults found; exit 1 where there is one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from midivibe.midi.instruments import parse_instruments
from midivibe.midi.notes import DRUMS
from midivibe.midi.score import to_bytes
from midivibe.requests import Compose
from midivibe.studio import Studio

FLAG_SETS: list[dict[str, Any]] = [
    {"bars": 4, "time_signature": "3/4", "key": "D minor", "tempo": 92, "instruments": "piano,bass,drums"},
    {"bars": 8, "time_signature": "6/8", "key": "F# major", "tempo": 66.5, "instruments": "violin,cello,harp"},
    {"bars": 16},
    {"bars": 32, "key": "Bb minor", "instruments": "flute,strings,french horn,bass,drums"},
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--photos", type=Path, default=Path("data/raw/photos"))
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--checkpoint", type=Path)
    options = parser.parse_args()
    pictures = sorted(Path("examples/images").glob("*.jpg"))
    others = sorted(options.photos.glob("*.jpg"))
    need = options.pictures - len(pictures)
    pictures += others[:: max(1, len(others) // max(need, 1))][: max(need, 0)]
    pictures = pictures[: options.pictures]
    studio = Studio.open(options.checkpoint)
    faults = 0
    with tempfile.TemporaryDirectory() as place:
        for flags in FLAG_SETS:
            settings = [
                studio.settle(Compose(image=picture, seed=seed, **flags))
                for picture in pictures
                for seed in range(options.seeds)
            ]
            began = time.perf_counter()
            pieces = [piece for at in range(0, len(settings), 8) for piece in studio.perform(settings[at : at + 8])]
            seconds = time.perf_counter() - began
            passed, bytes_of = 0, []
            for index, piece in enumerate(pieces):
                path = piece.save(Path(place) / f"{index}.mid")
                command = [sys.executable, str(options.judge), str(path)]
                for flag, value in flags.items():
                    if flag == "instruments":
                        programs = ["drums" if p == DRUMS else str(p) for p in parse_instruments(value)]
                        command += ["--programs", ",".join(programs)]
                    else:
                        command += ["--" + flag.replace("_", "-"), str(value)]
                judged = subprocess.run(command, capture_output=True, text=True, check=False)
                complete = "instruments" not in flags or len(piece.score.tracks) == len(parse_instruments(flags["instruments"]))
                passed += judged.returncode == 0 and complete
                if judged.returncode or not complete:
                    print("  fault:", settings[index].source, settings[index].seed, judged.stdout.strip())
                bytes_of.append(to_bytes(piece.score))
            faults += len(pieces) - passed
            different = len(set(bytes_of))
            print(
                f"{flags}: {passed} of {len(pieces)} pass, {different} different, {seconds / len(pieces):.1f} s a piece",
                flush=True,
            )
        again = to_bytes(studio.perform([settings[0]])[0].score)
        print("same seed, same bytes, alone and in a batch:", again == bytes_of[0])
    return int(faults > 0 or again != bytes_of[0])


if __name__ == "__main__":
    sys.exit(main())
