import litellm
import pytest

from tests.integrations.texts import BEST, EMBEDDER, LONG_TEXT, PASSAGES, QUERY, RERANKER, assert_finds_the_best

pytestmark = pytest.mark.clients


def test_embedding_as_openai(base_url: str) -> None:
    answer = litellm.embedding(
        model=f"openai/{EMBEDDER}", input=[QUERY, *PASSAGES], api_base=f"{base_url}/v1", api_key="none"
    )
    query, *passages = [item["embedding"] for item in answer.data]
    assert_finds_the_best(query, passages)


@pytest.mark.parametrize(
    ("provider", "path"),
    [("cohere", "/v1/rerank"), ("jina_ai", "/v1/rerank"), ("infinity", ""), ("hosted_vllm", "/v1")],
)
def test_rerank(base_url: str, provider: str, path: str) -> None:
    answer = litellm.rerank(
        model=f"{provider}/{RERANKER}",
        query=QUERY,
        documents=PASSAGES,
        top_n=3,
        return_documents=True,
        api_base=base_url + path,
        api_key="none",
    )
    assert answer.results[0]["index"] == BEST
    assert answer.results[0]["document"]["text"] == PASSAGES[BEST]
    assert len(answer.results) == 3


def test_errors_are_litellms_own(base_url: str) -> None:
    call = {"input": [QUERY], "api_base": f"{base_url}/v1", "api_key": "none", "num_retries": 0}
    with pytest.raises(litellm.NotFoundError):
        litellm.embedding(model="openai/nobody-has-this", **call)
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.embedding(
            model=f"openai/{EMBEDDER}",
            **{**call, "input": [LONG_TEXT]},
            extra_body={"long_input": "error"},
        )
