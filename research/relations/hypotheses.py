"""The wordings a relation is asked with: what is served by default, and a second set that no training shows."""

from __future__ import annotations

PAIR_TEMPLATE = "First: {first}\nSecond: {second}"

RELATION_HYPOTHESES: dict[str, str] = {
    "dependency": "The first text depends on the second.",
    "expansion": "The second text expands on the first.",
    "contradiction": "The two texts contradict each other.",
    "unrelated": "The two texts are unrelated.",
}

UNSEEN_WORDINGS: dict[str, str] = {
    "dependency": "Understanding the first text requires the second.",
    "expansion": "The second text adds details to the first.",
    "contradiction": "The statements in the two texts conflict.",
    "unrelated": "The two texts share no connection.",
}

SNLI_HYPOTHESES: dict[str, str] = {
    "entailment": "The second text follows from the first.",
    "neutral": "The second text may or may not follow from the first.",
    "contradiction": "The two texts contradict each other.",
}
