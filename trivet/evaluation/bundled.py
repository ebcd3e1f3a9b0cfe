"""The labelled sets that come with Trivet. `data/README.md` states the origin and the licence of each."""

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
"""Names of the bundled sets."""


def read_bundled(name: str, *, limit: int | None = None) -> LabelledSet:
    """Read one of `BUNDLED`, at most `limit` rows of it. Raises KeyError for another name."""
    return _READERS[name](limit)
