"""The texts that all clients send, and the result that they must get in any format."""

import math
from collections.abc import Sequence

QUERY = "how do I retry a failed HTTP request"
PASSAGES = [
    "A CSS grid lays out a page in rows and columns.",
    "Bake the bread at 230 degrees until the crust is brown.",
    "Retry a failed HTTP request with exponential backoff: wait, double the delay, and try again.",
    "A database index is a tree that finds rows by key.",
]
BEST = 2
LONG_TEXT = "The server keeps a pool of connections and reuses them for the next request. " * 400

EMBEDDER, RERANKER, CLASSIFIER = "embedder", "reranker", "classifier"
"""Every model can be addressed by the name of its task."""


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    dot = sum(a * b for a, b in zip(first, second, strict=True))
    return dot / math.sqrt(sum(a * a for a in first) * sum(b * b for b in second))


def assert_finds_the_best(query: Sequence[float], passages: Sequence[Sequence[float]]) -> None:
    similarities = [cosine(query, passage) for passage in passages]
    assert similarities.index(max(similarities)) == BEST, similarities
