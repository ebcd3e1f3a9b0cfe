"""What `/v1/relations` leaves out when the request does not say."""

from typing import Any

import pytest

from tests.api.conftest import Connect
from tests.support.dispatcher import FakeDispatcher
from trivet.api.settings import ApiSettings
from trivet.config import DEFAULT_RELATIONS, AppConfig
from trivet.starter import shipped_card

PAIRS = [{"source": "a b", "target": "a b"}, {"source": "a b", "target": "c d"}]
NEVER = ApiSettings(threshold=1.0)


async def relate(connect: Connect, settings: ApiSettings, **body: Any) -> dict[str, Any]:
    answer = await connect(FakeDispatcher(), settings).post("/v1/relations", json=body)
    assert answer.status_code == 200, answer.text
    body_of_answer: dict[str, Any] = answer.json()
    return body_of_answer


async def test_the_configured_threshold_holds_where_none_is_given(connect: Connect) -> None:
    answer = await relate(connect, NEVER, source="a b", candidates=["a b", "c d"])
    assert answer["edges"] == []
    assert answer["omitted"]["below_threshold"] == 2


async def test_given_pairs_are_all_answered(connect: Connect) -> None:
    answer = await relate(connect, NEVER, pairs=PAIRS)
    assert [edge["source_index"] for edge in answer["edges"]] == [0, 1]
    assert (await relate(connect, NEVER, pairs=PAIRS, threshold=0.99))["omitted"]["below_threshold"] == 2


@pytest.mark.parametrize(
    "body", [{"threshold": 0}, {"relations": {"same": "They are alike.", "other": "They differ."}}]
)
async def test_it_yields_to_the_request_and_to_relations_it_was_not_measured_for(
    connect: Connect, body: dict[str, Any]
) -> None:
    answer = await relate(connect, NEVER, source="a b", candidates=["a b", "c d"], **body)
    assert len(answer["edges"]) == 2
    assert answer["omitted"]["below_threshold"] == 0


async def test_the_configured_relevance_holds_where_none_is_given(connect: Connect) -> None:
    body = {"source": "a b", "candidates": ["a b", "c d"]}
    settings = ApiSettings(min_relevance=1.0)
    assert (await relate(connect, settings, **body))["omitted"]["below_min_relevance"] >= 1
    assert (await relate(connect, settings, **body, min_relevance=0))["omitted"]["below_min_relevance"] == 0


async def test_the_status_shows_the_defaults_in_force(connect: Connect) -> None:
    client = connect(FakeDispatcher(), ApiSettings(threshold=0.7, min_relevance=0.1))
    status = (await client.get("/v1/status")).json()
    assert (status["threshold"], status["min_relevance"]) == (0.7, 0.1)


OTHER_WORDS = {**DEFAULT_RELATIONS, "expansion": "The second text is longer."}


@pytest.mark.parametrize(
    ("config", "threshold"),
    [
        ({}, shipped_card("classifier").threshold),
        ({"threshold": 0.25}, 0.25),
        ({"classifier": {"model": "some/other-model"}}, 0.0),
        ({"relations": OTHER_WORDS}, 0.0),
        ({"relations": OTHER_WORDS, "threshold": 0.25}, 0.25),
    ],
)
def test_the_measured_threshold_is_of_the_starter_and_its_relations(config: dict[str, Any], threshold: float) -> None:
    assert shipped_card("classifier").threshold > 0
    assert ApiSettings.from_config(AppConfig.model_validate(config)).threshold == threshold


CLEAR = shipped_card("classifier").clear_unrelated


@pytest.mark.parametrize(
    ("config", "clear_unrelated"),
    [
        ({}, CLEAR),
        ({"clear_unrelated": 0.99}, 0.99),
        ({"clear_unrelated": 1}, None),
        ({"threshold": 0.4}, None),
        ({"threshold": 0.9}, CLEAR),
        ({"threshold": 0.4, "clear_unrelated": 0.9}, 0.9),
        ({"classifier": {"model": "some/other-model"}}, None),
        ({"classifier": {"model": "some/other-model"}, "clear_unrelated": 0.9}, 0.9),
        ({"relations": OTHER_WORDS}, None),
        ({"no_relation": None}, None),
        ({"no_relation": "expansion"}, None),
    ],
)
def test_one_relation_is_read_first_where_that_was_measured(
    config: dict[str, Any], clear_unrelated: float | None
) -> None:
    assert CLEAR is not None
    assert ApiSettings.from_config(AppConfig.model_validate(config)).clear_unrelated == clear_unrelated


@pytest.mark.parametrize(
    ("config", "min_relevance"),
    [
        ({}, shipped_card("reranker").threshold),
        ({"min_relevance": 0.5}, 0.5),
        ({"reranker": {"model": "some/other-model"}}, 0.0),
    ],
)
def test_the_measured_relevance_is_of_the_starter(config: dict[str, Any], min_relevance: float) -> None:
    assert ApiSettings.from_config(AppConfig.model_validate(config)).min_relevance == min_relevance
