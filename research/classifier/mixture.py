"""Everything that the classifier is shown, each source in its share: the training's examples, and those that watch it.

Needs what `research.classifier.prepare`, `.names` and `.projects` wrote.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from research.classifier import groups, long_texts, wordings
from research.classifier.data import (
    ENTAILED,
    NOT_ENTAILED,
    Example,
    Mix,
    Rows,
    basic_examples,
    nli_examples,
    relation_example,
    snli_training_rows,
    topic_example,
)
from research.classifier.defaults import default_examples, find_defaults
from research.classifier.inference import breaking_nli, med
from research.classifier.long_texts import Fact
from research.classifier.names import name_examples, read_uses
from research.classifier.paragraphs import paragraphs, read_paragraphs
from research.classifier.prepare import read_topics
from research.classifier.projects import Project, read_projects
from research.classifier.restated import again, opposed, repeated, restated, unchanged
from research.classifier.statements import (
    Subject,
    documented_subject,
    encyclopaedia_subject,
    template_subject,
    written_subject,
)
from research.classifier.topics import Topical, lexicon_hits
from research.classifier.two_passages import side_by_side, two_passages
from research.relations.assemble import balance
from research.relations.hypotheses import RELATION_HYPOTHESES
from research.relations.pairs import read_pairs, seeded
from research.relations.prose_pairs import passages, qnli_sentences
from research.training.datasets import read_qnli


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is drawn, each as a share of what a training on a GPU gets."""

    rehearsal: float = 1.0
    """Of everything but statements: what a run on them repeats so as not to forget it."""
    statements: float = 1.0
    """Of what is said again and what is contradicted (`restated`, `two_passages`, `paragraphs`)."""
    apart: float = 1.0
    """How many times as many notes on parts of one program as rehearsal gets: most of them neither follow from each
    other nor contradict, which a run on statements forgets first."""

    def times(self, count: int) -> int:
        """How often something is drawn of which a whole training gets `count`."""
        return max(1, round(count * self.rehearsal))

    def notes(self, count: int) -> int:
        """How often notes on parts of one program are drawn of which a whole training gets `count`."""
        return self.times(round(count * self.apart))

    def basic(self, mix: Mix) -> Mix:
        """The counts of the basic examples; repeats are rounded up, and thinned afterwards."""
        return replace(
            mix,
            **{name: self.times(getattr(mix, name)) for name in _COUNTS},
            **{name: math.ceil(getattr(mix, name) * self.rehearsal) for name in _REPEATS.values()},
        )

    def thinned(self, source: str, mix: Mix) -> float:
        """What to keep of a source whose repeats were rounded up, or that has no counts."""
        if source not in _REPEATS:
            return 1.0
        wanted = getattr(mix, _REPEATS[source]) * self.rehearsal
        return float(wanted / math.ceil(wanted))


_COUNTS = ("relations_per_label", "unrelated", "qnli", "boolq", "topics", "names", "defaults", "details")
_REPEATS = {"snli": "snli_repeats", "captions": "captions_repeats"}


def training_examples(
    data: Path, prepared: Path, seed: int, amounts: Amounts | None = None, mix: Mix | None = None
) -> Iterator[Example | Rows]:
    """All examples of the mix, in those amounts."""
    drawn = _everything(data, prepared, seed, amounts or Amounts(), mix or Mix())
    return (example for example in drawn if example is not None)


Examples = Iterator[Example | Rows | None]


Facts = list[tuple[Project, list[Fact]]]


def facts_of_all(projects: Iterable[Project]) -> Facts:
    """The packages with enough facts, each with its facts."""
    return [(project, facts) for project in projects if len(facts := long_texts.facts_of(project)) >= 5]


def by_facts(able: Facts) -> list[float]:
    """What a package counts: the root of its facts, so that the largest does not crowd the others out."""
    return [len(facts) ** 0.5 for _, facts in able]


