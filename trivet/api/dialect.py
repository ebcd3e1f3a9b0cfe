"""Chooses a request's dialect by its path and, where dialects share a path, by the fields of its body. Pure.

The rules of a path are tried in order. The last rule of each path has no fields, so it matches every other body.
docs/api.md shows this table; a test compares the two.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from trivet.api.scope import TASK_PREFIXES

Dialect = Literal["native", "rerank_v1", "cohere_v2", "tei", "vllm", "infinity", "ollama"]

TAG_PREFIX = "as:"
"""Starts every tag of a union, which distinguishes tags from fields in the paths of errors."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A body of `path` that has any of `fields` is a `body` in `dialect`."""

    path: str
    dialect: Dialect
    body: str
    fields: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """The tag of the body in its path's union."""
        return TAG_PREFIX + self.body


RULES: tuple[Rule, ...] = (
    Rule("/v1/rerank", "rerank_v1", "rerank_v1"),
    Rule("/v2/rerank", "cohere_v2", "cohere_v2"),
    Rule("/v2/embed", "cohere_v2", "cohere_embed"),
    Rule("/", "tei", "tei_rerank", ("texts",)),
    Rule("/", "tei", "tei_embed"),
    Rule("/embed", "tei", "tei_embed"),
    Rule("/embed_sparse", "tei", "tei_embed_sparse"),
    Rule("/embed_all", "tei", "tei_embed_all"),
    Rule("/predict", "tei", "tei_predict"),
    Rule("/similarity", "tei", "tei_similarity"),
    Rule("/tokenize", "vllm", "vllm_tokenize", ("prompt",)),
    Rule("/tokenize", "tei", "tei_tokenize"),
    Rule("/detokenize", "vllm", "vllm_detokenize"),
    Rule("/version", "vllm", "none"),
    Rule("/decode", "tei", "tei_decode"),
    Rule("/info", "tei", "none"),
    Rule("/health", "tei", "none"),
    Rule("/ping", "tei", "none"),
    Rule("/rerank", "tei", "tei_rerank", ("texts",)),
    # litellm sends `return_documents` to infinity and to vLLM, and expects different documents from each. Its vLLM
    # provider can use `/v1/rerank` (api_base ending in /v1), so this path is infinity's.
    Rule("/rerank", "infinity", "infinity_rerank", ("raw_scores", "return_documents")),
    Rule("/rerank", "vllm", "vllm_rerank"),
    Rule("/classify", "infinity", "infinity_classify", ("raw_scores",)),
    Rule("/classify", "vllm", "vllm_classify"),
    *(
        rule
        for path in ("/score", "/v1/score")
        for rule in (
            Rule(path, "vllm", "vllm_score_queries", ("queries", "documents")),
            Rule(path, "vllm", "vllm_score_data", ("data_1", "data_2")),
            Rule(path, "vllm", "vllm_score_texts"),
        )
    ),
    Rule("/pooling", "vllm", "vllm_pooling"),
    Rule("/embeddings", "infinity", "infinity_embeddings"),
    Rule("/models", "infinity", "none"),
    Rule("/api/embed", "ollama", "ollama_embed"),
    Rule("/api/embeddings", "ollama", "ollama_embeddings"),
    Rule("/api/show", "ollama", "ollama_show"),
    Rule("/api/tags", "ollama", "none"),
    Rule("/api/version", "ollama", "none"),
)


def rules_of(path: str) -> tuple[Rule, ...]:
    """Return the rules of one path, in order; none for a native path."""
    return tuple(rule for rule in RULES if rule.path == path)


def rule_for(path: str, fields: Iterable[str]) -> Rule | None:
    """Return the rule that matches a body with these top-level fields; None on a native path."""
    present = set(fields)
    for rule in rules_of(path):
        if not rule.fields or present & set(rule.fields):
            return rule
    return None


_BY_PATH_ALONE: dict[str, Dialect] = {rule.path: rule.dialect for rule in RULES if not rule.fields}


def dialect_of(path: str, fields: Iterable[str] = ()) -> Dialect:
    """Return the dialect of the answer, errors included. Below the base URL of one model all paths are TEI's."""
    if path.startswith(TASK_PREFIXES):
        return "tei"
    if not fields:
        return _BY_PATH_ALONE.get(path, "native")
    rule = rule_for(path, fields)
    return rule.dialect if rule else "native"


def tag_chooser(path: str) -> Callable[[Any], str | None]:
    """Make a pydantic discriminator for the union of the bodies that one path takes."""

    def choose(body: Any) -> str | None:
        # Not validated yet: a body that is no object gets its error from the last rule's schema.
        rule = rule_for(path, body if isinstance(body, dict) else ())
        return rule.tag if rule else None

    return choose


def schema_condition(path: str, body: str) -> dict[str, Any]:
    """Return the condition of a path's rule as a JSON schema, for the OpenAPI document."""
    condition: dict[str, Any] = {}
    earlier: list[str] = []
    for rule in rules_of(path):
        if rule.body == body:
            if rule.fields:
                condition["anyOf"] = _any_present(rule.fields)
            if earlier:
                condition["not"] = {"anyOf": _any_present(earlier)}
            break
        earlier += rule.fields
    return condition


def _any_present(fields: Iterable[str]) -> list[dict[str, Any]]:
    return [{"required": [field]} for field in fields]
