"""Bodies that the pages of the API offer to send. One list for all routes, so that a test can send every one."""

from collections.abc import Mapping
from typing import Any

_QUERY = "how do I retry a request"
_DOCUMENTS = ["Use exponential backoff between attempts.", "Bake the bread for 40 minutes."]
_RERANK = {"query": _QUERY, "documents": _DOCUMENTS}
_TEI_RERANK = {"query": _QUERY, "texts": _DOCUMENTS}
_SCORE = {"text_1": _QUERY, "text_2": _DOCUMENTS}

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "/v1/embeddings": {
        "several texts": {"input": ["def area(r): return PI * r * r", _QUERY]},
        "a query, as base64": {"input": _QUERY, "input_type": "query", "encoding_format": "base64"},
    },
    "/v1/classify": {
        "labels": {
            "input": "The disk is full.",
            "labels": ["storage", "network"],
            "hypothesis_template": "This is about {}.",
        },
        "a sentence for each label": {
            "input": ["The disk is full."],
            "labels": {"storage": "A disk or a file system is the topic.", "other": "Something else is the topic."},
            "multi_label": True,
        },
    },
    "/v1/relations": {
        "a source and candidates": {
            "source": "def area(r): return PI * r * r",
            "candidates": ["PI = 3.14159", "Bake the bread for 40 minutes."],
            "top_k": 2,
            "threshold": 0,
        },
        "pairs": {"pairs": [{"source": "The cache is on.", "target": "The cache is off."}]},
    },
    "/v1/graph": {
        "two files": {
            "documents": [
                {"id": "a.py", "path": "a.py", "text": "PI = 3.14159"},
                {"id": "b.py", "path": "b.py", "text": "from a import PI\n\nprint(PI)"},
            ],
        },
    },
    "/v1/rerank": {
        "texts": {**_RERANK, "top_n": 1, "return_documents": True},
        "objects": {"query": _QUERY, "documents": [{"title": "Retries", "text": _DOCUMENTS[0], "id": 7}]},
    },
    "/v2/rerank": {"texts": {**_RERANK, "model": "reranker"}},
    "/v2/embed": {"texts": {"texts": [_QUERY], "input_type": "search_query", "embedding_types": ["float", "int8"]}},
    "/": {"embed": {"inputs": _QUERY}, "rerank": _TEI_RERANK},
    "/embed": {"texts": {"inputs": [_QUERY, *_DOCUMENTS], "normalize": True}},
    "/embed_sparse": {"texts": {"inputs": [_QUERY, *_DOCUMENTS]}},
    "/embed_all": {"texts": {"inputs": [_QUERY]}},
    "/pooling": {"vectors of tokens": {"input": [_QUERY], "task": "token_embed"}},
    "/predict": {"pairs": {"inputs": [["The cache is on.", "The cache is off."]]}},
    "/similarity": {"sentences": {"inputs": {"source_sentence": _QUERY, "sentences": _DOCUMENTS}}},
    "/tokenize": {"text-embeddings-inference": {"inputs": _QUERY}, "vLLM": {"prompt": _QUERY}},
    "/decode": {"ids": {"ids": [101, 102]}},
    "/detokenize": {"ids": {"tokens": [101, 102]}},
    "/rerank": {
        "text-embeddings-inference": {**_TEI_RERANK, "return_text": True},
        "infinity": {**_RERANK, "raw_scores": False, "return_documents": True},
        "vLLM": _RERANK,
    },
    "/classify": {"vLLM": {"input": ["It rains."]}, "infinity": {"input": ["It rains."], "raw_scores": False}},
    "/score": {"one against many": _SCORE},
    "/v1/score": {"one against many": _SCORE},
    "/embeddings": {"texts": {"input": [_QUERY]}},
    "/api/embed": {"texts": {"model": "embedder", "input": [_QUERY]}},
    "/api/embeddings": {"one text": {"model": "embedder", "prompt": _QUERY}},
    "/api/show": {"the embedder": {"model": "embedder"}},
}
"""By path, then by a short title."""
