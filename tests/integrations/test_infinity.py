import pytest
from infinity_client import Client
from infinity_client.api.default import classify, embeddings, models, rerank
from infinity_client.models import ClassifyInput, OpenAIEmbeddingInputText, RerankInput

from tests.integrations.texts import BEST, PASSAGES, QUERY, assert_finds_the_best

pytestmark = pytest.mark.clients


@pytest.fixture
def client(base_url: str) -> Client:
    return Client(base_url=base_url, raise_on_unexpected_status=True, timeout=120)


def test_embeddings(client: Client) -> None:
    answer = embeddings.sync(client=client, body=OpenAIEmbeddingInputText(input_=[QUERY, *PASSAGES]))
    query, *passages = [item.embedding for item in answer.data]
    assert_finds_the_best(query, passages)


def test_rerank(client: Client) -> None:
    body = RerankInput(query=QUERY, documents=PASSAGES, return_documents=True, top_n=3)
    answer = rerank.sync(client=client, body=body)
    assert answer.results[0].index == BEST
    assert answer.results[0].document == PASSAGES[BEST]
    assert len(answer.results) == 3


def test_raw_scores_are_another_scale_of_the_same_order(client: Client) -> None:
    scores, logits = (
        rerank.sync(client=client, body=RerankInput(query=QUERY, documents=PASSAGES, raw_scores=raw)).results
        for raw in (False, True)
    )
    assert [result.index for result in scores] == [result.index for result in logits]
    assert all(0 <= result.relevance_score <= 1 for result in scores)
    assert min(result.relevance_score for result in logits) < 0


def test_classify(client: Client) -> None:
    answer = classify.sync(client=client, body=ClassifyInput(input_=PASSAGES))
    assert len(answer.data) == len(PASSAGES)
    for classes in answer.data:
        assert sum(item.score for item in classes) == pytest.approx(1.0, abs=1e-3)
        assert classes[0].score >= classes[-1].score


def test_models(client: Client) -> None:
    answer = models.sync(client=client)
    assert {model.capabilities[0] for model in answer.data} == {"embed", "rerank", "classify"}
