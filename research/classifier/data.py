"""The classifier's training groups: what is shown, with which hypotheses, in which proportions.

A group is one premise with one true hypothesis and some false ones (target 0 = entailment, 1 = not_entailment), or a
single premise and hypothesis. Everything is drawn from the train split; seeded, so the same data gives the same groups.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from research.classifier import wordings
from research.classifier.captions import invent
from research.classifier.prepare import read_topics
from research.classifier.topics import Topical
from research.relations.hypotheses import RELATION_HYPOTHESES, SNLI_HYPOTHESES
from research.relations.pairs import LABELS, Pair, read_pairs, seeded, stable_fraction
from research.relations.prose_pairs import NliRow, passages, snli_rows
from research.relations.source import clip_lines
from research.training.batches import Group, PairTokenizer, TextPair

ENTAILED, NOT_ENTAILED = 0.0, 1.0
_DEFINED = re.compile(r"^\s*(?:async def|def|class)\s+(\w+)|^(\w+)\s*[:=]", re.M)

_PARAMETER = re.compile(r"(\w+)\s*(?::[^=,]*)?=")

_CODE_KINDS = frozenset(("easy-code", "hard-class", "hard-constant", "hard-function", "hard-import", "hard-method"))

_DETAIL_KINDS = frozenset(("signature-docstring", "summary-body"))

_DEFAULT_KINDS = frozenset(("default-expansion", "default-contradiction"))

_ONE_LINERS = frozenset(("uses-constant", "hard-constant", "uses-function", "hard-function"))

# How often each wrong relation is shown with a pair of the given one.
_CONFUSED: dict[str, dict[str, int]] = {
    "dependency": {"unrelated": 7, "expansion": 2, "contradiction": 1},
    "expansion": {"contradiction": 4, "unrelated": 4, "dependency": 2},
    "contradiction": {"expansion": 5, "unrelated": 4, "dependency": 1},
    "unrelated": {"dependency": 5, "expansion": 3, "contradiction": 2},
}


@dataclass(frozen=True, slots=True)
class Example:
    """One group before tokenising. The true hypothesis comes first where there are several."""

    premise: str
    hypotheses: tuple[tuple[str, float], ...]
    source: str

    @property
    def rows(self) -> tuple[TextPair, ...]:
        return tuple(TextPair(self.premise, text, target) for text, target in self.hypotheses)


@dataclass(frozen=True, slots=True)
class Rows:
    """A group whose rows need not share a premise: several pairs of texts under one hypothesis."""

    rows: tuple[TextPair, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Mix:
    """How many examples of each kind; the shares were set by trials on the dev split (README.md)."""

    relations_per_label: int = 7000
    unrelated: int = 6800
    """A good third of them are code beside code, the only ones that teach what dependency is not, beside `names`."""
    code_share: float = 0.5
    """Share of code beside code among the unrelated pairs."""
    snli_repeats: int = 8
    captions_repeats: int = 4
    qnli: int = 3000
    boolq: int = 1200
    topics: int = 4000
    all_relations: float = 0.25
    """Share of the relation pairs shown with all four hypotheses, as they are served, instead of two."""
    names: int = 12_000
    """Groups of code pairs that differ in nothing but the names (`research.classifier.names`)."""
    long_names: float = 0.5
    """Share of those whose texts are as long as the benchmark's."""
    defaults: int = 5000
    """Groups of a signature with the sentence that agrees and the one that does not (see `defaults`)."""
    details: int = 1500
    """Expansion pairs whose second text is prose, or whose first is: beside the above, what is not code beside code."""


def basic_examples(data: Path, prepared: Path, mix: Mix, seed: int = 0) -> list[Example]:
    """All short examples but names and defaults. `prepared` is the folder that `research.classifier.prepare` wrote."""
    rng = seeded("classifier data", seed)
    found: list[Example] = []
    pairs = read_pairs(prepared / "train.jsonl.gz")
    for label in LABELS:
        of_label = [pair for pair in pairs if pair.label == label]
        limit = mix.unrelated if label == "unrelated" else mix.relations_per_label
        found.extend(
            relation_example(pair, rng, 3 if rng.random() < mix.all_relations else 1)
            for pair in draw(of_label, limit, mix.code_share, rng)
        )
    rows = snli_training_rows(data)
    for _ in range(mix.snli_repeats):
        for row in rows:
            found.extend(nli_examples(row, rng, "snli"))
        found.extend(rng.choice(list(nli_examples(row, rng, "snli"))) for row in reversed_rows(rows))
    premises = sorted({row.premise for row in rows} | {row.hypothesis for row in rows})
    for _ in range(mix.captions_repeats):
        found.extend(rng.choice(list(nli_examples(row, rng, "captions"))) for row in invent(premises, rng))
    found.extend(_qnli(data, mix.qnli, rng))
    found.extend(_boolq(data, mix.boolq, rng))
    topics = read_topics(prepared / "topics.jsonl.gz")
    found.extend(topic_example(labelled, rng) for labelled in rng.sample(topics, min(mix.topics, len(topics))))
    details = [pair for pair in pairs if pair.kind in _DETAIL_KINDS]
    found.extend(detail_example(pair, rng) for pair in rng.sample(details, min(mix.details, len(details))))
    return found


