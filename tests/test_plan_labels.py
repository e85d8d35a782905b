"""Chords and form read from notes: laws on music built by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from midivibe.errors import InputError
from midivibe.midi.notes import DRUMS, Notes
from midivibe.midi.theory import QUALITIES
from midivibe.plan import chords, form
from midivibe.plan.chords import NO_CHORD, Chord, changes, chords_of
from midivibe.plan.form import Section, named_bars, parse_form, repeats_of, section_name, sections_of, write_form

TPB = 96
Row = tuple[float, float, int, int]  # onset and length in quarters, pitch, program


def music(rows: list[Row], meter: tuple[int, int] = (4, 4), bars: int | None = None, tempo: float = 120.0) -> Notes:
    """Notes from rows, in one meter."""
    table = np.array(sorted(rows, key=lambda r: (r[0], r[3], r[2])), dtype=float).reshape(-1, 4)
    length = TPB * 4 * meter[0] // meter[1]
    onset, duration = (np.round(table[:, k] * TPB).astype(np.int64) for k in (0, 1))
    count = bars or max(1, -(-int((onset + duration).max(initial=1)) // length))
    pitch, program = table[:, 2].astype(np.int64), table[:, 3].astype(np.int64)
    return Notes(
        onset, duration, pitch, np.full(len(onset), 80), program, TPB, np.arange(count + 1) * length,
        np.full(count, tempo), [meter] * count,
    )  # fmt: skip


def block(at: float, length: float, root: int, quality: str, inversion: int = 0) -> list[Row]:
    """A chord in close position with its root (or another tone) doubled in the bass."""
    tones = QUALITIES[quality]
    bass = tones[inversion % len(tones)]
    return [(at, length, 36 + (root + bass) % 12, 32)] + [(at, length, 60 + root + t, 0) for t in tones]


def beat_of(rows: list[Row], n: int) -> list[Row]:
    return rows + [(float(k), 0.25, 36 if k % 2 else 38, DRUMS) for k in range(n)]


def third_of(chord: Chord) -> tuple[int, str]:
    """Root and kind of triad."""
    return chord.root, {"7": "maj", "maj7": "maj", "m7": "min", "m7b5": "dim"}.get(chord.quality, chord.quality)


# Symbols ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "chord", "again"),
    [
        ("Am", Chord(9, "min"), "Am"),
        ("F#m7b5", Chord(6, "m7b5"), "F#m7b5"),
        ("C/E", Chord(0, "maj", 4), "C/E"),
        ("Bbmaj7", Chord(10, "maj7"), "Bbmaj7"),
        ("A7/G", Chord(9, "7", 7), "A7/G"),
        ("Gsus4", Chord(7, "sus4"), "Gsus4"),
        ("C9", Chord(0, "7"), "C7"),
        ("C6", Chord(0, "maj"), "C"),
        ("Cmin7", Chord(0, "m7"), "Cm7"),
        ("B♭", Chord(10, "maj"), "Bb"),
        ("C+", Chord(0, "aug"), "Caug"),
        ("Cb", Chord(11, "maj"), "B"),
        ("C/C", Chord(0, "maj"), "C"),
        ("N.C.", NO_CHORD, "N.C."),
    ],
)
def test_symbols_are_read_and_written(text: str, chord: Chord, again: str) -> None:
    assert Chord.parse(text) == chord
    assert chord.symbol() == again


def test_every_chord_survives_its_symbol() -> None:
    for root in range(12):
        for quality in QUALITIES:
            for bass in (None, (root + QUALITIES[quality][1]) % 12):
                chord = Chord(root, quality, bass)
                assert Chord.parse(chord.symbol()) == chord
                assert chord.transposed(5).transposed(7) == chord


def test_a_symbol_is_spelled_for_its_key() -> None:
    from midivibe.midi.theory import Key

    assert Chord(10, "min").symbol(Key.parse("Db")) == "Bbm"
    assert Chord(10, "min").symbol(Key.parse("B")) == "A#m"


@pytest.mark.parametrize("text", ["H", "am", "Cfoo", "", "C/", "C/H", "Am F"])
def test_an_unknown_symbol_is_named(text: str) -> None:
    with pytest.raises(InputError, match=r"unknown chord .*; write a root A to G.*Am7b5"):
        Chord.parse(text)


@pytest.mark.parametrize(
    ("root", "quality", "bass", "why"),
    [(0, "major", None, "unknown chord quality 'major'"), (12, "maj", None, "0 to 11"), (0, "maj", 12, "0 to 11"),
     (-1, "maj", None, "no chord has"), (-1, "none", 3, "no chord has")],
)  # fmt: skip
def test_a_chord_that_cannot_be_is_refused(root: int, quality: str, bass: int | None, why: str) -> None:
    with pytest.raises(InputError, match=why):
        Chord(root, quality, bass)


def test_pitch_classes() -> None:
    assert Chord(9, "min").pitch_classes == (9, 0, 4)
    assert Chord(0, "maj", 2).pitch_classes == (0, 4, 7, 2)
    assert NO_CHORD.pitch_classes == ()


# Chords from notes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("meter", [(4, 4), (3, 4), (6, 8), (12, 8)])
@pytest.mark.parametrize("quality", list(QUALITIES))
def test_block_chords_are_found(quality: str, meter: tuple[int, int]) -> None:
    bar = 4 * meter[0] / meter[1]
    for inversion in range(3 if quality in ("maj", "min") else 1):
        roots = [(5 * k) % 12 for k in range(12)]
        rows = [row for k, root in enumerate(roots) for row in block(k * bar, bar, root, quality, inversion)]
        labels = chords_of(music(rows, meter))
        found = [{third_of(labels.chord(b)) for b in np.flatnonzero(labels.bar == k)} for k in range(12)]
        assert found == [{third_of(Chord(root, quality))} for root in roots]


@pytest.mark.parametrize("quality", ["maj", "min", "7", "maj7", "m7", "dim", "m7b5", "aug"])
def test_a_chord_alone_has_its_quality(quality: str) -> None:
    labels = chords_of(music([row for k in range(4) for row in block(4 * k, 4, 2, quality)]))
    assert {labels.chord(beat) for beat in range(len(labels))} == {Chord(2, quality)}


@pytest.mark.parametrize("meter", [(4, 4), (3, 4), (6, 8), (9, 8), (12, 8), (7, 8), (2, 2), (3, 8)])
def test_the_beat_of_each_meter(meter: tuple[int, int]) -> None:
    labels = chords_of(music(block(0, 8, 0, "maj"), meter))
    beats = {(4, 4): 4, (3, 4): 3, (6, 8): 2, (9, 8): 3, (12, 8): 4, (7, 8): 4, (2, 2): 4, (3, 8): 1}[meter]
    assert (labels.bar == 0).sum() == beats
    assert labels.start[0] == 0 and (np.diff(labels.start) > 0).all()


def progression(shift: int = 0) -> list[Row]:
    rows: list[Row] = []
    for k, symbol in enumerate(["Am", "F", "C", "G", "Dm7", "E7", "Am", "Am"]):
        chord = Chord.parse(symbol)
        rows += block(4 * k, 4, chord.root, chord.quality)
        rows += [(4 * k + i, 0.5, 76 + (i * 3) % 7, 73) for i in range(4)]
    return [(at, length, pitch + shift, program) for at, length, pitch, program in rows]


def test_labels_move_with_the_music() -> None:
    home = chords_of(music(progression()))
    for shift in range(-6, 6):
        moved = chords_of(music(progression(shift)))
        assert (moved.quality == home.quality).all()
        assert (moved.root == (home.root + shift) % 12).all()
        assert (moved.bass == (home.bass + shift) % 12).all()


def test_drums_change_nothing() -> None:
    plain, beaten = chords_of(music(progression())), chords_of(music(beat_of(progression(), 32)))
    drummed = chords_of(music([*progression(), *((float(k), 1.0, 61, 117) for k in range(32))]))  # toms on a melodic channel
    for other in (beaten, drummed):
        assert (plain.root == other.root).all() and (plain.quality == other.quality).all()


def test_time_may_be_counted_in_other_ticks() -> None:
    notes = music(progression())
    fine = replace(
        notes, onset=notes.onset * 5, duration=notes.duration * 5, bar_start=notes.bar_start * 5, ticks_per_beat=5 * TPB
    )
    a, b = chords_of(notes), chords_of(fine)
    assert (a.root == b.root).all() and (a.quality == b.quality).all() and (5 * a.start == b.start).all()


@pytest.mark.parametrize("meter", [(3, 8), (6, 8), (7, 8), (1, 16), (5, 4)])
def test_a_file_of_one_tick_a_beat(meter: tuple[int, int]) -> None:
    length = max(1, round(4 * meter[0] / meter[1]))
    notes = replace(
        music(block(0, 0.05, 0, "maj"), meter), ticks_per_beat=1, duration=np.full(4, 3), bar_start=np.arange(9) * length,
        bar_meter=[meter] * 8, bar_tempo=np.full(8, 120.0),
    )  # fmt: skip
    labels = chords_of(notes)
    assert (np.diff(labels.start) > 0).all() and labels.root[0] == 0
    assert sections_of(notes).sections[-1].end == 8


def test_silence_and_no_bars_have_no_chord() -> None:
    silent = chords_of(music([], bars=3))
    assert len(silent) == 12 and {silent.chord(k) for k in range(12)} == {NO_CHORD}
    empty = music([])
    nothing = chords_of(replace(empty, bar_start=np.zeros(1, dtype=np.int64), bar_meter=[], bar_tempo=np.zeros(0)))
    assert len(nothing) == 0 and changes(nothing) == [] and nothing.at(0) == NO_CHORD


def test_only_drums_have_no_chord() -> None:
    labels = chords_of(music(beat_of([], 16)))
    assert (labels.root == -1).all() and (labels.quality == -1).all() and (labels.bass == -1).all()


def test_arpeggios_are_one_chord() -> None:
    shape = (0, 7, 12, 16) * 2
    rows = [(4 * k + i / 2, 0.5, 48 + root + t, 24) for k, root in enumerate((0, 5, 7, 0)) for i, t in enumerate(shape)]
    labels = chords_of(music(rows))
    assert [(bar, position, chord.symbol()) for bar, position, chord in changes(labels, "bar")] == [
        (0, 0, "C"), (1, 0, "F"), (2, 0, "G"), (3, 0, "C"),
    ]  # fmt: skip


@pytest.mark.parametrize(("third", "mode"), [(4, "maj"), (3, "min")])
def test_a_power_chord_takes_the_third_of_its_surroundings(third: int, mode: str) -> None:
    full = [(4.0 * k, 4.0, p, 30) for k in (0, 5) for p in (40, 47, 52, 52 + third)]
    power = [(4.0 * k, 4.0, p, 30) for k in range(1, 5) for p in (40, 47, 52)]
    labels = chords_of(music(full + power))
    assert (labels.root == 4).all()
    assert {list(QUALITIES)[q] for q in labels.quality} == {mode}


def test_chords_over_a_pedal_bass_are_heard() -> None:
    rows = [(4.0 * k, 4.0, 36, 33) for k in range(4)]
    for k, root in enumerate((0, 5, 2, 0)):
        rows += [(4.0 * k, 4.0, 60 + root + t + octave, 48) for t in (0, 4, 7) for octave in (0, 12)]
    labels = chords_of(music(rows))
    assert [chord.root for _, _, chord in changes(labels, "bar")] == [0, 5, 2, 0]


def test_changes_by_beat_half_and_bar() -> None:
    rows = block(0, 2, 0, "maj") + block(2, 2, 5, "maj") + block(4, 4, 7, "maj")
    labels = chords_of(music(rows))
    assert [(b, p, c.symbol()) for b, p, c in changes(labels, "half")] == [(0, 0, "C"), (0, 2 * TPB, "F"), (1, 0, "G")]
    assert changes(labels, "beat") == changes(labels, "half")
    assert [(b, p) for b, p, _ in changes(labels, "bar")] == [(0, 0), (1, 0)]
    assert labels.at(TPB).symbol() == "C" and labels.at(5 * TPB).symbol() == "G" and labels.at(99 * TPB) == NO_CHORD
    with pytest.raises(InputError, match="per beat, half or bar"):
        changes(labels, "quarter")


# Form strings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["i4 A8 A8 B8 A8 o4", "A1", "i2 A16 b8 s12 o128"])
def test_a_form_survives_its_string(text: str) -> None:
    assert write_form(parse_form(text)) == text
    assert write_form(parse_form(text.replace(" ", ""))) == text


def test_a_bare_letter_has_eight_bars() -> None:
    assert parse_form("AABA") == tuple(Section(letter, 8 * k, 8) for k, letter in enumerate("AABA"))
    assert parse_form("i4AA") == (Section("i", 0, 4), Section("A", 4, 8), Section("A", 12, 8))
    assert [s.end for s in parse_form("A4, B4 | A4 - o2")] == [4, 8, 12, 14]


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "empty form"), ("8A", "cannot read the form '8A' at '8A'"), ("A8 ?", r"at '\?'"), ("x4", "unknown section 'x'"),
     ("A0", "1 to 128 bars, not 0"), ("A8 B999", "not 999"), ("a8", "unknown section 'a'.*i \\(intro\\)")],
)  # fmt: skip
def test_nonsense_is_no_form(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse_form(text)


def test_sections_are_checked() -> None:
    with pytest.raises(InputError, match="unknown section 'AB'"):
        Section("AB", 0, 8)
    with pytest.raises(InputError, match="has 0 bars"):
        Section("A", 0, 0)


# Form from music --------------------------------------------------------------------------------------------------------


def part(at: int, seed: int, roots: list[int], program: int, drum: int) -> list[Row]:
    """Eight bars with a melody of their own."""
    draw = np.random.default_rng(seed)
    rows: list[Row] = [(4.0 * at, 0.5, 49, DRUMS)]
    for bar, root in enumerate(roots * 2):
        rows += block(4.0 * (at + bar), 4, root, "maj")
        slots = np.sort(draw.choice(8, 5, replace=False))
        rows += [(4.0 * (at + bar) + s / 2, 0.5, 72 + int(draw.choice([0, 2, 4, 5, 7, 9])), program) for s in slots]
        rows += [(4.0 * (at + bar) + k, 0.25, (36, drum)[k % 2], DRUMS) for k in range(4)]
    return rows


def aba() -> Notes:
    first, second = [0, 5, 7, 0], [9, 2, 4, 9]
    return music(part(0, 1, first, 73, 38) + part(8, 2, second, 65, 42) + part(16, 1, first, 73, 38))


def test_a_piece_in_three_parts_is_aba() -> None:
    found = sections_of(aba())
    assert [(s.start, s.bars) for s in found.sections] == [(0, 8), (8, 8), (16, 8)]
    letters = [s.letter for s in found.sections]
    assert letters[0] == letters[2] != letters[1]
    assert not found.marked and 0 < found.confidence <= 1


def test_bars_that_return_point_at_the_first_time() -> None:
    repeats = repeats_of(aba())
    assert repeats[16:].tolist() == list(range(8))
    assert (repeats[:16] < np.arange(16)).all()
    assert (repeats_of(music([], bars=4)) == -1).all()


def test_markers_go_before_what_is_heard() -> None:
    bar = 4 * TPB
    markers = [(0, "Intro"), (4 * bar, "Verse 1"), (12 * bar, "CHORUS"), (16 * bar, "verse 2"), (20 * bar, "(c) 1999 me")]
    found = sections_of(aba(), markers)
    assert found.marked and found.confidence == 1.0
    assert str(found) == "i4 A8 B4 A8"


def test_a_bar_before_the_first_marker_is_intro() -> None:
    bar = 4 * TPB
    assert str(sections_of(aba(), [(2 * bar, "A"), (10 * bar, "B"), (18 * bar, "A")])) == "i2 A8 B8 A6"


@pytest.mark.parametrize(
    "markers",
    [[], [(0, "Verse"), (4 * TPB, "Chorus")], [(0, "Verse")] * 5, [(k * 1000 + 150, "Verse") for k in range(6)],
     [(k * 4 * TPB, "Verse") for k in range(5)], [(k * 4 * TPB, f"by me {k}") for k in range(9)]],
)  # fmt: skip
def test_markers_that_say_little_are_not_trusted(markers: list[tuple[int, str]]) -> None:
    assert named_bars(markers, aba()) == []


def test_names_of_sections() -> None:
    names = {"2nd Verse": "verse", "CHOROUS 1": "chorus", "Pre-Chorus": "pre", "Guitar solo": "s", "Coda": "o",
             "b2": "letter b", "Middle 8": "b", "Intro": "i", "copyright (c) 1994": None, "": None}  # fmt: skip
    assert {text: section_name(text) for text in names} == names


def test_sections_cover_the_piece() -> None:
    draw = np.random.default_rng(0)
    for bars in (1, 2, 5, 33, 70):
        at, pitch, program = draw.uniform(0, 4 * bars - 1, 90), draw.integers(40, 80, 90), draw.integers(-1, 100, 90)
        rows = [(float(t), 1.0, int(p), int(q)) for t, p, q in zip(at, pitch, program, strict=True)]
        notes = music(rows, bars=bars)
        found = sections_of(notes).sections
        assert found[0].start == 0 and found[-1].end == bars
        assert all(a.end == b.start for a, b in itertools.pairwise(found))


def test_music_without_notes_has_no_form() -> None:
    found = sections_of(music([], bars=8))
    assert found.sections == () and found.confidence == 0
    assert chords.chords_of(music([], bars=8)).at(0) == NO_CHORD
    assert form.write_form(found.sections) == ""
