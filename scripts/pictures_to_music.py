"""The music of 24 pictures of four kinds, beside what was seen in them: prints a table in Markdown.

    python scripts/pictures_to_music.py FOLDER [--photos data/raw/photos] [--bars 4] [--seed 1]

FOLDER is the unpacked oasis.tar. Numbers are photographs of BSDS500, which nothing was fitted to; names are photographs of
OASIS, whose ratings the head was fitted to.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from midivibe.midi.instruments import name_of
from midivibe.studio import Studio, picture_vibe
from midivibe.vibe.image import LOOKS_LIKE

KINDS = {
    "serene": "117025 143090 176035 22090 118035 107014",
    "joyful": "124084 376001 226033 225022 35010 46076",
    "gloomy": "346016 Cemetery_2 Prison_1 Garbage_dump_3 Depressed_pose_1 Destruction_4",
    "violent": "285022 War_2 Gun_4 Lightning_3 Dog_attack_1 Car_crash_1",
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, default=Path("data/raw/photos"))
    parser.add_argument("--bars", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    studio = Studio.open()
    print("| kind | picture | looks like | valence, energy, tension | music | band |\n|---|---|---|---|---|---|", flush=True)
    for kind, names in KINDS.items():
        for name in names.split():
            path = (options.photos if name.isdigit() else options.folder) / f"{name.replace('_', ' ')}.jpg"
            vibe = picture_vibe(path)
            felt = ", ".join(f"{vibe[axis]:.2f}" for axis in ("valence", "arousal", "tension"))
            piece = studio.compose(image=path, bars=options.bars, seed=options.seed)
            band = ", ".join(name_of(program) for program in piece.programs)
            music = f"{piece.key}, {piece.tempo:.0f} BPM, density {piece.heard['density']:.2f}"
            print(f"| {kind} | {name} | {vibe.reasons.get(LOOKS_LIKE, '')} | {felt} | {music} | {band} |", flush=True)
