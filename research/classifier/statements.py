"""Statements in several wordings, what contradicts them, and the subjects that they stand in.

Whatever teaches the difference between the same said again and the opposite needs both of one statement, and other text
on the same subject. They come from four places: written for this project (`statements.txt`), the benchmark's templates
with the subjects of the train split, documentation of packages, and encyclopaedia passages. Pure; generators are handed
in.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from research.classifier.long_texts import JOINT, WORDS_PER_TOKEN, Fact, read_notes, words
from research.classifier.projects import Project
from research.relations import templates
from research.relations.edits import contradict, restate

WRITTEN = Path(__file__).parent / "statements.txt"

Chunks = tuple[tuple[str, ...], ...]
"""Runs of sentences that stand together."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that is the case."""

    said: tuple[str, ...]
    """Wordings of it, at least one."""
    opposed: tuple[str, ...]
    """Wordings of what cannot be the case beside it, at least one."""
    beside: tuple[str, ...]
    """Other things that are said of the same subject, and true with it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A statement, and what else is written on its subject: nothing of that says the statement or its opposite."""

    statement: Statement
    chunks: Chunks
    apart: bool
    """Whether the rest has nothing to do with the statement, so that the two are unrelated without each other."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Sentences, and the place among them for one more."""

    parts: tuple[str, ...]
    place: int

    def holding(self, sentence: str | None) -> str:
        """The text with that sentence, or as it is."""
        added = () if sentence is None else (sentence,)
        return JOINT.join((*self.parts[: self.place], *added, *self.parts[self.place :]))


def passage_of(chunks: Sequence[Sequence[str]], length_tokens: int, rng: random.Random) -> Passage | None:
    """A passage of the first chunks that together have about so many tokens; None where there are none."""
    parts: list[str] = []
    for chunk in chunks:
        if words(parts) >= length_tokens * WORDS_PER_TOKEN:
            break
        parts += chunk
    return Passage(tuple(parts), rng.randrange(len(parts) + 1)) if parts else None


def read_statements(path: Path) -> tuple[Statement, ...]:
    """Read lines of two or three wordings, what contradicts them, and another fact; fields are divided by `|`."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    rows = [[part.strip() for part in line.split(" | ")] for line in lines]
    return tuple(Statement(tuple(said), (opposed,), (beside,)) for *said, opposed, beside in rows)


@cache
def written() -> tuple[Statement, ...]:
    """The statements of `statements.txt`."""
    return read_statements(WRITTEN)


def written_subject(rng: random.Random) -> Subject:
    """A written statement among notes on other things, as in a list of notes."""
    chosen, *others = rng.sample(written(), 9)
    notes = [note for block in rng.sample(_notes(), 3) for note in block]
    around = [*notes, *(rng.choice((*other.said, *other.beside)) for other in others)]
    rng.shuffle(around)
    return Subject(_turned(chosen, rng), tuple((note,) for note in around), apart=True)


@cache
def _notes() -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(block) for block in read_notes())


def _turned(statement: Statement, rng: random.Random) -> Statement:
    """The statement, or its opposite as the statement: so that no wording is always the contradicting one."""
    if rng.random() < 0.7:
        return statement
    return Statement(statement.opposed, statement.said, statement.beside)


def template_subject(rng: random.Random) -> Subject:
    """A fact of the benchmark's train split in some of its wordings, among other facts and their details."""
    (family, fields), *others = rng.sample(_facts(), 9)
    value, opposite = rng.sample(list(family.wordings), 2)

    def say(family: templates.Family, value: str, fields: dict[str, str], count: int) -> list[str]:
        allowed = templates.training_wordings(family, value)
        return [w.format(**fields) for w in rng.sample(allowed, min(count, len(allowed)))]

    around: list[tuple[str, ...]] = []
    for other, of_other in others:
        held = rng.choice(list(other.wordings))
        detail = rng.choice(other.details[held]).format(**of_other)
        around.append((*say(other, held, of_other, 1), detail))
    around += [(note,) for note in rng.choice(_notes())]
    rng.shuffle(around)
    beside = tuple(detail.format(**fields) for detail in family.details[value])
    return Subject(
        Statement(tuple(say(family, value, fields, 3)), tuple(say(family, opposite, fields, 3)), beside),
        tuple(around),
        apart=True,
    )


@cache
def _facts() -> tuple[tuple[templates.Family, dict[str, str]], ...]:
    return tuple(templates.subjects_of("train"))


def edited(text: str, beside: Sequence[str], rng: random.Random) -> Statement | None:
    """A documented sentence as a statement, contradicted by rule; None where no rule is safe."""
    edits = contradict(text, rng)
    if not edits:
        return None
    again = restate(text, rng)
    said = (text,) if again == text else (text, again)
    opposed = [edit.text for edit in edits]
    if again != text:
        opposed += [edit.text for edit in contradict(again, rng)]
    return Statement(said, tuple(opposed), tuple(one for one in beside if one != text))


