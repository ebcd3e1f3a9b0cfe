"""A dispatcher that computes: vectors from hashes, relevance from shared words. Deterministic, no models."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from trivet.dispatch.protocol import Readiness, Routed
from trivet.dispatch.status import ServiceStatus
from trivet.errors import InputTooLong, TrivetError
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    DetokenizeRequest,
    DetokenizeResult,
    EmbedRequest,
    EmbedResult,
    EngineRequest,
    EngineResult,
    Floats,
    Health,
    ModelCard,
    PredictRequest,
    PredictResult,
    Request,
    RerankRequest,
    RerankResult,
    ResultT,
    SparseVector,
    StageTimings,
    Token,
    TokenizeRequest,
    TokenizeResult,
    Usage,
)

DIMENSIONS = 64
WINDOW_CHARACTERS = 1000
"""A text of more characters counts as more windows."""

EMBEDDER = ModelCard(
    "embedder", "tests/fake-embedder", "r1", 256, dimensions=DIMENSIONS, precision="fp32", pooling="mean",
    outputs=("dense", "sparse", "tokens"),
)  # fmt: skip
RERANKER = ModelCard("reranker", "tests/fake-reranker", "r2", 512, precision="fp32")
CLASSIFIER = ModelCard(
    "classifier", "tests/fake-classifier", "r3", 512, labels={"entailment": 0, "not_entailment": 1}, precision="fp32"
)

TIMINGS = StageTimings(tokenize_s=0.001, queue_s=0.002, forward_s=0.003)
DEVICE = "cpu (fake)"


def vector_of(text: str) -> Floats:
    """Unit vector, the sum of one per word: texts that share words are alike."""
    vector = np.sum([_word_vector(word) for word in text.lower().split() or [text]], axis=0)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _word_vector(word: str) -> Floats:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)


def sparse_of(text: str) -> SparseVector:
    """The number of words of each length, by length."""
    lengths, counts = np.unique([len(word) for word in text.split()], return_counts=True)
    return SparseVector(lengths.astype(np.int32), counts.astype(np.float32))


NO_VECTORS = np.empty((0, 0), np.float32)


def relevance_of(query: str, document: str) -> float:
    """Logit: words in common, less one."""
    return float(len(set(query.lower().split()) & set(document.lower().split()))) - 1.0


def sigmoid(logits: Floats) -> Floats:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def softmax(logits: Floats) -> Floats:
    grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (grown / grown.sum(axis=-1, keepdims=True)).astype(np.float32)


def usage_of(texts: Sequence[str], *, truncates: bool = False) -> Usage:
    """One token per word; a window per thousand characters."""
    windows = tuple(1 if truncates else 1 + (len(text) - 1) // WINDOW_CHARACTERS for text in texts)
    cut = tuple(truncates and len(text) > WINDOW_CHARACTERS for text in texts)
    return Usage(tuple(len(text.split()) for text in texts), windows, cut)


def tokens_of(text: str, *, special: bool) -> tuple[Token, ...]:
    """A token per word, its length for an id, between two special ones if wanted."""
    words = tuple(
        Token(len(match.group()), match.group(), False, match.start(), match.end())
        for match in re.finditer(r"\S+", text)
    )
    wrapping = Token(0, "<s>", True, None, None)
    return (wrapping, *words, wrapping) if special else words


class FakeDispatcher:
    """Answers as the engines would, records its requests, and fails with `error` where one is given."""

    def __init__(
        self, *, error: TrivetError | None = None, answered_before_error: int = 0, reroute_reason: str | None = None
    ) -> None:
        self.error = error
        self.answered_before_error = answered_before_error
        self.reroute_reason = reroute_reason
        self.requests: list[EngineRequest] = []

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        self.requests.append(request)
        if self.error is not None and len(self.requests) > self.answered_before_error:
            raise self.error
        if request.long_input == "error":
            for index, text in enumerate(inputs_of(request)):
                if len(text) > WINDOW_CHARACTERS:
                    raise InputTooLong(
                        field=request.inputs_field, index=index, tokens=len(text), limit_tokens=WINDOW_CHARACTERS
                    )
        return Routed(request.checked(result_of(request)), "cpu", self.reroute_reason)

    async def models(self) -> Sequence[ModelCard]:
        return [EMBEDDER, RERANKER, CLASSIFIER]

    async def readiness(self) -> Readiness:
        lanes = {
            card.task: {"cpu": Health(self.error is None, DEVICE, str(self.error or "warm"), card)}
            for card in await self.models()
        }
        return Readiness(lanes=lanes, reasons=dict.fromkeys(lanes, "only the cpu lane is bound"))

    def status(self) -> ServiceStatus:
        return ServiceStatus(cpu_only_reason="the fake dispatcher has no GPU")

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        return TokenizeResult(tuple(tokens_of(text, special=request.add_special_tokens) for text in request.texts))

    async def detokenize(self, request: DetokenizeRequest) -> DetokenizeResult:
        return DetokenizeResult(tuple(" ".join(map(str, ids)) for ids in request.ids))


def inputs_of(request: EngineRequest) -> list[str]:
    """The texts that errors name by index."""
    match request:
        case EmbedRequest():
            return list(request.texts)
        case RerankRequest():
            return list(request.documents)
        case ClassifyRequest() | PredictRequest():
            return [item.text for item in request.inputs]
        case _:
            raise NotImplementedError(type(request))


def result_of(request: EngineRequest) -> EngineResult:
    """The result of one request."""
    truncates = request.long_input == "truncate"
    match request:
        case EmbedRequest():
            usage = usage_of(request.texts, truncates=truncates)
            if request.output == "sparse":
                sparse = tuple(map(sparse_of, request.texts))
                return EmbedResult(NO_VECTORS, usage, TIMINGS, DEVICE, sparse=sparse)
            if request.output == "tokens":
                tokens = tuple(np.stack([vector_of(word) for word in text.split() or [text]]) for text in request.texts)
                return EmbedResult(NO_VECTORS, usage, TIMINGS, DEVICE, tokens=tokens)
            vectors = np.stack([vector_of(text) for text in request.texts])[:, : request.dimensions]
            return EmbedResult(vectors, usage, TIMINGS, DEVICE)
        case RerankRequest():
            logits = np.array([relevance_of(request.query, text) for text in request.documents], dtype=np.float32)
            usage = usage_of(request.documents, truncates=truncates)
            return RerankResult(logits, sigmoid(logits), usage, TIMINGS, DEVICE)
        case ClassifyRequest():
            texts = [f"{item.text} {item.text_pair or ''}" for item in request.inputs]
            logits = np.array(
                [[relevance_of(text, hypothesis) for hypothesis in request.hypotheses.values()] for text in texts],
                dtype=np.float32,
            )
            scores = sigmoid(logits) if request.multi_label or len(request.hypotheses) == 1 else softmax(logits)
            return ClassifyResult(logits, scores, usage_of(texts, truncates=truncates), TIMINGS, DEVICE)
        case PredictRequest():
            logits = np.array(
                [[relevance_of(item.text, item.text_pair or ""), 0.0] for item in request.inputs], dtype=np.float32
            )
            usage = usage_of([f"{item.text} {item.text_pair or ''}" for item in request.inputs])
            return PredictResult(tuple(CLASSIFIER.labels), logits, softmax(logits), usage, TIMINGS, DEVICE)
        case _:
            raise NotImplementedError(type(request))
