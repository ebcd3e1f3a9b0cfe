"""From the tree of a text's blocks to passages under a limit of tokens. Pure, apart from the counter.

A block that fits is one passage. Of one that does not, the parts are: units, such as definitions and sections, each by
itself, and what is between them together, up to the limit. What is tiny joins what is beside it. A part that does not
fit is divided in turn; where the structure ends, between sentences or lines, and a line that is too long between words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile, zip_longest

from trivet.passages.block import Block
from trivet.passages.fill import Item, groups
from trivet.passages.lines import Lines, closes
from trivet.passages.meter import Meter
from trivet.passages.passage import PassageKind
from trivet.passages.sentences import sentences, words

_TINY_SHARE = 0.25
"""Of the limit; what has fewer tokens is about too little to be found by itself."""
_NO_PUNCTUATION = 2
_LOOK_AHEAD = 16
_PUNCTUATION = ";,{}。，；、"


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage in the making."""

    start: int
    end: int
    tokens: int
    kind: PassageKind
    is_unit: bool
    scopes: tuple[str, ...]
    """Titles of what encloses it, outermost first."""
    is_part: bool = False
    """Whether it is a part of a unit that did not fit."""


def pack(root: Block, lines: Lines, meter: Meter, max_tokens: int) -> list[Piece]:
    """The text's passages, in order; each visible character is in exactly one."""
    packer = _Packer(lines, meter, max_tokens)
    return packer.within_limit(packer.mended(packer.pieces(root, ())))