def documented_subject(project: Project, fact: Fact, rng: random.Random) -> Subject | None:
    """A documented fact, among what is said of other definitions: of its module where that is enough."""
    statement = edited(fact.text, [s for s in fact.item.said if s != fact.text], rng)
    if statement is None:
        return None
    near = [i for i in project.items if i.name != fact.item.name and i.module == fact.item.module]
    others = near if len(near) >= 12 else [i for i in project.items if i.name != fact.item.name]
    if len(others) < 8:
        return None
    own = {*fact.item.said, *statement.opposed, *statement.said}
    picked = rng.sample(others, min(16, len(others)))
    chunks = (tuple(sentence for sentence in item.said[:4] if sentence not in own) for item in picked)
    return Subject(statement, tuple(dict.fromkeys(chunk for chunk in chunks if chunk)), apart=others is not near)


def encyclopaedia_subject(said: Sequence[str], rng: random.Random) -> Subject | None:
    """A sentence of a passage among the passage's others."""
    able = [s for s in said if contradict(s, rng)]
    if not able or len(said) < 4:
        return None
    text = rng.choice(able)
    place = list(said).index(text)
    statement = edited(text, [*said[:place], *said[place + 1 :]], rng)
    rest = [(s,) for s in said if s != text]
    return Subject(statement, tuple(rest), apart=False) if statement else None


_NUMBERS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "ten": "10",
    "twelve": "12", "twenty": "20", "thirty": "30", "fifty": "50", "ninety": "90",
}  # fmt: skip
_SPELLED = {digits: word for word, digits in _NUMBERS.items()}
_CONTRACTED = (
    ("does not", "doesn't"), ("do not", "don't"), ("is not", "isn't"), ("are not", "aren't"), ("cannot", "can't"),
    ("was not", "wasn't"), ("will not", "won't"), ("has not", "hasn't"), ("must not", "mustn't"),
)  # fmt: skip
_SPELLINGS = (
    ("colour", "color"), ("normalise", "normalize"), ("behaviour", "behavior"), ("licence", "license"),
    ("serialise", "serialize"), ("initialise", "initialize"), ("recognise", "recognize"), ("centre", "center"),
)  # fmt: skip


def _numbers(text: str) -> str:
    out = re.sub(r"(?<![\w-])[a-z]+(?![\w-])", lambda m: _NUMBERS.get(m.group(), m.group()), text)
    return out if out != text else re.sub(r"(?<![\w.,-])\d+(?![\w.,-])", lambda m: _SPELLED.get(m[0], m[0]), text)


def _either_way(pairs: Sequence[tuple[str, str]], text: str) -> str:
    for one, other in pairs:
        if other in text:
            return text.replace(other, one)
        if one in text:
            return text.replace(one, other)
    return text


def _quoted(text: str) -> str:
    if "`" in text:
        return text.replace("`", "")
    names = re.findall(r"\b\w+_\w+\b|\bTrue\b|\bFalse\b|\bNone\b|\btrue\b|\bfalse\b", text)
    return text.replace(names[0], f"`{names[0]}`") if names else text


_TRIFLES: tuple[Callable[[str], str], ...] = (
    lambda t: t.rstrip(" ."),
    lambda t: t[:1].lower() + t[1:],
    lambda t: f"- {t}",
    lambda t: f"Note: {t}",
    lambda t: f"> {t}",
    lambda t: f"1. {t}",
    lambda t: t.upper(),
    lambda t: t.rstrip(".") + "!",
    lambda t: f"{t} {t}",
    lambda t: f'"{t}"',
    lambda t: t.replace(" and ", " & "),
    lambda t: t.replace(",", ""),
    lambda t: re.sub(r"\b[Tt]he ", "", t, count=1),
    lambda t: t.replace("'", "’"),
    lambda t: f"In short: {t}",
    lambda t: f"{t.rstrip('.')} (see below).",
    lambda t: f"As before, {t[:1].lower() + t[1:]}",
    _numbers,
    _numbers,
    lambda t: _either_way(_CONTRACTED, t),
    lambda t: _either_way(_CONTRACTED, t),
    lambda t: _either_way(_SPELLINGS, t),
    _quoted,
)


def trifle(text: str, rng: random.Random) -> str:
    """The same sentence with one or two changes of no meaning: case, marks, articles, spelling, numbers as words."""
    wanted = rng.choice((1, 1, 2))
    changed = 0
    for change in rng.sample(_TRIFLES, len(_TRIFLES)):
        out = change(text)
        if out.strip() and out != text:
            text, changed = out, changed + 1
        if changed == wanted:
            break
    return text
