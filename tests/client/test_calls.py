"""Every method against the real HTTP application: requests arrive unchanged, and answers are parsed completely."""

import inspect

import httpx
import numpy as np
import pytest

from tests.support.dispatcher import CLASSIFIER, DEVICE, DIMENSIONS, EMBEDDER, RERANKER, FakeDispatcher, vector_of
from tests.support.serving import served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.client import AsyncClient, Client, Pair, RelationPair
from trivet.config import CacheConfig
from trivet.errors import Unavailable
from trivet.messages import ClassifyRequest, EmbedRequest, PairText, RerankRequest
from trivet.quantize import quantize

UNICODE = ["naïve café", "日本語のテキスト", "emoji 🦜🪵", "combining é", "null-free \u2028 line", "עברית"]


def test_embeds_exactly(client: Client, dispatcher: FakeDispatcher) -> None:
    answer = client.embed(UNICODE, input_type="query")
    assert dispatcher.requests == [EmbedRequest(tuple(UNICODE), input_type="query")]
    expected = np.stack([vector_of(text) for text in UNICODE])
    assert answer.to_numpy().dtype == np.float32
    np.testing.assert_array_equal(answer.to_numpy(), expected)  # base64 loses nothing
    np.testing.assert_array_equal(np.array(answer.vectors, dtype=np.float32), expected)
    assert (answer.model, answer.service.device) == (EMBEDDER.name, DEVICE)
    assert answer.tokens == sum(len(text.split()) for text in UNICODE)


def test_embed_reports_windows_truncation_and_dimensions(client: Client) -> None:
    long = "word " * 500
    [item] = client.embed([long]).items
    assert (item.windows, item.truncated, item.dimensions) == (3, False, DIMENSIONS)
    [item] = client.embed([long], long_input="truncate", dimensions=3).items
    assert (item.windows, item.truncated, item.dimensions) == (1, True, 3)
    assert len(item.vector) == 3


def test_an_instruction_is_sent(client: Client, dispatcher: FakeDispatcher) -> None:
    client.embed(["a"], instruction="find bugs")
    client.embed_many(["a"], instruction="find bugs", input_type="query")
    assert [request.instruction for request in dispatcher.requests if isinstance(request, EmbedRequest)] == [
        "find bugs"
    ] * 2


