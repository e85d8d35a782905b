"""A training run: a folder with its config, metrics.jsonl, checkpoints written atomically; killed, it resumes.

Needs torch, pyro, numpy, pyarrow and safetensors, and no MIDI library.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pyro
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from midivibe.config import ModelConfig, TrainConfig, replace
from midivibe.errors import CorpusError
from midivibe.model import checkpoint
from midivibe.model.latent import Batch, Terms, VibeModel, beta_at, objective
from midivibe.training.dataset import Corpus, Example, batches, collate


def learning_rate(step: int, progress: float, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to `min_lr_ratio` of the top."""
    warm = min(1.0, (step + 1) / config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * warm * (config.min_lr_ratio + (1 - config.min_lr_ratio) * cosine)


def token_dropout_at(progress: float, config: TrainConfig) -> float:
    """Full for the first half of the run, while the latent takes hold, then falling in a line to its end value."""
    fall = max(0.0, 2 * progress - 1)
    return config.token_dropout + fall * (config.token_dropout_end - config.token_dropout)


def make_optimizer(model: VibeModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2))


@torch.no_grad()
def evaluate(
    model: VibeModel, examples: list[Example], block_size: int, seed: int = 0, per_batch: int = 16
) -> dict[str, float]:
    """Held-out figures over plain windows, in nats a note: reconstruction, KL, their sum (the bound), and the shuffle gap.

    nll and kl are summed over all windows and divided by all notes; z is one draw from the guide. The shuffle gap is
    NLL(z of another window) - NLL(own z), in nats a window. `active` counts dimensions whose posterior means vary
    (variance over 0.01, Burda 2016).
    """
    model.eval()
    generator_state = torch.get_rng_state()
    pyro.set_rng_seed(seed)
    nll = kl = gap = 0.0
    notes, means, kls = 0, [], []
    for at in range(0, len(examples), per_batch):
        chunk = examples[at : at + per_batch]
        batch = collate(chunk, block_size)
        mean, sd = model.posterior(batch)
        z = mean + sd * torch.randn_like(mean)
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
        means.append(mean)
        kls.append(divergence)
    torch.set_rng_state(generator_state)
    model.train()
    count = len(examples)
    return {
        "nats_per_note": (nll + kl) / notes,
        "reconstruction": nll / notes,
        "kl_per_note": kl / notes,
        "kl_per_window": kl / count,
        "shuffle_gap": gap / count,
        "active": int((torch.cat(means).var(0) > 0.01).sum()),
        "windows": count,
        "notes": notes,
    }


