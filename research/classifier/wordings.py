"""How hypotheses are varied in training, so that a caller's own wording works too.

The defaults that are served and evaluated, and a set of wordings that training never shows, are in
`research.relations.hypotheses`.
"""

from __future__ import annotations

from research.relations.hypotheses import PAIR_TEMPLATE

RELATION_PARAPHRASES: dict[str, tuple[str, ...]] = {
    "dependency": (
        "The first text uses something that the second text defines.",
        "The first depends on the second.",
        "The first text needs the second one to work.",
        "The second text defines what the first one uses.",
        "The first code calls or uses the second.",
    ),
    "expansion": (
        "The second text gives more detail about the first.",
        "The second text elaborates on the first.",
        "The second expands on the first.",
        "The second text explains the first one further.",
        "The first text is a summary of the second.",
    ),
    "contradiction": (
        "The texts contradict each other.",
        "The second text contradicts the first.",
        "The first text says the opposite of the second.",
        "The two texts cannot both be true.",
        "There is a contradiction between the two texts.",
    ),
    "unrelated": (
        "The texts are unrelated.",
        "The two texts have nothing to do with each other.",
        "There is no relation between the first text and the second.",
        "The second text is unrelated to the first.",
        "The texts are about different things.",
    ),
}

SNLI_PARAPHRASES: dict[str, tuple[str, ...]] = {
    "entailment": ("If the first text is true, so is the second.", "The first text implies the second."),
    "neutral": (
        "The first text neither implies nor contradicts the second.",
        "The second text might be true given the first.",
    ),
    "contradiction": RELATION_PARAPHRASES["contradiction"],
}

TOPIC_TEMPLATE = "This example is about {}."
TOPIC_TEMPLATES = (
    TOPIC_TEMPLATE, TOPIC_TEMPLATE, "This example is {}.", "This example is {}.", "This text is about {}.",
    "The topic is {}.", "It is about {}.",
)  # fmt: skip
ANSWER_TEMPLATES = (
    "This text answers the question: {}",
    "This example answers the question: {}",
    'The answer to "{}" is stated here.',
)
YES_NO_TEMPLATES = {True: ('The answer to "{}?" is yes.',), False: ('The answer to "{}?" is no.',)}


def pair_premise(first: str, second: str) -> str:
    """The premise a pair of texts is served as."""
    return PAIR_TEMPLATE.format(first=first, second=second)
