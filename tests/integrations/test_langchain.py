from pathlib import Path

import litellm
import openai
import pytest
from huggingface_hub import InferenceClient
from langchain_community.document_compressors import JinaRerank
from langchain_community.embeddings import HuggingFaceInferenceAPIEmbeddings, InfinityEmbeddings
from langchain_core.documents import Document
from langchain_huggingface import HuggingFaceEndpointEmbeddings
from langchain_openai import OpenAIEmbeddings

from tests.integrations.texts import BEST, EMBEDDER, PASSAGES, QUERY, RERANKER, assert_finds_the_best

pytestmark = pytest.mark.clients


def test_openai_embeddings(base_url: str) -> None:
    embeddings = OpenAIEmbeddings(
        model=EMBEDDER, base_url=f"{base_url}/v1", api_key="none", check_embedding_ctx_length=False
    )
    assert_finds_the_best(embeddings.embed_query(QUERY), embeddings.embed_documents(PASSAGES))


def test_openai_embeddings_as_token_ids_are_told_the_way_out(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # litellm carries the vocabulary that tiktoken would fetch from the internet.
    vocabulary = Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(vocabulary))
    embeddings = OpenAIEmbeddings(
        model=EMBEDDER, base_url=f"{base_url}/v1", api_key="none", tiktoken_model_name="text-embedding-ada-002"
    )
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        embeddings.embed_documents(PASSAGES)


def test_tei_by_huggingface_endpoint(base_url: str) -> None:
    # The class takes no URL any more, only a client that has one.
    embeddings = HuggingFaceEndpointEmbeddings(model="any/model", huggingfacehub_api_token="none")
    embeddings.client = InferenceClient(model=base_url, token="none")
    assert_finds_the_best(embeddings.embed_query(QUERY), embeddings.embed_documents(PASSAGES))


def test_tei_by_the_community_class(base_url: str) -> None:
    embeddings = HuggingFaceInferenceAPIEmbeddings(api_url=f"{base_url}/embed", api_key="none")
    assert_finds_the_best(embeddings.embed_query(QUERY), embeddings.embed_documents(PASSAGES))


def test_infinity(base_url: str) -> None:
    embeddings = InfinityEmbeddings(model=EMBEDDER, infinity_api_url=base_url)
    assert_finds_the_best(embeddings.embed_query(QUERY), embeddings.embed_documents(PASSAGES))


def test_jina_rerank(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The class has its URL in a constant of its module.
    monkeypatch.setattr("langchain_community.document_compressors.jina_rerank.JINA_API_URL", f"{base_url}/v1/rerank")
    compressor = JinaRerank(jina_api_key="none", model=RERANKER, top_n=2)
    kept = compressor.compress_documents([Document(passage) for passage in PASSAGES], QUERY)
    assert kept[0].page_content == PASSAGES[BEST]
    assert len(kept) == 2
