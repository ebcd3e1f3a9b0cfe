"""The texts on which models are compared: bundled ones of many lengths, or the lines of a file."""

import json
from collections.abc import Sequence
from pathlib import Path

from trivet.evaluation.bundled import read_bundled
from trivet.evaluation.files import BadSet
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


def read_texts(file: Path) -> list[str]:
    """Return the texts of a file: a line each, or JSON lines with `text`.

    Raises:
        BadSet: the file cannot be read, or a line is no object with a text.
    """
    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadSet(f"{file} cannot be read: {error}") from error
    texts = [_text(file, number, line) for number, line in enumerate(lines, 1)]
    if len(texts) < 2:
        raise BadSet(f"{file} has {len(texts)} texts; two are needed to compare an order")
    return texts


def _text(file: Path, number: int, line: str) -> str:
    if file.suffix not in (".jsonl", ".ndjson"):
        return line
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadSet(f"{file}, line {number}: no JSON object with a text") from error
    if not isinstance(text, str) or not text:
        raise BadSet(f"{file}, line {number}: text must be a string that is not empty")
    return text


def fitting(texts: Sequence[str], windows: Sequence[int]) -> list[int]:
    """Return the positions of the texts that were read in one window: a reference cuts the others off."""
    return [at for at, count in enumerate(windows) if count == 1 and texts[at]]
