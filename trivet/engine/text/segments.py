"""Cuts a long text into segments whose tokens, one segment after another, are those of the whole text. Pure.

A tokenizer holds some 400 bytes for every token of a text that it is given, several times more than for the same text
in segments, and the process never returns that memory to the system.
"""

import re
from collections.abc import Iterable, Iterator

SEGMENT_CHARACTERS = 2**17

_CUT = re.compile(r"(?<=[!-~]) ")
"""A cut is made before a space that follows printable ASCII. There words end for every known kind of tokenizer, and no
normaliser joins the characters on both sides. The space stays with the word that follows it."""


def segments(text: str, characters: int = SEGMENT_CHARACTERS) -> list[str]:
    """Cut a text at the first possible place after every `characters`; one without such places stays whole."""
    found = []
    start = 0
    while len(text) - start > characters and (place := _CUT.search(text, start + characters)):
        found.append(text[start : place.start()])
        start = place.start()
    return [*found, text[start:]]


def batches(texts: Iterable[str], characters: int = SEGMENT_CHARACTERS) -> Iterator[list[str]]:
    """Group texts in their order. A group holds one text, or several of at most `characters` together."""
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
