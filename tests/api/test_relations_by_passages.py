"""`/v1/relations` on long texts: the best pairs of passages speak, and an edge names them."""

import dataclasses
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


async def test_only_the_best_passages_are_read(connect: Connect, dispatcher: FakeDispatcher) -> None:
    client = connect(dispatcher, NOTHING)
    await relate(client, source=SOURCE, candidates=[TARGET, TARGET + "."], passage_pairs=2, threshold=0.999)
    reranked = [request for request in dispatcher.requests if isinstance(request, RerankRequest)]
    classified = [request for request in dispatcher.requests if isinstance(request, ClassifyRequest)]
    assert [type(request) for request in dispatcher.requests].count(EmbedRequest) == 1
    assert sum(len(request.documents) for request in reranked) == 2
    assert [len(request.inputs) for request in classified] == [2, 2]


async def test_further_passages_are_read_only_in_doubt(connect: Connect, dispatcher: FakeDispatcher) -> None:
    answer = await relate(connect(dispatcher, NOTHING), source=SOURCE, candidates=[TARGET], threshold=0.1)
    [request] = [request for request in dispatcher.requests if isinstance(request, ClassifyRequest)]
    assert len(request.inputs) == 1
    assert [edge["relation"] for edge in answer["edges"]] == ["tides"]


USES = "from circle import TAU\n\n\ndef area(r):\n    return TAU / 2 * r * r\n"
PATHS = {"source_path": "pkg/area.py", "candidate_paths": ["pkg/circle.py", "pkg/other.py", None]}
FILES = {"source": USES, "candidates": ["TAU = 6.28318\n", "def fold(paper):\n    return paper / 2\n", "A circle."]}


async def test_an_import_is_an_edge_that_no_classifier_reads(connect: Connect, dispatcher: FakeDispatcher) -> None:
    answer = await relate(connect(dispatcher), **FILES, **PATHS, top_k=1)
    [edge] = answer["edges"]
    assert (edge["target_index"], edge["relation"], edge["confidence"]) == (0, "dependency", 0.99)
    assert edge["evidence"][0]["source"]["start_line"] == 1
    assert answer["omitted"]["unlinked_code"] == 1
    assert not any(isinstance(request, ClassifyRequest) for request in dispatcher.requests)
    lines = await connect(dispatcher).post(
        "/v1/relations", json={**FILES, **PATHS, "top_k": 1}, headers={"accept": "application/x-ndjson"}
    )
    assert '"relation":"dependency"' in lines.text


async def test_unlinked_code_is_read_where_the_caller_wants_to_see_it(
    connect: Connect, dispatcher: FakeDispatcher
) -> None:
    answer = await relate(connect(dispatcher), **FILES, **PATHS, include_unrelated=True)
    assert sorted(edge["target_index"] for edge in answer["edges"]) == [0, 1, 2]
    assert answer["omitted"]["unlinked_code"] == 0
    alone = {"source": USES, "source_path": "pkg/area.py", "candidates": FILES["candidates"][1:2]}
    answer = await relate(connect(dispatcher), **alone, candidate_paths=["pkg/other.py"])
    assert (answer["edges"], answer["usage"]["total_tokens"]) == ([], 0)


GO = {
    "source": "package pkg\n\nfunc area() int {\n\treturn FoldPaper(2)\n}\n",
    "candidates": ["package pkg\n\nfunc FoldPaper(n int) int {\n\treturn n\n}\n"],
}


async def test_a_name_alone_proposes_a_relation_to_the_classifier(connect: Connect, dispatcher: FakeDispatcher) -> None:
    paths = {"source_path": "pkg/area.go", "candidate_paths": ["pkg/fold.go"]}
    settings = ApiSettings(relations={"dependency": "uses", "same": "package pkg func"}, no_relation=None)
    answer = await relate(connect(dispatcher, settings), **GO, **paths)
    [edge] = answer["edges"]
    assert edge["relation"] == "dependency"
    assert edge["confidence"] == edge["scores"]["dependency"] < max(edge["scores"].values())
    assert any(isinstance(request, ClassifyRequest) for request in dispatcher.requests)


async def test_what_is_imported_comes_before_what_is_similar(connect: Connect, dispatcher: FakeDispatcher) -> None:
    candidates = ["TAU = 6.28318\n", "from circle import TAU def area(r): return TAU / 2 * r * r"]
    paths = {"source_path": "pkg/area.py", "candidate_paths": ["pkg/circle.py", None]}
    answer = await relate(connect(dispatcher), source=USES, candidates=candidates, **paths, top_k=1, min_relevance=0.99)
    assert [edge["target_index"] for edge in answer["edges"]] == [0]


async def test_snippets_without_paths_are_read(connect: Connect, dispatcher: FakeDispatcher) -> None:
    script = "#!/usr/bin/env python\ndef area(r):\n    return r * r\n"
    answer = await relate(connect(dispatcher), source=script, candidates=[script + "area(2)\n"])
    assert answer["omitted"]["unlinked_code"] == 0
    assert any(isinstance(request, ClassifyRequest) for request in dispatcher.requests)


