"""The composed call: find the pairs of passages that matter, rerank and classify them, and name the edges.

Composed here and nowhere else: models never call each other. Where every text is a single passage, this is one rerank
call over the candidates and one classify call over the kept pairs. What an import proves is not classified.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.errors import remap_field_index
from trivet.messages import ClassifyRequest, EmbedRequest, EngineResult, Floats, LongInput, PairText, Priority
from trivet.relations.classifying import classify_pairs
from trivet.relations.division import DIVIDED_HERE_CHARACTERS, Document, Excerpt, divide_all, whole
from trivet.relations.edges import Edge, Judgement, edge_of, is_enough, judgement_of, keep_relevant
from trivet.relations.links import IMPORT_CONFIDENCE, Link, is_code, links
from trivet.relations.nearest import best_pairs, unit
from trivet.relations.relevance import TextPair, score_pairs


@dataclass(frozen=True, slots=True)
class RelationQuery:
    """Which relations to look for in every pair, and how to run the models."""

    relations: Mapping[str, str]
    """Label → hypothesis."""
    no_relation: str | None
    """The label that means that no other one holds; None where there is none."""
    min_relevance: float
    """Candidates of less relevance are not classified."""
    threshold: float
    """Edges of less confidence are omitted."""
    include_unrelated: bool = False
    """Whether pairs without a relation become edges, too."""
    passage_tokens: int | None = None
    """Texts are read by passages of so many tokens, as estimated. None: every window of a text meets every window of
    the other."""
    passage_pairs: int = 3
    """Most pairs of passages that are classified per pair of texts."""
    link_relation: str | None = None
    """The relation of code that uses what other code defines. None: the classifier alone names it."""
    clear_unrelated: float | None = None
    """Score of `no_relation`, read alone, from which a pair is read no further; see `classify_pairs`."""
    long_input: LongInput = "window"
    priority: Priority = "interactive"
    no_store: bool = False


@dataclass(frozen=True, slots=True)
class PassageCandidate:
    """Two passages to classify."""

    source: Excerpt
    target: Excerpt
    cosine: float | None = None
    """Of their vectors; None where none were needed to choose them."""
    relevance: float | None = None
    """The reranker's; None where it has not read them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two texts to relate by their passages. `field` is the caller's field that held them, at `target_index`."""

    source_index: int
    target_index: int
    pairs: tuple[PassageCandidate, ...]
    """Those to read first come first."""
    relevance: float | None
    field: str
    only: str | None = None
    """The only relation that may hold, which a link between code proposes. None: any."""
    proven: str | None = None
    """The relation that an import proves."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The texts to relate, counts of the omitted ones, and the calls behind it by stage."""

    candidates: tuple[Candidate, ...]
    below_min_relevance: int = 0
    beyond_top_k: int = 0
    unlinked_code: int = 0
    calls: Mapping[str, Sequence[Routed[EngineResult]]] = field(default_factory=dict)


async def select_pairs(dispatcher: Dispatcher, pairs: Sequence[PairText], query: RelationQuery) -> Selection:
    """Return all given pairs. Long ones need a call that embeds their passages, which finds the best pairs of these."""
    sources = await _divided([Document(pair.text) for pair in pairs], query)
    targets = await _divided([Document(pair.text_pair or "") for pair in pairs], query)
    long = [index for index in range(len(pairs)) if len(sources[index]) > 1 or len(targets[index]) > 1]
    texts = [excerpt.read for index in long for excerpt in (*sources[index], *targets[index])]
    vectors, calls = await _embedded(dispatcher, texts, query, "pairs")
    candidates: list[Candidate] = []
    at = 0
    for index in range(len(pairs)):
        source, target = sources[index], targets[index]
        chosen = [PassageCandidate(source[0], target[0])]
        if len(source) > 1 or len(target) > 1:
            middle, end = at + len(source), at + len(source) + len(target)
            found = best_pairs(vectors[at:middle], vectors[middle:end], query.passage_pairs)
            chosen = [PassageCandidate(source[pair.first], target[pair.second], pair.cosine) for pair in found]
            at = end
        candidates.append(Candidate(index, index, tuple(chosen), None, "pairs"))
    return Selection(tuple(candidates), calls={"embed": calls} if calls else {})


