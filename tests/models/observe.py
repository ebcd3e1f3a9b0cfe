"""What this project makes of a checkpoint, against a reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tests.models.lanes import Lane, Served, Settings, loads, serve
from tests.models.library import Side, Sparse
from tests.models.texts import LABELS, QUERY, TEMPLATE, texts_for
from trivet.config import Task
from trivet.errors import EngineError, ModelError
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    Floats,
    PairText,
    RerankRequest,
    RerankResult,
)

TOLERANCE = 1e-4
LONGEST_TOKENS = 800
"""Of a text that is asked; longer ones cost time and show nothing new."""

Kind = Literal["exact", "refused", "fails", "wrong"]
"""`exact`: within `TOLERANCE` of the reference for every question. `refused`: the project says what it does not
understand. `fails`: it stops with an error that names nothing. `wrong`: it answers, and the answer differs."""

Output = Literal["vectors", "sparse", "tokens"]
"""What an embedder is asked for: one vector of a text, weights by token id, or a vector of each token."""

Reference = Any
"""An object of `library` or `formulas`, with the method for its task and output."""


@dataclass(frozen=True)
class Outcome:
    """What happened; `detail` is the text of the error, or how far the answers were off."""

    kind: Kind
    detail: str


@dataclass(frozen=True)
class Question:
    """What a checkpoint is asked, and who knows the right answer.

    `pickled` allows its weights to be a pickle. `sides` asks for queries and documents besides plain texts.
    `template` is what the configuration says of a reranker whose files have none.
    `splade` is what it says of a masked language model. `special_tokens` puts the names of special tokens into one of
    the texts.
    """

    task: Task
    reference: Callable[[Path], Reference] | None
    output: Output = "vectors"
    pickled: bool = False
    sides: bool = False
    template: str | None = None
    special_tokens: bool = True
    splade: bool = False

    @property
    def settings(self) -> Settings:
        """What the configuration says."""
        return Settings(pickled=self.pickled, template=self.template, splade=self.splade)


def observe(lane: Lane, path: Path, question: Question, cache: Path) -> Outcome:
    """Serve a checkpoint, ask it everything, and compare.

    Args:
        lane: which path.
        path: the checkpoint.
        question: what it serves and is asked.
        cache: folder of converted models.
    """
    try:
        served = serve(lane, path, question.task, cache, question.settings)
    except ModelError as error:
        return _not_served(error, path, question, cache)
    except Exception as error:  # noqa: BLE001 - whatever it is, the table has a row for it
        return Outcome("fails", f"{type(error).__name__}: {error}")
    assert question.reference is not None, f"{path.name} is served now: give its row a reference"
    with served:
        limit_tokens = min(served.engine.card.max_tokens - 16, LONGEST_TOKENS)
        texts = texts_for(path, limit_tokens, special_tokens=question.special_tokens)
        try:
            differences = list(_compare(served, question, question.reference(path), texts))
        except EngineError as error:
            return Outcome("fails", error.message)
    name, largest = max(differences, key=lambda entry: entry[1])
    kind: Kind = "exact" if largest <= TOLERANCE else "wrong"
    return Outcome(kind, f"{largest:.1e} ({name}, {len(texts)} texts)")


def _not_served(error: ModelError, path: Path, question: Question, cache: Path) -> Outcome:
    """A refusal is the loader's; a conversion of what the loader takes has failed, whatever its last line says."""
    converting = " failed (exit " in error.message
    failed = converting and loads(path, question.task, cache, question.settings)
    return Outcome("fails" if failed else "refused", error.message.replace(str(path), path.name))


# ── questions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _compare(
    served: Served, question: Question, reference: Reference, texts: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """(which question, largest difference) of everything that is asked."""
    sides: tuple[Side, ...] = (None, "query", "document") if question.sides else (None,)
    if question.task == "embedder":
        compare = {"vectors": _vectors, "sparse": _sparse, "tokens": _tokens}[question.output]
        return (answer for side in sides for answer in compare(served, reference, texts, side))
    return (_reranker if question.task == "reranker" else _classifier)(served, reference, texts)


def _mixes(count: int) -> Iterator[tuple[str, list[int]]]:
    """Who is asked together with whom: all, each alone, the longest and the shortest by turns."""
    yield "all together", list(range(count))
    yield from (("alone", [at]) for at in range(count))
    yield "longest and shortest", [count - 1, 0, count - 1]


