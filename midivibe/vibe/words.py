"""Words → `Words`, a vibe and exact requests: "slow sad piano in D minor, 70 bpm, over Dm Bb F C". Never fails on any text.

Mood words carry valence and arousal (data/moods.json: Glasgow Norms, CC BY 4.0, with overrides for music), some also
other axes. "not" turns a word round, "very" and "slightly" scale it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

from midivibe.errors import InputError
from midivibe.midi.instruments import _BY_NAME as INSTRUMENT_NAMES
from midivibe.midi.instruments import name_of, programs_of_kind
from midivibe.midi.theory import MAJOR_SCALE, MINOR_SCALE, Key
from midivibe.plan.chords import Chord
from midivibe.plan.plan import parse_bars, show_bars
from midivibe.vibe.axes import AXES, Vibe, blend

TEMPO_WORDS = {
    "larghissimo": 28, "grave": 40, "largo": 50, "lento": 54, "larghetto": 62, "adagio": 66, "adagietto": 70,
    "andante": 84, "andantino": 92, "moderato": 108, "allegretto": 116, "allegro": 132, "vivace": 160, "presto": 176,
    "prestissimo": 200, "slow": 68, "fast": 144, "quick": 138, "rapid": 156, "uptempo": 136, "up-tempo": 136,
    "midtempo": 104, "mid-tempo": 104, "downtempo": 84, "hurried": 140, "sluggish": 56,
}  # fmt: skip
STYLE_WORDS = {
    "rock": "rock", "punk": "rock", "metal": "rock", "pop": "pop", "disco": "pop", "country": "country", "western": "country",
    "bluegrass": "country", "rap": "rap", "hiphop": "rap", "hip-hop": "rap", "trap": "rap", "rnb": "rnb", "r&b": "rnb",
    "soul": "rnb", "funk": "rnb", "classic": "classic", "classical": "classic", "orchestral": "classic",
    "baroque": "classic", "game": "games", "games": "games", "videogame": "games", "chiptune": "games", "folk": "folk",
    "celtic": "folk", "irish": "folk", "children": "children", "kids": "children", "nursery": "children",
}  # fmt: skip
LONGEST = 20_000
"""Characters of a text that are read."""
MIDDLE_TEMPO, SLOWEST, FASTEST = 104.0, 40.0, 220.0
"""Beats a minute that are neither slow nor fast, and the ends of what tempo words can ask for."""
TURNED = 0.6
"""How far "not" turns a word round: "not sad" is less happy than "happy"."""
MOST = 4.0
"""Most that "very very ..." can scale a word."""
STRONGER = {"very": 1.4, "really": 1.4, "extremely": 1.7, "so": 1.3, "super": 1.5, "incredibly": 1.6, "deeply": 1.4, "too": 1.3}
WEAKER = {
    "slightly": 0.5,
    "somewhat": 0.6,
    "bit": 0.5,
    "little": 0.5,
    "mildly": 0.5,
    "fairly": 0.8,
    "rather": 0.9,
    "quite": 0.9,
}
NEGATIONS = {"not", "no", "without", "never", "isn't", "don't", "less", "aren't", "minus", "non"}
FILLERS = set(
    "a an the and or of in on at with for to from my me i it its is are be some something piece music song track tune make "
    "like feel feels feeling feelings mood that this but as by please into kind sort time key bars bar meter chord "
    "chords".split()
)


@dataclass(frozen=True)
class Words:
    """What a text asks for. `understood` lists (words, meaning), `ignored` the words that said nothing."""

    vibe: Vibe = field(default_factory=Vibe)
    tempo: float | None = None
    key: Key | None = None
    mode: str | None = None
    meter: tuple[int, int] | None = None
    programs: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    style: str | None = None
    form: str | None = None
    chords: str | None = None
    bars: int | None = None
    """of each section, or of the piece where it has none: the 12 of a blues"""
    understood: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()


@cache
def moods() -> dict[str, dict[str, Any]]:
    """The word table: word → valence and arousal in -1..1, and `axes` as percentiles."""
    words: dict[str, dict[str, Any]] = json.loads((files("midivibe") / "data" / "moods.json").read_text())["words"]
    return words


def stem(word: str) -> str | None:
    """The mood word that `word` is a simple inflection of, or None: sadness, sadly, sadder, saddest → sad."""
    table = moods()
    candidates = [word]
    for suffix in ("ness", "ly", "er", "est", "ful", "fully", "s", "ing", "ed", "y", "al", "ally", "ic", "ish", "ity", "ous"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            base = word[: -len(suffix)]
            candidates += [base, base + "e", base + "y"]
            if base.endswith("i"):
                candidates.append(base[:-1] + "y")
            if len(base) > 3 and base[-1] == base[-2]:
                candidates.append(base[:-1])
    candidates += [word + suffix for suffix in ("y", "ful", "ing", "ous", "ed") if len(word) >= 4]
    return next((c for c in candidates if c in table), None)


def word_vibe(word: str, strength: float = 1.0) -> Vibe:
    """The vibe of one mood word; `strength` below 0 turns it round, above 1 pushes it out."""
    entry = moods()[word]
    axes: dict[str, float] = {}
    for axis in ("valence", "arousal"):
        if axis in entry:
            axes[axis] = min(0.97, max(0.03, 0.5 + 0.5 * strength * entry[axis]))
    for axis, value in entry.get("axes", {}).items():
        axes[axis] = min(0.97, max(0.03, 0.5 + strength * (value - 0.5)))
    return Vibe.of(0.9, dict.fromkeys(axes, f'"{word}"'), **axes)


def parse(text: str, key: Key | None = None) -> Words:
    """Read a text of any kind; what is not understood is listed, never an error.

    `key` is one that is asked for elsewhere; what words say of degrees of a key is said of it.
    """
    asked, rest = _exact(" " + text.replace("’", "'").replace("♯", "#").replace("♭", "b")[:LONGEST] + " ", key)
    found = re.findall(r"[a-zA-Z&'][a-zA-Z&'\-]*|[|,.;!?]|[^\s\w]|\d+|\w+", rest.lower())
    reading = _Reading(asked)
    tokens = [part for token in found for part in _parts(token)]
    at = 0
    while at < len(tokens):
        at += reading.take(tokens[at], " ".join(tokens[at : at + 2]))
    return reading.result()


# Patterns of exact requests, in the order in which they are taken out of a text, each with what it changes and means.
Change = tuple[dict[str, Any], str]


def _tempo(match: re.Match[str], known: Words) -> Change | None:
    tempo = float(match[1])
    return ({"tempo": tempo}, f"{tempo:g} BPM") if 20 <= tempo <= 300 else None


def _meter(match: re.Match[str], known: Words) -> Change:
    return {"meter": (int(match[1]), int(match[2]))}, f"meter {match[1]}/{match[2]}"


def _key_and_mode(match: re.Match[str], known: Words) -> Change:
    key = Key.parse(re.sub(r"[ -](?=sharp|flat)", "", match[1]) + " " + match[2].lower())
    return {"key": key}, str(key)


def _key(match: re.Match[str], known: Words) -> Change:
    key = Key.parse(match[1])
    return {"key": key}, str(key)


def _mode(match: re.Match[str], known: Words) -> Change:
    return {"mode": match[1].lower()}, f"{match[1].lower()} mode"


def _waltz(match: re.Match[str], known: Words) -> Change:
    return {"meter": known.meter or (3, 4)}, "meter 3/4"


def _chords(match: re.Match[str], known: Words) -> Change | None:
    written = re.sub(r"\s*[-–—,→]+\s*(?=[A-G])|\s+", " ", match[1]).strip()
    try:
        bars = parse_bars(written)
    except InputError:
        return None
    return {"chords": written}, f"chords {show_bars(bars)}"


def _degrees(match: re.Match[str], known: Words) -> Change:
    """ "ii-V-I" in a key; as jazz has it, chords of these three degrees have sevenths, and the last of three a second bar."""
    degrees = re.findall(_DEGREE.replace("(?:", "("), match[1])
    numerals = [numeral for _, numeral, _ in degrees]
    mode = "minor" if "i" in numerals else known.mode or "major"
    key = known.key or Key("A" if mode == "minor" else "C", mode)
    key = Key.of(key.tonic, "minor") if "i" in numerals else key
    if "ii" in numerals and set(numerals) <= {"ii", "V", "I", "i"}:
        half = "7b5" if key.mode == "minor" else "7"
        degrees = [(sign, n, rest or {"ii": half, "I": "maj7"}.get(n, "7")) for sign, n, rest in degrees]
    symbols = [_degree(sign, n, rest, key) for sign, n, rest in degrees] + ["%"] * (
        numerals in (["ii", "V", "I"], ["ii", "V", "i"])
    )
    return {"key": key, "chords": " | ".join(symbols)}, f"chords {' | '.join(symbols)} in {key}"


def _degree(sign: str, numeral: str, rest: str, key: Key) -> str:
    """A Roman numeral, small where the chord is minor, as a chord symbol in a key; b and # count from its major scale."""
    scale = MINOR_SCALE if key.mode == "minor" and not sign else MAJOR_SCALE
    step = scale[("i", "ii", "iii", "iv", "v", "vi", "vii").index(numeral.lower())] + (sign == "#") - (sign == "b")
    if not sign and not rest and (key.mode, numeral) in (("minor", "ii"), ("major", "vii")):
        rest = "dim"
    minor = numeral.islower() and rest in ("", "7", "7b5")
    return Chord((key.tonic + step) % 12, "maj").symbol(key) + "m" * minor + rest


