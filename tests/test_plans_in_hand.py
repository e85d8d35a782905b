"""Laws of plans in the user's hands: read from a song, printed, edited, followed; in words, in the MIDI and over the roll."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
import pytest
from symusic import Note, Score, Tempo, TextMeta, TimeSignature, Track

from midivibe import cli
from midivibe.errors import InputError, MidiError
from midivibe.midi.score import FILE_TICKS
from midivibe.midi.theory import Key
from midivibe.output.pianoroll import LETTER, _with_room
from midivibe.plan.chords import QUALITIES, Chord
from midivibe.plan.form import parse_form
from midivibe.plan.plan import Plan, parse_bars, parse_chords, show_bars, spread
from midivibe.plan.song import plan_of_song
from midivibe.requests import Compose
from midivibe.settling import planned
from midivibe.studio import Studio
from midivibe.vibe import words
from tests.test_cli import refused

CHORDS = ("Am", "F", "C", "G", "Am", "F", "C G", "C")


def song(meter: tuple[int, int] = (4, 4), chords: tuple[str, ...] = CHORDS * 3, pickup: int = 0, shown: bool = True) -> Score:
    """Held chords over their roots, two chords in a bar where the symbol has two; as 1/4 where `shown` is off."""
    score = Score(480)
    score.tempos.append(Tempo(0, 96))
    score.time_signatures.append(TimeSignature(0, *(meter if shown else (1, 4))))
    piano, bass = Track("piano", 0), Track("bass", 33)
    score.tracks.extend([piano, bass])
    length = 480 * 4 * meter[0] // meter[1]
    for bar, symbols in enumerate(chords):
        share = length // len(symbols.split())
        for i, symbol in enumerate(symbols.split()):
            at = pickup * 480 + bar * length + i * share
            for pitch in Chord.parse(symbol).pitch_classes:
                piano.notes.append(Note(at, share, 60 + pitch, 80))
            bass.notes.append(Note(at, share, 36 + Chord.parse(symbol).root, 80))
    return score


def saved(score: Score, path: Path) -> Path:
    score.dump_midi(str(path))
    return path


def random_plan(seed: int) -> Plan:
    """A plan of any shape that can be written down."""
    rng = np.random.default_rng(seed)
    form = " ".join(f"{letter}{rng.integers(1, 9)}" for letter in rng.choice(list("ABCibso"), rng.integers(1, 7)))
    sections = parse_form(form) if seed % 3 else ()
    bars = sections[-1].end if sections else int(rng.integers(1, 30))
    qualities = list(QUALITIES)

    def chord() -> Chord:
        return Chord(int(rng.integers(12)), str(rng.choice(qualities))) if rng.random() < 0.9 else Chord(-1, "none")

    chords = tuple(tuple(chord() for _ in range(rng.integers(0, 5))) for _ in range(bars))
    key = Key.of(int(rng.integers(12)), str(rng.choice(["major", "minor"]))) if seed % 2 else None
    return Plan(
        bars, key, 61.5 if seed % 5 else None,
        (3, 4) if seed % 7 else None, "folk" if seed % 2 else None, (0, -1, 127) if seed % 3 else None, sections,
        chords if any(chords) else (),
    )  # fmt: skip


# Plans ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_every_plan_can_be_written_read_cut_and_moved(seed: int) -> None:
    plan = random_plan(seed)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    short = plan.cut(max(1, plan.bars // 2))
    assert short.bars == max(1, plan.bars // 2)
    assert short.chords == (plan.chords[: short.bars] if any(plan.chords[: short.bars]) else ())
    assert [s.letter for s in short.sections] == [s.letter for s in plan.sections][: len(short.sections)]
    if plan.key:
        assert plan.moved(Key.parse("E minor")).moved(plan.key) == plan
    if plan.chords:
        assert tuple(parse_bars(show_bars(plan.chords, plan.key))) == plan.chords
        assert all(str(bar + 1) in plan.chart() for bar in (s.start for s in plan.sections))


def test_chords_move_with_the_key_and_are_spelled_in_it() -> None:
    plan = Plan(4, Key.parse("A minor"), chords=spread(parse_chords("Am F C E/G#"), 4))
    assert show_bars(plan.moved(Key.parse("G minor")).chords, Key.parse("G minor")) == "Gm | Eb | Bb | D/F#"
    assert show_bars(plan.moved(Key.parse("D major")).chords, Key.parse("D major")) == "Bm | G | D | F#/A#"
    symbols = {key: [Chord(r, "maj").symbol(Key.parse(key)) for r in range(12)] for key in ("G major", "Eb major", "B minor")}
    assert symbols["G major"] == "C C# D Eb E F F# G Ab A Bb B".split()
    assert symbols["Eb major"] == "C Db D Eb E F Gb G Ab A Bb B".split()
    assert symbols["B minor"] == "C C# D D# E F F# G G# A A# B".split()


def test_another_form_takes_the_chords_of_the_letters() -> None:
    plan = Plan(6, sections=parse_form("A2 B2 A2"), chords=spread(parse_chords("A: C G; B: F Dm"), 6, parse_form("A2 B2 A2")))
    other = plan.formed(parse_form("B4 A1 s1"))
    assert show_bars(other.chords) == "F | Dm | F | Dm | C | ?"
    assert plan.formed(parse_form("s8")).chords == ()


def test_chords_as_long_as_the_piece_run_through_its_sections() -> None:
    form = parse_form("A2 B2")
    assert spread(parse_chords("C D E F"), 4, form) == tuple(parse_bars("C D E F"))
    assert spread(parse_chords("C D E"), 4, form) == tuple(parse_bars("C D C D"))


# Songs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("meter", [(4, 4), (3, 4), (6, 8)])
def test_the_plan_of_a_song_is_what_it_plays(meter: tuple[int, int], tmp_path: Path) -> None:
    chords = tuple(c.replace("C G", "C") if meter == (3, 4) else c for c in CHORDS) * 3
    read = plan_of_song(saved(song(meter, chords), tmp_path / "x.mid"))
    plan = read.plan
    assert (str(plan.key), plan.tempo, plan.meter, plan.bars, read.warnings) == ("C major", 96, meter, 24, ())
    assert [" ".join(c.symbol() for c in bar) for bar in plan.chords] == list(chords)
    assert plan.sections[-1].end == 24
    assert plan.left == ("style", "instruments")


@pytest.mark.parametrize("pickup", [0, 1, 3])
def test_a_bar_of_one_beat_is_no_meter(pickup: int, tmp_path: Path) -> None:
    read = plan_of_song(saved(song(pickup=pickup, shown=False), tmp_path / "x.mid"))
    played = read.plan.chords[1 if pickup else 0 :]
    assert read.plan.meter == (4, 4) and "1/4" in read.warnings[0]
    assert [" ".join(c.symbol() for c in bar) for bar in played] == list(CHORDS * 3)


def test_markers_are_believed(tmp_path: Path) -> None:
    score = song()
    for bar, text in ((0, "intro"), (4, "Verse 1"), (12, "Chorus"), (20, "verse 2")):
        score.markers.append(TextMeta(bar * 1920, text))
    read = plan_of_song(saved(score, tmp_path / "x.mid"))
    assert read.plan.form == "i4 A8 B8 A4" and read.form_from == "from its markers"


def test_drums_have_no_key_and_silence_no_plan(tmp_path: Path) -> None:
    drums = Score(480)
    drums.tracks.append(Track("drums", 0, True))
    with pytest.raises(MidiError, match="no notes"):
        plan_of_song(saved(drums, tmp_path / "silent.mid"))
    for beat in range(32):
        drums.tracks[0].notes.append(Note(beat * 480, 120, 36 + 2 * (beat % 2), 90))
    plan = plan_of_song(saved(drums, tmp_path / "drums.mid")).plan
    assert plan.key is None and plan.chords == () and "key" in plan.left


# Following a plan -------------------------------------------------------------------------------------------------------

ASKED = (
    {"text": "calm", "bars": 2},
    {"form": "i1A1B2", "chords": "A: Am F; B: C G | Em", "tempo": 90.0},
    {"key": "F# minor", "time_signature": "3/4", "instruments": "piano,bass", "bars": 2},
)


@pytest.mark.parametrize("asked", ASKED)
def test_the_plan_is_the_one_that_composing_follows(asked: dict, studio: Studio) -> None:
    settings = studio.settle(Compose(seed=7, **asked))
    plan = studio.plan(settings)
    assert plan == studio.plan(settings)
    piece = studio.perform([settings])[0]
    assert piece.plan == plan
    assert set(plan.left) <= {"form", "chords"}
    again = studio.settle(Compose(plan=plan, seed=8))
    assert studio.perform([again])[0].plan == plan


def test_a_long_plan_has_a_form(studio: Studio) -> None:
    plan = studio.plan(studio.settle(Compose(text="calm", bars=24, seed=7)))
    assert plan.sections[-1].end == 24
    assert plan.left == ()
    assert len(plan.chords) == 24


def test_a_plan_is_obeyed_and_flags_change_it(studio: Studio, tmp_path: Path) -> None:
    plan = Plan(
        8, Key.parse("D minor"), 77.0, (3, 4), "folk", (24, 33), parse_form("A4 B4"),
        spread(parse_chords("A: Dm Bb | C A7; B: F"), 8, parse_form("A4 B4")),
    )  # fmt: skip
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.to_json()))
    piece = studio.compose(text="fast, in C major, over C G F Am, AABA", plan=path, seed=1)
    assert piece.plan == plan
    assert (piece.key, piece.tempo, piece.meter, piece.programs) == ("D minor", 77.0, "3/4", plan.programs)
    changed = planned(Compose(plan=plan, key="E minor", tempo=120, bars=5, instruments="flute", style="pop"))
    assert changed is not None
    assert (changed.form, show_bars(changed.chords, changed.key)) == ("A4 B1", "Em C | D B7 | Em C | D B7 | G")
    assert (changed.tempo, changed.programs, changed.style) == (120, (73,), "pop")
    with pytest.raises(InputError, match="bars is 9, and the plan has 8"):
        planned(Compose(plan=plan, bars=9))
    with pytest.raises(InputError, match="leave out one of them"):
        planned(Compose(plan=plan, plan_from="x.mid"))
    with pytest.raises(InputError, match="the plan has 2000 bars, and a piece may have 1024"):
        studio.settle(Compose(plan=Plan(2000)))


def test_a_piece_after_a_song_has_its_plan(studio: Studio, tmp_path: Path) -> None:
    path = saved(song(), tmp_path / "song.mid")
    read = plan_of_song(path).plan
    piece = studio.compose(plan_from=path, bars=10, seed=2)
    assert (piece.plan.key, piece.plan.tempo, piece.plan.meter) == (read.key, read.tempo, read.meter)
    assert piece.plan.chords == read.chords[:10] and piece.plan.bars == 10
    settings = studio.settle(Compose(plan_from=path, seed=2))
    assert type(settings).from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_words_fill_what_the_plan_leaves_open(studio: Studio) -> None:
    settings = studio.settle(Compose(plan=Plan(8), text="70 bpm, over Dm A7, AABA form in 3/4", seed=1))
    assert (settings.tempo, settings.chords, settings.form, settings.meter) == (70, "Dm A7", "A2 A2 B2 A2", (3, 4))
    assert settings.key == "D minor"


# Words ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form", "chords", "key"),
    [
        ("calm AABA piano", "AABA", None, None), ("ABAC form", "ABAC", None, None), ("form: AB", "AB", None, None),
        ("songs like ABBA", None, None, None), ("a AAA game", None, None, None), ("no chorus", None, None, None),
        ("verse chorus form", "A8 B8 A8 B8", None, None),
        ("intro, verse, chorus and outro", "i4 A8 B8 o4", None, None),
        ("slow, over Am F C G", None, "Am F C G", None), ("chords: Am - F - C - G, sad", None, "Am F C G", None),
        ("over Am F | C/E G7 in A minor", None, "Am F | C/E G7", "A minor"), ("over Am Xyz", None, None, None),
        ("chords Q W E", None, None, None), ("over A lake", None, None, None), ("over C D E F G | A", None, None, None),
        ("ii-V-I in C", None, "Dm7 | G7 | Cmaj7 | %", "C major"),
        ("ii-V-i in D minor", None, "Em7b5 | A7 | Dm7 | %", "D minor"),
        ("I-vi-IV-V in G", None, "G | Em | C | D", "G major"), ("i VI III VII in E minor", None, "Em | C | G | D", "E minor"),
        ("12-bar blues", None, "C7 | % | % | % | F7 | % | C7 | % | G7 | F7 | C7 | %", "C major"),
        ("twelve-bar blues in E", None, "E7 | % | % | % | A7 | % | E7 | % | B7 | A7 | E7 | %", "E major"),
    ],
)  # fmt: skip
def test_words_set_form_and_chords(text: str, form: str | None, chords: str | None, key: str | None) -> None:
    said = words.parse(text)
    assert (said.form, said.chords, str(said.key) if said.key else None) == (form, chords, key)
    assert said.form is None or parse_form(said.form)
    assert said.chords is None or parse_bars(said.chords)


def test_words_reach_the_settings_and_flags_beat_them(studio: Studio) -> None:
    def settled(**asked: object) -> tuple[object, ...]:
        s = studio.settle(Compose(seed=1, **asked))  # type: ignore[arg-type]
        return s.bars, s.form, s.key

    assert settled(text="12-bar blues in E") == (12, None, "E major")
    assert settled(text="12-bar blues in E", key="A minor", bars=24) == (24, None, "A minor")
    assert studio.settle(Compose(text="ii-V-I", key="F major", seed=1)).chords == "Gm7 | C7 | Fmaj7 | %"
    assert settled(text="AABA form") == (32, "AABA", None)
    assert settled(text="AABA form", bars=16) == (16, "A4 A4 B4 A4", None)
    assert settled(text="AABA form", bars=7) == (7, None, None)
    assert settled(text="AABA form", bars=1024) == (1024, None, None)
    assert settled(text="verse chorus " * 200)[:2] == (16, None)
    assert settled(text="AABA form", form="A4B4") == (8, "A4B4", None)
    assert settled(text="AABA twelve-bar blues")[:2] == (48, "A12 A12 B12 A12")
    assert studio.settle(Compose(text="over Am F", chords="C G", seed=1)).chords == "C G"


# Where a plan is shown --------------------------------------------------------------------------------------------------


def test_the_midi_file_holds_chords_and_sections(studio: Studio, tmp_path: Path) -> None:
    piece = studio.compose(form="i1A2o1", chords="A: Am F | C", time_signature="3/4", seed=3)
    conductor = mido.MidiFile(piece.save(tmp_path / "x.mid")).tracks[0]
    now, texts, markers = 0, [], []
    for message in conductor:
        now += message.time
        if message.type in ("text", "marker"):
            (texts if message.type == "text" else markers).append((now, message.text))
    bar = 3 * FILE_TICKS
    assert [x for x in texts if bar <= x[0] < 3 * bar] == [(bar, "Am"), (bar + bar // 2, "F"), (2 * bar, "C")]
    assert [tick for tick, _ in texts][:1] == [0]  # what is not asked for, the model says
    assert markers == [(0, "intro"), (bar, "A"), (3 * bar, "outro")]
    piece.plot(tmp_path / "x.png")


@pytest.mark.parametrize("pixels", [100, 60, 30, 8])
def test_names_over_the_roll_do_not_run_into_each_other(pixels: int) -> None:
    starts = np.arange(65) * 8
    names = [(8 * bar + half, f"{'ABCDEFG'[(bar + half) % 7]}m7b5") for bar in range(64) for half in (0, 4)]
    sections = {8, 17 * 8}
    kept = sorted(_with_room(names, starts, pixels / 8, sections))
    assert sections <= {tick for tick, _ in kept}
    assert all((b[0] - a[0]) * pixels / 8 >= LETTER * (len(a[1]) + 1) for a, b in pairwise(kept))
    assert pixels == 100 or all(tick % 8 == 0 for tick, _ in kept)
    assert {100: 128, 60: 64}.get(pixels, len(kept)) == len(kept)


def test_plan_edit_and_compose_on_the_command_line(tmp_path: Path, monkeypatch, capsys, checkpoint_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    saved(song(), tmp_path / "song.mid")
    assert cli.main(["plan", "song.mid", "-o", "plan.json"]) == 0
    out = capsys.readouterr().out
    assert "C major" in out and "96 BPM" in out and "    1 | Am " in out
    values = json.loads((tmp_path / "plan.json").read_text())
    values |= {"key": "E minor", "tempo": 60, "sections": [{"name": "A", "bars": 3, "chords": "Em | B7 Am"}], "bars": 3}
    (tmp_path / "plan.json").write_text(json.dumps(values))
    model = ["--checkpoint", str(checkpoint_folder), "--no-audio", "--seed", "1"]
    assert cli.main(["compose", "--plan", "plan.json", *model]) == 0
    made = json.loads((tmp_path / "plan-compose.json").read_text())
    assert (made["key"], made["tempo"], made["form"], made["chords"]) == ("E minor", 60, "A3", "Em | B7 Am | Em")
    assert cli.main(["compose", "--plan-from", "song.mid", "--bars", "4", *model]) == 0
    assert (tmp_path / "song-compose.mid").is_file()
    capsys.readouterr()
    assert cli.main(["plan", "song-compose.json", "--checkpoint", str(checkpoint_folder)]) == 2
    assert cli.main(["plan", "--plan", "song-compose.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["bars"] == 4
    assert cli.main(["plan", "--text", "calm", "--bars", "2", "--json", "--checkpoint", str(checkpoint_folder)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["left"] == ["form"] and isinstance(found["seed"], int)


BROKEN = {
    "cannot read plan": "[{",
    "holds no plan": "[]",
    "bars are None": "{}",
    "bars are inf": '{"bars": 1e999}',
    "to 20,000": '{"bars": 1000000000000000000000000000000}',
    "a piece may have 1024": '{"bars": 2000}',
    "no 'tmepo'": '{"bars": 4, "tmepo": 3}',
    "tempo is nan": '{"bars": 4, "tempo": NaN}',
    "unknown key": '{"bars": 4, "key": "\\ud800"}',
    "unknown chord 'Hx'": '{"bars": 4, "chords": "Hx"}',
    "unknown instrument": '{"bars": 4, "instruments": ["kazoophone"]}',
    "unknown time signature '13/16'": '{"bars": 4, "meter": "13/16"}',
    "write the chords into the sections": '{"chords": "C", "sections": [{"name": "A", "bars": 4}]}',
    "more than 20,000 bars": '{"bars": 4, "chords": "' + "C " * 20_001 + '"}',
    "up to 4,000,000 bytes": " " * 4_000_001,
    "recursion": '{"a":' * 100_000,
}


@pytest.mark.parametrize("match", BROKEN)
def test_a_broken_plan_file_is_one_line(match: str, tmp_path: Path, monkeypatch, capsys, checkpoint_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.json").write_text(BROKEN[match])
    assert cli.main(["compose", "--plan", "p.json", "--no-audio", "--checkpoint", str(checkpoint_folder)]) == 2
    streams = capsys.readouterr()
    lines = [line for line in streams.err.splitlines() if not line.startswith("midivibe: note: torch runs")]
    assert len(lines) == 1 and lines[0].startswith("midivibe: error: ") and match in lines[0] and not streams.out
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


def test_songs_and_plans_that_are_not_there_are_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no MIDI file at no.mid" in refused(["plan", "no.mid"], capsys)
    assert "no plan file at no.json" in refused(["plan", "--plan", "no.json"], capsys)
    assert "one plan too many" in refused(["plan", "a.mid", "b.mid"], capsys)
    assert "leave out one of them" in refused(["plan", "--plan", "a.json", "--plan-from", "b.mid"], capsys)
    assert "nothing to compose from" in refused(["plan"], capsys)
    assert "suffix must be one of .json" in refused(["plan", "a.mid", "-o", "x.mid"], capsys)
    assert not list(tmp_path.iterdir())
