"""A training run: a folder that can be killed at any moment and goes on where it was.

    config.json       what is trained, on which corpus
    metrics.jsonl     a row every 20 steps, and one a check
    state-000400/     checkpoint/ with the weights, optimizer.safetensors, state.json; whole or not there
    latest, best      the names of the states to resume from and to use

Needs torch, pyro, numpy, pyarrow and safetensors, and no MIDI library. Under torchrun each process takes its share of
every batch.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from midivibe.config import ModelConfig, TrainConfig, replace
from midivibe.errors import CheckpointError, CorpusError, EmptySplitError, InputError, OutputError
from midivibe.files import replacing
from midivibe.model import checkpoint
from midivibe.model.latent import Batch, Terms, VibeModel, beta_at, objective
from midivibe.training.dataset import SMALLEST_BATCH, Corpus, Example, batches, collate
from midivibe.training.optimizer import make_optimizer, set_rate
from midivibe.training.parallel import Workers

EXTENDABLE = ("learning_rate", "max_steps", "max_minutes", "check_minutes", "sample_every", "eval_windows")
"""Settings that a resumed run may change."""


def learning_rate(step: int, progress: float, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to `min_lr_ratio` of the top."""
    warm = min(1.0, (step + 1) / config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * warm * (config.min_lr_ratio + (1 - config.min_lr_ratio) * cosine)


def token_dropout_at(progress: float, config: TrainConfig) -> float:
    """Full for the first half of the run, while the latent takes hold, then falling in a line to its end value."""
    fall = max(0.0, 2 * progress - 1)
    return config.token_dropout + fall * (config.token_dropout_end - config.token_dropout)


def precision_of(config: TrainConfig, device: str) -> torch.dtype:
    """The type that matrices are multiplied in."""
    if config.precision != "auto":
        return torch.bfloat16 if config.precision == "bf16" else torch.float32
    quick = device.startswith("cuda") or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if quick else torch.float32


@torch.no_grad()
def evaluate(
    model: VibeModel, examples: list[Example], block_size: int, seed: int = 0, per_batch: int = 16
) -> dict[str, float]:
    """Held-out figures over plain windows, in nats a note: reconstruction, KL, their sum (the bound), and the shuffle gap.

    nll and kl are summed over all windows and divided by all notes; z is one draw from the guide. The shuffle gap is
    NLL(z of another window) - NLL(own z), in nats a window. `active` counts dimensions that carry
    more than 0.05 nats a window: the spread of their means says nothing, being normalised.
    """
    was = model.training
    model.eval()
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    nll = kl = gap = 0.0
    notes, carried = 0, []
    for at in range(0, len(examples), per_batch):
        chunk = examples[at : at + per_batch]
        batch = collate(chunk, block_size).to(device)
        mean, sd = model.posterior(batch)
        z = mean + sd * torch.randn(mean.shape, generator=generator).to(device)
        own = model.nll_with(batch, z)
        # half a batch away, so that neighbouring windows of one song do not count as another piece
        other = model.nll_with(batch, z.roll(len(chunk) // 2, 0)) if len(chunk) > 1 else own
        prior_mean, prior_sd = model.prior(batch.vibe)
        divergence = torch.distributions.kl_divergence(
            torch.distributions.Normal(mean, sd), torch.distributions.Normal(prior_mean, prior_sd)
        )
        nll += own.sum().item()
        kl += divergence.sum().item()
        gap += (other - own).sum().item()
        notes += sum(e.notes for e in chunk)
        carried.append(divergence.cpu())
    model.train(was)
    count = len(examples)
    return {
        "nats_per_note": (nll + kl) / notes,
        "reconstruction": nll / notes,
        "kl_per_note": kl / notes,
        "kl_per_window": kl / count,
        "shuffle_gap": gap / count,
        "active": int((torch.cat(carried).mean(0) > 0.05).sum()),
        "windows": count,
        "notes": notes,
    }


def held_out_rows(corpus: Corpus, block_size: int, count: int) -> list[int]:
    """Windows spread evenly over a split, of those that fit into a block."""
    rows = np.flatnonzero(corpus.ids.lengths < block_size - 30)
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)].tolist() if len(rows) else []


def held_out_examples(corpus: Corpus, block_size: int, count: int) -> list[Example]:
    """The plain examples of `held_out_rows`."""
    return [corpus.plain(r) for r in held_out_rows(corpus, block_size, count)]


def _step_of(row: str) -> float:
    """The step of a line of metrics.jsonl; infinity for a line that was cut off or is none."""
    try:
        return float(json.loads(row)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class Run:
    """One training run in a folder, made new or, where the folder holds one, resumed.

    `init` is a checkpoint folder to start from; then `model_config` is its own. `listener` hears every row of metrics.

    Raises:
        CorpusError: no usable corpus, or one made with another tokenizer than `init`.
        InputError: the folder holds a run with other settings, or one and `resume` is off.
    """

    def __init__(
        self,
        corpus_folder: str | Path,
        out: str | Path,
        model_config: ModelConfig,
        config: TrainConfig,
        init: str | Path | None = None,
        resume: bool = True,
        listener: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> None:
        torch.manual_seed(config.seed)
        pyro.set_rng_seed(config.seed)
        self.out, self.config, self.listener = Path(out), config, listener
        self.workers = Workers()
        self.tokenizer = Path(corpus_folder) / "tokenizer.json"
        self.corpus = Corpus(corpus_folder, "train")
        if init is None:
            self.model_config = replace(model_config, vocab_size=len(self.corpus.vocabulary))
            self.model = VibeModel(self.model_config)
        else:
            self.model, vocabulary = checkpoint.load(init)
            self.model_config = self.model.config
            if vocabulary.names != self.corpus.vocabulary.names:
                raise CorpusError(
                    f"{corpus_folder} was made with another tokenizer ({len(self.corpus.vocabulary)} tokens) than {init} "
                    f"({len(vocabulary)}); prepare it again with this version"
                )
        self.device = self.workers.device
        self.model.to(self.device)
        self.optimizer = make_optimizer(self.model, config)
        self.held_out: list[Example] = []
        try:
            valid = Corpus(corpus_folder, "valid")
            self.held_out = held_out_examples(valid, self.model_config.block_size, config.eval_windows)
        except EmptySplitError:
            pass
        self.tuned = init is not None
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.best: float | None = None
        self.stop = False
        """set it, and training saves and ends after the step under way"""
        self._agree_with_folder(Path(corpus_folder), init, resume)

    # The folder --------------------------------------------------------------------------------------------------------

    def _agree_with_folder(self, corpus: Path, init: str | Path | None, resume: bool) -> None:
        digest = hashlib.sha1((corpus / "corpus.json").read_bytes()).hexdigest()
        mine: dict[str, Any] = {
            "model": self.model_config.to_dict(),
            "train": self.config.to_dict(),
            "corpus": digest,
            "init": str(Path(init).resolve()) if init else "",
        }
        file = self.out / "config.json"
        self._refuse_foreign(file)
        begun = bool(self.workers.from_first(float((self.out / "latest").exists())))
        if file.exists() and not begun and not resume and (self.out / "metrics.jsonl").exists():
            raise InputError(f"{self.out} holds a run that has just begun; --resume takes the folder over, or choose another")
        self.workers.meet()  # all have looked before the first one writes
        if not begun:  # nothing that binds yet
            if self.workers.first:
                (self.out / "metrics.jsonl").unlink(missing_ok=True)
                with replacing(file) as temporary:
                    temporary.write_text(json.dumps(mine, indent=1))
            return
        try:
            theirs = json.loads(file.read_text())
            theirs["train"].setdefault("optimizer", "adamw")  # all there was when the run began
            for part, kind in (("model", ModelConfig), ("train", TrainConfig)):  # settings that are newer than the run
                theirs[part] = kind.from_dict(theirs[part]).to_dict()
            differing = [f"the {k} (was {theirs['model'][k]})" for k, v in mine["model"].items() if theirs["model"][k] != v]
            differing += [
                f"{k} (was {theirs['train'][k]})"
                for k, v in mine["train"].items()
                if theirs["train"][k] != v and k not in EXTENDABLE
            ]
            differing += ["the corpus"] * (theirs["corpus"] != digest)
            differing += [f"--init (was {theirs['init'] or 'none'})"] * (theirs["init"] != mine["init"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} is damaged or no run's: {error}; choose another folder") from error
        if differing:
            raise InputError(f"{self.out} holds a run of another config: {', '.join(differing[:4])}; choose another folder")
        if not resume:
            raise InputError(f"{self.out} holds a run already; --resume goes on with it, or choose another folder")
        self._resume()

    def _refuse_foreign(self, file: Path) -> None:
        """Raises InputError where the folder is no folder, or holds what would be overwritten and is no run's."""
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"{self.out} is a file; a run needs a folder")
        if any(self.out.glob("*.safetensors")):
            raise InputError(f"{self.out} is a checkpoint; choose another folder for the run")
        held = [n for n in ("config.json", "metrics.jsonl", "loss.png") if (self.out / n).exists()]
        try:
            ours = not held or "train" in json.loads(file.read_text())
        except (OSError, ValueError, TypeError):
            ours = False
        if not ours:
            raise InputError(f"{self.out} holds a {held[0]} that no run wrote; choose another folder")

    def save(self, best: bool = False) -> None:
        """Write a state and point `latest` at it (and `best`); older states go, but for the best.

        Raises:
            OutputError: the disk is full or the folder is gone; the states of before stay.
        """
        name = f"state-{self.step:06d}"
        pointed = self.out / "latest"
        if (self.out / name).exists() and pointed.is_file() and pointed.read_text() == name:
            if best:  # the state is there already, from before it was known how good it is
                with replacing(self.out / name / "state.json") as temporary:
                    temporary.write_text(json.dumps(self.facts()))
                with replacing(self.out / "best") as temporary:
                    temporary.write_text(name)
            return
        try:
            staging = Path(tempfile.mkdtemp(prefix=".state-", dir=self.out))
        except OSError as error:
            raise OutputError(f"cannot write {self.out}: {error.strerror or error}") from error
        try:
            checkpoint.save(staging / "checkpoint", self.model, self.tokenizer, facts=self.facts())
            state: dict[str, Tensor] = {"rng": torch.get_rng_state()}
            for index, slots in self.optimizer.state_dict()["state"].items():
                state.update({f"{index}.{key}": torch.as_tensor(value).cpu() for key, value in slots.items()})
            save_file(state, staging / "optimizer.safetensors")
            (staging / "state.json").write_text(json.dumps(self.facts()))
            staging.chmod(0o755)
            shutil.rmtree(self.out / name, ignore_errors=True)
            staging.rename(self.out / name)
            for pointer in ("best", "latest") if best else ("latest",):
                with replacing(self.out / pointer) as temporary:
                    temporary.write_text(name)
        except (OSError, RuntimeError) as error:  # safetensors wraps a full disk in its own error
            raise OutputError(f"cannot save the run in {self.out}: {error}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        kept = {(self.out / p).read_text() for p in ("latest", "best") if (self.out / p).exists()}
        for old in (*self.out.glob("state-*"), *self.out.glob(".state-*")):  # hidden: a save that was killed
            if old.name not in kept:
                shutil.rmtree(old, ignore_errors=True)

    def facts(self) -> dict[str, Any]:
        """Counters, for state.json and the checkpoint's config.json."""
        return {
            "step": self.step, "tokens": self.tokens, "seconds": round(self.seconds, 1), "best": self.best,
            "config": self.config.to_dict(),
        }  # fmt: skip

    def _resume(self) -> None:
        state = self.out
        try:
            state = self.out / (self.out / "latest").read_text().strip()
            facts = json.loads((state / "state.json").read_text())
            model, _ = checkpoint.load(state / "checkpoint")
            flat = load_file(state / "optimizer.safetensors")
            self.model.load_state_dict(model.state_dict())
            self.model.to(self.device)
            torch.set_rng_state(flat.pop("rng"))
            own = self.optimizer.state_dict()
            slots: dict[int, dict[str, Tensor]] = {}
            for name, value in flat.items():
                index, key = name.split(".", 1)
                slots.setdefault(int(index), {})[key] = value
            self.optimizer.load_state_dict({"state": slots, "param_groups": own["param_groups"]})
            self.step, self.tokens, self.seconds = int(facts["step"]), int(facts["tokens"]), float(facts["seconds"])
            self.best = facts["best"]
        except Exception as error:
            raise CheckpointError(f"cannot resume from {state}: {error}") from error
        if self.workers.first:  # rows of steps that will be made again
            metrics = self.out / "metrics.jsonl"
            rows = metrics.read_text().splitlines() if metrics.exists() else []
            kept = [row for row in rows if _step_of(row) <= self.step]
            with replacing(metrics) as temporary:
                temporary.write_text("".join(row + "\n" for row in kept))

    # Training ----------------------------------------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Share of the schedule that is done, 0 to 1."""
        by_steps = self.step / self.config.max_steps
        by_clock = self.seconds / (60 * self.config.max_minutes) if self.config.max_minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    def train(self, stop_after: int | None = None) -> None:
        """Train until the steps or the minutes are used up (or, as if interrupted, until step `stop_after`).

        Raises:
            CheckpointError: the loss or a gradient is not finite.
            OutputError: the run folder cannot be written.
        """
        config, model = self.config, self.model
        self._compile()
        model.train()
        smallest = max(SMALLEST_BATCH, self.workers.size)
        start = self.step * config.accumulate
        groups = batches(self.corpus, config, self.model_config.block_size, start, smallest)
        checked = time.monotonic()
        if self.step == 0 and self.best is None and self.workers.first:
            figures = self._judge()
            if figures and self.tuned:  # what it starts from is to be beaten, and else stays
                self.best = figures["reconstruction"]
                self.save(best=True)
            self._log({"step": 0, "valid": figures, "progress": 0.0})
        while self.step != stop_after:
            progress = self.workers.from_first(self.progress if not self.stop else math.inf)
            if progress >= 1:
                break
            began = time.monotonic()
            row = self._step([next(groups) for _ in range(config.accumulate)], progress)
            spent = time.monotonic() - began
            self.step += 1
            self.tokens += int(row.pop("scored"))
            self.seconds += spent
            if not self.workers.first:
                continue
            if self.step % 20 == 0 or self.step < 5:
                row |= {"tokens_per_s": row.pop("read") / spent, "progress": progress}
                self._log({"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds, 1), **row})
            if config.sample_every and self.step % config.sample_every == 0:
                self.save()
                self.listener({"step": self.step, "sample": str(self.out / f"state-{self.step:06d}" / "checkpoint")})
            # a handful of songs is learned by heart in a minute: tuning looks at steps 8, 16, 32 and so on as well
            early = self.tuned and self.step >= 8 and self.step & (self.step - 1) == 0
            if early or time.monotonic() - checked > 60 * config.check_minutes:
                self._check()
                checked = time.monotonic()
        if self.workers.first and self.stop:
            self.save()
        elif self.workers.first:
            self._check(done=self.progress >= 1)
        self.workers.stop()

    def _compile(self) -> None:
        if self.config.compile == "on" or (self.config.compile == "auto" and self.device.startswith("cuda")):
            for stack in (self.model.transformer.blocks, self.model.encoder.blocks):
                for block in stack:
                    block.compile()

    def _step(self, groups: list[list[Example]], progress: float) -> dict[str, float]:
        """One optimiser step on the mean loss of the groups; returns its row of metrics."""
        config, model, workers = self.config, self.model, self.workers
        beta = beta_at(progress, config.kl_warmup, config.kl_cycles, config.kl_weight)
        rate = learning_rate(self.step, progress, config)
        set_rate(self.optimizer, rate)
        sums = torch.zeros(6, dtype=torch.float64, device=self.device)
        for examples in groups:
            mine = examples[workers.rank :: workers.size]
            batch = collate(mine, self.model_config.block_size, latent=self.model_config.n_latent).to(self.device)
            try:
                loss, terms = self._loss(batch, beta, token_dropout_at(progress, config), len(examples))
            except ValueError as error:  # Pyro refuses a distribution whose parameters are not finite
                raise CheckpointError(
                    f"the model is not finite any more at step {self.step}; --resume with a lower --learning-rate ({error})"
                ) from error
            (loss / len(groups)).backward()
            parts = (loss / len(groups), terms.nll.sum(), terms.kl.sum() / len(examples) / len(groups), terms.bag.sum(),
                     terms.tokens.sum(), batch.loss.numel())  # fmt: skip
            sums += torch.stack([torch.as_tensor(p, dtype=torch.float64, device=self.device).detach() for p in parts])
        loss_, nll, kl, bag, tokens, read = workers.total(sums).tolist()
        if not math.isfinite(loss_):
            raise CheckpointError(
                f"the loss is {loss_} at step {self.step}; resume with a lower --learning-rate from {self.out}"
            )
        workers.add_gradients(model.parameters())
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        if not math.isfinite(float(norm)):
            raise CheckpointError(f"a gradient is {float(norm)} at step {self.step}; --resume with a lower --learning-rate")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {
            "loss": loss_, "nats_per_token": nll / max(tokens, 1), "kl": kl, "bag": bag / max(tokens, 1), "beta": beta,
            "learning_rate": rate, "grad_norm": float(norm), "scored": tokens, "read": read,
        }  # fmt: skip

    def _loss(self, batch: Batch, beta: float, token_dropout: float, examples: int) -> tuple[Tensor, Terms]:
        kind = precision_of(self.config, self.device)
        with torch.autocast(self.device.split(":")[0], kind) if kind != torch.float32 else nullcontext():
            terms = self.model.terms(batch, token_dropout)
        tokens = self.workers.total(terms.tokens.sum())
        kl = self.workers.total(terms.kl.sum(0)) / examples
        return objective(terms, beta, self.config.free_bits, self.config.bag_weight, tokens, kl), terms

    def _judge(self) -> dict[str, float] | None:
        if not self.held_out:
            return None
        return evaluate(self.model, self.held_out, self.model_config.block_size)

    def _check(self, done: bool = False) -> None:
        """Evaluate, save, and remember the best: the lowest held-out reconstruction while z still matters.

        Never the bound: it prefers a dead latent by more than a live one costs.
        """
        figures = self._judge()
        better = False
        alive = figures and (figures["shuffle_gap"] > 0 or figures["windows"] < 2)  # one window has no other to compare with
        if figures and alive and (self.best is None or figures["reconstruction"] < self.best):
            self.best, better = figures["reconstruction"], True
        self.save(best=better)
        self._log({"step": self.step, "valid": figures, "progress": self.progress, "best": better, "done": done})

    def _log(self, row: dict[str, Any]) -> None:
        with (self.out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.listener(row)


__all__ = ["Run", "evaluate", "held_out_examples", "learning_rate", "make_optimizer", "token_dropout_at"]