def detail_example(pair: Pair, rng: random.Random) -> Example:
    """Make an example of an expansion between code and prose, as opposed to a dependency between code and code."""
    first, second = shorten(pair, rng)
    rows = ((wording("expansion", rng), ENTAILED), (wording("dependency", rng), NOT_ENTAILED))
    return Example(wordings.pair_premise(first, second), rows, "details")


def draw(pairs: list[Pair], limit: int, code_share: float, rng: random.Random) -> list[Pair]:
    """At most `limit` pairs; where they are of both forms, `code_share` of them code beside code."""
    code = [pair for pair in pairs if pair.kind in _CODE_KINDS]
    other = [pair for pair in pairs if pair.kind not in _CODE_KINDS]
    if not code or not other:
        return rng.sample(pairs, min(limit, len(pairs)))
    wanted = min(round(limit * code_share), len(code))
    return rng.sample(code, wanted) + rng.sample(other, min(limit - wanted, len(other)))


def snli_training_rows(data: Path, *, dev: bool = False) -> list[NliRow]:
    """SNLI rows to train on; a tenth of the pictures watches the training (the 300 rows held back are neither)."""
    return [row for row in snli_rows(data, held_back=False) if (stable_fraction(row.picture) < 0.1) == dev]


def relation_example(pair: Pair, rng: random.Random, negatives: int = 1) -> Example:
    """A pair with its relation as the true hypothesis and `negatives` of the other relations as false ones.

    By default one false hypothesis a pair, drawn in proportion to how easily the two are confused: for the tokens of
    all three, another pair can be shown instead. (Reasoned, not measured.)
    """
    first, second = shorten(pair, rng)
    likely = dict(_CONFUSED[pair.label])
    hypotheses = [(wording(pair.label, rng), ENTAILED)]
    for _ in range(negatives):
        (label,) = rng.choices(list(likely), list(likely.values()))
        del likely[label]
        hypotheses.append((wording(label, rng), NOT_ENTAILED))
    return Example(wordings.pair_premise(first, second), tuple(hypotheses), "relations")


def wording(label: str, rng: random.Random) -> str:
    """The served hypothesis of a relation, or a paraphrase of it."""
    if rng.random() < 0.65:
        return RELATION_HYPOTHESES[label]
    return rng.choice(wordings.RELATION_PARAPHRASES[label])


def shorten(pair: Pair, rng: random.Random) -> tuple[str, str]:
    """Cut both texts so that a pair fits the training length, keeping what the label rests on in view.

    Mostly short, sometimes long: the model must not learn that a relation has a length. Code is cut around a line, for
    dependency the one that uses the other text's name, for the rest a random one, so that the cut itself says nothing.
    """
    limit = rng.choice((120, 150, 180, 220, 260, 380))
    defined = _DEFINED.search(pair.second)
    name = next((g for g in defined.groups() if g), "") if defined else ""
    if pair.kind in _DEFAULT_KINDS:
        return pair.first, cut_signature(pair.second, pair.first, limit)
    if pair.kind in _ONE_LINERS and rng.random() < 0.35:
        return one_liner(pair.first, name, rng), _cut(pair.second, 150, "", rng)
    return _cut(pair.first, limit, name, rng), _cut(pair.second, limit, "", rng)


def cut_signature(code: str, said: str, limit: int) -> str:
    """A signature cut around the parameter that the sentence is about; whole where that is not found."""
    lines = tuple(code.splitlines())
    for line in lines:
        if any(re.search(rf"\b{name}\b", said) for name in _PARAMETER.findall(line)):
            return clip_lines(lines, max(limit, len(lines[0]) + len(line) + 12), line)
    return code


