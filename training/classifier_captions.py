"""More caption inference by rule: a picture's caption with a word exchanged for a broader one, or for a rival.

Exchanging a word for a broader one keeps a caption true (entailment); for a rival of the same kind it makes it false
(contradiction); adding what the caption does not say leaves it open (neutral). Captions come from the training
rows only.
"""

from __future__ import annotations

import random
import re

from bench.relations.prose_pairs import NliRow

# broader word | rivals under it
_KINDS = """
person|man woman boy girl
child|boy girl
adult|man woman
people|men women children boys girls
animal|dog cat horse bird cow
vehicle|car bus truck bicycle motorcycle train
instrument|guitar piano violin drum trumpet
garment|shirt dress jacket coat sweater
something to wear|hat helmet scarf
building|house church store restaurant
sport|football soccer basketball tennis baseball hockey
moving|walking running jumping swimming dancing climbing
|sitting standing lying running sleeping
|eating sleeping reading singing
|outside inside
|outdoors indoors
|red blue green yellow black white orange
|young old
|happy sad
|one two three four
|street beach park kitchen forest mountain
|water snow grass sand
|summer winter
|day night
|empty crowded
|alone together
|morning evening
|smiling crying
|wet dry
|talking silent
|large tiny
"""
_ADDITIONS = (
    "for the first time", "before going home", "with a friend", "on a Sunday", "because it is a holiday",
    "to win a prize",
    "while on vacation", "after work", "to impress the others", "for a school project", "in order to earn money",
)  # fmt: skip


def _table() -> list[tuple[str, list[str]]]:
    return [(broad, words.split()) for broad, words in (line.split("|") for line in _KINDS.strip("\n").splitlines())]


def _swap(text: str, word: str, other: str) -> str:
    swapped = re.sub(rf"\b{word}\b", other, text, count=1, flags=re.I)
    return re.sub(r"\ba (?=[aeiou])", "an ", re.sub(r"\ban (?=[^aeiou\W])", "a ", swapped))


def invent(premises: list[str], rng: random.Random) -> list[NliRow]:
    """At most one row of each label for a premise; the label is the rule's, nobody annotated it."""
    rows: list[NliRow] = []
    for premise in premises:
        present = [
            (broad, word, [w for w in words if w != word])
            for broad, words in _table()
            for word in words
            if len(re.findall(rf"\b{word}\b", premise, re.I)) == 1
            and not any(re.search(rf"\b{w}\b", premise, re.I) for w in words if w != word)
        ]
        if not present:
            continue
        broader = [(broad, word) for broad, word, _ in present if broad]
        _, word, rivals = rng.choice(present)
        rows.append(NliRow("", premise, _swap(premise, word, rng.choice(rivals)), "contradiction"))
        if broader:
            broad, narrow = rng.choice(broader)
            rows.append(NliRow("", premise, _swap(premise, narrow, broad), "entailment"))
        rows.append(NliRow("", premise, f"{premise.rstrip('. ')} {rng.choice(_ADDITIONS)}.", "neutral"))
    return rows
