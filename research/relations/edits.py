"""Rules that turn a documented fact into its opposite, and decide where that is safe.

An edit is made only where the sentence holds exactly one place the rule could apply to and no wording that makes
the fact conditional ("if", "whether", "either … or"): an edit of a conditional need not contradict it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

_UNSAFE = re.compile(
    r"\b(if|whether|unless|either|or|when|versus|vs|might|may|can|could|example|e\.g|should|TODO|see|instead|"
    r"rather|both|not|n't|without|except|otherwise|some|sometimes|usually|typically|often|note)\b|n't",
    re.I,
)
_VERB = re.compile(
    r"\b(is|are|was|were|be|has|have|had|does|do|will|must|returns?|raises?|defaults?|uses?|contains?|accepts?|requires?|"
    r"takes?|holds?|runs?|reads?|writes?|supports?|allows?|stores?|converts?|computes?|sorts?|removes?|adds?|"
    r"became|began|won|lost|lies|covers|includes?|starts?|ends?|remains?|makes?|gives?|keeps?)\b"
)


@dataclass(frozen=True, slots=True)
class Edit:
    """A rule's outcome: the sentence with its fact turned, and which rule it was."""

    rule: str
    text: str


_SWAPS: dict[str, list[tuple[str, str]]] = {
    "boolean": [("True", "False"), ("true", "false"), ("enabled", "disabled")],
    "state": [
        ("required", "optional"), ("mandatory", "optional"), ("allowed", "forbidden"), ("permitted", "forbidden"),
        ("supported", "unsupported"), ("synchronous", "asynchronous"), ("mutable", "immutable"),
        ("inclusive", "exclusive"), ("case-sensitive", "case-insensitive"), ("read-only", "writable"),
        ("open", "closed"),
        ("visible", "hidden"), ("public", "private"), ("global", "local"), ("empty", "non-empty"), ("valid", "invalid"),
        ("sorted", "unsorted"), ("deprecated", "recommended"), ("unique", "duplicated"), ("ordered", "unordered"),
        ("positive", "negative"), ("finite", "infinite"), ("blocking", "non-blocking"), ("safe", "unsafe"),
        ("compressed", "uncompressed"), ("signed", "unsigned"), ("directed", "undirected"), ("legal", "illegal"),
        ("the same", "a different"), ("identical", "different"),
    ],
    "order": [
        ("ascending", "descending"), ("increasing", "decreasing"), ("before", "after"), ("minimum", "maximum"),
        ("smallest", "largest"), ("lowest", "highest"), ("shortest", "longest"), ("lower", "upper"),
        ("lowercase", "uppercase"), ("left", "right"), ("at least", "at most"), ("less than", "more than"),
        ("greater than", "smaller than"), ("older", "newer"), ("horizontal", "vertical"), ("earlier", "later"),
        ("north", "south"), ("northern", "southern"), ("east", "west"), ("eastern", "western"),
    ],
    "frequency": [
        ("always", "never"), ("exactly once", "several times"), ("everyone", "nobody"), ("everything", "nothing"),
    ],
    "action": [
        ("includes", "leaves out"), ("accepts", "rejects"), ("adds", "removes"), ("increases", "decreases"),
        ("encodes", "decodes"), ("opens", "closes"), ("acquires", "releases"), ("allows", "forbids"),
        ("succeeds", "fails"), ("preserves", "discards"), ("ignores", "respects"), ("compresses", "decompresses"),
        ("appends", "prepends"), ("locks", "unlocks"), ("connects", "disconnects"), ("won", "lost"), ("rose", "fell"),
        ("increased", "decreased"), ("inserts", "deletes"), ("shows", "hides"), ("starts", "stops"),
        ("reads", "writes"),
        ("input", "output"), ("sends", "receives"), ("enables", "disables"),
    ],
    "unit": [
        ("seconds", "milliseconds"), ("bytes", "kilobytes"), ("minutes", "hours"), ("days", "weeks"),
        ("radians", "degrees"), ("pixels", "inches"), ("bits", "bytes"), ("rows", "columns"), ("kilometres", "miles"),
        ("meters", "feet"), ("million", "billion"), ("months", "years"), ("characters", "lines"), ("century", "decade"),
    ],
}  # fmt: skip

_NEGATABLE = re.compile(r"\b(is|are|was|were|does|do|will|must|has been|have been)\b")
_THIRD_PERSON = re.compile(
    r"\b(returns|raises|contains|supports|includes|accepts|requires|uses|modifies|stores|preserves|creates)\b"
)
_VERSION = re.compile(r"\b(?:version|Python|v)\s*(\d+)\.(\d+)\b")
_NUMBER = re.compile(r"(?<![\w.\-/^=\[(#])(\d{1,3}(?:,\d{3})+|\d{1,5})(?![\w%\]):/^]|\.\d|-\w|\.?\s*$)")
_WORD_NUMBER = {
    "two": "five",
    "three": "seven",
    "four": "nine",
    "five": "two",
    "six": "three",
    "seven": "four",
    "ten": "twenty",
}


def is_factual(sentence: str) -> bool:
    """Whether a sentence states one plain fact: a full sentence of moderate length, no condition, no listing."""
    words = sentence.split()
    return (
        5 <= len(words) <= 32
        and sentence[0].isupper()
        and sentence.rstrip().endswith(".")
        and _VERB.search(sentence) is not None
        and _UNSAFE.search(sentence) is None
        and sentence.count(",") <= 2
        and not set(">|{}*_=\n").intersection(sentence)
    )


