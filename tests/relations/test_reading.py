"""How often the models read a pair of passages."""

import numpy as np

from tests.support.dispatcher import DEVICE, TIMINGS, FakeDispatcher, usage_of
from trivet.dispatch.protocol import Routed
from trivet.messages import ClassifyRequest, ClassifyResult, Request, ResultT
from trivet.relations.candidates import ReadingPair
from trivet.relations.division import whole
from trivet.relations.query import Counts, GraphQuery
from trivet.relations.reading import PairReader

QUERY = GraphQuery(
    relations={"uses": "The first uses the second.", "none": "Nothing."},
    no_relation="none",
    symmetric=frozenset({"none"}),
    threshold=0.5,
    min_relevance=0.0,
    passage_tokens=200,
)
KEY = (0, 1)


class Judge(FakeDispatcher):
    """Says how much `none` holds, in the order in which it is asked."""

    def __init__(self, *none: float) -> None:
        super().__init__()
        self._none = list(none)
        self.read: list[tuple[str, str | None]] = []

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        assert isinstance(request, ClassifyRequest)
        self.read += [(item.text, item.text_pair) for item in request.inputs]
        shares = [self._none.pop(0) for _ in request.inputs]
        scores = np.array([[1 - share, share] for share in shares], np.float32)
        usage = usage_of([item.text for item in request.inputs])
        return Routed(request.checked(ClassifyResult(np.log(scores), scores, usage, TIMINGS, DEVICE)), "cpu")


async def claimed(judge: Judge, *pairs: ReadingPair) -> list[tuple[tuple[int, int], str]]:
    reader = PairReader(judge, [whole("a"), whole("b"), whole("c")], [0, 1, 1], QUERY, Counts())
    return [(claim.documents, claim.relation) for claim in (await reader.claims({KEY: pairs}))[KEY]]


async def test_a_direction_that_is_not_known_is_found_by_two_readings() -> None:
    judge = Judge(0.4, 0.1)
    assert await claimed(judge, ReadingPair(0, 1, 0.5, directed=False)) == [((1, 0), "uses")]
    assert judge.read == [("a", "b"), ("b", "a")]


async def test_a_pair_that_is_clearly_unrelated_is_read_once() -> None:
    judge = Judge(0.95)
    assert await claimed(judge, ReadingPair(0, 1, 0.5, directed=False)) == [(KEY, "none")]
    assert judge.read == [("a", "b")]


async def test_a_link_gives_the_direction_and_further_passages_to_read() -> None:
    judge = Judge(0.8, 0.1)
    found = await claimed(judge, ReadingPair(0, 1, 0.5, directed=True), ReadingPair(0, 2, 0.5, directed=True))
    assert found == [(KEY, "none"), (KEY, "uses")]
    assert judge.read == [("a", "b"), ("a", "c")]
    judge = Judge(0.1)
    found = await claimed(judge, ReadingPair(0, 1, 0.5, directed=True), ReadingPair(0, 2, 0.5, directed=True))
    assert found == [(KEY, "uses")]


async def test_between_code_only_the_relation_of_the_link_counts() -> None:
    pair = ReadingPair(0, 1, 0.5, directed=True, relation="uses")
    assert await claimed(Judge(0.7), pair) == [(KEY, "uses")]
