"""Counts tokens as the server's embedder does, without its tokenizer: the server is asked once for each word."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from itertools import islice

from trivet.client import AsyncClient, calls

_WORD = re.compile(r"[^\W_]{1,24}|[^\w\s]{1,24}|_{1,24}")
_WORDS_PER_REQUEST = 1000
_CHARACTERS_PER_TOKEN = 3
"""Of a word that the server was not asked for: the rest of one that was cut somewhere else."""


class TokenCounts:
    """The number of tokens of each word seen so far.

    A text counts as the sum of its words. For WordPiece this is exact; for other tokenizers it differs by the tokens
    that reach across the border of a word, which is near enough to size passages.
    """

    def __init__(self, client: AsyncClient, model: str) -> None:
        self._client = client
        self._model = model
        self._known: dict[str, int] = {}

    async def learn(self, texts: Iterable[str]) -> None:
        """Ask for the words of these texts that are not known yet. Raises ClientError."""
        words = sorted({word for text in texts for word in _WORD.findall(text)} - self._known.keys())
        many = (calls.count_tokens(batch, model=self._model, priority="bulk") for batch in _batches(words))
        counts: list[int] = []
        async with aclosing(self._client.send_all(many)) as answers:
            async for answer in answers:
                counts += answer.counts
        self._known.update(zip(words, counts, strict=True))

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, without special tokens."""
        return [sum(map(self._of_word, _WORD.findall(text))) for text in texts]

    def _of_word(self, word: str) -> int:
        known = self._known.get(word)
        return 1 + len(word) // _CHARACTERS_PER_TOKEN if known is None else known


def _batches(words: Iterable[str]) -> Iterator[list[str]]:
    left = iter(words)
    while batch := list(islice(left, _WORDS_PER_REQUEST)):
        yield batch
