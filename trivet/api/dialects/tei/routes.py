"""text-embeddings-inference's routes. TEI serves one model per process; here each route uses the model of its task.

`truncate: true` reads long texts in windows unless the settings say that it means truncation. Token ids are refused as
input, since nothing shows whose vocabulary they belong to.
"""

import time
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from starlette.responses import Response

from trivet.api.answers import LabelScore, Vector, json_response, label_scores
from trivet.api.dialect import TAG_PREFIX, schema_condition, tag_chooser
from trivet.api.dialects.tei.bodies import TeiBody, TruncatingBody
from trivet.api.dialects.tei.headers import tei_headers
from trivet.api.dialects.tei.info import TeiInfo, tei_info
from trivet.api.embedding import embed
from trivet.api.errors.bodies import documented_errors
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options
from trivet.api.ranking import rank
from trivet.api.schemas import Count, Text, TextList, Texts
from trivet.api.service import Service, find_by_name
from trivet.errors import InvalidInput, Unavailable
from trivet.messages import EmbedRequest, PairText, PredictRequest, TokenizeRequest

TOKENIZE_MAX_CHARACTERS = 131_072
"""The description of a token is about thirty times the size of its text."""


class TeiEmbedBody(TruncatingBody):
    """`POST /embed`."""

    inputs: Texts
    normalize: bool = True
    prompt_name: Text | None = None
    dimensions: Count | None = None


class TeiRerankBody(TruncatingBody):
    """`POST /rerank` with `texts`."""

    query: Text
    texts: TextList
    raw_scores: bool = False
    return_text: bool = False


class TeiRootRerankBody(TeiRerankBody):
    """`POST /` with `texts`."""

    model_config = ConfigDict(json_schema_extra=schema_condition("/", "tei_rerank"))


class TeiRootEmbedBody(TeiEmbedBody):
    """`POST /` otherwise."""

    model_config = ConfigDict(json_schema_extra=schema_condition("/", "tei_embed"))


RootBody = Annotated[
    Annotated[TeiRootRerankBody, Tag(f"{TAG_PREFIX}tei_rerank")]
    | Annotated[TeiRootEmbedBody, Tag(f"{TAG_PREFIX}tei_embed")],
    Discriminator(tag_chooser("/")),
]

TextOrPair = Annotated[list[Text], Field(min_length=1, max_length=2)]


def _form_of(inputs: Any) -> str:
    if isinstance(inputs, str):
        return f"{TAG_PREFIX}text"
    is_batch = isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], list)
    return f"{TAG_PREFIX}batch" if is_batch else f"{TAG_PREFIX}pair"


class TeiPredictBody(TruncatingBody):
    """`POST /predict`: a text, one pair as a list of two, or a batch of lists of one or two."""

    inputs: Annotated[
        Annotated[Text, Tag(f"{TAG_PREFIX}text")]
        | Annotated[TextOrPair, Tag(f"{TAG_PREFIX}pair")]
        | Annotated[list[TextOrPair], Field(min_length=1, fail_fast=True), Tag(f"{TAG_PREFIX}batch")],
        Discriminator(_form_of),
    ]
    raw_scores: bool = False

    @property
    def is_batch(self) -> bool:
        """Whether the answer is a list of lists."""
        return isinstance(self.inputs, list) and isinstance(self.inputs[0], list)

    def pairs(self) -> tuple[PairText, ...]:
        """Convert them to messages."""
        if isinstance(self.inputs, str):
            return (PairText(self.inputs),)
        return tuple(PairText(*item) for item in (self.inputs if self.is_batch else [self.inputs]))


class SimilarityInputs(TeiBody):
    """One text against others."""

    source_sentence: Text
    sentences: TextList


class SimilarityParameters(TruncatingBody):
    """How to embed them."""

    prompt_name: Text | None = None


class TeiSimilarityBody(TeiBody):
    """`POST /similarity`."""

    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class TeiTokenizeBody(TeiBody):
    """`POST /tokenize`. `model`, which TEI lacks, names the model whose tokenizer to use; default: the embedder."""

    inputs: Texts
    add_special_tokens: bool = True
    model: str | None = None


class TeiScore(BaseModel):
    """One of `texts`."""

    index: int
    score: float
    text: str | None = None


