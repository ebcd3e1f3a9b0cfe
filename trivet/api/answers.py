"""The native answers, typed once for the code and the OpenAPI schema, and helpers that dialects share."""

import base64
import uuid
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NotRequired

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import WithJsonSchema
from starlette.responses import Response
from typing_extensions import TypedDict

from trivet.dispatch.protocol import CacheUse, Routed
from trivet.messages import EmbedResult, EngineResult, Floats, ModelCard, Usage
from trivet.quantize import DEFAULT_TYPE, EmbeddingType, quantize


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Serialise `body`; numpy arrays become lists of numbers."""
    return Response(
        orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/json",
    )


Vector = Annotated[Any, WithJsonSchema({"type": "array", "items": {"type": "number"}})]
"""A numpy array, (dimensions,), serialised without a detour over Python floats."""

EncodedVector = Annotated[
    Any, WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]})
]
"""The same, or base64 of its bytes: little-endian float32, or one for each number of a smaller form."""


class TokenUsage(TypedDict):
    """Tokens that the models read, special tokens and overlaps included."""

    prompt_tokens: int
    total_tokens: int


class SparseAnswer(TypedDict):
    """Weights by token id, the ids ascending."""

    indices: Any
    values: Any


class Embedding(TypedDict):
    """One input's vector, and how much of the input the model read."""

    object: str
    index: int
    embedding: EncodedVector | SparseAnswer | list[Vector]
    windows: int
    truncated: bool


class EmbeddingsAnswer(TypedDict):
    """`POST /v1/embeddings`."""

    object: str
    data: list[Embedding]
    model: str
    usage: TokenUsage


class LabelScore(TypedDict):
    """A label and its share."""

    label: str
    score: float


class Classified(TypedDict):
    """One input's labels, the likeliest first."""

    index: int
    labels: list[LabelScore]
    windows: int
    truncated: bool


class ClassifyAnswer(TypedDict):
    """`POST /v1/classify`."""

    object: str
    model: str
    data: list[Classified]
    usage: TokenUsage


class SpanAnswer(TypedDict):
    """A passage of a text: characters `start` to `end` (excluded), lines from 1 (both included)."""

    start: int
    end: int
    start_line: int
    end_line: int


class EvidenceAnswer(TypedDict):
    """A pair of passages that shows the relation."""

    source: SpanAnswer
    target: SpanAnswer
    relation: str
    confidence: float
    relevance: float | None


class EdgeAnswer(TypedDict):
    """One relation; indices are positions in the request."""

    source_index: int
    target_index: int
    relation: str
    confidence: float
    scores: dict[str, float]
    relevance: float | None
    windows: int
    truncated: bool
    evidence: list[EvidenceAnswer]
    """The pairs of passages that show the relation; the first one gave the scores."""


class Omitted(TypedDict):
    """Candidates that became no edge, by reason."""

    below_min_relevance: int
    beyond_top_k: int
    below_threshold: int
    unrelated: int
    unlinked_code: int
    """Code that the source, code too, does not use; it is read only with `include_unrelated`."""


class StageTimes(TypedDict):
    """Milliseconds in a replica."""

    tokenize: float
    queue: float
    forward: float


class RelationsTimes(TypedDict):
    """Milliseconds in all and, for each model that was needed, per stage."""

    total: float
    embed: NotRequired[StageTimes]
    rerank: NotRequired[StageTimes]
    classify: NotRequired[StageTimes]


class RelationsAnswer(TypedDict):
    """`POST /v1/relations`."""

    object: str
    edges: list[EdgeAnswer]
    omitted: Omitted
    usage: TokenUsage
    timings_ms: RelationsTimes


class ModelEntry(TypedDict):
    """One served model: OpenAI's fields, then ours."""

    id: str
    object: str
    created: int
    owned_by: str
    task: str
    revision: str
    max_tokens: int
    dimensions: int | None
    outputs: list[str] | None
    """What an embedder can make of a text."""
    labels: list[str] | None
    precision: str
    weights_bytes: int | None
    """On disk."""
    cpu_bytes: int | None
    """Estimate: weights and the activations of the largest forward in a CPU replica."""
    gpu_bytes: int | None
    """The same of a GPU replica, in GPU memory."""
    licence: str | None
    """As the model's card states it."""
    languages: list[str] | None
    gpu_layout: str
    """`packed`: a GPU computes sequences laid end to end. `packed, attention padded: …`, `padded: …`: why it pads."""
    gpu_precision: str | None
    """In which a GPU computes, as its replica reports it: `bf16`; `fp32: …`, why it is not the usual one."""


class ModelsAnswer(TypedDict):
    """`GET /v1/models`."""

    object: str
    data: list[ModelEntry]


