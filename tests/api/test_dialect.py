"""One path, different bodies: every rule of the table."""

from typing import Any

import httpx
import pytest

from trivet.api.dialect import RULES, Rule, dialect_of, rule_for, rules_of, schema_condition

BODIES: dict[str, dict[str, Any]] = {
    "rerank_v1": {"query": "red fox", "documents": ["red fox", "grey wolf"]},
    "cohere_v2": {"query": "red fox", "documents": ["red fox", "grey wolf"]},
    "tei_rerank": {"query": "red fox", "texts": ["red fox", "grey wolf"]},
    "tei_embed": {"inputs": ["red fox", "grey wolf"]},
    "tei_embed_sparse": {"inputs": ["red fox", "grey wolf"]},
    "tei_embed_all": {"inputs": "red fox"},
    "vllm_pooling": {"input": ["red fox"], "task": "token_embed"},
    "tei_predict": {"inputs": ["red fox", "grey wolf"]},
    "tei_similarity": {"inputs": {"source_sentence": "red fox", "sentences": ["red fox", "grey wolf"]}},
    "tei_tokenize": {"inputs": "red fox"},
    "tei_decode": {"ids": [[3, 3]]},
    "vllm_tokenize": {"prompt": "red fox"},
    "vllm_detokenize": {"tokens": [3, 3]},
    "infinity_rerank": {"query": "red fox", "documents": ["red fox", "grey wolf"], "raw_scores": False},
    "vllm_rerank": {"query": "red fox", "documents": ["red fox", "grey wolf"]},
    "infinity_classify": {"input": ["red fox"], "raw_scores": False},
    "vllm_classify": {"input": ["red fox"]},
    "vllm_score_queries": {"queries": "red fox", "documents": ["red fox", "grey wolf"]},
    "vllm_score_data": {"data_1": "red fox", "data_2": ["red fox", "grey wolf"]},
    "vllm_score_texts": {"text_1": "red fox", "text_2": ["red fox", "grey wolf"]},
    "infinity_embeddings": {"input": ["red fox"]},
    "cohere_embed": {"texts": ["red fox"], "input_type": "search_query", "embedding_types": ["float", "ubinary"]},
    "ollama_embed": {"model": "embedder", "input": ["red fox"]},
    "ollama_embeddings": {"model": "embedder", "prompt": "red fox"},
    "ollama_show": {"model": "embedder:latest"},
}
"""A small body of each kind."""

ANSWERS: dict[str, set[str] | type[list[Any]]] = {
    "rerank_v1": {"id", "model", "results", "usage", "meta"},
    "cohere_v2": {"id", "results", "meta"},
    "infinity_rerank": {"object", "results", "model", "usage", "id", "created"},
    "vllm_rerank": {"id", "model", "usage", "results"},
    "infinity_classify": {"object", "data", "model", "usage", "id", "created"},
    "vllm_classify": {"id", "object", "created", "model", "data", "usage"},
    "vllm_score_queries": {"id", "object", "created", "model", "data", "usage"},
    "vllm_score_data": {"id", "object", "created", "model", "data", "usage"},
    "vllm_score_texts": {"id", "object", "created", "model", "data", "usage"},
    "vllm_pooling": {"id", "object", "created", "model", "data", "usage"},
    "vllm_tokenize": {"count", "max_model_len", "tokens", "token_strs"},
    "vllm_detokenize": {"prompt"},
    "infinity_embeddings": {"object", "data", "model", "usage", "id", "created"},
    "cohere_embed": {"id", "response_type", "embeddings", "texts", "meta"},
    "ollama_embed": {"model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"},
    "ollama_embeddings": {"embedding"},
    "ollama_show": {
        "modelfile",
        "parameters",
        "template",
        "details",
        "model_info",
        "capabilities",
        "modified_at",
    },
}
"""Top-level fields of its answer; TEI's answers are bare lists."""

WITH_BODY = [rule for rule in RULES if rule.body != "none"]


@pytest.mark.parametrize("rule", WITH_BODY, ids=lambda rule: f"{rule.path} {rule.body}")
async def test_each_rule_is_answered_in_its_own_shape(client: httpx.AsyncClient, rule: Rule) -> None:
    body = BODIES[rule.body]
    assert rule_for(rule.path, body) == rule
    response = await client.post(rule.path, json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(answer) == ANSWERS[rule.body] if rule.body in ANSWERS else isinstance(answer, list)


@pytest.mark.parametrize(
    "rule", [rule for rule in WITH_BODY if rule.fields], ids=lambda rule: f"{rule.path} {rule.body}"
)
def test_each_of_a_rules_fields_is_enough(rule: Rule) -> None:
    for field in rule.fields:
        assert rule_for(rule.path, ["query", field]) == rule


def test_every_path_ends_in_a_rule_that_matches_every_other_body() -> None:
    for path in {rule.path for rule in RULES}:
        *earlier, last = rules_of(path)
        assert last.fields == ()
        assert all(rule.fields for rule in earlier)


def test_an_earlier_rule_wins() -> None:
    assert dialect_of("/rerank", ["texts", "raw_scores", "documents"]) == "tei"


def test_a_path_without_rules_is_native() -> None:
    assert dialect_of("/v1/embeddings", ["inputs"]) == "native"


def test_the_published_conditions_exclude_each_other() -> None:
    assert schema_condition("/rerank", "tei_rerank") == {"anyOf": [{"required": ["texts"]}]}
    assert schema_condition("/rerank", "vllm_rerank") == {
        "not": {"anyOf": [{"required": [field]} for field in ("texts", "raw_scores", "return_documents")]}
    }


async def test_what_is_no_object_is_refused_in_the_shape_of_the_last_rule(client: httpx.AsyncClient) -> None:
    response = await client.post("/rerank", json=["query"])
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "BadRequestError"
    assert response.json()["error"]["param"] == "body"
