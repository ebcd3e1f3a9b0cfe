"""`POST /v1/rerank`: the native route, Jina's and Cohere's v1 at once.

The fields of the three bodies are compatible, so one schema takes all of them. Clients ignore fields that they do not
know, so the answer has the fields of all three.
"""

from typing import Annotated, Any, NotRequired

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from trivet.api.answers import TokenUsage, json_response, new_id, route_headers, token_usage
from trivet.api.dialects.cohere import CohereMeta, cohere_meta
from trivet.api.errors.bodies import documented_errors
from trivet.api.fields import Documents, Flag, read_documents
from trivet.api.json_route import JsonRoute
from trivet.api.options import Options
from trivet.api.ranking import best_passages, rank
from trivet.api.schemas import Count, Text
from trivet.api.service import Service
from trivet.errors import InvalidInput
from trivet.messages import LongInput
from trivet.relations.division import Excerpt

PATH = "/v1/rerank"

Cosine = Annotated[float, Field(ge=-1.01, le=1.01, allow_inf_nan=False)]
"""Rounding may lead a little beyond 1."""


class RerankBody(BaseModel):
    """A query and the documents to sort. Other fields of the three dialects (`max_chunks_per_doc`, …) are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    query: Text
    documents: Documents
    model: str | None = None
    top_n: Count | None = None
    rank_fields: Annotated[list[str], Field(min_length=1, max_length=64, fail_fast=True)] | None = None
    return_documents: Flag | None = None
    return_best: Flag | None = None
    """Whether to name the best passage of each long document, which takes a call over the passages of the results."""
    similarities: Annotated[list[Cosine], Field(min_length=1, fail_fast=True)] | None = None
    """The cosine of the query's and each document's vector, if the caller has them: a blended score needs them. Where
    no blend is configured they change nothing, and the header `x-trivet-similarities: unused` says so."""
    long_input: LongInput | None = None

    def known_similarities(self) -> list[float] | None:
        """Return them, one per document; InvalidInput for another number."""
        if self.similarities is not None and len(self.similarities) != len(self.documents):
            raise InvalidInput(
                f"similarities has {len(self.similarities)} entries for {len(self.documents)} documents; send one each",
                field="similarities",
            )
        return self.similarities

    def texts(self) -> list[str]:
        """Return the text of each document that the model reads."""
        return read_documents(self.documents, self.rank_fields)


class BestPassage(TypedDict):
    """The passage of a document that answers the query best, by its place in the text that the model read."""

    start: int
    end: int
    start_line: int
    end_line: int
    text: NotRequired[str]
    """With `return_documents`."""


class RerankItem(TypedDict):
    """One document. `document` is present on request: an object as it was sent, a text as `{"text": …}`.

    `best` is present on request, for documents of more than one passage.
    """

    index: int
    relevance_score: float
    windows: int
    truncated: bool
    document: NotRequired[dict[str, Any]]
    best: NotRequired[BestPassage]


class RerankAnswer(TypedDict):
    """`POST /v1/rerank`, best document first."""

    id: str
    model: str
    results: list[RerankItem]
    usage: TokenUsage
    meta: CohereMeta


def rerank_v1_router(service: Service) -> APIRouter:
    """Build the route."""
    router = APIRouter(route_class=JsonRoute, tags=["models"])
    responses: dict[int | str, dict[str, Any]] = {200: {"model": RerankAnswer}, **documented_errors(PATH)}

    @router.post(PATH, summary="Sort documents by relevance to a query (also Jina, Cohere v1)", responses=responses)
    async def rerank(body: RerankBody, options: Options) -> Response:
        texts = body.texts()
        ranked = await rank(
            service,
            body.query,
            texts,
            options,
            model=body.model,
            top_n=body.top_n,
            long_input=body.long_input,
            similarities=body.known_similarities(),
        )
        usage = ranked.routed.result.usage
        scores = ranked.scores()
        results: list[RerankItem] = [
            {
                "index": index,
                "relevance_score": float(scores[index]),
                "windows": usage.windows[index],
                "truncated": usage.truncated[index],
            }
            for index in ranked.order
        ]
        if body.return_documents:
            for item in results:
                document = body.documents[item["index"]]
                item["document"] = {"text": document} if isinstance(document, str) else document
        calls = [ranked.routed]
        if body.return_best:
            shown = {index: texts[index] for index in ranked.order}
            best, routed = await best_passages(service, body.query, shown, options)
            calls += [routed] if routed is not None else []
            for item in results:
                if item["index"] in best:
                    item["best"] = _best(best[item["index"]], with_text=bool(body.return_documents))
        answer: RerankAnswer = {
            "id": new_id("rerank"),
            "model": ranked.card.name,
            "results": results,
            "usage": token_usage(call.result.usage for call in calls),
            "meta": cohere_meta("1"),
        }
        unused = body.similarities is not None and service.settings.blend is None
        notes = {"x-trivet-similarities": "unused"} if unused else {}
        return json_response(answer, headers=route_headers(calls) | notes)

    return router


def _best(passage: Excerpt, *, with_text: bool) -> BestPassage:
    best: BestPassage = {
        "start": passage.start,
        "end": passage.end,
        "start_line": passage.start_line,
        "end_line": passage.end_line,
    }
    if with_text:
        best["text"] = passage.text
    return best
