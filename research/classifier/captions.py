"""More caption inference by rule: a picture's caption with a word exchanged for a broader one, or for a rival.

Exchanging a word for a broader one keeps a caption true (entailment); for a rival of the same kind it makes it false
(contradiction); adding what the caption does not say leaves it open (neutral). Captions come from the training
rows only.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from research.relations.prose_pairs import NliRow

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
    "to win a prize", "while waiting for the bus", "with family members", "on the way to work", "because it is fun",
    "to earn a medal", "in the middle of the city", "after a long day", "as part of a competition",
    "while on vacation", "after work", "to impress the others", "for a school project", "in order to earn money",
)  # fmt: skip
_STATES = (
    "waiting for a friend", "on vacation", "tired after a long day", "getting paid", "famous", "very happy",
    "about to leave", "celebrating a birthday", "training for a competition", "late for work",
    "trying to impress someone", "enjoying the day", "hoping to win", "new in town", "thinking about dinner",
    "from another country", "very skilled",
)  # fmt: skip
_QUALITIES = ("tall", "tired", "famous", "professional", "lonely", "friendly", "hungry", "bored", "rich", "sad")
_ACTIVITIES = (
    "asleep in bed", "sleeping", "watching television at home", "swimming in the ocean",
    "cooking dinner in a kitchen", "driving a car", "flying a plane", "taking a shower",
    "reading a newspaper in the library", "eating lunch at a table", "riding a horse", "sitting on a couch",
    "playing cards", "climbing a tree", "dancing at a wedding", "in a swimming pool",
)  # fmt: skip
_SMALL = frozenset(("a", "an", "at", "in", "on", "the", "to"))
_ONE = (
    "man", "woman", "boy", "girl", "child", "kid", "baby", "toddler", "guy", "lady", "person", "dog", "cat", "horse",
    "player", "worker", "couple", "crowd", "group",
)  # fmt: skip
_SEVERAL = frozenset(
    ("men", "women", "boys", "girls", "children", "kids", "guys", "ladies", "people", "dogs", "players", "workers",
     "adults")
)  # fmt: skip
_BROADER = {
    "man": "A person", "woman": "A person", "boy": "A child", "girl": "A child", "lady": "A woman", "guy": "A man",
    "men": "Some people", "women": "Some people", "boys": "Some children", "girls": "Some children",
    "dog": "An animal", "dogs": "Some animals", "cat": "An animal", "horse": "An animal",
}  # fmt: skip
_SUBJECT = re.compile(
    r"(?:a|an|the|one|two|three|four|five|some|several|many)?\s*(?:[\w-]+\s+){0,2}?(?P<noun>"
    + "|".join((*_ONE, *sorted(_SEVERAL)))
    + r")\b",
    re.I,
)
_DETAIL = re.compile(r",| (?=(?:with|while|near|by|behind|beside|next|in|on|at|from|as|during|through|for|and) )")
_ACTIVITY = re.compile(r"\b(?:is|are|\w{2,}ing|\w{3,}s)\b")


def _table() -> list[tuple[str, list[str]]]:
    return [(broad, words.split()) for broad, words in (line.split("|") for line in _KINDS.strip("\n").splitlines())]


def _swap(text: str, word: str, other: str) -> str:
    return _articles(re.sub(rf"\b{word}\b", other, text, count=1, flags=re.I))


def _articles(text: str) -> str:
    """`a` or `an` by the letter that follows."""
    text = re.sub(r"\b([Aa])n (?=[^aeiou\W])", r"\1 ", text)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a caption is about: the words that open it, and the verb form that goes with them."""

    phrase: str
    noun: str
    verb: str  # is | are


def subject(caption: str) -> Subject | None:
    """`A young woman`, `is` of a caption that opens with a person, some people or an animal; None for others."""
    found = _SUBJECT.match(caption)
    if found is None:
        return None
    noun = found["noun"].lower()
    return Subject(found[0], noun, "are" if noun in _SEVERAL else "is")


def cut_short(caption: str) -> str | None:
    """A caption without what follows its first activity: still true. None where there is nothing to leave out."""
    for found in _DETAIL.finditer(caption):
        kept = caption[: found.start()].rstrip(" ,")
        if len(kept.split()) >= 4 and _ACTIVITY.search(kept):
            return f"{kept}."
    return None


def invent(premises: list[str], rng: random.Random) -> list[NliRow]:
    """Make at most one row of each label for a premise; a rule sets the label, without an annotation."""
    rows: list[NliRow] = []
    for premise in premises:
        options = (("entailment", follows(premise, rng)), ("neutral", open_(premise, rng)),
                   ("contradiction", conflicts(premise, rng)))  # fmt: skip
        rows.extend(NliRow("", premise, rng.choice(made), label) for label, made in options if made)
    return rows


def follows(premise: str, rng: random.Random) -> list[str]:
    """Sentences that are true if the caption is: a broader word, fewer details, or both."""
    short = cut_short(premise)
    made = [_swap(text, word, broad) for text in (premise, short or premise)
            for broad, word, _ in _exchanges(text) if broad]  # fmt: skip
    made += [short] * 2 if short else []
    if who := subject(premise):
        made.append(f"There {who.verb} {_lower(who.phrase)}.")
        made.append(f"{_BROADER.get(who.noun, 'Some people' if who.verb == 'are' else 'Someone')} {who.verb} there.")
    return made


def open_(premise: str, rng: random.Random) -> list[str]:
    """Make sentences that the caption neither implies nor excludes, because they add something invisible."""
    short = (cut_short(premise) or premise).rstrip(". ")
    made = [f"{text} {rng.choice(_ADDITIONS)}." for text in (premise.rstrip(". "), short)]
    if who := subject(premise):
        made += [f"{_the(who)} {who.verb} {rng.choice(_STATES)}." for _ in range(2)]
        described = re.sub(rf"\b{who.noun}\b", f"{rng.choice(_QUALITIES)} {who.noun}", short, count=1, flags=re.I)
        made.append(_articles(f"{described}."))
    return made


def conflicts(premise: str, rng: random.Random) -> list[str]:
    """Sentences that cannot be true of the same scene: a rival word, a negation, or another activity."""
    made = [
        _swap(text, word, rng.choice(rivals))
        for text in (premise, cut_short(premise) or premise)
        for _, word, rivals in _exchanges(text)
    ]
    denied = re.sub(r"\b(is|are) (?=\w+ing\b)", r"\1 not ", cut_short(premise) or premise, count=1)
    if " not " in denied:
        made.append(denied)
    if who := subject(premise):
        elsewhere = [a for a in _ACTIVITIES if not set(a.split()) & set(re.findall(r"\w+", premise.lower())) - _SMALL]
        made += [f"{_the(who)} {who.verb} {activity}." for activity in rng.sample(elsewhere, min(2, len(elsewhere)))]
        made.append(rng.choice((f"There is no {who.noun} here.", "Nobody is there.")))
    return made


def _exchanges(text: str) -> list[tuple[str, str, list[str]]]:
    """(broader word or "", the word that occurs, its rivals) where the word occurs once and no rival does."""
    return [
        (broad, word, [w for w in words if w != word])
        for broad, words in _table()
        for word in words
        if len(re.findall(rf"\b{word}\b", text, re.I)) == 1
        and not any(re.search(rf"\b{w}\b", text, re.I) for w in words if w != word)
    ]


def _the(who: Subject) -> str:
    return f"The {who.noun}"


def _lower(phrase: str) -> str:
    return phrase[:1].lower() + phrase[1:]
