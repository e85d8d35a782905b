"""Print the tables of quality and speed for docs/figures.md, from the JSON files of evaluate and benchmark.

python scripts/readme_tables.py report/report.json
python scripts/readme_tables.py benchmarks/benchmark.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def shown(value: object, digits: int = 2) -> str:
    """A figure, with its interval where it has one."""
    if isinstance(value, list):
        mean, low, high = (None if x is None else f"{x:.{digits}f}" for x in value)
        return f"{mean}" + (f" ({low} to {high})" if low is not None else "")
    return "" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def quality(s: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of: what, midivibe, human music measured in the same way, and the floor."""
    loss, music, control, mood = s["likelihood"], s["music"], s["control"], s["mood"]
    original, latent, ends = s["originality"], s["latent"], s["music"]["endings"]
    rows: list[tuple[str, ...]] = [("", "midivibe", "human music", "floor")]

    def row(what: str, ours: str, people: str = "", floor: str = "") -> None:
        rows.append((what, ours, people, floor))

    def both(what: str, found: dict[str, Any], key: str) -> None:
        row(what, shown(found["ours"][key]), shown(found["human"][key]))

    row("nats a note on held-out songs", shown(loss["nats_a_note"]))
    latents = f"{shown(loss['kl_a_window'], 1)}, {shown(loss['shuffle_gap_a_window'], 1)}"
    row("KL, shuffle gap, nats a window", latents)
    sets = [k for k in ("ours", "human", "markov") if k in music]
    distance = [f"{shown(music[k]['frechet']['distance'], 1)}" for k in sets]
    row(f"Fréchet distance to human music, {music['pieces']['ours']} pieces (floor: Markov)", *distance)
    row("MGEval, mean overlap (floor: Markov)", *(shown(music[k]["mean_overlap"]) for k in sets))
    for k, v in sorted(music["ours"]["gap_in_sd"].items(), key=lambda g: -abs(g[1] or 0))[:3]:
        row(f"gap in {k.replace('_', ' ')}, in sd", shown(v), *(shown(music[w]["gap_in_sd"][k]) for w in sets[1:]))
    for k in ("on_tonic", "last_bar_density"):
        both(f"endings: {k.replace('_', ' ')}", ends, k)
    exact = min(control["exact"][k] for k in ("bars", "tempo", "meter", "key_signature", "instruments"))
    what = f"asked and found: bars, tempo, meter, key, instruments ({control['exact_pieces']} pieces)"
    row(what, f"{100 * exact:.0f} %")
    for way, found in control["steering"].items():
        axes = ", ".join(f"{a} {v[0]:.2f}" for a, v in found["spearman"].items() if v[0] is not None)
        distant = f"Fréchet {shown(found['frechet']['distance'], 1)}"
        row(f"vibe asked and heard, Spearman, {found['pieces']} pieces, {way}", axes, floor=distant)
    for name in ("piano", "any instruments"):
        if name in mood:
            hits, people = mood[name]["against their middle"], mood["judge"].get("emopia", {})
            what = f"quadrant heard by the judge, {name}, {mood[name]['pieces']} pieces"
            row(what, shown(hits["quadrant"]), shown(people.get("quadrant")), "0.25")
    for name in ("pictures", "words"):
        if name in mood:
            m = mood[name]
            what = f"{name} to music by the judge, r, {m['pieces']} pieces: valence; arousal"
            row(what, f"{shown(m['valence']['r'])}; {shown(m['arousal']['r'])}", floor="0")
            for way in ("by the judge", "by the seven axes"):
                if way in m:
                    f = m[way]
                    ranks = f"{shown(f['r1'])}, {shown(f['r5'])}, {shown(f['median_rank'], 1)}"
                    row(f"the right one among 50, {name}, {way}: R@1, R@5, median rank", ranks, floor="0.02, 0.10, 25.5")
    both("similarity to the training set, 95th percentile", original, "p95")
    both("parts with a copied run of 16 notes", original, "parts_with_a_copied_run")
    spread = (shown(latent[k]) for k in ("spread_of_20_from_one_vibe", "spread_of_20_human_songs"))
    row("spread of 20 pieces from one vibe, of 20 songs", *spread)
    return rows


def holes(s: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of: hole, then F1 and chroma of each way."""
    ways = ("model", "model, nothing after", "model alone", "copy", "markov")
    rows: list[tuple[str, ...]] = [("F1; chroma", *ways)]
    for kind, found in s["infilling"].items():
        if kind != "seconds":
            cells = [found["ways"].get(w, {}) for w in ways]
            figures = (f"{shown(c['f1'])}; {shown(c.get('chroma'))}" if c else "" for c in cells)
            rows.append((f"{kind}, {found['pieces']} pieces", *figures))
    return rows


def speed(b: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of: what, figure."""
    d, c, cold = b["decoding"], b["composing"], b["cold_start"]
    fastest = d["tokens_per_s"]["midivibe, ONNX Runtime int8"]
    rows: list[tuple[str, ...]] = [("", f"{b['machine']['cpu']}, {b['machine']['cores']} cores")]
    rows += [
        (f"tokens a second, {k}", f"{v:.0f} ({fastest / v:.1f} times slower)" if v < fastest else f"**{v:.0f}**")
        for k, v in d["tokens_per_s"].items()
    ]
    rows += [(f"times the memory's floor, {k}", f"{v:.1f}") for k, v in d["times_the_floor"].items()]
    rows += [
        (f"{n} variations of 16 bars at once", f"{v['seconds']:.2f} s, {v['notes_per_s']:.0f} notes/s")
        for n, v in c["variations"].items()
    ]
    rows.append(("8 variations over one", f"{c['eight_over_one']:.2f}"))
    rows += [(f"{n} bars", f"{v['seconds']:.2f} s, {v['bars_per_s']:.1f} bars/s") for n, v in c["bars"].items()]
    rows.append(("share of Python in a piece's time", f"{100 * b['python_share']['python_share']:.0f} %"))
    p = b["playing"]
    rows.append(("play at 100 BPM: first bar; least margin", f"{p['first_bar_s']:.2f} s; {p['least_margin_s']:.1f} s"))
    spent = f"{cold['compose_median_s']:.1f} s; {cold['help_s']:.2f} s; {cold['peak_mb']:.0f} MB"
    rows.append(("cold compose of 16 bars with audio, median; --help; peak memory", spent))
    rows.append(("audio, times real time", f"{b['rendering']['times_real_time']:.0f}"))
    rows.append(("prepare, files a second", f"{b['preparing']['files_per_s']:.0f}"))
    rows += [(f"training tokens a second, {k}", f"{v:.0f}") for k, v in b["training"].get("tokens_per_s", {}).items()]
    return rows


if __name__ == "__main__":
    found = json.loads(Path(sys.argv[1]).read_text())
    for table in [quality(found["sections"]), holes(found["sections"])] if "sections" in found else [speed(found)]:
        print("| " + " | ".join(table[0]) + " |\n" + "|---" * len(table[0]) + "|")
        print("\n".join("| " + " | ".join(row) + " |" for row in table[1:]) + "\n")
