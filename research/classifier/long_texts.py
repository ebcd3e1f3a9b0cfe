"""Long premises, and texts of one project that have nothing to do with each other.

A classifier that has seen short premises only collapses on long ones, and one that has seen contradictions where two
texts are alike, and unrelated pairs where they are not, calls any two notes on one program a contradiction. So: a
sentence, its opposite, its paraphrase and others of the same package, planted in documents of 60 to 420 tokens; notes
and sections on different parts of one package; topics of long texts; direction. Pure; seeded generators are handed in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from research.classifier import groups, wordings
from research.classifier.data import ENTAILED, NOT_ENTAILED, Example, Rows
from research.classifier.projects import Item, Project
from research.classifier.topics import Topical
from research.classifier.wordings import pair_premise
from research.relations.edits import contradict, restate
from research.relations.pairs import Pair
from research.training.batches import TextPair

NOTES = Path(__file__).parent / "notes.txt"
JOINT = "\n\n"
"""Between sentences of a text that is put together: where they are stored once for all texts that contain them."""
WORDS_PER_TOKEN = 0.72
_LENGTHS_TOKENS = (50, 80, 120, 170, 220, 280, 340, 420)
_FALSE_OF_UNRELATED = ("contradiction",) * 6 + ("expansion",) * 3 + ("dependency",)


def read_notes(path: Path = NOTES) -> list[list[str]]:
    """The notes of each program."""
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    return [[line for line in block.splitlines() if line and not line.startswith("#")] for block in blocks[1:]]


def words(texts: Sequence[str]) -> int:
    return sum(len(text.split()) for text in texts)


def fill(
    planted: Sequence[str], pool: Sequence[Item], length_tokens: int, rng: random.Random, code_share: float = 0.15
) -> str:
    """A text of about `length_tokens` with the planted sentences, in their order, among those of items of the pool."""
    parts: list[str] = []
    wanted = length_tokens * WORDS_PER_TOKEN - words(planted)
    while wanted > 8 and pool:
        item = rng.choice(pool)
        if rng.random() < code_share:
            added = [item.code[: rng.choice((200, 350, 600))]]
        else:
            start = rng.randrange(len(item.said))
            added = list(item.said[start : start + rng.choice((1, 2, 3, 4))])
        parts += added
        wanted -= words(added)
    places = sorted(rng.randrange(len(parts) + 1) for _ in planted)
    for offset, (place, sentence) in enumerate(zip(places, planted, strict=True)):
        parts.insert(place + offset, sentence)
    return JOINT.join(parts)


@dataclass(frozen=True, slots=True)
class Fact:
    """A documented sentence that has an opposite, and where it is said."""

    item: Item
    text: str
    after: str


def facts_of(project: Project) -> list[Fact]:
    found: dict[str, Fact] = {}
    for item in project.items:
        for sentence, after in zip(item.said, [*item.said, ""][1:], strict=True):
            if contradict(sentence, random.Random(0)):
                found.setdefault(sentence, Fact(item, sentence, after))
    return list(found.values())


def planted(project: Project, fact: Fact, rng: random.Random) -> Iterator[Example | Rows]:
    """One way to show a fact in a long text beside its opposite, its paraphrase or something else."""
    others = [item for item in project.items if item.name != fact.item.name]
    if len(others) < 8:
        return
    elsewhere = rng.choice(others)
    other = rng.choice(elsewhere.said)
    pool = [item for item in rng.sample(others, min(12, len(others))) if other not in item.said]
    opposite = rng.choice(contradict(fact.text, rng)).text
    stated = fact.text if rng.random() < 0.5 else restate(fact.text, rng)
    long = fill([fact.text], pool, rng.choice(_LENGTHS_TOKENS), rng)
    match rng.randrange(7):
        case 0 | 1:  # a contradiction, planted in one text or in both
            beside = opposite if rng.random() < 0.6 else fill([opposite], pool, rng.choice((60, 100, 150)), rng)
            long = fill(
                [fact.text], pool, rng.choice(_LENGTHS_TOKENS[:7] if beside is opposite else (60, 120, 200)), rng
            )
            first, second = (long, beside) if rng.random() < 0.5 else (beside, long)
            false = rng.sample(("unrelated", "expansion", "dependency"), rng.choice((1, 2)))
            yield groups.relation((first, second), "contradiction", false, rng, "planted")
        case 2:  # its paraphrase in the long text: the second says the same and more
            longer = fill([restate(fact.text, rng), fact.after] if fact.after else [restate(fact.text, rng)], pool,
                          rng.choice((50, 80, 120, 170, 220)), rng)  # fmt: skip
            false = ["contradiction", *(["unrelated"] if rng.random() < 0.5 else [])]
            yield groups.relation((fact.text, longer), "expansion", false, rng, "planted")
        case 3:  # something else of the project
            first, second = (long, other) if rng.random() < 0.5 else (other, long)
            yield groups.relation((first, second), "unrelated", _false_of_unrelated(rng), rng, "planted")
        case 4:  # the verdicts
            verdict, second = rng.choice((("entailment", stated), ("contradiction", opposite), ("neutral", other)))
            yield groups.verdicts((long, second), verdict, rng, "planted")
        case _:  # as premise and hypothesis
            rows = [(stated, ENTAILED), (opposite, NOT_ENTAILED), (other, NOT_ENTAILED)]
            kept = [rows[0], *rng.sample(rows[1:], rng.choice((1, 2)))]
            yield Example(long, tuple(kept), "planted")
            if rng.random() < 0.5:  # and the other way about: a sentence does not entail the long text's others
                yield Example(fact.text, ((other, NOT_ENTAILED),), "planted")


def same_project(project: Project, rng: random.Random, *, long: bool) -> Example | Rows | None:
    """Two notes, or two long texts, on different parts of a project: no contradiction, and mostly no relation."""
    for _ in range(20):
        one, other = rng.choice(project.items), rng.choice(project.items)
        if project.apart(one, other):
            break
    else:
        return None
    if long:
        pools = [[i for i in project.items if i.module == item.module] or [item] for item in (one, other)]
        if not all(project.apart(a, b) for a in pools[0][:6] for b in pools[1][:6]):
            return None
        lengths = rng.choice(((120, 120), (200, 60), (60, 200), (220, 220), (300, 40), (40, 300)))
        first, second = (fill([], pool[:6], n, rng, 0.3) for pool, n in zip(pools, lengths, strict=True))
    else:
        first, second = (JOINT.join(item.said[: rng.choice((1, 1, 2))]) for item in (one, other))
    return nothing_in_common(first, second, rng, "same-project-long" if long else "same-project")


def notes_of_one_program(notes: Sequence[str], rng: random.Random) -> Example | Rows:
    """Two notes of a program, or a note and several others."""
    one, *others = rng.sample(notes, rng.choice((2, 2, 2, 3, 4)))
    first, second = [one], others
    if rng.random() < 0.5:
        first, second = second, first
    mark = rng.choice(("", "", "", "- ", "Note: "))
    texts = [JOINT.join(mark + text for text in texts) for texts in (first, second)]
    return nothing_in_common(texts[0], texts[1], rng, "notes")


def edited_note(notes: Sequence[str], rng: random.Random) -> Example | Rows | None:
    """A note beside the opposite of it, sometimes among others: so that notes can contradict, too."""
    able = [(note, edits) for note in notes if (edits := contradict(note, rng))]
    if not able:
        return None
    note, edits = rng.choice(able)
    others = rng.sample([n for n in notes if n != note], rng.choice((0, 0, 1, 2)))
    second = rng.sample([*others, rng.choice(edits).text], len(others) + 1)
    return groups.relation((note, JOINT.join(second)), "contradiction", ["unrelated", "expansion"], rng, "notes")


def siblings(project: Project, rng: random.Random) -> Example | Rows | None:
    """Two sentences of one docstring: about the same thing, and not in conflict."""
    able = [item for item in project.items if len(item.said) >= 3]
    if not able:
        return None
    item = rng.choice(able)
    one, other = rng.sample(item.said, 2)
    if rng.random() < 0.5:
        return groups.no_relation((one, other), "contradiction", rng, "siblings")
    return groups.verdicts((one, other), "neutral", rng, "siblings")


def same_module(project: Project, rng: random.Random) -> Example | Rows | None:
    """What is said of two definitions of one module: about like things, and not in conflict."""
    one = rng.choice(project.items)
    beside = [item for item in project.items if item.module == one.module and item.name != one.name]
    if not beside:
        return None
    other = rng.choice(beside)
    first, second = (JOINT.join(item.said[: rng.choice((1, 1, 1, 2))]) for item in (one, other))
    if first == second or words([first, second]) < 12:
        return None
    if rng.random() < 0.6:
        return groups.no_relation((first, second), "contradiction", rng, "same-module")
    return groups.verdicts((first, second), "neutral", rng, "same-module")


def code_and_prose(project: Project, rng: random.Random) -> Example | Rows | None:
    """Code beside prose: what its docstring says expands on nothing else, and what others' say is unrelated."""
    able = [item for item in project.items if len(item.code) > 150 and words(item.said) > 12]
    if len(able) < 2:
        return None
    one, other = rng.sample(able, 2)
    prose = JOINT.join(one.said[:6])
    if rng.random() < 0.4:
        return groups.relation((one.code[:1_000], prose), "expansion", ["dependency", "unrelated"], rng, "code-prose")
    if not project.apart(one, other):
        return None
    first, second = (other.code[:1_000], prose) if rng.random() < 0.5 else (prose, other.code[:1_000])
    return groups.relation((first, second), "unrelated", _false_of_unrelated(rng), rng, "code-prose")


