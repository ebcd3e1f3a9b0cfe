"""Computes what a request expands to from its parsed body, before anything of it is built. Pure.

A body of 1 MB may mean much more: a template with 4,000 places for a label of 1 MB is a hypothesis of 4 GB, and 2,048
texts with two labels of 2 MB are an answer of 8 GB. Every route whose texts are combined or repeated asks here first.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from trivet.errors import InvalidInput
from trivet.messages import ModelCard

PLACE = "{}"
"""Where a template takes the label."""

CHARACTERS_PER_TOKEN = 4
"""A low estimate of the tokens: what it refuses, the exact count would refuse, too."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request expands to."""

    characters: int
    """Of the texts as the models read them, or of the answer's labels, whichever is more."""
    sequences: int
    """Model inputs if every text fits one window: the least that the request can need."""


@dataclass(frozen=True, slots=True)
class ExpansionLimits:
    """The most that one request may expand to: `limits` in the configuration."""

    characters: int = 16_000_000
    sequences: int = 16_384

    def check(self, cost: Cost, field: str) -> None:
        """Refuse a request that expands to more.

        Raises:
            InvalidInput: the message names the limit; `field` is the one to shorten.
        """
        for value, limit, unit, name in (
            (cost.characters, self.characters, "characters", "max_expanded_characters"),
            (cost.sequences, self.sequences, "sequences", "max_sequences"),
        ):
            if value > limit:
                raise InvalidInput(
                    f"this request expands to {value} {unit}; the limit is {limit} (limits.{name}). "
                    f"Send fewer or shorter {field}.",
                    field=field,
                    code=f"too_many_{unit}",
                )


def filled_characters(template: str, labels: Mapping[str, str | None]) -> int:
    """Return the length of all hypotheses; a label without one is put into every place of the template."""
    places = template.count(PLACE)
    fixed = len(template) - places * len(PLACE)
    return sum(
        fixed + places * len(label) if hypothesis is None else len(hypothesis) for label, hypothesis in labels.items()
    )


def classify_cost(texts: Iterable[str], inputs: int, labels: Collection[str], hypothesis_characters: int) -> Cost:
    """Return the cost of judging `inputs` premises by hypotheses.

    Args:
        texts: all texts of the premises, one as often as it is read.
        inputs: number of premises; the answer repeats every label for each.
        labels: of the answer.
        hypothesis_characters: of all hypotheses together; they are read once per request.
    """
    read = sum(map(len, texts)) + hypothesis_characters
    answered = inputs * sum(map(len, labels))
    return Cost(max(read, answered), inputs * len(labels))


def relate_cost(source: str, candidates: Collection[str], related: int, relations: Mapping[str, str]) -> Cost:
    """Return the cost of relating a source to `related` of the candidates, after all have been ranked.

    Which ones they are is not known yet, so all candidates count.
    """
    read = related * len(source) + sum(map(len, candidates)) + sum(map(len, relations.values()))
    answered = related * sum(map(len, relations))
    return Cost(max(read, answered), related * len(relations))


def exhaustive_tokens(pairs: Iterable[tuple[str, str]], labels: int, window_tokens: int) -> int:
    """Estimate the tokens of reading every window of a first text with every window of a second, once per label.

    Args:
        pairs: the texts.
        labels: how often each pair is read: the number of hypotheses, 1 for a reranker.
        window_tokens: the model's limit; half of it is one text's in a pair that does not fit.
    """
    total = 0
    for first, second in pairs:
        tokens = len(first) / CHARACTERS_PER_TOKEN, len(second) / CHARACTERS_PER_TOKEN
        if sum(tokens) <= window_tokens:
            total += labels * math.ceil(sum(tokens))
            continue
        windows = [math.ceil(count / (window_tokens / 2)) for count in tokens]
        total += labels * windows[0] * windows[1] * window_tokens
    return total


def check_exhaustive(
    ranked: Iterable[tuple[str, str]],
    related: Iterable[tuple[str, str]],
    relations: Mapping[str, str],
    cards: Iterable[ModelCard],
    limit_tokens: int,
    field: str,
) -> None:
    """Refuse an exhaustive reading that is clearly beyond the limit, before any model reads a text.

    Args:
        ranked: pairs that the reranker reads; none for given pairs.
        related: pairs that the classifier reads.
        relations: label → hypothesis.
        cards: the models.
        limit_tokens: `limits.max_request_tokens`, which holds for each model.
        field: of the texts in the request.

    Raises:
        InvalidInput: the message states the cost, the limit and the remedies.
    """
    window_tokens = {card.task: card.max_tokens for card in cards}
    tokens = max(
        exhaustive_tokens(ranked, 1, window_tokens["reranker"]),
        exhaustive_tokens(related, len(relations), window_tokens["classifier"]),
    )
    if tokens > limit_tokens:
        raise InvalidInput(
            f"reading every window of each text with every window of the other takes about {tokens} tokens; the limit "
            f"is {limit_tokens} (limits.max_request_tokens). Leave out `evidence` and `long_input` to relate the texts "
            f"by their best passages, or send fewer or shorter {field}, or a smaller top_k.",
            field="evidence",
            code="too_many_tokens",
        )