def long_examples(
    able: Facts, topics: Sequence[Topical], fillers: Sequence[str], scale: float, seed: str, *, apart: float = 1.0
) -> Examples:
    """Everything of `long_texts`; `scale` 1 is what a training gets, `apart` as in `Amounts`."""
    rng = seeded("long texts", seed)

    def times(count: int) -> range:
        return range(max(1, round(count * scale)))

    weights = by_facts(able)
    for project, facts in rng.choices(able, weights, k=len(times(16_000))):
        yield from long_texts.planted(project, rng.choice(facts), rng)
    for project, _ in rng.choices(able, weights, k=len(times(round(9_000 * apart)))):
        yield long_texts.same_project(project, rng, long=False)
    for project, _ in rng.choices(able, weights, k=len(times(5_000))):
        yield long_texts.same_project(project, rng, long=True)
    for project, _ in rng.choices(able, weights, k=len(times(3_000))):
        yield long_texts.siblings(project, rng)
    for project, _ in rng.choices(able, weights, k=len(times(7_000))):
        yield long_texts.same_module(project, rng)
    for project, _ in rng.choices(able, weights, k=len(times(4_000))):
        yield long_texts.code_and_prose(project, rng)
    by_names: dict[tuple[str, ...], list[Topical]] = defaultdict(list)
    for labelled in topics:
        by_names[labelled.names].append(labelled)
    many = [group for group in by_names.values() if len(group) >= 8]
    for _ in times(8_000):
        yield long_texts.long_topic(rng.choice(many), fillers, rng, repeated=rng.random() < 0.25)


class Subjects:
    """Where statements come from."""

    def __init__(self, able: Facts, said: Sequence[Sequence[str]]) -> None:
        """`said` holds the sentences of each encyclopaedia passage."""
        self._able, self._weights, self._said = able, by_facts(able), said

    def documented(self, rng: random.Random) -> Subject | None:
        """A subject whose statement nobody wrote for this project."""
        if rng.random() < 0.4:
            return encyclopaedia_subject(rng.choice(self._said), rng)
        project, facts = rng.choices(self._able, self._weights)[0]
        return documented_subject(project, rng.choice(facts), rng)

    def any(self, rng: random.Random) -> Subject | None:
        """A subject from anywhere: two thirds of the statements have wordings that no rule made."""
        place = rng.random()
        if place < 0.55:
            return written_subject(rng)
        return template_subject(rng) if place < 0.65 else self.documented(rng)

    def text(self, rng: random.Random) -> str:
        """Any text of a package: code, or what is said of it."""
        project, _ = rng.choices(self._able, self._weights)[0]
        item = rng.choice(project.items)
        return rng.choice((item.code[:700], item.docstring[:700], " ".join(item.said)))


def statement_examples(subjects: Subjects, scale: float, seed: str) -> Examples:
    """Everything of `restated`, `two_passages` and `paragraphs`; `scale` 1 is what a training on a GPU gets."""
    rng = seeded("statements", seed)
    for _ in range(round(9_000 * scale)):
        subject = subjects.any(rng)
        yield restated(subject.statement, rng) if subject else None
    for _ in range(round(2_500 * scale)):
        subject = subjects.any(rng)
        yield repeated(subject, rng) if subject else None
    for _ in range(round(6_000 * scale)):
        subject = subjects.any(rng)
        yield two_passages(subject, rng) if subject else None
    blocks = read_paragraphs()
    for _ in range(round(6_000 * scale)):
        yield paragraphs(blocks, rng)
    for _ in range(round(600 * scale)):
        yield unchanged(subjects.text(rng), rng)


def watching_conflicts(data: Path, prepared: Path, count: int) -> list[tuple[groups.Texts, bool]]:
    """About `count` pairs of texts from dev packages and passages, and whether the two contradict each other.

    Of every statement: two texts that say it, two that conflict, and both among other text on its subject.
    """
    rng = seeded("watching conflicts")
    able = facts_of_all(read_projects(prepared / "projects-dev.jsonl.gz"))
    subjects = Subjects(able, [said for _, said in passages(data, "dev")])
    found: list[tuple[groups.Texts, bool]] = []
    while len(found) < count:
        subject = subjects.documented(rng)
        passages_of = side_by_side(subject, rng) if subject else None
        if subject and passages_of:
            found += [(again(subject.statement, rng), False), (opposed(subject.statement, rng), True)]
            found += [(passages_of.peace, False), (passages_of.conflict, True)]
    return found


