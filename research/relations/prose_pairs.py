"""Pairs over general prose: encyclopaedia passages (BoolQ), captions (SNLI) and sentences (QNLI).

Rows are split by their text (passages, sentences) or by the picture they describe (captions), never by pair, so that
a test text is not seen in training under another partner.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from research.relations.code_pairs import clip, overlap
from research.relations.docs import sentences
from research.relations.edits import contradict, restate
from research.relations.pairs import Pair, Split, seeded, stable_fraction

BOOLQ = ("boolq-dev.jsonl.gz", "BoolQ", "CC-BY-SA-3.0")
SNLI = ("snli-part-a.jsonl.gz", "SNLI", "CC-BY-SA-4.0")
QNLI_TRAIN = ("qnli-train.tsv.gz", "QNLI", "CC-BY-SA-4.0")
QNLI_DEV = ("qnli-dev.tsv.gz", "QNLI", "CC-BY-SA-4.0")
SNLI_HELD_BACK = 300


@dataclass(frozen=True, slots=True)
class NliRow:
    """One SNLI row with its majority label."""

    picture: str
    premise: str
    hypothesis: str
    label: str  # entailment | neutral | contradiction


def snli_rows(folder: Path, *, held_back: bool) -> list[NliRow]:
    """The 300 rows kept for evaluation, or the others.

    Whole pictures are held back (in a seeded order, until 300 rows are full): the three hypotheses written for one
    caption would otherwise put the same premise on both sides.
    """
    by_picture: dict[str, list[NliRow]] = defaultdict(list)
    for line in gzip.decompress((folder / SNLI[0]).read_bytes()).decode().splitlines():
        row = json.loads(line)
        if row["gold_label"] != "-":
            picture = row["captionID"].split("#")[0]
            by_picture[picture].append(
                NliRow(picture, row["sentence1"].strip(), row["sentence2"].strip(), row["gold_label"])
            )
    pictures = sorted(by_picture)
    seeded("snli held back").shuffle(pictures)
    held: list[NliRow] = []
    rest: list[NliRow] = []
    for picture in pictures:
        (held if len(held) < SNLI_HELD_BACK else rest).extend(by_picture[picture])
    return held[:SNLI_HELD_BACK] if held_back else rest


def passages(folder: Path, split: Split) -> list[tuple[str, list[str]]]:
    """(passage, its sentences) of BoolQ: 80 % train, 5 % dev, 15 % test by the passage's own text."""
    found: dict[str, list[str]] = {}
    for line in gzip.decompress((folder / BOOLQ[0]).read_bytes()).decode().splitlines():
        passage = " ".join(json.loads(line)["passage"].replace("``", '"').replace("''", '"').split())
        # Passages of one article share their opening: the opening decides the split.
        if text_split(passage[:60]) == split:
            found[passage] = sentences(passage)
    return sorted(found.items())


def text_split(text: str) -> Split:
    fraction = stable_fraction("prose " + text)
    return "train" if fraction < 0.80 else "dev" if fraction < 0.85 else "test"


def qnli_sentences(folder: Path, split: Split) -> list[str]:
    """Distinct QNLI sentences: of its dev file for dev and test (halves by text), of its train file for training."""
    name = QNLI_TRAIN[0] if split == "train" else QNLI_DEV[0]
    rows = gzip.decompress((folder / name).read_bytes()).decode().splitlines()[1:]
    found = {row[2].strip() for row in csv.reader(rows, delimiter="\t", quoting=csv.QUOTE_NONE) if len(row) == 4}
    if split != "train":
        found = {s for s in found if (stable_fraction(s) < 0.2) == (split == "dev")}
    return sorted(found)


def prose_pairs(folder: Path, split: Split, limit: int) -> Iterator[Pair]:
    """About `limit` pairs of each kind."""
    yield from _leads(folder, split, limit)
    yield from _edited(folder, split, limit)
    yield from _unrelated_paragraphs(folder, split, limit)
    yield from _captions(folder, split, limit)