def one_liner(code: str, name: str, rng: random.Random) -> str:
    """A function as its head and one statement: the one that uses `name`, or any where none does."""
    head, *body = code.splitlines()
    statements = [line.strip() for line in body if line.strip() and not line.strip().startswith(("#", "..."))]
    if not head.rstrip().endswith(":") or not statements:
        return _cut(code, 200, name, rng)
    using = [line for line in statements if name and name in line]
    return f"{head.rstrip()} {rng.choice(using or statements)}"


def _cut(text: str, limit: int, around: str, rng: random.Random) -> str:
    if len(text) <= limit:
        return text
    lines = text.splitlines()
    if len(lines) >= 3:
        anchor = around if around and any(around in line for line in lines[1:]) else rng.choice(lines[1:])
        return clip_lines(tuple(lines), limit, anchor if around else "")
    return text[: limit + 60].rsplit(None, 1)[0]


def reversed_rows(rows: Sequence[NliRow]) -> Iterator[NliRow]:
    """Rows whose label is known with the texts exchanged: a conflict stays one, and what was entailed leaves open."""
    for row in rows:
        if row.label == "contradiction":
            yield NliRow(row.picture, row.hypothesis, row.premise, "contradiction")
        elif row.label == "entailment" and len(row.premise) > 1.5 * len(row.hypothesis):
            yield NliRow(row.picture, row.hypothesis, row.premise, "neutral")


def nli_examples(row: NliRow, rng: random.Random, source: str) -> Iterator[Example]:
    """An annotated row in its two forms: as premise and hypothesis, and as a pair with the three verdicts."""
    entailed = ENTAILED if row.label == "entailment" else NOT_ENTAILED
    yield Example(row.premise, ((row.hypothesis, entailed),), source)
    true, *false = [row.label, *(label for label in SNLI_HYPOTHESES if label != row.label)]
    hypotheses = [(_verdict(true, rng), ENTAILED), *((_verdict(label, rng), NOT_ENTAILED) for label in false)]
    yield Example(wordings.pair_premise(row.premise, row.hypothesis), tuple(hypotheses), source)


def _verdict(label: str, rng: random.Random) -> str:
    if rng.random() < 0.7:
        return SNLI_HYPOTHESES[label]
    return rng.choice(wordings.SNLI_PARAPHRASES[label])


def topic_example(labelled: Topical, rng: random.Random, negatives: int = 2) -> Example:
    """A text with its topic and other topics, all in one template."""
    template = rng.choice(wordings.TOPIC_TEMPLATES)
    wrong = rng.sample(labelled.others, min(negatives, len(labelled.others)))
    hypotheses = [(template.format(rng.choice(labelled.names)), ENTAILED)]
    hypotheses += [(template.format(name), NOT_ENTAILED) for name in wrong]
    return Example(labelled.text, tuple(hypotheses), "topics")


def _qnli(data: Path, limit: int, rng: random.Random) -> Iterator[Example]:
    lines = gzip.decompress((data / "qnli-train.tsv.gz").read_bytes()).decode().splitlines()[1:]
    rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    for _, question, sentence, label in rng.sample(rows, min(limit, len(rows))):
        hypothesis = rng.choice(wordings.ANSWER_TEMPLATES).format(question)
        yield Example(sentence[:300], ((hypothesis, ENTAILED if label == "entailment" else NOT_ENTAILED),), "qnli")


def _boolq(data: Path, limit: int, rng: random.Random) -> Iterator[Example]:
    """Passage and verdict on a yes/no question; only passages of the benchmark's train split."""
    allowed = {passage for passage, _ in passages(data, "train")}
    rows = [
        json.loads(line) for line in gzip.decompress((data / "boolq-dev.jsonl.gz").read_bytes()).decode().splitlines()
    ]
    kept = [
        (p, row)
        for row in rows
        if (p := " ".join(row["passage"].replace("``", '"').replace("''", '"').split())) in allowed
    ]
    for passage, row in rng.sample(kept, min(limit, len(kept))):
        true = rng.choice(wordings.YES_NO_TEMPLATES[row["answer"]]).format(row["question"])
        false = rng.choice(wordings.YES_NO_TEMPLATES[not row["answer"]]).format(row["question"])
        yield Example(passage[:500], ((true, ENTAILED), (false, NOT_ENTAILED)), "boolq")


def to_groups(examples: Sequence[Example | Rows], tokenizer: PairTokenizer) -> list[Group]:
    """Tokenise; a group's sequences keep the order of its rows."""
    rows = [e.rows for e in examples]
    encoded = iter(tokenizer.encode([row for group in rows for row in group]))
    return [Group(tuple(next(encoded) for _ in group), e.source) for group, e in zip(rows, examples, strict=True)]