def test_embeds_in_whole_numbers(client: Client) -> None:
    answer = client.embed_quantized(UNICODE, "int8", input_type="document")
    expected = quantize(np.stack([vector_of(text) for text in UNICODE]), "int8")
    assert answer.vectors == [tuple(row) for row in expected.tolist()]
    assert (answer.model, answer.service.device) == (EMBEDDER.name, DEVICE)
    [item] = client.embed_quantized(["a"], "ubinary").items
    assert (len(item.vector), item.windows, item.truncated) == (DIMENSIONS // 8, 1, False)


def test_embeds_as_weights_of_tokens(client: Client, dispatcher: FakeDispatcher) -> None:
    answer = client.embed_sparse(["a red fox", "grey wolves"], input_type="query")
    assert [item.weights for item in answer.items] == [{1: 1.0, 3: 2.0}, {4: 1.0, 6: 1.0}]
    assert dispatcher.requests == [EmbedRequest(("a red fox", "grey wolves"), input_type="query", output="sparse")]


def test_embeds_as_vectors_of_tokens(client: Client, dispatcher: FakeDispatcher) -> None:
    answer = client.embed_tokens(["a red fox", "wolves"], input_type="document")
    first, second = (item.to_numpy() for item in answer.items)
    np.testing.assert_allclose(first, np.stack([vector_of(word) for word in ("a", "red", "fox")]), rtol=1e-6)
    assert second.shape == (1, DIMENSIONS)
    assert dispatcher.requests == [EmbedRequest(("a red fox", "wolves"), input_type="document", output="tokens")]


def test_reranks(client: Client, dispatcher: FakeDispatcher) -> None:
    answer = client.rerank("wait then retry", ["a CSS grid", "wait then retry it", "wait"], top_n=2)
    assert [item.index for item in answer.results] == [1, 2]
    assert answer.results[0].score > answer.results[1].score
    assert answer.model == RERANKER.name
    assert dispatcher.requests == [RerankRequest("wait then retry", ("a CSS grid", "wait then retry it", "wait"))]


def test_classifies_texts_and_pairs(client: Client, dispatcher: FakeDispatcher) -> None:
    texts = ["a sports day", Pair("the grid", "food is cooking")]
    answer = client.classify(texts, ["sports", "cooking"], hypothesis_template="{}", multi_label=True)
    assert [item.label for item in answer.items] == ["sports", "cooking"]
    assert {score.label for score in answer.items[0].labels} == {"sports", "cooking"}
    assert answer.model == CLASSIFIER.name
    [request] = dispatcher.requests
    assert isinstance(request, ClassifyRequest)
    assert request.multi_label
    assert request.inputs == (PairText("a sports day"), PairText("the grid", "food is cooking"))


def test_classifies_with_hypotheses(client: Client, dispatcher: FakeDispatcher) -> None:
    client.classify(["a"], {"x": "it is x", "y": "it is y"})
    [request] = dispatcher.requests
    assert isinstance(request, ClassifyRequest)
    assert request.hypotheses == {"x": "it is x", "y": "it is y"}


def test_relates_candidates(client: Client) -> None:
    relations = {"same": "alpha beta", "other": "gamma"}
    candidates = ["nothing here", "alpha beta", "alpha"]
    answer = client.relate("alpha beta", candidates, top_k=2, relations=relations, threshold=0.1)
    assert [edge.target_index for edge in answer.edges] == [1, 2]
    assert answer.edges[0].relation == "same"
    assert answer.edges[0].relevance is not None
    assert answer.omitted.beyond_top_k == 1
    assert answer.tokens > 0


def test_relates_pairs(client: Client) -> None:
    answer = client.relate(pairs=[RelationPair("a", "b"), RelationPair("c", "d")])
    assert [(edge.source_index, edge.target_index, edge.relevance) for edge in answer.edges] == [
        (0, 0, None),
        (1, 1, None),
    ]


def test_models_and_readiness(client: Client) -> None:
    models = client.models()
    assert models.of_task("embedder").dimensions == DIMENSIONS
    assert models.of_task("embedder").outputs == ("dense", "sparse", "tokens")
    assert models.of_task("classifier").labels == tuple(CLASSIFIER.labels)
    with pytest.raises(KeyError):
        models.of_task("painter")
    ready = client.ready()
    assert (ready.status, ready.answers) == ("ready", True)
    assert ready.models["embedder"].lanes["cpu"].device == DEVICE


def test_a_server_that_is_not_ready_is_an_answer() -> None:
    app = create_app(FakeDispatcher(error=Unavailable("loading")), ApiSettings())
    with served(app) as url, Client(url) as client:
        ready = client.ready()
    assert (ready.status, ready.answers) == ("starting", False)
    assert not ready.models["reranker"].lanes["cpu"].ready


def test_a_reroute_is_reported() -> None:
    app = create_app(FakeDispatcher(reroute_reason="250 MiB free"), ApiSettings())
    with served(app) as url, Client(url) as client:
        assert client.embed(["a"]).service.reroute_reason == "250 MiB free"


def test_priority_and_deadline_are_sent(url: str, dispatcher: FakeDispatcher) -> None:
    with Client(url, priority="bulk") as client:
        client.embed(["a"])
        client.embed(["a"], priority="interactive")
    assert [request.priority for request in dispatcher.requests] == ["bulk", "interactive"]


ONE_STRING: list[tuple[str, str, dict[str, object]]] = [
    ("texts", "embed", {"texts": "disk full"}),
    ("texts", "embed_many", {"texts": "disk full"}),
    ("documents", "rerank", {"query": "q", "documents": "disk full"}),
    ("texts", "classify", {"texts": "disk full", "labels": ["x", "y"]}),
    ("labels", "classify", {"texts": ["a"], "labels": "xy"}),
    ("candidates", "relate", {"source": "a", "candidates": "disk full"}),
    ("pairs", "relate", {"pairs": "disk full"}),
]


@pytest.mark.parametrize(("name", "method", "arguments"), ONE_STRING)
async def test_one_string_is_not_a_list_of_texts(
    url: str, dispatcher: FakeDispatcher, name: str, method: str, arguments: dict[str, object]
) -> None:
    with Client(url) as client, pytest.raises(TypeError, match=f"{name} is one string"):
        getattr(client, method)(**arguments)
    async with AsyncClient(url) as async_client:
        with pytest.raises(TypeError, match=f"{name} is one string"):
            await getattr(async_client, method)(**arguments)
    assert dispatcher.requests == []


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "localhost:8000"},
        {"url": "http://[::1"},
        {"url": "http://127.0.0.1:99999"},
        {"timeout_s": 0},
        {"timeout_s": 1e6},
        {"key": "a\n"},
        {"key": "caf\u00e9"},
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"URL|timeout_s|the key has"):
        Client(**settings)  # type: ignore[arg-type]


async def test_the_asynchronous_client_does_the_same(url: str) -> None:
    with Client(url) as client:
        async with AsyncClient(url) as async_client:
            assert await async_client.embed(UNICODE) == client.embed(UNICODE)
            assert await async_client.rerank("a", ["a b", "c"]) == client.rerank("a", ["a b", "c"])
            assert await async_client.classify(["a"], ["b"]) == client.classify(["a"], ["b"])
            assert await async_client.relate("a", ["a", "b"]) == client.relate("a", ["a", "b"])
            assert await async_client.models() == client.models()
            assert await async_client.ready() == client.ready()


async def test_an_application_in_this_process_needs_no_port(dispatcher: FakeDispatcher) -> None:
    transport = httpx.ASGITransport(create_app(dispatcher, ApiSettings(cache=CacheConfig())))
    headers = {"cache-control": "no-store"}
    async with AsyncClient("http://in-process", headers=headers, transport=transport) as client:
        assert (await client.rerank("a", ["a b", "c"])).model == RERANKER.name
        await client.rerank("a", ["a b", "c"])
    assert len(dispatcher.requests) == 2  # the cache did not answer the second one


def test_the_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[inspect.Parameter]]:
        return {
            name: list(inspect.signature(member).parameters.values())
            for name, member in inspect.getmembers(kind, callable)
            if not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)
    assert list(inspect.signature(Client.rerank).parameters)[:3] == ["self", "query", "documents"]
    assert inspect.signature(AsyncClient.embed).return_annotation.__name__ == "Embeddings"
    assert "Sort documents" in (Client.rerank.__doc__ or "")
