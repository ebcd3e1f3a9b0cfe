import pytest
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference as TeiRerank

from tests.integrations.texts import BEST, LONG_TEXT, PASSAGES, QUERY, assert_finds_the_best, cosine

pytestmark = pytest.mark.clients


def test_embeddings(base_url: str) -> None:
    embeddings = TextEmbeddingsInference(model_name="any", base_url=base_url)
    assert_finds_the_best(embeddings.get_query_embedding(QUERY), embeddings.get_text_embedding_batch(PASSAGES))


async def test_embeddings_async(base_url: str) -> None:
    embeddings = TextEmbeddingsInference(model_name="any", base_url=base_url)
    passages = await embeddings.aget_text_embedding_batch(PASSAGES)
    assert_finds_the_best(await embeddings.aget_query_embedding(QUERY), passages)


def test_truncate_sent_by_default_loses_no_text(base_url: str) -> None:
    embeddings = TextEmbeddingsInference(model_name="any", base_url=base_url)
    assert embeddings.truncate_text  # the library's own default
    ending = " At the very end, penguins walk over Antarctic ice."
    with_ending, without = (embeddings.get_text_embedding(text) for text in (LONG_TEXT + ending * 20, LONG_TEXT))
    assert cosine(with_ending, without) < 0.9999


def test_rerank(base_url: str) -> None:
    nodes = [NodeWithScore(node=TextNode(text=passage)) for passage in PASSAGES]
    kept = TeiRerank(base_url=base_url, top_n=2).postprocess_nodes(nodes, query_str=QUERY)
    assert kept[0].node.text == PASSAGES[BEST]
    assert len(kept) == 2
