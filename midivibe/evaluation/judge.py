"""Mood, judged by a stranger: a small convolutional network that reads notes as they come, trained on people's ratings.

The vibe scorer (`vibe.music`) is linear on twelve features of a whole piece; what generates is conditioned on it. So the
judge shares neither features nor family with it: it sees each note's time since the last, length, pitch and velocity.
Its data is the user's: a CSV with path, valence, arousal (-1 to 1), group (song or series; never split), and set.

B pieces, T notes, F inputs a note, C channels.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from symusic import Score
from torch import Tensor, nn
from torch.nn import functional as F

from midivibe.errors import CorpusError, MidivibeError
from midivibe.midi.score import read
from midivibe.midi.theory import MAJOR_SCALE

NOTES = 256
"""Notes that the judge reads at once; of a longer piece, several stretches."""
INPUTS = 17
FOLDS = 5
FEWEST = 40
"""Rated pieces below which nothing can be learned."""
COLUMNS = ("path", "valence", "arousal", "group", "set")


@dataclass(frozen=True)
class Rated:
    """Rated pieces: note events, ratings (N, 2) as valence and arousal, the group and the set of each."""

    events: list[np.ndarray]
    ratings: np.ndarray
    groups: list[str]
    sets: list[str]

    def loudness(self) -> dict[str, tuple[float, float]]:
        """`loudness_of` each set."""
        pairs = list(zip(self.events, self.sets, strict=True))
        return {name: loudness_of([e for e, s in pairs if s == name]) for name in sorted(set(self.sets))}


def events_of(score: Score) -> np.ndarray:
    """Pitched notes of a score in order, on the white keys: start and length in seconds, pitch, velocity: (T, 4)."""
    seconds = score.to("second")
    rows = [(n.start, n.duration, n.pitch, n.velocity) for t in seconds.tracks if not t.is_drum for n in t.notes]
    events = np.array(sorted(rows), dtype=np.float64).reshape(-1, 4)
    return white_keys(events) if len(events) else events


def read_rated(table: str | Path) -> Rated:
    """Read the rated pieces that a CSV lists, paths relative to it; files that cannot be read are left out.

    Raises:
        CorpusError: no such table, missing columns, a rating that is no number, or fewer than 40 usable pieces.
    """
    table = Path(table)
    try:
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"cannot read the ratings in {table}: {error}") from error
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise CorpusError(f"{table} needs the columns {', '.join(COLUMNS)}")
    events, ratings, kept = [], [], []
    for number, row in enumerate(rows, 2):
        try:
            rating = (float(row["valence"]), float(row["arousal"]))
            if not all(-1 <= x <= 1 for x in rating):
                raise ValueError
        except (TypeError, ValueError):
            raise CorpusError(f"{table}, line {number}: valence and arousal must be numbers from -1 to 1") from None
        try:
            notes = events_of(read(table.parent / row["path"]))
        except MidivibeError:
            continue
        if len(notes) >= 8:
            events.append(notes)
            ratings.append(rating)
            kept.append(row)
    if len(events) < FEWEST:
        raise CorpusError(f"{table} lists {len(events)} pieces that can be read; a judge needs at least {FEWEST}")
    return Rated(events, np.array(ratings), [f"{r['set']}/{r['group']}" for r in kept], [r["set"] for r in kept])


def white_keys(events: np.ndarray) -> np.ndarray:
    """Note events moved by -6 to 5 semitones so that as many as can be are on white keys: C major and A minor stay apart."""
    pitch = events[:, 2].astype(int)
    on = [np.isin((pitch + k) % 12, MAJOR_SCALE).mean() for k in range(-6, 6)]
    moved = events.copy()
    moved[:, 2] += int(np.argmax(on)) - 6
    return moved


def inputs_of(events: np.ndarray, loudness: tuple[float, float], speed: float = 1.0) -> np.ndarray:
    """Note events (T, 4) → network inputs (T, 17); `loudness` is mean and sd of the velocities of the set."""
    start, length, pitch, velocity = events.T
    gap = np.diff(start, prepend=start[0]) * speed
    classes = np.eye(12)[pitch.astype(int) % 12]
    rest = [
        np.log(gap.clip(0.01, 8)), np.log((length * speed).clip(0.02, 8)), (pitch - 60) / 20,
        (velocity - loudness[0]) / loudness[1], (gap < 0.03).astype(float),
    ]  # fmt: skip
    return np.concatenate([classes, np.stack(rest, axis=1)], axis=1).astype(np.float32)


def loudness_of(pieces: Sequence[np.ndarray]) -> tuple[float, float]:
    """Mean and sd of the velocities of a set: recordings differ in level, so each set is its own measure."""
    every = np.concatenate([p[:, 3] for p in pieces]) if pieces else np.array([64.0])
    return float(every.mean()), max(float(every.std()), 5.0)


class Network(nn.Module):
    """Notes (B, T, F) with a mask (B, T) → valence and arousal before tanh (B, 2)."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.embed = nn.Linear(INPUTS, width)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2 * d, dilation=d) for d in (1, 2, 4))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.layers)
        self.attention = nn.Linear(width, 4)
        self.out = nn.Sequential(nn.Dropout(0.3), nn.Linear(5 * width, 48), nn.GELU(), nn.Dropout(0.3), nn.Linear(48, 2))

    def forward(self, notes: Tensor, mask: Tensor) -> Tensor:
        h = self.embed(notes)  # (B, T, C)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = h + F.gelu(layer((norm(h) * mask[..., None]).transpose(1, 2))).transpose(1, 2)
        weight = self.attention(h).masked_fill(~mask[..., None], -1e4).softmax(1)  # (B, T, 4)
        pooled = torch.einsum("btk,btc->bkc", weight, h).flatten(1)
        mean = (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        moods: Tensor = self.out(torch.cat([pooled, mean], dim=1))
        return moods


def _batch(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    notes, mask = np.zeros((len(rows), longest, INPUTS), np.float32), np.zeros((len(rows), longest), bool)
    for i, row in enumerate(rows):
        notes[i, : len(row)], mask[i, : len(row)] = row, True
    return torch.from_numpy(notes), torch.from_numpy(mask)


def train_network(rated: Rated, rows: Sequence[int], seed: int, epochs: int = 24) -> Network:
    """Train one network on some of the rated pieces: random stretch and speed each time; loss on tanh ratings."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    loudness = rated.loudness()
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    steps = epochs * -(-len(rows) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    network.train()
    for _ in range(epochs):
        order = rng.permutation(rows)
        for at in range(0, len(order), 32):
            chunk = order[at : at + 32].tolist()
            inputs = []
            for i in chunk:
                first = int(rng.integers(max(1, len(rated.events[i]) - NOTES + 1)))
                stretch = rated.events[i][first : first + NOTES]
                inputs.append(inputs_of(stretch, loudness[rated.sets[i]], float(np.exp(rng.normal(0, 0.07)))))
            wanted = torch.tensor(rated.ratings[chunk], dtype=torch.float32)
            loss = F.mse_loss(torch.tanh(network(*_batch(inputs))), wanted)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def rate(networks: Sequence[Network], pieces: Sequence[np.ndarray], loudness: tuple[float, float] | None = None) -> np.ndarray:
    """Valence and arousal of pieces (N, 2) in -1..1: the mean of all networks over stretches of 256 notes.

    Pieces without a pitched note are NaN. `loudness` is that of the set they are part of, by default of these pieces.
    """
    loudness = loudness or loudness_of([p for p in pieces if len(p)])
    found = np.full((len(pieces), 2), np.nan)
    for i, piece in enumerate(pieces):
        if len(piece):
            stretches = [piece[at : at + NOTES] for at in range(0, max(len(piece) - NOTES // 2, 1), NOTES)]
            batch = _batch([inputs_of(s, loudness) for s in stretches])
            found[i] = np.mean([torch.tanh(n(*batch)).mean(0).numpy() for n in networks], axis=0)
    return found


@dataclass(frozen=True)
class Judge:
    """Networks of all folds, and how well each fold's rated what it had not seen: see `held_out`."""

    networks: list[Network]
    predicted: np.ndarray
    """held-out valence and arousal of every rated piece (N, 2)"""
    rated: Rated

    def held_out(self) -> dict[str, dict[str, float]]:
        """For each set: accuracy of the signs and quadrant where ratings are ±1, else correlations."""
        found = {}
        for name in sorted(set(self.rated.sets)):
            rows = np.array(self.rated.sets) == name
            found[name] = agreement(self.rated.ratings[rows], self.predicted[rows])
        return found

    def __call__(self, pieces: Sequence[np.ndarray]) -> np.ndarray:
        """Valence and arousal (N, 2) of pieces given as note events."""
        return rate(self.networks, pieces)


def agreement(ratings: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Ratings and predictions (N, 2): accuracies of sign and quadrant where the ratings are signs, correlations otherwise."""
    if np.isin(ratings, (-1, 1)).all():
        right = (ratings > 0) == (predicted > 0)
        return {
            "pieces": len(ratings), "valence": float(right[:, 0].mean()), "arousal": float(right[:, 1].mean()),
            "quadrant": float(right.all(1).mean()),
        }  # fmt: skip
    r = [float(np.corrcoef(ratings[:, i], predicted[:, i])[0, 1]) for i in (0, 1)]
    return {"pieces": len(ratings), "valence_r": r[0], "arousal_r": r[1]}


def train_judge(
    rated: Rated,
    seed: int = 0,
    folds: int = FOLDS,
    epochs: int = 24,
    listener: Callable[[int, int], None] = lambda done, of: None,
) -> Judge:
    """Train a network a fold, groups kept together, and rate with each what it has not seen."""
    rng = np.random.default_rng(seed)
    names = sorted(set(rated.groups))
    if len(names) < 2 * folds:
        raise CorpusError(f"the rated pieces are of {len(names)} groups; a judge needs at least {2 * folds}")
    fold_of = dict(zip(names, rng.permutation(len(names)) % folds, strict=True))
    fold = np.array([fold_of[g] for g in rated.groups])
    loudness = rated.loudness()
    networks, predicted = [], np.full((len(rated.events), 2), np.nan)
    for k in range(folds):
        networks.append(train_network(rated, np.flatnonzero(fold != k).tolist(), seed * folds + k, epochs))
        for name in set(rated.sets):
            rows = np.flatnonzero((fold == k) & (np.array(rated.sets) == name))
            predicted[rows] = rate(networks[-1:], [rated.events[i] for i in rows], loudness[name])
        listener(k + 1, folds)
    return Judge(networks, predicted, rated)


__all__ = ["Judge", "Rated", "agreement", "events_of", "rate", "read_rated", "train_judge"]
