"""The order of energy on 60 pictures of 12 kinds that nothing was fitted to: prints a table, with the mistakes.

    python scripts/fit_content.py --dry --held-out held-out.npz
    python scripts/energy_order.py held-out.npz [--photos data/raw/photos]

Numbers are photographs of BSDS500: only percentiles were taken of them. Names are photographs of OASIS, read by heads that saw
no picture of their theme. The kinds were named by looking, before any was read; `EXPECTED` is what a person would say.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from midivibe.vibe import content
from midivibe.vibe.image import read, sized

KINDS = {
    "sea": "117025 144067 249061 46076 26031",
    "lake": "143090 176035 65010 22090 241048",
    "mountain": "187071 55067 20008 2092 241004",
    "forest": "16052 176019 346016 Woods_1 Bridge_1",
    "animal at rest": "105027 69015 103041 8068 163096",
    "portrait": "189080 302003 302008 302022 14092",
    "city": "48017 City_1 Skyscraper_1 Skyscraper_2 Traffic_1",
    "animal running": "206062 Dog_1 Dog_20 Dog_attack_2 Dog_attack_3",
    "crowd": "245051 Dancing_3 Dancing_6 Band_1 Celebration_1",
    "fire": "285022 Fire_1 Fire_2 Fire_3 Fire_4",
    "storm": "Lightning_2 Lightning_3 Lightning_4 Thunderstorm_1 Thunderstorm_2",
    "sport": "206097 226022 226033 226043 61060",
}
EXPECTED = {
    "serene": ("sea", "lake", "mountain", "forest", "animal at rest"),
    "between": ("portrait", "city"),
    "lively": ("animal running", "crowd", "fire", "storm", "sport"),
}


def main() -> None:
    """Read the pictures and print them by kind, and how often a lively one is above a serene one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("held_out", type=Path, help="what scripts/fit_content.py --held-out wrote")
    parser.add_argument("--photos", type=Path, default=Path("data/raw/photos"))
    options = parser.parse_args()
    stored = np.load(options.held_out)
    place = {str(name).replace(" ", "_"): i for i, name in enumerate(stored["picture"])}
    table = content.head()["quantiles"][1]

    def energy(name: str) -> float:
        if name in place:
            said = stored["predicted"][place[name], 1]
        else:
            probabilities, features = content.look(sized(read(options.photos / f"{name}.jpg")))
            said = content.judge(probabilities[None], features[None])[0][0, 1]
        return float(np.interp(said, table, np.linspace(0, 1, len(table))))

    found = {kind: [energy(name) for name in names.split()] for kind, names in KINDS.items()}
    for kind, values in sorted(found.items(), key=lambda item: float(np.median(item[1]))):
        print(f"| {kind} | {np.median(values):.2f} | " + " ".join(f"{v:.2f}" for v in sorted(values)) + " |")
    low, middle, high = ([v for kind in kinds for v in found[kind]] for kinds in EXPECTED.values())
    pairs = {"lively above serene": (low, high), "between above serene": (low, middle), "lively above between": (middle, high)}
    for name, (below, above) in pairs.items():
        right = np.mean([[b > a for b in above] for a in below])
        print(f"{name}: {100 * right:.0f} % of {len(below) * len(above)} pairs")


if __name__ == "__main__":
    main()