def _swap_once(sentence: str, rng: random.Random, table: list[tuple[str, str]], rule: str) -> Edit | None:
    hits: list[tuple[re.Match[str], str]] = []
    for one, other in table:
        for word, opposite in ((one, other), (other, one)):
            hits.extend((m, opposite) for m in re.finditer(rf"(?<![\w-]){re.escape(word)}(?![\w-])", sentence))
    if len(hits) != 1:
        return None
    match, opposite = hits[0]
    return Edit(rule, sentence[: match.start()] + opposite + sentence[match.end() :])


def _negate(sentence: str, rng: random.Random) -> Edit | None:
    auxiliaries = list(_NEGATABLE.finditer(sentence))
    if len(auxiliaries) == 1:
        match = auxiliaries[0]
        word = match.group()
        head, *tail = word.split()
        negated = " ".join([head, rng.choice(("not", "not", "never")), *tail])
        return Edit("negation", sentence[: match.start()] + negated + sentence[match.end() :])
    verbs = list(_THIRD_PERSON.finditer(sentence))
    if not auxiliaries and len(verbs) == 1:
        match = verbs[0]
        verb = match.group()
        base = verb[:-1]
        return Edit(
            "negation",
            sentence[: match.start()] + "does not " + base.lower() + sentence[match.end() :]
            if match.start()
            else "Does not " + base.lower() + sentence[match.end() :],
        )
    return None


def _version(sentence: str, rng: random.Random) -> Edit | None:
    found = list(_VERSION.finditer(sentence))
    if len(found) != 1:
        return None
    match = found[0]
    minor = int(match.group(2))
    other = minor + rng.choice((1, 2, 3)) if minor < 3 or rng.random() < 0.5 else minor - rng.choice((1, 2))
    return Edit("version", sentence[: match.start(2)] + str(other) + sentence[match.end(2) :])


def _number(sentence: str, rng: random.Random) -> Edit | None:
    """Change the only number there is.

    A number in a name, a formula, a range or at the end (the mark of a list's next item) is left alone.
    """
    if _VERSION.search(sentence) or re.search(
        r"\d\s*(?:-|–|to|and|through)\s*\d|RFC|PEP|ISO|section|step|Per |Python|MD5|SHA|UTF", sentence
    ):
        return None
    found = list(_NUMBER.finditer(sentence))
    words = [m for m in re.finditer(r"\b[a-z]+\b", sentence) if m.group() in _WORD_NUMBER]
    if len(found) == 1 and not words:
        match = found[0]
        value = int(match.group().replace(",", ""))
        if 1000 <= value <= 2100 and "," not in match.group():  # a year: move it by more than a slip of memory
            changed = str(value + rng.choice((-37, -24, -12, 11, 23, 46)))
        else:
            changed = str(
                rng.choice([v for v in (value * 2, value * 10, value + 5, max(value // 2, 2), value + 1) if v != value])
            )
        return Edit("number", sentence[: match.start()] + changed + sentence[match.end() :])
    if len(words) == 1 and not found:
        match = words[0]
        return Edit("number", sentence[: match.start()] + _WORD_NUMBER[match.group()] + sentence[match.end() :])
    return None


def _swapper(rule: str) -> Callable[[str, random.Random], Edit | None]:
    return lambda sentence, rng: _swap_once(sentence, rng, _SWAPS[rule], rule)


RULES: dict[str, Callable[[str, random.Random], Edit | None]] = {
    **{rule: _swapper(rule) for rule in _SWAPS},
    "version": _version,
    "number": _number,
    "negation": _negate,
}


def contradict(sentence: str, rng: random.Random) -> list[Edit]:
    """All edits of a factual sentence that the rules allow, in the rules' order; empty where none is safe."""
    if not is_factual(sentence):
        return []
    found = [edit for rule in RULES.values() if (edit := rule(sentence, rng)) is not None]
    return [edit for edit in found if edit.text != sentence]


_RESTATE = [
    (r"^Returns? ", ("Gives back ", "The result is ", "Hands back ")),
    (r"\bdefault value\b", ("value used when none is given", "preset value")),
    (r"\bmust be\b", ("has to be", "needs to be")),
    (r"\brequired\b", ("mandatory", "needed")),
    (r"\bmaximum\b", ("largest", "highest")),
    (r"\bminimum\b", ("smallest", "lowest")),
    (r"\balways\b", ("in every case", "invariably")),
    (r"\bnumber of\b", ("count of",)),
    (r"\bcreates\b", ("makes", "builds")),
    (r"\bspecified\b", ("given", "stated")),
    (r"\bfunction\b", ("routine",)),
    (r"\bargument\b", ("parameter",)),
    (r"\bcontains\b", ("holds",)),
    (r"\bremoves\b", ("takes out", "deletes")),
    (r"\bis used to\b", ("serves to",)),
    (r"\bis called\b", ("is invoked", "gets called")),
    (r"\bcurrent\b", ("present",)),
    (r"\braised\b", ("thrown",)),
    (r"\bused\b", ("employed",)),
]  # fmt: skip


def restate(sentence: str, rng: random.Random) -> str:
    """The same fact in slightly other words: up to three synonyms, none of them from a table of opposites."""
    out = sentence
    changed = 0
    for pattern, options in _RESTATE:
        replaced = re.sub(pattern, rng.choice(options), out, count=1)
        changed += replaced != out
        out = replaced
        if changed == 3:
            break
    return out
