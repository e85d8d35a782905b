"""The network, the latent, decoding with a cache, checkpoints and training, on a tiny real model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch

from midivibe.config import PRESETS, ModelConfig, SampleConfig, TrainConfig, replace
from midivibe.errors import CheckpointError, InputError
from midivibe.evaluation.baselines import Markov
from midivibe.model import checkpoint
from midivibe.model.engine.torch import TorchEngine
from midivibe.model.growth import grown
from midivibe.model.latent import Batch, VibeModel, beta_at, objective
from midivibe.studio import Studio
from midivibe.tokens.miditok import BarTrackREMI
from midivibe.tokens.vocabulary import COORDINATES, Vocabulary
from midivibe.vibe.axes import AXES
from midivibe.writing.sampling import draw, filters_of, nucleus, shares_of, temperature


def random_batch(model: VibeModel, rows: int = 3, length: int = 40, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, model.config.vocab_size, (rows, length), generator=g)
    coordinates = torch.randint(0, 8, (rows, length, COORDINATES), generator=g)
    loss = torch.ones(rows, length - 1, dtype=torch.bool)
    return Batch(
        ids, coordinates, loss, torch.ones_like(ids, dtype=torch.bool), torch.randn(rows, model.config.vibe_inputs, generator=g)
    )


def test_cached_logits_equal_uncached_ones(model: VibeModel) -> None:
    """Rows of different lengths, prefilled and stepped, with and without guidance."""
    batch = random_batch(model)
    z = torch.randn(3, model.config.n_latent)
    prompts = (5, 11, 17)
    for guidance in (1.0, 2.0):
        engine = TorchEngine(model)
        engine.begin(z.numpy(), batch.vibe.numpy(), guidance)
        with torch.inference_mode():
            full, _ = model.transformer(batch.ids, batch.coordinates, model.transformer.condition(z, batch.vibe))
            if guidance != 1:
                null = model.transformer.condition(z, torch.zeros_like(batch.vibe))
                bare, _ = model.transformer(batch.ids, batch.coordinates, null)
                full = bare + guidance * (full - bare)
        for row, n in enumerate(prompts):
            got = engine.prefill(row, batch.ids[row, :n].tolist(), batch.coordinates[row, :n].numpy())
            assert np.allclose(got, full[row, n - 1].numpy(), atol=1e-4)
        running = [True, True, False]
        for step in range(12):
            at = [p + step if go else prompts[2] for p, go in zip(prompts, running, strict=True)]
            ids = [int(batch.ids[row, i]) for row, i in enumerate(at)]
            got = engine.step(ids, np.stack([batch.coordinates[row, i].numpy() for row, i in enumerate(at)]), running)
            for row, i in enumerate(at[:2]):
                assert np.allclose(got[row], full[row, i].numpy(), atol=1e-4), (guidance, step, row)


def test_every_parameter_moves(model: VibeModel) -> None:
    copy = VibeModel(model.config)
    copy.load_state_dict(model.state_dict())
    # conditioning starts silent, and what mixes two silences has no gradient: so one step off the start
    with torch.no_grad():
        for layer in (*copy.transformer.from_z, *copy.transformer.from_vibe):
            layer.weight.normal_(std=0.1)
    before = {n: p.detach().clone() for n, p in copy.named_parameters()}
    optimizer = torch.optim.SGD(copy.parameters(), lr=1.0)
    objective(copy.terms(random_batch(copy)), beta=1.0, free_bits=0.0, bag_weight=0.1).backward()
    optimizer.step()
    still = [n for n, p in copy.named_parameters() if torch.equal(p, before[n])]
    # a linear layer in front of a batch normalisation has no use for its bias: only the sd half of it can move
    assert still == []


def test_the_future_is_not_seen(model: VibeModel) -> None:
    batch = random_batch(model)
    condition = model.transformer.condition(torch.zeros(3, model.config.n_latent), batch.vibe)
    changed = batch.ids.clone()
    changed[:, 25:] = 3
    with torch.inference_mode():
        a, _ = model.transformer(batch.ids, batch.coordinates, condition)
        b, _ = model.transformer(changed, batch.coordinates, condition)
    assert torch.allclose(a[:, :25], b[:, :25], atol=1e-5)
    assert not torch.allclose(a[:, 25:], b[:, 25:], atol=1e-3)


def test_the_guide_reads_only_what_is_visible(model: VibeModel) -> None:
    batch = random_batch(model)
    batch.visible[:, 20:] = False
    mean, sd = model.posterior(batch)
    batch.ids[:, 20:] = 7
    again, sd2 = model.posterior(batch)
    assert torch.allclose(mean, again, atol=1e-5)
    assert torch.allclose(sd, sd2, atol=1e-5)


def test_terms_are_those_of_pyro(model: VibeModel) -> None:
    """Our nll and KL equal Pyro's own mean-field ELBO (with the bag masked out)."""
    batch = random_batch(model)

    class NoBag(VibeModel):
        def model(self, batch, inputs):
            with pyro.poutine.block(hide=["bag"]):
                super().model(batch, inputs)

    copy = NoBag(model.config).eval()
    copy.load_state_dict(model.state_dict())
    pyro.set_rng_seed(1)
    terms = model.terms(batch)
    pyro.set_rng_seed(1)
    elbo = pyro.infer.TraceMeanField_ELBO().differentiable_loss(copy.model, copy.guide, batch, batch.ids[:, :-1])
    assert float(elbo) == pytest.approx(float(terms.nll.sum() + terms.kl.sum()), rel=1e-4)