class TeiToken(BaseModel):
    """One token; special ones have no position in the text."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


async def _embed(service: Service, body: TeiEmbedBody, options: CallOptions) -> Response:
    started_s = time.monotonic()
    request = EmbedRequest(
        tuple(body.inputs),
        prompt_name=body.prompt_name,
        dimensions=body.dimensions,
        normalize=body.normalize,
        long_input=body.long_input(service, options),
        priority=options.priority,
        no_store=options.no_store,
        inputs_field="inputs",
    )
    _, routed, headers = await embed(service, request, options)
    vectors = np.ascontiguousarray(routed.result.vectors)  # orjson needs it, and a Matryoshka slice is not
    return json_response(vectors, headers={**headers, **tei_headers([routed], started_s, body.inputs)})


async def rerank(service: Service, body: TeiRerankBody, options: CallOptions) -> Response:
    """Answer a body with `texts`, on any path."""
    started_s = time.monotonic()
    ranked = await rank(
        service,
        body.query,
        body.texts,
        options,
        long_input=body.long_input(service, options),
        documents_field="texts",
    )
    scored = ranked.scored("score", raw=body.raw_scores)
    if body.return_text:
        scored = [{**item, "text": body.texts[item["index"]]} for item in scored]
    return json_response(scored, headers=tei_headers([ranked.routed], started_s, [body.query, *body.texts]))


async def _predict(service: Service, body: TeiPredictBody, options: CallOptions) -> Response:
    started_s = time.monotonic()
    pairs = body.pairs()
    service.check_count(len(pairs), "inputs")
    request = PredictRequest(
        pairs, long_input=body.long_input(service, options), priority=options.priority, no_store=options.no_store
    )
    routed = await service.call(request, options)
    result = routed.result
    scores = result.logits if body.raw_scores else result.scores
    answers = [label_scores(result.labels, of_text) for of_text in scores]
    texts = [f"{pair.text}{pair.text_pair or ''}" for pair in pairs]
    return json_response(answers if body.is_batch else answers[0], headers=tei_headers([routed], started_s, texts))


async def _similarity(service: Service, body: TeiSimilarityBody, options: CallOptions) -> Response:
    started_s = time.monotonic()
    sentences = body.inputs.sentences
    service.check_count(len(sentences), "inputs.sentences")
    parameters = body.parameters or SimilarityParameters()
    texts = (body.inputs.source_sentence, *sentences)
    request = EmbedRequest(
        texts,
        prompt_name=parameters.prompt_name,
        normalize=True,
        long_input=parameters.long_input(service, options),
        priority=options.priority,
        no_store=options.no_store,
        inputs_field="inputs",
    )
    routed = await service.call(request, options)
    source, others = routed.result.vectors[0], routed.result.vectors[1:]  # (H,), (N, H)
    return json_response(others @ source, headers=tei_headers([routed], started_s, texts))


async def _tokenize(service: Service, body: TeiTokenizeBody) -> Response:
    service.check_count(len(body.inputs), "inputs")
    characters = sum(len(text) for text in body.inputs)
    if characters > TOKENIZE_MAX_CHARACTERS:
        raise InvalidInput(
            f"inputs have {characters} characters; the limit is {TOKENIZE_MAX_CHARACTERS}", field="inputs"
        )
    cards = await service.info.models()
    task = find_by_name(cards, body.model, service.settings.model_aliases).task if body.model else "embedder"
    request = TokenizeRequest(tuple(body.inputs), task, body.add_special_tokens)
    result = await service.info.tokenize(request)
    return json_response(result.tokens)  # orjson writes dataclasses as objects


def tei_router(service: Service) -> APIRouter:
    """Build all routes but `/rerank`, which is shared."""
    router = APIRouter(route_class=JsonRoute, tags=["text-embeddings-inference"])

    def documented(path: str, answer: Any) -> dict[int | str, dict[str, Any]]:
        return {200: {"model": answer}, **documented_errors(path)}

    @router.post("/embed", summary="Embed (TEI)", responses=documented("/embed", list[Vector]))
    async def embed(body: TeiEmbedBody, options: Options) -> Response:
        return await _embed(service, body, options)

    @router.post(
        "/", summary="Embed or rerank, by the fields (TEI)", responses=documented("/", list[Vector] | list[TeiScore])
    )
    async def root(body: RootBody, options: Options) -> Response:
        if isinstance(body, TeiRerankBody):
            return await rerank(service, body, options)
        return await _embed(service, body, options)

    @router.post(
        "/predict",
        summary="The classifier's own classes (TEI)",
        responses=documented("/predict", list[LabelScore] | list[list[LabelScore]]),
    )
    async def predict(body: TeiPredictBody, options: Options) -> Response:
        return await _predict(service, body, options)

    @router.post("/similarity", summary="Cosine similarities (TEI)", responses=documented("/similarity", list[float]))
    async def similarity(body: TeiSimilarityBody, options: Options) -> Response:
        return await _similarity(service, body, options)

    @router.post("/tokenize", summary="Texts as tokens (TEI)", responses=documented("/tokenize", list[list[TeiToken]]))
    async def tokenize(body: TeiTokenizeBody) -> Response:
        return await _tokenize(service, body)

    @router.get("/info", summary="One model, the embedder unless named (TEI)", responses=documented("/info", TeiInfo))
    async def info(model: Annotated[str | None, WithJsonSchema({"type": "string"})] = None) -> Response:
        cards = await service.info.models()
        card = find_by_name(cards, model or "embedder", service.settings.model_aliases)
        return json_response(tei_info(card, service.settings))

    @router.get(
        "/health",
        summary="Can every model answer (TEI)",
        response_class=Response,
        responses=documented_errors("/health"),
    )
    async def health() -> Response:
        readiness = await service.info.readiness()
        if not readiness.all_served:
            raise Unavailable("not every model can answer yet")
        return Response()

    return router