def _blues(match: re.Match[str], known: Words) -> Change:
    key = known.key or Key("C", known.mode or "major")
    minor = key.mode == "minor"
    steps = (0, "m7" * minor or "7"), (5, "m7" * minor or "7"), (7, "7")
    home, four, five = (Chord((key.tonic + up) % 12, quality).symbol(key) for up, quality in steps)
    chords = f"{home} | % | % | % | {four} | % | {home} | % | {five} | {four} | {home} | %"
    return {"key": key, "chords": chords, "bars": 12}, f"chords {chords} in {key}"


def _form(match: re.Match[str], known: Words) -> Change | None:
    """Letters that stand alone are a form only where they look like nothing else, such as AAA games and ABBA's songs."""
    letters = match[1] or match[2] or match[3]
    if match[3] and (letters.count("A") < 2 or letters in ("ABBA", len(letters) * "A")):
        return None
    return {"form": letters}, f"form {letters}"


def _named_form(match: re.Match[str], known: Words) -> Change | None:
    letters = "".join(_SECTIONS[name] for name in re.findall("|".join(_SECTIONS), match[1].lower()))
    if not {"A", "B"} <= set(letters):
        return None
    letters = {"AB": "ABAB", "ABb": "ABABbB"}.get(letters, letters)
    form = " ".join(letter + ("4" if letter in "io" else "8") for letter in letters)
    return {"form": form}, f"form {form}"


