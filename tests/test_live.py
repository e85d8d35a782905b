"""Streams are the piece, bar by bar; playing keeps time, ends every note, and waits rather than stumbles."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mido
import pytest

from midivibe.cli import main
from midivibe.errors import AudioError
from midivibe.midi.notes import DRUMS
from midivibe.output import live
from midivibe.output.audio import Speaker, find_soundfont
from midivibe.piece import Bar
from midivibe.studio import Studio

WISHES = {"vibe": "density=0.7", "bars": 6, "seed": 4, "tempo": 150, "time_signature": "4/4", "instruments": "piano,bass,drums"}
SPEED = 40
"""Times real time: tests wait for no music."""


def clock() -> float:
    return time.monotonic() * SPEED


def pause(seconds: float) -> None:
    time.sleep(seconds / SPEED)


class Tape:
    """A sink that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple] = []

    def program(self, channel: int, program: int, drums: bool) -> None:
        self.heard.append(("program", channel, program, drums))

    def on(self, channel: int, pitch: int, velocity: int) -> None:
        self.heard.append(("on", channel, pitch))

    def off(self, channel: int, pitch: int) -> None:
        self.heard.append(("off", channel, pitch))

    def control(self, channel: int, number: int, value: int) -> None:
        self.heard.append(("control", channel, number, value))

    def close(self) -> None:
        self.heard.append(("close",))


def onsets(score, programs) -> Counter:
    channel = {p: i for i, p in enumerate(programs)}
    return Counter(
        (n.start, channel[DRUMS if t.is_drum else t.program], n.pitch, n.velocity) for t in score.tracks for n in t.notes
    )


@pytest.mark.parametrize("bars", [1, 6, 40])
def test_the_bars_of_a_stream_are_the_piece(studio: Studio, bars: int) -> None:
    stream = studio.stream(**{**WISHES, "bars": bars})
    if bars > 1:
        with pytest.raises(RuntimeError, match="not finished"):
            _ = stream.piece
    got = list(stream)
    assert [b.number for b in got] == list(range(1, bars + 1))
    assert got[-1].start == pytest.approx((bars - 1) * 4 * 60 / 150)
    piece = stream.piece
    alone = studio.compose(**{**WISHES, "bars": bars})
    assert piece.score.dumps_midi() == alone.score.dumps_midi()
    assert sum((onsets(b.score, b.programs) for b in got), Counter()) == onsets(piece.score, got[0].programs)


def test_playing_sends_every_note_in_time_and_ends_it(studio: Studio) -> None:
    tape, stream = Tape(), studio.stream(**WISHES)
    result = live.play(stream, tape, clock, pause)
    piece = stream.piece
    assert (result.bars, result.waits) == (6, 0)
    assert sum(h[0] == "on" for h in tape.heard) == piece.score.note_num()
    times = [s[0] for s in result.sent]
    assert times == sorted(times)
    assert result.latest < 0.5 * SPEED  # half a second of the test's own time
    notes = {(n.start, n.end) for t in piece.score.to("second").tracks for n in t.notes}
    begun: dict[tuple[int, int], float] = {}
    for when, kind, channel, pitch in result.sent:  # each note begins and ends when it does in the piece
        if kind == "on":
            begun[channel, pitch] = when
        else:
            assert any((begun[channel, pitch], when) == pytest.approx(n, abs=1e-6) for n in notes)
    sounding: set[tuple] = set()
    for kind, *rest in tape.heard:
        if kind == "on":
            assert tuple(rest) not in sounding
            sounding.add(tuple(rest))
        elif kind == "off":
            sounding.discard(tuple(rest))
    assert not sounding
    assert tape.heard[-1] == ("close",)
    assert [h for h in tape.heard if h[0] == "program"] == [
        ("program", i, max(p, 0), p == DRUMS) for i, p in enumerate((0, 33, -1))
    ]


def late(bars: list[Bar], seconds: list[float]) -> Iterator[Bar]:
    for bar, wait in zip(bars, seconds, strict=True):
        pause(wait)
        yield bar


def test_slow_composing_begins_later_and_a_late_bar_is_waited_for(studio: Studio) -> None:
    bars = list(studio.stream(**WISHES))  # 1.6 s of music each
    steady = live.play(late(bars, [3.0] * 6), Tape(), clock, pause)
    assert steady.waits == 0
    assert steady.first_sound > 8
    assert steady.margin > 0
    stuck = live.play(late(bars, [0.5] * 3 + [12.0] + [0.5] * 2), Tape(), clock, pause)
    assert stuck.waits == 1
    assert stuck.margin < 0
    assert stuck.waited > 4
    assert len(stuck.sent) == len(steady.sent)


