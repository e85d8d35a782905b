"""The plan in the ids: what bars say before their notes, where that stands, what of it training hides, and old vocabularies."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from midivibe.midi.notes import Notes
from midivibe.midi.theory import QUALITIES
from midivibe.plan.chords import Chord
from midivibe.plan.reading import Reading
from midivibe.tokens import layout
from midivibe.tokens.grammar import Grammar
from midivibe.tokens.holes import Window, leaping, random_holes
from midivibe.tokens.leads import Lead, chord_code, chords_in, is_plan, without
from midivibe.tokens.places import coordinates
from midivibe.tokens.rules import Opening, Rules
from midivibe.tokens.vocabulary import CHORD_CODES, LONGEST_ENDING, RETURN, ROOT, SECTION, SECTIONS, Vocabulary
from tests.conftest import random_notes, same

OLD = 605
"""Names of the vocabulary before plans; all of them keep their ids."""


def random_leads(rng: np.random.Generator, bars: int, ticks: list[int]) -> list[Lead]:
    """A plan in which some bars say all, some nothing."""
    leads = []
    for bar in range(bars):
        section = str(rng.choice(SECTIONS)) if bar == 0 or rng.random() < 0.3 else ""
        chords: list[tuple[int, int, str]] = []
        for tick in (0, ticks[bar] // 2) if rng.random() < 0.8 else ():
            if tick == 0 or rng.random() < 0.5:
                none = rng.random() < 0.1
                chords.append((tick, -1, "none") if none else (tick, int(rng.integers(12)), str(rng.choice(list(QUALITIES)))))
        back = int(rng.integers(1, bar + 1)) if bar and rng.random() < 0.4 else 0
        leads.append(Lead(section, int(rng.integers(1, 40)) if section else 0, back, tuple(chords)))
    return leads


def planned(seed: int, v: Vocabulary, bars: int = 6) -> tuple[Notes, list[Lead], np.ndarray]:
    notes = random_notes(seed, v, bars)
    leads = random_leads(np.random.default_rng(seed), bars, np.diff(notes.bar_start).tolist())
    return notes, leads, layout.encode(notes, v, leads=leads)[0]


def header(notes: Notes, v: Vocabulary, order: list[int]) -> list[int]:
    return layout.Header(tuple(order), meter=notes.bar_meter[0], tempo=float(notes.bar_tempo[0])).ids(v)


@pytest.mark.parametrize("seed", range(8))
def test_leads_are_read_back_and_leave_the_notes_alone(seed: int, v: Vocabulary) -> None:
    notes, leads, ids = planned(seed, v)
    order = sorted(set(notes.program.tolist()))
    assert same(layout.decode([*header(notes, v, order), *ids], v).notes, notes)
    for lead, prefix in zip(leads, Window.cut(ids, v).prefix, strict=True):
        assert chords_in(prefix, v) == lead.chords
    plain = layout.encode(notes, v)[0]
    assert without(ids, v, chords=True, sections=True, returns=True).tolist() == plain.tolist()
    assert ids[~is_plan(ids, v)].tolist() == plain.tolist()
    assert not (v.type[without(ids, v, sections=True)] == SECTION).any()


@pytest.mark.parametrize("seed", range(16))
def test_places_one_by_one_are_those_of_the_whole(seed: int, v: Vocabulary) -> None:
    """With holes, chords that the fill writes, and chords that are known beforehand."""
    notes, _, ids = planned(seed, v)
    rng = random.Random(seed)
    order = sorted(set(notes.program.tolist()))
    window = Window.cut(ids, v)
    ahead = seed % 4 == 3
    if ahead:
        whole = np.concatenate([header(notes, v, order), ids, [v["EOS_None"]]])
        fill = None
    else:
        holes = random_holes(rng, window.bars, order)
        unwritten = frozenset(bar for bar, _ in holes) if seed % 2 else frozenset()
        context = window.context(order, holes, v, unwritten)
        written = window.fill(order, holes, v, unwritten)
        whole = np.concatenate([header(notes, v, order), context, written, [v["EOS_None"]]])
        fill = [(b, tuple(p for p in order if (b, p) in holes)) for b in sorted({b for b, _ in holes})]
    first = [chords_in(p, v)[:1] for p in window.prefix]
    coming = [chord_code(c[0][1], c[0][2]) if c else 0 for c in [*first[1:], ()]]
    rules = Rules(plan=(lambda bar: Opening(coming=coming[bar])) if ahead else None)
    grammar = Grammar(v, rules, fill)
    grammar.total_bars = window.bars
    places = coordinates(whole, v, ahead)
    for i, token in enumerate(whole.tolist()):
        grammar.push(token)
        assert grammar.coordinates == tuple(places[i]), (i, v.names[token])
    assert places[:, 5:7].max() < CHORD_CODES
    assert places[:, 7].max() <= LONGEST_ENDING


@pytest.mark.parametrize("seed", range(6))
def test_bars_say_what_they_must_and_the_model_the_rest(seed: int, v: Vocabulary) -> None:
    rng = np.random.default_rng(seed)
    asked = [(0, 7, "7"), (24, 0, "maj")]
    openings = {
        0: Opening(tuple(Lead("A", 2).ids(v)), chords=True),
        1: Opening(tuple(Lead(chords=tuple(asked)).ids(v))),
        2: Opening(tuple(Lead("B", 4).ids(v)), returns=True, chords=True),
        3: Opening(),
    }
    grammar = Grammar(v, Rules(bars=4, programs=(0, 33), plan=openings.__getitem__, max_bar_tokens=20))
    ids: list[int] = []
    quick = {v["Bar_None"], v["EOS_None"]}
    while not ids or ids[-1] != v["EOS_None"]:
        allowed = np.flatnonzero(grammar.allowed())
        ending = [t for t in allowed.tolist() if t in quick]
        ids.append(ending[0] if ending else int(rng.choice(allowed)))
        grammar.push(ids[-1])
    prefix = Window.cut(np.array(ids[np.argmax(v.type[ids] == v.type[v["Bar_None"]]) :]), v).prefix
    assert [v.names[t] for t in prefix[0][1:3]] == ["Section_A", "Length_2"]
    assert len(chords_in(prefix[0], v)) >= 1
    assert chords_in(prefix[1], v) == tuple(asked)
    assert all(0 < v.value[t] <= 2 for t in prefix[2] if v.type[t] == RETURN)
    assert len(chords_in(prefix[2], v)) >= 1
    assert not is_plan(prefix[3], v).any()
    ticks = [tick for tick, _, _ in chords_in(prefix[0], v)]
    assert ticks == sorted(set(ticks))
    assert layout.decode(ids, v).notes.bars == 4


@pytest.mark.parametrize("seed", range(12))
def test_a_leap_keeps_what_still_holds(seed: int, v: Vocabulary) -> None:
    notes = replace(random_notes(6 * seed, v, 12), bar_tempo=np.full(12, float(v.tempos[10])))
    sections = [Lead("A", 6), *[Lead()] * 5, Lead("B", 6), *[Lead()] * 5]
    leads = [replace(lead, back=1 + bar // 2 if bar > 1 else 0) for bar, lead in enumerate(sections)]
    window = Window.cut(layout.encode(notes, v, leads=leads)[0], v)
    shorter = leaping(random.Random(seed), window, v)
    kept = [next(b for b in range(12) if cells is window.cells[b]) for cells in shorter.cells]
    assert 4 <= len(kept) < 12
    assert kept[:2] == [0, 1]
    assert kept[-2:] == [10, 11]
    places = coordinates(np.concatenate([header(notes, v, [0]), *shorter.prefix]), v)
    last = np.flatnonzero(np.diff(places[:, 0], append=99))
    for new, old in enumerate(kept):
        left = (6 if old < 6 else 12) - old
        assert places[last[-len(kept) + new], 7] == left
        source = old - (1 + old // 2) if old > 1 else -1
        assert places[last[-len(kept) + new], 8] == (kept.index(source) + 1 if source in kept else 0)
    assert leaping(random.Random(seed), Window(window.prefix[:7], window.cells[:7]), v).bars == 7


def test_a_reading_says_chords_sections_and_returns(v: Vocabulary) -> None:
    """Eight bars of Am F C G twice, then eight of others: chords in every bar, moved by the shift; bars 4 on return."""
    roots, thirds = [9, 5, 0, 7], [3, 4, 4, 4]
    rows = []
    for bar in range(24):
        at = bar % 4 if bar < 16 else (bar + 1) % 4
        for tone in (0, thirds[at], 7):
            rows.append((bar * 48 + (0 if bar < 16 else 12 * (bar % 2)), 36, 48 + (roots[at] + tone) % 12, 6, 0))
        rows.append((bar * 48, 48, 36 + roots[at], 6, 33))
    onset, duration, pitch, velocity, program = np.array(sorted(rows)).T
    notes = Notes(
        onset, duration, pitch, v.velocities[velocity], program, 12, np.arange(25) * 48, np.full(24, 120.0), [(4, 4)] * 24
    )
    reading = Reading.of(notes)
    assert [c[0][1] for c in reading.chords[:4]] == [Chord.parse(c) for c in ("Am", "F", "C", "G")]
    leads = reading.leads(2, 10, shift=2)
    assert leads[0].chords == ((0, 2, "maj"),)
    assert all(lead.chords for lead in leads)
    assert [lead.back for lead in leads[4:8]] == [4] * 4  # bars 7 to 10 repeat those of the window
    assert leads[0].back == 0
    marked = Reading.of(notes, [(0, "Verse 1"), (8 * 48, "Chorus"), (16 * 48, "Bridge")])
    assert [(lead.section, lead.left) for lead in marked.leads(6, 10)] == [("A", 2), ("", 0), ("B", 8), ("", 0)]


def test_earlier_vocabularies_keep_their_ids_and_say_nothing(v: Vocabulary) -> None:
    old = Vocabulary(v.names[:OLD])
    assert len(old.of_type[ROOT]) == 0
    assert not old.plans
    assert Lead("A", 4, 1, ((0, 0, "maj"),)).ids(old) == []
    notes = random_notes(3, old)
    ids = np.concatenate([header(notes, old, sorted(set(notes.program.tolist()))), layout.encode(notes, old)[0]])
    assert coordinates(ids, old)[:, 5:].sum() == 0
    assert coordinates(ids, old)[:, :5].tolist() == coordinates(ids, v)[:, :5].tolist()
