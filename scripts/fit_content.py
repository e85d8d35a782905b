"""Fit the head of midivibe/vibe/content.py on people's ratings of photographs: writes midivibe/data/content.npz.

    python scripts/fit_content.py [--vision ../shared/data/vision] [--photos data/raw/photos] [--held-out FILE.npz] [--dry]

Numbers only; no picture is stored. Prints what it reaches on themes held out: five folds of whole themes (a theme is never on
both sides), four times over. --held-out also writes what is predicted of each while its theme was held out.
"""

from __future__ import annotations

import argparse
import csv
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from midivibe.vibe import content
from midivibe.vibe.image import read, sized

COMPONENTS = 128
NOISE = 0.5
ONE_THEME = 1.5
"""A picture weighs n ** -(ONE_THEME / 2) where its theme has n pictures: 0 counts pictures, 2 counts themes."""
FOLDS, ROUNDS = 5, 4
SHRUNK = 0.6
"""Spread of the head's predictions on themes held out, as a share of the ratings' own: the table of scenes gets the same."""
RESIDUAL = 0.25
"""Energy of a theme that nobody placed: so much of its arousal beyond what its valence explains, in standard deviations."""

ENERGY = {
    0.95: (
        "fast, loud, bodies or machines at full speed",
        "car race; rugby; rollercoaster; skydiving; skier; skijump; rafting; lightning; running away; dog attack; "
        "war; lava; volcano; fireworks",
    ),
    0.8: (
        "effort, fire, crowds",
        "fire; fireman; dancing; party; celebration; cheerleader; biking; soccer; cliff diver; parachuting; exercise; "
        "shooting; band",
    ),
    0.6: (
        "danger or excitement that moves",
        "car accident; car crash; plane crash; rock climbing; thunderstorm; shark; frisbee; excited face; angry pose; "
        "scared face; intensity; surprise; flood; tickling; hang gliding; parasailing",
    ),
    0.35: (
        "lively places and threats at rest",
        "gun; weapon; police; ambulance; city; street; traffic; birthday; archery; musician; guitar; destruction; "
        "wolf; lion; tiger",
    ),
    -0.35: (
        "people and animals at rest",
        "gazing; neutral face; neutral pose; father; mother; cat; penguins; goat; lamb; camping; school; sad pose; "
        "jail; prison; house; windmill; coffee; soup; cups; dog; pigeon; monkey; orangutan; bear; zebra; pig; chipmunk",
    ),
    -0.6: (
        "places and things where nothing moves",
        "cemetery; memorial; statue; grass; snow; woods; desert; rocks; bark; wall; bricks; fence; paper; sidewalk; "
        "roofing; timber; storage; bed; depressed pose; depressed face; yarn; socks; acorns; cotton swabs; barrels; "
        "solar panel",
    ),
    -0.9: (
        "calm water, sky and sleep",
        "lake; dock; sunset; moon; sky; rainbow; yoga; massage; sleepy pose; candle; boat",
    ),
}
"""Energy of themes, placed by hand, with reasons: slow and soft music from -1, fast and loud music to 1."""


def placed_themes() -> dict[str, float]:
    """Theme -> energy, of the table."""
    return {theme.strip(): energy for energy, (_, themes) in ENERGY.items() for theme in themes.split(";")}


def energies(theme: np.ndarray, valence: np.ndarray, arousal: np.ndarray) -> np.ndarray:
    """What the head is to say of energy: the table's, elsewhere what of arousal is not the strength of a feeling: (N,)."""
    strength = np.stack([np.ones_like(valence), valence, np.abs(valence - valence.mean())], axis=1)
    rest = arousal - strength @ np.linalg.lstsq(strength, arousal, rcond=None)[0]
    table = placed_themes()
    return np.array([table.get(t, RESIDUAL * x / rest.std()) for t, x in zip(theme, rest, strict=True)])


def fit(probabilities: np.ndarray, features: np.ndarray, targets: np.ndarray, theme: np.ndarray) -> dict[str, np.ndarray]:
    """Kernel ridge on the features' components plus ridge on the prior of scenes, weighted by theme."""
    mean, sd = features.mean(0), features.std(0) + 1e-6
    x = (features - mean) / sd
    basis = np.linalg.svd(x, full_matrices=False)[2][:COMPONENTS].T
    rated = x @ basis
    gaps = (rated**2).sum(1)[:, None] + (rated**2).sum(1) - 2 * rated @ rated.T
    width = np.median(gaps)
    told = content.prior(probabilities)
    prior_mean, prior_sd = told.mean(0), told.std(0) + 1e-6
    h = (told - prior_mean) / prior_sd / np.sqrt(told.shape[1])
    size = np.array([(theme == t).sum() for t in theme])
    weight = size ** (-ONE_THEME / 2)
    weight /= weight.mean()
    middle = (weight[:, None] * targets).sum(0) / weight.sum()
    alpha = np.linalg.solve(np.exp(-gaps / width) + h @ h.T + NOISE * np.diag(1 / weight), targets - middle)
    return {
        "mean": mean, "sd": sd, "basis": basis, "rated": rated, "width": width, "alpha": alpha, "middle": middle,
        "spread": SHRUNK * targets.std(0),
        "prior_mean": prior_mean, "prior_sd": prior_sd, "beta": h.T @ alpha / np.sqrt(told.shape[1]),
    }  # fmt: skip


