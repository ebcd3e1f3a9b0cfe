"""Model names that programs send by default, and the task of each: `api.common_model_names: true` accepts them."""

from collections.abc import Mapping

from trivet.config import Task

_EMBEDDERS = (
    # OpenAI, Azure
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
    # Cohere
    "embed-v4.0",
    "embed-english-v3.0",
    "embed-english-light-v3.0",
    "embed-multilingual-v3.0",
    "embed-multilingual-light-v3.0",
    # Jina, Voyage, Mistral
    "jina-embeddings-v3",
    "jina-embeddings-v2-base-en",
    "voyage-3",
    "voyage-3-large",
    "voyage-3.5",
    "voyage-code-3",
    "mistral-embed",
    # Ollama, and the models that guides of RAG programs name
    "nomic-embed-text",
    "mxbai-embed-large",
    "all-minilm",
    "bge-m3",
    "BAAI/bge-m3",
    "sentence-transformers/all-MiniLM-L6-v2",
)
_RERANKERS = (
    "rerank-v3.5",
    "rerank-v4.0",
    "rerank-english-v3.0",
    "rerank-multilingual-v3.0",
    "jina-reranker-v2-base-multilingual",
    "rerank-2",
    "rerank-2.5",
    "bge-reranker-v2-m3",
    "BAAI/bge-reranker-v2-m3",
    "BAAI/bge-reranker-base",
)
_CLASSIFIERS = ("facebook/bart-large-mnli",)

COMMON_NAMES: Mapping[str, Task] = {
    **dict.fromkeys(_EMBEDDERS, "embedder"),
    **dict.fromkeys(_RERANKERS, "reranker"),
    **dict.fromkeys(_CLASSIFIERS, "classifier"),
}
