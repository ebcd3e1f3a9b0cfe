"""Cuts a text into chunks of whole lines, where code and prose have their seams. Pure; loses nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

_CLOSERS = (")", "]", "}", "end")
_OPENERS = (":", "{", "(", "[")
_TAB_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines `start_line` to `end_line` of a text, both included, counted from 1."""

    start_line: int
    end_line: int
    text: str


def chunks_of(text: str, max_characters: int) -> Iterator[Chunk]:
    """Chunks of at most `max_characters`, unless a single line is longer; joined they are the text again.

    The models take long texts apart by themselves; the limit is for finding: a chunk should be about one thing.
    """
    lines = _lines(text)
    start = 0
    while start < len(lines):
        stop = _seam(lines, start, *_reach(lines, start, max_characters))
        yield Chunk(start + 1, stop, "".join(lines[start:stop]))
        start = stop


def _lines(text: str) -> list[str]:
    """Lines with their ends, as editors count them: unlike `splitlines`, only a newline ends one."""
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _reach(lines: list[str], start: int, max_characters: int) -> tuple[int, int]:
    """(earliest stop, latest stop): from half the limit on, up to all of it, and at least one line."""
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
    """The best of these places to stop before: at a line of little indentation, after a blank one, late.

    A short chunk is better than one that tears what belongs together.
    """
    if latest == len(lines):
        return latest
    costs = {stop: _cost(lines, stop) for stop in range(start + 1, latest + 1)}
    best = min(range(earliest, latest + 1), key=costs.__getitem__)
    tears = costs[best][0]
    return min(costs, key=costs.__getitem__) if tears else best


def _cost(lines: list[str], stop: int) -> tuple[bool, int, bool, int]:
    line = lines[stop].expandtabs(_TAB_COLUMNS)
    words, before = line.strip(), lines[stop - 1].strip()
    # A chunk starts neither with a blank line nor with a closing bracket, and does not end with an opening one.
    tears = not words or words.startswith(_CLOSERS) or before.endswith(_OPENERS)
    indentation = len(line) - len(line.lstrip(" "))
    return tears, indentation, bool(before), -stop
