"""Divides documents into the passages that are embedded, reranked and shown."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from trivet.client import ServedModel
from trivet.index import FileState
from trivet.passages import SCHEME, Passage, format_of, passages_of
from trivet.passages.estimate import estimated_tokens, passage_tokens


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
    """Divides texts for a server's models, as the server does for relations."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self.max_tokens = passage_tokens(models)

    def state(self, path: str, text: str, digest: str) -> FileState:
        """What the passages of a file depend on: its content, and how it is divided."""
        return FileState(digest, f"{SCHEME}/{self.max_tokens}/{format_of(text, path)}")

    async def divide(self, documents: Sequence[tuple[str, str]]) -> list[list[Located]]:
        """The passages of each (path, text), found in a thread."""
        return await asyncio.to_thread(lambda: [self._divided(path, text) for path, text in documents])

    def _divided(self, path: str, text: str) -> list[Located]:
        found = passages_of(text, estimated_tokens, self.max_tokens, path=path)
        return [Located(passage, text[passage.start : passage.end]) for passage in found]