DIRECTED = {
    "dependency": (
        ("The first text depends on the second.", "The second text depends on the first."),
        ("The first code calls or uses the second.", "The second code calls or uses the first."),
        ("The second text defines what the first one uses.", "The first text defines what the second one uses."),
    ),
    "expansion": (
        ("The second text expands on the first.", "The first text expands on the second."),
        ("The second text gives more detail about the first.", "The first text gives more detail about the second."),
    ),
}
"""Each hypothesis beside the one of the other direction."""


def directed(pair: Pair, rng: random.Random) -> Rows | None:
    """A pair and its reverse under one hypothesis, or a pair under both directions of it."""
    if pair.label not in DIRECTED or pair.kind in ("default-expansion", "restated-passage", "snli"):
        return None
    forward, backward = rng.choice(DIRECTED[pair.label])
    first, second = pair.first[:400], pair.second[:400]
    straight, turned = pair_premise(first, second), pair_premise(second, first)
    match rng.randrange(4):
        case 0 | 1:
            rows = ((straight, forward), (turned, forward))
        case 2:
            rows = ((straight, forward), (straight, backward))
        case _:
            rows = ((turned, backward), (turned, forward))
    (good, asked), (bad, also) = rows
    return Rows((TextPair(good, asked, ENTAILED), TextPair(bad, also, NOT_ENTAILED)), "direction")


