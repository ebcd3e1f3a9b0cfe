"""Documented facts in many wordings: statements that contradict, that restate and elaborate, or that do not touch.

A *fact* is a family, a subject and a value. Two wordings of different values of one fact contradict; a wording
followed by a sentence of detail on the same value expands on another wording of it; wordings of facts on different
subjects are unrelated. Subjects and values stand in one split only, and a quarter of the wordings is kept for
testing, so that what is measured is the meaning and not a remembered sentence.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from research.relations.pairs import Pair, Split, seeded, stable_fraction

LICENCE = "Apache-2.0 (written for this project)"
FACTS = Path(__file__).parent / "facts"
_MARKS = {"yes": "+", "no": "-"}


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of fact. `wordings[value]` and `details[value]` are format strings over a subject's fields."""

    name: str
    subjects: tuple[dict[str, str], ...]
    wordings: dict[str, tuple[str, ...]]
    details: dict[str, tuple[str, ...]]


def _rows(name: str) -> list[list[str]]:
    """Lines of a table in `facts/`, split at bars; comments dropped."""
    lines = (FACTS / name).read_text(encoding="utf-8").splitlines()
    return [[part.strip() for part in line.split("|")] for line in lines if line and not line.startswith("#")]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _switches() -> tuple[dict[str, str], ...]:
    return tuple(
        {"key": key, "noun": noun, "Noun": _capital(noun), "verb": verb} for key, noun, verb in _rows("switches.txt")
    )


SWITCH = Family(
    "switch",
    _switches(),
    {
        "on": (
            "{Noun} is enabled by default.", "By default, {noun} is on.", "{Noun} is active out of the box.",
            "{Noun} is switched on unless you disable it.", "The server will {verb} unless told not to.",
            "You need not do anything to get {noun}: it is turned on from the start.", "`{key}` defaults to `True`.",
            "{Noun} runs automatically in a fresh installation.", "Out of the box the service will {verb}.",
            "{Noun} is opt-out.", "Unless `{key}` is set to false, {noun} takes place.",
            "A new project has {noun} turned on.", "Without any configuration, {noun} is in effect.",
            "The default configuration does {verb}.",
        ),
        "off": (
            "{Noun} is disabled by default.", "By default, {noun} is off.", "{Noun} is inactive until you ask for it.",
            "{Noun} is turned off unless you enable it.", "The server will not {verb} unless told to.",
            "You have to turn {noun} on yourself.", "`{key}` defaults to `False`.",
            "{Noun} does not run in a fresh installation.", "Out of the box the service won't {verb}.",
            "{Noun} is opt-in.", "Unless `{key}` is set to true, no {noun} takes place.",
            "A new project has {noun} switched off.", "Without explicit configuration, {noun} stays off.",
            "The default configuration does not {verb}.",
        ),
    },
    {
        "on": (
            "Set `{key}` to false to turn it off.", "The `--no-{key}` flag switches it off for one run.",
            "It can be disabled per environment in the settings file.", "It costs about two percent of CPU time.",
        ),
        "off": (
            "Set `{key}` to true to turn it on.", "The `--{key}` flag switches it on for one run.",
            "It can be enabled per environment in the settings file.",
            "Turning it on costs about two percent of CPU time.",
        ),
    },
)  # fmt: skip


def _quantities() -> tuple[dict[str, str], ...]:
    return tuple(
        {"noun": noun, "Noun": _capital(noun), "key": key, "a": one, "b": other, "unit": unit}
        for noun, key, one, other, unit in _rows("quantities.txt")
    )


_QUANTITY_WORDINGS = (
    "The {noun} defaults to %s {unit}.", "By default the {noun} is %s {unit}.",
    "Unless configured otherwise, the {noun} is %s {unit}.",
    "If you set nothing, a {noun} of %s {unit} is used.", "{Noun}: %s {unit}.",
    "The preset value of `{key}` is %s {unit}.",
    "`{key}` (default: %s) gives the {noun} in {unit}.", "A {noun} of %s {unit} applies when none is given.",
    "The {noun} has been fixed at %s {unit}.", "We use a {noun} of %s {unit}.", "`{key}=%s` is the default, in {unit}.",
    "Expect the {noun} to be %s {unit}.",
)  # fmt: skip

_QUANTITY_DETAILS = (
    "Larger values of `{key}` suit slow networks.",
    "Change it with `{key}` in the configuration file.",
    "It was chosen after measuring a month of traffic.",
    "Administrators can override it for single users.",
)

