"""Calls as values: the request to send, and how to parse its answer. Pure; the clients turn them into HTTP.

Each function here becomes a method of both clients, with the same parameters. Common parameters:

    timeout_s   deadline of the whole call in seconds, including retries; each attempt sends the remaining time
    priority    `bulk` gives precedence to interactive requests; meant for indexing
    model       name of the expected model; the call is refused if the server has another one
    long_input  texts longer than the model's limit are read in windows (`window`, the default), are an `error`, or are
                cut (`truncate`)
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from trivet.client.answers import (
    Answer,
    Classification,
    Embeddings,
    Models,
    QuantizedEmbeddings,
    QuantizedType,
    Ranking,
    Readiness,
    Relations,
    Service,
    SparseEmbeddings,
    TokenCounts,
    TokenEmbeddings,
)
from trivet.client.errors import MalformedAnswer, Refused

LongInput = Literal["window", "error", "truncate"]
InputType = Literal["query", "document"]
EvidenceKind = Literal["passages", "exhaustive"]
Priority = Literal["interactive", "bulk"]

AnswerT = TypeVar("AnswerT", bound=Answer)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pair:
    """A text to classify against a second one."""

    text: str
    text_pair: str


@dataclass(frozen=True, slots=True)
class RelationPair:
    """Two texts to relate to each other."""

    source: str
    target: str


def _unchecked(answer: Any) -> None:
    """Accept every answer whose types are right."""


@dataclass(frozen=True, slots=True)
class Call(Generic[AnswerT]):
    """One request and the type of its answer. `check` raises MalformedAnswer for errors that types cannot express."""

    path: str
    answer: type[AnswerT]
    body: Mapping[str, Any] | None = None
    """JSON body of a POST; None: a GET."""
    timeout_s: float | None = None
    """None: the client's default."""
    priority: Priority | None = None
    """None: the client's default."""
    answers_also_at: Collection[int] = ()
    """Statuses other than 200 that can carry an answer. If the body is not an answer (for example a proxy's), the
    response is an error with that status."""
    start: int = 0
    """Position of the first input, if this call carries only a part of all inputs."""
    check: Callable[[AnswerT], None] = _unchecked
    list_field: str | None = None
    """The field of the answer that the body is, where the body is a list instead of an object."""

    @property
    def method(self) -> str:
        """The HTTP method."""
        return "GET" if self.body is None else "POST"

    def content(self) -> bytes:
        """Encode the body as JSON. Raises Refused if a text cannot be encoded as UTF-8."""
        if self.body is None:
            return b""
        try:
            return json.dumps(self.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except UnicodeEncodeError as error:
            excerpt = ascii(error.object[max(0, error.start - 20) : error.end + 20])
            raise Refused(f"a text contains a lone surrogate, which UTF-8 cannot encode: {excerpt}") from error

    def read(self, content: bytes, headers: Mapping[str, str]) -> AnswerT:
        """Parse the answer in a response. Raises MalformedAnswer, which names the wrong field."""
        try:
            # Mypy mistakes the __hash__ of the answers' classes for that of their metaclass.
            adapter: TypeAdapter[AnswerT] = _adapter(self.answer)  # type: ignore[arg-type]
            body = content if self.list_field is None else b'{"%b":%b}' % (self.list_field.encode(), content)
            answer = adapter.validate_json(body, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the body"
            raise MalformedAnswer(
                f"the answer of {self.path} is not one of a Trivet server: {where}: {first['msg']}"
            ) from error
        self.check(answer)
        service = Service(headers.get("x-trivet-device", ""), headers.get("x-trivet-reroute-reason"))
        return replace(answer, service=service)


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def embed(
    texts: Sequence[str],
    *,
    input_type: InputType | None = None,
    instruction: str | None = None,
    dimensions: int | None = None,
    model: str | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[Embeddings]:
    """Embed texts in one request. `embed_many` takes any number of texts.

    Args:
        texts: One or more non-empty texts. Errors call them `input[0]`, `input[1]`, …
        input_type: Selects the model's prompt for `query` or `document`, if it has one.
        instruction: What queries search for. It replaces the task in the prompt of models that were trained with one.
        dimensions: Keep this many dimensions of each vector (Matryoshka models), normalised again.
        model: Name of the expected model; another model refuses the call.
        long_input: How to treat texts longer than the model's limit.
        priority: `bulk` gives precedence to interactive requests.
        timeout_s: Deadline of the whole call in seconds.
    """
    body = _without_none(
        input=_listed(texts, "texts"),
        encoding_format="base64",  # exact, and a quarter of the size of decimal numbers
        dimensions=dimensions,
        input_type=input_type,
        instruction=instruction,
        model=model,
        long_input=long_input,
    )
    count = len(body["input"])

    def check(answer: Embeddings) -> None:
        _check_embeddings([item.index for item in answer.items], count, {item.dimensions for item in answer.items})

    return Call("/v1/embeddings", Embeddings, body, timeout_s, priority, check=check)


def embed_quantized(
    texts: Sequence[str],
    dtype: QuantizedType,
    *,
    input_type: InputType | None = None,
    instruction: str | None = None,
    dimensions: int | None = None,
    model: str | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[QuantizedEmbeddings]:
    """Embed texts in one request, as vectors of a quarter or (binary ones) a 32nd of the size.

    Args:
        texts: One or more non-empty texts. Errors call them `input[0]`, `input[1]`, …
        dtype: The form of the vectors.
        input_type: Selects the model's prompt for `query` or `document`, if it has one.
        instruction: What queries search for. It replaces the task in the prompt of models that were trained with one.
        dimensions: Keep this many dimensions of each vector (Matryoshka models).
        model: Name of the expected model; another model refuses the call.
        long_input: How to treat texts longer than the model's limit.
        priority: `bulk` gives precedence to interactive requests.
        timeout_s: Deadline of the whole call in seconds.
    """
    body = _without_none(
        input=_listed(texts, "texts"),
        output_dtype=dtype,
        dimensions=dimensions,
        input_type=input_type,
        instruction=instruction,
        model=model,
        long_input=long_input,
    )
    count = len(body["input"])

    def check(answer: QuantizedEmbeddings) -> None:
        _check_embeddings([item.index for item in answer.items], count, {len(item.vector) for item in answer.items})

    return Call("/v1/embeddings", QuantizedEmbeddings, body, timeout_s, priority, check=check)


def embed_sparse(
    texts: Sequence[str],
    *,
    input_type: InputType | None = None,
    model: str | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[SparseEmbeddings]:
    """Compute weights by token id, for an inverted index. Refused if the model has none (`outputs` in `models`).

    Args:
        texts: One or more non-empty texts. Errors call them `input[0]`, `input[1]`, …
        input_type: Selects the model's prompt for `query` or `document`, if it has one.
        model: Name of the expected model; another model refuses the call.
        long_input: How to treat texts longer than the model's limit.
        priority: `bulk` gives precedence to interactive requests.
        timeout_s: Deadline of the whole call in seconds.
    """
    body = _output("sparse", texts, input_type=input_type, model=model, long_input=long_input)
    count = len(body["input"])

    def check(answer: SparseEmbeddings) -> None:
        _check_embeddings([item.index for item in answer.items], count)
        if any(len(item.indices) != len(item.values) for item in answer.items):
            raise MalformedAnswer("the answer of /v1/embeddings has a weight without a token id")

    return Call("/v1/embeddings", SparseEmbeddings, body, timeout_s, priority, check=check)


def embed_tokens(
    texts: Sequence[str],
    *,
    input_type: InputType | None = None,
    model: str | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[TokenEmbeddings]:
    """Compute a vector of each token, for late interaction. Refused if the model has none (`outputs` in `models`).

    Args:
        texts: One or more non-empty texts. Errors call them `input[0]`, `input[1]`, …
        input_type: Whether they are queries or documents, which these models read differently.
        model: Name of the expected model; another model refuses the call.
        long_input: How to treat texts longer than the model's limit.
        priority: `bulk` gives precedence to interactive requests.
        timeout_s: Deadline of the whole call in seconds.
    """
    body = _output("tokens", texts, input_type=input_type, model=model, long_input=long_input)
    count = len(body["input"])

    def check(answer: TokenEmbeddings) -> None:
        sizes = {len(vector) for item in answer.items for vector in item.vectors}
        _check_embeddings([item.index for item in answer.items], count, sizes)

    return Call("/v1/embeddings", TokenEmbeddings, body, timeout_s, priority, check=check)


def rerank(
    query: str,
    documents: Sequence[str],
    *,
    top_n: int | None = None,
    model: str | None = None,
    similarities: Sequence[float] | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[Ranking]:
    """Sort documents by their relevance to a query. The best window of a long document counts.

    Args:
        query: The question or topic.
        documents: One or more non-empty texts.
        top_n: Return only this many documents.
        model: Name of the expected model; another model refuses the call.
        similarities: The cosine of the query's and each document's vector, if you have them from this server's
            embedder: it need not embed them again where a score is a blend of both models.
        long_input: How to treat texts longer than the model's limit.
        priority: `bulk` gives precedence to interactive requests.
        timeout_s: Deadline of the whole call in seconds.
    """
    body = _without_none(
        query=query,
        documents=_listed(documents, "documents"),
        top_n=top_n,
        model=model,
        similarities=None if similarities is None else [float(one) for one in similarities],
        long_input=long_input,
    )
    count = len(body["documents"])

    def check(answer: Ranking) -> None:
        found = {item.index for item in answer.results}
        wanted = min(count, top_n or count)
        if len(answer.results) != wanted or len(found) != wanted or not found <= set(range(count)):
            raise MalformedAnswer(f"the answer of /v1/rerank ranks {sorted(found)} of {count} documents")

    return Call("/v1/rerank", Ranking, body, timeout_s, priority, check=check)


def classify(
    texts: Sequence[str | Pair],
    labels: Sequence[str] | Mapping[str, str],
    *,
    hypothesis_template: str | None = None,
    multi_label: bool = False,
    model: str | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[Classification]:
    """Score texts, or pairs of texts, against labels of your choice.

    Args:
        texts: One or more texts. Errors call them `input[0]`, `input[1]`, …
        labels: Labels, or a mapping of labels to hypotheses.
        hypothesis_template: Hypothesis for labels that have none; `{}` stands for the label.
        multi_label: Score each label independently, instead of against the others.
        model: Name of the expected model; another model refuses the call.
        long_input: How to treat texts longer than the model's limit.
        priority: `bulk` gives precedence to interactive requests.
        timeout_s: Deadline of the whole call in seconds.
    """
    body = _without_none(
        input=[asdict(item) if isinstance(item, Pair) else item for item in _listed(texts, "texts")],
        labels=dict(labels) if isinstance(labels, Mapping) else _listed(labels, "labels"),
        hypothesis_template=hypothesis_template,
        multi_label=multi_label,
        model=model,
        long_input=long_input,
    )
    count = len(body["input"])

    def check(answer: Classification) -> None:
        _check_positions("/v1/classify", [item.index for item in answer.items], count)
        if any({score.label for score in item.labels} != set(labels) for item in answer.items):
            raise MalformedAnswer("the answer of /v1/classify does not score the requested labels")

    return Call("/v1/classify", Classification, body, timeout_s, priority, check=check)


def relate(
    source: str | None = None,
    candidates: Sequence[str] | None = None,
    *,
    pairs: Sequence[RelationPair] | None = None,
    source_path: str | None = None,
    candidate_paths: Sequence[str | None] | None = None,
    top_k: int | None = None,
    min_relevance: float | None = None,
    relations: Mapping[str, str] | None = None,
    threshold: float | None = None,
    include_unrelated: bool | None = None,
    passage_pairs: int | None = None,
    evidence: EvidenceKind | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[Relations]:
    """Determine the relations of a source to candidates (rerank, then classify the best), or of given pairs.

    Args:
        source: The text to relate to `candidates`.
        candidates: Texts that the source may be related to.
        pairs: Pairs to classify, instead of `source` and `candidates`.
        source_path: The source's path, from which its format follows; imports are resolved to paths.
        candidate_paths: The candidates' paths, one each, None where there is none.
        top_k: Classify this many of the most relevant candidates; the server's default is 16.
        min_relevance: Omit candidates with a lower relevance, 0..1. None: the server's default.
        relations: Relation → hypothesis about (source, candidate). None: the server's relations.
        threshold: Omit edges with a lower confidence, 0..1. None: the server's default.
        include_unrelated: Also return candidates that are found unrelated; they are only counted otherwise.
        passage_pairs: Classify at most this many pairs of passages per pair of texts. None: the server's default.
        evidence: Relate long texts by their best pairs of `passages`, or read every window against every other one
            (`exhaustive`), which costs far more.
        long_input: How to treat texts longer than the model's limit.
        priority: `bulk` gives precedence to interactive requests.
        timeout_s: Deadline of the whole call in seconds.
    """
    body = _without_none(
        source=source,
        candidates=None if candidates is None else _listed(candidates, "candidates"),
        pairs=None if pairs is None else [asdict(pair) for pair in _listed(pairs, "pairs")],
        source_path=source_path,
        candidate_paths=None if candidate_paths is None else list(candidate_paths),
        top_k=top_k,
        min_relevance=min_relevance,
        relations=None if relations is None else dict(relations),
        threshold=threshold,
        include_unrelated=include_unrelated,
        passage_pairs=passage_pairs,
        evidence=evidence,
        long_input=long_input,
    )
    targets = len(body.get("candidates") or body.get("pairs") or ())

    def check(answer: Relations) -> None:
        if not all(0 <= edge.target_index < targets for edge in answer.edges):
            raise MalformedAnswer(f"the answer of /v1/relations has an edge to none of the {targets} targets")

    return Call("/v1/relations", Relations, body, timeout_s, priority, check=check)


def count_tokens(
    texts: Sequence[str],
    *,
    model: str | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[TokenCounts]:
    """Count the tokens of texts, without special tokens.

    Args:
        texts: One or more texts, of at most 131,072 characters together.
        model: Name of the model whose tokenizer counts; None: the embedder's.
        priority: `bulk` gives precedence to interactive requests.
        timeout_s: Deadline of the whole call in seconds.
    """
    body = _without_none(inputs=_listed(texts, "texts"), add_special_tokens=False, model=model)
    count = len(body["inputs"])

    def check(answer: TokenCounts) -> None:
        if len(answer.counts) != count:
            raise MalformedAnswer(f"the answer of /tokenize has {len(answer.counts)} of {count} texts")

    return Call("/tokenize", TokenCounts, body, timeout_s, priority, check=check, list_field="counts")


def models(*, timeout_s: float | None = None) -> Call[Models]:
    """List the server's models. `timeout_s` is the deadline of the whole call in seconds."""
    return Call("/v1/models", Models, timeout_s=timeout_s)


def ready(*, timeout_s: float | None = None) -> Call[Readiness]:
    """Return the readiness of every model and its devices. A server that is not ready is an answer, not an error."""
    return Call("/readyz", Readiness, timeout_s=timeout_s, answers_also_at=(503,))


def not_one_string(items: Iterable[T], name: str) -> Iterable[T]:
    """Return `items`. Raises TypeError for a single string, whose characters would otherwise count as items."""
    if isinstance(items, str):
        raise TypeError(f"{name} is one string; pass a list of strings")
    return items


def _listed(items: Iterable[T], name: str) -> list[T]:
    return list(not_one_string(items, name))


def _output(output: str, texts: Sequence[str], **fields: Any) -> dict[str, Any]:
    return _without_none(input=_listed(texts, "texts"), output=output, **fields)


def _check_embeddings(positions: list[int], count: int, sizes: Collection[int] = ()) -> None:
    _check_positions("/v1/embeddings", positions, count)
    if len(sizes) > 1:
        raise MalformedAnswer("the answer of /v1/embeddings has vectors of different lengths")


def _check_positions(path: str, positions: list[int], count: int) -> None:
    if positions != list(range(count)):
        raise MalformedAnswer(f"the answer of {path} does not have the {count} inputs in order")


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