def test_beta_schedule() -> None:
    assert beta_at(0.1, 0.2, 4, 1.0) < 1e-3
    assert beta_at(0.2 + 0.8 / 8, 0.2, 4, 1.0) == pytest.approx(1.0)
    assert beta_at(0.2 + 0.8 / 16, 0.2, 4, 1.0) == pytest.approx(0.5)
    assert beta_at(1.0, 0.2, 4, 1.0) == 1.0


@pytest.fixture(scope="module")
def toy() -> tuple[VibeModel, Batch]:
    """A toy whose z must carry key × density × register (4.97 nats), trained with the recipe for a few hundred steps."""
    torch.manual_seed(0)
    pyro.set_rng_seed(0)
    config = ModelConfig(
        vocab_size=32, block_size=40, n_layer=3, n_head=2, n_embd=48, n_latent=8, encoder_layers=2, encoder_embd=32,
        n_bars=4, n_positions=4,
    )  # fmt: skip
    model = VibeModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    steps = 300
    for step in range(steps):
        terms = model.terms(toy_batch(48), token_dropout=0.2)
        loss = objective(terms, beta_at(step / steps, 0.3, 2, 1.0), free_bits=0.25, bag_weight=0.1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval(), toy_batch(512)


def toy_batch(rows: int) -> Batch:
    """Sequences of 36 ids: notes of one of 12 keys in one of 4 registers, rests as often as one of 3 densities says."""
    key, register, density = torch.randint(12, (rows, 1)), torch.randint(4, (rows, 1)), torch.randint(3, (rows, 1))
    degree = torch.randint(0, 3, (rows, 37))
    note = 2 + (key + 4 * degree + 5 * register) % 28
    rest = torch.rand(rows, 37) < torch.tensor([0.1, 0.4, 0.7])[density]
    ids = torch.where(rest, torch.ones_like(note), note)
    ones = torch.ones(rows, 37, dtype=torch.bool)
    return Batch(
        ids,
        torch.zeros(rows, 37, COORDINATES, dtype=torch.long),
        ones[:, 1:],
        ones,
        torch.zeros(rows, ModelConfig().vibe_inputs),
    )


def test_the_latent_does_not_collapse(toy: tuple[VibeModel, Batch]) -> None:
    """Measured here: the recipe 2.44 nats; without warm-up, free bits and bag 1.97; without normalised means too 1.14."""
    model, batch = toy
    with torch.no_grad():
        terms = model.terms(batch)
        mean, sd = model.posterior(batch)
        z = mean + sd * torch.randn_like(mean)
        gap = (model.nll_with(batch, z.roll(1, 0)) - model.nll_with(batch, z)).mean()
    assert float(terms.kl.sum(1).mean()) > 2.15
    assert float(gap) > 4.0


def test_checkpoint_round_trip_and_damage(tmp_path, checkpoint_folder, model: VibeModel) -> None:
    loaded, vocabulary = checkpoint.load(checkpoint_folder)
    assert len(vocabulary) == model.config.vocab_size
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        checkpoint.load(tmp_path / "nowhere")
    for damage, words in (
        (lambda f: (f / "config.json").write_text("{"), "config.json"),
        (lambda f: (f / "config.json").write_text('{"format": 1, "model": {"n_layers": 3}}'), "did you mean n_layer"),
        (lambda f: (f / "config.json").write_text((f / "config.json").read_text().replace('"format": 1', '"format": 9')), "9"),
        (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]), "damaged"),
        (lambda f: (f / "model.safetensors").unlink(), "no .safetensors"),
        (lambda f: (f / "tokenizer.json").write_text('{"vocabulary": ["PAD_None"]}'), "has 1"),
        (lambda f: (f / "tokenizer.json").unlink(), "no vocabulary"),
    ):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(checkpoint_folder, copy)
        damage(copy)
        with pytest.raises(CheckpointError, match=words):
            checkpoint.load(copy)


