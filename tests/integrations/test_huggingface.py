import numpy as np
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient

from tests.integrations.texts import PASSAGES, QUERY, assert_finds_the_best

pytestmark = pytest.mark.clients


def test_feature_extraction(base_url: str) -> None:
    vectors = InferenceClient(model=base_url, token="none").feature_extraction([QUERY, *PASSAGES], truncate=True)
    assert_finds_the_best(vectors[0], vectors[1:])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-3)


async def test_feature_extraction_async(base_url: str) -> None:
    async with AsyncInferenceClient(model=f"{base_url}/embed", token="none") as client:
        vectors = await client.feature_extraction([QUERY, *PASSAGES], normalize=True)
    assert_finds_the_best(vectors[0], vectors[1:])


def test_sentence_similarity(base_url: str) -> None:
    client = InferenceClient(model=f"{base_url}/similarity", token="none")
    similarities = client.sentence_similarity(QUERY, other_sentences=PASSAGES)
    assert int(np.argmax(similarities)) == 2
