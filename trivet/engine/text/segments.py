"""Where a long text may be cut so that the tokens of its pieces, one after another, are those of the whole. Pure.

A tokenizer holds some 400 bytes for every token of a text that it is given, several times more than for the same text
in pieces, and what it has held stays with the process.
"""

import re
from collections.abc import Iterable, Iterator

PIECE_CHARACTERS = 2**17

_CUT = re.compile(r"(?<=[!-~]) ")
"""Before a space that follows printable ASCII. There words end for every kind of tokenizer that we
know, and no normaliser joins what is before with what is behind; the space stays with the word that it belongs to."""


def pieces(text: str, characters: int = PIECE_CHARACTERS) -> list[str]:
    """Cut a text at the first place after every `characters`; one without such places stays whole."""
    found = []
    start = 0
    while len(text) - start > characters and (place := _CUT.search(text, start + characters)):
        found.append(text[start : place.start()])
        start = place.start()
    return [*found, text[start:]]


def batches(texts: Iterable[str], characters: int = PIECE_CHARACTERS) -> Iterator[list[str]]:
    """Texts in order, together of at most `characters` or alone."""
    batch: list[str] = []
    taken = 0
    for text in texts:
        if batch and taken + len(text) > characters:
            yield batch
            batch, taken = [], 0
        batch.append(text)
        taken += len(text)
    if batch:
        yield batch