def test_large_checkpoints_are_sharded(tmp_path, monkeypatch, checkpoint_folder, model: VibeModel) -> None:
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 100_000)
    checkpoint.save(tmp_path / "x", model, checkpoint_folder / "tokenizer.json", half=True)
    files = sorted((tmp_path / "x").glob("*.safetensors"))
    assert len(files) > 2
    assert max(f.stat().st_size for f in files) < 120_000
    loaded, _ = checkpoint.load(tmp_path / "x")
    name, value = next(iter(model.state_dict().items()))
    assert torch.allclose(loaded.state_dict()[name], value, atol=1e-3)


def test_config_refuses_unknown_keys() -> None:
    with pytest.raises(InputError, match="did you mean learning_rate"):
        TrainConfig.from_dict({"learning_rat": 1.0})
    assert ModelConfig.from_dict(PRESETS["mini"].to_dict()) == PRESETS["mini"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_embd": 250}, "n-embd is 250 and n-head 4; n-embd must be an even multiple of n-head, such as 248"),
        ({"n_embd": 12}, "such as 16"),
        ({"encoder_embd": 33}, "encoder-embd is 33; it must be even, such as 34"),
        ({"n_layer": 0}, "n-layer is 0; it must be a whole number at least 1"),
        ({"dropout": 1.0}, "dropout is 1; it must be"),
        ({"n_latent": 8.0}, "n-latent is 8.0; it must be a whole number"),
    ],
)
def test_shapes_that_cannot_be_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ModelConfig(**settings)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_reads_and_predicts(name: str) -> None:
    model = VibeModel(replace(PRESETS[name], vocab_size=40, n_layer=1, encoder_layers=1, block_size=64)).eval()
    batch = random_batch(model)
    mean, _ = model.posterior(batch)
    assert model.nll_with(batch, mean).shape == (3,)


def test_the_model_reads_as_many_axes_as_it_is_told(model: VibeModel) -> None:
    assert ModelConfig().n_vibe == len(AXES)
    fewer = VibeModel(replace(model.config, n_vibe=3)).eval()
    batch = random_batch(fewer)
    assert batch.vibe.shape == (3, 6)
    assert fewer.prior(batch.vibe)[0].shape == (3, model.config.n_latent)
    assert fewer.transformer.condition(torch.zeros(3, model.config.n_latent), batch.vibe).shape[1] == 3


