"""The best state of a run → a checkpoint in float16 with graphs: python scripts/ship.py runs/small checkpoints/small."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from midivibe.model import checkpoint
from midivibe.model.export import export
from midivibe.model.folder import locate, weights_digest

if __name__ == "__main__":
    best, out = locate(sys.argv[1]), Path(sys.argv[2])
    facts = json.loads((best / "config.json").read_text())["facts"]
    checkpoint.save(out, checkpoint.load(best)[0], best / "tokenizer.json", half=True, facts=facts)
    export(checkpoint.load(out)[0], out, weights_digest(out))
    for file in sorted(out.iterdir()):
        print(f"{file}  {file.stat().st_size:,} bytes")
