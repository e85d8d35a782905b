"""Copy a run's checkpoint into checkpoints/ as float16: python scripts/ship.py runs/mini checkpoints/mini [minutes note]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from midivibe.model import checkpoint

if __name__ == "__main__":
    run, out = Path(sys.argv[1]), Path(sys.argv[2])
    model, _ = checkpoint.load(run / "checkpoint")
    facts = json.loads((run / "checkpoint" / "config.json").read_text())["facts"]
    checkpoint.save(out, model, run / "checkpoint" / "tokenizer.json", half=True, facts=facts)
    size = sum(f.stat().st_size for f in out.iterdir())
    print(f"{out}: {sum(p.numel() for p in model.parameters()):,} parameters, {size:,} bytes, step {facts['step']}")
