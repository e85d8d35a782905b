"""Byte-pair merges of ids: what music writes together inside a bar's opening or one part's notes (a cell)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from midivibe.tokens.vocabulary import BAR, PROGRAM, Vocabulary

LETTERS = 0x4E00
"""Ids become letters from here on, so that a text BPE can read them."""


def as_text(ids: np.ndarray, v: Vocabulary) -> str:
    """Ids as letters, with a blank before every Bar and cell, so that no merge crosses one."""
    opens = np.isin(v.type[ids], (BAR, PROGRAM))
    return "".join((" " if o else "") + chr(LETTERS + i) for i, o in zip(ids.tolist(), opens.tolist(), strict=True))


def ids_of(token: str) -> list[int]:
    """The ids that a learned token stands for."""
    return [ord(letter) - LETTERS for letter in token]


def learn(texts: Iterable[str], v: Vocabulary, size: int, longest: int | None = None) -> Tokenizer:
    """A BPE of `size` tokens, the ids themselves included, of at most `longest` ids each."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    alphabet = [chr(LETTERS + i) for i in range(len(v))]
    limit: dict[str, Any] = {} if longest is None else {"max_token_length": longest}
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, **limit)
    bpe.train_from_iterator(texts, trainer)
    return bpe


__all__ = ["as_text", "ids_of", "learn"]
