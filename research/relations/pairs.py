"""The record every part of the benchmark speaks: one labelled pair of texts.

Nothing here reads files of other packages or knows how a pair was found.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Label = Literal["dependency", "expansion", "contradiction", "unrelated"]
Split = Literal["train", "dev", "test"]

LABELS: tuple[Label, ...] = ("dependency", "expansion", "contradiction", "unrelated")
MAX_CHARS = 600  # two texts of code then fit a 512-token encoder beside a hypothesis


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts and the relation from the first to the second.

    `kind` names the rule that produced the label, `source` where the texts come from (`name==version` for a
    package), `licence` the licence of that source.
    """

    label: Label
    kind: str
    first: str
    second: str
    source: str
    licence: str

    @property
    def key(self) -> str:
        """A stable 12-digit id from the texts alone: equal texts collide on purpose."""
        return hashlib.sha256(f"{self.first}\0{self.second}".encode()).hexdigest()[:12]


def seeded(*parts: object) -> random.Random:
    """A generator seeded by what it is for, so that adding one source does not reshuffle the others."""
    return random.Random(hashlib.sha256("\0".join(map(str, parts)).encode()).digest())


def stable_fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text only: splits and samples use it instead of file order."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write gzip JSON lines with no time stamp inside: the same pairs give the same bytes."""
    lines = "".join(json.dumps({"id": p.key, **asdict(p)}, ensure_ascii=False) + "\n" for p in pairs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines.encode(), compresslevel=9, mtime=0))


def read_pairs(path: Path) -> list[Pair]:
    """Read what `write_pairs` wrote; an id that does not match its texts is an error."""
    pairs = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        row = json.loads(line)
        expected = row.pop("id")
        pair = Pair(**row)
        if pair.key != expected:
            raise ValueError(f"{path}: row {expected} was edited: its texts hash to {pair.key}")
        pairs.append(pair)
    return pairs
