"""`return_best`: which passage of a long document answers the query."""

import httpx

from tests.api.test_relations_by_passages import TARGET, section
from tests.support.dispatcher import FakeDispatcher


async def test_the_best_passage_of_a_long_document(client: httpx.AsyncClient, dispatcher: FakeDispatcher) -> None:
    body = {"query": "tides follow", "documents": ["tides", TARGET, section("x") * 3], "return_best": True, "top_n": 2}
    answer = (await client.post("/v1/rerank", json=body)).json()
    items = {item["index"]: item for item in answer["results"]}
    assert "best" not in items[0]
    best = items[1]["best"]
    assert "tides follow the moon" in TARGET[best["start"] : best["end"]]
    assert best["start_line"] > 1
    assert "text" not in best
    assert len(dispatcher.requests) == 2
    with_text = (await client.post("/v1/rerank", json=body | {"return_documents": True})).json()["results"]
    assert next(item for item in with_text if item["index"] == 1)["best"]["text"] == TARGET[best["start"] : best["end"]]


async def test_it_costs_nothing_where_nobody_asks_or_all_is_short(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher
) -> None:
    await client.post("/v1/rerank", json={"query": "tides", "documents": [TARGET]})
    await client.post("/v1/rerank", json={"query": "tides", "documents": ["tides"], "return_best": True})
    assert len(dispatcher.requests) == 2
