"""Evaluation sets on what is said again and what is contradicted, in sentences and in passages. Pure but for reading.

Sentences of this project's documentation beside themselves; pairs that say the same (`notes/restatements.txt`); and
the contradictions of `notes/contradictions.txt` planted in passages of notes. Nothing here is trained on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from research.relations.docs import prose_sentences
from research.relations.pairs import seeded, stable_fraction

HERE = Path(__file__).parent
NOTES = HERE / "notes" / "notes.txt"
CONTRADICTIONS = HERE / "notes" / "contradictions.txt"
RESTATEMENTS = HERE / "notes" / "restatements.txt"
STATEMENTS = HERE / "notes" / "statements.txt"
"""Held back of those in `classifier/statements.txt`, whose form they have."""
PARAGRAPHS = HERE / "notes" / "paragraphs.txt"
"""Held back of those in `classifier/paragraphs.txt`."""
DOCS = Path("docs")
DOCS_SENTENCES = 190
PASSAGE_TOKENS = 200

Texts = tuple[str, str]
CountTokens = Callable[[str], int]


def blocks_of(path: Path) -> list[list[str]]:
    """Lines of a file, divided at blank lines; comments dropped."""
    text = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return [block.splitlines() for block in re.split(r"\n\s*\n", text.strip())]


def docs_sentences(folder: Path = DOCS, limit: int = DOCS_SENTENCES) -> list[str]:
    """Sentences of the documentation's running text, drawn by a hash; lists, tables and code are left out."""
    found: set[str] = set()
    for path in sorted(folder.glob("*.md")):
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
        for block in re.split(r"\n\s*\n", text):
            if not re.search(r"^\s*([#|>!]|[-*] |\d+\. )", block, flags=re.M):
                found |= {s for s in prose_sentences(block) if 6 <= len(s.split()) <= 40 and s.endswith(".")}
    return sorted(found, key=lambda s: stable_fraction(f"docs {s}"))[:limit]


def restatements() -> tuple[list[Texts], list[Texts]]:
    """Pairs in other words, and pairs that are equal but for trifles."""
    reworded, equal = (
        [(first.strip(), second.strip()) for first, second in (line.split(" | ") for line in block)]
        for block in blocks_of(RESTATEMENTS)
    )
    return reworded, equal


def contradicting_pairs() -> list[Texts]:
    lines = [line for block in blocks_of(CONTRADICTIONS) for line in block]
    return [(first.strip(), second.strip()) for first, second in (line.split("|") for line in lines)]


@dataclass(frozen=True, slots=True)
class Planted:
    """A statement and its contradiction, each among other notes; and the same texts without the contradiction."""

    statement: str
    around: str
    """A passage that holds the statement."""
    contradicting: str
    """A passage that holds its contradiction."""
    without: str
    """The same passage with neither."""
    repeating: str
    """The same passage with the statement itself instead."""


def planted(count: CountTokens, length_tokens: int = PASSAGE_TOKENS) -> list[Planted]:
    """Each contradiction of the notes in passages of about so many tokens, in part notes on the same program."""
    return [_planted(first, second, count, length_tokens) for first, second in contradicting_pairs()]


def _planted(first: str, second: str, count: CountTokens, length_tokens: int) -> Planted:
    rng = seeded("planted", first)
    blocks = blocks_of(NOTES)
    taken = {text for pair in contradicting_pairs() for text in pair}
    own = [note for block in blocks if first in block for note in block if note != first]
    others = [note for block in blocks if first not in block for note in block if note not in taken]
    rng.shuffle(own)
    rng.shuffle(others)
    room = length_tokens - count(first)
    # No note is on both sides.
    one, other = (_filled([*own[side::2], *others[side::2]], room, count) for side in (0, 1))
    rng.shuffle(one)
    rng.shuffle(other)
    place = rng.randrange(len(other) + 1)

    def holding(sentence: str) -> str:
        return _text([*other[:place], sentence, *other[place:]])

    return Planted(first, _inserted(one, first, rng), holding(second), _text(other), holding(first))


def _inserted(notes: Sequence[str], sentence: str, rng: random.Random) -> str:
    place = rng.randrange(len(notes) + 1)
    return _text([*notes[:place], sentence, *notes[place:]])


def _filled(notes: Sequence[str], room_tokens: int, count: CountTokens) -> list[str]:
    chosen: list[str] = []
    for note in notes:
        room_tokens -= count(note)
        if room_tokens < 0:
            break
        chosen.append(note)
    return chosen


def _text(notes: Sequence[str]) -> str:
    return "\n".join(notes)
