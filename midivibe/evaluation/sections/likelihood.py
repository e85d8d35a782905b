"""Section "likelihood": nats a note and a bar on held-out windows, taken apart."""

from __future__ import annotations

from pathlib import Path

from midivibe.evaluation import likelihood
from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.page import label, shown, table
from midivibe.evaluation.pieces import require
from midivibe.training.held_out import held_out_rows


def measure(c: Context) -> Result:
    """What the model's bits are spent on; the latent's nats, active dimensions and shuffle gap come from the same windows."""
    from midivibe.model.checkpoint import load

    model, _ = load(c.folder)
    rows = held_out_rows(c.corpus, model.config.block_size, c.options.windows)
    require(rows, 2, "held-out windows")
    examples = [c.corpus.plain(r) for r in rows]
    advance = c.progress("likelihood", len(examples))
    losses = likelihood.token_losses(model, examples, c.options.seed, listener=advance)
    return likelihood.describe(losses, examples, rows, c.corpus, c.options.seed)


def layout(found: Result, folder: Path) -> str:
    """All figures, then the parts and styles, the most likely first."""
    names = [k for k in found if k not in ("by_part", "by_style", "seconds")]

    def ranked(values: dict[str, float]) -> list[tuple[str, str]]:
        return [(k, shown(v)) for k, v in sorted(values.items(), key=lambda x: x[1])]

    return (
        table("Likelihood of held-out windows, in nats", [(label(k), shown(found[k])) for k in names])
        + table("Reconstruction in nats a note, by instrument family", ranked(found["by_part"]))
        + table("Reconstruction plus KL in nats a note, by style", ranked(found["by_style"]))
    )


SECTION = Section("likelihood", measure, layout)
