"""Score → audio: FluidSynth where its library is there, tinysoundfont otherwise; 44.1 kHz stereo, normalised, with its tail."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from symusic import Score

from midivibe.errors import AudioError, SilenceError, SoundfontError
from midivibe.files import replacing

RATE = 44_100
PEAK = 10 ** (-1 / 20)
"""-1 dBFS"""
SILENCE = 10 ** (-66 / 20)
"""A tail is over when it stays this far under the loudest sample."""
LONGEST_TAIL = 12.0
"""seconds"""
LONGEST = 2 * 3600.0
"""seconds"""
BLOCK = RATE // 20

FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS"), ".mp3": ("MP3", "MPEG_LAYER_III")}

HOW_TO_GET_SOUND = (
    "no synthesizer found; install FluidSynth's library (apt install libfluidsynth3, brew install fluid-synth) "
    "or run: pip install --no-deps tinysoundfont"
)


class Synthesizer(Protocol):
    """What rendering needs: channels are free numbers, one a part."""

    def program(self, channel: int, program: int, drums: bool) -> None: ...

    def on(self, channel: int, pitch: int, velocity: int) -> None: ...

    def off(self, channel: int, pitch: int) -> None: ...

    def control(self, channel: int, number: int, value: int) -> None: ...

    def bend(self, channel: int, value: int) -> None: ...

    def samples(self, count: int) -> np.ndarray: ...

    def close(self) -> None: ...


class _FluidSynth:
    """FluidSynth through pyfluidsynth, 256 channels wide."""

    def __init__(self, soundfont: Path, gain: float) -> None:
        import fluidsynth

        self.synth: Any = fluidsynth.Synth(gain=gain, samplerate=float(RATE), channels=256)
        self.font = self.synth.sfload(str(soundfont))
        if self.font < 0:
            raise SoundfontError(f"cannot load the soundfont {soundfont}; it must be an .sf2 or .sf3 file")

    def program(self, channel: int, program: int, drums: bool) -> None:
        bank = 128 if drums else 0
        if self.synth.program_select(channel, self.font, bank, program) != 0:
            self.synth.program_select(channel, self.font, bank, 0)

    def on(self, channel: int, pitch: int, velocity: int) -> None:
        self.synth.noteon(channel, pitch, velocity)

    def off(self, channel: int, pitch: int) -> None:
        self.synth.noteoff(channel, pitch)

    def control(self, channel: int, number: int, value: int) -> None:
        self.synth.cc(channel, number, value)

    def bend(self, channel: int, value: int) -> None:
        self.synth.pitch_bend(channel, value)

    def samples(self, count: int) -> np.ndarray:
        return np.asarray(self.synth.get_samples(count), dtype=np.float32).reshape(-1, 2) / 32768

    def close(self) -> None:
        self.synth.delete()


class _TinySoundFont:
    """tinysoundfont, which needs no system library."""

    def __init__(self, soundfont: Path, gain: float) -> None:
        import tinysoundfont

        self.synth: Any = tinysoundfont.Synth(gain=20 * float(np.log10(gain)), samplerate=RATE)
        try:
            self.font = self.synth.sfload(str(soundfont))
        except Exception as error:
            raise SoundfontError(f"cannot load the soundfont {soundfont}: {error}") from error

    def program(self, channel: int, program: int, drums: bool) -> None:
        self.synth.program_change(channel, program, drums)

    def on(self, channel: int, pitch: int, velocity: int) -> None:
        self.synth.noteon(channel, pitch, velocity)

    def off(self, channel: int, pitch: int) -> None:
        self.synth.noteoff(channel, pitch)

    def control(self, channel: int, number: int, value: int) -> None:
        self.synth.control_change(channel, number, value)

    def bend(self, channel: int, value: int) -> None:
        self.synth.pitchbend(channel, value + 8192)

    def samples(self, count: int) -> np.ndarray:
        return np.frombuffer(bytes(self.synth.generate(count)), dtype=np.float32).reshape(-1, 2)

    def close(self) -> None:
        self.synth.notes_off()


class Speaker(_FluidSynth):
    """FluidSynth that plays at once through an audio driver: the system's own, or alsa, pulseaudio, coreaudio, dsound, file.

    Raises:
        AudioError: no FluidSynth, or no driver that opens.
    """

    tail = 1.5
    """Seconds that the last notes need to die away."""

    def __init__(self, soundfont: Path, driver: str | None = None, gain: float = 0.35) -> None:
        try:
            import fluidsynth
        except (ImportError, OSError, AttributeError):
            raise AudioError(HOW_TO_GET_SOUND.split(" or run")[0]) from None
        super().__init__(soundfont, gain)
        if driver:
            self.synth.setting("audio.driver", driver)
        self.synth.audio_driver = fluidsynth.new_fluid_audio_driver(self.synth.settings, self.synth.synth)
        if not self.synth.audio_driver:
            self.close()
            named = f"audio driver {driver!r}" if driver else "the system's audio driver"
            raise AudioError(f"cannot open {named}; try another --driver, or a MIDI port with --port")


def synthesizer() -> tuple[str, Callable[[Path, float], Synthesizer]] | None:
    """The synthesizer that is at hand, with its name; None where there is none."""
    try:
        import fluidsynth  # noqa: F401  (raises ImportError where the shared library is missing)
    except (ImportError, OSError, AttributeError):
        if importlib.util.find_spec("tinysoundfont") is not None:
            return "tinysoundfont", _TinySoundFont
        return None
    return "FluidSynth", _FluidSynth


def find_soundfont(asked: str | Path | None = None) -> Path:
    """The soundfont to use: asked for, $MIDIVIBE_SOUNDFONT, soundfonts/, the system's folders, the one inside pretty_midi.

    Raises:
        SoundfontError: none of these has one, or the one that was asked for is missing.
    """
    for explicit, origin in ((asked, "--soundfont"), (os.environ.get("MIDIVIBE_SOUNDFONT"), "$MIDIVIBE_SOUNDFONT")):
        if explicit:
            path = Path(explicit)
            if not path.is_file():
                raise SoundfontError(f"no soundfont at {path} ({origin}); name an .sf2 file, or leave it out")
            return path
    here = Path(__file__).parent.parent
    folders = [Path("soundfonts"), here.parent / "soundfonts", here / "soundfonts"]
    folders += [Path(p) for p in ("/usr/share/sounds/sf2", "/usr/share/soundfonts", "/usr/local/share/soundfonts")]
    spec = importlib.util.find_spec("pretty_midi")
    folders += [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    for folder in folders:
        found = sorted(folder.glob("*.sf2")) + sorted(folder.glob("*.sf3")) if folder.is_dir() else []
        if found:
            return found[0]
    raise SoundfontError("no soundfont found; put an .sf2 file into soundfonts/ or name one with --soundfont")


def render(score: Score, soundfont: str | Path | None = None) -> np.ndarray:
    """Score → samples (N, 2) float32, peak at -1 dBFS, ending when the last note has decayed.

    Raises:
        AudioError: no synthesizer at hand, or nothing to hear.
        SoundfontError: no soundfont.
    """
    made = synthesizer()
    if made is None:
        raise AudioError(HOW_TO_GET_SOUND)
    font = find_soundfont(soundfont)
    gain = 0.35
    audio = _play(score, made[1](font, gain))
    while np.abs(audio).max(initial=0.0) > 0.999 and gain > 0.02:  # 16-bit output would clip: play it softer
        gain /= 2.5
        audio = _play(score, made[1](font, gain))
    peak = float(np.abs(audio).max(initial=0.0))
    if peak < 1e-3:  # FluidSynth dithers, so that silence is not quite zero
        raise SilenceError("the score makes no sound: it has no notes that the soundfont can play")
    loud = np.flatnonzero(np.abs(audio).max(axis=1) > peak * SILENCE)
    audio = audio[: int(loud[-1]) + RATE // 50]
    return (audio * (PEAK / peak)).astype(np.float32)


def _play(score: Score, synth: Synthesizer) -> np.ndarray:
    seconds = score.to("second")
    length = max((n.end for t in seconds.tracks for n in t.notes), default=0.0)
    if length > LONGEST:
        raise AudioError(f"the score lasts {length / 3600:.1f} hours; audio is rendered up to {LONGEST / 3600:.0f}")
    events: list[tuple[float, int, Callable[[], None]]] = []  # note-offs come before note-ons of the same time
    for channel, track in enumerate(seconds.tracks):
        synth.program(channel, track.program, track.is_drum)
        for c in track.controls:
            events.append((c.time, 1, partial(synth.control, channel, c.number, c.value)))
        for b in track.pitch_bends:
            events.append((b.time, 1, partial(synth.bend, channel, b.value)))
        for n in track.notes:
            events.append((n.start, 2, partial(synth.on, channel, n.pitch, n.velocity)))
            events.append((n.end, 0, partial(synth.off, channel, n.pitch)))
    events.sort(key=lambda e: e[:2])
    blocks: list[np.ndarray] = []
    now = 0
    for time, _, act in events:
        at = round(time * RATE)
        if at > now:
            blocks.append(synth.samples(at - now))
            now = at
        act()
    peak = max((float(np.abs(b).max(initial=0.0)) for b in blocks), default=0.0)
    for _ in range(int(LONGEST_TAIL * RATE / BLOCK)):
        blocks.append(synth.samples(BLOCK))
        if float(np.abs(blocks[-1]).max()) < peak * SILENCE:
            break
    synth.close()
    return np.concatenate(blocks) if blocks else np.zeros((0, 2), dtype=np.float32)


def render_score(score: Score, path: str | Path, soundfont: str | Path | None = None) -> None:
    """Render to a file whose suffix names the format; raises AudioError, SoundfontError or OutputError."""
    path = Path(path)
    check_format(path)
    audio = render(score, soundfont)
    import soundfile

    container, subtype = FORMATS[path.suffix.lower()]
    with replacing(path) as temporary:
        try:
            # libsndfile's Vorbis encoder overflows its stack when given minutes in one call
            with soundfile.SoundFile(temporary, "w", RATE, 2, subtype=subtype, format=container) as file:
                for at in range(0, len(audio), RATE):
                    file.write(audio[at : at + RATE])
        except soundfile.LibsndfileError as error:
            raise AudioError(f"cannot write {path}: {error}") from error


def check_format(path: Path) -> None:
    """Raises AudioError where the suffix is not of an audio format that can be written here."""
    import soundfile

    suffix = path.suffix.lower()
    if suffix not in FORMATS or FORMATS[suffix][0] not in soundfile.available_formats():
        writable = ", ".join(s for s, (f, _) in FORMATS.items() if f in soundfile.available_formats())
        raise AudioError(f"cannot write audio as {suffix or 'a file without suffix'!r}; choose one of {writable}")
