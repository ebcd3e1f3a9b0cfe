"""Sends a labelled set to a service, one request at a time, and measures the quality and the latency of the answers.

Requests are like those of an application: one query or one pair each. One untimed request of each kind precedes them,
so that a cold start does not distort the latency.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trivet.client import AsyncClient, RelationPair, Relations
from trivet.evaluation import metrics
from trivet.evaluation.files import BadSet
from trivet.evaluation.sets import LabelledPair, LabelledSet, PairSet, RerankSet, RetrievalSet, TextSet
from trivet.quantize import EmbeddingType, quantize

CORPUS_BATCH = 32
"""Documents of a corpus per embedding request."""

Advance = Callable[[int], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency in milliseconds. The percentiles are of whole requests."""

    p50_ms: float
    p95_ms: float
    item_ms: float
    """Time of all requests divided by the number of texts, documents or pairs in them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one set and one model, or combination of models."""

    set_name: str
    way: str
    """`embedder`, `embedder, int8` and `embedder, binary` (smaller vectors), `reranker`, `embedder → reranker` (the
    reranker's order), `embedder + reranker` (both orders fused) or `classifier`."""
    items: int
    """Number of queries, pairs or texts in the set."""
    figures: Mapping[str, float]
    """Figure by name; depending on the kind of set nDCG@10, MRR, MAP, accuracy, macro-F1, ECE."""
    latency: Latency


@dataclass(slots=True)
class _Clock:
    """Durations of requests, and the number of items in them."""

    now: Callable[[], float] = time.perf_counter
    spans_s: list[float] = field(default_factory=list)
    items: int = 0
    other_s: float = 0.0
    """Time of preparatory requests, such as those that embed a corpus."""

    async def time(self, answer: Awaitable[T], items: int) -> T:
        started = self.now()
        found = await answer
        self.spans_s.append(self.now() - started)
        self.items += items
        return found

    async def time_other(self, answer: Awaitable[T], items: int) -> T:
        started = self.now()
        found = await answer
        self.other_s += self.now() - started
        self.items += items
        return found

    def latency(self) -> Latency:
        p50_s, p95_s = np.percentile(self.spans_s, (50, 95)).tolist()
        item_s = (sum(self.spans_s) + self.other_s) / self.items
        return Latency(1e3 * p50_s, 1e3 * p95_s, 1e3 * item_s)


def requests_of(labelled: LabelledSet) -> int:
    """Return how often `measure` will call `advance`: the number of queries, pairs or texts in the set."""
    match labelled:
        case RetrievalSet() | RerankSet():
            return len(labelled.queries)
        case PairSet():
            return len(labelled.pairs)
        case TextSet():
            return len(labelled.texts)


async def measure(
    client: AsyncClient, labelled: LabelledSet, *, depth: int, advance: Advance = lambda _: None
) -> list[Measured]:
    """Measure every model, and every combination of models, that applies to the kind of set.

    Args:
        client: a client of the service to measure.
        labelled: the set.
        depth: how many documents of a corpus, the nearest to the query, are sent to the reranker.
        advance: called with the number of items that are newly done.

    Raises:
        ClientError: the service refused a request or failed.
        BadSet: the set has a relation that the service does not know.
    """
    match labelled:
        case RetrievalSet():
            return await _retrieval(client, labelled, depth, advance)
        case RerankSet():
            return await _rerank(client, labelled, advance)
        case PairSet():
            return [await _pairs(client, labelled, advance)]
        case TextSet():
            return [await _texts(client, labelled, advance)]