def long_topic(
    labelled: Sequence[Topical], fillers: Sequence[str], rng: random.Random, *, repeated: bool
) -> Example | None:
    """A long text of sentences on one topic, with some on none, or the same few over and over."""
    names = labelled[0].names
    length = rng.choice((60, 100, 150, 220, 300, 380, 450))
    wanted = length * WORDS_PER_TOKEN
    off = rng.choice((0.0, 0.0, 0.2, 0.4))
    chosen: list[Topical] = []
    parts: list[str] = []
    few = rng.sample(labelled, min(rng.choice((1, 2, 3)), len(labelled)))
    while wanted > 0:
        if off and rng.random() < off:
            parts.append(rng.choice(fillers))
        else:
            chosen.append(rng.choice(few if repeated else labelled))
            parts.append(chosen[-1].text)
        wanted -= words(parts[-1:])
    if not chosen:
        return None
    others = sorted(set.intersection(*(set(one.others) for one in chosen)) - set(names))
    if len(others) < 3:
        return None
    template = rng.choice(wordings.TOPIC_TEMPLATES)
    false = rng.sample(others, rng.choice((1, 2, 3)))
    hypotheses = [(template.format(rng.choice(names)), ENTAILED)]
    hypotheses += [(template.format(name), NOT_ENTAILED) for name in false]
    return Example(JOINT.join(parts), tuple(hypotheses), "topics-long")


def long_answer(question: str, sentence: str, answers: bool, fillers: Sequence[str], rng: random.Random) -> Example:
    """Whether a text answers a question, where the sentence that does stands among others."""
    parts = rng.sample(fillers, rng.choice((1, 2, 4, 6, 8)))
    parts.insert(rng.randrange(len(parts) + 1), sentence)
    hypothesis = rng.choice(wordings.ANSWER_TEMPLATES).format(question)
    return Example(JOINT.join(parts), ((hypothesis, ENTAILED if answers else NOT_ENTAILED),), "qnli-long")


def nothing_in_common(first: str, second: str, rng: random.Random, source: str) -> Example | Rows:
    """Two texts on different things: unrelated, and no contradiction."""
    if rng.random() < 0.3:  # that they do not contradict is surer than that nothing connects them
        return groups.no_relation((first, second), "contradiction", rng, source)
    if rng.random() < 0.12:
        return groups.verdicts((first, second), "neutral", rng, source)
    return groups.relation((first, second), "unrelated", _false_of_unrelated(rng), rng, source)


def _false_of_unrelated(rng: random.Random) -> list[str]:
    return list(dict.fromkeys(rng.choices(_FALSE_OF_UNRELATED, k=rng.choice((1, 2, 3)))))
