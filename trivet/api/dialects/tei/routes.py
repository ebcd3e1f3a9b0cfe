"""text-embeddings-inference's routes. TEI serves one model per process; here each route uses the model of its task.

Clients that ask a base URL which model it serves (`/info`) get one base URL per model: `/embedder`, `/reranker` and
`/classifier` have the routes of a TEI server with that model.

`truncate: true` reads long texts in windows unless the settings say that it means truncation. Token ids are refused as
input, since nothing shows whose vocabulary they belong to.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Self

import numpy as np
from fastapi import APIRouter, Request
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError
from starlette.responses import RedirectResponse, Response

from trivet.api.answers import LabelScore, Vector, json_response, label_scores
from trivet.api.dialect import TAG_PREFIX, schema_condition, tag_chooser
from trivet.api.dialects.tei.bodies import TeiBody, TruncatingBody
from trivet.api.dialects.tei.headers import tei_headers
from trivet.api.dialects.tei.info import TeiInfo, tei_info
from trivet.api.errors.bodies import documented_errors
from trivet.api.fields import Flag, MaybeEmptyDocuments, MaybeEmptyText, TextKind, read_documents
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options
from trivet.api.ranking import rank
from trivet.api.schemas import Count, Text, TextList, Texts, as_whole
from trivet.api.scope import TASK_PREFIXES
from trivet.api.service import Service, embed, find_by_name, predict
from trivet.config import TASKS, Task
from trivet.errors import InvalidInput, Unavailable
from trivet.messages import (
    DetokenizeRequest,
    EmbedRequest,
    PairText,
    TokenizeRequest,
    TokenizeResult,
)

TOKENIZE_MAX_CHARACTERS = 131_072
"""The description of a token is about thirty times the size of its text."""


class TeiEmbedBody(TruncatingBody):
    """`POST /embed`."""

    inputs: Texts
    input_type: TextKind = None
    normalize: Flag = True
    prompt_name: Text | None = None
    dimensions: Count | None = None


class TeiRerankBody(TruncatingBody):
    """`POST /rerank` with `texts`."""

    query: MaybeEmptyText
    texts: MaybeEmptyDocuments
    raw_scores: Flag = False
    return_text: Flag = False

    @model_validator(mode="after")
    def _not_both_empty(self) -> Self:
        if not self.query and "" in self.texts:
            raise PydanticCustomError("empty", "query and texts must not both be empty")
        return self


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


def _not_empty(texts: list[str]) -> list[str]:
    if not any(texts):
        raise PydanticCustomError("empty", "must not be empty")
    return texts


TextOrPair = Annotated[list[MaybeEmptyText], Field(min_length=1, max_length=2), AfterValidator(_not_empty)]
"""One side of a pair may be empty."""


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
    raw_scores: Flag = False

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
    add_special_tokens: Flag = True
    model: str | None = None


def _as_lists(value: Any) -> Any:
    return [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value


TokenIds = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**32), BeforeValidator(as_whole)]], Field(min_length=1, fail_fast=True)
]


class TeiDecodeBody(TeiBody):
    """`POST /decode`: ids of one text or of several. `model` as for `/tokenize`."""

    ids: Annotated[
        list[TokenIds],
        Field(min_length=1, fail_fast=True),
        BeforeValidator(_as_lists, json_schema_input_type=TokenIds | Annotated[list[TokenIds], Field(min_length=1)]),
    ]
    skip_special_tokens: Flag = True
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
        input_type=body.input_type,
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
    texts = read_documents(body.texts)
    ranked = await rank(
        service,
        body.query,
        texts,
        options,
        long_input=body.long_input(service, options),
        documents_field="texts",
    )
    scored = ranked.scored("score", raw=body.raw_scores)
    if body.return_text:
        scored = [{**item, "text": texts[item["index"]]} for item in scored]
    return json_response(scored, headers=tei_headers([ranked.routed], started_s, [body.query, *texts]))


async def _predict(service: Service, body: TeiPredictBody, options: CallOptions) -> Response:
    started_s = time.monotonic()
    pairs = body.pairs()
    long_input = body.long_input(service, options)
    _, routed = await predict(service, pairs, options, field="inputs", long_input=long_input)
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


async def task_of(service: Service, asked: str | None) -> Task:
    """Return the task of the model that a request names; the embedder's without a name."""
    if not asked:
        return "embedder"
    return find_by_name(await service.info.models(), asked, service.settings.model_aliases).task


