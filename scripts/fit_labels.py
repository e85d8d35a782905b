"""Fit the weights of the chord labels and of the sections.

    python scripts/fit_labels.py chords             prints the tables of midivibe/plan/chords.py (3 minutes on one core)
    python scripts/fit_labels.py sections           writes midivibe/data/form.json (1 minute)

Chords: a conditional random field (Lafferty et al. 2001) over beats. The label of a beat may be any that POP909's audio labels
and MIDI labels allow together, or either where they contradict each other (one beat in six), so that their errors do not
flatten the weights. Sections: logistic loss on the bars of marked band songs.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from labels import SILENT, marked_songs, pop909, triads
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as logistic

from midivibe.midi.theory import QUALITIES
from midivibe.plan import chords, form
from midivibe.plan.bars import VIEWS, signs

BEATS = 32  # of one training example
SOFTER = 0.6  # of the fitted cost of a change: labels of annotators change a little more often than the most likely path


def allowed(audio: np.ndarray, midi: np.ndarray) -> np.ndarray:
    """(..., S) states that the labels of a beat allow: those of both, or of either where there is none of both."""
    states = np.arange(SILENT + 1)
    root = np.where(states < SILENT, states // len(QUALITIES), -1)
    exact = (audio[..., None] == states) | (audio[..., None] < 0)
    third, midi_root = triads(midi)[..., None], np.where(midi < 0, -5, midi // len(QUALITIES))[..., None]
    loose = np.where(third >= 0, third == triads(states), (midi_root == root) | (midi[..., None] < 0))  # a sus may be its triad
    both = exact & loose
    states_allowed: np.ndarray = np.where(both.any(-1, keepdims=True), both, exact | loose)
    return states_allowed


def chord_examples() -> list[torch.Tensor]:
    """Evidence (T, N, 5, 12), evidence for none (T, N, 4), kinds of beats (T, N), allowed states (T, N, S)."""
    found: list[tuple[np.ndarray, ...]] = []
    for song in pop909(held_out=False):
        start, bar, kind = chords.beat_grid(song.notes)
        tones, none = chords.evidence(*chords.sounding(song.notes, start), bar)
        middle = song.seconds((start[1:] + start[:-1]) / 2)
        states = allowed(song.labels("audio", middle), song.labels("midi", middle))
        for at in range(0, len(bar) - BEATS, BEATS):
            found.append(tuple(x[at : at + BEATS] for x in (tones.astype(np.float32), none.astype(np.float32), kind, states)))
    return [torch.from_numpy(np.stack(column, 1)) for column in zip(*found, strict=True)]


class Field(nn.Module):
    """The weights of chords.py as parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(5, 5))
        self.bias = nn.Parameter(torch.zeros(len(QUALITIES)))
        self.none = nn.Parameter(torch.tensor([-2.0, 5.0, 1.0, 0.0]))
        self.change = nn.Parameter(torch.tensor([2.0, 3.0, 4.0]))
        role = torch.full((len(QUALITIES), 12), 4)
        for index, tones in enumerate(QUALITIES.values()):
            role[index, list(tones)] = torch.arange(len(tones))
        self.role = role

    def score(self, tones: torch.Tensor, none: torch.Tensor) -> torch.Tensor:
        above = (torch.arange(12)[None, :] + torch.arange(12)[:, None]) % 12
        by_root = torch.einsum("...frk,fqk->...rq", tones[..., above], self.weights[:, self.role]) + self.bias
        return torch.cat([by_root.flatten(-2), (none @ self.none)[..., None]], -1)

    def log_sum(self, score: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        """Log of the sum over all paths, (N)."""
        total = score[0]
        for beat in range(1, len(score)):
            moved = torch.logsumexp(total, -1, keepdim=True) - self.change[kind[beat]][:, None]
            total = torch.logaddexp(total, moved) + score[beat]
        return torch.logsumexp(total, -1)


def fit_chords(steps: int = 200, batch: int = 256, rate: float = 0.1) -> None:
    torch.manual_seed(0)
    tones, none, kind, states = chord_examples()
    print(f"{tones.shape[1]:,} examples of {BEATS} beats")
    field = Field()
    optimizer = torch.optim.Adam(field.parameters(), rate)
    for step in range(steps):
        rows = torch.randperm(tones.shape[1])[:batch]
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        score = field.score(tones[:, rows], none[:, rows])
        right = field.log_sum(score.masked_fill(~states[:, rows], -1e4), kind[:, rows])
        loss = (field.log_sum(score, kind[:, rows]) - right).mean() / BEATS + 1e-3 * field.weights.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"loss {loss.item():.3f} nats a beat")
    field.change.data *= SOFTER
    for name, value in field.named_parameters():
        print(name, np.round(value.detach().numpy(), 3).tolist())


