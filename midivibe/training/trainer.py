"""A training run: the loop. Its folder (`run.RunFolder`) can be killed at any moment and goes on where it was.

Needs torch, pyro, numpy, pyarrow and safetensors, and no MIDI library. Under torchrun each process takes its share of
every batch.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

from midivibe.config import ModelConfig, TrainConfig, replace
from midivibe.errors import CheckpointError, CorpusError, EmptySplitError
from midivibe.model import checkpoint
from midivibe.model.growth import grown
from midivibe.model.latent import Batch, Terms, VibeModel, beta_at, objective
from midivibe.training.dataset import SMALLEST_BATCH, Corpus, Example, batches, collate
from midivibe.training.held_out import held_out_examples, score
from midivibe.training.optimizer import make_optimizer, set_rate
from midivibe.training.parallel import Workers
from midivibe.training.run import RunFolder, Settings
from midivibe.vibe.axes import AXES

LOG_EVERY = 20
"""Steps between rows of metrics; the first four are logged as well, to show at once that a run moves."""


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


def tuned_from(init: str | Path, corpus: Corpus, folder: str | Path) -> VibeModel:
    """The weights of a checkpoint, grown to the ids of a corpus; raises CorpusError where it has another tokenizer."""
    model, vocabulary = checkpoint.load(init)
    names = corpus.vocabulary.names
    if not vocabulary.plans and vocabulary.names == names[: len(vocabulary)]:
        return grown(model, len(names))
    if vocabulary.names != names:
        raise CorpusError(
            f"{folder} was made with another tokenizer ({len(names)} tokens) than {init} ({len(vocabulary)}); prepare it again "
            "with this version"
        )
    return model


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
        self.config, self.listener = config, listener
        self.workers = Workers()
        self.folder = RunFolder(out, self.workers)
        self.tokenizer = Path(corpus_folder) / "tokenizer.json"
        self.corpus = Corpus(corpus_folder, "train")
        if init is None:
            shape = replace(model_config, vocab_size=len(self.corpus.vocabulary), n_vibe=len(AXES))
            self.model = VibeModel(shape)
        else:
            self.model = tuned_from(init, self.corpus, corpus_folder)
        self.model_config = self.model.config
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
        digest = hashlib.sha1((Path(corpus_folder) / "corpus.json").read_bytes()).hexdigest()
        origin = str(Path(init).resolve()) if init else ""
        if self.folder.begin(Settings(self.model_config.to_dict(), config.to_dict(), digest, origin), resume):
            facts = self.folder.load(self.model, self.optimizer)
            self.step, self.tokens, self.seconds, self.best = (facts[k] for k in ("step", "tokens", "seconds", "best"))

    def save(self, best: bool = False) -> None:
        """Write a state to the run's folder; raises as `RunFolder.save`."""
        self.folder.save(self.model, self.optimizer, self.tokenizer, self.facts(), best)

    def facts(self) -> dict[str, Any]:
        """Counters, for state.json and the checkpoint's config.json."""
        return {
            "step": self.step, "tokens": self.tokens, "seconds": round(self.seconds, 1), "best": self.best,
            "config": self.config.to_dict(),
        }  # fmt: skip

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
            if self.step % LOG_EVERY == 0 or self.step < 5:
                row |= {"tokens_per_s": row.pop("read") / spent, "progress": progress}
                self._log({"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds, 1), **row})
            if config.sample_every and self.step % config.sample_every == 0:
                self.save()
                self.listener({"step": self.step, "sample": str(self.folder.state(self.step) / "checkpoint")})
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
                f"the loss is {loss_} at step {self.step}; resume with a lower --learning-rate from {self.folder.path}"
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
        return score(self.model, self.held_out) if self.held_out else None

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
        self.folder.log(row)
        self.listener(row)


__all__ = ["Run", "learning_rate", "token_dropout_at"]
