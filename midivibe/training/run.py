"""The folder of a training run. It can be killed at any moment and goes on where it was.

    config.json       what is trained, on which corpus
    metrics.jsonl     a row every 20 steps, and one a check
    state-000400/     checkpoint/ with the weights, optimizer.safetensors, state.json; whole or not there
    latest, best      the names of the states to resume from and to use

Needs torch and safetensors, and no MIDI library.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from midivibe.config import ModelConfig, TrainConfig
from midivibe.errors import CheckpointError, InputError, OutputError
from midivibe.files import replacing
from midivibe.model import checkpoint
from midivibe.model.latent import VibeModel
from midivibe.training.parallel import Workers

EXTENDABLE = ("learning_rate", "max_steps", "max_minutes", "check_minutes", "sample_every", "eval_windows")
"""Settings that a resumed run may change."""


@dataclass(frozen=True)
class Settings:
    """What a run is, as config.json keeps it: shape, training settings, a digest of the corpus, where its weights began."""

    model: dict[str, Any]
    train: dict[str, Any]
    corpus: str
    init: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def unlike(self, theirs: dict[str, Any]) -> list[str]:
        """What differs from the settings that another config.json holds, in words.

        Settings that are newer than that run have their defaults there, but AdamW was all that there once was.
        """
        model = ModelConfig.stored(theirs["model"]).to_dict()
        train = TrainConfig.from_dict({"optimizer": "adamw", "manner": 0.0, **theirs["train"]}).to_dict()
        theirs = {**theirs, "model": model, "train": train}
        found = [f"the {k} (was {theirs['model'][k]})" for k, v in self.model.items() if theirs["model"][k] != v]
        fixed = {k: v for k, v in self.train.items() if theirs["train"][k] != v and k not in EXTENDABLE}
        found += [f"{k} (was {theirs['train'][k]})" for k in fixed]
        found += ["the corpus"] * (theirs["corpus"] != self.corpus)
        return found + [f"--init (was {theirs['init'] or 'none'})"] * (theirs["init"] != self.init)


class RunFolder:
    """Reads and writes the files of one run. Only the first of several workers writes."""

    def __init__(self, path: str | Path, workers: Workers) -> None:
        self.path, self.workers = Path(path), workers

    def begin(self, settings: Settings, resume: bool) -> bool:
        """Begin a run here, or agree to go on with the one that is here: then a state waits to be loaded, and True returns.

        Raises:
            InputError: no folder, a folder of something else, a run with other settings, or one and `resume` is off.
        """
        self._refuse_foreign()
        file, metrics = self.path / "config.json", self.path / "metrics.jsonl"
        begun = bool(self.workers.from_first(float((self.path / "latest").exists())))
        if file.exists() and not begun and not resume and metrics.exists():
            raise InputError(f"{self.path} holds a run that has just begun; --resume takes the folder over, or choose another")
        self.workers.meet()  # all have looked before the first one writes
        if not begun:  # nothing that binds yet
            if self.workers.first:
                metrics.unlink(missing_ok=True)
                _write(file, settings.to_json())
            return False
        try:
            differing = settings.unlike(json.loads(file.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} is damaged or no run's: {error}; choose another folder") from error
        if differing:
            raise InputError(f"{self.path} holds a run of another config: {', '.join(differing[:4])}; choose another folder")
        if not resume:
            raise InputError(f"{self.path} holds a run already; --resume goes on with it, or choose another folder")
        return True

    def _refuse_foreign(self) -> None:
        """Raises InputError where the folder is no folder, or holds what would be overwritten and is no run's."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; a run needs a folder")
        if any(self.path.glob("*.safetensors")):
            raise InputError(f"{self.path} is a checkpoint; choose another folder for the run")
        held = [n for n in ("config.json", "metrics.jsonl", "loss.png") if (self.path / n).exists()]
        try:
            ours = not held or "train" in json.loads((self.path / "config.json").read_text())
        except (OSError, ValueError, TypeError):
            ours = False
        if not ours:
            raise InputError(f"{self.path} holds a {held[0]} that no run wrote; choose another folder")

    def state(self, step: int) -> Path:
        return self.path / f"state-{step:06d}"

    def save(
        self, model: VibeModel, optimizer: torch.optim.Optimizer, tokenizer: Path, facts: dict[str, Any], best: bool
    ) -> None:
        """Write a state and point `latest` at it (and `best`); older states go, but for the best. `facts` hold the step.

        Raises:
            OutputError: the disk is full or the folder is gone; the states of before stay.
        """
        state = self.state(facts["step"])
        if state.exists() and self._pointed("latest") == state.name:
            if best:  # the state is there already, from before it was known how good it is
                _write(state / "state.json", json.dumps(facts))
                _write(self.path / "best", state.name)
            return
        try:
            staging = Path(tempfile.mkdtemp(prefix=".state-", dir=self.path))
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error
        try:
            checkpoint.save(staging / "checkpoint", model, tokenizer, facts=facts)
            save_file(_flat(optimizer), staging / "optimizer.safetensors")
            (staging / "state.json").write_text(json.dumps(facts))
            staging.chmod(0o755)
            shutil.rmtree(state, ignore_errors=True)
            staging.rename(state)
            for pointer in ("best", "latest") if best else ("latest",):
                _write(self.path / pointer, state.name)
        except (OSError, RuntimeError) as error:  # safetensors wraps a full disk in its own error
            raise OutputError(f"cannot save the run in {self.path}: {error}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        kept = {self._pointed("latest"), self._pointed("best")}
        for old in (*self.path.glob("state-*"), *self.path.glob(".state-*")):  # hidden: a save that was killed
            if old.name not in kept:
                shutil.rmtree(old, ignore_errors=True)

    def _pointed(self, pointer: str) -> str:
        """The name of the latest or best state; empty where there is none."""
        file = self.path / pointer
        return file.read_text().strip() if file.is_file() else ""

    def load(self, model: VibeModel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Put the latest state into a model and its optimizer; returns its facts.

        Raises:
            CheckpointError: the state is damaged, or of another shape.
        """
        state = self.path
        try:
            state = self.path / (self.path / "latest").read_text().strip()
            facts = json.loads((state / "state.json").read_text())
            found, _ = checkpoint.load(state / "checkpoint")
            model.load_state_dict(found.state_dict())
            _restore(optimizer, load_file(state / "optimizer.safetensors"))
            known: dict[str, Any] = {
                "step": int(facts["step"]),
                "tokens": int(facts["tokens"]),
                "seconds": float(facts["seconds"]),
            }
            known["best"] = facts["best"]
        except Exception as error:
            raise CheckpointError(f"cannot resume from {state}: {error}") from error
        if self.workers.first:
            self._forget_after(known["step"])
        return known

    def _forget_after(self, step: int) -> None:
        """Drop the rows of steps that will be made again."""
        metrics = self.path / "metrics.jsonl"
        rows = metrics.read_text().splitlines() if metrics.exists() else []
        _write(metrics, "".join(row + "\n" for row in rows if _step_of(row) <= step))

    def log(self, row: dict[str, Any]) -> None:
        """Add a row to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def _write(path: Path, text: str) -> None:
    """The whole text or what was there before."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers of each parameter, and the state of torch's generator, by name."""
    state: dict[str, Tensor] = {"rng": torch.get_rng_state()}
    for index, slots in optimizer.state_dict()["state"].items():
        state.update({f"{index}.{key}": torch.as_tensor(value).cpu() for key, value in slots.items()})
    return state


def _restore(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    """The inverse of `_flat`."""
    torch.set_rng_state(flat.pop("rng"))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in flat.items():
        index, key = name.split(".", 1)
        slots.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def _step_of(row: str) -> float:
    """The step of a line of metrics.jsonl; infinity for a line that was cut off or is none."""
    try:
        return float(json.loads(row)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


__all__ = ["RunFolder", "Settings"]
