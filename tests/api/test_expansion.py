"""What a request expands to is bounded before it is built: characters, JSON values, labels, answers."""

import json
import threading
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.api.conftest import Connect
from tests.support.dispatcher import FakeDispatcher
from trivet.api import json_route
from trivet.api.cost import ExpansionLimits, filled_characters
from trivet.api.dialects.rerank_v1 import RerankBody
from trivet.api.json_route import count_elements
from trivet.api.schemas import CandidatesBody, ClassifyBody, PairsBody, Texts
from trivet.api.settings import ApiSettings
from trivet.errors import InvalidInput

LONG = "x" * 100_000

EXPANDING: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "a label in many places of the template": (
        "/v1/classify",
        {"input": "a", "labels": [LONG], "hypothesis_template": "{}" * 400},
        "labels",
        "max_expanded_characters",
    ),
    "a long template for many labels": (
        "/v1/classify",
        {"input": "a", "labels": [f"l{n}" for n in range(400)], "hypothesis_template": LONG + "{}"},
        "labels",
        "max_expanded_characters",
    ),
    "long labels in the answer for each input": (
        "/v1/classify",
        {"input": ["a"] * 400, "labels": {LONG: "short", "b": "short"}},
        "labels",
        "max_expanded_characters",
    ),
    "more labels than sequences": (
        "/v1/classify",
        {"input": ["a"] * 200, "labels": [f"l{n}" for n in range(200)]},
        "labels",
        "max_sequences",
    ),
    "a long source for many candidates": (
        "/v1/relations",
        {"source": LONG, "candidates": ["c"] * 400, "top_k": 400},
        "candidates",
        "max_expanded_characters",
    ),
    "long names of relations for many pairs": (
        "/v1/relations",
        {"pairs": [{"source": "a", "target": "b"}] * 400, "relations": {LONG: "h", "b": "h"}},
        "pairs",
        "max_expanded_characters",
    ),
}


@pytest.mark.parametrize("case", EXPANDING)
async def test_a_body_that_expands_too_far_is_refused_by_the_limits_name(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, case: str
) -> None:
    path, body, field, limit = EXPANDING[case]
    response = await client.post(path, json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == field
    assert f"limits.{limit}" in error["message"]
    assert dispatcher.requests == []


async def test_fields_that_are_named_twice_are_read_once(client: httpx.AsyncClient, dispatcher: FakeDispatcher) -> None:
    body = RerankBody.model_validate({"query": "q", "documents": [{"a": "text"}], "rank_fields": ["a"] * 60})
    assert body.texts() == ["text"]
    response = await client.post("/v1/rerank", json={"query": "q", "documents": ["d"], "rank_fields": ["a"] * 100})
    assert response.status_code == 400


@pytest.mark.parametrize("item", ["null", '""', "[]", "{}", "0"])
@pytest.mark.parametrize("field", ["input", "unknown"])
async def test_a_body_of_many_values_is_refused_unparsed(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, item: str, field: str
) -> None:
    body = f'{{"{field}": [{",".join([item] * 300_000)}]}}'
    response = await client.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "too_many_elements"
    assert "limits.max_elements" in response.json()["error"]["message"]
    assert dispatcher.requests == []


async def test_the_limit_of_values_is_configured(connect: Connect) -> None:
    client = connect(FakeDispatcher(), ApiSettings(max_elements=5))
    assert (await client.post("/v1/embeddings", json={"input": ["a", "b"]})).status_code == 200
    refused = await client.post("/v1/embeddings", json={"input": ["a", "b", "c", "d", "e"]})
    assert refused.json()["error"]["code"] == "too_many_elements"


async def test_many_commas_in_a_text_are_no_values(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/embeddings", json={"input": ',[{"\\' * 50_000})
    assert response.status_code == 200


async def test_unknown_fields_are_not_listed_one_by_one(client: httpx.AsyncClient) -> None:
    body = {"input": "a", "labels": ["a"], **{f"field{number}": 1 for number in range(1000)}}
    refused = await client.post("/v1/classify", json=body)
    assert "1002 fields; the limit is 256" in refused.json()["error"]["message"]


async def test_a_refusal_does_not_repeat_a_long_label(client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/classify", json={"input": "a", "labels": {"x" * 1_000_000: ""}})
    assert refused.status_code == 400
    assert len(refused.content) < 1000


def test_a_wrong_list_is_one_error() -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Texts).validate_python([""] * 1000)
    assert refused.value.error_count() == 1


@pytest.mark.parametrize(("characters", "thread"), [(100, "MainThread"), (200_000, "large-body")])
async def test_large_bodies_are_parsed_beside_the_event_loop(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, characters: int, thread: str
) -> None:
    threads = []

    def loads(body: bytes) -> Any:
        threads.append(threading.current_thread().name)
        return json.JSONDecoder().decode(body.decode())

    monkeypatch.setattr(json_route.json, "loads", loads)
    response = await client.post("/v1/embeddings", json={"input": "x" * characters})
    assert response.status_code == 200
    assert [name.partition("_")[0] for name in threads] == [thread]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a,[]{}:"\\é', max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text('a,"\\', max_size=3), inner, max_size=4),
    max_leaves=30,
)


def values_of(content: Any) -> int:
    if isinstance(content, dict):
        return 1 + sum(map(values_of, content.values()))
    return 1 + sum(map(values_of, content)) if isinstance(content, list) else 1


@given(json_values)
def test_the_count_of_values_is_never_too_small(content: Any) -> None:
    body = json.dumps(content).encode()
    exact = values_of(content)
    found = count_elements(body, 0)
    assert exact <= found <= 2 * exact  # a list counts once with its bracket, and its first value with it
    assert count_elements(body, 10_000) >= exact


@pytest.mark.slow
@given(
    st.text("ab{}", max_size=12),
    st.dictionaries(st.text("ab{}", max_size=6), st.none() | st.text(max_size=5), max_size=5),
)
def test_the_cost_of_hypotheses_is_their_length(template: str, labels: dict[str, str | None]) -> None:
    body = ClassifyBody.model_construct(input=[], labels=labels, hypothesis_template=template)
    assert filled_characters(template, labels) == sum(map(len, body.hypotheses().values()))


def test_costs_count_what_is_read_and_what_is_answered() -> None:
    classify = ClassifyBody.model_validate({"input": ["abc", {"text": "d", "text_pair": "ef"}], "labels": ["x", "yz"]})
    assert classify.cost().sequences == 4
    assert classify.cost().characters == 6 + 2 * len("This example is .") + 3
    candidates = CandidatesBody.model_validate({"source": "abc", "candidates": ["d", "ef"], "top_k": 16})
    assert candidates.cost({"r": "hhh", "s": "h"}).characters == 2 * 3 + 3 + 4
    assert candidates.cost({"r" * 50: "h", "s": "h"}).characters == 2 * 51
    pairs = PairsBody.model_validate({"pairs": [{"source": "abc", "target": "d"}]})
    assert pairs.cost({"r": "hhh", "s": "h"}).characters == 4 + 4
    with pytest.raises(InvalidInput, match=r"limits\.max_sequences"):
        ExpansionLimits(sequences=3).check(classify.cost(), "labels")
