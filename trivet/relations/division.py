"""Divides texts into the passages that models read, outside of the event loop."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from trivet.passages import Passage, PassageKind, division_steps
from trivet.passages.estimate import estimated_tokens, exceeds
from trivet.turns import Steps, Turns, finish

DIVIDED_HERE_CHARACTERS = 4096
"""Shorter texts that are a single passage are recognised at once, and their links found: a change of threads would cost
more."""
SHORT_CHARACTERS = 64 * 1024
"""Texts up to here take half a second at worst and have a thread to themselves. Up to a megabyte of structured text is
one step of the longer ones, which may take several seconds."""


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
    return finish(_steps(document, max_tokens))


def _steps(document: Document, max_tokens: int) -> Steps[tuple[Excerpt, ...]]:
    if not _may_be_long(document.text, max_tokens):
        return (whole(document.text),)
    found = yield from division_steps(
        document.text, estimated_tokens, max_tokens, path=document.path, kind=document.kind
    )
    if len(found) < 2:
        return (whole(document.text),)
    return tuple(_excerpt(document.text, passage) for passage in found)


async def divide_all(documents: Sequence[Document], max_tokens: int) -> list[tuple[Excerpt, ...]]:
    """Return the passages of each document; long ones are divided in a thread, one after the other.

    Callers take turns, and who cancels ends the work at its next step.
    """
    found: list[tuple[Excerpt, ...]] = []
    for document in documents:
        if len(document.text) > DIVIDED_HERE_CHARACTERS or _may_be_long(document.text, max_tokens):
            work = _turns(len(document.text) > SHORT_CHARACTERS).submit(_steps(document, max_tokens))
            found.append(await asyncio.wrap_future(work))
        else:
            found.append((whole(document.text),))
    return found


def _may_be_long(text: str, max_tokens: int) -> bool:
    return len(text) > max_tokens and exceeds(text, max_tokens)


@cache
def _turns(long: bool) -> Turns:
    """One thread for each size: the parser is one process, and the rest of the work holds the interpreter's lock."""
    return Turns(1, "passages-long" if long else "passages")


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
