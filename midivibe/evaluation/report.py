"""The whole system, measured: sections of figures, each kept when it is done, joined into one JSON and one page.

An evaluation that is interrupted goes on with the same command: finished sections and composed pieces are read again. A
report's folder belongs to one checkpoint, corpus and set of options.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from midivibe.errors import CorpusError, InputError
from midivibe.evaluation.context import Context, Result, Section
from midivibe.evaluation.options import Options
from midivibe.evaluation.sections import control, infilling, latent, likelihood, mood, movement, music, originality, realism
from midivibe.files import replacing
from midivibe.model.folder import locate, weights_digest
from midivibe.output.page import page_html
from midivibe.studio import Studio
from midivibe.training.dataset import Corpus
from midivibe.version import VERSION

SECTIONS: dict[str, Section] = {
    module.SECTION.name: module.SECTION
    for module in (music, movement, realism, control, mood, likelihood, latent, originality, infilling)
}
"""In the order in which they are measured and shown."""


class Evaluation:
    """A checkpoint against a corpus, into a folder. `run` does it; `listener` hears of section, steps done and steps in all.

    Raises:
        CheckpointError, CorpusError: either cannot be used, or they have different tokenizers, or a split is empty.
        InputError: an unknown section, or the folder holds another evaluation.
    """

    def __init__(
        self,
        checkpoint: str | Path | None,
        corpus: str | Path,
        out: str | Path,
        options: Options,
        engine: str = "auto",
        listener: Callable[[str, int, int], None] = lambda section, done, of: None,
    ) -> None:
        unknown = set(options.sections) - set(SECTIONS)
        if unknown:
            raise InputError(f"unknown section {min(unknown)!r}; the sections are {', '.join(SECTIONS)}")
        folder = locate(checkpoint)
        studio, held_out = Studio.open(folder, engine), Corpus(corpus, options.split)
        if held_out.vocabulary.names != studio.vocabulary.names:
            raise CorpusError(f"{corpus} was made with another tokenizer than {folder}; prepare it again")
        self.out, self.options = Path(out), options
        self.context = Context(folder, studio, held_out, Path(corpus), options, self.out, listener)
        self._claim()

    def _claim(self) -> None:
        """Make the folder this evaluation's, or find that it is."""
        c = self.context
        chosen = {k: v for k, v in self.options.to_dict().items() if k != "sections"}
        mine = {
            "midivibe": VERSION, "weights": weights_digest(c.folder), "engine": engine_of(c.studio),
            "corpus": hashlib.sha1((c.corpus_folder / "corpus.json").read_bytes()).hexdigest(), "options": chosen,
        }  # fmt: skip
        file = self.out / "evaluation.json"
        if file.exists():
            try:
                theirs = json.loads(file.read_text())
            except ValueError:
                theirs = None
            if not isinstance(theirs, dict):
                raise InputError(f"{file} is damaged or not an evaluation's; choose another folder")
            differing = [k for k in mine if json.loads(json.dumps(mine[k])) != theirs.get(k)]
            if differing:
                raise InputError(f"{self.out} holds an evaluation of another {differing[0]}; choose another folder")
            return
        if self.out.exists() and any(self.out.iterdir()):
            raise InputError(f"{self.out} is not empty and holds no evaluation; choose another folder")
        self.out.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(mine, indent=1))

    def run(self) -> dict[str, Any]:
        """Measure what is not measured yet; write report.json and report.html; returns the report."""
        found: dict[str, Any] = {}
        for name, section in SECTIONS.items():
            file = self.out / "sections" / f"{name}.json"
            if not _whole(file) and (not self.options.sections or name in self.options.sections):
                began = time.monotonic()
                missing = section.missing(self.options)
                result: Result = {"left_out": missing} if missing else section.measure(self.context)
                result["seconds"] = round(time.monotonic() - began, 1)
                file.parent.mkdir(exist_ok=True)
                with replacing(file) as temporary:
                    temporary.write_text(json.dumps(plain(result), indent=1))
            if _whole(file):
                found[name] = json.loads(file.read_text())
        report = {**json.loads((self.out / "evaluation.json").read_text()), "sections": found}
        with replacing(self.out / "report.json") as temporary:
            temporary.write_text(json.dumps(report, indent=1))
        with replacing(self.out / "report.html") as temporary:
            temporary.write_text(page_of(report, self.out))
        return report


def page_of(report: dict[str, Any], folder: Path) -> str:
    """The page of a report; sections that were not measured are not on it."""
    options = report["options"]
    sampling = ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in options["sampling"].items())
    parts = [
        f"<p>Weights {report['weights'][:12]}, engine {html.escape(report['engine'])}, split {html.escape(options['split'])}, "
        f"{options['pieces']} pieces of {options['bars']} bars, seed {options['seed']}. Sampling: {html.escape(sampling)}.</p>"
        "<p>Brackets are 95 % bootstrap intervals over pieces, or over songs where a song gave several pieces. No figure of "
        "the music is better when it is higher: the aim is to be close to people's.</p>"
    ]
    for name, found in report["sections"].items():
        if "left_out" in found:
            parts.append(f"<h2>{name.capitalize()}</h2><p>Left out: {html.escape(found['left_out'])}.</p>")
        else:
            parts.append(SECTIONS[name].layout(found, folder))
    return page_html("midivibe: evaluation", "".join(parts))


def _whole(file: Path) -> bool:
    """Whether a section was measured to its end."""
    try:
        return "seconds" in json.loads(file.read_text())
    except (OSError, ValueError, TypeError):
        return False


def engine_of(studio: Studio) -> str:
    """The engine's name, as in the studio's."""
    last = studio.name.split()[-1]
    return last if last.startswith("onnx") else "torch"


def plain(value: Any) -> Any:
    """Values as JSON has them: no NaN, which becomes null, and no NumPy."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


__all__ = ["SECTIONS", "Evaluation", "Options"]
