"""Code pairs that differ in nothing but the names: `python -m research.classifier.names` (a CPU minute).

A caller stands beside a definition that it uses, and the same caller beside another definition of the same package that
it does not use. The form of both pairs is alike, so that only comparing the names can tell them apart. Where the two
are shown under one hypothesis, the softmax term of the loss compares exactly them. Texts are short: the base encoder
has to find one name in two texts, and few tokens beside it make that a clearer lesson and a cheaper one.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from research.classifier.data import ENTAILED, NOT_ENTAILED, Rows, one_liner, wording
from research.classifier.wordings import pair_premise
from research.relations.assemble import without_texts
from research.relations.code_pairs import _touch, overlap, sample
from research.relations.corpus import Corpus, read_corpus
from research.relations.edges import mentions
from research.relations.packages import packages
from research.relations.pairs import Pair, read_pairs, seeded
from research.relations.source import clip_lines
from research.training.batches import TextPair

PACKAGES = frozenset(
    ("accelerate", "cryptography", "huggingface-hub", "packaging", "pip", "python-stdlib", "rich", "scikit-learn",
     "setuptools", "urllib3")
)  # fmt: skip
"""Packages of the train split; a few with much code are enough for one short run."""
PER_PACKAGE = 900
_FEWEST_CHARS = 10
_LIMITS = (50, 70, 90, 120, 160, 220)
_LIMIT_WEIGHTS = (2, 3, 3, 3, 2, 1)
_LONG_LIMITS = (220, 300, 400, 560)
_LONG_WEIGHTS = (3, 3, 2, 2)


@dataclass(frozen=True, slots=True)
class Use:
    """A caller, what it uses under `name`, and definitions of the package with which it has nothing to do."""

    caller: tuple[str, ...]
    used: tuple[str, ...]
    name: str
    import_line: str
    others: tuple[tuple[str, tuple[str, ...]], ...]  # (name, lines)


@dataclass(frozen=True, slots=True)
class Contrast:
    """One caller in two premises: beside what it uses, and beside what it does not."""

    depends: str
    unrelated: str


def find_uses(corpus: Corpus, limit: int) -> Iterator[Use]:
    """At most `limit` uses of a package, each with the two other definitions: the most alike of some, and any."""
    linked = {(e.user.qualified, e.used.qualified) for e in corpus.edges}
    pool = corpus.definitions()
    by_kind = {kind: [d for d in pool if d.kind == kind] for kind in {d.kind for d in pool}}
    able = [e for e in corpus.edges if len(e.used.name) >= 3]
    for edge in sample(able, lambda e: f"name {e.user.qualified} {e.used.qualified}", limit):
        rng = seeded("name", edge.user.qualified, edge.used.qualified)
        alike = by_kind[edge.used.kind]
        others = [d for d in rng.sample(alike, min(10, len(alike))) if not _touch(edge.user, d, linked)]
        if others:
            near = max(others, key=lambda d: overlap(edge.user.code, d.code))
            chosen = tuple((d.name, d.lines) for d in (near, rng.choice(others)))
            yield Use(edge.user.lines, edge.used.lines, edge.spelled.split(".")[-1], edge.import_line, chosen)


def contrast(use: Use, rng: random.Random, *, long: bool = False) -> Contrast | None:
    """One way to show a use and its counterpart; None where the cut took the name out of sight."""
    caller = _show_caller(use, rng, long)
    used = _show_definition(use.used, rng, long)
    other_name, other_lines = rng.choice(use.others)
    other = _show_definition(other_lines, rng, long)
    name = use.name
    if rng.random() < 0.2:  # the very definition under another name: nothing but the name is left to compare
        other = _rename(used, name, other_name)
    if rng.random() < 0.2:  # a name that is new to caller and definition alike: the name itself must not matter
        renamed = f"{other_name}_"
        caller, used, name = _rename(caller, name, renamed), _rename(used, name, renamed), renamed
    sound = (
        mentions(caller, name)
        and mentions(used, name)
        and not mentions(other, name)
        and not mentions(caller, other_name)
        and min(map(len, (caller, used, other))) >= _FEWEST_CHARS
    )
    return Contrast(pair_premise(caller, used), pair_premise(caller, other)) if sound else None


# What a group shows: the same hypothesis of both premises, or two or three of one premise.
_FORMS = ("which depends", "which is unrelated", "what unrelated is", "what dependency is")
_FORM_WEIGHTS = (7, 4, 5, 4)


def name_examples(uses: list[Use], count: int, seed: int, long_share: float = 0.0) -> list[Rows]:
    """`count` groups, `long_share` of them in longer texts; a use comes again when all have had their turn."""
    rng = seeded("name examples", seed)
    found: list[Rows] = []
    while len(found) < count:
        shown = (contrast(use, rng, long=rng.random() < long_share) for use in rng.sample(uses, len(uses)))
        found.extend(_group(each, rng) for each in shown if each)
    return found[:count]


def _group(shown: Contrast, rng: random.Random) -> Rows:
    def rows(true: tuple[str, str], *false: tuple[str, str]) -> Rows:
        stated = [TextPair(premise, wording(label, rng), NOT_ENTAILED) for premise, label in false]
        return Rows((TextPair(true[0], wording(true[1], rng), ENTAILED), *stated), "names")

    depends, unrelated = shown.depends, shown.unrelated
    match rng.choices(_FORMS, _FORM_WEIGHTS)[0]:
        case "which depends":
            text = wording("dependency", rng)
            return Rows((TextPair(depends, text, ENTAILED), TextPair(unrelated, text, NOT_ENTAILED)), "names")
        case "which is unrelated":
            text = wording("unrelated", rng)
            return Rows((TextPair(unrelated, text, ENTAILED), TextPair(depends, text, NOT_ENTAILED)), "names")
        case "what unrelated is":
            wrong = "expansion" if rng.random() < 0.25 else "dependency"
            return rows((unrelated, "unrelated"), (unrelated, wrong))
        case _:
            wrong = "unrelated" if rng.random() < 0.35 else "expansion"
            return rows((depends, "dependency"), (depends, wrong))


def _show_caller(use: Use, rng: random.Random, long: bool) -> str:
    if use.import_line and rng.random() < 0.3:
        lines = [line.strip() for line in use.caller if mentions(line, use.name)][:2]
        return "\n".join((use.import_line, "", *lines))[:260]
    limit = _limit(rng, long)
    if not long and rng.random() < 0.4:
        return one_liner("\n".join(use.caller), use.name, rng)[: max(limit, 160)]
    return clip_lines(use.caller, limit, use.name)


def _show_definition(lines: tuple[str, ...], rng: random.Random, long: bool) -> str:
    limit = _limit(rng, long)
    if not long and rng.random() < 0.35:
        return one_liner("\n".join(lines), "", rng)[: max(limit, 120)]
    return clip_lines(lines, limit)


def _limit(rng: random.Random, long: bool) -> int:
    if long:
        return rng.choices(_LONG_LIMITS, _LONG_WEIGHTS)[0]
    return rng.choices(_LIMITS, _LIMIT_WEIGHTS)[0]


def _rename(code: str, name: str, to: str) -> str:
    return re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", lambda _: to, code)


def write_uses(path: Path, uses: list[Use]) -> None:
    """Gzip JSON lines, one use each, with no time stamp inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(asdict(use)) + "\n" for use in uses).encode(), mtime=0))


