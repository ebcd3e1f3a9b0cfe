"""`/v1/relations` on long texts: the best pairs of passages speak, and an edge names them."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Connect
from tests.support.dispatcher import FakeDispatcher
from trivet.api.settings import ApiSettings
from trivet.errors import Unavailable
from trivet.messages import ClassifyRequest, EmbedRequest, RerankRequest
from trivet.passages.estimate import estimated_tokens

RELATIONS = {"tides": "moon and sea", "bread": "flour and oven", "none": "nothing"}
NOTHING = ApiSettings(relations=RELATIONS, no_relation="none")


def section(word: str) -> str:
    return f"# {word}\n\n" + " ".join(f"{word}{number % 40}" for number in range(150)) + "\n\n"


SOURCE = section("alpha") + "# sea\n\nthe moon pulls the sea and so come tides\n\n" + section("omega") * 2
TARGET = section("first") + section("second") + "# moon\n\nmoon and sea: tides follow the moon\n\n" + section("third")


async def relate(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/relations", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_an_edge_names_the_passages_that_spoke(connect: Connect, dispatcher: FakeDispatcher) -> None:
    answer = await relate(connect(dispatcher, NOTHING), source=SOURCE, candidates=["flour", TARGET], top_k=1)
    (edge,) = answer["edges"]
    assert (edge["target_index"], edge["relation"]) == (1, "tides")
    spoke = edge["evidence"][0]
    assert "moon pulls" in SOURCE[spoke["source"]["start"] : spoke["source"]["end"]]
    assert "tides follow" in TARGET[spoke["target"]["start"] : spoke["target"]["end"]]
    lines = TARGET.split("\n")[spoke["target"]["start_line"] - 1 : spoke["target"]["end_line"]]
    assert any("tides follow" in line for line in lines)
    assert {"embed", "rerank", "classify"} <= answer["timings_ms"].keys()


async def test_the_reranker_is_told_the_similarities(connect: Connect, dispatcher: FakeDispatcher) -> None:
    client = connect(dispatcher, NOTHING)
    await relate(client, source=SOURCE, candidates=[TARGET, "flour"])
    reranked = [request for request in dispatcher.requests if isinstance(request, RerankRequest)]
    assert all(len(request.similarities or ()) == len(request.documents) for request in reranked)
    dispatcher.requests.clear()
    await relate(client, source="moon", candidates=["flour"])  # found without a vector
    [request] = [request for request in dispatcher.requests if isinstance(request, RerankRequest)]
    assert request.similarities is None


async def test_only_the_best_passages_are_classified(connect: Connect, dispatcher: FakeDispatcher) -> None:
    client = connect(dispatcher, NOTHING)
    await relate(client, source=SOURCE, candidates=[TARGET, TARGET + "."], passage_pairs=2)
    embedded = [request for request in dispatcher.requests if isinstance(request, EmbedRequest)]
    classified = [request for request in dispatcher.requests if isinstance(request, ClassifyRequest)]
    assert len(embedded) == len(classified) == 1
    assert len(classified[0].inputs) == 2 * 2


async def test_texts_of_one_passage_are_read_as_before(connect: Connect, dispatcher: FakeDispatcher) -> None:
    client = connect(dispatcher, NOTHING)
    body = {"source": "the moon and the sea", "candidates": ["moon and sea", "flour"], "include_unrelated": True}
    by_passages = await relate(client, **body)
    kinds = [type(request) for request in dispatcher.requests]
    assert kinds == [RerankRequest, ClassifyRequest]
    exhaustive = await relate(connect(FakeDispatcher(), NOTHING), **body, evidence="exhaustive")
    assert by_passages["edges"] == exhaustive["edges"]
    whole = by_passages["edges"][0]["evidence"][0]["target"]
    assert whole == {"start": 0, "end": 12, "start_line": 1, "end_line": 1}


async def test_unrelated_candidates_are_counted(connect: Connect, dispatcher: FakeDispatcher) -> None:
    client = connect(dispatcher, NOTHING)
    body = {"source": "nothing", "candidates": ["nothing here"]}
    answer = await relate(client, **body)
    assert (answer["edges"], answer["omitted"]["unrelated"]) == ([], 1)
    answer = await relate(client, **body, include_unrelated=True)
    assert [edge["relation"] for edge in answer["edges"]] == ["none"]
    answer = await relate(client, pairs=[{"source": "nothing", "target": "nothing here"}])
    assert [edge["relation"] for edge in answer["edges"]] == ["none"]


async def test_given_pairs_are_read_by_passages_too(connect: Connect, dispatcher: FakeDispatcher) -> None:
    pairs = [{"source": "moon", "target": "flour"}, {"source": SOURCE, "target": TARGET}]
    answer = await relate(connect(dispatcher, NOTHING), pairs=pairs)
    spoke = answer["edges"][1]["evidence"][0]
    assert "tides follow" in TARGET[spoke["target"]["start"] : spoke["target"]["end"]]
    assert not any(isinstance(request, RerankRequest) for request in dispatcher.requests)


@pytest.mark.parametrize("body", [{"evidence": "exhaustive"}, {"long_input": "truncate"}])
async def test_an_exhaustive_reading_states_its_cost(
    connect: Connect, dispatcher: FakeDispatcher, body: dict[str, str]
) -> None:
    client = connect(dispatcher, ApiSettings(max_request_tokens=50_000))
    body |= {"source": SOURCE * 4}
    answer = await client.post("/v1/relations", json=body | {"candidates": [TARGET * 4] * 4})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "too_many_tokens"
    assert "the limit is 50000" in error["message"]
    assert "best passages" in error["message"]
    assert not dispatcher.requests


async def test_a_failing_model_is_reported_plainly(connect: Connect) -> None:
    answer = await connect(FakeDispatcher(error=Unavailable("no reranker"), answered_before_error=1)).post(
        "/v1/relations", json={"source": SOURCE, "candidates": [TARGET]}
    )
    assert answer.status_code == 503


def tokens_read(requests: list[Any]) -> int:
    """What the models read, as estimated: each text with its query, each pair once per hypothesis."""
    tokens = 0
    for request in requests:
        match request:
            case EmbedRequest():
                tokens += sum(estimated_tokens(request.texts))
            case RerankRequest():
                tokens += len(request.documents) * estimated_tokens([request.query])[0]
                tokens += sum(estimated_tokens(request.documents))
            case ClassifyRequest():
                texts = [text for pair in request.inputs for text in (pair.text, pair.text_pair or "")]
                tokens += len(request.hypotheses) * sum(estimated_tokens(texts))
    return tokens


FOLDER = Path(__file__).parents[2] / "trivet" / "vram"


async def test_a_folder_is_related_in_linear_cost(connect: Connect, dispatcher: FakeDispatcher) -> None:
    """A source of 11 KB and 20 files of 90 KB were refused: 1,284,822 tokens."""
    source = (FOLDER / "policy.py").read_text(encoding="utf-8")
    files = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.rglob("*.py")) if path.name != "policy.py"]
    await relate(connect(dispatcher), source=source, candidates=[text for text in files if text.strip()])
    read, size = tokens_read(dispatcher.requests), sum(estimated_tokens([source, *files]))
    assert size > 20_000
    # Each candidate costs its passages once, and three pairs of passages: 200 tokens a passage, five readings a pair.
    assert read <= 2 * size + len(files) * 3 * 2 * 250 * 5


async def test_24_kb_of_candidates_cost_less_than_40_000_tokens(connect: Connect, dispatcher: FakeDispatcher) -> None:
    """A source of 6 KB and 9 files of 24 KB took 601,648 tokens."""
    source = (FOLDER / "policy.py").read_text(encoding="utf-8")[:6000]
    files = [path.read_text(encoding="utf-8")[:2700] for path in sorted(FOLDER.rglob("*.py"))]
    candidates = [text for text in files if len(text) > 2000][:9]
    assert len(candidates) == 9
    await relate(connect(dispatcher), source=source, candidates=candidates, top_k=3)
    assert tokens_read(dispatcher.requests) <= 40_000
