"""The laws of prepare and train: nothing lost, nothing done twice, the same weights whatever happens."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from midivibe.cli import main
from midivibe.config import PRESETS, TrainConfig, replace
from midivibe.errors import CorpusError, InputError, MidiError, OutputError
from midivibe.midi.beats import ON_GRID, beat_strength, on_beats, read_beats
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.score import note_table, read, to_score, write
from midivibe.model import checkpoint
from midivibe.model.latent import VibeModel
from midivibe.tokens import layout
from midivibe.tokens.holes import Window
from midivibe.tokens.leads import chords_in, is_plan
from midivibe.tokens.vocabulary import (
    BAR,
    GRID_TICKS,
    Vocabulary,
)
from midivibe.training import corpus as corpora
from midivibe.training import run as run_folder
from midivibe.training import windows
from midivibe.training.corpus import prepare
from midivibe.training.dataset import Corpus, batches, collate, epoch_rows, kept_shares
from midivibe.training.held_out import held_out_examples, held_out_rows, score
from midivibe.training.optimizer import MOMENTUM, Muon, make_optimizer, orthogonal, set_rate
from midivibe.training.sources import Source, song_of, sources_of, with_splits
from midivibe.training.trainer import Run
from midivibe.vibe.axes import AXES


def song(seed: int, bars: int = 12, tempo: float = 120.0) -> Notes:
    """A made-up song in eighths and sixteenths: melody, bass and drums in some key."""
    rng = np.random.default_rng(seed)
    beat, key = GRID_TICKS, int(rng.integers(12))
    scale = np.array([0, 2, 4, 5, 7, 9, 11]) + key
    rows = []
    for bar in range(bars):
        root = int(rng.choice([0, 3, 4]))
        for at in sorted(rng.choice(8, 4, replace=False) * beat // 2):
            rows.append((bar * 4 * beat + int(at), beat // 2, 60 + int(rng.choice(scale)), int(rng.choice([64, 84])), 0))
        for at in range(0, 4 * beat, 2 * beat):
            rows.append((bar * 4 * beat + at, beat, 36 + int(scale[root]), 84, 33))
            rows.append((bar * 4 * beat + at, 3, 36, 95, DRUMS))
        rows.append((bar * 4 * beat + int(rng.integers(16)) * 3, 3, 42, 74, DRUMS))
    flat = np.array(sorted(rows, key=lambda r: (r[0], r[4], r[2])))
    columns = flat.T
    starts = np.arange(bars + 1) * 4 * beat
    return Notes(*columns, beat, starts, np.full(bars, tempo), [(4, 4)] * bars)


@pytest.fixture(scope="module")
def songs(tmp_path_factory) -> Path:
    """Twenty-four songs as MIDI files."""
    folder = tmp_path_factory.mktemp("songs")
    for seed in range(24):
        write(to_score(song(seed, tempo=90 + 3 * seed)), folder / f"song {seed:02d}.mid")
    return folder


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory, songs: Path) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "songs"
    prepare(sources_of(songs), folder, workers=2)
    return folder


def rows_of(folder: Path) -> list[dict]:
    return [row for shard in sorted(folder.glob("*.parquet")) for row in pq.read_table(shard).to_pylist()]


# Preparing -------------------------------------------------------------------------------------------------------------


def test_a_folder_becomes_windows_of_whole_songs(corpus_folder: Path, v) -> None:
    rows = rows_of(corpus_folder)
    summary = json.loads((corpus_folder / "corpus.json").read_text())
    assert summary["files"] == 24
    assert summary["windows"] == len(rows)
    assert summary["tokens"] == sum(len(r["ids"]) for r in rows)
    assert set(summary["splits"]) == {"train", "valid", "test"}
    split_of: dict[str, str] = {}
    for row in rows:
        assert split_of.setdefault(row["song"], row["split"]) == row["split"]
        ids = np.array(row["ids"])
        assert row["bar_offsets"][:-1] == np.flatnonzero(v.type[ids] == BAR).tolist()
        assert row["bar_offsets"][-1] == len(ids)
        assert (row["mode"] == "unknown") == (row["key_confidence"] < layout.KEY_CONFIDENCE) == (row["tonic"] < 0)
        assert len(row["vibe"]) == len(AXES)
    assert len(split_of) == 24


def test_splits_do_not_move_and_versions_stay_together(songs: Path) -> None:
    once = {s.name: s.split for s in sources_of(songs)}
    assert once == {s.name: s.split for s in sources_of(songs)}
    for name in ("a/Song (2).mid", "a/song.1.mid", "a/Song.MID", "a/song-v2.mid"):
        assert song_of(name) == "a/song"
    assert song_of("a/1999.mid") == "a/1999"
    for i in range(40):  # whatever their names, something is learned from
        few = [Source(Path(f"{n}.mid"), f"{n}.mid", f"{n}") for n in (f"song{i}", f"other{i}")]
        assert [s.split for s in with_splits(few[:1])] == ["train"]
        splits = Counter(s.split for s in with_splits(few))
        assert (splits["train"], splits["valid"] + splits["test"]) == (1, 1)


def test_unpitched_keys_stay_where_they_are(tmp_path: Path, tokenizer) -> None:
    notes = song(1)
    notes = Notes(
        notes.onset, notes.duration, np.where(notes.program == DRUMS, notes.pitch, 60 + np.arange(len(notes)) % 12),
        notes.velocity, notes.program, *(getattr(notes, n) for n in ("ticks_per_beat", "bar_start", "bar_tempo", "bar_meter")),
    )  # fmt: skip
    write(to_score(notes), tmp_path / "chromatic.mid")
    rows, _ = windows.song_rows(sources_of(tmp_path)[0], tokenizer)
    assert {row["mode"] for row in rows} == {"unknown"}
    v = tokenizer.layout_vocabulary
    header = layout.Header((-1, 0, 33)).ids(v)
    decoded = layout.decode([*header, *rows[0]["ids"]], v).notes
    original = layout.quantize(notes, v)
    assert set(decoded.pitch.tolist()) <= set(original.pitch.tolist())


def test_copies_are_found_in_any_key_tempo_and_resolution(songs: Path, tmp_path: Path, v) -> None:
    original = song(3)
    moved = layout.transpose(original, 5)
    wide = Notes(
        moved.onset * 40, moved.duration * 40, moved.pitch, moved.velocity, moved.program, 480, moved.bar_start * 40,
        moved.bar_tempo * 1.3, moved.bar_meter,
    )  # fmt: skip
    write(to_score(original), tmp_path / "a.mid")
    write(to_score(wide), tmp_path / "b.mid")
    write(to_score(song(4)), tmp_path / "c.mid")
    summary = prepare(sources_of(tmp_path), tmp_path / "out", workers=1)
    assert summary["skipped"] == [("b.mid", "a copy: the same notes as a.mid")]
    assert {r["file"] for r in rows_of(tmp_path / "out")} == {"a.mid", "c.mid"}


def test_bad_files_are_listed_and_stop_nothing(songs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    shutil.copytree(songs, folder)
    good = (folder / "song 00.mid").read_bytes()
    (folder / "truncated.mid").write_bytes(good[: len(good) // 3])
    (folder / "empty.mid").write_bytes(b"")
    (folder / "text.mid").write_text("no music")
    (folder / "silent.mid").write_bytes(b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0")
    (folder / "smpte.mid").write_bytes(b"MThd\0\0\0\6\0\0\0\1\xe7\x28MTrk\0\0\0\4\0\xff\x2f\0")
    (folder / "a folder.mid").mkdir()
    (folder / "broken link.mid").symlink_to(folder / "nowhere")
    summary = prepare(sources_of(folder), tmp_path / "out", workers=2)
    lost = dict(summary["skipped"])
    assert set(lost) >= {"empty.mid", "text.mid", "silent.mid", "smpte.mid", "broken link.mid"}
    assert lost["silent.mid"] == "no notes"
    assert str(folder) not in json.dumps(summary)
    assert {r["file"] for r in rows_of(tmp_path / "out")} >= {f"song {i:02d}.mid" for i in range(24)}


def test_a_file_that_kills_the_reader_costs_only_itself(songs: Path, tmp_path: Path, monkeypatch) -> None:

    def deadly(path: Path):
        if path.name == "song 07.mid":
            os._exit(9)
        return read(path)

    monkeypatch.setattr(windows, "read", deadly)
    monkeypatch.setattr(corpora, "PIECE_FILES", 4)
    heard: list[int] = []
    summary = prepare(sources_of(songs), tmp_path / "out", workers=2, advance=lambda more, before: heard.append(more))
    assert summary["skipped"] == [("song 07.mid", "crashed: reading it ends the process")]
    assert sum(heard) == 24


def test_a_killed_preparation_goes_on(songs: Path, corpus_folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(corpora, "PIECE_FILES", 4)
    done: list[tuple[int, int]] = []

    def stop(more: int, before: int) -> None:
        done.append((more, before))
        if len(done) == 2:
            raise KeyboardInterrupt

    sources = sources_of(songs)
    with pytest.raises(KeyboardInterrupt):
        prepare(sources, tmp_path / "out", workers=1, advance=stop)
    with pytest.raises(CorpusError, match="unfinished"):
        Corpus(tmp_path / "out", "train")
    pieces = sorted((tmp_path / "out" / ".pieces").glob("piece-*"))
    assert len(pieces) >= 2
    pieces[0].write_bytes(pieces[0].read_bytes()[:100])  # a piece that the disk lost is made anew
    done.clear()
    prepare(sources, tmp_path / "out", workers=1, advance=lambda more, before: done.append((more, before)))
    assert sum(before for _, before in done) >= 4 * (len(pieces) - 1)  # more where a worker finished its piece after the kill
    assert rows_of(tmp_path / "out") == rows_of(corpus_folder)


def test_names_that_are_no_utf8_and_linked_folders_are_prepared(songs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(songs / "song 00.mid", os.fsencode(folder) + b"/caf\xe9.mid")
    shutil.copytree(songs, tmp_path / "elsewhere")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)  # round and round
    summary = prepare(sources_of(folder), tmp_path / "out", workers=1)
    assert summary["files"] == 25
    assert summary["skipped"] == [("linked/song 00.mid", r"a copy: the same notes as caf\xe9.mid")]


def test_what_is_left_over_is_split_anew(songs: Path, tmp_path: Path) -> None:
    """The songs that were to be learned from could not be used; others take their place, but for those with a given split."""
    few = [Source(Path(f"{i}.mid"), f"{i}.mid", f"{i}") for i in range(40)]
    by_split = {s.split: s.name for s in with_splits(few)}
    for at, split in enumerate(("valid", "test")):
        shutil.copy(songs / f"song {at:02d}.mid", tmp_path / by_split[split])
    (tmp_path / by_split["train"]).write_bytes(b"no music")
    summary = prepare(sources_of(tmp_path), tmp_path / "out", workers=1)
    assert summary["songs"]["train"] == 1
    assert summary["songs"].get("valid", 0) + summary["songs"].get("test", 0) == 1
    table = tmp_path / "t.csv"
    table.write_text(f"Path, Split\n{by_split['valid']},valid\n{by_split['test']},test\n{by_split['train']},train")
    assert set(prepare(sources_of(table), tmp_path / "given", workers=1)["songs"]) == {"valid", "test"}


def test_a_table_says_style_licence_and_split(songs: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    lines = [f"{songs / f'song {i:02d}.mid'},rock,CC0,{('train', 'valid', 'test')[i % 3]}" for i in range(6)]
    table.write_text("\n".join(["path,style,licence,split", *lines, "missing.mid,pop,CC0,train"]))
    summary = prepare(sources_of(table), tmp_path / "out", workers=1, caps={"rock": 0.5})
    assert summary["songs"] == {"test": 2, "train": 2, "valid": 2}
    assert summary["licences"] == {"CC0": summary["windows"]}
    assert summary["skipped_by_reason"] == {"no MIDI file at the file": 1}
    for text, match in (
        ("name\nx.mid", "no column named path"),
        ("path,style\nx.mid,metal", "unknown style 'metal'"),
        ("path,split\nx.mid,dev", "split is 'dev'"),
        ("path\n ", "the path is empty"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=match):
            sources_of(table)
    table.write_bytes(b"\xff\xfe\0\x80")
    with pytest.raises(InputError, match="neither a folder nor a CSV"):
        sources_of(table)


def test_performances_are_kept_out_unless_their_beats_are_known(tmp_path: Path) -> None:
    played = song(5, bars=16)
    rng = np.random.default_rng(0)
    lengths = 0.5 + 0.1 * np.sin(np.arange(16 * 4 + 9) / 5)  # a tempo that breathes
    times = 0.37 + np.concatenate([[0], np.cumsum(lengths)])
    seconds = np.interp(played.onset / GRID_TICKS, np.arange(len(times)), times)
    ends = np.interp((played.onset + played.duration) / GRID_TICKS, np.arange(len(times)), times)
    onset = np.round(seconds * 960 + rng.normal(0, 2, len(seconds))).astype(int)
    bars = int(onset.max() // 1920) + 2
    loose = Notes(
        onset, np.maximum(np.round(ends * 960).astype(int) - onset, 1), played.pitch, played.velocity, played.program, 480,
        np.arange(bars + 1) * 1920, np.full(bars, 120.0), [(4, 4)] * bars,
    )  # fmt: skip
    folder = tmp_path / "in"
    folder.mkdir()
    write(to_score(loose), folder / "loose.mid")
    assert beat_strength(played) > 0.9
    assert beat_strength(loose) < ON_GRID
    with pytest.raises(CorpusError, match=r"none of the 1 files could be used: off the grid \(1\)"):
        prepare(sources_of(folder), tmp_path / "out", workers=1)
    beats = times[: 16 * 4 + 1]
    (folder / "beat_midi.txt").write_text("".join(f"{t} 0.0 {float(i % 4 == 0)}\n" for i, t in enumerate(beats)))
    summary = prepare(sources_of(folder), tmp_path / "out", workers=1)
    assert summary["skipped"] == []
    straight = on_beats(to_score(loose), beats, np.arange(len(beats)) % 4 == 0)
    assert straight.bar_meter[:16] == [(4, 4)] * 16
    first = int(straight.onset[0])
    assert np.abs((straight.onset - first) / 480 - played.onset / GRID_TICKS).max() < 0.02
    (folder / "beat_midi.txt").write_text("nonsense")
    with pytest.raises(MidiError, match="cannot read beats"):
        read_beats(folder / "beat_midi.txt")


def test_no_music_and_no_place_say_so(tmp_path: Path, capsys) -> None:
    (tmp_path / "readme.txt").write_text("x")
    for arguments, words in (
        (["prepare", str(tmp_path), "-o", str(tmp_path / "c")], "no MIDI files in"),
        (["prepare", str(tmp_path / "nowhere"), "-o", "c"], "no folder or CSV"),
        (["prepare", str(tmp_path), "-o", "c", "--cap", "metal"], "cannot read --cap 'metal'; write STYLE=SHARE"),
        (["prepare", str(tmp_path), "-o", "c", "--workers", "0"], "workers is 0"),
        (["train", str(tmp_path / "nowhere"), "-o", str(tmp_path / "r")], "make them with midivibe prepare"),
        (["train", "c", "-o", "r", "--preset", "huge"], "unknown preset 'huge'"),
        (["train", "c", "-o", "r", "--set", "lerning_rate=1"], "did you mean learning_rate"),
        (["train", "c", "-o", "r", "--init", "small", "--preset", "mini"], "leave out --preset"),
        (["train", "c", "-o", "r", "--max-steps", "0"], "max-steps is 0"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bars", "status", "said"), [(12, 2, "too few to train on"), (96, 0, "")], ids=["a short song", "a long song"]
)
def test_one_song_is_prepared_with_a_warning_and_trains_where_it_is_long(
    bars: int, status: int, said: str, tmp_path: Path, capsys
) -> None:
    (tmp_path / "in").mkdir()
    write(to_score(song(0, bars)), tmp_path / "in" / "only.mid")
    assert main(["prepare", str(tmp_path / "in"), "-o", str(tmp_path / "c")]) == 0
    assert "nothing is held out" in capsys.readouterr().out
    assert (tmp_path / "c" / "statistics.html").stat().st_size > 10_000
    arguments = ["train", str(tmp_path / "c"), "-o", str(tmp_path / "r"), "--preset", "debug", "--max-steps", "2"]
    assert main([*arguments, "--set", "sample_every=0"]) == status
    assert said in capsys.readouterr().err
    assert (tmp_path / "r" / "latest").is_file() == (status == 0)


def test_damaged_corpora_are_named(corpus_folder: Path, songs: Path, tmp_path: Path) -> None:
    def broken(name: str) -> Path:
        return Path(shutil.copytree(corpus_folder, tmp_path / name))

    folder = broken("shard")
    shard = folder / "shard-0000.parquet"
    shard.write_bytes(shard.read_bytes()[:-50])
    with pytest.raises(CorpusError, match=r"damaged shard .*shard-0000"):
        Corpus(folder, "train")
    folder = broken("format")
    (folder / "corpus.json").write_text('{"format": 99}')
    with pytest.raises(CorpusError, match="corpus format 99"):
        Corpus(folder, "train")
    folder = broken("summary")
    (folder / "corpus.json").unlink()
    with pytest.raises(CorpusError, match=r"no readable corpus\.json"):
        Corpus(folder, "train")
    with pytest.raises(CorpusError, match=r"'dev'.*is empty"):
        Corpus(corpus_folder, "dev")
    folder = broken("shards")
    (folder / "shard-0000.parquet").rename(tmp_path / "lost.parquet")
    pq.write_table(pq.read_table(tmp_path / "lost.parquet")[1:], folder / "shard-0000.parquet")
    with pytest.raises(CorpusError, match=r"holds \d+ of \d+ windows"):
        Corpus(folder, "train")
    with pytest.raises(InputError, match="cap metal"):
        prepare([], tmp_path / "x", caps={"metal": 0.5})
    sources = [replace(s, style=style) for s, style in zip(sources_of(songs), ("rock", "pop") * 12, strict=True)]
    with pytest.raises(InputError, match="no file has that style"):
        prepare(sources, tmp_path / "x", caps={"folk": 0.5})
    with pytest.raises(CorpusError, match="add up to less than 1"):
        prepare(sources, tmp_path / "x", caps={"rock": 0.4, "pop": 0.4})
    assert not (tmp_path / "x").exists()  # before any work


# Training --------------------------------------------------------------------------------------------------------------

CONFIG = TrainConfig(max_steps=10, batch_tokens=1500, warmup_steps=2, eval_windows=8, precision="fp32")
SHAPE = replace(PRESETS["debug"], block_size=512)
FLAGS = ["--preset", "debug", "--max-steps", "10", "--precision", "fp32", "--batch-tokens", "1200", "--sample-every", "0",
         "--set", "check_minutes=0.0001", "--set", "eval_windows=4"]  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(run / (run / "latest").read_text() / "checkpoint")[0].state_dict()


def losses(run: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def train_command(corpus_folder: Path, out: Path, *more: str) -> list[str]:
    return ["-m", "midivibe", "train", str(corpus_folder), "-o", str(out), *FLAGS, *more]


def test_killed_five_times_ends_with_the_same_weights(corpus_folder: Path, tmp_path: Path) -> None:
    longer = ["--max-steps", "60"]
    assert main(train_command(corpus_folder, tmp_path / "whole", *longer)[2:]) == 0
    rng = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, *train_command(corpus_folder, tmp_path / "parts", *longer, "--resume")],
            env=ENVIRONMENT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        metrics = tmp_path / "parts" / "metrics.jsonl"
        size = metrics.stat().st_size if metrics.exists() else 0
        while process.poll() is None and (not metrics.exists() or metrics.stat().st_size == size):
            time.sleep(0.01)  # until the run has begun to move
        time.sleep(rng.random() * 0.12)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL  # it had not ended by itself
    assert main(train_command(corpus_folder, tmp_path / "parts", *longer, "--resume")[2:]) == 0
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for name, value in whole.items():
        assert torch.equal(parts[name], value), name
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


@pytest.mark.parametrize("shape", [(32, 32), (24, 80), (80, 24)])
def test_orthogonal_evens_out_singular_values_and_keeps_their_directions(shape: tuple[int, int]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    made = u.T @ orthogonal(x) @ v.T
    assert (made.diag() > 0.5).all() and (made.diag() < 1.3).all()
    assert (made - made.diag().diag()).abs().max() < 0.1  # bfloat16


def test_muon_steps_the_matrices_inside_blocks_and_adamw_the_rest(model: VibeModel) -> None:
    ours = VibeModel(model.config)
    before = {name: p.detach().clone() for name, p in ours.named_parameters()}
    optimizer = make_optimizer(ours, TrainConfig(optimizer="muon", muon_rate=0.01, muon_decay=0.0, learning_rate=1e-3))
    g = torch.Generator().manual_seed(0)
    for p in ours.parameters():
        p.grad = torch.randn(p.shape, generator=g)
    set_rate(optimizer, 5e-4)  # half of the top: so is Muon's
    optimizer.step()
    for name, p in ours.named_parameters():
        moved = p.detach() - before[name]
        fused = {"qkv": 3, "up": 2}.get(name.split(".")[-2], 1)
        if "blocks" not in name or p.ndim < 2:
            assert moved.abs().max() < 5.1e-4 + 0.05 * 5e-4 * before[name].abs().max(), name  # AdamW's first step is its rate
            continue
        for part in moved.chunk(fused):
            rows, columns = part.shape
            norm = 0.005 * max(1.0, rows / columns) ** 0.5
            assert torch.linalg.svdvals(part).max() == pytest.approx(norm, rel=0.3), name


def test_muon_looks_ahead_of_its_momentum() -> None:
    weight = torch.nn.Parameter(torch.zeros(4, 4))
    optimizer = Muon([{"params": [weight], "parts": [4], "weight_decay": 0.0}], lr=0.1)
    one, two = torch.eye(4), torch.eye(4).roll(1, 0)
    for gradient in (one, two):
        before, weight.grad = weight.detach().clone(), gradient.clone()
        optimizer.step()
    momentum = MOMENTUM * (1 - MOMENTUM) * one + (1 - MOMENTUM) * two
    expected = -0.1 * orthogonal((1 - MOMENTUM) * two + MOMENTUM * momentum)  # Nesterov
    assert torch.allclose(weight.detach() - before, expected, atol=1e-4)


def test_a_run_with_muon_resumes_with_the_same_weights(corpus_folder: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, optimizer="muon")
    Run(corpus_folder, tmp_path / "whole", SHAPE, config).train()
    Run(corpus_folder, tmp_path / "parts", SHAPE, config).train(stop_after=2)
    Run(corpus_folder, tmp_path / "parts", SHAPE, config).train()
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


def test_two_processes_train_as_one(corpus_folder: Path, tmp_path: Path) -> None:
    flags = ["--max-steps", "24", "--set", "check_minutes=9"]
    assert main(train_command(corpus_folder, tmp_path / "one", *flags)[2:]) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    command += train_command(corpus_folder, tmp_path / "two", *flags)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one) == list(two) == [1, 2, 3, 4, 20]
    for step, loss in one.items():
        assert two[step] == pytest.approx(loss, abs=1e-4)


def test_runs_refuse_what_does_not_belong(corpus_folder: Path, songs: Path, tmp_path: Path, v) -> None:
    run = Run(corpus_folder, tmp_path / "run", SHAPE, CONFIG)
    run.train(stop_after=2)
    with pytest.raises(InputError, match="another config: the n_embd"):
        Run(corpus_folder, tmp_path / "run", replace(SHAPE, n_embd=48), CONFIG)
    with pytest.raises(InputError, match="another config: grad_clip"):
        Run(corpus_folder, tmp_path / "run", SHAPE, replace(CONFIG, grad_clip=0.5))
    with pytest.raises(InputError, match="--resume goes on"):
        Run(corpus_folder, tmp_path / "run", SHAPE, CONFIG, resume=False)
    assert Run(corpus_folder, tmp_path / "run", SHAPE, replace(CONFIG, max_steps=99)).step == 2
    other = tmp_path / "other"
    shutil.copytree(corpus_folder, other)
    summary = json.loads((other / "corpus.json").read_text())
    (other / "corpus.json").write_text(json.dumps({**summary, "caps": {"rock": 0.1}}))
    with pytest.raises(InputError, match="another config: the corpus"):
        Run(other, tmp_path / "run", SHAPE, CONFIG)
    names = json.loads((other / "tokenizer.json").read_text())
    names["vocabulary"] = [*names["vocabulary"], "Program_-1x"[:-1] + "0"]
    (other / "tokenizer.json").write_text(json.dumps(names))
    with pytest.raises(CorpusError, match="another tokenizer"):
        Run(other, tmp_path / "tuned", SHAPE, CONFIG, init=tmp_path / "run")
    with pytest.raises(InputError, match="unknown precision 'fp8'"):
        Run(corpus_folder, tmp_path / "fp8", SHAPE, replace(CONFIG, precision="fp8")).train()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("beta1", 2.0),
        ("batch_tokens", 0),
        ("learning_rate", -1.0),
        ("learning_rate", math.nan),
        ("hole_share", 1.5),
        ("max_minutes", -2.0),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name.replace('_', '-')} is"):
        replace(CONFIG, **{name: value})


def test_a_folder_of_something_else_is_left_alone(corpus_folder: Path, checkpoint_folder: Path, tmp_path: Path) -> None:
    held = {p: p.read_bytes() for p in checkpoint_folder.iterdir()}
    with pytest.raises(InputError, match="is a checkpoint"):
        Run(corpus_folder, checkpoint_folder, SHAPE, CONFIG)
    assert {p: p.read_bytes() for p in checkpoint_folder.iterdir()} == held
    (tmp_path / "config.json").write_text('{"mine": 1}')
    with pytest.raises(InputError, match=r"holds a config\.json that no run wrote"):
        Run(corpus_folder, tmp_path, SHAPE, CONFIG)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        Run(corpus_folder, tmp_path / "file", SHAPE, CONFIG)


def test_preparing_keeps_what_is_there_until_all_is_ready(corpus_folder: Path, songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    shutil.copytree(corpus_folder, out)
    held = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "a.mid").write_bytes(b"x")
    with pytest.raises(CorpusError, match="none of the 1 files"):
        prepare(sources_of(tmp_path / "junk"), out, workers=1)
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == held
    (out / "shard-notes.parquet").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holds shard-notes\.parquet"):
        prepare(sources_of(songs), out, workers=1)
    assert (out / "shard-notes.parquet").read_bytes() == b"mine"


def test_tables_that_contradict_themselves_are_refused(songs: Path, tmp_path: Path) -> None:
    table = tmp_path / "music.csv"
    name = next(songs.glob("*.mid"))
    shutil.copy(name, tmp_path / "a.mid")
    table.write_text("\ufeffpath\na.mid\na.mid", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 3: a\.mid is named before"):
        sources_of(table)
    table.write_text("path,song,split\na.mid,x,train\nb.mid,x,test")
    with pytest.raises(InputError, match="in the splits train and test"):
        sources_of(table)


def test_a_stopped_run_saves_and_goes_on(corpus_folder: Path, tmp_path: Path) -> None:
    run = Run(corpus_folder, tmp_path / "run", SHAPE, CONFIG)
    run.train(stop_after=2)
    run.stop = True
    run.train()
    assert (run.step, Run(corpus_folder, tmp_path / "run", SHAPE, CONFIG).step) == (2, 2)
    run.best = 1.5  # known only after the state was written
    run.save(best=True)
    assert Run(corpus_folder, tmp_path / "run", SHAPE, CONFIG).best == 1.5


def test_a_save_that_was_killed_is_made_again(corpus_folder: Path, tmp_path: Path) -> None:
    run = Run(corpus_folder, tmp_path / "run", SHAPE, CONFIG)
    run.train(stop_after=1)
    (tmp_path / "run" / "latest").unlink()  # between the state and its pointer
    (tmp_path / "run" / ".state-half").mkdir()
    again = Run(corpus_folder, tmp_path / "run", SHAPE, CONFIG)
    again.train(stop_after=1)
    assert Run(corpus_folder, tmp_path / "run", SHAPE, CONFIG).step == 1
    assert not (tmp_path / "run" / ".state-half").exists()


def test_tuning_is_checked_early_and_ever_more_rarely(corpus_folder: Path, checkpoint_folder: Path, tmp_path: Path) -> None:
    longer = replace(CONFIG, max_steps=20, check_minutes=9)
    for init, steps in ((checkpoint_folder, [0, 8, 16, 20]), (None, [0, 20])):
        out = tmp_path / f"run-{len(steps)}"
        Run(corpus_folder, out, SHAPE, longer, init=init).train()
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows if "valid" in row] == steps


def test_tuning_that_makes_it_worse_keeps_what_it_began_with(corpus_folder: Path, checkpoint_folder: Path, tmp_path) -> None:
    worse = replace(CONFIG, learning_rate=100.0, max_steps=3)
    Run(corpus_folder, tmp_path / "run", SHAPE, worse, init=checkpoint_folder).train()
    kept, _ = checkpoint.load(tmp_path / "run")
    begun, _ = checkpoint.load(checkpoint_folder)
    for name, value in begun.state_dict().items():
        assert torch.equal(kept.state_dict()[name], value), name
    with pytest.raises(InputError, match="another config: --init"):
        Run(corpus_folder, tmp_path / "run", SHAPE, worse, init=tmp_path / "run")


def test_a_full_disk_keeps_the_state_of_before(corpus_folder: Path, tmp_path: Path, monkeypatch) -> None:
    run = Run(corpus_folder, tmp_path / "run", SHAPE, CONFIG)
    run.train(stop_after=1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_folder, "save_file", full)
    run.step = 2
    with pytest.raises(OutputError, match="No space left"):
        run.save()
    assert Run(corpus_folder, tmp_path / "run", SHAPE, CONFIG).step == 1
    assert sorted(p.name for p in (tmp_path / "run").glob("state-*")) == ["state-000001"]


def test_tuning_starts_from_given_weights_and_lowers_the_loss(corpus_folder: Path, checkpoint_folder: Path, tmp_path) -> None:
    arguments = ["train", str(corpus_folder), "-o", str(tmp_path / "r"), "--init", str(checkpoint_folder), "--max-steps", "30"]
    assert main([*arguments, "--learning-rate", "0.003", "--batch-tokens", "2000", "--sample-every", "30"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    checks = [row["valid"]["nats_per_note"] for row in rows if row.get("valid")]
    assert checks[-1] < checks[0]
    assert (tmp_path / "r" / "loss.png").stat().st_size > 1000
    assert (tmp_path / "r" / "samples" / "step-000030.mid").stat().st_size > 50
    assert note_table(read(tmp_path / "r" / "samples" / "step-000030.mid")).bars == 8
    model, _ = checkpoint.load(tmp_path / "r")  # a run folder is a checkpoint too
    assert isinstance(model, VibeModel)


def test_training_needs_no_midi_library(corpus_folder: Path, checkpoint_folder: Path, tmp_path: Path) -> None:
    command = ["train", str(corpus_folder), "-o", str(tmp_path), "--init", str(checkpoint_folder), "--max-steps", "1"]
    code = (
        f"import sys; from midivibe.cli import main; assert main({[*command, '--sample-every', '0']!r}) == 0; "
        "print([m for m in ('mido', 'miditok', 'symusic', 'pretty_midi', 'music21', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_batches_are_reproducible_and_scored_where_they_should(corpus_folder: Path) -> None:
    corpus = Corpus(corpus_folder, "train")
    a, b = batches(corpus, CONFIG, 512), batches(corpus, CONFIG, 512, start=3)
    for _ in range(3):
        next(a)
    assert all(np.array_equal(x.ids, y.ids) and x.seed == y.seed for x, y in zip(next(a), next(b), strict=True))
    seeds = [e.seed for group in islice(batches(corpus, CONFIG, 512), 30) for e in group]
    assert len(set(seeds)) == len(seeds)  # each meets noise of its own, in each epoch another
    plain = corpus.plain(0)
    batch = collate([plain], 1024)
    assert int(batch.loss.sum()) == len(plain.ids) - 1
    hole = corpus.hole(0, random.Random(1))
    batch = collate([hole], 1024, latent=8)
    assert int(batch.loss.sum()) == len(hole.ids) - hole.scored_from
    assert int(batch.visible.sum()) == hole.scored_from
    both = collate([plain, hole], 1024, latent=8)
    assert torch.equal(both.noise[1], batch.noise[0])  # noise goes with the example, not with its place


def test_plans_are_said_given_or_hidden(corpus_folder: Path, v: Vocabulary) -> None:
    corpus = Corpus(corpus_folder, "train")
    row = int(np.argmax(corpus.columns["bars"]))
    plain = corpus.plain(row)
    plan = is_plan(plain.ids, v)
    assert np.array_equal(plain.plan, plan)
    chords = [chords_in(prefix, v) for prefix in Window.cut(plain.ids[np.argmax(v.type[plain.ids] == BAR) : -1], v).prefix]
    assert len(chords) == corpus.columns["bars"][row]
    assert all(bar and bar[0][0] == 0 for bar in chords)
    scored, given = (collate([replace(plain, given=g)], 1024).loss[0].numpy() for g in (False, True))
    assert scored.all()
    assert np.array_equal(given, ~plan[1:])
    corpus.plans = False
    assert np.array_equal(corpus.plain(row).ids, plain.ids[~plan])
    corpus.plans = True
    hidden = replace(CONFIG, plan_dropout=1.0)
    for seed in range(8):
        assert not corpus.plain(row, random.Random(seed), hidden).plan.any()
        assert not corpus.hole(row, random.Random(seed), hidden).plan.any()
    kinds = {corpus.plain(row, random.Random(seed), CONFIG).given for seed in range(30)}
    assert kinds == {False, True}
    moved = [corpus.hole(row, random.Random(seed), replace(CONFIG, plan_dropout=0.0)) for seed in range(30)]
    written = [bool(e.plan[e.scored_from :].any()) for e in moved]  # some fills write their chords, others keep them
    assert 3 < sum(written) < 27


def test_the_guide_reads_another_window_of_the_song(corpus_folder: Path, model: VibeModel) -> None:
    corpus = Corpus(corpus_folder, "train")
    songs = Counter(corpus.columns["song"])
    row = next(r for r in range(len(corpus)) if songs[corpus.columns["song"][r]] > 1)
    alone = next(r for r in range(len(corpus)) if songs[corpus.columns["song"][r]] == 1) if 1 in songs.values() else None
    manner = replace(CONFIG, manner=1.0)
    example = corpus.plain(row, random.Random(1), manner)
    assert example.manner is not None
    assert not np.array_equal(example.manner[0], example.ids)
    assert corpus.plain(row, random.Random(1), replace(CONFIG, manner=0.0)).manner is None
    assert alone is None or corpus.plain(alone, random.Random(1), manner).manner is None
    hole = corpus.hole(row, random.Random(2), CONFIG)
    batch = collate([example, hole], 256)
    assert batch.read is not None
    ids, _, seen = batch.read
    assert ids[0][seen[0]].tolist() == example.manner[0][:257].tolist()
    assert ids[1][seen[1]].tolist() == hole.ids[: hole.scored_from][:257].tolist()
    own = collate([replace(example, manner=None), hole], 256)
    with torch.no_grad():
        assert not torch.allclose(model.posterior(batch)[0][0], model.posterior(own)[0][0])


def test_caps_that_leave_nothing_are_refused() -> None:
    assert kept_shares(Counter(rock=60, pop=40), {"rock": 0.5, "pop": 0.5})["rock"] < 1
    with pytest.raises(CorpusError, match=r"rock 0.5, pop 0.4"):
        kept_shares(Counter(rock=60, pop=40), {"rock": 0.5, "pop": 0.4})


def test_caps_hold_in_every_epoch() -> None:
    styles, caps = np.array(["rock"] * 60 + ["pop"] * 6 + ["rap"] * 4, dtype=object), {"rock": 0.4, "pop": 0.4}
    shares = np.mean(
        [[np.mean(styles[epoch_rows(styles, caps, e, 0)] == s) for s in ("rock", "pop")] for e in range(200)], axis=0
    )
    assert shares == pytest.approx([0.4, 0.4], abs=0.05)
    assert epoch_rows(styles, caps, 1, 0) != epoch_rows(styles, caps, 2, 0)


def test_held_out_windows_are_whole(corpus_folder: Path) -> None:
    corpus = Corpus(corpus_folder, "train")
    block = int(np.median(corpus.ids.lengths)) + 30
    rows = held_out_rows(corpus, block, len(corpus))
    assert 0 < len(rows) < len(corpus)
    assert max(len(corpus.plain(r).ids) for r in rows) <= block + 1  # the last id is predicted, not read
    assert held_out_rows(corpus, block, 3)[::2] == [rows[0], rows[-1]]
    assert held_out_rows(corpus, 30, 3) == []


def test_a_score_counts_nats_a_note(corpus_folder: Path, model: VibeModel) -> None:
    examples = held_out_examples(Corpus(corpus_folder, "valid"), 256, 8)
    figures = score(model, examples)
    tokens = sum(len(e.ids) - 1 for e in examples)
    assert figures["reconstruction"] * figures["notes"] == pytest.approx(tokens * np.log(model.config.vocab_size), rel=0.1)
    assert figures["nats_per_note"] == pytest.approx(figures["reconstruction"] + figures["kl_per_note"])