def module(start: str) -> str:
    """Code of several passages."""
    return start + "".join(f"\n\ndef step_{number}(value):\n    return value + {number}\n" for number in range(30))


async def test_long_code_without_paths_is_linked_by_the_names_that_it_imports(
    connect: Connect, dispatcher: FakeDispatcher
) -> None:
    body = {
        "source": module("from shapes import Circle\n"),
        "candidates": [
            module("class Square:\n    pass\n"),
            module("class Circle:\n    pass\n"),
            "# A page\n\nOf prose.",
        ],
    }
    answer = await relate(connect(dispatcher), **body, include_unrelated=False)
    best = answer["edges"][0]
    assert (best["target_index"], best["relation"]) == (1, "dependency")
    assert answer["omitted"]["unlinked_code"] == 1
    classified = [request for request in dispatcher.requests if isinstance(request, ClassifyRequest)]
    assert {pair.text_pair for request in classified for pair in request.inputs} == {body["candidates"][2]}
    answer = await relate(connect(dispatcher), **body, include_unrelated=True)
    assert {edge["target_index"] for edge in answer["edges"]} == {0, 1, 2}


async def test_where_no_relation_has_the_links_name_the_classifier_reads_everything(
    connect: Connect, dispatcher: FakeDispatcher
) -> None:
    await relate(connect(dispatcher, NOTHING), **FILES, **PATHS)
    [request] = [request for request in dispatcher.requests if isinstance(request, ClassifyRequest)]
    assert len(request.inputs) == 3


async def test_relations_of_a_request_are_the_classifiers_to_name(connect: Connect, dispatcher: FakeDispatcher) -> None:
    answer = await relate(connect(dispatcher), **FILES, **PATHS, relations=RELATIONS)
    assert len(answer["edges"]) == 3
    assert [len(r.inputs) for r in dispatcher.requests if isinstance(r, ClassifyRequest)] == [3]


@pytest.mark.parametrize(
    ("extra", "field"),
    [({"candidate_paths": ["a.py"]}, "candidate_paths"), ({**PATHS, "evidence": "exhaustive"}, "source_path")],
)
async def test_paths_are_one_each_and_for_passages(
    connect: Connect, dispatcher: FakeDispatcher, extra: dict[str, Any], field: str
) -> None:
    answer = await connect(dispatcher).post("/v1/relations", json={**FILES, **extra})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


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


FIRST = ApiSettings(relations=RELATIONS, no_relation="none", clear_unrelated=0.5)
UNRELATED = {"source": "nothing", "candidates": ["nothing here", "the moon and the sea"]}


async def test_a_clearly_unrelated_candidate_is_read_by_one_hypothesis(
    connect: Connect, dispatcher: FakeDispatcher
) -> None:
    answer = await relate(connect(dispatcher, FIRST), **UNRELATED, relations=None)
    assert hypotheses_read(dispatcher) == [["none"], ["none"]]
    assert (answer["edges"], answer["omitted"]["unrelated"]) == ([], 2)


@pytest.mark.parametrize(
    "body",
    [
        {**UNRELATED, "include_unrelated": True},
        {**UNRELATED, "relations": RELATIONS},
        {**UNRELATED, "evidence": "exhaustive"},
        {**UNRELATED, "threshold": 0.69},  # lower than what the score was measured for
        {"pairs": [{"source": "nothing", "target": "nothing here"}]},
    ],
)
async def test_whoever_wants_all_scores_or_lower_ones_gets_them(
    connect: Connect, dispatcher: FakeDispatcher, body: dict[str, Any]
) -> None:
    await relate(connect(dispatcher, dataclasses.replace(FIRST, threshold=0.7)), **body)
    assert {tuple(read) for read in hypotheses_read(dispatcher)} == {tuple(RELATIONS)}


def hypotheses_read(dispatcher: FakeDispatcher) -> list[list[str]]:
    """The relations that each pair was read by, in the order of the calls."""
    calls = [request for request in dispatcher.requests if isinstance(request, ClassifyRequest)]
    return [list(call.hypotheses) for call in calls for _ in call.inputs]


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


READ = {"include_unrelated": True}
"""So that code without a link is read."""
FOLDER = Path(__file__).parents[2] / "trivet" / "vram"


async def test_a_folder_is_related_in_linear_cost(connect: Connect, dispatcher: FakeDispatcher) -> None:
    """A source of 11 KB and 20 files of 90 KB were refused: 1,284,822 tokens."""
    source = (FOLDER / "policy.py").read_text(encoding="utf-8")
    files = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.rglob("*.py")) if path.name != "policy.py"]
    await relate(connect(dispatcher), source=source, candidates=[text for text in files if text.strip()], **READ)
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
    await relate(connect(dispatcher), source=source, candidates=candidates, top_k=3, **READ)
    assert tokens_read(dispatcher.requests) <= 40_000