async def _retrieval(client: AsyncClient, labelled: RetrievalSet, depth: int, advance: Advance) -> list[Measured]:
    embedding, both = _Clock(), _Clock()
    first = labelled.queries[0].query
    await client.embed([first], input_type="query")
    await client.rerank(first, labelled.corpus[:1])
    parts = []
    for start in range(0, len(labelled.corpus), CORPUS_BATCH):
        batch = labelled.corpus[start : start + CORPUS_BATCH]
        answer = await embedding.time_other(client.embed(batch, input_type="document"), len(batch))
        parts.append(answer.to_numpy())
    corpus = _unit(np.concatenate(parts))  # (N, D)
    embedded, reranked, fused = _Rankings(), _Rankings(), _Rankings()
    smaller = [(form, _Smaller(form, corpus), _Rankings()) for form in _forms_of(corpus.shape[1])]
    for one in labelled.queries:
        query = await embedding.time(client.embed([one.query], input_type="query"), 1)
        unit = _unit(query.to_numpy())[0]  # (D,)
        similarity = corpus @ unit  # (N,)
        near = np.argsort(-similarity, kind="stable")[:depth]
        ranking = await both.time(client.rerank(one.query, [labelled.corpus[i] for i in near]), len(near))
        both.spans_s[-1] += embedding.spans_s[-1]  # an application that uses both waits for both
        both.items += 1  # the query, which the embedder read
        scores = similarity.copy()
        for ranked in ranking.results:
            scores[near[ranked.index]] = _AHEAD + ranked.score
        flags = np.isin(np.arange(len(corpus)), list(one.relevant))
        embedded.add(similarity, flags)
        for _, vectors, rankings in smaller:
            rankings.add(vectors.similarity(unit), flags)
        reranked.add(scores, flags)
        fused.add(metrics.reciprocal_rank_fusion(similarity, scores), flags)
        advance(1)
    count = len(labelled.queries)
    return [
        Measured(labelled.name, "embedder", count, embedded.figures(), embedding.latency()),
        *(
            Measured(labelled.name, f"embedder, {form}", count, rankings.figures(), embedding.latency())
            for form, _, rankings in smaller
        ),
        Measured(labelled.name, "embedder → reranker", count, reranked.figures(), both.latency()),
        Measured(labelled.name, "embedder + reranker", count, fused.figures(), both.latency()),
    ]


def _forms_of(dimensions: int) -> tuple[EmbeddingType, ...]:
    """The smaller forms that order texts differently: uint8 and ubinary order them as int8 and binary do."""
    return ("int8", "binary") if dimensions % 8 == 0 else ("int8",)


class _Smaller:
    """A corpus in a smaller form of its vectors, as `embedding_types` of the API gives them."""

    def __init__(self, form: EmbeddingType, corpus: NDArray[np.floating]) -> None:
        self._form = form
        self._corpus = self._numbers(corpus)

    def _numbers(self, vectors: NDArray[np.floating]) -> NDArray[np.floating]:
        """Numbers whose cosine orders as the form's own comparison does: signs, of which Hamming distance counts the
        differences, or levels."""
        if self._form == "binary":
            bits = np.unpackbits(quantize(vectors.astype(np.float32), "ubinary"), axis=-1)
            return _unit(2.0 * bits - 1.0)
        return _unit(quantize(vectors.astype(np.float32), self._form).astype(np.float64))

    def similarity(self, query: NDArray[np.floating]) -> NDArray[np.floating]:
        """Compare a query, (D,), with every text: (N,)."""
        found: NDArray[np.floating] = self._corpus @ self._numbers(query[None])[0]
        return found


_AHEAD = 2.0
"""Added to the scores of reranked documents, so that they rank before those with only a cosine similarity."""


async def _rerank(client: AsyncClient, labelled: RerankSet, advance: Advance) -> list[Measured]:
    embedding, reranking = _Clock(), _Clock()
    embedded, reranked = _Rankings(), _Rankings()
    scores_of_all: list[NDArray[np.floating]] = []
    flags_of_all: list[NDArray[np.bool_]] = []
    first = labelled.queries[0]
    await client.embed([first.query], input_type="query")
    await client.rerank(first.query, first.documents[:1])
    for one in labelled.queries:
        flags = np.isin(np.arange(len(one.documents)), list(one.relevant))
        ranking = await reranking.time(client.rerank(one.query, one.documents), len(flags))
        scores = np.zeros(len(flags))
        for ranked in ranking.results:
            scores[ranked.index] = ranked.score
        query = await embedding.time(client.embed([one.query], input_type="query"), 1)
        documents = await embedding.time_other(client.embed(one.documents, input_type="document"), len(flags))
        embedded.add(_unit(documents.to_numpy()) @ _unit(query.to_numpy())[0], flags)
        reranked.add(scores, flags)
        scores_of_all.append(scores)
        flags_of_all.append(flags)
        advance(1)
    calibration = metrics.calibration_error(np.concatenate(scores_of_all), np.concatenate(flags_of_all))
    count = len(labelled.queries)
    return [
        Measured(labelled.name, "embedder", count, embedded.figures(), embedding.latency()),
        Measured(labelled.name, "reranker", count, {**reranked.figures(), "ECE": calibration}, reranking.latency()),
    ]


