"""The native routes for one model: embeddings in OpenAI's shape, and zero-shot classification."""

from collections.abc import Mapping, Sequence
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from trivet.api.answers import (
    ClassifyAnswer,
    EmbeddingsAnswer,
    embedding_items,
    json_response,
    label_scores,
    route_headers,
    token_usage,
)
from trivet.api.errors.bodies import documented_errors
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options, wants_lines
from trivet.api.schemas import ClassifyBody, EmbeddingsBody
from trivet.api.service import Service, check_dimensions, embed, embed_notes
from trivet.api.streaming import Part, Plan, batches_of, documented_lines, lines_response
from trivet.errors import remap_field_index
from trivet.messages import ClassifyRequest, EmbedRequest, ModelCard
from trivet.quantize import check_type


def native_router(service: Service) -> APIRouter:
    """Build the routes over a service."""
    router = APIRouter(route_class=JsonRoute, tags=["models"])
    errors = documented_errors("/v1/embeddings")

    @router.post(
        "/v1/embeddings",
        summary="Embed texts (OpenAI shape)",
        responses={200: {"model": EmbeddingsAnswer, **documented_lines("embeddings")}, **errors},
    )
    async def embeddings(body: EmbeddingsBody, request: Request, options: Options) -> Response:
        if wants_lines(request):
            service.check_count(len(body.input), "input")
            card = await service.card("embedder", body.model)
            check_dimensions(service, card, _embed_request(body, body.input, options))
            check_type(body.output_dtype, body.dimensions or card.dimensions or 0, "output_dtype")
            plan = _embedding_plan(service, body, card, options)
            parallel, timeout_s = service.settings.parallel_calls, service.timeout_s(options)
            return await lines_response(plan, parallel=parallel, timeout_s=timeout_s)
        asked = _embed_request(body, body.input, options)
        card, routed, headers = await embed(service, asked, options, model=body.model)
        usage = routed.result.usage
        answer: EmbeddingsAnswer = {
            "object": "list",
            "data": embedding_items(routed.result, as_base64=body.encoding_format == "base64", dtype=body.output_dtype),
            "model": card.name,
            "usage": token_usage([usage]),
        }
        return json_response(answer, headers=headers)

    @router.post(
        "/v1/classify",
        summary="Zero-shot classification of texts or pairs",
        responses={200: {"model": ClassifyAnswer}, **errors},
    )
    async def classify(body: ClassifyBody, options: Options) -> Response:
        service.check_count(len(body.input), "input")
        service.check_cost(body.cost(), "labels")
        card = await service.card("classifier", body.model)
        hypotheses = body.hypotheses()
        request = ClassifyRequest(
            tuple(item.to_message() for item in body.input),
            hypotheses,
            multi_label=body.multi_label,
            long_input=body.long_input or options.long_input,
            priority=options.priority,
            no_store=options.no_store,
        )
        routed = await service.call(request, options)
        usage = routed.result.usage
        answer: ClassifyAnswer = {
            "object": "list",
            "model": card.name,
            "data": [
                {
                    "index": index,
                    "labels": label_scores(hypotheses, scores),
                    "windows": usage.windows[index],
                    "truncated": usage.truncated[index],
                }
                for index, scores in enumerate(routed.result.scores)
            ],
            "usage": token_usage([usage]),
        }
        return json_response(answer, headers=route_headers([routed]))

    return router


def _embed_request(body: EmbeddingsBody, texts: Sequence[str], options: CallOptions) -> EmbedRequest:
    """Embed some of a body's texts as the body says."""
    return EmbedRequest(
        tuple(texts),
        input_type=body.input_type,
        dimensions=body.dimensions,
        output=body.output,
        instruction=body.instruction,
        long_input=body.long_input or options.long_input,
        priority=options.priority,
        no_store=options.no_store,
    )


def _embedding_plan(service: Service, body: EmbeddingsBody, card: ModelCard, options: CallOptions) -> Plan:
    async def part(start: int, texts: Sequence[str]) -> Part:
        with remap_field_index(range(start, start + len(texts))):
            routed = await service.dispatcher.call(_embed_request(body, texts, options))
        as_base64 = body.encoding_format == "base64"
        lines = embedding_items(routed.result, as_base64=as_base64, first_index=start, dtype=body.output_dtype)
        return Part(lines, len(texts), [routed])

    request = _embed_request(body, body.input, options)
    batches = batches_of(body.input, service.settings.stream_chunk_inputs)
    calls = [partial(part, start, texts) for start, texts in batches]
    return Plan(calls, len(body.input), ending=lambda: {"model": card.name, **_fields(embed_notes(card, request))})


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    """The notes of a stream's last line, since its headers leave first: `x-trivet-prompt` becomes `prompt`."""
    return {name.removeprefix("x-trivet-"): value for name, value in headers.items()}
