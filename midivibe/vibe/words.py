"""Words → Vibe and Request: "slow sad piano in D minor, 70 bpm". Never fails on any text.

Mood words carry valence and arousal (data/moods.json: Glasgow Norms, CC BY 4.0, with overrides for music), some also
other axes. "not" turns a word round, "very" and "slightly" scale it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files

from midivibe.midi.instruments import _BY_NAME as INSTRUMENT_NAMES
from midivibe.midi.instruments import name_of, programs_of_kind
from midivibe.midi.theory import Key
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
MOST = 4.0
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
    "like feel feels feeling feelings mood that this but as by please into kind sort time key bars bar meter".split()
)


@dataclass(frozen=True)
class Request:
    """What a text asks for. `understood` lists (words, meaning), `ignored` the words that said nothing."""

    vibe: Vibe = field(default_factory=Vibe)
    tempo: float | None = None
    key: Key | None = None
    mode: str | None = None
    meter: tuple[int, int] | None = None
    programs: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    style: str | None = None
    understood: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()


@cache
def moods() -> dict[str, dict]:
    """The word table: word → valence and arousal in -1..1, and `axes` as percentiles."""
    return json.loads((files("midivibe") / "data" / "moods.json").read_text())["words"]


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


def parse(text: str) -> Request:
    """Read a text of any kind; what is not understood is listed, never an error."""
    found: list[tuple[str, str]] = []
    request = Request()
    rest = " " + text.replace("’", "'").replace("♯", "#").replace("♭", "b")[:20_000] + " "

    def take(pattern: str) -> Iterator[re.Match]:
        nonlocal rest
        yield from list(re.finditer(pattern, rest))
        rest = re.sub(pattern, " | ", rest)

    for match in take(r"(?i)\b(\d{2,3}(?:\.\d+)?)\s*(?:-\s*)?(?:bpm|beats (?:a|per) minute)\b"):
        tempo = float(match[1])
        if 20 <= tempo <= 300:
            request = replace(request, tempo=tempo)
            found.append((match[0].strip(), f"{tempo:g} BPM"))
    for match in take(r"\b(\d{1,2})/(1|2|4|8|16)(?: time| meter)?\b"):
        request = replace(request, meter=(int(match[1]), int(match[2])))
        found.append((match[0].strip(), f"meter {match[1]}/{match[2]}"))
    # A lone small "a" before major or minor is the article, unless a key is clearly meant.
    tonic = r"(?:[A-G]|[b-g]|(?<=key of )a)(?:#|b|[ -]sharp|[ -]flat)?"
    for match in take(rf"\b(?:(?i:in|key of) )?({tonic})[ -]?((?i:major|minor|maj|min))\b"):
        key = Key.parse(re.sub(r"[ -](?=sharp|flat)", "", match[1]) + " " + match[2].lower())
        request = replace(request, key=key)
        found.append((match[0].strip(), str(key)))
    for match in take(r"\bin ([A-G](?:#|b)?m?)(?![\w#'])"):
        key = Key.parse(match[1])
        request = replace(request, key=key)
        found.append((match[0].strip(), str(key)))
    for match in take(r"(?i)\b(?:in )?(?:a )?(major|minor)(?: key| mode| scale)?\b"):
        request = replace(request, mode=match[1].lower())
        found.append((match[0].strip(), f"{match[1].lower()} mode"))
    for match in take(r"(?i)\bwaltz(?:es)?\b"):
        request = replace(request, meter=request.meter or (3, 4))
        found.append((match[0].strip(), "meter 3/4"))

    found_tokens = re.findall(r"[a-zA-Z&'][a-zA-Z&'\-]*|[|,.;!?]|[^\s\w]|\d+|\w+", rest.lower())
    tokens = [part for token in found_tokens for part in _parts(token)]
    vibes: list[tuple[Vibe, float]] = []
    ignored: list[str] = []
    programs: list[int] = []
    excluded: list[int] = []
    exact_tempo = request.tempo is not None
    negated, named, scale, tempo_scale = False, False, 1.0, 1.0
    at = 0
    while at < len(tokens):
        token = tokens[at]
        pair, step = " ".join(tokens[at : at + 2]), 1
        if not re.match(r"[a-z&']", token):
            if token in "|,.;!?":
                negated, scale = False, 1.0
            elif token.isalnum():
                ignored.append(token)
        elif pair in INSTRUMENT_NAMES or token in INSTRUMENT_NAMES or token.removesuffix("s") in INSTRUMENT_NAMES:
            name = next(n for n in (pair, token, token.removesuffix("s")) if n in INSTRUMENT_NAMES)
            step, named = 2 if name == pair else 1, True
            if negated:
                excluded += programs_of_kind(name)
                found.append(("no " + name, "without " + name))
            else:
                programs.append(INSTRUMENT_NAMES[name])
                found.append((name, name_of(programs[-1])))
        elif token in NEGATIONS:
            negated, named = not negated or named, False  # "not without" takes back, "no bass and no drums" goes on
        elif token in STRONGER:
            scale = min(scale * STRONGER[token], MOST)
        elif token in WEAKER:
            scale *= WEAKER[token]
        else:
            known = False
            if token in TEMPO_WORDS and exact_tempo:
                found.append((token, f"the tempo is said: {request.tempo:g} BPM"))
                known = True
            elif token in TEMPO_WORDS:
                # "very slow" is slower than slow, "very fast" faster: the distance from 104 is scaled.
                tempo_scale = -0.6 if negated else scale
                tempo = max(40.0, min(220.0, 104.0 * (TEMPO_WORDS[token] / 104.0) ** tempo_scale))
                request = replace(request, tempo=round(tempo))
                found.append((token, f"{round(tempo)} BPM"))
                known = True
            if token in STYLE_WORDS and not negated:
                request = replace(request, style=STYLE_WORDS[token])
                found.append((token, f"style {STYLE_WORDS[token]}"))
                known = True
            word = stem(token)
            if word is not None and token not in STYLE_WORDS and token not in TEMPO_WORDS:
                strength = (-0.6 if negated else 1.0) * scale
                vibes.append((word_vibe(word, strength), 1.0))
                prefix = "not " if negated else ""
                found.append((prefix + token, vibes[-1][0].describe()))
                known = True
            if known:
                negated, scale = False, 1.0
            elif token not in FILLERS:
                ignored.append(token)
        at += step
    vibe = blend(vibes) if vibes else Vibe()
    # A tempo that is asked for also says how aroused the music should be, less surely than a mood word does.
    if request.tempo is not None and vibe.confidence[AXES.index("arousal")] == 0:
        arousal = min(0.95, max(0.05, 0.5 + (request.tempo - 110) / 140))
        vibe = vibe.override(Vibe.of(0.5, {"arousal": f"{request.tempo:g} BPM"}, arousal=arousal))
    mode = request.key.mode if request.key else request.mode
    if mode and vibe.confidence[AXES.index("valence")] == 0:
        vibe = vibe.override(Vibe.of(0.5, {"valence": f"{mode} mode"}, valence=0.65 if mode == "major" else 0.35))
    return replace(
        request,
        vibe=vibe,
        mode=mode,
        programs=tuple(dict.fromkeys(programs)),
        excluded=tuple(dict.fromkeys(excluded)),
        understood=tuple(found),
        ignored=tuple(dict.fromkeys(ignored)),
    )


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


__all__ = ["Request", "moods", "nearest_moods", "parse", "stem", "word_vibe"]
