"""The tokenizer: MidiTok's REMI, laid out bar by bar and inside a bar track by track.

MidiTok owns the vocabulary, its file format and (where used) BPE; `layout` owns the order of tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from miditok import REMI, TokenizerConfig
from miditok.classes import TokSequence
from symusic import Score

from midivibe.midi.bars import bar_ticks
from midivibe.midi.notes import Notes
from midivibe.midi.score import note_table, to_score
from midivibe.midi.theory import QUALITIES
from midivibe.tokens import layout
from midivibe.tokens.vocabulary import GRID_TICKS, LONGEST_ENDING, MODES, NO_ROOT, SECTIONS, STYLES, Vocabulary

# Durations are exact to two beats and coarser above, where their end is hardly heard. The rest are MidiTok's usual settings,
# with the meters that the corpora use; a change makes another vocabulary, and so needs a newly trained checkpoint.
CONFIG: dict[str, Any] = {
    "pitch_range": (0, 127),
    "beat_res": {(0, 2): 12, (2, 4): 6, (4, 8): 3, (8, 16): 1},
    "num_velocities": 12,
    "special_tokens": ["PAD", "BOS", "EOS", "Hole", "SEP", "Start", "End"],
    "use_tempos": True,
    "num_tempos": 32,
    "tempo_range": (40, 240),
    "log_tempos": True,
    "use_time_signatures": True,
    "time_signature_range": {4: [1, 2, 3, 4, 5, 6, 7], 8: [3, 5, 6, 7, 9, 12], 2: [2, 3]},
    "use_programs": True,
    "one_token_stream_for_programs": True,
    "use_pitchdrum_tokens": True,
    "remove_duplicated_notes": True,
}


class BarTrackREMI(REMI):  # type: ignore[misc]  # MidiTok has no types, so its classes are Any
    """REMI whose bars are runs of whole tracks; `encode` and `decode` are MidiTok's own entry points."""

    def __init__(self, tokenizer_config: TokenizerConfig | None = None, params: str | Path | None = None) -> None:
        if tokenizer_config is None and params is None:
            tokenizer_config = TokenizerConfig(**CONFIG)
        super().__init__(tokenizer_config, params=params)
        self.layout_vocabulary = Vocabulary([name for name, _ in sorted(self.vocab.items(), key=lambda x: x[1])])

    def _create_base_vocabulary(self) -> list[str]:
        longest = max(bar_ticks(GRID_TICKS, meter) for meter in self.time_signatures)
        names = ["Bar_None"]
        self._add_note_tokens_to_vocab_list(names)
        names += [f"PitchDrum_{p}" for p in range(self.config.pitch_range[0], self.config.pitch_range[1] + 1)]
        names += [f"Position_{i}" for i in range(longest)]
        names += [f"Program_{p}" for p in range(-1, 128)]
        names += [f"Tempo_{t}" for t in self.tempos]
        names += [f"TimeSig_{n}/{d}" for n, d in self.time_signatures]
        names += [f"Mode_{m}" for m in MODES] + [f"Style_{s}" for s in STYLES]
        # appended last, so that all ids of earlier vocabularies stay what they were
        names += [f"Section_{s}" for s in SECTIONS] + [f"Length_{n}" for n in range(1, LONGEST_ENDING + 1)]
        names += [f"Return_{n}" for n in range(1, layout.WINDOW_BARS)]
        names += [f"Root_{r}" for r in range(NO_ROOT, 12)] + [f"Quality_{q}" for q in QUALITIES]
        return list(dict.fromkeys(names))

    def _create_token_types_graph(self) -> dict[str, set[str]]:
        after_note = {"Velocity", "Position", "Program", "Bar"}
        return {
            "Style": {"Mode"},
            "Mode": {"TimeSig"},
            "TimeSig": {"Tempo", "Program", "Bar"},
            "Tempo": {"Program", "Bar"},
            "Program": {"Program", "Position", "Bar"},
            "Bar": {"TimeSig", "Tempo", "Section", "Return", "Root", "Program", "Bar"},
            "Section": {"Length"},
            "Length": {"Return", "Root", "Program", "Bar"},
            "Return": {"Root", "Program", "Bar"},
            "Root": {"Quality", "Position", "Program", "Bar"},
            "Quality": {"Position", "Program", "Bar"},
            "Position": {"Velocity", "Pitch", "PitchDrum", "Root"},
            "Velocity": {"Pitch", "PitchDrum"},
            "Pitch": {"Duration"},
            "PitchDrum": after_note | {"PitchDrum"},
            "Duration": after_note | {"Pitch"},
        }

    def preprocess_score(self, score: Score) -> Score:
        """The score on the tokenizer's grid, one track a program."""
        return to_score(layout.quantize(note_table(score), self.layout_vocabulary))

    def _score_to_tokens(self, score: Score, attribute_controls_indexes: object = None) -> TokSequence:
        notes = layout.quantize(note_table(score), self.layout_vocabulary)
        ids = encode_song(notes, self.layout_vocabulary)
        seq = TokSequence(ids=ids.tolist())
        self.complete_sequence(seq)
        return seq

    def _tokens_to_score(self, tokens: TokSequence, programs: object = None) -> Score:
        return to_score(layout.decode(tokens.ids, self.layout_vocabulary).notes)

    def save_tokenizer(self, path: str | Path) -> None:
        """Write tokenizer.json with the plain list of names that `Vocabulary.load` reads."""
        self.save(Path(path), additional_attributes={"vocabulary": self.layout_vocabulary.names})


def encode_song(notes: Notes, v: Vocabulary, style: str = "other", mode: str = "unknown") -> np.ndarray:
    """A whole piece on the grid as one sequence: header, every bar, EOS."""
    programs = tuple(sorted(set(notes.program.tolist())))
    header = layout.Header(programs, style, mode, notes.bar_meter[0], float(notes.bar_tempo[0]))
    ids, _ = layout.encode(notes, v)
    return np.concatenate([header.ids(v), ids, [v["EOS_None"]]])


__all__ = ["CONFIG", "BarTrackREMI", "encode_song"]
