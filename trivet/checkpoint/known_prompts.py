"""The prompts that the authors of well-known embedders ask for in their model cards, and that no file of them holds.

They are written into configurations, where people see and can change them. Models whose files hold their prompts are
not listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_E5 = {"query": "query: ", "document": "passage: "}
_NOMIC = {"query": "search_query: ", "document": "search_document: "}
_RETRIEVE = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "

_PROMPTS: tuple[tuple[re.Pattern[str], Mapping[str, str]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), MappingProxyType(prompts))
    for pattern, prompts in (
        (r"intfloat/multilingual-e5-large-instruct", {"query": _RETRIEVE}),
        (r"intfloat/(multilingual-e5-(small|base|large)|e5-(small|base|large)(-v2)?)", _E5),
        (r"nomic-ai/nomic-embed-text-v1(\.5)?", _NOMIC),
        (
            r"BAAI/bge-(small|base|large)-en(-v1\.5)?",
            {"query": "Represent this sentence for searching relevant passages: "},
        ),
        (r"nomic-ai/CodeRankEmbed", {"query": "Represent this query for searching relevant code: "}),
    )
)


def known_prompts(model: str) -> Mapping[str, str] | None:
    """Return the prompts of a model by its name on the hub; None where none are known."""
    return next((prompts for pattern, prompts in _PROMPTS if pattern.fullmatch(model)), None)
