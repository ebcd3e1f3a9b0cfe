"""Token counters that behave as tokenizers do, without a model."""

import re
from collections.abc import Sequence

_TOKEN = re.compile(r"\w{1,6}|[^\w\s]")


def words(texts: Sequence[str]) -> list[int]:
    """Pieces of words and signs; blank space costs nothing. Adds up, as WordPiece does."""
    return [len(_TOKEN.findall(text)) for text in texts]


def with_spaces(texts: Sequence[str]) -> list[int]:
    """Runs of blank space cost, too, and a text costs one more than its parts. Does not add up, as SentencePiece."""
    return [1 + len(re.findall(r"\w{1,6}|[^\w\s]|\s{1,4}", text)) for text in texts]


def some_bytes(texts: Sequence[str]) -> list[int]:
    """Several tokens for a character outside ASCII, as byte-level encodings have."""
    return [-(-len(text.encode()) // 2) for text in texts]