def folds(theme: np.ndarray, seed: int) -> np.ndarray:
    """A fold for each picture: whole themes, drawn at random, into the smallest fold so far: (N,)."""
    sizes = np.zeros(FOLDS)
    fold = {}
    for name in np.random.default_rng(seed).permutation(np.unique(theme)):
        fold[name] = int(sizes.argmin())
        sizes[fold[name]] += (theme == name).sum()
    return np.array([fold[name] for name in theme])


def predicted(probabilities: np.ndarray, features: np.ndarray, targets: np.ndarray, theme: np.ndarray, seed: int) -> np.ndarray:
    """Valence, energy and likeness of every picture, by a head that saw nothing of its theme: (N, 3)."""
    found = np.zeros((len(theme), 3))
    fold = folds(theme, seed)
    for k in range(FOLDS):
        out, rest = fold == k, fold != k
        said, alike = content.judge(
            probabilities[out], features[out], fit(*(a[rest] for a in (probabilities, features, targets, theme)))
        )
        found[out] = np.column_stack([said, alike])
    return found


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def report(rows: list[dict[str, str]], rounds: list[np.ndarray], targets: np.ndarray, probabilities: np.ndarray) -> None:
    """Print r with people on themes held out: mean of the rounds, their range, by category; and of the parts alone."""
    category = np.array([row["category"] for row in rows])
    placed = np.array([row["theme"].lower() in placed_themes() for row in rows])
    arousal = np.array([float(row["arousal"]) for row in rows])
    sure = -content.entropy(probabilities)
    for i, name in enumerate(("valence", "energy")):
        every = [correlation(r[:, i], targets[:, i]) for r in rounds]
        print(f"{name}: r {np.mean(every):.3f} ({min(every):.3f} to {max(every):.3f} in {len(rounds)} rounds)")
        for kind in np.unique(category):
            of = category == kind
            print(f"  {kind:<8} {np.mean([correlation(r[of, i], targets[of, i]) for r in rounds]):.3f} ({of.sum()} pictures)")
        for half, of in (("surer", sure >= np.median(sure)), ("other", sure < np.median(sure))):
            print(f"  the {half} half: {np.mean([correlation(r[of, i], targets[of, i]) for r in rounds]):.3f}")
        alone = content.prior(probabilities)[:, i]
        print(f"  the table of scenes alone: {correlation(alone, targets[:, i]):.3f}")
    print(f"energy of placed themes: r {np.mean([correlation(r[placed, 1], targets[placed, 1]) for r in rounds]):.3f}")
    print(f"energy and people's arousal: r {np.mean([correlation(r[:, 1], arousal) for r in rounds]):.3f}")


def seen(pictures: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures as the command line reads them -> probabilities and features."""
    looked = [content.look(sized(read(picture))) for picture in pictures]
    return np.array([p for p, _ in looked]), np.array([f for _, f in looked])


def rated(vision: Path, rows: list[dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and features of the rated photographs, our own where the picture is at hand, else those stored."""
    stored = np.load(vision / "oasis_features.npz")
    assert [row["picture"] for row in rows] == list(stored["picture"])
    probabilities, features = stored["probabilities"].astype(float), stored["features"].astype(float)
    shipped = [i for i, row in enumerate(rows) if row["shipped"] == "1"]
    with tempfile.TemporaryDirectory() as folder, tarfile.open(vision / "oasis.tar") as archive:
        archive.extractall(folder, filter="data")
        probabilities[shipped], features[shipped] = seen([Path(folder) / f"oasis/{rows[i]['picture']}.jpg" for i in shipped])
    return probabilities, features


def main() -> None:
    """Read the ratings, report what is reached on themes held out, fit on all of them, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vision", type=Path, default=Path("../shared/data/vision"))
    parser.add_argument("--photos", type=Path, default=Path("data/raw/photos"))
    parser.add_argument("--held-out", type=Path, help="write predictions of themes held out to this .npz")
    parser.add_argument("--dry", action="store_true", help="report only")
    options = parser.parse_args()
    rows = list(csv.DictReader((options.vision / "oasis.csv").open()))
    probabilities, features = rated(options.vision, rows)
    theme = np.array([row["theme"].lower() for row in rows])
    valence, arousal = (np.array([float(row[name]) for row in rows]) for name in ("valence", "arousal"))
    targets = np.stack([(valence - valence.mean()) / valence.std(), energies(theme, valence, arousal)], axis=1)
    rounds = [predicted(probabilities, features, targets, theme, seed) for seed in range(ROUNDS)]
    report(rows, rounds, targets, probabilities)
    held_out = np.mean(rounds, axis=0)
    if options.held_out:
        np.savez(options.held_out, picture=[row["picture"] for row in rows], theme=theme, predicted=held_out, target=targets)
    if options.dry:
        return
    head = fit(probabilities, features, targets, theme)
    photographs, alike = content.judge(*seen(sorted(options.photos.glob("*.jpg"))), head)
    shipped = np.array([row["shipped"] == "1" for row in rows])
    both = np.concatenate([photographs, held_out[shipped, :2]])
    both = np.column_stack([both, content.danger(both)])
    head["quantiles"] = np.quantile(both, np.linspace(0, 1, 101), axis=0).T
    halves = {k: np.asarray(v, dtype=np.float16 if np.size(v) > 1024 else np.float32) for k, v in head.items()}
    np.savez_compressed("midivibe/data/content.npz", allow_pickle=False, **halves)
    print(f"percentiles of {len(both)} photographs; likeness of {len(alike)}: {np.percentile(alike, [1, 10, 50, 90]).round(3)}")


if __name__ == "__main__":
    main()