def test_what_fails_is_raised_and_nothing_goes_on_sounding(studio: Studio) -> None:
    bars = list(studio.stream(**WISHES))

    def broken() -> Iterator[Bar]:
        yield bars[0]
        yield bars[1]
        pause(2.0)
        raise ValueError("no more")

    tape = Tape()
    with pytest.raises(ValueError, match="no more"):
        live.play(broken(), tape, clock, pause)
    assert tape.heard[-1] == ("close",)
    ended = sum(h[0] == "off" for h in tape.heard)
    assert ended == sum(h[0] == "on" for h in tape.heard) > 0


def test_a_sink_that_fails_is_closed_and_stops_the_composing(studio: Studio) -> None:
    bars = list(studio.stream(**WISHES))
    taken: list[int] = []

    def endless() -> Iterator[Bar]:
        for number in range(10_000):
            taken.append(number)
            pause(0.4)
            yield bars[number % 6]

    class Gone(Tape):
        def on(self, channel: int, pitch: int, velocity: int) -> None:
            if sum(h[0] == "on" for h in self.heard) == 3:
                raise AudioError("unplugged")
            super().on(channel, pitch, velocity)

        def off(self, channel: int, pitch: int) -> None:
            raise AudioError("unplugged")

    tape = Gone()
    with pytest.raises(AudioError, match="unplugged"):
        live.play(endless(), tape, clock, pause)
    assert tape.heard[-1] == ("close",)
    count = len(taken)
    time.sleep(0.1)
    assert len(taken) == count < 10_000


class Loop(mido.ports.EchoPort):
    """What is sent comes back."""


def test_a_port_gets_the_piece_on_its_channels(studio: Studio, monkeypatch, tmp_path: Path, checkpoint_folder, capsys) -> None:
    port = Loop()
    heard: list[mido.Message] = []
    monkeypatch.setattr(mido, "get_output_names", lambda: ["Synth input 1"])
    monkeypatch.setattr(mido, "open_output", lambda name: port)
    monkeypatch.setattr(port, "close", lambda: heard.extend(port.iter_pending()))
    model = ["--checkpoint", str(checkpoint_folder)]
    flags = ["--vibe", "density=0.7", "--bars", "2", "--seed", "4", "--tempo", "300", "--instruments", "piano,drums"]
    assert main(["play", *flags, "--port", "synth", "-o", str(tmp_path / "kept.mid"), *model]) == 0
    assert "each bar was ready at least" in capsys.readouterr().out
    score = studio.compose(vibe="density=0.7", bars=2, seed=4, tempo=300, instruments="piano,drums").score
    assert sum(m.type == "note_on" for m in heard) == score.note_num() == mido_notes(tmp_path / "kept.mid")
    assert {m.channel for m in heard if m.type == "note_on"} == {0, 9}
    assert main(["play", *flags, "--port", "nowhere", *model]) == 2
    assert "there are: Synth input 1" in capsys.readouterr().err
    assert main(["play", *model]) == 2
    assert "nothing to compose from" in capsys.readouterr().err
    assert main(["play", *flags, "-o", "x.wav", *model]) == 2
    assert "must be .mid" in capsys.readouterr().err
    with pytest.raises(AudioError, match="15 instruments"):
        sink = live.PortSink(Loop())
        for channel in range(16):
            sink.program(channel, channel, False)


def mido_notes(path: Path) -> int:
    return sum(m.type == "note_on" and m.velocity > 0 for t in mido.MidiFile(path).tracks for m in t)


def test_fluidsynth_plays_through_a_driver_that_needs_no_sound_card(studio: Studio, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # the driver "file" writes fluidsynth.wav, in time
    stream = studio.stream(**{**WISHES, "bars": 1, "tempo": 300})
    result = live.play(stream, Speaker(find_soundfont(), "file"))
    assert result.sent
    assert (tmp_path / "fluidsynth.wav").stat().st_size > 20_000
    with pytest.raises(AudioError, match="cannot open audio driver 'nosuchdriver'"):
        Speaker(find_soundfont(), "nosuchdriver")