def token_usage(usages: Iterable[Usage]) -> TokenUsage:
    """Sum up the tokens of one request's calls."""
    tokens = sum(usage.tokens for usage in usages)
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def model_entry(card: ModelCard) -> ModelEntry:
    """Describe a model in OpenAI's shape."""
    return {
        "id": card.name,
        "object": "model",
        "created": 0,
        "owned_by": "trivet",
        "task": card.task,
        "revision": card.revision,
        "max_tokens": card.max_tokens,
        "dimensions": card.dimensions,
        "outputs": list(card.outputs) or None,
        "labels": list(card.labels) or None,
        "precision": card.precision,
        "weights_bytes": card.weights_bytes,
        "cpu_bytes": card.cpu_bytes,
        "gpu_bytes": card.gpu_bytes,
        "licence": card.licence,
        "languages": list(card.languages) or None,
        "gpu_layout": _gpu_layout(card),
        "gpu_precision": None if card.gpu is None else _with_reason(card.gpu.dtype, card.gpu.dtype_because),
    }


def _gpu_layout(card: ModelCard) -> str:
    if card.padded_because is not None:
        return f"padded: {card.padded_because}"
    because = None if card.gpu is None else card.gpu.attention_padded_because
    return "packed" if because is None else f"packed, attention padded: {because}"


def _with_reason(what: str, because: str | None) -> str:
    return what if because is None else f"{what}: {because}"


def embedding_items(
    result: EmbedResult, *, as_base64: bool, first_index: int = 0, dtype: EmbeddingType = DEFAULT_TYPE
) -> list[Embedding]:
    """Make OpenAI's `data` of a result, whatever was asked for.

    Args:
        result: of an embedder.
        as_base64: whether a dense vector becomes base64.
        first_index: position of the first text in the request.
        dtype: the form of dense vectors.

    Raises:
        InvalidInput: the vectors cannot have that form; names the field `output_dtype`.
    """
    usage = result.usage
    vectors = result.vectors if dtype == DEFAULT_TYPE else quantize(result.vectors, dtype, "output_dtype")
    found: list[Any] = [
        *((_base64(vector) if as_base64 else vector) for vector in vectors),
        *({"indices": one.indices, "values": one.values} for one in result.sparse),
        *result.tokens,
    ]
    return [
        {
            "object": "embedding",
            "index": first_index + index,
            "embedding": one,
            "windows": usage.windows[index],
            "truncated": usage.truncated[index],
        }
        for index, one in enumerate(found)
    ]


def best_first(scores: Floats) -> list[int]:
    """Sort indices by descending score; equal scores keep the request's order."""
    return [int(index) for index in (-scores).argsort(kind="stable")]


def label_scores(labels: Iterable[str], scores: Floats) -> list[LabelScore]:
    """Pair labels with their scores, the likeliest first."""
    named = list(labels)
    return [{"label": named[index], "score": float(scores[index])} for index in best_first(scores)]


def new_id(kind: str) -> str:
    """Make an id for an answer."""
    return f"{kind}-{uuid.uuid4().hex}"


def route_headers(calls: Iterable[Routed[EngineResult]]) -> dict[str, str]:
    """Headers that say how the request was answered, for dialects whose bodies cannot.

    `x-trivet-device`; `x-trivet-windows`, all windows read, where a text needed more than one;
    `x-trivet-truncated`, inputs that were cut, if any; `x-trivet-reroute-reason`, if a call left its GPU lane;
    `x-trivet-cache`, `hit`, `miss` or `partial`, and `x-trivet-cache-hits`, such as `3/5`, if a cache was used.
    """
    calls = list(calls)
    usages = [routed.result.usage for routed in calls]
    headers = {"x-trivet-device": ", ".join(dict.fromkeys(routed.result.device for routed in calls)) or "none"}
    if any(windows > 1 for usage in usages for windows in usage.windows):
        headers["x-trivet-windows"] = str(sum(sum(usage.windows) for usage in usages))
    if truncated := sum(sum(usage.truncated) for usage in usages):
        headers["x-trivet-truncated"] = str(truncated)
    if reasons := dict.fromkeys(routed.reroute_reason for routed in calls if routed.reroute_reason):
        # Header values are latin-1; a driver's message may hold anything.
        headers["x-trivet-reroute-reason"] = "; ".join(reasons).encode("ascii", "replace").decode().replace("\n", " ")
    return headers | _cache_headers([routed.cache for routed in calls if routed.cache is not None])


def _cache_headers(uses: list[CacheUse]) -> dict[str, str]:
    if not uses:
        return {}
    hits, inputs = sum(use.hits for use in uses), sum(use.inputs for use in uses)
    outcome = "miss" if not hits else "hit" if hits == inputs else "partial"
    return {"x-trivet-cache": outcome, "x-trivet-cache-hits": f"{hits}/{inputs}"}


def _base64(vector: NDArray[Any]) -> str:
    # From the array's memory, which is copied only if it is not contiguous, or floats that are not little-endian.
    form = "<f4" if vector.dtype.kind == "f" else vector.dtype
    return base64.b64encode(np.ascontiguousarray(vector, dtype=form).data).decode("ascii")
