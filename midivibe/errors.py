"""Everything that midivibe raises on purpose.

MidivibeError                 one line for people; the command line prints it and exits with 2
├── InputError                a value that the caller gave: a flag, a key, a count of bars
├── ImageError                a picture that cannot be read
├── MidiError                 a MIDI file that cannot be read or written
├── CheckpointError           a model folder that is missing, damaged or made for another tokenizer
├── CorpusError               training data that is missing or damaged
│   └── EmptySplitError       a corpus without windows of that split
├── SoundfontError            no soundfont where one is needed
├── AudioError                no synthesizer, or a format that it cannot write
│   └── SilenceError          music that makes no sound
└── OutputError               a place that cannot be written
"""

from __future__ import annotations

from collections.abc import Iterable


class MidivibeError(Exception):
    """Base class: says what is wrong, with which value, and what to do."""


class InputError(MidivibeError, ValueError):
    """A value from the caller that midivibe cannot use."""


class ImageError(MidivibeError):
    """A picture that cannot be read."""


class MidiError(MidivibeError):
    """A MIDI file that cannot be read or written."""


class CheckpointError(MidivibeError):
    """A model folder that is missing, damaged or of another tokenizer."""


class CorpusError(MidivibeError):
    """Training data that is missing or damaged."""


class EmptySplitError(CorpusError):
    """A corpus without windows of the split asked for."""


class SoundfontError(MidivibeError):
    """No soundfont where one is needed."""


class AudioError(MidivibeError):
    """No synthesizer, or an audio format that cannot be written."""


class SilenceError(AudioError):
    """Music that makes no sound."""


class OutputError(MidivibeError):
    """A file or folder that cannot be written."""


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """The known words closest to `word` in spelling, joined for an error message."""
    import difflib  # here, so that a command line without errors starts without it

    known = sorted(known)
    close = difflib.get_close_matches(word.lower(), known, n=count, cutoff=0.5)
    return ", ".join(close or known[:12])