class _Packer:
    def __init__(self, lines: Lines, meter: Meter, max_tokens: int) -> None:
        self._lines = lines
        self._meter = meter
        self._max_tokens = max_tokens
        self._tiny_tokens = int(max_tokens * _TINY_SHARE)

    def pieces(self, block: Block, scopes: tuple[str, ...]) -> list[Piece]:
        """The block's passages; `scopes` are the titles of what encloses it."""
        tokens = self._meter.lines(block.first, block.stop)
        if tokens <= self._max_tokens:
            return self._piece(self._span(block), tokens, block, scopes)
        inside = (*scopes, block.title) if block.title else scopes
        found = list(self._parts(block, inside)) if block.blocks else self._leaf(block, inside)
        if found:  # the first has the block's first line in it: its title would only say that again
            found[0] = replace(found[0], scopes=scopes)
        joined = self._joined(found)
        return [replace(piece, is_unit=True, is_part=True) for piece in joined] if block.is_unit else joined

    def _parts(self, block: Block, scopes: tuple[str, ...]) -> Iterator[Piece]:
        run: list[Block] = []
        for part in block.blocks:
            if not part.is_unit and self._meter.lines(part.first, part.stop) <= self._max_tokens:
                run.append(part)
                continue
            yield from self._run(run, scopes)
            run = []
            yield from self.pieces(part, scopes)
        yield from self._run(run, scopes)

    def _run(self, blocks: Sequence[Block], scopes: tuple[str, ...]) -> Iterator[Piece]:
        """Parts that are no units, and each fit."""
        shown = [
            (block, line) for block in blocks if (line := self._lines.first_in(block.first, block.stop)) is not None
        ]
        items = [
            Item(*self._span(block), self._meter.lines(block.first, block.stop), self._lines.seam(line))
            for block, line in shown
        ]
        for start, stop in groups(items, self._max_tokens):
            tokens = sum(item.tokens for item in items[start:stop])
            yield from self._piece((items[start].start, items[stop - 1].end), tokens, shown[start][0], scopes)

    def _leaf(self, block: Block, scopes: tuple[str, ...]) -> list[Piece]:
        """A block without parts that is too long: by sentences or by lines."""
        if block.kind in ("section", "paragraphs"):
            items = list(self._sentences(*self._span(block)))
        else:
            items = list(self._rows(block.first, block.stop))
        return [
            Piece(items[start].start, items[stop - 1].end, sum(item.tokens for item in items[start:stop]),
                  block.kind, False, scopes)
            for start, stop in groups(items, self._max_tokens)
        ]  # fmt: skip

    def _rows(self, first: int, stop: int) -> Iterator[Item]:
        starts = self._lines.starts
        for line in range(first, stop):
            if self._lines.is_blank(line):
                continue
            tokens = self._meter.lines(line, line + 1)
            if tokens <= self._max_tokens:
                yield Item(*self._lines.trimmed(starts[line], starts[line + 1]), tokens, self._lines.seam(line))
            else:
                yield from self._words(starts[line], starts[line + 1])

    def _sentences(self, start: int, end: int) -> Iterator[Item]:
        text = self._lines.text
        spans = list(sentences(text, start, end))
        for (start, end), tokens in zip(spans, self._meter.exact(spans), strict=True):
            if tokens > self._max_tokens:
                yield from self._words(start, end)
            else:
                is_new_paragraph = text[max(0, start - 2) : start].endswith("\n\n")
                yield Item(start, end, tokens, (closes(text[start : start + 8]), 0, not is_new_paragraph))

    def _words(self, start: int, end: int) -> Iterator[Item]:
        text = self._lines.text
        spans = list(words(text, start, end))
        for (start, end), tokens in zip(spans, self._meter.exact(spans), strict=True):
            before = text[max(0, start - 1) : start]
            place = 0 if before.isspace() else 1 if before in _PUNCTUATION else _NO_PUNCTUATION
            yield Item(start, end, tokens, (closes(text[start : start + 8]), place, True))

    def mended(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces; one that begins with a closing bracket takes over half of a full one before it."""
        text = self._lines.text
        found: list[Piece] = []
        for piece in pieces:
            if found and closes(text[piece.start : piece.start + _LOOK_AHEAD].lstrip()):
                found += self._halves(_join(found.pop(), piece)) or ()
            else:
                found.append(piece)
        return found

    def within_limit(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces, and halves of those that have more tokens together than their parts had."""
        found: list[Piece] = []
        waiting = list(reversed(pieces))
        counts = self._meter.exact([(piece.start, piece.end) for piece in waiting])
        while waiting:
            piece, tokens = waiting.pop(), counts.pop()
            halves = self._halves(piece) if tokens > self._max_tokens else None
            if halves is None:
                found.append(piece)
            else:
                waiting += reversed(halves)
                counts += reversed(self._meter.exact([(half.start, half.end) for half in halves]))
        return found

    def _halves(self, piece: Piece) -> tuple[Piece, Piece] | None:
        """The piece in two: at a line's end or a space near its middle, else in the middle of a word."""
        if piece.end - piece.start < 2:
            return None
        at = _middle(self._lines.text, piece.start, piece.end)
        left, right = (self._lines.trimmed(start, end) for start, end in ((piece.start, at), (at, piece.end)))
        return (
            replace(piece, start=left[0], end=left[1], is_unit=False),
            replace(piece, start=right[0], end=right[1], is_unit=False),
        )

    def _joined(self, pieces: Sequence[Piece]) -> list[Piece]:
        """With tiny pieces joined to what is beside them."""
        found: list[Piece] = []
        for piece, following in zip_longest(pieces, pieces[1:]):
            if found and self._may_join(found[-1], piece) and not self._introduces(found[-1], piece, following):
                found[-1] = _join(found[-1], piece)
            else:
                found.append(piece)
        return found

    def _may_join(self, left: Piece, right: Piece) -> bool:
        if left.tokens + right.tokens > self._max_tokens:
            return False
        if not (left.is_unit and right.is_unit):
            return not (left.is_unit or right.is_unit) or self._is_tiny(left, right)
        return not (left.is_part or right.is_part) and self._is_tiny(left, right)

    def _is_tiny(self, left: Piece, right: Piece) -> bool:
        return min(left.tokens, right.tokens) < self._tiny_tokens

    def _introduces(self, before: Piece, piece: Piece, following: Piece | None) -> bool:
        """Whether a piece between two units, such as a constant, had better join the second."""
        if following is None or piece.is_unit or not (before.is_unit and following.is_unit):
            return False
        return self._may_join(piece, following)

    def _piece(self, span: tuple[int, int], tokens: int, block: Block, scopes: tuple[str, ...]) -> list[Piece]:
        """A passage, unless nothing visible is in it."""
        start, end = span
        return [Piece(start, end, tokens, block.kind, block.is_unit, scopes)] if start < end else []

    def _span(self, block: Block) -> tuple[int, int]:
        return self._lines.trimmed(self._lines.starts[block.first], self._lines.starts[block.stop])


def _middle(text: str, start: int, end: int) -> int:
    """A place well inside the piece at which to cut it."""
    middle, margin = (start + end) // 2, (end - start) // 4
    for separator in "\n ":
        places = (
            text.rfind(separator, start + margin, middle + 1) + 1,
            text.find(separator, middle, end - margin) + 1,
        )
        for place in sorted((place for place in places if place), key=lambda place: abs(place - middle)):
            if start < place < end and not closes(text[place : place + _LOOK_AHEAD].lstrip()):
                return place
    places = (*range(middle, start, -1), *range(middle + 1, end))
    return next((place for place in places if not closes(text[place : place + _LOOK_AHEAD].lstrip())), middle)


def _join(left: Piece, right: Piece) -> Piece:
    common = takewhile(lambda pair: pair[0] == pair[1], zip(left.scopes, right.scopes, strict=False))
    return Piece(
        left.start,
        right.end,
        left.tokens + right.tokens,
        "definition" if "definition" in (left.kind, right.kind) else left.kind,
        left.is_unit or right.is_unit,
        tuple(scope for scope, _ in common),
        left.is_part or right.is_part,
    )
