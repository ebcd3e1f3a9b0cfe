"""What is read of pairs of passages, and what the scores of two readings are together."""

import numpy as np
import pytest

from tests.support.dispatcher import FakeDispatcher, softmax
from trivet.dispatch.protocol import Routed
from trivet.errors import InputTooLong
from trivet.messages import ClassifyRequest, PairText, Request, ResultT
from trivet.relations.classifying import classify_pairs

RELATIONS = {"uses": "sea", "none": "bread and flour", "tells": "moon tides"}
PAIRS = (
    PairText("flour", "and bread and flour"),
    PairText("the moon", "pulls the sea tides"),
    PairText("bread and flour", "for the sea"),
)
REQUEST = ClassifyRequest(PAIRS, RELATIONS, no_relation_label="none", inputs_field="candidates")


async def test_a_clear_pair_is_read_once_and_another_one_is_scored_as_by_one_call() -> None:
    dispatcher = FakeDispatcher()
    whole = await classify_pairs(dispatcher, REQUEST, None)
    [request] = dispatcher.requests
    assert request == REQUEST
    found = await classify_pairs(dispatcher, REQUEST, 0.85)
    first, second = dispatcher.requests[1:]
    assert isinstance(first, ClassifyRequest)
    assert isinstance(second, ClassifyRequest)
    assert (first.inputs, dict(first.hypotheses)) == (PAIRS, {"none": "bread and flour"})
    assert (second.inputs, list(second.hypotheses), second.no_relation_label) == (PAIRS[1:2], ["uses", "tells"], None)
    np.testing.assert_allclose(found.scores[1], whole.scores[1], rtol=1e-6)
    assert found.scores[0].tolist() == [0, pytest.approx(0.88, abs=0.01), 0]
    assert [list(found.windows), list(found.truncated)] == [[1, 1, 1], [False] * 3]
    assert len(found.calls) == 2


async def test_nothing_is_read_twice() -> None:
    dispatcher = FakeDispatcher()
    assert len((await classify_pairs(dispatcher, REQUEST, 0.1)).calls) == 1
    await classify_pairs(dispatcher, REQUEST, 1.0)
    read = [(pair, hypothesis) for request in dispatcher.requests[1:] for pair, hypothesis in readings(request)]
    assert sorted(read, key=str) == sorted([(pair, text) for pair in PAIRS for text in RELATIONS.values()], key=str)


def readings(request: object) -> list[tuple[PairText, str]]:
    assert isinstance(request, ClassifyRequest)
    return [(pair, hypothesis) for pair in request.inputs for hypothesis in request.hypotheses.values()]


async def test_where_no_relation_means_none_all_are_read_at_once() -> None:
    dispatcher = FakeDispatcher()
    request = ClassifyRequest(PAIRS, RELATIONS)
    assert (await classify_pairs(dispatcher, request, 0.5)).scores.tolist() == softmax_of(request)
    assert dispatcher.requests == [request]


def softmax_of(request: ClassifyRequest) -> list[list[float]]:
    rows = [[len({*f"{p.text} {p.text_pair}".split()} & {*h.split()}) - 1.0 for h in RELATIONS.values()] for p in PAIRS]
    shares: list[list[float]] = softmax(np.array(rows, np.float32)).tolist()
    return shares


async def test_an_error_of_the_second_reading_names_the_pair_of_the_request() -> None:
    class Refusing(FakeDispatcher):
        async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
            if self.requests:
                raise InputTooLong(field=request.inputs_field, index=0, tokens=9, limit_tokens=8)
            return await super().call(request)

    with pytest.raises(InputTooLong) as raised:
        await classify_pairs(Refusing(), REQUEST, 0.85)
    assert (raised.value.field, raised.value.index) == ("candidates", 1)
