"""Laws of the command line: every flag is listed once with its default, every number is checked, names of checkpoints work."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from midivibe.cli import build_parser, files, flags, main
from midivibe.cli.parser import Parser
from midivibe.config import StrictConfig, TrainConfig, option
from midivibe.errors import CheckpointError, InputError, MidivibeError
from midivibe.model import folder
from midivibe.output import audio
from midivibe.requests import Accompany, Compose, Continue, Inpaint, Vary

COMMANDS = {
    "compose": ["--text", "calm"], "plan": ["--text", "calm"], "play": ["--text", "calm"],
    "inpaint": ["x.mid", "--bars", "1"], "continue": ["x.mid"],
    "accompany": ["x.mid", "--instruments", "bass"], "vary": ["x.mid"], "vibe": ["calm"], "render": ["x.mid"],
    "prepare": ["in", "-o", "out"], "train": ["corpus", "-o", "run"], "export-onnx": ["small"],
    "evaluate": ["small", "corpus", "-o", "out"], "benchmark": [], "doctor": [],
}  # fmt: skip
"""Each command with what it must be given."""
REQUESTS = {
    "compose": Compose, "plan": Compose, "play": Compose, "inpaint": Inpaint, "continue": Continue,
    "accompany": Accompany, "vary": Vary,
}  # fmt: skip


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Command → its parser."""
    (commands,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {name: parser.filled() for name, parser in commands.choices.items()}


def numeric_flags() -> Iterator[tuple[str, str, bool]]:
    """Command, flag, and whether it must be a whole number."""
    for name, parser in parsers().items():
        for action in parser._actions:
            if action.type is not None:
                try:
                    action.type("0.5")
                except MidivibeError as error:
                    if "number" in str(error) or "it must be from" in str(error):
                        yield name, action.option_strings[0], "whole number" in str(error)
                else:
                    try:
                        action.type("text")
                    except MidivibeError:
                        yield name, action.option_strings[0], False


NUMERIC = list(numeric_flags())


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command line is refused."""
    assert main(argv) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    (line,) = streams.err.splitlines()
    assert line.startswith("midivibe: error: ")
    return line


def test_every_command_is_here() -> None:
    assert set(parsers()) == set(COMMANDS)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_lists_each_option_once_with_its_default(name: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as status:
        main([*([name] if name else []), "--help"])
    assert status.value.code == 0
    text = capsys.readouterr().out
    listed = re.findall(r"^  (?:-\w(?: [^\s,]+)?, )?(--[a-z-]+)(?:[ \n]|$)", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    if not name:
        return
    parser = parsers()[name]
    assert set(listed) == {action.option_strings[-1] for action in parser._actions if action.option_strings}
    assert all(action.help for action in parser._actions)
    request = REQUESTS.get(name)
    for field in request.__dataclass_fields__.values() if request else ():
        if isinstance(field.default, (int, float, str)) and not isinstance(field.default, bool):
            (action,) = (a for a in parser._actions if a.dest == field.name)
            assert f"default {field.default}" in action.help


def test_help_of_every_command_imports_nothing_heavy() -> None:
    code = (
        "import sys; from midivibe.cli.main import COMMANDS, build_parser; build_parser().format_help(); "
        "assert 'dataclasses' not in sys.modules; "
        "(commands,) = (a for a in build_parser()._actions if a.dest == 'command'); "
        "[p.filled().format_help() for p in commands.choices.values()]; assert 'midivibe.cli.train' in sys.modules; "
        "print([m for m in ('torch', 'numpy', 'symusic', 'matplotlib', 'rich', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_setting_of_a_request_has_a_flag() -> None:
    found = parsers()
    for name, request in REQUESTS.items():
        assert set(request.__dataclass_fields__) <= {action.dest for action in found[name]._actions}, name


def test_numeric_flags_are_found() -> None:
    found = {(name, flag) for name, flag, _ in NUMERIC}
    assert {("compose", "--bars"), ("compose", "--tempo"), ("compose", "--variations"), ("vary", "--amount")} <= found
    assert {
        ("train", "--learning-rate"),
        ("evaluate", "--pieces"),
        ("prepare", "--workers"),
        ("benchmark", "--rounds"),
    } <= found
    assert len(found) > 50


@pytest.mark.parametrize(("name", "flag", "whole"), NUMERIC, ids=lambda x: str(x))
def test_numbers_that_cannot_be_meant_are_refused(name: str, flag: str, whole: bool, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    shown = flag.removeprefix("--")
    for value in ("text", "nan", "inf", "-1e30", "", *(("2.5", "-99999999999999999999") if whole else ())):
        line = refused([name, *COMMANDS[name], f"{flag}={value}"], capsys)
        assert line.startswith(f"midivibe: error: {shown} is ")
        assert "it must be" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["compose", "--bars", "0"], "bars is 0; it must be a whole number from 1 to 1024"),
        (["compose", "--bars", "2.5"], "bars is '2.5'; it must be a whole number from 1 to 1024"),
        (["play", "--tempo", "301"], "tempo is 301; it must be from 20 to 300 beats a minute"),
        (["compose", "--tempo", "nan"], "tempo is nan; it must be a finite number from 20 to 300 beats a minute"),
        (["vary", "x.mid", "--amount", "x"], "amount is 'x'; it must be a number from 0 to 1"),
        (["compose", "--seed", str(2**63)], f"seed is {2**63}; it must be a whole number from 0 to 2^63 - 1"),
        (["compose", "--engine", "jax"], "unknown engine 'jax'; it must be auto, onnx, onnx-fp32 or torch"),
        (["train", "c", "-o", "r", "--preset", "huge"], "unknown preset 'huge'; it must be debug, mini, small or medium"),
        (["train", "c", "-o", "r", "--set", "beta1=1"], "beta1 is 1; it must be at least 0 and below 1"),
        (["train", "c", "-o", "r", "--set", "beta1"], "cannot read --set 'beta1'; write NAME=VALUE, such as --set seed=1"),
        (["train", "c", "-o", "r", "--set", "hole_shar=1"], "there is no setting 'hole_shar'; did you mean hole_share?"),
        (["compose", "--text", "x", "-o", "x.wav", "--no-audio"], "-o x.wav asks for audio and --no-audio for none"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(argv: list[str], message: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(argv, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["compose", "--bas", "4"],
            "unexpected argument '--bas'; the nearest are --bars, --vibe, --seed; see midivibe compose --help",
        ),
        (["inpaint", "a.mid", "b.mid"], "unexpected argument 'b.mid'; see midivibe inpaint --help"),
        (["accompany", "a.mid"], "required: --instruments; see midivibe accompany --help"),
        (["dance"], "invalid choice: 'dance'"),
    ],
)
def test_misspelt_flags_and_commands_end_with_one_line(argv: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit) as status:
        main(argv)
    assert status.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("midivibe: error: ")
    assert message in line


def test_what_is_said_here_holds_in_the_rooms_that_do_the_work() -> None:
    """These modules are too heavy to be imported for --help."""
    assert tuple(audio.FORMATS) == files.AUDIO


@pytest.mark.parametrize(
    "argv",
    [
        ["--bars", "16"], ["--bars", "2"], ["--seed", "1"], ["--variations", "2"], ["--encoder", "pixels"], ["--tempo", "90"],
        ["--text", "calm"], ["--top-p", "0.9"], ["--time-signature", "3/4"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_whatever_would_change_the_piece_is_refused_beside_from(argv: list[str], tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("piece.json").write_text("{}")
    line = refused(["compose", "--from", "piece.json", *argv], capsys)
    assert line.endswith(f"--from composes a piece again exactly as it was; leave out {argv[0]}")
    assert refused(["compose", "photo.jpg", "--from", "piece.json"], capsys).endswith("leave out the pictures")


# Flags from fields --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tune(StrictConfig):
    """Settings to make flags of."""

    speed: float = option(1.5, "how fast, in % of light", above=0, unit="km/s", metavar="S")
    keep_on: bool = option(False, "do not stop")
    kind: str = option("reel", "kind of tune", choices=("reel", "jig"))
    repeats: int | None = option(None, "times", low=1)
    player: str = option(help="who plays")


def test_flags_say_and_read_what_fields_state(capsys) -> None:
    parser = Parser(prog="x")
    flags.add(parser, Tune)
    text = " ".join(parser.format_help().split())
    assert "--speed S how fast, in % of light (above 0 km/s; default 1.5)" in text
    assert "--kind {reel,jig} kind of tune (default reel)" in text
    assert "--repeats REPEATS times (at least 1) --player" in text
    assert "--keep-on do not stop --kind" in text
    options = parser.parse_args(["--player", "Ann", "--keep-on", "--speed", "3"])
    assert flags.given(options, Tune) == {"player": "Ann", "keep_on": True, "speed": 3.0}
    assert flags.read(options, Tune) == Tune(player="Ann", keep_on=True, speed=3.0)
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert "required: --player" in capsys.readouterr().err
    with pytest.raises(MidivibeError, match="unknown kind 'waltz'; it must be reel or jig"):
        parser.parse_args(["--player", "Ann", "--kind", "waltz"])


def test_every_training_setting_can_be_set() -> None:
    for name, value in TrainConfig().to_dict().items():
        text = f"{name.replace('_', '-')}={str(value).lower() if isinstance(value, bool) else value}"
        assert flags.assigned([text], TrainConfig) == {name: value}
    with pytest.raises(InputError, match="seed is 'one'"):
        flags.assigned(["seed=one"], TrainConfig)


# Checkpoints --------------------------------------------------------------------------------------------------------------


def test_names_folders_and_runs_are_found(checkpoint_folder: Path, tmp_path: Path, monkeypatch) -> None:
    assert folder.locate("small") == folder.locate(None) == folder.shipped()["small"]
    assert folder.locate(checkpoint_folder) == checkpoint_folder
    run = tmp_path / "run"
    shutil.copytree(checkpoint_folder, run / "state-000001" / "checkpoint")
    (run / "latest").write_text("state-000001\n")
    assert folder.locate(str(run)) == run / "state-000001" / "checkpoint"
    assert folder.named(run) == run
    monkeypatch.chdir(tmp_path)
    Path("small").mkdir()  # a folder of that name that holds no checkpoint is not meant
    assert folder.locate("small") == folder.shipped()["small"]
    with pytest.raises(CheckpointError, match="no checkpoint folder at smal; the checkpoints that ship are: small"):
        folder.locate("smal")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no checkpoint in the folder empty: it has no config\.json"):
        folder.locate("empty")


@pytest.mark.parametrize(
    "argv",
    [
        ["compose", "--text", "calm", "--checkpoint", "nowhere"],
        ["play", "--text", "calm", "--checkpoint", "nowhere"],
        ["inpaint", "x.mid", "--bars", "1", "--checkpoint", "nowhere"],
        ["export-onnx", "nowhere"],
        ["evaluate", "nowhere", "corpus", "-o", "out"],
        ["train", "corpus", "-o", "run", "--init", "nowhere"],
        ["benchmark", "--checkpoint", "nowhere"],
    ],
    ids=lambda argv: argv[0],
)
def test_a_checkpoint_that_is_not_there_is_named(argv: list[str], tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no checkpoint folder at nowhere; the checkpoints that ship are: small" in refused(argv, capsys)
    assert not list(tmp_path.iterdir())


def test_commands_take_the_name_of_a_checkpoint(checkpoint_folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """A tiny checkpoint stands for the one that ships."""
    shutil.copytree(checkpoint_folder, tmp_path / "tiny")
    monkeypatch.setattr(folder, "shipped", lambda: {"tiny": tmp_path / "tiny"})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["export-onnx", "tiny"]) == 0
    assert (tmp_path / "tiny" / "decoder.onnx").is_file()
    assert main(["compose", "--text", "calm", "--bars", "1", "--no-audio", "--checkpoint", "tiny"]) == 0
    assert main(["inpaint", "calm.mid", "--bars", "1", "--no-plot", "--checkpoint", "tiny"]) == 0
    for argv in (["--bars", "1"], ["--bars", "1", "--overwrite"], ["--bars", "1", "--variations", "2"]):
        assert main(["inpaint", "calm.mid", "--seed", "1", "--no-plot", "--checkpoint", "tiny", *argv]) == 0
    made = sorted(path.name for path in Path().glob("calm-*.mid"))  # an earlier result stays, unless it may be replaced
    assert made == ["calm-inpaint-2-1.mid", "calm-inpaint-2-2.mid", "calm-inpaint-2.mid", "calm-inpaint.mid"]
    assert main(["doctor", "--checkpoint", "tiny"]) in (0, 1)
    assert "FAIL  checkpoint" not in capsys.readouterr().out
    for argv in (["evaluate", "tiny", "nowhere", "-o", "out"], ["train", "nowhere", "-o", "run", "--init", "tiny"]):
        assert "checkpoint" not in refused(argv, capsys)  # it is the corpus that is missing
    for argv in (["benchmark", "--checkpoint", "tiny", "--only", "speed"], ["benchmark", "--only", "speed"]):
        assert "unknown measure 'speed'" in refused(argv, capsys)


def test_deep_json_and_endless_errors_are_one_short_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep.json").write_text("[" * 200_000)
    assert "cannot read settings" in refused(["compose", "--from", str(tmp_path / "deep.json")], capsys)
    assert len(refused(["compose", "--text", "calm", "--key", "x" * 100_000], capsys)) < 800


def test_a_name_that_is_no_text_is_drawn_without_complaint(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    from midivibe.midi.score import note_table
    from midivibe.output.pianoroll import plot_score, shown
    from tests.test_metrics import piece

    assert shown("a\udcffb\x1b[31m\n東") == "a?b[31m東"
    from midivibe.midi.score import to_score

    score = to_score(piece([(0, 12, 60, 80, 0)], 1))
    assert len(note_table(score))
    plot_score(score, tmp_path / "x.png", title="\udcff 東京 \x1b")
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_a_pipe_is_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a picture" in refused(["vibe", str(tmp_path / "pipe.jpg")], capsys)