_SECTIONS = {"intro": "i", "verse": "A", "chorus": "B", "bridge": "b", "solo": "s", "outro": "o"}
_SECTION = f"(?:{'|'.join(_SECTIONS)})"
_DEGREE = "(?:[b#]?)(?:VII|VI|IV|V|III|II|I|vii|vi|iv|v|iii|ii|i)(?:maj7|7b5|7|dim|sus4|)"
_SYMBOL = "[A-G](?:#|b)?(?:maj|min|dim|aug|sus|add|m|M|[0-9b#])*(?:/[A-G](?:#|b)?)?"

# A lone small "a" before major or minor is the article, unless a key is clearly meant.
_TONIC = r"(?:[A-G]|[b-g]|(?<=key of )a)(?:#|b|[ -]sharp|[ -]flat)?"
_EXACT: tuple[tuple[str, Callable[[re.Match[str], Words], Change | None]], ...] = (
    (r"(?i)\b(\d{2,3}(?:\.\d+)?)\s*(?:-\s*)?(?:bpm|beats (?:a|per) minute)\b", _tempo),
    (
        rf"\b(?i:over|chords?|changes|progression)(?i: of)?[ :]+({_SYMBOL}(?:(?:\s*[-–—,|→]\s*|\s+){_SYMBOL})+)(?![\w#'])",
        _chords,
    ),
    (r"\b(\d{1,2})/(1|2|4|8|16)(?: time| meter)?\b", _meter),
    (rf"\b(?:(?i:in|key of) )?({_TONIC})[ -]?((?i:major|minor|maj|min))\b", _key_and_mode),
    (r"\bin ([A-G](?:#|b)?m?)(?![\w#'])", _key),
    (r"(?i)\b(?:in )?(?:a )?(major|minor)(?: key| mode| scale)?\b", _mode),
    (r"(?i)\bwaltz(?:es)?\b", _waltz),
    (rf"(?<![\w-])({_DEGREE}(?:(?:\s*[-–—,]\s*|\s+){_DEGREE}){{2,}})(?![\w-])", _degrees),
    (r"(?i)\b(?:12|twelve)[ -]bars?[ -]blues\b", _blues),
    (r"\b(?:(?i:form|structure)[ :]+(A[A-G]{1,15})|(A[A-G]{1,15})[ -](?i:form|structure)|(A[A-D]{2,15}))\b", _form),
    (rf"(?i)\b({_SECTION}(?:(?:[ ,/–—-]+| and ){_SECTION})+)(?:[ -](?:form|structure))?\b", _named_form),
)


