"""EMOPIA and VGMIDI as one table of rated music, for `midivibe evaluate --rated`: writes data/raw/rated.csv.

    python scripts/rated_table.py [--raw data/raw] [--labels ../shared/data]

EMOPIA's quadrants become signs of valence and arousal; its groups are songs, VGMIDI's are series.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, default=Path("data/raw"))
    parser.add_argument("--labels", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    rows: list[tuple[str, object, object, str, str]] = []
    with (options.labels / "emopia.csv").open() as file:
        for row in csv.DictReader(file):
            valence, arousal = 1 if row["quadrant"] in ("Q1", "Q4") else -1, 1 if row["quadrant"] in ("Q1", "Q2") else -1
            rows.append((f"emopia/{row['path']}", valence, arousal, row["song"], "emopia"))
    with (options.labels / "vgmidi.csv").open() as file:
        for row in csv.DictReader(file):
            if row["valence"]:
                rows.append((f"vgmidi/{row['path']}", row["valence"], row["arousal"], row["series"], "vgmidi"))
    with (options.raw / "rated.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "valence", "arousal", "group", "set"))
        table.writerows(rows)
    print(f"{len(rows)} rated pieces")


if __name__ == "__main__":
    main()
