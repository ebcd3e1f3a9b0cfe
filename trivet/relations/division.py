"""Divides texts into the passages that models read, outside of the event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from trivet.passages import Passage, PassageKind, passages_of
from trivet.passages.estimate import estimated_tokens

DIVIDED_HERE_CHARACTERS = 4096
"""Shorter texts that are a single passage are recognised at once: a change of threads would cost more."""

_DIVISION = ThreadPoolExecutor(1, thread_name_prefix="passages")
"""One thread: the parser is one process, and the rest of the work holds the interpreter's lock."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text to relate to others. `path` and `kind` tell its format: see `trivet.passages.format_of`."""

    text: str
    path: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A passage of a document: characters `start` to `end` (excluded), lines from 1 (both included)."""

    start: int
    end: int
    start_line: int
    end_line: int
    text: str
    kind: PassageKind
    title: str | None = None
    """What encloses it: headings, or the heads of definitions."""

    @property
    def read(self) -> str:
        """The text that models read: a part of something larger follows the titles of what encloses it."""
        return self.text if self.title is None else f"{self.title}\n{self.text}"


def whole(text: str) -> Excerpt:
    """Return a text as its only passage."""
    return Excerpt(0, len(text), 1, 1 + text.count("\n", 0, max(0, len(text) - 1)), text, "lines")


def divide(document: Document, max_tokens: int) -> tuple[Excerpt, ...]:
    """Return a document's passages, at least one. A document that is one passage is read unchanged."""
    if not _may_be_long(document.text, max_tokens):
        return (whole(document.text),)
    found = passages_of(document.text, estimated_tokens, max_tokens, path=document.path, kind=document.kind)
    if len(found) < 2:
        return (whole(document.text),)
    return tuple(_excerpt(document.text, passage) for passage in found)


async def divide_all(documents: Sequence[Document], max_tokens: int) -> list[tuple[Excerpt, ...]]:
    """Return the passages of each document; long ones are divided in a thread, one after the other."""
    loop = asyncio.get_running_loop()
    found: list[tuple[Excerpt, ...]] = []
    for document in documents:
        if len(document.text) > DIVIDED_HERE_CHARACTERS or _may_be_long(document.text, max_tokens):
            found.append(await loop.run_in_executor(_DIVISION, divide, document, max_tokens))
        else:
            found.append((whole(document.text),))
    return found


def _may_be_long(text: str, max_tokens: int) -> bool:
    return len(text) > max_tokens and estimated_tokens([text])[0] > max_tokens


def _excerpt(text: str, passage: Passage) -> Excerpt:
    return Excerpt(
        passage.start,
        passage.end,
        passage.first_line,
        passage.last_line,
        text[passage.start : passage.end],
        passage.kind,
        passage.title,
    )
