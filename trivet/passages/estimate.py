"""Estimates tokens without a tokenizer, so that a text has the same passages whatever model reads them.

On this project's code and documentation, in pieces of 20 lines, WordPiece (the starter models) needs between 0.90 and
1.16 times as many tokens as estimated (1st and 99th percentile; median 1.00). A passage over the estimate is not cut:
the models read what is longer than their limit in windows.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

PASSAGE_TOKENS: Final = 200
"""Estimated tokens of a passage by default: room for a function or a section, short enough to be about one thing."""

ESTIMATE_MARGIN: Final = 1.16
"""Tokens of a passage in all but extreme cases, relative to the estimate."""

_HYPOTHESIS_TOKENS = 40
"""Room for a hypothesis, the words around a pair, and special tokens."""
_LEAST_TOKENS = 32

_WORDS = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")
_WORD_CHARACTERS = 6
"""Characters of a word per token: a longer word is split."""


def estimated_tokens(texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text: one per six characters of a word, one per other visible character."""
    return [sum(1 + (len(word) - 1) // _WORD_CHARACTERS for word in _WORDS.findall(text)) for text in texts]


def exceeds(text: str, max_tokens: int) -> bool:
    """Whether a text has more tokens; of a long one, only so much is read."""
    tokens = 0
    for word in _WORDS.finditer(text):
        tokens += 1 + (word.end() - word.start() - 1) // _WORD_CHARACTERS
        if tokens > max_tokens:
            return True
    return False


class Reader(Protocol):
    """A model that reads passages: an embedder one at a time, others two with a hypothesis."""

    @property
    def task(self) -> str:
        """`embedder`, `reranker` or `classifier`."""

    @property
    def max_tokens(self) -> int:
        """Longest sequence that it takes."""


def passage_tokens(models: Iterable[Reader], most: int = PASSAGE_TOKENS) -> int:
    """Return the estimated tokens that a passage may have, so that each of the models reads it, or a pair, at once."""
    limit = float(most)
    for model in models:
        room = model.max_tokens if model.task == "embedder" else (model.max_tokens - _HYPOTHESIS_TOKENS) / 2
        limit = min(limit, room / ESTIMATE_MARGIN)
    return max(_LEAST_TOKENS, int(limit))
