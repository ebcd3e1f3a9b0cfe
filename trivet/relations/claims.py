"""What pairs of passages say about two documents, in which direction, and which of it counts. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from trivet.relations.division import Excerpt
from trivet.relations.edges import Judgement

DocumentPair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Claim:
    """One pair of passages says that this relation holds between these documents, first and second text."""

    documents: DocumentPair
    relation: str
    confidence: float
    directed: bool
    source: Excerpt
    target: Excerpt
    cosine: float | None = None
    """Of the passages' vectors; None for an import, which no model read."""
    relevance: float | None = None
    """The reranker's; None where it has not read the passages."""


def claims_of(judgements: Sequence[tuple[DocumentPair, Judgement]], symmetric: frozenset[str]) -> list[Claim]:
    """Return what the judgements on one pair of passages say: one, or one per direction.

    A relation without a direction has the mean of both readings, so it must hold whichever text comes first. A relation
    with a direction is claimed only in the direction in which it is more likely.
    """
    claims: list[Claim] = []
    for number, (documents, judgement) in enumerate(judgements):
        others = [other for at, (_, other) in enumerate(judgements) if at != number]
        scores = dict(judgement.scores)
        for label in symmetric & scores.keys():
            readings = [scores[label], *(other.scores[label] for other in others)]
            scores[label] = sum(readings) / len(readings)
        relation = max(scores, key=scores.__getitem__)
        directed = relation not in symmetric
        if not directed and any(claim.relation == relation for claim in claims):
            continue  # both readings are in it
        if directed and any(other.scores[relation] > judgement.scores[relation] for other in others):
            continue
        claims.append(
            Claim(documents, relation, scores[relation], directed, judgement.source, judgement.target),
        )
    return claims


def linked_claim(documents: DocumentPair, judgement: Judgement, relation: str) -> Claim:
    """Return what the classifier says of the relation that a link between code proposes: others it finds at random."""
    share = judgement.scores[relation]
    return Claim(documents, relation, share, True, judgement.source, judgement.target)


def strongest(claims: Sequence[Claim], no_relation: str | None) -> list[list[Claim]]:
    """Return the claims that count for one pair of documents, grouped by what they say; the best first in each group.

    One relation holds per direction: the one that is claimed most confidently. Relations without a direction count only
    where no directed one is claimed more confidently. That there is no relation counts only where nothing else is
    claimed.
    """
    if not claims:
        return []
    related = [claim for claim in claims if claim.relation != no_relation]
    if not related:
        return [sorted(claims, key=lambda claim: -claim.confidence)]
    groups: defaultdict[tuple[DocumentPair | None, str], list[Claim]] = defaultdict(list)
    for claim in related:
        groups[claim.documents if claim.directed else None, claim.relation].append(claim)
    ranked = [sorted(group, key=lambda claim: -claim.confidence) for group in groups.values()]
    ranked.sort(key=lambda group: -group[0].confidence)
    best = ranked[0]
    if not best[0].directed:
        return [best]
    back = next(
        (group for group in ranked[1:] if group[0].directed and group[0].documents != best[0].documents
         and group[0].relation == best[0].relation), None
    )  # fmt: skip
    return [best] if back is None else [best, back]
