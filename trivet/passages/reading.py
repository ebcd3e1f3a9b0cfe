"""`passages_of`: from a text to its passages."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from trivet.passages.block import SCOPES, Block
from trivet.passages.formats import LINES, MARKDOWN, PLAIN, RESTRUCTURED, format_of
from trivet.passages.lines import Lines
from trivet.passages.meter import Meter
from trivet.passages.pack import Piece, pack
from trivet.passages.passage import CountTokens, Passage
from trivet.passages.prose import markdown, plain, restructured
from trivet.passages.syntax.process import shared
from trivet.turns import Steps, finish

SCHEME = 3
"""Changes whenever the same text may get other passages, which tells stored passages that are out of date."""

LEAST_MAX_TOKENS = 16

_WHOLE_CHARACTERS = 1024**2
"""Longer texts are read in segments, which bounds memory and the depth of structure; no source file is so long."""
_SEGMENT_CHARACTERS = 128 * 1024
"""Of a text without structure: a second of work at worst, after which another caller has a turn."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_TITLE_CHARACTERS = 200

_PROSE: Mapping[str, Callable[[Lines], Block]] = {MARKDOWN: markdown, RESTRUCTURED: restructured, PLAIN: plain}


class CodeReader(Protocol):
    """Reads code by its syntax. `trivet.passages.syntax.process.SyntaxProcess` is one."""

    def block(self, text: str, language: str, small_characters: int) -> Block | None:
        """The text as a block, or None where it could not be read."""
        ...


_MARK = "\ufeff"
"""The byte order mark."""
_SPACE = "\x1c"
"""A space to Python that texts hardly ever hold."""


def _with_marks(count_tokens: CountTokens) -> CountTokens:
    """Count the tokens of texts whose byte order marks have been replaced."""
    return lambda pieces: count_tokens([piece.replace(_SPACE, _MARK) for piece in pieces])


def passages_of(
    text: str,
    count_tokens: CountTokens,
    max_tokens: int,
    *,
    path: str | None = None,
    kind: str | None = None,
    code_reader: CodeReader | None = None,
) -> list[Passage]:
    """The text's passages, in order. Each visible character is in exactly one; between them is blank space only.

    A text of at most `max_tokens` is one passage, and so is each definition or section that fits. What is larger is
    divided into its definitions (a class into its methods) or subsections, then at the borders of statements or
    sentences, then of lines, then of words; pieces under a quarter of the limit are joined to what is beside them.
    Comments, decorators and docstrings stay with their definition, headings with what follows them. A passage begins
    with a closing bracket only where the text does, or within a long run of them.

    Code that cannot be parsed within the reader's limits is divided by its lines, at blank ones and at those of little
    indentation, as are data formats and languages that are not known.

    Args:
        text: any string, also with surrogates, zero bytes or mixed line ends. Time and memory grow linearly with it.
        count_tokens: the model's tokenizer, without special tokens; called with batches of pieces of the text.
        max_tokens: the limit of a passage, at least 16. Only a single character may exceed it.
        path: the file's name, from which its format follows.
        kind: the format, or `code` or `prose`, where the path does not say it: see `format_of`.
        code_reader: parses code; by default a process that all callers of this Python process share. Blocks while it
            works, for seconds at worst.

    Raises:
        ValueError: `max_tokens` is below 16, or the kind is not known.
    """
    return finish(division_steps(text, count_tokens, max_tokens, path=path, kind=kind, code_reader=code_reader))


def division_steps(
    text: str,
    count_tokens: CountTokens,
    max_tokens: int,
    *,
    path: str | None = None,
    kind: str | None = None,
    code_reader: CodeReader | None = None,
) -> Steps[list[Passage]]:
    """Do the work of `passages_of` in steps, whose sizes in characters are yielded before they are done."""
    if max_tokens < LEAST_MAX_TOKENS:
        raise ValueError(f"max_tokens is {max_tokens}; a passage needs a limit of at least {LEAST_MAX_TOKENS} tokens")
    text = _SURROGATE.sub("\ufffd", text)  # tokenizers take none
    if _MARK in text[1:]:
        # It is invisible there, but no space to Python: one stands for it, except where tokens are counted.
        text = text[:1] + text[1:].replace(_MARK, _SPACE)
        count_tokens = _with_marks(count_tokens)
    of_format = format_of(text, path, kind)
    found: list[Passage] = []
    line = 1
    for start, end in _segments(text):
        yield end - start
        segment = text[start:end]
        lines = Lines(segment)
        meter = Meter(lines, count_tokens)
        whole = len(text) <= _WHOLE_CHARACTERS
        block = _block(lines, meter, of_format if whole else LINES, max_tokens, code_reader)
        found += _passages(pack(block, lines, meter, max_tokens), lines, start, line)
        line += len(lines) - 1
    return found


def _block(lines: Lines, meter: Meter, of_format: str, max_tokens: int, reader: CodeReader | None) -> Block:
    if of_format in _PROSE:
        return _PROSE[of_format](lines)
    if of_format == LINES:
        return Block(0, len(lines), "lines")
    if meter.lines(0, len(lines)) <= max_tokens:
        return Block(0, len(lines), "statements")
    # What has fewer characters than a passage may have tokens needs no parts.
    return (reader or shared()).block(lines.text, of_format, max_tokens) or Block(0, len(lines), "lines")


def _segments(text: str) -> Iterator[tuple[int, int]]:
    """Ranges of the text that end with a line, if possible a blank one or at least a whole word."""
    start = 0
    while len(text) - start > (_SEGMENT_CHARACTERS if start else _WHOLE_CHARACTERS):
        latest = start + _SEGMENT_CHARACTERS
        earliest = latest - _SEGMENT_CHARACTERS // 8
        ends = (text.rfind(separator, earliest, latest) + len(separator) for separator in ("\n\n", "\n", " "))
        end = next((end for end in ends if end > earliest), latest)
        yield start, end
        start = end
    if start < len(text):
        yield start, len(text)


def _passages(pieces: Sequence[Piece], lines: Lines, offset: int, first_line: int) -> Iterator[Passage]:
    for piece in pieces:
        yield Passage(
            offset + piece.start,
            offset + piece.end,
            first_line + bisect_right(lines.starts, piece.start) - 1,
            first_line + bisect_right(lines.starts, piece.end - 1) - 1,
            piece.kind,
            _title(piece.scopes),
        )


def _title(scopes: Sequence[str]) -> str | None:
    """As many of the inner ones as there is room for."""
    inner = list(scopes)
    while len(inner) > 1 and len(SCOPES.join(inner)) > _TITLE_CHARACTERS:
        inner = inner[1:]
    return SCOPES.join(inner)[:_TITLE_CHARACTERS].strip() or None