QUANTITY = Family(
    "quantity",
    _quantities(),
    {value: tuple(w.replace("%s", "{" + value + "}") for w in _QUANTITY_WORDINGS) for value in ("a", "b")},
    dict.fromkeys(("a", "b"), _QUANTITY_DETAILS),
)  # fmt: skip


def _opposites() -> tuple[dict[str, str], ...]:
    """Subjects that bring both of their statements, several wordings each, and a detail for each side."""
    out = []
    for block in (FACTS / "opposites.txt").read_text(encoding="utf-8").strip().split("\n\n")[1:]:
        lines = [line.split(" ", 1) for line in block.splitlines()]
        fields = {
            f"detail_{side}": text for mark, text in lines for side in ("yes", "no") if mark == _MARKS[side] + ">"
        }
        for side, mark in _MARKS.items():
            fields |= {f"{side}{i}": text for i, text in enumerate(text for m, text in lines if m == mark)}
        out.append(fields)
    return tuple(out)


OPPOSITE = Family(
    "opposite",
    _opposites(),
    {"yes": ("{yes0}", "{yes1}", "{yes2}"), "no": ("{no0}", "{no1}", "{no2}")},
    {"yes": ("{detail_yes}",), "no": ("{detail_no}",)},
)

FAMILIES = (SWITCH, QUANTITY, OPPOSITE)

# Wordings vary further by where the sentence stands: a lead-in says who speaks, not what is the case.
LEAD_INS = ("", "", "", "", "Note: ", "According to the manual: ", "From the changelog: ", "# ", "In this release: ")


def split_of(identity: str) -> Split:
    """Which split a subject belongs to: 60 % train, 10 % dev, 30 % test, by its own text."""
    fraction = stable_fraction("subject " + identity)
    return "train" if fraction < 0.6 else "dev" if fraction < 0.7 else "test"


def subjects_of(split: Split) -> list[tuple[Family, dict[str, str]]]:
    """Every subject of a split, beside its family."""
    return [(family, subject) for family in FAMILIES for subject in family.subjects if split_of(str(subject)) == split]


def training_wordings(family: Family, value: str) -> tuple[str, ...]:
    """Wordings of a value that may be trained on: of families with many, a quarter occurs in the test split only."""
    wordings = family.wordings[value]
    return wordings if len(wordings) < 8 else tuple(w for i, w in enumerate(wordings) if i % 4 != 3)


def _allowed(family: Family, value: str, split: Split) -> tuple[str, ...]:
    return family.wordings[value] if split == "test" else training_wordings(family, value)


def _state(family: Family, value: str, subject: dict[str, str], split: Split, rng: random.Random) -> str:
    return rng.choice(LEAD_INS) + rng.choice(_allowed(family, value, split)).format(**subject)


def _elaborated(family: Family, value: str, subject: dict[str, str], split: Split, rng: random.Random) -> str:
    return f"{_state(family, value, subject, split, rng)} {rng.choice(family.details[value]).format(**subject)}"


def template_pairs(split: Split, per_label: int) -> Iterator[Pair]:
    """About `per_label` pairs each of contradiction, expansion and unrelated (duplicates are dropped)."""
    subjects = subjects_of(split)
    seen: set[tuple[str, str]] = set()
    for label in ("contradiction", "expansion", "unrelated"):
        rng = seeded("templates", split, label)
        for _ in range(per_label):
            family, subject = rng.choice(subjects)
            value, opposite = rng.sample(list(family.wordings), 2)
            first = _state(family, value, subject, split, rng)
            if label == "contradiction":
                detailed = rng.random() < 0.4  # else detail alone would give expansion away
                second = (_elaborated if detailed else _state)(family, opposite, subject, split, rng)
            elif label == "expansion":
                second = _elaborated(family, value, subject, split, rng)
                if second.startswith(first):
                    continue
            else:
                other_family, other = rng.choice(subjects)
                if other is subject:
                    continue
                detailed = rng.random() < 0.4
                second = (_elaborated if detailed else _state)(
                    other_family, rng.choice(list(other_family.wordings)), other, split, rng
                )
            if (first, second) not in seen:
                seen.add((first, second))
                yield Pair(label, f"template-{family.name}", first, second, "templates", LICENCE)  # type: ignore[arg-type]