def read_uses(path: Path) -> list[Use]:
    """Read what `write_uses` wrote."""
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    return [
        Use(
            tuple(row["caller"]),
            tuple(row["used"]),
            row["name"],
            row["import_line"],
            tuple((name, tuple(lines)) for name, lines in row["others"]),
        )
        for row in rows
    ]


def _without_test_texts(uses: list[Use], test: list[Pair]) -> list[Use]:
    """Drop uses one of whose texts, shown whole, is a text of the test file."""
    kept = []
    for use in uses:
        texts = ["\n".join(lines) for lines in (use.caller, use.used, *(lines for _, lines in use.others))]
        pairs = [Pair("dependency", "name", texts[0], text, "", "") for text in texts[1:]]
        kept.append((use, pairs))
    sound = {pair.key for pair in without_texts([p for _, pairs in kept for p in pairs], test)}
    return [use for use, pairs in kept if all(pair.key in sound for pair in pairs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, default=Path("research/runs/classifier-data/names.jsonl.gz"))
    parser.add_argument("--benchmark", type=Path, default=Path("research/relations/test.jsonl.gz"))
    args = parser.parse_args()
    uses: list[Use] = []
    for package in packages("train"):
        if package.name in PACKAGES:
            uses.extend(find_uses(read_corpus(package), PER_PACKAGE))
            print(f"{package.source}: {len(uses):,} uses so far", flush=True)
    uses = _without_test_texts(uses, read_pairs(args.benchmark))
    write_uses(args.target, uses)
    print(f"{len(uses):,} uses")


if __name__ == "__main__":
    main()
