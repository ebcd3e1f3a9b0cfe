"""The texts on which models are compared: bundled ones of many lengths, or the lines of a file."""

from collections.abc import Sequence
from pathlib import Path

from trivet.evaluation.bundled import read_bundled
from trivet.evaluation.files import BadSet, Row, Text, lines_of, rows_of
from trivet.evaluation.sets import RetrievalSet

_LENGTHS_WORDS = (4, 12, 30, 60, 110)
_ODD = ("Ünïcödé – naïve 日本語 🙂", "def area(r):\n    return PI * r * r  # the circle", "  Two  spaces,\n\ta tab.  ")
QUERIES = ("Who lived through a nervous breakdown?", "def area of a circle")
LABELS = ("science", "sport", "computer programs")
TEMPLATE = "This example is about {}."


def bundled_texts(count: int = 16) -> list[str]:
    """Return texts of four words up to about a hundred, and some with unusual characters."""
    answers = read_bundled("answers", limit=None)
    assert isinstance(answers, RetrievalSet)
    words = " ".join(answers.corpus).split()
    texts = list(_ODD)
    at = 0
    while len(texts) < count:
        length = _LENGTHS_WORDS[len(texts) % len(_LENGTHS_WORDS)]
        texts.append(" ".join(words[at : at + length]))
        at += length
    return texts


class _TextRow(Row):
    text: Text


def read_texts(file: Path) -> list[str]:
    """Return the texts of a file: a line each, or JSON lines with `text`.

    Raises:
        BadSet: the file cannot be read, has fewer than two texts, or a line is no object with a text.
    """
    if file.suffix.lower() in (".jsonl", ".ndjson"):
        texts = [row.text for _, row in rows_of(file, _TextRow, None)]
    else:
        texts = [line.rstrip("\r") for _, line in lines_of(file)]
    if len(texts) < 2:
        raise BadSet(f"{file}: {len(texts)} of the two texts that are needed to compare an order")
    return texts


def fitting(texts: Sequence[str], windows: Sequence[int]) -> list[int]:
    """Return the positions of the texts that were read in one window: a reference cuts the others off."""
    return [at for at, count in enumerate(windows) if count == 1 and texts[at]]
