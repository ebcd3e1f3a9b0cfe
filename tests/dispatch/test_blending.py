"""The embedder's similarity in the reranker's score."""

from typing import Any

import numpy as np
import pytest

from tests.support.dispatcher import FakeDispatcher, relevance_of, vector_of
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig
from trivet.dispatch.blending import Blend, BlendingDispatcher
from trivet.messages import EmbedRequest, RerankRequest
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
