"""The whole service on the CPU lane with the starter models, with real Ray and real HTTP."""

import base64

import numpy as np
import psutil
import pytest

from tests.deployments.conftest import STARTERS, Client

pytestmark = pytest.mark.ray

RETRY = "Wait a little longer after every failed attempt (exponential backoff), then send the HTTP request again."
OFF_TOPIC = [
    "A CSS grid places items in rows and columns; grid-template-areas names them.",
    "Let the dough rise for twelve hours before you bake the bread.",
    "A database index trades slower writes for faster lookups.",
]


@pytest.fixture
def client(starters: Client) -> Client:
    return starters


def test_readiness_names_every_lane_and_its_device(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "ready"
    assert set(body["models"]) == {"embedder", "reranker", "classifier"}
    for model in body["models"].values():
        assert set(model["lanes"]) == {"cpu"}
        assert model["lanes"]["cpu"]["ready"]
        assert model["lanes"]["cpu"]["device"].startswith("cpu (openvino")


def test_health_and_models(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    models = client.get("/v1/models").json()["data"]
    assert [model["task"] for model in models] == ["embedder", "reranker", "classifier"]
    assert client.get("/openapi.json").json()["info"]["title"] == "Trivet"


def test_embeddings_are_near_for_near_texts_in_both_encodings(client: Client) -> None:
    texts = ["retry a failed request", "send the request again after an error", "bake bread"]
    answer = client.post("/v1/embeddings", json={"input": texts})
    assert answer.status_code == 200
    assert answer.headers["x-trivet-device"].startswith("cpu")
    assert "x-trivet-reroute-reason" not in answer.headers
    vectors = np.array([entry["embedding"] for entry in answer.json()["data"]])
    similarity = vectors @ vectors.T
    np.testing.assert_allclose(np.diag(similarity), 1.0, atol=1e-5)
    assert similarity[0, 1] > similarity[0, 2] + 0.2
    encoded = client.post("/v1/embeddings", json={"input": texts, "encoding_format": "base64"}).json()
    decoded = np.frombuffer(base64.b64decode(encoded["data"][0]["embedding"]), dtype="<f4")
    np.testing.assert_allclose(decoded, vectors[0], atol=1e-6)


def test_rerank_puts_the_passage_that_answers_first(client: Client) -> None:
    answer = client.post(
        "/v1/rerank", json={"query": "how do I retry a failed HTTP request", "documents": [*OFF_TOPIC, RETRY]}
    )
    results = answer.json()["results"]
    assert results[0]["index"] == 3
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert len(results) == 4


def relation_scores(client: Client, source: str, target: str) -> dict[str, float]:
    answer = client.post("/v1/relations", json={"pairs": [{"source": source, "target": target}], "threshold": 0})
    assert answer.status_code == 200, answer.text
    scores: dict[str, float] = answer.json()["edges"][0]["scores"]
    return scores


def test_code_depends_on_the_constant_it_uses(client: Client) -> None:
    scores = relation_scores(client, "def area(r): return PI * r * r", "PI = 3.14159")
    assert scores["dependency"] > scores["unrelated"]


def test_opposite_statements_contradict(client: Client) -> None:
    scores = relation_scores(client, "The cache is enabled by default.", "Caching is turned off unless you enable it.")
    assert scores["contradiction"] > scores["expansion"]


def test_unrelated_paragraphs_are_unrelated(client: Client) -> None:
    scores = relation_scores(
        client,
        "The harbour froze in January, and the ferries stayed in port until the ice broke up in March.",
        "A decorator takes a function and returns another one that usually calls the first.",
    )
    assert max(scores, key=scores.__getitem__) == "unrelated"


def test_classify_by_names_and_by_hypotheses(client: Client) -> None:
    answer = client.post(
        "/v1/classify",
        json={"input": "The striker scored twice in the second half.", "labels": ["sports", "cooking", "finance"]},
    ).json()
    labels = answer["data"][0]["labels"]
    assert labels[0]["label"] == "sports"
    assert sum(entry["score"] for entry in labels) == pytest.approx(1.0, abs=1e-5)
    multi = client.post(
        "/v1/classify",
        json={
            "input": [{"text": "The door is open.", "text_pair": "The door is closed."}],
            "labels": {"clash": "The two texts contradict each other.", "same": "The two texts say the same."},
            "multi_label": True,
        },
    ).json()
    assert {entry["label"] for entry in multi["data"][0]["labels"]} == {"clash", "same"}


def replicas_rss_bytes() -> int:
    """Host memory of this cluster's Serve replicas."""
    return sum(
        process.memory_info().rss
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][0].startswith("ray::ServeReplica")
    )


def test_a_40_000_character_input_is_read_completely_in_windows(client: Client) -> None:
    text = ("The quick brown fox jumps over the lazy dog. " * 900)[:40_000]
    before = replicas_rss_bytes()
    embedded = client.post("/v1/embeddings", json={"input": text}).json()
    assert embedded["data"][0]["windows"] > 30
    assert embedded["data"][0]["truncated"] is False
    assert embedded["usage"]["prompt_tokens"] > 8000
    ranked = client.post("/v1/rerank", json={"query": "fox", "documents": [text, "bread"]}).json()
    assert max(result["windows"] for result in ranked["results"]) > 10
    classified = client.post("/v1/classify", json={"input": text, "labels": ["animals", "tax law"]}).json()
    assert classified["data"][0]["windows"] > 10
    cut = client.post("/v1/embeddings", json={"input": text, "long_input": "truncate"}).json()
    assert (cut["data"][0]["windows"], cut["data"][0]["truncated"]) == (1, True)
    refused = client.post("/v1/embeddings", json={"input": ["short", text], "long_input": "error"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "input[1]"
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert replicas_rss_bytes() - before < 300 * 1024**2


def test_relations_of_300_candidates_state_what_was_omitted(client: Client) -> None:
    candidates = [f"def step_{n}(x): return helper_{n % 7}(x) + {n}" for n in range(300)]
    source = "def helper_3(x): return x * 3"
    body = {"source": source, "top_k": 40, "min_relevance": 0, "threshold": 0, "include_unrelated": True}
    client.post("/v1/relations", json=body | {"candidates": candidates[:10]})
    before = replicas_rss_bytes()
    answer = client.post("/v1/relations", json=body | {"candidates": candidates})
    assert answer.status_code == 200
    body = answer.json()
    assert len(body["edges"]) == 40
    assert body["omitted"]["beyond_top_k"] == 260
    assert all(edge["windows"] == 1 and not edge["truncated"] for edge in body["edges"])
    assert body["timings_ms"]["rerank"]["forward"] > 0
    assert replicas_rss_bytes() - before < 150 * 1024**2


def test_a_killed_replica_is_replaced_and_nothing_is_lost(client: Client) -> None:
    [victim] = [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][0] == f"ray::ServeReplica:{STARTERS}:embedder-cpu"
    ]
    victim.kill()
    answer = client.post("/v1/embeddings", json={"input": "still there?"})
    assert answer.status_code == 200, answer.text
    assert client.get("/readyz").status_code == 200
