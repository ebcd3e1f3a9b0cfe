"""Cuts a text into chunks of whole lines at the boundaries of code and prose. Pure; loses no text."""

from collections.abc import Iterator
from dataclasses import dataclass

_CLOSERS = (")", "]", "}", "end")
_OPENERS = (":", "{", "(", "[")
_TAB_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines `start_line` to `end_line` of a text, inclusive, counted from 1."""

    start_line: int
    end_line: int
    text: str


def chunks_of(text: str, max_characters: int) -> Iterator[Chunk]:
    """Cut chunks of at most `max_characters`, unless a single line is longer; joined, they are the text.

    The limit serves retrieval, where a chunk should be about one thing: the models split long texts by themselves.
    """
    lines = _lines(text)
    start = 0
    while start < len(lines):
        stop = _seam(lines, start, *_reach(lines, start, max_characters))
        yield Chunk(start + 1, stop, "".join(lines[start:stop]))
        start = stop


def _lines(text: str) -> list[str]:
    """Split into lines with their ends as editors do: unlike with `splitlines`, only a newline ends a line."""
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _reach(lines: list[str], start: int, max_characters: int) -> tuple[int, int]:
    """(earliest stop, latest stop): between half the limit and the limit, and at least one line."""
    characters = 0
    half = None
    for index in range(start, len(lines)):
        characters += len(lines[index])
        if characters > max_characters and index > start:
            return half or index, index
        if half is None and characters >= max_characters / 2:
            half = index + 1
    return len(lines), len(lines)


def _seam(lines: list[str], start: int, earliest: int, latest: int) -> int:
    """Return the best line to stop before: little indented, after a blank line, as late as possible.

    A short chunk is better than one that separates related lines.
    """
    if latest == len(lines):
        return latest
    costs = {stop: _cost(lines, stop) for stop in range(start + 1, latest + 1)}
    best = min(range(earliest, latest + 1), key=costs.__getitem__)
    separates = costs[best][0]
    return min(costs, key=costs.__getitem__) if separates else best


def _cost(lines: list[str], stop: int) -> tuple[bool, int, bool, int]:
    line = lines[stop].expandtabs(_TAB_COLUMNS)
    words, before = line.strip(), lines[stop - 1].strip()
    # A chunk must not start with a blank line or a closing bracket, nor end with an opening one.
    separates = not words or words.startswith(_CLOSERS) or before.endswith(_OPENERS)
    indentation = len(line) - len(line.lstrip(" "))
    return separates, indentation, bool(before), -stop
