"""Paragraphs on one subject: the same said again, the same but for one point that conflicts, and another aspect.

Pages of one documentation say many things twice, in other words and with other details. Rules cannot reword a whole
paragraph, so these were written for this project (`paragraphs.txt`). What says the same and what conflicts share a
hypothesis, as in `two_passages`; some stand among paragraphs on something else. Another aspect of the subject is
unrelated here, as notes on different parts of one program are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from research.classifier import groups
from research.classifier.data import Example, Rows
from research.classifier.long_texts import JOINT
from research.relations.docs import prose_sentences

SOURCE = "paragraphs"
WRITTEN = Path(__file__).parent / "paragraphs.txt"
_LETTERS = ("A", "S", "C", "O")


@dataclass(frozen=True, slots=True)
class Paragraphs:
    """Four paragraphs on one subject."""

    text: str
    again: str
    """Says the main points of `text` in other words, with a detail more."""
    conflict: str
    """Says them, too, but for one point that cannot be true beside `text`."""
    other: str
    """Says other things, with numbers, limits and negations of its own."""


def read_paragraphs(path: Path = WRITTEN) -> list[Paragraphs]:
    """Read blocks of four lines, each of which begins with its letter. Raises ValueError for other blocks."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip()):
        letters, texts = zip(*(line.split(": ", 1) for line in block.splitlines()), strict=True)
        if letters != _LETTERS:
            raise ValueError(f"{path.name}: a block has the lines {', '.join(letters)}: {block[:60]}")
        found.append(Paragraphs(*texts))
    return found


def paragraphs(blocks: Sequence[Paragraphs], rng: random.Random) -> Example | Rows:
    """One way to show a block: its conflict, the same said again, or another aspect."""
    one, beside = rng.sample(blocks, 2)
    longer = rng.random() < 0.35
    around = rng.sample((beside.text, beside.other), 2)

    def laid_out(second: str, *, turned: bool) -> groups.Texts:
        texts = [one.text, second]
        if longer:  # both among something else, which itself does not conflict
            texts = [JOINT.join(rng.sample((text, extra), 2)) for text, extra in zip(texts, around, strict=True)]
        return (texts[1], texts[0]) if turned else (texts[0], texts[1])

    turned = rng.random() < 0.5
    match rng.randrange(12):
        case 0 | 1 | 2 | 3:
            peace = rng.choice((one.again, one.again, one.other))
            pairs = [laid_out(second, turned=turned) for second in (one.conflict, peace)]
            return groups.which("contradiction", pairs[0], pairs[1], rng, SOURCE)
        case 4 | 5:
            false = rng.sample(("unrelated", "expansion"), rng.choice((1, 2)))
            return groups.relation(laid_out(one.conflict, turned=turned), "contradiction", false, rng, SOURCE)
        case 6 | 7:
            false = ["contradiction", "unrelated"][: rng.choice((1, 2))]
            return groups.relation(laid_out(one.again, turned=False), "expansion", false, rng, SOURCE)
        case 8:  # which one of the two says more than the other is not known
            return groups.no_relation(laid_out(one.again, turned=True), "contradiction", rng, SOURCE)
        case 9:
            return groups.relation(laid_out(one.other, turned=turned), "unrelated", ["contradiction"], rng, SOURCE)
        case 10:
            texts, verdict = rng.choice(((one.conflict, "contradiction"), (one.other, "neutral")))
            return groups.verdicts(laid_out(texts, turned=turned), verdict, rng, SOURCE)
        case _:
            sentence = rng.choice(prose_sentences(one.text) or [one.text])
            texts = (sentence, rng.choice((one.again, one.other)))
            return groups.no_relation(texts[::-1] if turned else texts, "contradiction", rng, SOURCE)
