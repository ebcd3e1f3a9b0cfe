"""Which relation holds between two documents, and in which direction."""

from trivet.relations.claims import Claim, claims_of, linked_claim, strongest
from trivet.relations.division import whole
from trivet.relations.edges import Judgement

SYMMETRIC = frozenset({"against", "none"})
PAST, BACK = (0, 1), (1, 0)


def judged(uses: float, against: float, none: float) -> Judgement:
    return Judgement(whole("a"), whole("b"), {"uses": uses, "against": against, "none": none}, 0.5)


def said(*judgements: tuple[tuple[int, int], Judgement]) -> list[tuple[tuple[int, int], str, float]]:
    claims = claims_of(judgements, SYMMETRIC)
    return [(claim.documents, claim.relation, round(claim.confidence, 3)) for claim in claims]


def test_a_directed_relation_holds_where_it_is_likelier() -> None:
    assert said((PAST, judged(0.8, 0.1, 0.1)), (BACK, judged(0.6, 0.1, 0.3))) == [(PAST, "uses", 0.8)]


def test_a_symmetric_one_must_hold_both_ways() -> None:
    both = said((PAST, judged(0.0, 0.9, 0.1)), (BACK, judged(0.1, 0.1, 0.8)))
    assert both == [(PAST, "against", 0.5)]


def test_one_reading_is_enough_where_the_direction_is_known() -> None:
    assert said((BACK, judged(0.9, 0.0, 0.1))) == [(BACK, "uses", 0.9)]


def claim(documents: tuple[int, int], relation: str, confidence: float) -> Claim:
    return Claim(documents, relation, confidence, relation not in SYMMETRIC, whole("a"), whole("b"))


def counts(*claims: Claim) -> list[list[tuple[str, float]]]:
    return [[(one.relation, one.confidence) for one in group] for group in strongest(claims, "none")]


def test_nothing_holds_only_where_nothing_else_is_claimed() -> None:
    assert counts(claim(PAST, "none", 0.99), claim(PAST, "uses", 0.6)) == [[("uses", 0.6)]]
    assert counts(claim(PAST, "none", 0.7), claim(PAST, "none", 0.9)) == [[("none", 0.9), ("none", 0.7)]]
    assert counts() == []


def test_duplicates_are_merged_and_directions_kept() -> None:
    assert counts(claim(PAST, "uses", 0.7), claim(PAST, "uses", 0.9), claim(BACK, "uses", 0.8)) == [
        [("uses", 0.9), ("uses", 0.7)], [("uses", 0.8)],
    ]  # fmt: skip
    assert counts(claim(PAST, "uses", 0.7), claim(BACK, "against", 0.9)) == [[("against", 0.9)]]


def test_a_link_by_names_leaves_its_relation_to_the_classifier() -> None:
    linked = linked_claim(PAST, judged(0.4, 0.5, 0.1), "uses")
    assert (linked.relation, linked.confidence, linked.directed) == ("uses", 0.4, True)
