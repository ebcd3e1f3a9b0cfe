"""Where a paragraph or a long line may be cut when no line break helps: after sentences, else between words."""

import re
from collections.abc import Iterator

_END = re.compile(
    r"""
    [.!?…]["'”’»)\]*_`]*(?=\s+["'“‘«(\[*_`]*[A-Z0-9À-ÖØ-ÞͰ-῿぀-鿿])  # a sign before a capital letter
    | [.!?…:;]["'”’»)\]*_`]*[ \t\r]*(?=\n)      # a sign at the end of a line
    | [。！？；][」』”’）]*                        # languages that put no blank space between sentences
    | (?<=\S)[ \t\r]*(?=\n[ \t\r]*\n)           # the end of a paragraph
    """,
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx|resp|no|nos|fig|figs|eq|sec|ch|vol|pp?|ed|eds|al|dr|mr|mrs|ms|prof|st|inc|ltd|jr|sr)"
    r"|\b[A-Z])\.$",
    re.IGNORECASE,
)
_WORD_CHARACTERS = 48
_WORD = re.compile(
    rf"\s*(?:[^\s;,{{}}。，；、]{{1,{_WORD_CHARACTERS}}}[;,{{}}。，；、]{{0,8}}|[;,{{}}。，；、]{{1,{_WORD_CHARACTERS}}})"
)


def sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each sentence between two places; between them is blank space only."""
    at = start
    for found in _END.finditer(text, start, end):
        if _ABBREVIATION.search(text, max(at, found.start() - 8), found.start() + 1):
            continue
        stop = found.end()
        if stop > at:
            yield from _stripped(text, at, stop)
            at = stop
    yield from _stripped(text, at, end)


def words(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of words and pieces of words, of at most some fifty characters each."""
    for found in _WORD.finditer(text, start, end):
        yield from _stripped(text, found.start(), found.end())


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end