async def select_candidates(
    dispatcher: Dispatcher, source: Document, targets: Sequence[Document], query: RelationQuery, *, top_k: int
) -> Selection:
    """Select the `top_k` targets most relevant to the source: by the best pairs of their passages.

    Targets that the source imports come first. Code without a link to code is not read, unless the caller wants to see
    unrelated texts, too: the classifier finds relations between similar code at random.
    """
    of_source, *of_targets = await _divided([source, *targets], query)
    linked, code = await _linked([source, *targets], [of_source, *of_targets], query)
    skipped = set() if query.include_unrelated else code - linked.keys()
    read = [index for index in range(len(targets)) if index not in skipped]
    if not read:
        return Selection((), unlinked_code=len(targets))
    chosen, embedded = await _chosen(dispatcher, of_source, {index: of_targets[index] for index in read}, linked, query)
    chosen, logits, reranked = await _reranked(dispatcher, chosen, query)
    relevance = np.array([max(pair.relevance or 0.0 for pair in chosen[index]) for index in read], np.float32)
    kept = keep_relevant(
        relevance,
        np.array([logits[index] for index in read], np.float32),
        top_k=top_k,
        min_relevance=query.min_relevance,
        certain={at for at, index in enumerate(read) if index in linked and linked[index].imported},
    )
    candidates: list[Candidate] = []
    for at in kept.indices:
        index = read[at]
        link = linked.get(index)
        proven = query.link_relation if link is not None and link.imported else None
        only = query.link_relation if link is not None and index in code else None
        pairs = tuple(chosen[index])
        candidates.append(Candidate(0, index, pairs, float(relevance[at]), "candidates", only, proven))
    calls = {"embed": embedded, "rerank": reranked} if embedded else {"rerank": reranked}
    omitted = kept.below_min_relevance, kept.beyond_top_k, len(targets) - len(read)
    return Selection(tuple(candidates), *omitted, calls)


async def classify(
    dispatcher: Dispatcher, candidates: Sequence[Candidate], query: RelationQuery
) -> tuple[list[Edge], list[Routed[EngineResult]]]:
    """Make an edge for each candidate. Further passages of it are read only while the ones before leave doubt."""
    judged = [[] if one.proven is None else _proof(one, one.proven) for one in candidates]
    calls: list[Routed[EngineResult]] = []
    for at in range(max((len(candidate.pairs) for candidate in candidates), default=0)):
        reading = [
            number
            for number, candidate in enumerate(candidates)
            if candidate.proven is None
            and len(candidate.pairs) > at
            and not (judged[number] and is_enough(judged[number][-1], query.no_relation, query.threshold))
        ]
        if not reading:
            break
        judgements, routed = await _judged(dispatcher, [(candidates[number], at) for number in reading], query)
        calls += routed
        for number, judgement in zip(reading, judgements, strict=True):
            judged[number].append(judgement)
    edges = [
        edge_of(
            candidate.source_index,
            candidate.target_index,
            judged[number],
            no_relation=query.no_relation,
            relevance=candidate.relevance,
        )
        for number, candidate in enumerate(candidates)
    ]
    return edges, calls


async def _judged(
    dispatcher: Dispatcher, reading: Sequence[tuple[Candidate, int]], query: RelationQuery
) -> tuple[list[Judgement], Sequence[Routed[EngineResult]]]:
    """Classify one pair of passages of each candidate."""
    pairs = [candidate.pairs[at] for candidate, at in reading]
    request = ClassifyRequest(
        tuple(PairText(pair.source.read, pair.target.read) for pair in pairs),
        dict(query.relations),
        no_relation_label=query.no_relation,
        long_input=query.long_input,
        priority=query.priority,
        no_store=query.no_store,
        inputs_field=reading[0][0].field,
    )
    with remap_field_index([candidate.target_index for candidate, _ in reading]):
        classified = await classify_pairs(dispatcher, request, query.clear_unrelated)
    labels = list(query.relations)
    judgements = [
        judgement_of(
            pair.source,
            pair.target,
            labels,
            classified.scores[number],
            relevance=pair.relevance,
            windows=classified.windows[number],
            truncated=classified.truncated[number],
            only=reading[number][0].only,
        )
        for number, pair in enumerate(pairs)
    ]
    return judgements, classified.calls


def _proof(candidate: Candidate, relation: str) -> list[Judgement]:
    """Return what an import says, without a classifier."""
    scores = {relation: IMPORT_CONFIDENCE}
    return [Judgement(pair.source, pair.target, scores, pair.relevance, windows=0) for pair in candidate.pairs]


async def _divided(documents: Sequence[Document], query: RelationQuery) -> list[tuple[Excerpt, ...]]:
    if query.passage_tokens is None:
        return [(whole(document.text),) for document in documents]
    return await divide_all(documents, query.passage_tokens)


async def _linked(
    documents: Sequence[Document], passages: Sequence[Sequence[Excerpt]], query: RelationQuery
) -> tuple[dict[int, Link], set[int]]:
    """Return how the first document, the source, uses others, and of which of them only such links count.

    Both by positions among the targets.
    """
    if query.link_relation is None:
        return {}, set()
    if sum(len(document.text) for document in documents) <= DIVIDED_HERE_CHARACTERS:
        found, code = _links_of_code(documents, passages)
    else:
        found, code = await asyncio.to_thread(_links_of_code, documents, passages)
    return {link.target - 1: link for link in found if link.source == 0}, {at - 1 for at in code if 0 in code and at}


