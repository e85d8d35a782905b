"""What a musician relies on: exact control, the same seed the same bytes, files that a DAW opens, clear refusals."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
from PIL import Image

import midivibe
from midivibe import cli
from midivibe.config import SampleConfig
from midivibe.errors import InputError
from midivibe.midi.instruments import NAMES, pitch_range
from midivibe.midi.notes import Notes
from midivibe.midi.score import to_bytes
from midivibe.midi.theory import Key
from midivibe.output import audio
from midivibe.piece import Settings
from midivibe.requests import Compose
from midivibe.studio import Studio
from midivibe.tokens.vocabulary import (
    GRID_TICKS,
    PROGRAM,
)
from midivibe.vibe.axes import Vibe
from midivibe.vibe.music import music_vibe
from midivibe.writing.arrangement import BASSES, Arrangement
from midivibe.writing.composing import FARTHEST, Composing, turns
from midivibe.writing.performance import dynamics, finish
from tests.conftest import IMAGES, ROOT, read_json

JUDGE = ROOT.parent / "shared" / "checks" / "daw_check.py"


def bar_count(midi: mido.MidiFile, meter: tuple[int, int]) -> float:
    ticks = max(sum(m.time for m in t) for t in midi.tracks)
    return ticks / (midi.ticks_per_beat * 4 * meter[0] / meter[1])


def open_notes_and_overlaps(track: mido.MidiTrack) -> tuple[int, int, int]:
    """(stuck notes, overlaps of one pitch, notes of no length)"""
    sounding: dict[int, int] = {}
    tick = overlaps = empty = 0
    for m in track:
        tick += m.time
        if m.type == "note_on" and m.velocity:
            overlaps += m.note in sounding
            sounding[m.note] = tick
        elif m.type in ("note_off", "note_on"):
            empty += sounding.pop(m.note) == tick
    return len(sounding), overlaps, empty


CASES = [
    {"bars": 1, "text": "calm"},
    {"bars": 4, "key": "D minor", "tempo": 92, "instruments": "piano,bass,drums", "text": "sad"},
    {"bars": 5, "time_signature": "3/4", "instruments": "violin,cello", "key": "F# major", "vibe": "arousal=0.9"},
    {"bars": 6, "time_signature": "6/8", "tempo": 63.5, "image": IMAGES / "rocket.jpg", "guidance": 1.5},
    {"bars": 19, "image": [IMAGES / "rocket.jpg", IMAGES / "flower.jpg"], "instruments": "flute,harp,strings", "style": "folk"},
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c["bars"]))
def test_what_is_asked_is_what_comes(studio: Studio, tmp_path: Path, case: dict) -> None:
    piece = studio.compose(**case, seed=5)
    path = piece.save(tmp_path / "x.mid")
    midi = mido.MidiFile(path)
    meter = tuple(int(x) for x in piece.meter.split("/"))
    assert case["bars"] - 1 < bar_count(midi, meter) <= case["bars"]
    conductor = {m.type: m for m in reversed(midi.tracks[0])}
    if "tempo" in case:
        assert mido.tempo2bpm(conductor["set_tempo"].tempo) == pytest.approx(case["tempo"], abs=0.01)
    if "time_signature" in case:
        assert piece.meter == case["time_signature"]
        assert (conductor["time_signature"].numerator, conductor["time_signature"].denominator) == meter
    if "key" in case:
        assert piece.key == case["key"]
        tonic, mode = case["key"].split()
        assert conductor["key_signature"].key == tonic + ("m" if mode == "minor" else "")
    if "instruments" in case:
        assert len(midi.tracks) - 1 == len(case["instruments"].split(","))
    channels = []
    for track in midi.tracks[1:]:
        assert open_notes_and_overlaps(track) == (0, 0, 0)
        assert track[0].type == "track_name"
        used = {m.channel for m in track if m.type == "note_on"}
        assert len(used) == 1
        channels += used
        program = next(m.program for m in track if m.type == "program_change")
        low, high = pitch_range(-1 if used == {9} else program)
        assert all(low <= m.note <= high for m in track if m.type == "note_on")
    assert len(set(channels)) == len(channels)
    if JUDGE.exists():
        command = [sys.executable, str(JUDGE), str(path), "--bars", str(case["bars"])]
        for flag in ("key", "tempo", "time_signature"):
            if flag in case:
                command += ["--" + flag.replace("_", "-"), str(case[flag])]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(studio: Studio, checkpoint_folder: Path) -> None:
    first = to_bytes(studio.compose(text="happy", bars=3, seed=1).score)
    assert to_bytes(studio.compose(text="happy", bars=3, seed=1).score) == first
    assert to_bytes(Studio.open(checkpoint_folder).compose(text="happy", bars=3, seed=1).score) == first
    assert to_bytes(studio.compose(text="happy", bars=3, seed=2).score) != first


def test_a_batch_gives_what_each_piece_gives_alone(studio: Studio) -> None:
    settings = [studio.settle(Compose(text="calm", bars=3, seed=s)) for s in (1, 2, 3)]
    together = studio.perform(settings)
    alone = [studio.perform([s])[0] for s in settings]
    assert [len(p.score.tracks) for p in together] == [len(p.score.tracks) for p in alone]
    assert [to_bytes(p.score) for p in together] == [to_bytes(p.score) for p in alone]


def test_settings_round_trip_through_json(studio: Studio) -> None:
    piece = studio.compose([IMAGES / "cat.jpg", IMAGES / "china.jpg"], text="no drums, in 3/4", bars=3, seed=9)
    again = Settings.from_json(json.loads(json.dumps(piece.settings)))
    assert to_bytes(studio.perform([again])[0].score) == to_bytes(piece.score)
    assert "Drums" not in piece.settings["result"]["instruments"]
    wrong = {"bars": 0, "seed": -1, "tempo": 3, "meter": [4], "programs": [128], "style": "x", "title": None, "vibes": []}
    wrong |= {"bars ": "16"}
    for bad in (
        {}, {"vibes": 3}, {**piece.settings, "sampling": {"temprature": 1}},
        *({**piece.settings, name.strip(): value} for name, value in wrong.items()),
    ):  # fmt: skip
        with pytest.raises(InputError):
            Settings.from_json(bad)


def test_words_beat_the_picture_and_axes_beat_words(studio: Studio) -> None:
    picture = studio.settle(Compose(image=IMAGES / "hubble.jpg", bars=1)).vibes[0]
    words = studio.settle(Compose(image=IMAGES / "hubble.jpg", text="very happy", bars=1)).vibes[0]
    axes = studio.settle(Compose(image=IMAGES / "hubble.jpg", text="very happy", vibe="valence=0.1", bars=1)).vibes[0]
    assert picture["valence"] < 0.5 < 0.7 < words["valence"]
    assert words["warmth"] == picture["warmth"]
    assert axes["valence"] == 0.1
    flags = studio.settle(
        Compose(text="90 bpm in C minor, 3/4, piano", tempo=120, key="G", time_signature="4/4", instruments="harp")
    )
    assert (flags.tempo, flags.key, flags.mode, flags.meter, flags.programs) == (120, "G major", "major", (4, 4), (46,))


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"bars": 0}, "bars is 0"), ({"bars": 10_000}, "from 1 to 1024"), ({"bars": 2.5}, "whole number"),
        ({"tempo": 0}, "tempo is 0"), ({"tempo": 1000}, "from 20 to 300"), ({"key": "H moll"}, "unknown key"),
        ({"time_signature": "13/16"}, "the model knows"), ({"time_signature": "three"}, "as in"),
        ({"instruments": "pianno"}, "piano"), ({"instruments": "300"}, "0 to 127"), ({"instruments": " , "}, "no instruments"),
        ({"instruments": [0, 128]}, "128 is not"), ({"instruments": range(16)}, "channels for 15"),
        ({"instruments": []}, "no instruments"),
        ({"text": " and ".join(NAMES[56:74])}, "channels for 15"),
        ({"instruments": ",".join(map(str, range(16)))}, "channels for 15"), ({"style": "rok"}, "rock"),
        ({"vibe": "valanse=1"}, "valence"), ({"temperature": -1.0}, "temperature"), ({"top_p": 0.0}, "top-p"),
        ({"guidance": 99.0}, "guidance"), ({"seed": -1}, "seed"), ({"seed": 2**63}, "seed"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_in_words(studio: Studio, asked: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        studio.settle(Compose(**{"text": "calm", **asked}))


def test_a_model_that_never_ends_a_bar_still_ends(studio: Studio, v) -> None:
    """Bars that fill the window are closed by the grammar, and the piece goes on in the next window."""
    import torch

    bias = studio.engine.model.transformer.bias
    before = bias.detach().clone()
    try:
        with torch.no_grad():
            bias[[v["Bar_None"], v["EOS_None"]]] = -30.0
            bias[v.of_type[PROGRAM]] = -30.0
        piece = studio.compose(text="calm", bars=4, seed=1, instruments="piano,drums")
    finally:
        with torch.no_grad():
            bias.copy_(before)
    assert len(piece.score.tracks) == 2
    assert piece.score.note_num() > 40


def test_a_band_that_the_model_chooses_has_one_bass_at_most_and_no_sound_effects(studio: Studio) -> None:
    pieces = studio.perform([studio.settle(Compose(text="calm", bars=1, seed=seed)) for seed in range(12)])
    for piece in pieces:
        assert sum(32 <= p < 40 for p in piece.programs) <= 1
        assert all(p < 119 for p in piece.programs)
        assert 2 <= len(piece.programs) <= 8


def test_a_journey_changes_its_vibe_on_the_way(studio: Studio) -> None:
    settings = studio.settle(Compose(image=[IMAGES / "rocket.jpg", IMAGES / "coffee.jpg", IMAGES / "rocket.jpg"], bars=9))
    arrangement = Arrangement(settings)
    warm = [arrangement.vibe_at(bar)["warmth"] for bar in range(9)]
    assert warm[0] == warm[8] < warm[4]
    assert np.all(np.diff(warm[:5]) > 0)


def run(*argv: object) -> int:
    return cli.main([str(a) for a in argv])


@pytest.mark.parametrize(("key", "triad"), [("Bb major", {10, 2, 5}), ("C# minor", {1, 4, 8})])
def test_a_piece_ends_on_its_tonic_in_the_first_half_of_the_last_bar(studio: Studio, key: str, triad: set[int]) -> None:
    for seed in range(4):
        score = studio.compose(bars=4, key=key, time_signature="4/4", instruments="bass,piano,drums", seed=seed).score
        bar = 4 * score.ticks_per_quarter
        last = [(t, n) for t in score.tracks for n in t.notes if n.start >= 3 * bar]
        assert last
        for track, note in last:
            assert note.start < 3.5 * bar
            if not track.is_drum:
                assert note.pitch % 12 in ({Key.parse(key).tonic} if track.program in BASSES else triad)
                assert note.duration >= score.ticks_per_quarter


def test_the_model_is_told_more_than_was_asked_and_what_was_missed(studio: Studio) -> None:
    settings = studio.settle(Compose(vibe="density=0.9,valence=0.4", bars=6, seed=4))
    writer = Composing(settings, studio.vocabulary, studio.engine.block_size)
    asked = settings.vibes[0].array()
    plain = SampleConfig(emphasis=1, feedback=0)
    assert writer.told(plain) == pytest.approx(asked)
    for _ in turns(studio.engine, [writer]):
        pass
    heard = music_vibe(writer.piece().score).array()[:7]
    known = asked[7:]
    told = writer.told(SampleConfig(emphasis=1.5, feedback=1))
    expected = np.clip((1.5 * asked[:7] + (asked[:7] - heard)) * known, -FARTHEST, FARTHEST)
    assert told == pytest.approx(np.concatenate([expected, known]), abs=0.2)  # its file has accents and rounded ends
    assert writer.told(plain) == pytest.approx(asked)


def test_the_command_line_writes_everything_and_can_do_it_again(checkpoint_folder, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(IMAGES / "cat.jpg", tmp_path / "harbour.jpg")
    assert run("compose", "harbour.jpg", "--bars", 2, "--seed", 4, "--checkpoint", checkpoint_folder) == 0
    printed = capsys.readouterr().out
    assert "→" in printed
    expected = {"harbour.jpg", "harbour.mid", "harbour.png", "harbour.json"}
    if audio.synthesizer():
        expected.add("harbour.wav")
    assert {p.name for p in tmp_path.iterdir()} == expected
    first = (tmp_path / "harbour.mid").read_bytes()
    assert run("compose", "--from", "harbour.json", "-o", "again/x.mid", "--no-audio", "--checkpoint", checkpoint_folder) == 0
    assert (tmp_path / "again" / "x.mid").read_bytes() == first
    assert read_json(tmp_path / "again" / "x.json") == read_json(tmp_path / "harbour.json")
    capsys.readouterr()
    assert run("compose", "--text", "calm", "--bars", 1, "--variations", 3, "--no-audio", "--json", "-o", "v",
               "--checkpoint", checkpoint_folder) == 0  # fmt: skip
    results = json.loads(capsys.readouterr().out)
    assert len({r["seed"] for r in results}) == 3
    assert sorted(p.name for p in (tmp_path / "v").glob("*.mid")) == ["calm-1.mid", "calm-2.mid", "calm-3.mid"]


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["compose"], "nothing to compose from"),
        (["compose", "no.jpg"], "no picture at no.jpg"),
        (["compose", "."], "is a folder"),
        (["compose", "--text", "x", "--bars", "2.5"], "bars is '2.5'"),
        (["compose", "--text", "x", "--bars", "many"], "whole number"),
        (["compose", "--text", "x", "--tempo", "nan"], "finite"),
        (["compose", "--text", "x", "--variations", "0"], "variations"),
        (["compose", "--text", "x", "-o", "song.doc"], "suffix must be one of"),
        (["compose", "--text", "x", "-o", "/proc/nowhere/x.mid"], "cannot write"),
        (["compose", "--from", "no.json"], "no settings file"),
        (["compose", "--from", "x.json", "--bars", "9"], "leave out --bars"),
        (["compose", "--text", "x", "--checkpoint", "nowhere"], "no checkpoint folder"),
        (["compose", "--text", "x", "--soundfont", "no.sf2"], "soundfont"),
        (["compose", "--text", "x", "--instruments", "kazoophone"], "unknown instrument"),
        (["vibe", "no.jpg"], "no picture"),
        (["vibe", "no.mid"], "no MIDI file"),
        (["render", "no.mid"], "no MIDI file"),
        (["render", "no.mid", "-o", "x.doc"], "suffix"),
    ],
)
def test_bad_command_lines_end_with_one_line_and_status_2(
    argv, match, checkpoint_folder, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    if argv[0] == "compose" and "--checkpoint" not in argv:
        argv = [*argv, "--checkpoint", str(checkpoint_folder)]
    assert run(*argv) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    (line,) = (line for line in streams.err.splitlines() if not line.startswith("midivibe: note: torch runs"))
    assert line.startswith("midivibe: error: ")
    assert match in line
    assert list(tmp_path.iterdir()) == []


def test_unknown_flags_and_commands_end_with_one_line(capsys) -> None:
    for argv in (["compose", "--bas", "4"], ["dance"], []):
        with pytest.raises(SystemExit) as status:
            cli.main(argv)
        assert status.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_full_disk_leaves_the_old_files(checkpoint_folder, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calm.mid").write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("midivibe.output.pianoroll.plot_score", full)
    assert run("compose", "--text", "calm", "--bars", 1, "--no-audio", "--checkpoint", checkpoint_folder) == 2
    assert "No space left" in capsys.readouterr().err
    assert (tmp_path / "calm.mid").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["calm.mid"]


def test_vibe_prints_axes_reasons_and_moods(tmp_path, capsys, studio: Studio) -> None:
    path = studio.compose(text="calm", bars=2, seed=1).save(tmp_path / "x.mid")
    for subject in (IMAGES / "flower.jpg", path, "slow sad piano"):
        assert run("vibe", subject) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("looks like")]
        assert [line.split()[0].rstrip("█·") for line in lines[:2]] == ["valence", "arousal"]
        assert lines[7].startswith("nearest moods: ")
        assert lines[7].count(",") == 2
        assert run("vibe", subject, "--json") == 0
        assert len(json.loads(capsys.readouterr().out)["axes"]) == 7


@pytest.mark.skipif(audio.synthesizer() is None, reason="no synthesizer on this machine")
def test_render_with_stems(tmp_path, monkeypatch, capsys, studio: Studio) -> None:
    monkeypatch.chdir(tmp_path)
    studio.compose(text="calm", bars=1, seed=1, instruments="piano,drums").save(tmp_path / "x.mid")
    assert run("render", "x.mid", "-o", "y.flac", "--stems") == 0
    names = sorted(p.name for p in tmp_path.glob("*.flac"))
    assert names == ["y-01-Acoustic-Grand-Piano.flac", "y-02-Drums.flac", "y.flac"]
    assert capsys.readouterr().out.splitlines() == ["y.flac", *sorted(n for n in names if n != "y.flac")]


def test_doctor(checkpoint_folder, tmp_path, capsys) -> None:
    assert run("doctor", "--checkpoint", checkpoint_folder, "--json") in (0, 1)
    findings = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert findings["test piece"]["ok"]
    assert run("doctor", "--checkpoint", tmp_path) == 1
    printed = capsys.readouterr().out
    assert "FAIL  checkpoint" in printed
    assert "to fix it:" in printed


def test_the_public_names() -> None:
    assert midivibe.Vibe is Vibe
    assert midivibe.Studio is Studio
    with pytest.raises(AttributeError):
        midivibe.nothing  # noqa: B018


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_the_examples_run(script: Path, tmp_path, monkeypatch, checkpoint_folder) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("midivibe.model.folder.default_checkpoint", lambda: checkpoint_folder)
    monkeypatch.setattr(sys, "argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
    assert list(tmp_path.glob("*.mid"))


def test_what_was_read_is_never_written_over(checkpoint_folder, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    model = ["--checkpoint", str(checkpoint_folder), "--no-audio", "--bars", "2"]
    Image.open(next(IMAGES.glob("*.jpg"))).resize((64, 64)).save("photo.png")
    before = Path("photo.png").read_bytes()
    assert cli.main(["compose", "photo.png", *model]) == 0
    assert Path("photo.png").read_bytes() == before
    assert Path("photo-roll.png").stat().st_size > 5000
    Path("song.mid").write_bytes(Path("photo.mid").read_bytes())
    inpaint = ["inpaint", "song.mid", "--bars", "1", "--image", "photo.png", "-o", "photo.mid", *model[:2]]
    capsys.readouterr()
    assert cli.main(inpaint) == 0
    assert cli.main(["inpaint", "photo.mid", "--bars", "1", "-o", "photo.mid", "--overwrite", *model[:2]]) == 0
    assert cli.main(["compose", "--from", "photo.json", *model[:3]]) == 0
    assert Path("photo.png").read_bytes() == before
    assert cli.main(["compose", "photo.png", "-o", "SONG.MIDI", *model]) == 0
    assert Path("SONG.MIDI").exists() and Path("SONG.png").exists() and not Path("SONG.mid").exists()
    assert cli.main(["compose", "photo.png", "-o", "SONG.MIDI", *model]) == 0
    assert not Path("SONG-roll.png").exists()  # a roll of ours is replaced


def test_the_loudest_notes_keep_their_accents() -> None:
    onset = np.arange(16) * GRID_TICKS // 2
    duration, pitch, velocity, program = (np.full(16, value) for value in (3, 60, 127, 0))
    velocity[7] = 117
    starts = np.arange(3) * 4 * GRID_TICKS
    notes = Notes(onset, duration, pitch, velocity, program, GRID_TICKS, starts, np.full(2, 120.0), [(4, 4)] * 2)
    velocities = [n.velocity for n in finish(notes, [0], 120, Key.parse("C major")).tracks[0].notes]
    assert len(set(velocities)) > 2
    assert max(velocities) <= 127
    assert velocities[0] > velocities[1]  # a downbeat is louder than what follows it
    steady = replace(notes, velocity=np.full(16, 90))
    assert {n.velocity for n in finish(steady, [0], 120, Key.parse("C major")).tracks[0].notes} == {90}


def test_livelier_requests_are_played_louder_and_no_request_leaves_the_notes_alone(studio: Studio) -> None:
    bars = np.arange(3) * 4 * GRID_TICKS
    onset = np.arange(16) * GRID_TICKS // 2
    duration, pitch, velocity, program = (np.full(16, value) for value in (3, 60, 80, 0))
    notes = Notes(onset, duration, pitch, velocity, program, GRID_TICKS, bars, np.full(2, 120.0), [(4, 4)] * 2)

    def played(*vibes: str) -> list[int]:
        settings = replace(studio.settle(Compose(bars=2)), vibes=tuple(Vibe.parse(v) for v in vibes))
        return dynamics(notes, Arrangement(settings).vibe_at).velocity.tolist()

    calm, even, lively, unasked = (set(played(v)) for v in ("arousal=0", "arousal=.5", "arousal=1", "valence=1"))
    assert even == unasked == {80}
    assert max(calm) < 80 < min(lively)
    journey = played("arousal=0", "arousal=1")
    assert set(journey[:8]) == calm
    assert set(journey[8:]) == lively
