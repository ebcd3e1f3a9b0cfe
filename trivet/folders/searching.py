"""Finds the passages of an index that answer a question: candidates by cosine, then the reranker's order."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from trivet.client import AsyncClient, Service
from trivet.client.bulk import joined_service
from trivet.errors import InvalidInput
from trivet.folders.passages import Located
from trivet.index import Hit, IndexModel, IndexReader, Skipped, read_text
from trivet.index.file import check_model
from trivet.index.names import shown
from trivet.index.texts import MOST_BYTES
from trivet.passages import Passage
from trivet.passages.estimate import estimated_tokens

_CANDIDATES_PER_RESULT = 3
_LEAST_CANDIDATES = 24
_MOST_CANDIDATES = 256
_MOST_TOKENS = 1300
"""What a search costs is the reranking of its candidates: of so many tokens, some 130 ms on two cores. More are read
only where more results are wanted. Of code it is 10 to 15 passages, ordered nearly as well as 30 (bench/LOG.md)."""
_MOST_QUESTION_TOKENS = 500
"""The reranker reads the question with each of the candidates: a whole file as a question would take minutes."""


_MOST_COPIES = 4096
"""Passages that are looked at for as many different ones as are wanted, and for their copies."""
_SAME_COSINE = 1e-3
"""How much the cosines of copies differ at most, which were not embedded in one batch."""
_NAMED_COPIES = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage is."""

    path: str
    passage: Passage


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
    copies: tuple[Place, ...] = ()
    """Other places of the same text that are as near to the question, in copied files for example."""


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
    """The `k` passages of an index that answer a question best. Passages of the same text count as one.

    Args:
        client: a client of a server with the embedder that the index was made with.
        reader: the index.
        question: the question or topic.
        k: at least 1.
        path: a pattern as in `.gitignore`; only files that it matches are searched.
        rerank: whether the reranker orders the candidates.
        instruction: what the search is for, for an embedder whose prompt says that.

    Raises:
        InvalidInput: the question is blank or too long.
        OtherModel: the index's vectors are of another model than the server's.
        ValueError: the pattern cannot match.
        ClientError: the server refused a request or failed.
    """
    check_question(question)
    dimensions = reader.model.dimensions
    models = await client.models()
    model = models.of_task("embedder")
    check_model(reader.path, reader.model, IndexModel(model.name, model.revision, dimensions))
    kept = None if dimensions == model.dimensions else dimensions
    embedded = await client.embed([question], input_type="query", instruction=instruction, dimensions=kept)
    count = candidates_for(k) if rerank else k
    vector = embedded.to_numpy()[0]
    nearest = await asyncio.to_thread(_different, lambda most: reader.search(vector, most, path), count)
    hits = [same[0] for same in nearest]
    if not rerank or not hits:
        found = tuple(_found(same, same[0].score) for same in nearest)
        return SearchAnswer(found, 0, embedded.tokens, embedded.service)
    texts = [Located(hit.passage, hit.text).titled for hit in hits]
    hits = hits[: max(k, _within(_MOST_TOKENS, texts))]
    # Shorter vectors and signs have other cosines than those that the score was measured with.
    alike = kept is None and reader.form != "binary"
    similarities = [hit.score for hit in hits] if alike else None
    ranking = await client.rerank(question, texts[: len(hits)], top_n=k, similarities=similarities)
    return SearchAnswer(
        tuple(_found(nearest[ranked.index], ranked.score) for ranked in ranking.results),
        len(hits),
        embedded.tokens + ranking.tokens,
        joined_service([embedded.service, ranking.service]),
    )


def changed_since(reader: IndexReader, folder: Path, found: Sequence[Found]) -> list[str]:
    """The paths of what was found whose files have another content now, or have gone: their lines may be others."""
    digests = reader.digests(dict.fromkeys(one.path for one in found))
    changed: list[str] = []
    for path, digest in digests.items():
        read = read_text(folder / path, max_bytes=MOST_BYTES)
        if isinstance(read, Skipped) or read.digest != digest:
            changed.append(path)
    return changed


def check_question(question: str) -> None:
    """Refuse a question that nothing can answer, or whose answer would take minutes. Raises InvalidInput."""
    if not question.strip():
        raise InvalidInput("the question is blank; give a question or topic", field="query")
    [tokens] = estimated_tokens([question])
    if tokens > _MOST_QUESTION_TOKENS:
        raise InvalidInput(
            f"the question has about {tokens} tokens; the limit is {_MOST_QUESTION_TOKENS}: give the part of it that "
            "says what is looked for",
            field="query",
        )


def _within(most_tokens: int, texts: Sequence[str]) -> int:
    """Return how many of the texts, from the first one, have at most so many tokens together."""
    return sum(total <= most_tokens for total in accumulate(estimated_tokens(texts)))


def copies_line(found: Found, folder: Path) -> str:
    """Say where else a passage is, with the paths below `folder`."""
    named = [
        f"{shown(folder / one.path)}:{one.passage.first_line}-{one.passage.last_line}"
        for one in found.copies[:_NAMED_COPIES]
    ]
    more = len(found.copies) - len(named)
    return "also in " + ", ".join(named) + (f" and {more} more" if more else "")


def _different(nearest: Callable[[int], list[Hit]], count: int) -> list[list[Hit]]:
    """The `count` nearest passages of different texts, each with its copies, the one least deep in the folder first."""
    most = 2 * count
    while True:
        hits = nearest(most)
        of_text: dict[str, list[Hit]] = {}
        for hit in hits:
            of_text.setdefault(hit.text, []).append(hit)
        kept = list(of_text.values())[:count]
        seen_all = len(hits) < most or (len(kept) == count and hits[-1].score < kept[-1][0].score - _SAME_COSINE)
        if seen_all or most >= _MOST_COPIES:
            return [sorted(same, key=_depth) for same in kept]
        most = min(4 * most, _MOST_COPIES)


def _depth(hit: Hit) -> tuple[int, str, int]:
    return hit.path.count("/"), hit.path, hit.passage.start


def _found(same: Sequence[Hit], score: float) -> Found:
    hit, *copies = same
    return Found(
        hit.path, hit.passage, hit.text, score, hit.score, tuple(Place(one.path, one.passage) for one in copies)
    )