def _exact(text: str, key: Key | None) -> tuple[Words, str]:
    """The exact requests of a text, and the text with a bar in their places. `key` beats the one that the text names."""
    asked = Words()
    for pattern, read in _EXACT:
        rest, at = "", 0
        for match in re.finditer(pattern, text):
            if change := read(match, replace(asked, key=key or asked.key)):
                values, meaning = change
                asked = replace(asked, **values, understood=(*asked.understood, (match[0].strip(), meaning)))
                rest, at = f"{rest}{text[at : match.start()]} | ", match.end()
        text = rest + text[at:]
    return asked, text


class _Reading:
    """What is read word by word: "not" and "very" wait for the word that they belong to."""

    def __init__(self, asked: Words) -> None:
        self.asked = asked
        self.exact_tempo = asked.tempo is not None
        self.found = list(asked.understood)
        self.vibes: list[tuple[Vibe, float]] = []
        self.ignored: list[str] = []
        self.programs: list[int] = []
        self.excluded: list[int] = []
        self.negated, self.named, self.scale = False, False, 1.0

    def take(self, token: str, pair: str) -> int:
        """Read a word, given it and the next as a pair too; returns how many words were read."""
        if not re.match(r"[a-z&']", token):
            if token in "|,.;!?":
                self.negated, self.scale = False, 1.0
            elif token.isalnum():
                self.ignored.append(token)
        elif name := next((n for n in (pair, token, token.removesuffix("s")) if n in INSTRUMENT_NAMES), None):
            self._instrument(name)
            return 2 if name == pair and " " in pair else 1
        elif token in NEGATIONS:
            # "not without" takes back, "no bass and no drums" goes on
            self.negated, self.named = not self.negated or self.named, False
        elif token in STRONGER:
            self.scale = min(self.scale * STRONGER[token], MOST)
        elif token in WEAKER:
            self.scale *= WEAKER[token]
        elif any([self._speed(token), self._style(token), self._mood(token)]):
            self.negated, self.scale = False, 1.0
        elif token not in FILLERS:
            self.ignored.append(token)
        return 1

    def _instrument(self, name: str) -> None:
        self.named = True
        if self.negated:
            self.excluded += programs_of_kind(name)
            self.found.append(("no " + name, "without " + name))
        else:
            self.programs.append(INSTRUMENT_NAMES[name])
            self.found.append((name, name_of(self.programs[-1])))

    def _speed(self, token: str) -> bool:
        if token not in TEMPO_WORDS:
            return False
        if self.exact_tempo:
            self.found.append((token, f"the tempo is said: {self.asked.tempo:g} BPM"))
            return True
        # "very slow" is slower than slow, "very fast" faster: the distance from the middle is scaled.
        scale = -TURNED if self.negated else self.scale
        tempo = max(SLOWEST, min(FASTEST, MIDDLE_TEMPO * (TEMPO_WORDS[token] / MIDDLE_TEMPO) ** scale))
        self.asked = replace(self.asked, tempo=round(tempo))
        self.found.append((token, f"{round(tempo)} BPM"))
        return True

    def _style(self, token: str) -> bool:
        if token not in STYLE_WORDS or self.negated:
            return False
        self.asked = replace(self.asked, style=STYLE_WORDS[token])
        self.found.append((token, f"style {STYLE_WORDS[token]}"))
        return True

    def _mood(self, token: str) -> bool:
        word = stem(token)
        if word is None or token in STYLE_WORDS or token in TEMPO_WORDS:
            return False
        vibe = word_vibe(word, (-TURNED if self.negated else 1.0) * self.scale)
        self.vibes.append((vibe, 1.0))
        self.found.append((("not " if self.negated else "") + token, vibe.describe()))
        return True

    def result(self) -> Words:
        """All of it together; tempo and mode say what they can of a mood that no word named."""
        vibe = blend(self.vibes) if self.vibes else Vibe()
        tempo = self.asked.tempo
        if tempo is not None and vibe.confidence[AXES.index("arousal")] == 0:
            arousal = min(0.95, max(0.05, 0.5 + (tempo - 110) / 140))
            vibe = vibe.override(Vibe.of(0.5, {"arousal": f"{tempo:g} BPM"}, arousal=arousal))
        mode = self.asked.key.mode if self.asked.key else self.asked.mode
        if mode and vibe.confidence[AXES.index("valence")] == 0:
            vibe = vibe.override(Vibe.of(0.5, {"valence": f"{mode} mode"}, valence=0.65 if mode == "major" else 0.35))
        return replace(
            self.asked, vibe=vibe, mode=mode, programs=tuple(dict.fromkeys(self.programs)),
            excluded=tuple(dict.fromkeys(self.excluded)), understood=tuple(self.found),
            ignored=tuple(dict.fromkeys(self.ignored)),
        )  # fmt: skip


def _parts(token: str) -> list[str]:
    """A word without quotes and dashes at its ends; "fast-paced" in two, "hip-hop" whole."""
    word = token.strip("'-") or token
    known = any(word in names for names in (INSTRUMENT_NAMES, TEMPO_WORDS, STYLE_WORDS, NEGATIONS, FILLERS)) or stem(word)
    return [word] if known else [part for part in word.split("-") if part] or [word]


def nearest_moods(vibe: Vibe, count: int = 3) -> list[str]:
    """The mood words whose valence and arousal lie nearest to a vibe's."""
    v, a = 2 * vibe["valence"] - 1, 2 * vibe["arousal"] - 1
    rated = [(w, e) for w, e in moods().items() if "valence" in e and e["source"] in ("glasgow", "tags", "override", "russell")]
    rated.sort(key=lambda item: (item[1]["valence"] - v) ** 2 + (item[1]["arousal"] - a) ** 2)
    return [word for word, _ in rated[:count]]


__all__ = ["Words", "moods", "nearest_moods", "parse", "stem", "word_vibe"]
