"""The rerank call behind every rerank route; the shapes around it differ, this does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trivet.api.answer_types import best_first
from trivet.api.options import CallOptions
from trivet.api.service import Service
from trivet.dispatch.protocol import Routed
from trivet.messages import Floats, LongInput, ModelCard, RerankRequest, RerankResult


@dataclass(frozen=True, slots=True)
class Ranked:
    """Documents in order: their positions in the request, best first, at most as many as were asked for."""

    order: list[int]
    routed: Routed[RerankResult]
    card: ModelCard

    def scores(self, *, raw: bool = False) -> Floats:
        """By position in the request: 0..1, or the model's own logits."""
        return self.routed.result.logits if raw else self.routed.result.scores

    def scored(self, field: str, *, raw: bool = False) -> list[dict[str, Any]]:
        """`{index, <field>: score}`, best first."""
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
    params: tuple[str, str] = ("query", "documents"),
) -> Ranked:
    """Score documents against the query. `top_n` of None or 0 keeps all."""
    service.check_count(len(documents), params[1])
    card = await service.card("reranker", model)
    request = RerankRequest(
        query,
        tuple(documents),
        long_input=long_input or options.long_input,
        priority=options.priority,
        params=params,
    )
    routed = await service.in_time(service.dispatcher.rerank(request), options)
    return Ranked(best_first(routed.result.scores)[: top_n or None], routed, card)
