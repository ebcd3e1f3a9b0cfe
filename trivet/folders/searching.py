"""Finds the passages of an index that answer a question: candidates by cosine, then the reranker's order."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from trivet.client import AsyncClient, Service
from trivet.client.bulk import joined_service
from trivet.folders.passages import Located
from trivet.index import Hit, IndexModel, IndexReader
from trivet.index.file import check_model
from trivet.passages import Passage
from trivet.passages.estimate import estimated_tokens

_CANDIDATES_PER_RESULT = 3
_LEAST_CANDIDATES = 24
_MOST_CANDIDATES = 256
_MOST_TOKENS = 2000
"""What a search costs is the reranking of its candidates: of so many tokens, a fifth of a second on two cores. More are
read only where more results are wanted."""


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that answers a question."""

    path: str
    passage: Passage
    text: str
    score: float
    """The reranker's relevance, 0..1; without reranking the cosine."""
    similarity: float
    """Cosine of the embedder's vectors, -1..1."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """Passages, best first."""

    found: tuple[Found, ...]
    candidates: int
    """Passages that were reranked."""
    tokens: int
    service: Service


def candidates_for(k: int) -> int:
    """How many passages are reranked for `k` results."""
    return max(k, min(_MOST_CANDIDATES, max(_LEAST_CANDIDATES, _CANDIDATES_PER_RESULT * k)))


async def search(
    client: AsyncClient,
    reader: IndexReader,
    question: str,
    k: int,
    *,
    path: str | None = None,
    rerank: bool = True,
    instruction: str | None = None,
) -> SearchAnswer:
    """The `k` passages of an index that answer a question best.

    Args:
        client: a client of a server with the embedder that the index was made with.
        reader: the index.
        question: the question or topic.
        k: at least 1.
        path: a pattern as in `.gitignore`; only files that it matches are searched.
        rerank: whether the reranker orders the candidates.
        instruction: what the search is for, for an embedder whose prompt says that.

    Raises:
        OtherModel: the index's vectors are of another model than the server's.
        ValueError: the pattern cannot match.
        ClientError: the server refused a request or failed.
    """
    dimensions = reader.model.dimensions
    models = await client.models()
    model = models.of_task("embedder")
    check_model(reader.path, reader.model, IndexModel(model.name, model.revision, dimensions))
    kept = None if dimensions == model.dimensions else dimensions
    embedded = await client.embed([question], input_type="query", instruction=instruction, dimensions=kept)
    count = candidates_for(k) if rerank else k
    hits = await asyncio.to_thread(reader.search, embedded.to_numpy()[0], count, path)
    if not rerank or not hits:
        found = tuple(_found(hit, hit.score) for hit in hits)
        return SearchAnswer(found, 0, embedded.tokens, embedded.service)
    texts = [Located(hit.passage, hit.text).titled for hit in hits]
    hits = hits[: max(k, _within(_MOST_TOKENS, texts))]
    # Shorter vectors and signs have other cosines than those that the score was measured with.
    alike = kept is None and reader.form != "binary"
    similarities = [hit.score for hit in hits] if alike else None
    ranking = await client.rerank(question, texts[: len(hits)], top_n=k, similarities=similarities)
    return SearchAnswer(
        tuple(_found(hits[ranked.index], ranked.score) for ranked in ranking.results),
        len(hits),
        embedded.tokens + ranking.tokens,
        joined_service([embedded.service, ranking.service]),
    )


def _within(most_tokens: int, texts: Sequence[str]) -> int:
    """Return how many of the texts, from the first one, have at most so many tokens together."""
    return sum(total <= most_tokens for total in accumulate(estimated_tokens(texts)))


def _found(hit: Hit, score: float) -> Found:
    return Found(hit.path, hit.passage, hit.text, score, hit.score)
