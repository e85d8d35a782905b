"""Playing while composing: bars come from a stream, notes go to a synthesizer or a MIDI port at their time.

Two threads: one takes bars as they are written, the other waits for each note's moment. Playing begins when the bars to come
can be expected in time, at the pace of those so far; should one still be late, the music waits for it.
"""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from symusic import Score

from midivibe.errors import AudioError
from midivibe.midi.notes import DRUMS


class Bar(Protocol):
    """A bar of a piece that is being written (`midivibe.studio` makes them): its place, its time in seconds, its notes.

    `programs` lists the instruments of the piece, DRUMS for drums. `score` has a track for each, with notes at their place in
    the piece.
    """

    @property
    def number(self) -> int: ...

    @property
    def bars(self) -> int: ...

    @property
    def start(self) -> float: ...

    @property
    def length(self) -> float: ...

    @property
    def score(self) -> Score: ...

    @property
    def programs(self) -> tuple[int, ...]: ...


class Sink(Protocol):
    """Where notes go; channels are free numbers, one a part. `output.audio.Speaker` is one."""

    def program(self, channel: int, program: int, drums: bool) -> None: ...

    def on(self, channel: int, pitch: int, velocity: int) -> None: ...

    def off(self, channel: int, pitch: int) -> None: ...

    def control(self, channel: int, number: int, value: int) -> None: ...

    def close(self) -> None: ...


class PortSink:
    """A MIDI output port (mido): parts get channels 1 to 9 and 11 to 16, drums 10."""

    def __init__(self, port: object) -> None:
        self.port = port
        self._channel: dict[int, int] = {}

    def _send(self, kind: str, channel: int, **values: int) -> None:
        from mido import Message

        try:
            self.port.send(Message(kind, channel=self._channel[channel], **values))  # type: ignore[attr-defined]
        except (OSError, RuntimeError) as error:  # rtmidi's errors are both
            raise AudioError(f"the MIDI port takes no more notes: {error}") from error

    def program(self, channel: int, program: int, drums: bool) -> None:
        free = [c for c in range(16) if c != 9 and c not in self._channel.values()]
        if not drums and not free:
            raise AudioError("a MIDI port has channels for 15 instruments and drums")
        self._channel[channel] = 9 if drums else free[0]
        if not drums:
            self._send("program_change", channel, program=program)

    def on(self, channel: int, pitch: int, velocity: int) -> None:
        self._send("note_on", channel, note=pitch, velocity=velocity)

    def off(self, channel: int, pitch: int) -> None:
        self._send("note_off", channel, note=pitch, velocity=0)

    def control(self, channel: int, number: int, value: int) -> None:
        self._send("control_change", channel, control=number, value=value)

    def close(self) -> None:
        self.port.close()  # type: ignore[attr-defined]


def open_port(name: str) -> PortSink:
    """A port by its name, or by part of it; raises AudioError, which lists the ports there are."""
    import mido

    try:
        names = mido.get_output_names()
    except (ImportError, OSError) as error:
        raise AudioError(f"no MIDI ports can be reached ({error}); pip install 'midivibe[live]'") from error
    found = [n for n in names if n == name] or [n for n in names if name.lower() in n.lower()]
    if not found:
        raise AudioError(f"no MIDI port {name!r}; there are: {', '.join(names) or 'none'}")
    return PortSink(mido.open_output(found[0]))


@dataclass
class Playback:
    """How it went, in seconds: until the first note, the least time that a bar was ready before it was due, and waits."""

    first_sound: float = 0.0
    margin: float = float("inf")
    waits: int = 0
    waited: float = 0.0
    bars: int = 0
    latest: float = 0.0
    """the latest that a note was sent after its time"""
    sent: list[tuple[float, str, int, int]] = field(default_factory=list)
    """what was sent when: seconds of the music, on or off, channel, pitch"""


