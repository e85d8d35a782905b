"""Audio, piano rolls and files: measured, and never half-written."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
from PIL import Image
from symusic import Note, Score, Tempo, TimeSignature, Track

from midivibe.errors import AudioError, MidiError, OutputError, SoundfontError
from midivibe.files import replacing
from midivibe.midi.score import read, write
from midivibe.output import audio
from midivibe.output.pianoroll import plot_score

needs_sound = pytest.mark.skipif(audio.synthesizer() is None, reason="no synthesizer on this machine")


@pytest.fixture
def score() -> Score:
    score = Score(480)
    score.tempos.append(Tempo(0, 120))
    score.time_signatures.append(TimeSignature(0, 4, 4))
    for program, drums, pitch in ((0, False, 60), (33, False, 36), (48, False, 67), (0, True, 38)):
        track = Track(f"part {program}", program, drums)
        for i in range(8):
            track.notes.append(Note(i * 240, 200, pitch + (0 if drums else i), 60 + 8 * i))
        score.tracks.append(track)
    return score


@needs_sound
def test_audio_is_stereo_normalised_and_ends_when_the_sound_ends(score: Score, tmp_path: Path) -> None:
    import soundfile

    for suffix in (".wav", ".flac", ".ogg"):
        audio.render_score(score, tmp_path / f"x{suffix}")
        samples, rate = soundfile.read(tmp_path / f"x{suffix}")
        assert rate == 44_100
        assert samples.shape[1] == 2
        assert np.abs(samples).max() == pytest.approx(10 ** (-1 / 20), abs=0.05 if suffix == ".ogg" else 0.001)
        assert 2.0 < len(samples) / rate < 2.0 + audio.LONGEST_TAIL
        assert np.abs(samples[: rate // 2]).max() > 0.01
    samples, rate = soundfile.read(tmp_path / "x.wav")
    last = np.abs(samples[-rate // 20 :]).max()
    assert 0 < last < 0.01  # neither cut off nor followed by silence
    assert not np.array_equal(samples[:, 0], samples[:, 1])


@needs_sound
def test_a_very_loud_score_does_not_clip(score: Score) -> None:
    for track in score.tracks:
        for pitch in range(40, 90, 2):
            track.notes.append(Note(0, 900, pitch, 127))
    samples = audio.render(score)
    assert np.abs(samples).max() <= 10 ** (-1 / 20) + 1e-6
    flat = (np.abs(np.diff(samples[:, 0])) < 1e-7) & (np.abs(samples[1:, 0]) > 0.8)
    assert flat.mean() < 0.001


@needs_sound
def test_silence_is_refused() -> None:
    with pytest.raises(AudioError, match="no sound"):
        audio.render(Score(480))


def test_soundfonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert audio.find_soundfont().suffix in (".sf2", ".sf3")
    with pytest.raises(SoundfontError, match="no soundfont at"):
        audio.find_soundfont(tmp_path / "none.sf2")
    monkeypatch.setenv("MIDIVIBE_SOUNDFONT", str(tmp_path / "other.sf2"))
    with pytest.raises(SoundfontError, match="MIDIVIBE_SOUNDFONT"):
        audio.find_soundfont()
    (tmp_path / "other.sf2").write_bytes(b"not a soundfont")
    assert audio.find_soundfont() == tmp_path / "other.sf2"


@needs_sound
def test_a_damaged_soundfont_is_refused(tmp_path: Path, score: Score) -> None:
    (tmp_path / "other.sf2").write_bytes(b"not a soundfont")
    with pytest.raises(SoundfontError, match="cannot load"):
        audio.render(score, tmp_path / "other.sf2")


def test_unknown_audio_formats_are_named(tmp_path: Path, score: Score) -> None:
    for name in ("x.xyz", "x"):
        with pytest.raises(AudioError, match=r"choose one of \.wav"):
            audio.render_score(score, tmp_path / name)


def test_without_a_synthesizer_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, score: Score) -> None:
    monkeypatch.setattr(audio, "synthesizer", lambda: None)
    with pytest.raises(AudioError, match="libfluidsynth3"):
        audio.render(score)


def test_piano_roll(score: Score, tmp_path: Path) -> None:
    plot_score(score, tmp_path / "roll.png", "title", "caption")
    picture = np.asarray(Image.open(tmp_path / "roll.png").convert("RGB"))
    assert picture.shape[:2] == (700, 1200)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    plot_score(Score(480), tmp_path / "empty.png")
    score.tracks[0].name = "$^$"
    plot_score(score, tmp_path / "dollars.png", "A$AP_$", "$$")


def test_midi_files_round_trip_and_too_many_parts_are_refused(score: Score, tmp_path: Path) -> None:
    write(score, tmp_path / "x.mid")
    back = read(tmp_path / "x.mid")
    assert back.note_num() == score.note_num()
    assert [t.name for t in back.tracks if len(t.notes)] == [t.name for t in score.tracks]
    for title, name in (
        ("東京 – e\u0301", "東京 – e\u0301"),
        ("caf\udce9", "caf?"),
    ):  # the second is a file's name that is no text
        write(score, tmp_path / "named.mid", title)
        assert mido.MidiFile(tmp_path / "named.mid", charset="utf-8").tracks[0][0].name == name
    for i in range(15):
        score.tracks.append(Track(f"more {i}", i, False))
    with pytest.raises(MidiError, match="15"):
        write(score, tmp_path / "y.mid")
    assert not (tmp_path / "y.mid").exists()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not a MIDI file"),
        (b"hello", "not a MIDI file"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\xe7\x28", "SMPTE"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0MTrk\x00\x00\xff\xff\x00", "cannot read"),
    ],
)
def test_bad_midi_is_refused_in_words(tmp_path: Path, data: bytes, match: str) -> None:
    (tmp_path / "x.mid").write_bytes(data)
    with pytest.raises(MidiError, match=match):
        read(tmp_path / "x.mid")


def test_truncated_midi_never_escapes_as_another_error(score: Score, tmp_path: Path) -> None:
    write(score, tmp_path / "x.mid")
    whole = (tmp_path / "x.mid").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.mid").write_bytes(whole[:length])
        try:
            read(tmp_path / "cut.mid")
        except MidiError as error:
            assert "cut.mid" in str(error)
    with pytest.raises(MidiError, match="no MIDI file"):
        read(tmp_path / "nowhere.mid")
    with pytest.raises(MidiError, match="not a file"):
        read(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "song.mid"
    target.write_text("old")
    with pytest.raises(OutputError, match="No space left"), replacing(target) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert target.read_text() == "old"
    with pytest.raises(KeyboardInterrupt), replacing(target) as temporary:
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(OutputError, match="folder"), replacing(tmp_path):
        pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"), replacing(tmp_path / "file" / "x.mid"):
        pass
