"""What any model must beat: interpolated Markov models of the same ids (Witten & Bell 1991), shuffled and repeated bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midivibe.midi.notes import Notes, concatenate


class Markov:
    """An n-gram model of one order, interpolated down to uniform.

    p_k(w | c) = (n(c, w) + t(c) · p_{k-1}(w | c')) / (n(c) + t(c)), t(c) the number of distinct ids seen after c.
    """

    def __init__(self, order: int, vocabulary: int) -> None:
        if vocabulary ** (order + 1) >= 2**63:
            raise ValueError(f"order {order} with {vocabulary} ids does not fit into 64-bit keys")
        self.order, self.vocabulary = order, vocabulary
        self.tables: list[tuple[np.ndarray, ...]] = []

    def _keys(self, sequences: Sequence[np.ndarray], length: int) -> np.ndarray:
        """One key for the `length` ids that end at each id; places before a sequence read as PAD (0)."""
        flat = np.concatenate([np.concatenate([np.zeros(self.order, dtype=np.int64), s]) for s in sequences])
        keys = np.zeros(len(flat), dtype=np.int64)
        for back in range(length - 1, -1, -1):
            shifted = flat if back == 0 else np.concatenate([np.zeros(back, dtype=np.int64), flat[:-back]])
            keys = keys * self.vocabulary + shifted
        starts = np.cumsum([0] + [len(s) + self.order for s in sequences[:-1]])
        keep = np.ones(len(flat), dtype=bool)
        for i in range(self.order):
            keep[starts + i] = False
        return keys[keep]

    def fit(self, sequences: Sequence[np.ndarray]) -> Markov:
        """Count every order up to this model's."""
        for k in range(self.order + 1):
            pairs, count = np.unique(self._keys(sequences, k + 1), return_counts=True)
            contexts, first, distinct = np.unique(pairs // self.vocabulary, return_index=True, return_counts=True)
            totals = np.add.reduceat(count, first)
            self.tables.append((pairs, count, contexts, totals, distinct))
        return self

    def next_logits(self, past: Sequence[int]) -> np.ndarray:
        """log p(next | past) of the highest order for every id: (V,)."""
        p = np.full(self.vocabulary, 1.0 / self.vocabulary)
        for k, (pairs, count, contexts, totals, distinct) in enumerate(self.tables):
            context = 0
            for token in ([0] * k + list(past[-k:]))[-k:] if k else []:
                context = context * self.vocabulary + token
            n, t = _get(contexts, totals, np.array([context]))[0], _get(contexts, distinct, np.array([context]))[0]
            if n:
                low, high = np.searchsorted(pairs, [context * self.vocabulary, (context + 1) * self.vocabulary])
                p *= t
                p[pairs[low:high] - context * self.vocabulary] += count[low:high]
                p /= n + t
        logs: np.ndarray = np.log(p)
        return logs

    def log_likelihoods(self, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each order from 0 to this model's: log p of every id, the sequences end to end (N,)."""
        found = []
        p = np.full(sum(len(s) for s in sequences), 1.0 / self.vocabulary)
        for k, (pairs, count, contexts, totals, distinct) in enumerate(self.tables):
            keys = self._keys(sequences, k + 1)
            c = _get(pairs, count, keys)
            n, t = _get(contexts, totals, keys // self.vocabulary), _get(contexts, distinct, keys // self.vocabulary)
            seen = n > 0
            p = np.where(seen, (c + t * p) / np.maximum(n + t, 1), p)
            found.append(np.log(p))
        return found


class MarkovEngine:
    """A Markov model in the place of an engine (see `model.engine`), under the same grammar and filters as the model.

    z and vibe do nothing; prior and posterior are standard normal. B rows, V ids, Z latent.
    """

    def __init__(self, markov: Markov, block_size: int, latents: int) -> None:
        self.markov, self.block_size, self.latents = markov, block_size, latents
        self.past: list[list[int]] = []

    def lanes(self, rows: int) -> list[MarkovEngine]:
        """Engines for parts of a batch: itself alone."""
        return [self]

    def another(self) -> MarkovEngine:
        """An engine with the same counts and a state of its own, after its `begin`."""
        return MarkovEngine(self.markov, self.block_size, self.latents)

    def prior(self, vibe: np.ndarray, noise: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """The noise itself: (B, Z)."""
        return noise

    def posterior(self, ids: list[int], coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean 0 and sd 1, each (Z,), whatever the ids are."""
        return np.zeros(self.latents), np.ones(self.latents)

    def steer(self, row: int, z: np.ndarray, vibe: np.ndarray) -> None:
        """Nothing: neither z nor vibe is read."""

    def begin(self, z: np.ndarray, vibe: np.ndarray, guidance: float = 1.0) -> None:
        """Start as many rows as z (B, Z) has."""
        self.past = [[] for _ in z]
        self._logits = np.zeros((len(z), self.markov.vocabulary))

    def prefill(self, row: int, ids: list[int], coordinates: np.ndarray) -> np.ndarray:
        """Replace a row's past by ids; returns the next logits (V,)."""
        self.past[row] = list(ids)
        return self.markov.next_logits(ids)

    def step(self, ids: list[int], coordinates: np.ndarray, running: list[bool] | None = None) -> np.ndarray:
        """Add one id to each row that runs; returns the next logits (B, V)."""
        for row in np.flatnonzero(running or [True] * len(ids)):
            self.past[row].append(ids[row])
            self._logits[row] = self.markov.next_logits(self.past[row])
        return self._logits.copy()


def shuffled_bars(notes: Notes, seed: int) -> Notes:
    """The bars of a piece in another order: every bar is real, the form is lost. Notes keep their length."""
    order = np.random.default_rng(seed).permutation(notes.bars)
    return concatenate([notes.window(int(b), int(b) + 1, cut=False) for b in order]).window(0, notes.bars)


def repeated_bars(notes: Notes, bars: int = 2) -> Notes:
    """The first bars of a piece over and over, at its whole length: a floor for every figure that repetition flatters."""
    bars = min(bars, notes.bars)
    whole = concatenate([notes.window(i % bars, i % bars + 1, cut=False) for i in range(notes.bars)])
    return whole.window(0, whole.bars)


def _get(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    at = np.searchsorted(keys, wanted).clip(0, len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


__all__ = ["Markov", "MarkovEngine", "repeated_bars", "shuffled_bars"]
