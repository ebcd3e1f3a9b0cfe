"""Put a split together: every rule of every source, no text on two sides, labels in balance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from research.relations.code_pairs import Maker, clip_lines
from research.relations.corpus import Corpus, read_corpus
from research.relations.packages import Package, packages
from research.relations.pairs import LABELS, MAX_CHARS, Label, Pair, Split, seeded, stable_fraction
from research.relations.prose_pairs import prose_pairs
from research.relations.source import Definition
from research.relations.templates import template_pairs


def collect(
    split: Split, data: Path, *, per_package: int, prose: int, templates: int, names: set[str] | None = None
) -> tuple[list[Pair], list[Package]]:
    """All candidate pairs of a split, duplicates dropped, with the packages they came from.

    `per_package`, `prose` and `templates` are the number of pairs a rule may yield of one package, of the prose
    sets and per label of the templates. `names` narrows the packages (for tests).
    """
    found: dict[str, Pair] = {}
    used: list[Package] = []
    earlier: list[Definition] = []
    for package in packages(split):
        if names is not None and package.name not in names:
            continue
        corpus = read_corpus(package)
        used.append(package)
        for pair in Maker(corpus, per_package).all():
            found.setdefault(pair.key, pair)
        for pair in across(corpus, earlier, per_package):
            found.setdefault(pair.key, pair)
        earlier.extend(_some(corpus))
    for pair in (*prose_pairs(data, split, prose), *template_pairs(split, templates)):
        found.setdefault(pair.key, pair)
    return [pair for pair in found.values() if is_sound(pair)], used


def _some(corpus: Corpus) -> list[Definition]:
    able = [d for d in corpus.definitions() if len(d.lines) >= 2 or d.kind == "constant"]
    return sorted(able, key=lambda d: stable_fraction(d.qualified))[:40]


def across(corpus: Corpus, earlier: list[Definition], limit: int) -> Iterator[Pair]:
    """Yield easy unrelated pairs of a definition of this package and one of an earlier package."""
    if not earlier:
        return
    rng = seeded("across", corpus.package.name)
    for definition in _some(corpus)[: max(limit // 3, 1)]:
        other = rng.choice(earlier)
        texts = [clip_lines(definition.lines, MAX_CHARS), clip_lines(other.lines, MAX_CHARS)]
        if definition.name == other.name:
            continue
        source = f"{corpus.package.source} / {other.module.split('.')[0]}"
        yield Pair("unrelated", "easy-code", texts[0], texts[1], source, corpus.package.licence)


def is_sound(pair: Pair) -> bool:
    """Whether a pair says enough to be judged: both texts there, not the same, mostly ASCII, within the limit."""
    first, second = pair.first.strip(), pair.second.strip()
    return (
        min(len(first), len(second)) >= 10
        and first != second
        and max(len(first), len(second)) <= MAX_CHARS
        and (first + second).count("�") == 0
        and sum(c.isascii() for c in first + second) >= 0.9 * len(first + second)
    )


def balance(pairs: Iterable[Pair], per_label: int) -> list[Pair]:
    """At most `per_label` of each label, taking kinds and sources in turn so that none of them crowds the rest out."""
    chosen: list[Pair] = []
    for label in LABELS:
        groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
        for pair in pairs:
            if pair.label == label:
                groups[pair.kind, pair.source].append(pair)
        chosen.extend(_in_turn(groups, per_label))
    return sorted(chosen, key=lambda p: p.key)


def _in_turn(groups: dict[tuple[str, str], list[Pair]], limit: int) -> list[Pair]:
    """Round-robin over kinds, and within a kind over sources."""
    kinds: dict[str, list[Pair]] = defaultdict(list)
    for (kind, _), members in sorted(groups.items()):
        for position, pair in enumerate(sorted(members, key=lambda p: stable_fraction(p.key))):
            kinds[kind].append((position, pair))  # type: ignore[arg-type]
    queues = [
        [p for _, p in sorted(k, key=lambda item: (item[0], item[1].key))][::-1] for _, k in sorted(kinds.items())
    ]  # type: ignore[misc]
    chosen: list[Pair] = []
    while len(chosen) < limit and any(queues):
        for queue in queues:
            if queue and len(chosen) < limit:
                chosen.append(queue.pop())
    return chosen


def without_texts(pairs: Iterable[Pair], other: Iterable[Pair]) -> list[Pair]:
    """Drop pairs that share a whole text with `other`: packages quote each other's documentation."""
    taken = {_normal(text) for pair in other for text in (pair.first, pair.second)}
    return [p for p in pairs if _normal(p.first) not in taken and _normal(p.second) not in taken]


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def counts(pairs: Iterable[Pair]) -> dict[Label, dict[str, int]]:
    """label → kind → number of pairs."""
    table: dict[Label, Counter[str]] = {label: Counter() for label in LABELS}
    for pair in pairs:
        table[pair.label][pair.kind] += 1
    return {label: dict(sorted(kinds.items())) for label, kinds in table.items()}
