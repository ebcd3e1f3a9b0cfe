"""What the documentation of a package says, by module: the raw material of long texts and of notes.

`python -m research.classifier.projects` reads the installed packages of the train and dev splits (two CPU minutes) and
writes one line per package; nothing of it is committed.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from research.relations.corpus import Corpus, read_corpus
from research.relations.docs import prose_sentences, readme_sections, unmark
from research.relations.packages import packages
from research.relations.pairs import Split, read_pairs, stable_fraction
from research.relations.source import clip_lines

ITEMS_PER_PACKAGE = 600
CODE_CHARS = 1_600


@dataclass(frozen=True, slots=True)
class Item:
    """A documented definition."""

    module: str
    name: str
    said: tuple[str, ...]
    """Sentences of its docstring's running prose."""
    docstring: str
    code: str


@dataclass(frozen=True, slots=True)
class Project:
    """A package: its items, its README's sections, and which of its modules use each other."""

    name: str
    items: tuple[Item, ...]
    sections: tuple[tuple[str, str], ...]
    linked: frozenset[tuple[str, str]]

    def apart(self, one: Item, other: Item) -> bool:
        """Whether two items are about different parts: other modules, which do not use each other."""
        return (
            one.module != other.module
            and (one.module, other.module) not in self.linked
            and (other.module, one.module) not in self.linked
            and one.name.lower() not in other.docstring.lower()
            and other.name.lower() not in one.docstring.lower()
        )


def read_project(corpus: Corpus, taken: frozenset[str]) -> Project:
    """`taken` holds texts, in lower case, that must not be trained on."""
    items = []
    for definition in corpus.definitions():
        said = tuple(
            s for s in prose_sentences(definition.docstring) if 5 <= len(s.split()) <= 40 and s.lower() not in taken
        )
        if said and definition.kind != "constant" and not definition.name.startswith("__"):
            code = clip_lines(definition.lines, CODE_CHARS)
            items.append(Item(definition.module, definition.name, said, unmark(definition.docstring)[:1_600], code))
    items.sort(key=lambda item: stable_fraction(f"item {item.module}.{item.name}"))
    linked = {(edge.user.module, edge.used.module) for edge in corpus.edges}
    sections = [(heading, body[:2_000]) for heading, body in readme_sections(corpus.package.description)]
    return Project(corpus.package.source, tuple(items[:ITEMS_PER_PACKAGE]), tuple(sections), frozenset(linked))


def write_projects(path: Path, split: Split, benchmark: Path) -> int:
    """Write the projects of a split; returns how many."""
    taken = frozenset(text.lower() for pair in read_pairs(benchmark) for text in (pair.first, pair.second))
    count = 0
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for package in packages(split):
            project = read_project(read_corpus(package), taken)
            file.write(json.dumps({**asdict(project), "linked": sorted(project.linked)}) + "\n")
            count += 1
    return count


def read_projects(path: Path) -> Iterator[Project]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            items = tuple(Item(**{**item, "said": tuple(item["said"])}) for item in row["items"])
            sections = tuple((heading, body) for heading, body in row["sections"])
            yield Project(row["name"], items, sections, frozenset((a, b) for a, b in row["linked"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, default=Path("research/runs/classifier-data"))
    parser.add_argument("--benchmark", type=Path, default=Path("research/relations/test.jsonl.gz"))
    args = parser.parse_args()
    for split in ("train", "dev"):
        count = write_projects(args.target / f"projects-{split}.jsonl.gz", split, args.benchmark)  # type: ignore[arg-type]
        print(f"{split}: {count} projects", flush=True)


if __name__ == "__main__":
    main()