def fit_sections(hidden: int = 16, steps: int = 800, nets: int = 4) -> None:
    torch.manual_seed(0)
    tables, truths, pairs, same, lengths = [], [], [], [], []
    for song in marked_songs(held_out=False):
        starts = [bar for bar, _ in song.named]
        begins = np.zeros(song.notes.bars, dtype=np.float32)
        begins[starts] = 1
        first = max(1, starts[0])
        tables.append(signs(song.bars)[first:])
        truths.append(begins[first:])
        lengths += np.diff(starts).tolist()
        found, names = pair_table(song.bars.alike, [*starts, song.notes.bars]), [name for _, name in song.named]
        pairs.append(found)
        same.append(np.array([names[i] == names[j] for i in range(len(names)) for j in range(i)], dtype=np.float32))
    print(f"{len(tables)} songs, {len(lengths):,} sections")
    x, y = np.concatenate(tables), torch.from_numpy(np.concatenate(truths))
    mean, scale = x.mean(0), x.std(0) + 1e-3
    states = []
    for _ in range(nets):  # their mean is one net with all their hidden units
        net = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, 1))
        descend(net, torch.from_numpy((x - mean) / scale), y, steps, 5e-3, 0.1)
        states.append([p.detach().numpy() for p in net.parameters()])
    weight = np.concatenate([np.full(len(s), 1 / max(len(s), 1)) for s in same])  # each song counts once
    z, pair = np.concatenate(pairs), nn.Linear(len(form.PAIR_VIEWS) + 2, 1)
    centre, spread = z.mean(0), z.std(0) + 1e-6
    rows = torch.tensor((z - centre) / spread, dtype=torch.float32)
    balance = torch.tensor(weight / weight.mean(), dtype=torch.float32)
    descend(pair, rows, torch.from_numpy(np.concatenate(same)), 800, 0.01, 0.02, balance)
    by_unit = pair.weight.detach().numpy()[0] / spread
    count = np.bincount(np.minimum(lengths, 40), minlength=41)[:41] + 1.0
    length = 0.3 * np.log(count / count[1:].sum())  # .3: counted fully, lengths would outweigh what is heard
    length[0] = -99
    weights = {
        "mean": mean, "scale": scale,
        "hidden": np.concatenate([s[0] for s in states]).T,
        "hidden_bias": np.concatenate([s[1] for s in states]), "out": np.concatenate([s[2][0] for s in states]) / nets,
        "out_bias": sum(s[3] for s in states) / nets,
        "length": length, "pair": np.append(by_unit, pair.bias.item() - by_unit @ centre),
    }  # fmt: skip
    text = json.dumps({name: np.round(np.asarray(value, dtype=float), 3).tolist() for name, value in weights.items()})
    with open("midivibe/data/form.json", "w") as file:  # noqa: PTH123
        file.write(text.replace('], "', '],\n"') + "\n")
    print("pair", dict(zip([*form.PAIR_VIEWS, "ratio", "equal"], by_unit.round(2).tolist(), strict=True)))


def pair_table(alike: np.ndarray, edges: list[int]) -> np.ndarray:
    """What form.pair_scores weighs, a row a pair."""
    rows, found = [VIEWS.index(view) for view in form.PAIR_VIEWS], []
    length = np.diff(edges)
    for i in range(len(length)):
        for j in range(i):
            at = np.arange(min(length[i], length[j], 32))
            ratio = abs(np.log(length[i] / length[j]))
            found.append([*alike[rows][:, edges[i] + at, edges[j] + at].mean(1), ratio, float(ratio == 0)])
    return np.array(found, dtype=float).reshape(-1, len(rows) + 2)


def descend(
    net: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int, rate: float, decay: float, weight: torch.Tensor | None = None
) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=decay)
    for _ in range(steps):
        rows = torch.randint(len(x), (4096,))
        loss = logistic(net(x[rows])[:, 0], y[rows], None if weight is None else weight[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"loss {loss.item():.4f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"chords": fit_chords, "sections": fit_sections}[sys.argv[1]]()
