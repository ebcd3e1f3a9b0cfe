"""How each kind of request is taken apart into inputs, and its result put together from theirs. Pure.

An input is what is computed by itself: a text, a document beside its query, a premise beside all hypotheses.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from trivet.cache.entry import Entry, own_values
from trivet.cache.keys import Fields
from trivet.config import Lane
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    Floats,
    ModelCard,
    PairText,
    PredictRequest,
    PredictResult,
    RerankRequest,
    RerankResult,
    StageTimings,
    Usage,
)

RequestT = TypeVar("RequestT", EmbedRequest, RerankRequest, ClassifyRequest, PredictRequest)
ResultT = TypeVar("ResultT", EmbedResult, RerankResult, ClassifyResult, PredictResult)


class Parts(Protocol[RequestT, ResultT]):
    """One kind of request."""

    def shared(self, request: RequestT) -> Fields:
        """What the results of all inputs depend on, besides the model."""

    def inputs(self, request: RequestT) -> list[Fields]:
        """The inputs' own contents."""

    def only(self, request: RequestT, positions: Sequence[int]) -> RequestT:
        """The same request for some of its inputs."""

    def entries(self, result: ResultT, lane: Lane) -> list[Entry]:
        """A result per input."""

    def joined(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> ResultT:
        """One result of the inputs' own, in their order."""


class EmbedParts:
    """Texts. Values: the vector."""

    def shared(self, request: EmbedRequest) -> Fields:
        """See `Parts`."""
        prompt = request.prompt_name or request.input_type
        return ("embed", prompt, str(request.dimensions), str(request.normalize), request.long_input)

    def inputs(self, request: EmbedRequest) -> list[Fields]:
        """See `Parts`."""
        return [(text,) for text in request.texts]

    def only(self, request: EmbedRequest, positions: Sequence[int]) -> EmbedRequest:
        """See `Parts`."""
        return replace(request, texts=tuple(request.texts[index] for index in positions))

    def entries(self, result: EmbedResult, lane: Lane) -> list[Entry]:
        """See `Parts`."""
        return _entries([own_values(vector) for vector in result.vectors], result.usage, lane, result.device)

    def joined(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> EmbedResult:
        """See `Parts`."""
        return EmbedResult(_stacked(entries), _usage(entries), timings, _device(entries))


class RerankParts:
    """Documents beside the query. Values: logit, score."""

    def shared(self, request: RerankRequest) -> Fields:
        """See `Parts`."""
        return ("rerank", request.query, request.long_input)

    def inputs(self, request: RerankRequest) -> list[Fields]:
        """See `Parts`."""
        return [(document,) for document in request.documents]

    def only(self, request: RerankRequest, positions: Sequence[int]) -> RerankRequest:
        """See `Parts`."""
        return replace(request, documents=tuple(request.documents[index] for index in positions))

    def entries(self, result: RerankResult, lane: Lane) -> list[Entry]:
        """See `Parts`."""
        values = [own_values(pair) for pair in np.stack([result.logits, result.scores], axis=1)]
        return _entries(values, result.usage, lane, result.device)

    def joined(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> RerankResult:
        """See `Parts`."""
        both = _stacked(entries)  # (documents, 2)
        return RerankResult(both[:, 0].copy(), both[:, 1].copy(), _usage(entries), timings, _device(entries))


class ClassifyParts:
    """Premises beside the hypotheses. Values: a score per hypothesis, in their order."""

    def shared(self, request: ClassifyRequest) -> Fields:
        """See `Parts`. Labels are names; only which of them means absence has a meaning."""
        labels = list(request.hypotheses)
        absent = str(labels.index(request.no_relation_label)) if request.no_relation_label in labels else None
        return ("classify", absent, str(request.multi_label), request.long_input, *request.hypotheses.values())

    def inputs(self, request: ClassifyRequest) -> list[Fields]:
        """See `Parts`."""
        return _pair_fields(request.inputs)

    def only(self, request: ClassifyRequest, positions: Sequence[int]) -> ClassifyRequest:
        """See `Parts`."""
        return replace(request, inputs=tuple(request.inputs[index] for index in positions))

    def entries(self, result: ClassifyResult, lane: Lane) -> list[Entry]:
        """See `Parts`."""
        return _entries([own_values(scores) for scores in result.scores], result.usage, lane, result.device)

    def joined(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> ClassifyResult:
        """See `Parts`."""
        return ClassifyResult(_stacked(entries), _usage(entries), timings, _device(entries))


class PredictParts:
    """Texts or pairs. Values: the classes' logits, then their scores."""

    def shared(self, request: PredictRequest) -> Fields:
        """See `Parts`."""
        return ("predict", request.long_input)

    def inputs(self, request: PredictRequest) -> list[Fields]:
        """See `Parts`."""
        return _pair_fields(request.inputs)

    def only(self, request: PredictRequest, positions: Sequence[int]) -> PredictRequest:
        """See `Parts`."""
        return replace(request, inputs=tuple(request.inputs[index] for index in positions))

    def entries(self, result: PredictResult, lane: Lane) -> list[Entry]:
        """See `Parts`."""
        values = [own_values(*both) for both in zip(result.logits, result.scores, strict=True)]
        return _entries(values, result.usage, lane, result.device)

    def joined(self, entries: Sequence[Entry], card: ModelCard, timings: StageTimings) -> PredictResult:
        """See `Parts`."""
        logits, scores = np.split(_stacked(entries), 2, axis=1)  # (inputs, classes) each
        labels = tuple(sorted(card.labels, key=lambda label: card.labels[label]))
        return PredictResult(labels, logits, scores, _usage(entries), timings, _device(entries))


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