def _largest(actual: Floats, expected: Floats) -> float:
    """Largest difference; infinite for another shape or a NaN."""
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return float("inf")
    return float(np.abs(actual - expected).max())


def _vectors(served: Served, reference: Reference, texts: Sequence[str], side: Side) -> Iterator[tuple[str, float]]:
    expected = reference.embed(texts, side)
    for name, chosen in _mixes(len(texts)):
        result = served(EmbedRequest(tuple(texts[at] for at in chosen), input_type=side))
        assert isinstance(result, EmbedResult)
        yield f"{side or 'plain'}, {name}", _largest(result.vectors, expected[chosen])


def _sparse(served: Served, reference: Reference, texts: Sequence[str], side: Side) -> Iterator[tuple[str, float]]:
    expected = reference.sparse(texts, side)
    for name, chosen in _mixes(len(texts)):
        asked = EmbedRequest(tuple(texts[at] for at in chosen), input_type=side, output="sparse")
        result = served(asked)
        assert isinstance(result, EmbedResult)
        ours = (dict(zip(one.indices.tolist(), one.values.tolist(), strict=True)) for one in result.sparse)
        pairs = zip(ours, (expected[at] for at in chosen), strict=True)
        yield f"{side or 'plain'}, {name}", max(_largest_weight(*pair) for pair in pairs)


def _largest_weight(ours: Sparse, theirs: Sparse) -> float:
    return max((abs(ours.get(token, 0.0) - theirs.get(token, 0.0)) for token in ours | theirs), default=0.0)


def _tokens(served: Served, reference: Reference, texts: Sequence[str], side: Side) -> Iterator[tuple[str, float]]:
    expected = reference.tokens(texts, side)
    for name, chosen in _mixes(len(texts)):
        # The references cut queries at 32 tokens, and documents at 180 or 300.
        asked = EmbedRequest(tuple(texts[at] for at in chosen), input_type=side, output="tokens", long_input="truncate")
        result = served(asked)
        assert isinstance(result, EmbedResult)
        pairs = zip(result.tokens, (expected[at] for at in chosen), strict=True)
        yield f"{side or 'plain'}, {name}", max(_largest(ours, theirs) for ours, theirs in pairs)


def _reranker(served: Served, reference: Reference, texts: Sequence[str]) -> Iterator[tuple[str, float]]:
    for query in (QUERY, texts[0]):
        documents = [text for text in texts if _fits(served, query, text)]
        expected = reference.logits(query, documents)
        scores = reference.scores(query, documents) if hasattr(reference, "scores") else 1 / (1 + np.exp(-expected))
        for name, chosen in _mixes(len(documents)):
            # A late-interaction reference cuts queries and documents at lengths of its own.
            asked = RerankRequest(query, tuple(documents[at] for at in chosen), long_input="truncate")
            result = served(asked)
            assert isinstance(result, RerankResult)
            yield f"logits, {name}", _largest(result.logits, expected[chosen])
            yield f"scores, {name}", _largest(result.scores, scores[chosen])


def _classifier(served: Served, reference: Reference, texts: Sequence[str]) -> Iterator[tuple[str, float]]:
    texts = [text for text in texts if _fits(served, text, TEMPLATE.format(LABELS[0]))]
    hypotheses = {label: TEMPLATE.format(label) for label in LABELS}
    for multi_label in (False, True):
        expected = reference.scores(texts, LABELS, TEMPLATE, multi_label=multi_label)
        for name, chosen in _mixes(len(texts)):
            inputs = tuple(PairText(texts[at]) for at in chosen)
            result = served(ClassifyRequest(inputs, hypotheses, multi_label=multi_label))
            assert isinstance(result, ClassifyResult)
            label = "multi-label" if multi_label else "single-label"
            yield f"{label}, {name}", _largest(result.scores, expected[chosen])


def _fits(served: Served, *texts: str) -> bool:
    """Whether texts are read as one sequence: the reference truncates where this project makes windows."""
    room_tokens = served.engine.card.max_tokens - 200  # a template around a pair takes up to 150
    return sum(served.count_tokens(text) for text in texts) <= room_tokens