def play(
    bars: Iterable[Bar],
    sink: Sink,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    on_bar: Callable[[Bar], None] = lambda bar: None,
) -> Playback:
    """Play bars to their end, whether or not they are all written yet; every note that was begun is ended.

    Raises:
        AudioError: the sink cannot play them. What stops the composing is raised here too.
    """
    began = clock()
    ready: queue.SimpleQueue[tuple[float, Bar] | BaseException | None] = queue.SimpleQueue()
    stopped = threading.Event()

    def take() -> None:
        try:
            for bar in bars:
                if stopped.is_set():
                    return
                ready.put((clock(), bar))
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    player = _Player(sink, clock, pause, began)
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            player.add(*item)
            on_bar(item[1])
            while player.begun and ready.empty() and player.play_one():
                pass
        player.finish()
        if tail := getattr(sink, "tail", 0.0):
            pause(tail)
    finally:
        stopped.set()
        try:
            player.silence()
        finally:
            taker.join(5)  # the bar under way; a thread that composes while Python ends can bring it down
    return player.result


class _Player:
    def __init__(self, sink: Sink, clock: Callable[[], float], pause: Callable[[float], None], began: float) -> None:
        self.sink, self.clock, self.pause, self.began = sink, clock, pause, began
        self.events: list[tuple[float, int, int, int, int, int]] = []
        """seconds, 0 for off and 1 for on, channel, pitch, velocity, number of the note"""
        self.sounding: dict[tuple[int, int], int] = {}
        """the number of the note that sounds, by channel and pitch"""
        self.notes = 0
        self.zero: float | None = None
        """the clock at the music's beginning"""
        self.known = 0.0
        """seconds of music that has come"""
        self.result = Playback()

    @property
    def begun(self) -> bool:
        return self.zero is not None

    def add(self, at: float, bar: Bar) -> None:
        """A bar has come: make its events, and begin or go on where that is due."""
        if not self.result.bars:
            for channel, program in enumerate(bar.programs):
                self.sink.program(channel, max(program, 0), program == DRUMS)
        channel_of = {p: i for i, p in enumerate(bar.programs)}
        for track in bar.score.to("second").tracks:
            channel = channel_of[DRUMS if track.is_drum else track.program]
            if not self.result.bars:
                for c in track.controls:
                    self.sink.control(channel, c.number, c.value)
            for n in track.notes:
                self.notes += 1
                heapq.heappush(self.events, (n.start, 1, channel, n.pitch, n.velocity, self.notes))
                heapq.heappush(self.events, (n.end, 0, channel, n.pitch, 0, self.notes))
        self.result.bars += 1
        self.known = bar.start + bar.length
        if self.zero is not None:
            due = self.zero + bar.start
            self.result.margin = min(self.result.margin, due - at)
            if (late := self.clock() - due) > 0:  # it should have begun by now: the music has waited for it
                self.zero += late
                self.result.waits += 1
                self.result.waited += late
            return
        pace = (at - self.began) / self.result.bars
        left = bar.bars - self.result.bars
        if left * pace <= bar.start + bar.length + max(left - 1, 0) * bar.length:
            self.zero = self.clock() + 0.05
            self.result.first_sound = self.zero - self.began

    def play_one(self) -> bool:
        """Wait for the next event and send it, if it lies in what is known; False where there is none."""
        if not self.events or self.events[0][0] >= self.known:
            return False
        assert self.zero is not None
        wait = self.zero + self.events[0][0] - self.clock()
        if wait > 0:
            self.pause(min(wait, 0.02))
            return True
        when, starts, channel, pitch, velocity, number = heapq.heappop(self.events)
        self.result.latest = max(self.result.latest, -wait)
        current = self.sounding.get((channel, pitch))
        if current is not None and (starts or current == number):  # a note that was struck again has ended already
            self.sink.off(channel, pitch)
            del self.sounding[channel, pitch]
            self.result.sent.append((when, "off", channel, pitch))
        if starts:
            self.sink.on(channel, pitch, velocity)
            self.sounding[channel, pitch] = number
            self.result.sent.append((when, "on", channel, pitch))
        return True

    def finish(self) -> None:
        """All bars are here: play what is left."""
        self.zero = self.clock() if self.zero is None else self.zero
        self.known = float("inf")
        while self.play_one():
            pass

    def silence(self) -> None:
        """End what still sounds, and close the sink."""
        try:
            for channel, pitch in self.sounding:
                self.sink.off(channel, pitch)
        finally:
            self.sink.close()


__all__ = ["Playback", "PortSink", "Sink", "open_port", "play"]
