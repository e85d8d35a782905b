"""What 8-bit matrices cost: held-out nats a note of the ONNX decoders, fp32 and int8, token by token as when composing.

    python scripts/quantised.py CHECKPOINT [--corpus data/corpus/music] [--windows 128]

The windows of `training.held_out`, the same z (the guide's mean) and vibe for both; every token but BOS is scored. Only the
reconstruction is compared: both have one guide.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from midivibe.evaluation.intervals import interval
from midivibe.model.engine.onnx import OnnxEngine
from midivibe.model.folder import locate
from midivibe.training.dataset import Corpus, Example
from midivibe.training.held_out import held_out_examples

ROWS = 16


def nats(engine: OnnxEngine, examples: list[Example]) -> np.ndarray:
    """Negative log likelihood of each window: (N,)."""
    found = []
    for at in range(0, len(examples), ROWS):
        rows = examples[at : at + ROWS]
        z = np.stack([engine.posterior(e.ids.tolist(), e.coordinates)[0] for e in rows]).astype(np.float32)
        engine.begin(z, np.stack([e.vibe for e in rows]).astype(np.float32))
        longest = max(len(e.ids) for e in rows)
        loss = np.zeros(len(rows))
        logits = np.stack([engine.prefill(i, [int(e.ids[0])], e.coordinates[:1]) for i, e in enumerate(rows)])
        for t in range(1, longest):
            shifted = logits - logits.max(1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
            running = [t < len(e.ids) for e in rows]
            ids = [int(e.ids[t]) if r else 0 for e, r in zip(rows, running, strict=True)]
            loss -= np.where(running, log_p[np.arange(len(rows)), ids], 0)
            places = np.stack([e.coordinates[min(t, len(e.ids) - 1)] for e in rows])
            if t < longest - 1:
                logits = engine.step(ids, places, running)
        found.append(loss)
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus/music"))
    parser.add_argument("--windows", type=int, default=128)
    options = parser.parse_args()
    folder = locate(options.checkpoint)
    exact, rough = OnnxEngine(folder, 32), OnnxEngine(folder, 8)
    examples = held_out_examples(Corpus(options.corpus, "test"), exact.block_size, options.windows)
    notes = np.array([e.notes for e in examples])
    a, b = nats(exact, examples), nats(rough, examples)
    change = interval(np.arange(len(a)), figure=lambda i: b[i.astype(int)].sum() / a[i.astype(int)].sum() - 1)
    figures = {"windows": len(a), "notes": int(notes.sum()), "fp32": a.sum() / notes.sum(), "int8": b.sum() / notes.sum()}
    print(json.dumps({**figures, "int8_over_fp32": b.sum() / a.sum() - 1, "interval": change}, indent=1))


if __name__ == "__main__":
    main()
