"""The rerank call behind every rerank route, whatever the shape of its body and answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivet.api.answers import best_first
from trivet.api.options import CallOptions
from trivet.api.service import Service
from trivet.dispatch.protocol import Routed
from trivet.errors import remap_field_index
from trivet.messages import Floats, LongInput, ModelCard, RerankRequest, RerankResult
from trivet.passages.estimate import passage_tokens
from trivet.relations.division import Document, Excerpt, divide_all


@dataclass(frozen=True, slots=True)
class Ranked:
    """Positions of documents in the request, by descending logit, at most as many as the caller wants.

    Scores of large logits are all 1.0 in float32, so they cannot give the order.
    """

    order: list[int]
    routed: Routed[RerankResult]
    card: ModelCard

    def scores(self, *, raw: bool = False) -> Floats:
        """Scores by position in the request: 0..1, or the model's logits."""
        return self.routed.result.logits if raw else self.routed.result.scores

    def scored(self, field: str, *, raw: bool = False) -> list[dict[str, Any]]:
        """Return one `{index, <field>: score}` per document, best first."""
        scores = self.scores(raw=raw)
        return [{"index": index, field: float(scores[index])} for index in self.order]


async def rank(
    service: Service,
    query: str,
    documents: Sequence[str],
    options: CallOptions,
    *,
    model: str | None = None,
    top_n: int | None = None,
    long_input: LongInput | None = None,
    documents_field: str = "documents",
    similarities: Sequence[float] | None = None,
) -> Ranked:
    """Score documents against the query. `top_n` of None or 0 keeps all; only a blend reads `similarities`."""
    service.check_count(len(documents), documents_field)
    card = await service.card("reranker", model)
    request = RerankRequest(
        query,
        tuple(documents),
        long_input=long_input or options.long_input,
        priority=options.priority,
        no_store=options.no_store,
        inputs_field=documents_field,
        similarities=None if similarities is None or service.settings.blend is None else tuple(similarities),
    )
    routed = await service.call(request, options)
    return Ranked(best_first(routed.result.logits)[: top_n or None], routed, card)


async def best_passages(
    service: Service, query: str, documents: Mapping[int, str], options: CallOptions
) -> tuple[dict[int, Excerpt], Routed[RerankResult] | None]:
    """Find the passage of each long document that answers the query best, by one more call.

    Args:
        service: the models.
        query: the query.
        documents: by position in the request.
        options: of the request.

    Returns:
        By position, for documents of more than one passage; and the call, if one was needed.
    """
    max_tokens = passage_tokens(await service.info.models(), service.settings.passage_tokens)
    positions = list(documents)
    divided = await divide_all([Document(documents[index]) for index in positions], max_tokens)
    passages = [
        (index, passage)
        for index, of_document in zip(positions, divided, strict=True)
        if len(of_document) > 1
        for passage in of_document
    ]
    if not passages:
        return {}, None
    request = RerankRequest(
        query,
        tuple(passage.read for _, passage in passages),
        priority=options.priority,
        no_store=options.no_store,
    )
    with remap_field_index([index for index, _ in passages]):
        routed = await service.call(request, options)
    best: dict[int, tuple[float, Excerpt]] = {}
    for (index, passage), logit in zip(passages, routed.result.logits, strict=True):
        if index not in best or logit > best[index][0]:
            best[index] = float(logit), passage
    return {index: passage for index, (_, passage) in best.items()}, routed
