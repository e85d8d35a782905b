"""The music of ../shared/data as one table for `midivibe prepare`: bands, POP909, VGMIDI's unrated pieces, Groove's beats.

    python scripts/training_table.py && midivibe prepare data/raw/music.csv -o data/corpus/music --cap rock=0.4

EMOPIA and the rated pieces of VGMIDI are left out: they judge the mood of what the model writes.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

BAND_STYLES = {
    "rock": "rock", "pop": "pop", "country": "country", "rap_hip_hop": "rap", "rnb_soul": "rnb", "classic": "classic",
    "irishmidifiles": "folk", "elephanttalk": "rock",
}  # fmt: skip
BAND_LICENCES = {
    "freedoom": "BSD-3-Clause", "children": "CC BY-NC-SA", "tiny-karaoke": "CC BY-NC-SA", "rare-scores": "CC BY-NC-SA",
}  # fmt: skip
GROOVE_STYLES = {"rock": "rock", "pop": "pop", "punk": "rock", "country": "country", "hiphop": "rap", "soul": "rnb"}


def rows(shared: Path, raw: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """(path, song, style, source, licence), paths relative to `raw`."""
    with gzip.open(shared / "band.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            style = {"children": "children", "freedoom": "games"}.get(row["set"], BAND_STYLES.get(row["group"], "other"))
            licence = BAND_LICENCES.get(row["set"], "none stated")
            yield f"band/{row['path']}", row["path"], style, row["set"], licence
    for path in sorted((raw / "pop909").glob("*/*.mid")):
        yield str(path.relative_to(raw)), f"pop909/{path.stem}", "pop", "POP909", "MIT"
    for path in sorted((raw / "vgmidi" / "unlabelled").glob("*.mid")):
        yield str(path.relative_to(raw)), f"vgmidi/{path.stem}", "games", "VGMIDI", "none stated"
    with (shared / "groove.csv").open() as file:
        for row in csv.DictReader(file):
            if row["beat_type"] == "beat" and (raw / "groove" / row["midi_filename"]).is_file():
                style = GROOVE_STYLES.get(row["style"].split("/")[0], "other")
                yield f"groove/{row['midi_filename']}", f"groove/{row['midi_filename']}", style, "Groove", "CC BY 4.0"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="where the archives were unpacked")
    options = parser.parse_args()
    with (options.raw / "music.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("path", "song", "style", "source", "licence"))
        writer.writerows(rows(options.shared, options.raw))
