"""What pairs of passages say about two documents, in which direction, and which of it counts. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trivet.relations.edges import Judgement

DocumentPair = tuple[int, int]

LINK_CONFIDENCE = 0.9
"""Share of links between code that are right: .91 of 966 in this project's code, by its imports (bench/LOG.md)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One pair of passages says that this relation holds between these documents, first and second text."""

    documents: DocumentPair
    relation: str
    confidence: float
    directed: bool
    judgement: Judgement


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
        if directed and any(other.scores[relation] > judgement.scores[relation] for other in others):
            continue
        settled = replace(judgement, scores=scores)
        claims.append(Claim(documents, relation, scores[relation], directed, settled))
    return claims


def linked_claim(documents: DocumentPair, judgement: Judgement, relation: str) -> Claim:
    """Claim the relation that a link between code stands for: wrong only where both the link and the classifier are."""
    share = judgement.scores[relation]
    confidence = 1 - (1 - LINK_CONFIDENCE) * (1 - share)
    rest = (1 - confidence) / (1 - share) if share < 1 else 0.0
    scores = {label: confidence if label == relation else score * rest for label, score in judgement.scores.items()}
    return Claim(documents, relation, confidence, True, replace(judgement, scores=scores))


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
