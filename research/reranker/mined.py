"""The file format between mining and training: one query with its documents per line."""

import gzip
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from research.training.batches import TextPair


@dataclass(frozen=True, slots=True)
class MinedGroup:
    """A query, its documents, and for each what the data says and how near the embedder finds it."""

    query: str
    documents: list[str]
    targets: list[float]
    """1 or 0; all NaN in a group without labels."""
    similarities: list[float]
    """Cosine of the embedder's vectors of query and document: the reranker's teacher."""
    added: int = 0
    """How many of the documents, the last ones, mining has added to those that people annotated."""

    def pairs(self, *, with_added: bool = True) -> list[TextPair]:
        """The group as pairs to train on."""
        rows = zip(self.documents, self.targets, self.similarities, strict=True)
        pairs = [TextPair(self.query, document, target, similarity) for document, target, similarity in rows]
        return pairs if with_added else pairs[: len(pairs) - self.added]


def write_mined(path: Path, groups: Iterable[MinedGroup]) -> int:
    """Write groups; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=5) as file:
        for group in groups:
            file.write(json.dumps(asdict(group)) + "\n")
            count += 1
    return count


def read_mined(path: Path) -> list[MinedGroup]:
    """The groups of a file, in its order."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [MinedGroup(**json.loads(line)) for line in file]
