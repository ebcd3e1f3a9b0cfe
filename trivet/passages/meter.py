"""Counts tokens: of lines once, and of other pieces of the text when they are asked for."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from trivet.passages.lines import Lines
from trivet.passages.passage import CountTokens

_BATCH_TEXTS = 4096
_BATCH_CHARACTERS = 256 * 1024
_LONGEST_CHARACTERS = 2000
"""Longer texts are counted in pieces: a tokenizer holds many times the text it reads."""


class Meter:
    """Token counts of one text.

    The count of a range of lines is the sum of the lines' counts, which may differ by a few tokens from the count of
    the range: `exact` has the last word on a passage.
    """

    def __init__(self, lines: Lines, count_tokens: CountTokens) -> None:
        self._text = lines.text
        self._count_tokens = count_tokens
        starts = lines.starts
        counts = self.exact([(starts[line], starts[line + 1]) for line in range(len(lines))])
        self._before = [0, *accumulate(counts)]

    def lines(self, first: int, stop: int) -> int:
        """Tokens of the lines `first` to `stop` (excluded)."""
        return self._before[stop] - self._before[first]

    def exact(self, spans: Sequence[tuple[int, int]]) -> list[int]:
        """Tokens of each piece of the text; those of blank ones are not counted."""
        counts = [0] * len(spans)
        for indices, texts in _batches(self._text, spans):
            for index, count in zip(indices, self._count_tokens(texts), strict=True):
                counts[index] += count
        return counts


def _batches(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[list[int], list[str]]]:
    """The pieces, none longer than a tokenizer should get, with the index of the span that each is of."""
    indices: list[int] = []
    texts: list[str] = []
    characters = 0
    for index, (start, end) in enumerate(spans):
        for at in range(start, end, _LONGEST_CHARACTERS):
            piece = text[at : min(end, at + _LONGEST_CHARACTERS)]
            if piece.isspace():
                continue
            indices.append(index)
            texts.append(piece)
            characters += len(piece)
            if len(texts) == _BATCH_TEXTS or characters >= _BATCH_CHARACTERS:
                yield indices, texts
                indices, texts, characters = [], [], 0
    if texts:
        yield indices, texts
