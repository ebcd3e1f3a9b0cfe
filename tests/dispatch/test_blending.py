"""The embedder's similarity in the reranker's score."""

import asyncio
from typing import Any

import numpy as np
import pytest

from tests.support.dispatcher import FakeDispatcher, relevance_of, vector_of
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig, Task
from trivet.dispatch.blending import Blend, BlendingDispatcher
from trivet.dispatch.protocol import Routed
from trivet.errors import InvalidInput, TrivetError, Unavailable
from trivet.messages import EmbedRequest, Request, RerankRequest, ResultT
from trivet.starter import shipped_card

DOCUMENTS = ("fox and hound", "a red fox", "harbour")


async def test_a_score_is_the_floored_logit_and_the_cosine() -> None:
    blending = BlendingDispatcher(FakeDispatcher(), Blend(11.0, logit_floor=0.0, scale=0.5, shift=-3.0))
    routed = await blending.call(RerankRequest("red fox", DOCUMENTS))
    expected = [
        0.5 * (max(0.0, relevance_of("red fox", text)) + 11 * float(vector_of("red fox") @ vector_of(text))) - 3
        for text in DOCUMENTS
    ]
    np.testing.assert_allclose(routed.result.logits, expected, rtol=1e-5)
    np.testing.assert_allclose(routed.result.scores, 1 / (1 + np.exp(-np.array(expected))), rtol=1e-5)
    # Tokens: the reranker's, the documents' again, and the query's.
    assert routed.result.usage.tokens == 2 * (3 + 3 + 1) + 2


async def test_similarities_that_the_caller_knows_are_not_computed_again() -> None:
    inner = FakeDispatcher()
    known = RerankRequest("red fox", DOCUMENTS, similarities=(0.1, 0.9, 0.2))
    routed = await BlendingDispatcher(inner, Blend(10.0, logit_floor=5.0)).call(known)
    np.testing.assert_allclose(routed.result.logits, [6, 14, 7])
    assert [type(request) for request in inner.requests] == [RerankRequest]
    assert routed.result.usage.tokens == 3 + 3 + 1


async def test_a_logit_counts_by_how_much_the_embedder_sees_in_common() -> None:
    blend = Blend(10.0, logit_floor=1.0, trusted_between=(0.2, 0.6))
    alike = RerankRequest("red fox", ("none", "low", "half", "high", "more"), similarities=(-0.1, 0.2, 0.4, 0.6, 0.9))
    routed = await BlendingDispatcher(FakeDispatcher(), blend).call(alike)
    floors = [-1 + 1, 2 + 1, 4 + 1, 6 + 1, 9 + 1]  # no logit is above the floor
    np.testing.assert_allclose(routed.result.logits, floors, rtol=1e-5)
    low = Blend(10.0, logit_floor=-3.0, trusted_between=(0.2, 0.6))
    logits, cosines = np.array([2, 2, 2, -9], np.float32), np.array([0.2, 0.4, 0.6, 0.6], np.float32)
    np.testing.assert_allclose(low.logits(logits, cosines), [2 - 3, 4 - 3 + 2.5, 6 + 2, 6 - 3], rtol=1e-5)


class Together(FakeDispatcher):
    """Answers when all three calls of a rerank request have come."""

    def __init__(self) -> None:
        super().__init__()
        self._all = asyncio.Event()

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        routed = await super().call(request)
        if len(self.requests) == 3:
            self._all.set()
        await self._all.wait()
        return routed


async def test_both_models_work_at_the_same_time() -> None:
    async with asyncio.timeout(2):
        await BlendingDispatcher(Together(), Blend(1.0)).call(RerankRequest("red fox", DOCUMENTS))


class Without(FakeDispatcher):
    """Lacks one model; calls of the others wait until they are cancelled."""

    def __init__(self, task: Task, error: TrivetError) -> None:
        super().__init__()
        self._task = task
        self._failure = error
        self.cancelled = 0

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        if request.task == self._task:
            await asyncio.sleep(0.01)  # the other calls have begun
            raise self._failure
        if request.task == "reranker":
            return await super().call(request)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError


async def test_without_the_embedder_a_request_is_refused_with_the_reason() -> None:
    failure = Unavailable("no replica answers", retry_after_s=7)
    blending = BlendingDispatcher(Without("embedder", failure), Blend(1.0))
    with pytest.raises(Unavailable, match=r"needs the embedder \(reranker.blend\).*no replica answers") as caught:
        await blending.call(RerankRequest("red fox", DOCUMENTS))
    assert caught.value.retry_after_s == 7
    assert failure.message == "no replica answers"  # other callers may see it, too


async def test_a_refusal_of_the_reranker_ends_the_other_calls() -> None:
    inner = Without("reranker", InvalidInput("too long", field="documents"))
    async with asyncio.timeout(2):
        with pytest.raises(InvalidInput, match=r"^too long$"):
            await BlendingDispatcher(inner, Blend(1.0)).call(RerankRequest("red fox", DOCUMENTS))
    assert inner.cancelled == 2


async def test_a_length_that_the_reranker_takes_is_no_error_of_the_embedder() -> None:
    inner = FakeDispatcher()
    await BlendingDispatcher(inner, Blend(1.0)).call(RerankRequest("a", DOCUMENTS, long_input="error"))
    assert {request.long_input for request in inner.requests if isinstance(request, EmbedRequest)} == {"window"}


async def test_other_requests_pass() -> None:
    inner = FakeDispatcher()
    await BlendingDispatcher(inner, Blend(1.0)).call(EmbedRequest(("a",)))
    assert len(inner.requests) == 1


@pytest.mark.parametrize(
    ("config", "weight"),
    [
        ({}, 11.0),
        ({"reranker": {"blend": {"cosine_weight": 0}}}, None),
        ({"reranker": {"blend": {"cosine_weight": 3}}}, 3.0),
        ({"reranker": {"model": "some/other"}}, None),
        ({"embedder": {"model": "some/other"}}, None),
    ],
)
def test_the_card_says_whether_a_reranker_needs_it(config: dict[str, Any], weight: float | None) -> None:
    card = shipped_card("reranker").blend
    assert card is not None
    blend = ApiSettings.from_config(AppConfig.model_validate(config)).blend
    assert (None if blend is None else blend.cosine_weight) == weight