async def _pairs(client: AsyncClient, labelled: PairSet, advance: Advance) -> Measured:
    clock = _Clock()
    answers = _Answers()

    def asked(one: LabelledPair) -> Awaitable[Relations]:
        pair = RelationPair(one.source, one.target)
        return client.relate(pairs=[pair], relations=labelled.relations, threshold=0.0)

    known = (await asked(labelled.pairs[0])).edges[0].scores
    if unknown := next((pair.relation for pair in labelled.pairs if pair.relation not in known), None):
        raise BadSet(
            f"{labelled.name}: the service knows no relation {unknown!r}, only {', '.join(known)}: "
            "give each relation's hypothesis with --relation"
        )
    for one in labelled.pairs:
        [edge] = (await clock.time(asked(one), 1)).edges
        answers.add(one.relation, edge.relation, edge.confidence)
        advance(1)
    return Measured(labelled.name, "classifier", len(labelled.pairs), answers.figures(), clock.latency())


async def _texts(client: AsyncClient, labelled: TextSet, advance: Advance) -> Measured:
    clock = _Clock()
    answers = _Answers()
    await client.classify([labelled.texts[0].text], labelled.labels)
    for one in labelled.texts:
        [item] = (await clock.time(client.classify([one.text], labelled.labels), 1)).items
        answers.add(one.label, item.label, item.labels[0].score)
        advance(1)
    return Measured(labelled.name, "classifier", len(labelled.texts), answers.figures(), clock.latency())


@dataclass(slots=True)
class _Rankings:
    """Accumulates the figures of rankings."""

    _ndcg: list[float] = field(default_factory=list)
    _rr: list[float] = field(default_factory=list)
    _ap: list[float] = field(default_factory=list)

    def add(self, scores: NDArray[np.floating], relevant: NDArray[np.bool_]) -> None:
        self._ndcg.append(metrics.ndcg(scores, relevant))
        self._rr.append(metrics.reciprocal_rank(scores, relevant))
        self._ap.append(metrics.average_precision(scores, relevant))

    def figures(self) -> dict[str, float]:
        return {name: float(np.mean(of)) for name, of in zip(RANKING, (self._ndcg, self._rr, self._ap), strict=True)}


RANKING = ("nDCG@10", "MRR", "MAP")
LABELLING = ("accuracy", "macro-F1", "ECE")


@dataclass(slots=True)
class _Answers:
    """Accumulates correct labels, predicted labels and confidences."""

    _gold: list[str] = field(default_factory=list)
    _given: list[str] = field(default_factory=list)
    _confidence: list[float] = field(default_factory=list)

    def add(self, gold: str, given: str, confidence: float) -> None:
        self._gold.append(gold)
        self._given.append(given)
        self._confidence.append(confidence)

    def figures(self) -> dict[str, float]:
        right = np.array([gold == given for gold, given in zip(self._gold, self._given, strict=True)])
        values: Sequence[float] = (
            metrics.accuracy(self._gold, self._given),
            metrics.macro_f1(self._gold, self._given),
            metrics.calibration_error(np.array(self._confidence), right),
        )
        return dict(zip(LABELLING, values, strict=True))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each row to length 1; a model's vectors need not be normalised.  # (N, D) -> (N, D)

    A vector of zeros stays so, and is like no other.
    """
    unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
