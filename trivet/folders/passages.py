"""Divides documents into the passages that are embedded, reranked and shown."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from trivet.client import AsyncClient, ServedModel
from trivet.folders.token_counts import TokenCounts
from trivet.index import FileState
from trivet.passages import SCHEME, Passage, format_of, passages_of

PASSAGE_TOKENS = 192
"""Long enough for a function or a section, short enough to be about one thing."""
_RESERVED_TOKENS = 64
"""Of a model's limit: for special tokens, a prompt, and the title before the passage."""
_LEAST_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Located:
    """A passage with its text."""

    passage: Passage
    text: str

    @property
    def titled(self) -> str:
        """What the models read: the text below what encloses it, which may be what names its subject."""
        return f"{self.passage.title}\n{self.text}" if self.passage.title else self.text


class Divider:
    """Divides texts for one embedder."""

    def __init__(self, client: AsyncClient, model: ServedModel) -> None:
        self.max_tokens = max(_LEAST_TOKENS, min(PASSAGE_TOKENS, model.max_tokens - _RESERVED_TOKENS))
        self._counts = TokenCounts(client, model.name)

    def state(self, path: str, text: str, digest: str) -> FileState:
        """What the passages of a file depend on: its content, and how it is divided."""
        return FileState(digest, f"{SCHEME}/{self.max_tokens}/{format_of(text, path)}")

    async def divide(self, documents: Sequence[tuple[str, str]]) -> list[list[Located]]:
        """The passages of each (path, text). Raises ClientError."""
        await self._counts.learn(text for _, text in documents)
        return await asyncio.to_thread(lambda: [self._divided(path, text) for path, text in documents])

    def _divided(self, path: str, text: str) -> list[Located]:
        found = passages_of(text, self._counts, self.max_tokens, path=path)
        return [Located(passage, text[passage.start : passage.end]) for passage in found]
