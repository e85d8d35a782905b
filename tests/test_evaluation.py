"""What the evaluation must see, on made-up music where the answer is known."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from midivibe.cli import main
from midivibe.config import replace
from midivibe.errors import CorpusError, InputError
from midivibe.evaluation import infilling
from midivibe.evaluation import judge as judge_module
from midivibe.evaluation.baselines import Markov, MarkovEngine
from midivibe.evaluation.intervals import rank_correlation
from midivibe.evaluation.judge import read_rated, train_judge
from midivibe.evaluation.options import FEWEST
from midivibe.evaluation.originality import TrainingIndex, flat_notes, four_bars, runs
from midivibe.evaluation.pieces import human_pieces
from midivibe.evaluation.report import Evaluation, Options
from midivibe.evaluation.sections.latent import FixedLatent, steadiness
from midivibe.evaluation.sections.mood import matched, quadrant_hits
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.score import to_score, write
from midivibe.studio import Studio
from midivibe.tokens.layout import encode, quantize, transpose
from midivibe.training.corpus import prepare
from midivibe.training.dataset import Corpus
from midivibe.training.sources import sources_of
from tests.conftest import IMAGES
from tests.test_training import song


def ids_of(notes: Notes, v) -> np.ndarray:
    return encode(quantize(notes, v), v)[0]


def test_flat_notes_are_the_pitched_notes(v) -> None:
    songs = [song(seed) for seed in range(4)]
    flat = flat_notes([ids_of(s, v) for s in songs], [True] * 4, v)
    for i, s in enumerate(songs):
        mine = flat.window == i
        bar = flat.bar[mine] - int(np.searchsorted(flat.bar_window, i))
        found = np.stack([bar * 48 + flat.position[mine], flat.program[mine], flat.pitch[mine]])
        expected = np.stack([s.onset, s.program, s.pitch])[:, s.program != DRUMS]
        assert sorted(found.T.tolist()) == sorted(expected.T.tolist())


def test_waltzes_have_no_four_bars_of_four_four_and_copied_runs_have_lengths(v) -> None:
    index = TrainingIndex([ids_of(song(seed), v) for seed in range(3)], [False] * 3, v)
    assert len(index.bars) == 0
    melody = index.copied(flat_notes([ids_of(song(1), v)], [True], v))
    assert (melody[:, 2] == melody[:, 1] + 15).all()  # a song of the training set is one long copied run


def test_copies_are_found_in_any_key_and_new_music_is_not(v) -> None:
    training = [ids_of(song(seed), v) for seed in range(10)]
    index = TrainingIndex(training, [True] * 10, v)
    copy = flat_notes([ids_of(transpose(song(3), 5), v)], [True], v)
    assert index.similarity(four_bars(copy, hop=4)) == pytest.approx([1.0] * 3)
    copied = index.copied(copy)
    assert (copied[:, 0] == copied[:, 1]).all()
    new = flat_notes([ids_of(song(99), v)], [True], v)
    assert index.similarity(four_bars(new, hop=4)).max() < 0.9
    melody = index.copied(new)[0]
    assert melody[0] == 0
    assert melody[1] > 20


def test_similarity_is_shared_over_the_larger(v) -> None:
    one = song(1, bars=4)
    index = TrainingIndex([ids_of(one, v)], [True], v)
    bits = four_bars(flat_notes([ids_of(one, v)], [True], v))
    half = bits.copy()
    half[:, 32:] = False
    expected = half.sum() / bits.sum()
    assert index.similarity(half) == pytest.approx([expected])
    waltz = flat_notes([ids_of(one, v)], [False], v)
    assert len(four_bars(waltz)) == 0
    assert len(runs(flat_notes([ids_of(one, v)[:20]], [True], v))[0]) == 0


@pytest.fixture(scope="module")
def held_out_corpus(tmp_path_factory) -> Path:
    """Thirty songs, twenty of them to test on."""
    folder = tmp_path_factory.mktemp("evaluated")
    lines = ["path,style,split"]
    for i in range(30):
        write(to_score(song(1000 + i, bars=16)), folder / f"song{i:02d}.mid")
        lines.append(f"song{i:02d}.mid,{('rock', 'pop')[i % 2]},{'test' if i < 20 else 'train'}")
    (folder / "music.csv").write_text("\n".join(lines))
    prepare(sources_of(folder / "music.csv"), folder / "corpus", workers=1)
    return folder / "corpus"


OPTIONS = Options(pieces=8, bars=8, windows=16, training_windows=50)


def test_human_pieces_are_the_songs(held_out_corpus: Path, v) -> None:
    corpus = Corpus(held_out_corpus, "test")
    pieces = human_pieces(corpus, 30, 8)
    assert len({p.song for p in pieces[:20]}) == 20
    assert {p.notes.bars for p in pieces} == {8}
    whole = {f"song{i:02d}.mid": quantize(song(1000 + i, bars=16), v) for i in range(20)}
    for p in pieces:
        original = whole[p.song]
        cuts = [original.window(b, b + 8) for b in range(9)]
        assert any(np.array_equal(c.onset, p.notes.onset) and np.array_equal(c.pitch, p.notes.pitch) for c in cuts)


def test_a_fixed_latent_is_heard_in_every_lane_and_copy(studio: Studio) -> None:
    z = np.arange(studio.engine.latents, dtype=np.float32)
    fixed = FixedLatent(studio.engine, z)
    for engine in (*fixed.lanes(3), fixed.another(), fixed.another().another()):
        assert (engine.prior(np.zeros((2, 14), np.float32), np.ones((2, len(z)), np.float32)) == z).all()
        assert engine.block_size == studio.engine.block_size
    assert len(fixed.lanes(3)) >= 1


def test_a_markov_engine_is_whole_and_its_copy_has_a_state_of_its_own(studio: Studio) -> None:
    chain = Markov(2, 8).fit([np.array([1, 2, 3, 1, 2, 3, 4])])
    engine = MarkovEngine(chain, 32, 4)
    assert {name for name in vars(type(studio.engine)) if not name.startswith("_")} <= set(dir(engine))
    z, vibe, places = np.zeros((1, 4), np.float32), np.zeros((1, 14), np.float32), np.zeros((1, 5), np.int64)
    engine.begin(z, vibe)
    first = engine.prefill(0, [1, 2], places)
    copy = engine.another()
    copy.begin(np.zeros((2, 4), np.float32), np.zeros((2, 14), np.float32))
    copy.prefill(0, [3], places)
    assert (engine.block_size, engine.latents) == (copy.block_size, copy.latents)
    assert (engine.past, copy.past) == ([[1, 2]], [[3], []])
    assert first.argmax() == 3
    assert (engine.step([3], places)[0] == chain.next_logits([1, 2, 3])).all()


def test_an_evaluation_measures_resumes_and_is_one_page(held_out_corpus: Path, checkpoint_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    steps: list[tuple[str, int, int]] = []
    wanted = replace(OPTIONS, sections=("music", "movement", "realism", "control", "latent", "originality", "likelihood"))
    report = Evaluation(checkpoint_folder, held_out_corpus, out, wanted, "torch", lambda *s: steps.append(s)).run()
    sections = report["sections"]
    assert set(sections) == set(wanted.sections)
    assert all(done <= of for _, done, of in steps)
    assert {name for name, done, of in steps if done == of} == set(wanted.sections)
    music = sections["music"]
    human, shuffled, repeated = (music[n]["scalars"] for n in ("human", "shuffled bars", "repeated bars"))
    assert shuffled["notes_a_bar"] == human["notes_a_bar"]
    assert repeated["repetition"][0] > max(human["repetition"][0], 0.9)
    assert music["human"]["frechet"]["pieces"] == music["reference_pieces"] == 8
    assert set(music["too_sparse"]) == {"human", "ours", "markov", "unigram", "shuffled bars", "repeated bars"}
    enough = {name: 8 - sparse for name, sparse in music["too_sparse"].items() if 8 - sparse >= FEWEST}
    assert music["pieces"] == enough  # sets with too few are not measured
    assert set(enough) == set(music) & set(music["too_sparse"])
    movement = sections["movement"]
    assert movement["pieces"] == {"human": 16, "ours": 8 - music["too_sparse"]["ours"]}
    assert movement["measures"]["parts"]["human"][0] == pytest.approx(music["human"]["scalars"]["parts"][0], abs=1)
    low, high = movement["measures"]["BPM"]["human"][1:]
    assert low <= movement["measures"]["BPM"]["human"][0] <= high
    realism = sections["realism"]
    if movement["pieces"]["ours"] < FEWEST:
        assert "notes enough" in realism["left_out"]
    else:
        assert realism["pieces"] == 8
        assert all(0 <= x["people"][0] <= 1 for x in realism["accuracy"].values())
    exact = sections["control"]["exact"]
    assert [exact[k] for k in ("bars", "tempo", "meter", "key_signature", "instruments")] == [1] * 5
    loss = sections["likelihood"]
    assert loss["nats_a_note"][0] > loss["reconstruction_a_note"][0] > 3
    assert set(loss["by_part"]) == {"bass", "drums", "piano"}
    assert loss["dimensions"] == 8 >= loss["active_dimensions"]
    assert 0.3 < sections["originality"]["human"]["p95"] <= 1
    page = (out / "report.html").read_text()
    assert "http" not in page
    assert page.count("data:image/png") >= 5
    assert len(list((out / "pieces" / "ours").glob("*.mid"))) == 8
    before = {f: f.stat().st_mtime_ns for f in out.rglob("*.mid")}
    (out / "sections" / "music.json").unlink()
    again = Evaluation(checkpoint_folder, held_out_corpus, out, wanted, "torch").run()
    assert {f: f.stat().st_mtime_ns for f in out.rglob("*.mid")} == before
    again["sections"]["music"]["seconds"] = music["seconds"]
    assert again == report


def test_holes_are_measured(held_out_corpus: Path, checkpoint_folder: Path, tmp_path: Path) -> None:
    wanted = replace(OPTIONS, sections=("infilling",))
    found = Evaluation(checkpoint_folder, held_out_corpus, tmp_path / "r", wanted, "torch").run()["sections"]["infilling"]
    for kind in infilling.KINDS:
        ways = found[kind]["ways"]
        assert ways["original"]["f1"][0] == 1
        assert 0 <= ways["model"]["f1"][0] < 1
        assert "f1 over markov" in found[kind]["leads"]
        assert ("copy" in ways) == (kind != "the drums")
        assert ("model, nothing after" in ways) == (kind in infilling.KINDS[:2])


def test_a_section_that_lacks_what_it_needs_is_left_out_and_says_so(
    held_out_corpus: Path, checkpoint_folder: Path, tmp_path: Path
) -> None:
    wanted = replace(OPTIONS, sections=("mood",))
    found = Evaluation(checkpoint_folder, held_out_corpus, tmp_path / "r", wanted, "torch").run()
    assert found["sections"]["mood"]["left_out"] == "no rated music was given (--rated)"
    assert "<h2>Mood</h2><p>Left out: no rated music was given (--rated).</p>" in (tmp_path / "r" / "report.html").read_text()


def rated_music(folder: Path, count: int = 48) -> Path:
    """Quick and slow tunes in two sets, rated by their speed."""
    lines = ["path,valence,arousal,group,set"]
    for i in range(count):
        notes = song(2000 + i, bars=4)
        quick = i % 2
        write(to_score(dataclasses.replace(notes, bar_tempo=np.full(4, 200.0 if quick else 50.0))), folder / f"{i}.mid")
        lines.append(f"{i}.mid,{1 if i % 3 else -1},{1 if quick else -1},song{i // 2},made")
    (folder / "rated.csv").write_text("\n".join(lines))
    return folder / "rated.csv"


def test_the_judge_learns_what_can_be_heard_and_rates_pieces(
    held_out_corpus: Path, checkpoint_folder: Path, tmp_path: Path
) -> None:
    rated = read_rated(rated_music(tmp_path))
    judge = train_judge(rated, folds=2, epochs=10)
    assert judge.held_out()["made"]["arousal"] > 0.9
    silence = judge([np.zeros((0, 4)), rated.events[0]])
    assert np.isnan(silence[0]).all()
    assert np.isfinite(silence[1]).all()
    transposed = rated.events[0] + [0, 0, 5, 0]
    assert judge_module.white_keys(transposed)[:, 2] % 12 == pytest.approx(judge_module.white_keys(rated.events[0])[:, 2] % 12)
    (tmp_path / "pictures").mkdir()
    for picture in sorted(IMAGES.iterdir())[:3]:
        shutil.copy(picture, tmp_path / "pictures")
    (tmp_path / "pictures" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    wanted = replace(OPTIONS, sections=("mood",), rated=str(tmp_path / "rated.csv"), pictures=str(tmp_path / "pictures"))
    found = Evaluation(checkpoint_folder, held_out_corpus, tmp_path / "r", wanted, "torch").run()["sections"]["mood"]
    assert found["piano"]["pieces"] + found["piano"]["without_pitches"] == 16
    assert found["pictures"]["pieces"] + found["pictures"]["without_pitches"] == 3
    assert len(found["pictures"]["unread"]) == 1  # a broken picture costs no others
    assert "broken.jpg" in found["pictures"]["unread"][0]
    assert -1 <= found["words"]["valence"]["r"][0] <= 1


def test_requests_that_are_heard_are_found_again() -> None:
    rng = np.random.default_rng(0)
    asked = rng.uniform(0, 1, (100, 7))
    found = matched(asked, asked[:, :2] + rng.normal(0, 0.01, (100, 2)), asked, 0)
    assert found["valence"]["r"][0] > 0.99
    assert found["valence"]["p_one_sided"] < 0.01
    assert [found["by the seven axes"][k] for k in ("r1", "r5", "median_rank")] == [1, 1, 1]
    silent = asked[:, :2].copy()
    silent[7] = np.nan
    without = matched(asked, silent, asked, 0)
    assert (without["pieces"], without["without_pitches"]) == (99, 1)
    assert without["valence"]["r"][0] == pytest.approx(1)
    tied = matched(np.full((100, 7), 0.5), asked[:, :2], asked, 0)["by the judge"]  # all requests alike: no better than chance
    assert tied["median_rank"] == pytest.approx(25.5)
    assert tied["r1"] == 0
    chance = matched(asked, rng.uniform(0, 1, (100, 2)), rng.uniform(0, 1, (100, 7)), 0)
    assert abs(chance["valence"]["r"][0]) < 0.3
    assert chance["by the seven axes"]["r1"] < 0.1
    hits = quadrant_hits(np.repeat([[1, 1], [-1, 1], [-1, -1], [1, -1]], 8, axis=0) + 0.5, 8, 0)
    assert hits["against zero"]["quadrant"][0] == 1
    assert quadrant_hits(np.full((32, 2), np.nan), 8, 0)["without_pitches"] == 32
    assert steadiness(np.arange(5)[:, None] * np.ones(7)) == pytest.approx(1)
    assert rank_correlation(np.arange(20), np.arange(20) ** 3)[0] == pytest.approx(1)


def test_what_cannot_be_evaluated_is_refused(held_out_corpus: Path, checkpoint_folder: Path, tmp_path: Path, capsys) -> None:
    def fails(*arguments: str) -> str:
        assert main(["evaluate", *arguments]) == 2
        return capsys.readouterr().err

    model, corpus, out = str(checkpoint_folder), str(held_out_corpus), str(tmp_path / "r")
    assert "the split 'valid'" in fails(model, corpus, "-o", out, "--split", "valid")
    assert "pieces is 3; it must be a whole number at least 8" in fails(model, corpus, "-o", out, "--pieces", "3")
    assert "unknown section 'sound'" in fails(model, corpus, "-o", out, "--sections", "sound")
    assert "temperature is 9" in fails(model, corpus, "-o", out, "--temperature", "9")
    with pytest.raises(InputError, match="--pictures needs --rated"):
        replace(OPTIONS, pictures="photos")
    with pytest.raises(InputError, match="bars is 2000; it must be a whole number from 1 to 1016 bars"):
        replace(OPTIONS, bars=2000)
    with pytest.raises(InputError, match="unknown split 'tset'"):
        replace(OPTIONS, split="tset")
    assert "no .parquet shards" in fails(model, str(tmp_path), "-o", out)
    with pytest.raises(CorpusError, match="0 held-out pieces of 64 bars are too few"):
        Evaluation(model, corpus, out, replace(OPTIONS, bars=64, sections=("music",)), "torch").run()
    assert "holds an evaluation of another options" in fails(model, corpus, "-o", out, "--pieces", "9", "--engine", "torch")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert "is not empty" in fails(model, corpus, "-o", str(tmp_path / "full"))
    other = tmp_path / "other"
    shutil.copytree(held_out_corpus, other)
    names = json.loads((other / "tokenizer.json").read_text())
    names["vocabulary"] = [*names["vocabulary"], "Program_-10"]
    (other / "tokenizer.json").write_text(json.dumps(names))
    assert "another tokenizer" in fails(model, str(other), "-o", str(tmp_path / "r2"))
    damaged = tmp_path / "damaged"
    shutil.copytree(checkpoint_folder, damaged)
    (damaged / "model.safetensors").write_bytes(b"\0" * 99)
    assert "damaged" in fails(str(damaged), corpus, "-o", str(tmp_path / "r3"))
    (tmp_path / "ratings.csv").write_text("path,mood\na.mid,1")
    with pytest.raises(CorpusError, match="needs the columns"):
        read_rated(tmp_path / "ratings.csv")
    (tmp_path / "ratings.csv").write_text("path,valence,arousal,group,set\na.mid,happy,1,a,b")
    with pytest.raises(CorpusError, match="line 2"):
        read_rated(tmp_path / "ratings.csv")
    (tmp_path / "ratings.csv").write_text("path,valence,arousal,group,set\na.mid,1,1,a,b")
    with pytest.raises(CorpusError, match="at least 40"):
        read_rated(tmp_path / "ratings.csv")
    with pytest.raises(CorpusError, match="cannot read the ratings"):
        read_rated(tmp_path / "nowhere.csv")