def _leads(folder: Path, split: Split, limit: int) -> Iterator[Pair]:
    """A passage's first sentence against the rest of it, and the first two in other words with the rest."""
    rows = [(p, s) for p, s in passages(folder, split) if len(s) >= 3 and 6 <= len(s[0].split()) <= 45]
    for passage, said in sorted(rows, key=lambda r: stable_fraction("lead " + r[0]))[:limit]:
        rng = seeded("lead", passage)
        if rng.random() < 0.6:
            yield Pair("expansion", "passage-lead", clip(said[0]), clip(" ".join(said[1:])), *BOOLQ[1:])
        else:
            yield Pair(
                "expansion", "restated-passage", clip(said[0]), clip(restate(" ".join(said[:3]), rng)), *BOOLQ[1:]
            )


def _edited(folder: Path, split: Split, limit: int) -> Iterator[Pair]:
    """A sentence against its opposite, from QNLI's sentences."""
    made = 0
    for sentence in sorted(qnli_sentences(folder, split), key=lambda s: stable_fraction("edit " + s)):
        rng = seeded("edit", sentence)
        if edits := contradict(sentence, rng):
            edit = rng.choice(edits)
            first, second = (sentence, edit.text) if rng.random() < 0.5 else (edit.text, sentence)
            yield Pair("contradiction", f"edit-{edit.rule}", clip(restate(first, rng)), clip(second), *QNLI_TRAIN[1:])
            made += 1
        if made == limit:
            return


def _unrelated_paragraphs(folder: Path, split: Split, limit: int) -> Iterator[Pair]:
    """Two passages, two parts of passages or two sentences that come from different texts."""
    found = passages(folder, split)
    said = qnli_sentences(folder, split)
    rng = seeded("unrelated prose", split)
    for number in range(limit):
        (one, one_said), (other, other_said) = rng.sample(found, 2)
        if overlap(one, other) > 0.2:  # two passages of one article
            continue
        match number % 4:
            case 0:
                yield Pair("unrelated", "easy-passages", clip(one), clip(other), *BOOLQ[1:])
            case 1:
                yield Pair(
                    "unrelated",
                    "easy-lead-body",
                    clip(one_said[0]),
                    clip(" ".join(other_said[1:]) or other),
                    *BOOLQ[1:],
                )
            case 2:
                yield Pair("unrelated", "easy-sentences", *(clip(s) for s in rng.sample(said, 2)), *QNLI_TRAIN[1:])
            case _:
                yield Pair(
                    "unrelated", "easy-leads", clip(" ".join(one_said[:2])), clip(" ".join(other_said[:2])), *BOOLQ[1:]
                )


def _captions(folder: Path, split: Split, limit: int) -> Iterator[Pair]:
    """Captions: contradictions as annotated; an entailed sentence against the fuller caption is an expansion."""
    rows = snli_rows(folder, held_back=split == "test")
    if split != "test":
        rows = [r for r in rows if (stable_fraction(r.picture) < 0.1) == (split == "dev")]
    rng = seeded("captions", split)
    of_label = defaultdict(list)
    for row in rows:
        of_label[row.label].append(row)
    for row in of_label["contradiction"][:limit]:
        yield Pair("contradiction", "snli", row.premise, row.hypothesis, *SNLI[1:])
    for row in of_label["entailment"][:limit]:
        if len(row.premise) > len(row.hypothesis) * 1.3:
            yield Pair("expansion", "snli", row.hypothesis, row.premise, *SNLI[1:])
    pictures = [rng.choice(group) for group in _by_picture(rows)]
    for _ in range(min(limit, len(rows) // 4)):
        one, other = rng.sample(pictures, 2)
        if overlap(one.premise, other.premise) < 0.15:
            # Of the other picture only its full caption: a short hypothesis may well contradict by chance.
            yield Pair("unrelated", "snli", one.premise, other.premise, *SNLI[1:])


def _by_picture(rows: list[NliRow]) -> list[list[NliRow]]:
    groups: dict[str, list[NliRow]] = defaultdict(list)
    for row in rows:
        groups[row.picture].append(row)
    return [groups[picture] for picture in sorted(groups)]