async def tokenize(
    service: Service, texts: Sequence[str], task: Task, *, add_special_tokens: bool, field: str
) -> TokenizeResult:
    """Split a limited amount of text into tokens."""
    service.check_count(len(texts), field)
    characters = sum(len(text) for text in texts)
    if characters > TOKENIZE_MAX_CHARACTERS:
        raise InvalidInput(f"{field} has {characters} characters; the limit is {TOKENIZE_MAX_CHARACTERS}", field=field)
    return await service.info.tokenize(TokenizeRequest(tuple(texts), task, add_special_tokens))


async def _tokenize(service: Service, body: TeiTokenizeBody, task: Task | None) -> Response:
    task = task or await task_of(service, body.model)
    result = await tokenize(service, body.inputs, task, add_special_tokens=body.add_special_tokens, field="inputs")
    return json_response(result.tokens)  # orjson writes dataclasses as objects


async def _decode(service: Service, body: TeiDecodeBody, task: Task | None) -> Response:
    service.check_count(len(body.ids), "ids")
    task = task or await task_of(service, body.model)
    ids = tuple(tuple(some) for some in body.ids)
    result = await service.info.detokenize(DetokenizeRequest(ids, task, body.skip_special_tokens))
    return json_response(result.texts)


async def _info(service: Service, asked: str) -> Response:
    card = find_by_name(await service.info.models(), asked, service.settings.model_aliases)
    return json_response(tei_info(card, service.settings))


async def _health(service: Service) -> Response:
    readiness = await service.info.readiness()
    if not readiness.all_served:
        raise Unavailable("not every model can answer yet")
    return Response()


def tei_router(service: Service) -> APIRouter:
    """Build all routes but `/rerank` and `/tokenize`, which are shared, and the base URLs of single models."""
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

    @router.post("/decode", summary="Token ids as texts (TEI)", responses=documented("/decode", list[str]))
    async def decode(body: TeiDecodeBody) -> Response:
        return await _decode(service, body, None)

    @router.get("/info", summary="One model, the embedder unless named (TEI)", responses=documented("/info", TeiInfo))
    async def info(model: Annotated[str | None, WithJsonSchema({"type": "string"})] = None) -> Response:
        return await _info(service, model or "embedder")

    async def health() -> Response:
        return await _health(service)

    for path in ("/health", "/ping"):
        router.add_api_route(
            path,
            health,
            methods=["GET"],
            summary="Can every model answer (TEI)",
            response_class=Response,
            responses=documented_errors("/health"),
        )

    @router.get(
        "/",
        summary="Can every model answer (TEI); for a browser, the page",
        response_class=Response,
        responses=documented_errors("/health"),
    )
    async def front(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("ui/")  # relative, so it works under any route prefix
        return await _health(service)

    for prefix, task in zip(TASK_PREFIXES, TASKS, strict=True):
        _add_model(router, service, prefix, task)
    return router


def _add_model(router: APIRouter, service: Service, prefix: str, task: Task) -> None:
    """Add the routes of a TEI server with one model. The OpenAPI document has them once, without a prefix."""

    async def info() -> Response:
        return await _info(service, task)

    async def health() -> Response:
        return await _health(service)

    async def tokens(body: TeiTokenizeBody) -> Response:
        return await _tokenize(service, body, task)

    async def decode(body: TeiDecodeBody) -> Response:
        return await _decode(service, body, task)

    async def embed(body: TeiEmbedBody, options: Options) -> Response:
        return await _embed(service, body, options)

    async def similarity(body: TeiSimilarityBody, options: Options) -> Response:
        return await _similarity(service, body, options)

    async def rerank_texts(body: TeiRerankBody, options: Options) -> Response:
        return await rerank(service, body, options)

    async def predict(body: TeiPredictBody, options: Options) -> Response:
        return await _predict(service, body, options)

    posted: dict[Task, dict[str, Callable[..., Awaitable[Response]]]] = {
        "embedder": {"": embed, "/": embed, "/embed": embed, "/similarity": similarity},
        "reranker": {"": rerank_texts, "/": rerank_texts, "/rerank": rerank_texts},
        "classifier": {"": predict, "/": predict, "/predict": predict},
    }
    for path, endpoint in {**posted[task], "/tokenize": tokens, "/decode": decode}.items():
        router.add_api_route(prefix + path, endpoint, methods=["POST"], include_in_schema=False)
    router.add_api_route(f"{prefix}/info", info, methods=["GET"], include_in_schema=False)
    for path in ("", "/", "/health"):
        router.add_api_route(prefix + path, health, methods=["GET"], include_in_schema=False, response_class=Response)


async def answer_tokenize(service: Service, body: TeiTokenizeBody) -> Response:
    """Answer a body with `inputs` on the path that all models share."""
    return await _tokenize(service, body, None)
