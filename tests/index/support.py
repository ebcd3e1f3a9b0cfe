"""Small indexes for the tests."""

from pathlib import Path

import numpy as np

from trivet.index import FileState, IndexModel, IndexWriter
from trivet.index.forms import Vectors
from trivet.passages import Passage

MODEL = IndexModel("starter-embedder", "abc", 8)


def state(content: str, scheme: str = "1:192") -> FileState:
    return FileState(content, scheme)


def lines_as_passages(text: str) -> list[Passage]:
    """Each line a passage."""
    found = []
    start = 0
    for number, line in enumerate(text.split("\n"), start=1):
        found.append(Passage(start, start + len(line), number, number, "lines", f"line {number}"))
        start += len(line) + 1
    return found


def axis(*components: int) -> Vectors:
    """A vector of 8 dimensions that points along some of them."""
    vector = np.zeros(8, np.float32)
    vector[list(components)] = 1
    return vector


def put(writer: IndexWriter, path: str, text: str, vectors: list[Vectors], content: str = "1") -> None:
    writer.put(path, state(content), text, lines_as_passages(text)[: len(vectors)], np.array(vectors))


def make(path: Path, files: dict[str, list[Vectors]]) -> None:
    """An index whose files have one line per vector."""
    with IndexWriter(path, MODEL) as writer:
        for name, vectors in files.items():
            put(writer, name, "\n".join(f"{name}:{number}" for number in range(1, len(vectors) + 1)), vectors)
