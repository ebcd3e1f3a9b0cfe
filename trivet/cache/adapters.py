"""Adapts each kind of request to the cache: splits it into inputs and joins the inputs' results. Pure.

An input is the unit of computation and of caching: a text, a document with its query, a premise with all hypotheses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from typing_extensions import override

import trivet
from trivet.cache.entry import Entry, compact_copy
from trivet.config import Lane, Output
from trivet.messages import (
    NO_VECTORS,
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    EngineRequest,
    Floats,
    ModelCard,
    PairText,
    PredictRequest,
    PredictResult,
    Request,
    RerankRequest,
    RerankResult,
    ResultT,
    SparseVector,
    StageTimings,
    Usage,
)

FORMAT = "4"
"""Raise it when the same request to the same model starts to give another result."""

Fields = tuple[str | None, ...]

_DIGEST_BYTES = 32


def model_fields(card: ModelCard, computed_with: str) -> Fields:
    """Return the model's part of a key. `computed_with`: settings that results depend on and that the card lacks."""
    return (FORMAT, trivet.__version__, card.task, card.name, card.revision, str(card.max_tokens), computed_with)


def input_keys(shared: Fields, inputs: Iterable[Fields]) -> list[bytes]:
    """Return a key per input; `shared` is what all inputs of the request have in common."""
    prefix = blake2b(digest_size=_DIGEST_BYTES)
    _feed(prefix, shared)
    keys = []
    for fields in inputs:
        digest = prefix.copy()
        _feed(digest, fields)
        keys.append(digest.digest())
    return keys


def _feed(digest: Any, fields: Fields) -> None:
    """Hash lengths before contents, so that no two lists of fields give the same bytes."""
    digest.update(len(fields).to_bytes(4, "little"))
    for field in fields:
        if field is None:
            digest.update(b"\0")
        else:
            content = field.encode("utf-8", "surrogatepass")
            digest.update(b"\1" + len(content).to_bytes(8, "little"))
            digest.update(content)


RequestT = TypeVar("RequestT", bound=EngineRequest)