class Run:
    """One training run in a folder."""

    def __init__(self, corpus_folder: Path, out: Path, model_config: ModelConfig, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        pyro.set_rng_seed(config.seed)
        self.out, self.config = out, config
        out.mkdir(parents=True, exist_ok=True)
        self.corpus = Corpus(corpus_folder, "train")
        self.tokenizer = Path(corpus_folder) / "tokenizer.json"
        self.model_config = replace(model_config, vocab_size=len(self.corpus.vocabulary))
        valid = Corpus(corpus_folder, "valid")
        block = model_config.block_size
        rows = [r for r in range(len(valid)) if len(valid.ids[r]) < block - 30]
        rows = rows[:: max(1, len(rows) // config.eval_windows)][: config.eval_windows]
        self.valid = [valid.plain(r) for r in rows]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = VibeModel(self.model_config).to(self.device)
        self.optimizer = make_optimizer(self.model, config)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.stop_after: int | None = None
        """leave off after this many steps, as if interrupted"""
        if (out / "state.json").exists():
            self._resume()

    @property
    def progress(self) -> float:
        by_steps = self.step / self.config.max_steps
        by_clock = self.seconds / (60 * self.config.max_minutes) if self.config.max_minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    def _names(self) -> list[str]:
        return [name for name, _ in self.model.named_parameters()]

    def save(self) -> None:
        """Weights, optimiser, counters and generator state, each file renamed into place, state.json last."""
        checkpoint.save(self.out / "checkpoint", self.model, self.tokenizer, facts=self.facts())
        state: dict[str, Tensor] = {}
        for index, slots in self.optimizer.state_dict()["state"].items():
            state.update({f"{index}.{key}": torch.as_tensor(value) for key, value in slots.items()})
        save_file({**state, "rng": torch.get_rng_state()}, self.out / "optimizer.tmp")
        (self.out / "optimizer.tmp").rename(self.out / "optimizer.safetensors")
        (self.out / "state.tmp").write_text(json.dumps(self.facts()))
        (self.out / "state.tmp").rename(self.out / "state.json")

    def facts(self) -> dict:
        return {"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds, 1), "config": self.config.to_dict()}

    def _resume(self) -> None:
        facts = json.loads((self.out / "state.json").read_text())
        model, _ = checkpoint.load(self.out / "checkpoint")
        if model.config != self.model_config:
            raise CorpusError(f"{self.out} holds a run of another model; choose another folder")
        self.model.load_state_dict(model.state_dict())
        flat = load_file(self.out / "optimizer.safetensors")
        torch.set_rng_state(flat.pop("rng"))
        own = self.optimizer.state_dict()
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in flat.items():
            index, key = name.split(".", 1)
            slots.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({"state": slots, "param_groups": own["param_groups"]})
        self.step, self.tokens, self.seconds = facts["step"], facts["tokens"], facts["seconds"]

    def train(self, compile_model: bool = True) -> None:
        """Train until the steps or the minutes are used up."""
        config, model = self.config, self.model
        block = self.model_config.block_size
        if compile_model:
            for stack in (model.transformer.blocks, model.encoder.blocks):
                for b in stack:
                    b.compile()
        model.train()
        metrics = (self.out / "metrics.jsonl").open("a")
        saved = time.monotonic()
        for batch in batches(self.corpus, config, block, start=self.step):
            if self.progress >= 1 or self.step == self.stop_after:
                break
            began = time.monotonic()
            beta = beta_at(self.progress, config.kl_warmup, config.kl_cycles, config.kl_weight)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.step, self.progress, config)
            terms_loss, terms = self._step(batch, beta, token_dropout_at(self.progress, config))
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            self.tokens += int(batch.loss.sum())
            self.seconds += time.monotonic() - began
            if self.step % 20 == 0 or self.step < 5:
                row = {
                    "step": self.step,
                    "tokens": self.tokens,
                    "seconds": round(self.seconds, 1),
                    "loss": terms_loss,
                    "nats_per_token": (terms.nll.sum() / terms.tokens.sum()).item(),
                    "kl": terms.kl.sum(1).mean().item(),
                    "bag": (terms.bag.sum() / terms.tokens.sum()).item(),
                    "beta": beta,
                    "grad_norm": float(norm),
                    "tokens_per_s": batch.ids.numel() / (time.monotonic() - began),
                }
                self._log(metrics, row)
            if self.step % config.eval_every == 0:
                figures = evaluate(self.model, self.valid, block)
                self._log(metrics, {"step": self.step, "valid": figures, "seconds": round(self.seconds, 1)})
            if time.monotonic() - saved > 60 * config.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
        self.save()
        self._log(metrics, {"step": self.step, "valid": evaluate(self.model, self.valid, block), "done": True})

    def _step(self, batch: Batch, beta: float, token_dropout: float) -> tuple[float, Terms]:
        with torch.autocast(self.device, torch.bfloat16):
            terms = self.model.terms(batch.to(self.device), token_dropout)
        loss = objective(terms, beta, self.config.free_bits, self.config.bag_weight)
        loss.backward()
        return loss.item(), terms

    @staticmethod
    def _log(metrics, row: dict) -> None:
        metrics.write(json.dumps(row) + "\n")
        metrics.flush()
