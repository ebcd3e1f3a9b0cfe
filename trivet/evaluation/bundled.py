"""The labelled sets that come with Trivet. `data/README.md` says where each is from and under which licence."""

from collections.abc import Callable
from pathlib import Path

from trivet.evaluation.files import read_pairs, read_retrieval, read_texts
from trivet.evaluation.sets import LabelledSet

DATA = Path(__file__).parent / "data"

_READERS: dict[str, Callable[[int | None], LabelledSet]] = {
    "answers": lambda limit: read_retrieval(
        DATA / "answers.jsonl", DATA / "answers-corpus.jsonl", name="answers", limit=limit
    ),
    "relations": lambda limit: read_pairs(DATA / "relations.jsonl", name="relations", limit=limit),
    "topics": lambda limit: read_texts(DATA / "topics.jsonl", name="topics", limit=limit),
}

BUNDLED = tuple(_READERS)
"""Their names."""


def read_bundled(name: str, *, limit: int | None = None) -> LabelledSet:
    """One of `BUNDLED`; KeyError for another name."""
    return _READERS[name](limit)
