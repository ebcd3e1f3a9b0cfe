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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.relations.assemble import balance
from bench.relations.hypotheses import RELATION_HYPOTHESES, SNLI_HYPOTHESES
from bench.relations.pairs import LABELS, Pair, read_pairs, seeded, stable_fraction
from bench.relations.prose_pairs import NliRow, passages, snli_rows
from bench.relations.source import clip_lines
from training import classifier_wordings as wordings
from training.batches import Group, PairTokenizer, TextPair
from training.classifier_captions import invent
from training.classifier_prepare import read_topics
from training.classifier_topics import Topical

ENTAILED, NOT_ENTAILED = 0.0, 1.0
_DEFINED = re.compile(r"^\s*(?:async def|def|class)\s+(\w+)|^(\w+)\s*[:=]", re.M)


@dataclass(frozen=True, slots=True)
class Example:
    """One group before tokenising. The true hypothesis comes first where there are several."""

    premise: str
    hypotheses: tuple[tuple[str, float], ...]
    source: str


@dataclass(frozen=True, slots=True)
class Mix:
    """How many examples of each kind; the shares were set by trials on the dev split (CLASSIFIER.md)."""

    relations_per_label: int = 3000
    relation_repeats: int = 1
    snli_repeats: int = 4
    captions_repeats: int = 3
    qnli: int = 3000
    boolq: int = 1500
    topics: int = 6000


def training_examples(data: Path, prepared: Path, mix: Mix, seed: int = 0) -> list[Example]:
    """All examples of the mix, in no order that matters. `prepared` is the folder `classifier_prepare` wrote."""
    rng = seeded("classifier data", seed)
    found: list[Example] = []
    chosen = balance(read_pairs(prepared / "train.jsonl.gz"), mix.relations_per_label)
    for _ in range(mix.relation_repeats):
        found.extend(relation_example(pair, rng) for pair in chosen)
    rows = snli_training_rows(data)
    for _ in range(mix.snli_repeats):
        for row in rows:
            found.extend(nli_examples(row, rng, "snli"))
    premises = sorted({row.premise for row in rows} | {row.hypothesis for row in rows})
    for _ in range(mix.captions_repeats):
        found.extend(rng.choice(list(nli_examples(row, rng, "captions"))) for row in invent(premises, rng))
    found.extend(_qnli(data, mix.qnli, rng))
    found.extend(_boolq(data, mix.boolq, rng))
    topics = read_topics(prepared / "topics.jsonl.gz")
    found.extend(topic_example(labelled, rng) for labelled in rng.sample(topics, min(mix.topics, len(topics))))
    return found


def snli_training_rows(data: Path, *, dev: bool = False) -> list[NliRow]:
    """SNLI rows to train on; a tenth of the pictures watches the training (the 300 rows held back are neither)."""
    return [row for row in snli_rows(data, held_back=False) if (stable_fraction(row.picture) < 0.1) == dev]


def relation_example(pair: Pair, rng: random.Random, negatives: int = 1) -> Example:
    """A pair with its relation as the true hypothesis and `negatives` of the other relations as false ones."""
    first, second = shorten(pair, rng)
    others = rng.sample([label for label in LABELS if label != pair.label], negatives)
    hypotheses = [(_wording(pair.label, rng), ENTAILED), *((_wording(label, rng), NOT_ENTAILED) for label in others)]
    return Example(wordings.pair_premise(first, second), tuple(hypotheses), "relations")


def _wording(label: str, rng: random.Random) -> str:
    if rng.random() < 0.65:
        return RELATION_HYPOTHESES[label]
    return rng.choice(wordings.RELATION_PARAPHRASES[label])


def shorten(pair: Pair, rng: random.Random) -> tuple[str, str]:
    """Cut both texts so that a pair fits the training length, keeping what the label rests on in view.

    Mostly short, sometimes long: the model must not learn that a relation has a length. Code is cut around a line, for
    dependency the one that uses the other text's name, for the rest a random one, so that the cut itself says nothing.
    """
    limit = rng.choice((160, 200, 240, 280, 400))
    defined = _DEFINED.search(pair.second)
    name = next((g for g in defined.groups() if g), "") if defined else ""
    return _cut(pair.first, limit, name, rng), _cut(pair.second, limit, "", rng)


def _cut(text: str, limit: int, around: str, rng: random.Random) -> str:
    if len(text) <= limit:
        return text
    lines = text.splitlines()
    if len(lines) >= 3:
        anchor = around if around and any(around in line for line in lines[1:]) else rng.choice(lines[1:])
        return clip_lines(tuple(lines), limit, anchor if around else "")
    return text[: limit + 60].rsplit(None, 1)[0]


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


def to_groups(examples: list[Example], tokenizer: PairTokenizer) -> list[Group]:
    """Tokenise; a group's sequences keep the order of its hypotheses."""
    flat = [TextPair(e.premise, text, target) for e in examples for text, target in e.hypotheses]
    encoded = iter(tokenizer.encode(flat))
    return [Group(tuple(next(encoded) for _ in e.hypotheses), e.source) for e in examples]
