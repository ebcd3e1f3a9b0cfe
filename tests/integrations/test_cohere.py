import cohere
import pytest

from tests.integrations.texts import BEST, EMBEDDER, PASSAGES, QUERY, RERANKER

pytestmark = pytest.mark.clients


def test_v1(base_url: str) -> None:
    client = cohere.Client(api_key="none", base_url=base_url)
    answer = client.rerank(model=RERANKER, query=QUERY, documents=PASSAGES, top_n=2, return_documents=True)
    assert answer.results[0].index == BEST
    assert len(answer.results) == 2
    assert answer.results[0].document.text == PASSAGES[BEST]
    assert answer.meta.api_version.version == "1"


def test_v1_with_fields(base_url: str) -> None:
    client = cohere.Client(api_key="none", base_url=base_url)
    documents = [{"title": "a title that is the same everywhere", "body": passage} for passage in PASSAGES]
    answer = client.rerank(model=RERANKER, query=QUERY, documents=documents, rank_fields=["body"])
    plain = client.rerank(model=RERANKER, query=QUERY, documents=PASSAGES)
    assert [(result.index, result.relevance_score) for result in answer.results] == [
        (result.index, result.relevance_score) for result in plain.results
    ]


def test_v2(base_url: str) -> None:
    client = cohere.ClientV2(api_key="none", base_url=base_url)
    answer = client.rerank(model=RERANKER, query=QUERY, documents=PASSAGES, max_tokens_per_doc=16)
    scores = [result.relevance_score for result in answer.results]
    assert answer.results[0].index == BEST
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(PASSAGES)


def test_v2_embed(base_url: str) -> None:
    client = cohere.ClientV2(api_key="none", base_url=base_url)
    kinds = ["float", "int8", "uint8", "binary", "ubinary"]
    answer = client.embed(
        model=EMBEDDER, texts=PASSAGES, input_type="search_document", embedding_types=kinds, output_dimension=64
    )
    found = answer.embeddings
    assert len(found.float_) == len(found.int8) == len(found.uint8) == len(PASSAGES)
    assert len(found.float_[0]) == len(found.int8[0]) == 64
    assert len(found.binary[0]) == len(found.ubinary[0]) == 8
    assert max(map(abs, found.int8[0])) == 127
    assert [value + 128 for value in found.binary[0]] == found.ubinary[0]


def test_errors_are_the_sdks_own(base_url: str) -> None:
    for client in (
        cohere.Client(api_key="none", base_url=base_url),
        cohere.ClientV2(api_key="none", base_url=base_url),
    ):
        with pytest.raises(cohere.NotFoundError) as unknown:
            client.rerank(model="rerank-nobody-has", query=QUERY, documents=PASSAGES)
        assert "not served here" in str(unknown.value.body)
        with pytest.raises(cohere.BadRequestError) as empty:
            client.rerank(model=RERANKER, query=QUERY, documents=[])
        assert "documents" in str(empty.value.body)