def _links_of_code(documents: Sequence[Document], passages: Sequence[Sequence[Excerpt]]) -> tuple[list[Link], set[int]]:
    """Return the links, and the documents among which nothing else counts: whole files of code.

    Of snippets without a path, which lack the imports of their files, the classifier knows more than their names tell.
    """
    code = {at for at, document in enumerate(documents) if is_code(document)}
    whole = {at for at in code if documents[at].path is not None or len(passages[at]) > 1}
    return (links(documents, passages) if code else []), whole


async def _chosen(
    dispatcher: Dispatcher,
    source: Sequence[Excerpt],
    targets: Mapping[int, Sequence[Excerpt]],
    linked: Mapping[int, Link],
    query: RelationQuery,
) -> tuple[dict[int, list[PassageCandidate]], list[Routed[EngineResult]]]:
    """Return the pairs of passages to read for each target, and the call that was needed to find them.

    A link's passages come first, then the most similar ones.
    """
    vectors: Floats | None = None
    calls: list[Routed[EngineResult]] = []
    if any(len(source) * len(target) > query.passage_pairs for target in targets.values()):
        passages = [*source, *(excerpt for target in targets.values() for excerpt in target)]
        vectors, calls = await _embedded(dispatcher, [excerpt.read for excerpt in passages], query, "candidates")
    chosen: dict[int, list[PassageCandidate]] = {}
    at = len(source)
    for index, target in targets.items():
        cosines = None if vectors is None else vectors[: len(source)] @ vectors[at : at + len(target)].T
        chosen[index] = [
            PassageCandidate(source[i], target[j], None if cosines is None else float(cosines[i, j]))
            for i, j in _places(len(source), len(target), cosines, linked.get(index))[: query.passage_pairs]
        ]
        at += len(target)
    return chosen, calls


def _places(sources: int, targets: int, cosines: Floats | None, link: Link | None) -> list[tuple[int, int]]:
    """Return pairs of passages, by their positions in two texts: first a link's, then the most similar ones.

    An import needs no other evidence.
    """
    places = [] if link is None else list(link.passages)
    if link is not None and link.imported:
        return places
    order = range(sources * targets) if cosines is None else np.argsort(-cosines.ravel(), kind="stable").tolist()
    return list(dict.fromkeys([*places, *(divmod(at, targets) for at in order)]))


async def _reranked(
    dispatcher: Dispatcher, chosen: Mapping[int, Sequence[PassageCandidate]], query: RelationQuery
) -> tuple[dict[int, list[PassageCandidate]], dict[int, float], list[Routed[EngineResult]]]:
    """Score the first pair of each target, and all where their vectors did not order them; the best ones come first.

    Returns:
        The pairs of each target with their relevance, its best logit, and the calls.
    """
    work = [
        (index, at)
        for index, pairs in chosen.items()
        for at, pair in enumerate(pairs)
        if at == 0 or pair.cosine is None
    ]
    pairs = [
        TextPair(chosen[index][at].source.read, chosen[index][at].target.read, index, chosen[index][at].cosine)
        for index, at in work
    ]
    found, calls = await score_pairs(
        dispatcher,
        pairs,
        query_field="source",
        inputs_field="candidates",
        priority=query.priority,
        no_store=query.no_store,
        long_input=query.long_input,
    )
    scores = dict(zip(work, found, strict=True))
    ordered: dict[int, list[PassageCandidate]] = {}
    logits: dict[int, float] = {}
    for index, of_target in chosen.items():
        known = {at: scores[index, at] for at in range(len(of_target)) if (index, at) in scores}
        best = sorted(known, key=lambda at: -known[at].logit)
        ordered[index] = [replace(of_target[at], relevance=known[at].score) for at in best]
        ordered[index] += [pair for at, pair in enumerate(of_target) if at not in known]
        logits[index] = known[best[0]].logit
    return ordered, logits, list(calls)


async def _embedded(
    dispatcher: Dispatcher, texts: Sequence[str], query: RelationQuery, inputs_field: str
) -> tuple[Floats, list[Routed[EngineResult]]]:
    """Return unit vectors, (texts, d), and the call that made them; no call for no text."""
    if not texts:
        return np.empty((0, 0), dtype=np.float32), []
    request = EmbedRequest(tuple(texts), priority=query.priority, no_store=query.no_store, inputs_field=inputs_field)
    routed = await dispatcher.call(request)
    return unit(routed.result.vectors), [routed]