class Adapter(Protocol[RequestT, ResultT]):
    """One kind of request."""

    def shared(self, request: RequestT) -> Fields:
        """Return what the results of all inputs depend on, besides the model."""

    def inputs(self, request: RequestT) -> list[Fields]:
        """Return the content of each input."""

    def subset(self, request: RequestT, positions: Sequence[int]) -> RequestT:
        """Make the same request for some of its inputs."""

    def entries(self, result: ResultT, lane: Lane) -> list[Entry]:
        """Split a result into one entry per input."""

    def join(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> ResultT:
        """Make one result of entries, in their order."""


class EmbedAdapter(Adapter[EmbedRequest, EmbedResult]):
    """Texts. Values: the vector."""

    @override
    def shared(self, request: EmbedRequest) -> Fields:
        prompt = request.prompt_name or request.input_type
        numbers = (request.output, str(request.dimensions), str(request.normalize))
        return ("embed", prompt, request.instruction, *numbers, request.long_input)

    @override
    def inputs(self, request: EmbedRequest) -> list[Fields]:
        return [(text,) for text in request.texts]

    @override
    def subset(self, request: EmbedRequest, positions: Sequence[int]) -> EmbedRequest:
        return replace(request, texts=tuple(request.texts[index] for index in positions))

    @override
    def entries(self, result: EmbedResult, lane: Lane) -> list[Entry]:
        return _entries([compact_copy(vector) for vector in result.vectors], result.usage, lane, result.device)

    @override
    def join(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> EmbedResult:
        return EmbedResult(_stacked(entries), _usage(entries), timings, _device(entries))


class SparseAdapter(EmbedAdapter):
    """Texts, for sparse weights. Values: the indices, then their weights; float32 holds indices below 2^24 exactly."""

    @override
    def entries(self, result: EmbedResult, lane: Lane) -> list[Entry]:
        values = [compact_copy(one.indices.astype(np.float32), one.values) for one in result.sparse]
        return _entries(values, result.usage, lane, result.device)

    @override
    def join(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> EmbedResult:
        halves = (np.split(entry.values, 2) for entry in entries)
        sparse = tuple(SparseVector(indices.astype(np.int32), weights) for indices, weights in halves)
        return EmbedResult(NO_VECTORS, _usage(entries), timings, _device(entries), sparse=sparse)


class TokensAdapter(EmbedAdapter):
    """Texts, for vectors of their tokens. Values: the number of vectors and their size, then the vectors."""

    @override
    def entries(self, result: EmbedResult, lane: Lane) -> list[Entry]:
        values = [compact_copy(np.array(one.shape, np.float32), one.reshape(-1)) for one in result.tokens]
        return _entries(values, result.usage, lane, result.device)

    @override
    def join(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> EmbedResult:
        tokens = tuple(entry.values[2:].reshape(entry.values[:2].astype(int)) for entry in entries)
        return EmbedResult(NO_VECTORS, _usage(entries), timings, _device(entries), tokens=tokens)


class RerankAdapter(Adapter[RerankRequest, RerankResult]):
    """Documents beside the query. Values: logit, score."""

    @override
    def shared(self, request: RerankRequest) -> Fields:
        return ("rerank", request.query, request.long_input)

    @override
    def inputs(self, request: RerankRequest) -> list[Fields]:
        return [(document,) for document in request.documents]

    @override
    def subset(self, request: RerankRequest, positions: Sequence[int]) -> RerankRequest:
        return replace(request, documents=tuple(request.documents[index] for index in positions))

    @override
    def entries(self, result: RerankResult, lane: Lane) -> list[Entry]:
        values = [compact_copy(pair) for pair in np.stack([result.logits, result.scores], axis=1)]
        return _entries(values, result.usage, lane, result.device)

    @override
    def join(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> RerankResult:
        both = _stacked(entries)  # (documents, 2)
        return RerankResult(both[:, 0].copy(), both[:, 1].copy(), _usage(entries), timings, _device(entries))


class ClassifyAdapter(Adapter[ClassifyRequest, ClassifyResult]):
    """Premises beside the hypotheses. Values: the hypotheses' logits in their order, then their scores."""

    @override
    def shared(self, request: ClassifyRequest) -> Fields:
        # Labels are only names: the result depends on the hypotheses and on the position of the no-relation label.
        labels = list(request.hypotheses)
        no_relation = str(labels.index(request.no_relation_label)) if request.no_relation_label in labels else None
        return ("classify", no_relation, str(request.multi_label), request.long_input, *request.hypotheses.values())

    @override
    def inputs(self, request: ClassifyRequest) -> list[Fields]:
        return _pair_fields(request.inputs)

    @override
    def subset(self, request: ClassifyRequest, positions: Sequence[int]) -> ClassifyRequest:
        return replace(request, inputs=tuple(request.inputs[index] for index in positions))

    @override
    def entries(self, result: ClassifyResult, lane: Lane) -> list[Entry]:
        values = [compact_copy(*both) for both in zip(result.logits, result.scores, strict=True)]
        return _entries(values, result.usage, lane, result.device)

    @override
    def join(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> ClassifyResult:
        logits, scores = np.split(_stacked(entries), 2, axis=1)  # (inputs, labels) each
        return ClassifyResult(logits, scores, _usage(entries), timings, _device(entries))


class PredictAdapter(Adapter[PredictRequest, PredictResult]):
    """Texts or pairs. Values: the classes' logits, then their scores."""

    @override
    def shared(self, request: PredictRequest) -> Fields:
        return ("predict", request.long_input)

    @override
    def inputs(self, request: PredictRequest) -> list[Fields]:
        return _pair_fields(request.inputs)

    @override
    def subset(self, request: PredictRequest, positions: Sequence[int]) -> PredictRequest:
        return replace(request, inputs=tuple(request.inputs[index] for index in positions))

    @override
    def entries(self, result: PredictResult, lane: Lane) -> list[Entry]:
        values = [compact_copy(*both) for both in zip(result.logits, result.scores, strict=True)]
        return _entries(values, result.usage, lane, result.device)

    @override
    def join(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> PredictResult:
        logits, scores = np.split(_stacked(entries), 2, axis=1)  # (inputs, classes) each
        labels = tuple(sorted(card.labels, key=lambda label: card.labels[label]))
        return PredictResult(labels, logits, scores, _usage(entries), timings, _device(entries))


_EMBED_ADAPTERS: Mapping[Output, EmbedAdapter] = {
    "dense": EmbedAdapter(),
    "sparse": SparseAdapter(),
    "tokens": TokensAdapter(),
}
_ADAPTERS: Mapping[type[EngineRequest], Adapter[Any, Any]] = {
    RerankRequest: RerankAdapter(),
    ClassifyRequest: ClassifyAdapter(),
    PredictRequest: PredictAdapter(),
}


def adapter_of(request: Request[ResultT]) -> Adapter[Request[ResultT], ResultT]:
    """Return the adapter of a request's kind."""
    if isinstance(request, EmbedRequest):
        return cast("Adapter[Request[ResultT], ResultT]", _EMBED_ADAPTERS[request.output])
    return cast("Adapter[Request[ResultT], ResultT]", _ADAPTERS[type(request)])


def _pair_fields(inputs: Sequence[PairText]) -> list[Fields]:
    return [(item.text, item.text_pair) for item in inputs]


def _entries(values: Sequence[Floats], usage: Usage, lane: Lane, device: str) -> list[Entry]:
    accounts = zip(values, usage.input_tokens, usage.windows, usage.truncated, strict=True)
    return [Entry(*account, usage.sequences_per_window, lane, device) for account in accounts]


def _stacked(entries: Sequence[Entry]) -> Floats:
    return np.stack([entry.values for entry in entries])


def _usage(entries: Sequence[Entry]) -> Usage:
    return Usage(
        input_tokens=tuple(entry.tokens for entry in entries),
        windows=tuple(entry.windows for entry in entries),
        truncated=tuple(entry.truncated for entry in entries),
        sequences_per_window=entries[0].sequences_per_window,
    )


def _device(entries: Sequence[Entry]) -> str:
    return ", ".join(dict.fromkeys(entry.device for entry in entries))
