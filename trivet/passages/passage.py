"""What a text is divided into, and the token counter that sizes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

PassageKind = Literal["definition", "statements", "section", "paragraphs", "lines"]
"""`definition`: at least one whole function, class or the like. `statements`: other code. `section`: prose that starts
with its heading. `paragraphs`: other prose. `lines`: neither code nor prose that can be read as such."""

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Returns the number of tokens of each text. Called with batches of short texts, never with a surrogate in them."""


@dataclass(frozen=True, slots=True)
class Passage:
    """The characters `start` to `end` (excluded) of a text; neither its first nor its last line is blank."""

    start: int
    end: int
    first_line: int
    """Counted from 1. Only a line feed ends a line, as in git and most editors."""
    last_line: int
    kind: PassageKind
    title: str | None = None
    """The headings, or the first lines of the definitions, that enclose the passage and are not in it, outermost first;
    joined by ` › `. None where nothing encloses it. At most 200 characters."""