def test_filters() -> None:
    logits, ids = np.log(np.array([0.5, 0.3, 0.15, 0.05])), np.arange(4)
    assert np.isfinite(nucleus(0.75)(logits, ids)).tolist() == [True, True, False, False]
    assert np.isfinite(nucleus(0.75)(logits[::-1], ids)).tolist() == [False, False, True, True]
    assert np.isfinite(nucleus(np.array([0.75, 0.75, 0.75, 1]))(logits, ids)).tolist() == [True, True, False, True]
    assert np.isfinite(temperature(0.0)(logits, ids)).tolist() == [True, False, False, False]
    assert filters_of(SampleConfig(temperature=1.0, top_p=1.0), ids > 2) == []
    assert len(filters_of(SampleConfig(temperature=0.9, top_p=0.9), ids > 2)) == 2
    generator = np.random.default_rng(0)
    counts = np.bincount([draw(shares_of(logits), generator) for _ in range(4000)], minlength=4) / 4000
    assert np.allclose(counts, np.exp(logits), atol=0.03)
    only = np.array([-np.inf, 0.0, -np.inf])
    assert {draw(shares_of(only), generator) for _ in range(50)} == {1}


def test_markov_is_a_distribution_and_beats_chance_on_what_it_knows() -> None:
    rng = np.random.default_rng(0)
    sequences = [np.cumsum(rng.integers(1, 3, 200)) % 7 for _ in range(20)]
    markov = Markov(2, 7).fit(sequences)
    whole = [np.array([1, 2, w]) for w in range(7)]
    for logs in markov.log_likelihoods(whole):
        assert np.exp(logs[2::3]).sum() == pytest.approx(1.0)
    nats = [-logs.mean() for logs in markov.log_likelihoods(sequences)]
    assert nats[1] < nats[0]
    assert nats[1] == pytest.approx(np.log(2), abs=0.05)


def test_weights_from_before_plans_grow_and_say_the_same(v: Vocabulary) -> None:
    torch.manual_seed(1)
    before = VibeModel(replace(PRESETS["debug"], vocab_size=605, n_coordinates=5)).eval()
    after = grown(before, len(v))
    assert after.config.n_coordinates == COORDINATES
    ids, places = torch.randint(0, 605, (2, 40)), torch.randint(0, 8, (2, 40, COORDINATES))
    z, vibe = torch.randn(2, before.config.n_latent), torch.randn(2, before.config.vibe_inputs)
    with torch.no_grad():
        old, _ = before.transformer(ids, places, before.transformer.condition(z, vibe))
        new, _ = after.transformer(ids, places, after.transformer.condition(z, vibe))
        seen = torch.ones_like(ids, dtype=torch.bool)
        assert torch.equal(before.encoder(ids, places, seen)[0], after.encoder(ids, places, seen)[0])
    assert torch.allclose(old, new[..., :605])
    assert new[..., 605:].max() < old.max()
    assert grown(before, len(v), kv_heads=1).config.kv_heads == 1
    with pytest.raises(ValueError, match="knows 605 ids already"):
        grown(before, 600)


def test_old_checkpoints_are_read_as_they_were(tmp_path: Path, v: Vocabulary, tokenizer: BarTrackREMI) -> None:
    """Their config.json says nothing of coordinates, and their tokenizer has no ids of plans."""
    before = VibeModel(replace(PRESETS["debug"], vocab_size=605, n_coordinates=5)).eval()
    tokenizer.save_tokenizer(tmp_path / "tokenizer.json")
    values = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps({**values, "vocabulary": values["vocabulary"][:605]}))
    checkpoint.save(tmp_path / "old", before, tmp_path / "tokenizer.json")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    del config["model"]["n_coordinates"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    piece = Studio.open(tmp_path / "old").compose(bars=3, chords="C G Am", form="A2B1", seed=1)
    assert piece.plan.form == "A2 B1"
    assert [c.symbol() for bar in piece.plan.chords for c in bar] == ["C", "G", "Am"]