def _everything(data: Path, prepared: Path, seed: int, amounts: Amounts, whole: Mix) -> Examples:
    mix, thinning = amounts.basic(whole), seeded("thinning", seed)
    for example in basic_examples(data, prepared, mix, seed):
        yield example if thinning.random() < amounts.thinned(example.source, whole) else None
    uses = read_uses(prepared / "names.jsonl.gz")
    yield from name_examples(uses, mix.names, seed, mix.long_names)
    pairs = read_pairs(prepared / "train.jsonl.gz")
    yield from default_examples(list(find_defaults(pairs)), mix.defaults, seeded("defaults", seed))
    rng = seeded("pack", seed)
    for pair in rng.sample(pairs, min(amounts.times(9_000), len(pairs))):
        yield long_texts.directed(pair, rng)
    replaced, broader = breaking_nli(data).training, med(data).training
    for row in rng.sample(replaced, amounts.times(len(replaced))):
        yield rng.choice(list(nli_examples(row, rng, "breaking-nli")))
    for row in rng.sample(
        broader, amounts.times(len(broader))
    ):  # neutral there is whatever does not follow: no verdict of three
        yield next(iter(nli_examples(row, rng, "med")))
    sentences = [s for s in qnli_sentences(data, "train") if 6 <= len(s.split()) <= 45]
    fillers = rng.sample([s for s in sentences if not lexicon_hits(s)], 6_000)
    able = facts_of_all(read_projects(prepared / "projects-train.jsonl.gz"))
    topics = _with_general_others(read_topics(prepared / "topics.jsonl.gz"))
    yield from long_examples(able, topics, fillers, amounts.rehearsal, f"train {seed}", apart=amounts.apart)
    subjects = Subjects(able, [said for _, said in passages(data, "train")])
    yield from statement_examples(subjects, amounts.statements, f"train {seed}")
    for block in long_texts.read_notes():
        for _ in range(amounts.notes(120)):
            yield long_texts.notes_of_one_program(block, rng)
        for _ in range(amounts.notes(30)):
            yield long_texts.edited_note(block, rng)
    questions = read_qnli(data / "qnli-train.tsv.gz")
    for pair in rng.sample(questions, amounts.times(5_000)):
        yield long_texts.long_answer(pair.first, pair.second, pair.target > 0.5, fillers, rng)
    bodies = [passage for passage, _ in passages(data, "train")]
    for one in rng.sample(
        bodies, amounts.times(1_500)
    ):  # two passages as they are: nothing in common, and no contradiction
        other = rng.choice(bodies)
        yield long_texts.nothing_in_common(one[:900], other[:900], rng, "passages")


def dev_examples(data: Path, prepared: Path) -> Iterator[Example | Rows]:
    """What watches the training: dev packages, the pictures that watch, long texts of dev packages."""
    return (example for example in _everything_that_watches(data, prepared) if example is not None)


def _everything_that_watches(data: Path, prepared: Path) -> Examples:
    rng = seeded("dev")
    for pair in balance(read_pairs(prepared / "dev.jsonl.gz"), 100):
        yield relation_example(pair, rng, 3)
    for row in snli_training_rows(data, dev=True):
        yield from nli_examples(row, rng, "snli")
    topics = read_topics(prepared / "topics.jsonl.gz")
    for labelled in rng.sample(topics, 150):
        yield topic_example(labelled, rng, 5)
    sentences = [s for s in qnli_sentences(data, "dev") if 6 <= len(s.split()) <= 45]
    fillers = [s for s in sentences if not lexicon_hits(s)]
    able = facts_of_all(read_projects(prepared / "projects-dev.jsonl.gz"))
    yield from long_examples(able, topics, fillers, 0.03, "dev")
    for texts, conflict in watching_conflicts(data, prepared, 400):
        target = ENTAILED if conflict else NOT_ENTAILED
        hypothesis = RELATION_HYPOTHESES["contradiction"]
        yield Example(wordings.pair_premise(*texts), ((hypothesis, target),), "conflicts")


def _with_general_others(topics: Sequence[Topical]) -> list[Topical]:
    """Topics of software docs get general ones as wrong ones, too: what is about security is not about cooking."""
    general = ("sports", "food", "cooking", "history", "medicine", "music", "law", "religion", "politics", "astronomy",
               "weather", "animals", "fashion", "agriculture", "entertainment", "psychology", "travel")  # fmt: skip
    found = []
    for one in topics:
        software = "cooking" not in one.others and "cooking" not in one.names
        found.append(Topical(one.text, one.names, (*one.others, *general)) if software else one)
    return found
