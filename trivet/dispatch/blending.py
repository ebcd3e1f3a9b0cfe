"""A dispatcher that adds the embedder's similarity to the reranker's logits, for rerankers that rank worse without it.

A small reranker knows the questions that it was trained on and little else; the embedder was trained on a billion
pairs. A logit below the floor says no more than that the reranker found nothing: there the similarity decides. The
vectors come from the cache like any others. Without the embedder a rerank request is refused: the logit alone gives
another order, and a caller could not compare its scores with those of the request before.
"""

import asyncio
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from trivet.dispatch.concurrency import bounded_as_completed
from trivet.dispatch.protocol import CacheUse, Dispatcher, Routed
from trivet.errors import InvalidInput, TrivetError
from trivet.messages import EmbedRequest, EmbedResult, Floats, Request, RerankRequest, RerankResult, ResultT, Usage


@dataclass(frozen=True, slots=True)
class Blend:
    """`scale * (trusted + cosine_weight * cosine) + shift` takes the place of a logit.

    `trusted` is the logit, or the floor where that is higher. With `trusted_between`, what the logit has above the
    floor counts by how much the embedder sees in common: not at all up to the first cosine, in full from the second.
    Scale and shift do not change the order; they calibrate the score, its logistic function.
    """

    cosine_weight: float
    logit_floor: float | None = None
    trusted_between: tuple[float, float] | None = None
    scale: float = 1.0
    shift: float = 0.0

    def logits(self, logits: Floats, cosines: Floats) -> Floats:
        """Blend both, (documents,) each."""
        trusted = logits
        if self.logit_floor is not None:
            above = np.maximum(logits - self.logit_floor, 0)
            if self.trusted_between is not None:
                low, high = self.trusted_between
                above = above * np.clip((cosines - low) / (high - low), 0, 1)
            trusted = self.logit_floor + above
        blended: Floats = (self.scale * (trusted + self.cosine_weight * cosines) + self.shift).astype(np.float32)
        return blended


class BlendingDispatcher:
    """A `trivet.dispatch.protocol.Dispatcher` that blends the scores of rerank calls; it forwards all others."""

    def __init__(self, inner: Dispatcher, blend: Blend) -> None:
        self._inner = inner
        self._blend = blend

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        """Answer a request; a rerank request without similarities takes calls of the embedder, too."""
        if not isinstance(request, RerankRequest):
            return await self._inner.call(request)
        blended = await (self._embedding(request) if request.similarities is None else self._informed(request))
        answer: ResultT = request.checked(blended.result)  # type: ignore[assignment]  # the request is a RerankRequest here
        return Routed(answer, blended.lane, blended.reroute_reason, blended.cache)

    async def _informed(self, request: RerankRequest) -> Routed[RerankResult]:
        """Blend with the similarities that the caller knows."""
        cosines = np.array(request.similarities, np.float32)
        reranked = await self._inner.call(replace(request, similarities=None))
        return replace(reranked, result=self._blended(reranked.result, cosines))

    async def _embedding(self, request: RerankRequest) -> Routed[RerankResult]:
        """Blend with the similarities of the vectors of query and documents."""
        embedding = asyncio.create_task(self._embedded(request))
        try:
            # Awaited first: of two refusals, the reranker's names the caller's fields and limits.
            reranked = await self._inner.call(request)
            with _named_as_part_of_reranking():
                queries, documents = await embedding
        finally:
            embedding.cancel()
            await asyncio.gather(embedding, return_exceptions=True)
        cosines = _cosines(queries.result.vectors[0], documents.result.vectors)
        usage = _usage(reranked.result, queries.result, documents.result)
        calls = (reranked, queries, documents)
        cache = [call.cache for call in calls if call.cache is not None]
        return Routed(
            replace(self._blended(reranked.result, cosines), usage=usage),
            reranked.lane,
            next((call.reroute_reason for call in calls if call.reroute_reason is not None), None),
            # An input is a document with its query; it is from the cache if all that it needs is.
            CacheUse(min(cache[0].hits, cache[-1].hits), cache[0].inputs) if cache else None,
        )

    async def _embedded(self, request: RerankRequest) -> tuple[Routed[EmbedResult], Routed[EmbedResult]]:
        """Embed the query and the documents, at the same time."""
        requests = (_embed(request, (request.query,), "query"), _embed(request, request.documents, "document"))
        calls = [partial(self._inner.call, part) for part in requests]
        found = {index: routed async for index, routed in bounded_as_completed(calls, len(calls))}
        return found[0], found[1]

    def _blended(self, result: RerankResult, cosines: Floats) -> RerankResult:
        logits = self._blend.logits(result.logits, cosines)
        scores = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
        return replace(result, logits=logits, scores=scores)


@contextmanager
def _named_as_part_of_reranking() -> Iterator[None]:
    """Explain why a rerank request fails when the embedder does."""
    try:
        yield
    except InvalidInput:
        raise  # names the caller's text
    except TrivetError as error:
        explained = copy.copy(error)  # other callers may wait for the same call
        explained.args = (f"this reranker's score needs the embedder (reranker.blend), which failed: {error.message}",)
        raise explained from error


def _embed(request: RerankRequest, texts: tuple[str, ...], kind: str) -> EmbedRequest:
    return EmbedRequest(
        texts,
        input_type="query" if kind == "query" else "document",
        # The embedder may take less than the reranker, which has accepted the texts already.
        long_input="truncate" if request.long_input == "truncate" else "window",
        priority=request.priority,
        no_store=request.no_store,
        inputs_field=request.query_field if kind == "query" else request.inputs_field,
    )


def _cosines(query: Floats, documents: Floats) -> Floats:
    lengths = np.linalg.norm(documents, axis=1) * np.linalg.norm(query)
    return ((documents @ query) / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _usage(reranked: RerankResult, query: EmbedResult, documents: EmbedResult) -> Usage:
    """Return the reranker's usage with the tokens that the embedder read; the query's count for the first document."""
    tokens = [sum(both) for both in zip(reranked.usage.input_tokens, documents.usage.input_tokens, strict=True)]
    tokens[0] += query.usage.tokens
    return replace(reranked.usage, input_tokens=tuple(tokens))
