"""Sorts documents by their best passage for a query."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from trivet.client import AsyncClient, BatchLimits, Service, calls
from trivet.client.bulk import batches_of, joined_service, utf8_bytes
from trivet.folders.passages import Divider, Located
from trivet.passages import Passage

_DIVIDED_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document and the passage that is most relevant to the query."""

    index: int
    """Position among the documents."""
    score: float
    """Relevance of the passage, 0..1."""
    passage: Passage
    text: str
    """The passage's."""


@dataclass(frozen=True, slots=True)
class RankedPart:
    """Some of the documents, in their order, and how they were served."""

    ranked: tuple[RankedDocument, ...]
    documents: int
    """Documents that are done, including those without a passage."""
    tokens: int
    service: Service


async def rank_documents(
    client: AsyncClient, query: str, documents: Sequence[tuple[str, str]]
) -> AsyncGenerator[RankedPart, None]:
    """Find each document's best passage. A passage's score does not depend on others, so parts can be merged.

    Args:
        client: a client of a server with a reranker.
        query: the question or topic.
        documents: (path, text); the path says what the text is written in.

    Raises:
        ClientError: the server refused a request or failed.
    """
    divider = Divider((await client.models()).models)
    for start in range(0, len(documents), _DIVIDED_TOGETHER):
        group = documents[start : start + _DIVIDED_TOGETHER]
        divided = await divider.divide(group)
        owned = [(start + at, one) for at, found in enumerate(divided) for one in found]
        yield await _ranked(client, query, owned, len(group))


async def _ranked(client: AsyncClient, query: str, owned: Sequence[tuple[int, Located]], documents: int) -> RankedPart:
    best: dict[int, RankedDocument] = {}
    tokens = 0
    services = []
    batches = batches_of([one.titled for _, one in owned], utf8_bytes, BatchLimits())
    many = (replace(calls.rerank(query, batch), start=start) for start, batch in batches)
    start = 0
    async with aclosing(client.send_all(many)) as rankings:
        async for ranking in rankings:
            for ranked in ranking.results:
                index, located = owned[start + ranked.index]
                if index not in best or ranked.score > best[index].score:
                    best[index] = RankedDocument(index, ranked.score, located.passage, located.text)
            start += len(ranking.results)
            tokens += ranking.tokens
            services.append(ranking.service)
    return RankedPart(tuple(best[index] for index in sorted(best)), documents, tokens, joined_service(services))
