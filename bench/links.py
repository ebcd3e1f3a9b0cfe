"""How right links by import are: `python -m bench.links FOLDER PART…`, such as `. trivet deployments`.

Each Python file stands beside up to twelve others of its part, half of which it imports if it imports so many. The
judge is the syntax tree. A link to a file that a package of the imports exports counts as right, too.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.graph import imports_in
from trivet.passages.estimate import PASSAGE_TOKENS
from trivet.relations.division import Document, divide
from trivet.relations.links import links

SEED = 18
OTHERS = 12


def groups(imports: set[tuple[str, str]], files: Sequence[str], seed: int) -> Iterable[tuple[str, list[str]]]:
    """Return each file with the others that it stands beside."""
    imported: dict[str, list[str]] = defaultdict(list)
    for source, target in sorted(imports):
        imported[source].append(target)
    chance = random.Random(seed)
    for file in files:
        near = chance.sample(imported[file], min(OTHERS // 2, len(imported[file])))
        rest = [other for other in files if other != file and other not in near]
        yield file, near + chance.sample(rest, min(OTHERS - len(near), len(rest)))


def exported(imports: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return (file, file whose names it imports from a package)."""
    targets: dict[str, set[str]] = defaultdict(set)
    for source, target in imports:
        targets[source].add(target)
    return {
        (source, target)
        for source, package in imports
        if package.endswith("__init__.py")
        for target in targets[package]
        if target != source
    }


def judge(folder: Path, part: str, *, paths: bool) -> dict[str, int]:
    """Count links by import, right ones, imports beside their file, and imports that were found."""
    files = [file.relative_to(folder).as_posix() for file in sorted((folder / part).rglob("*.py"))]
    texts = {file: (folder / file).read_text(encoding="utf-8") for file in files}
    files = [file for file in files if texts[file].strip()]
    imports = {(source, target) for source, target in imports_in(folder, part) if texts[target].strip()}
    right = imports | exported(imports)
    documents = {file: Document(texts[file], file if paths else None) for file in files}
    excerpts = {file: divide(document, PASSAGE_TOKENS) for file, document in documents.items()}
    counts = {"links": 0, "right": 0, "imports": 0, "found": 0}
    for file, others in groups(imports, files, SEED):
        beside = [file, *others]
        found = links([documents[name] for name in beside], [excerpts[name] for name in beside])
        claimed = {(file, beside[link.target]) for link in found if link.source == 0 and link.imported}
        wanted = {(file, other) for other in others} & imports
        counts["links"] += len(claimed)
        counts["right"] += len(claimed & right)
        counts["imports"] += len(wanted)
        counts["found"] += len(claimed & wanted)
    return counts


def total(of_parts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Add up the counts."""
    summed = {name: sum(counts[name] for counts in of_parts.values()) for name in next(iter(of_parts.values()))}
    return {
        **summed,
        "precision": round(summed["right"] / max(1, summed["links"]), 4),
        "recall": round(summed["found"] / max(1, summed["imports"]), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder whose paths are the modules' names")
    parser.add_argument("parts", nargs="+", help="folders in it, each a world of its own")
    args = parser.parse_args()
    for paths in (False, True):
        of_parts = {part: judge(args.folder, part, paths=paths) for part in args.parts}
        print(json.dumps({"paths": paths, **of_parts, "all": total(of_parts)}, indent=1), flush=True)


if __name__ == "__main__":
    main()
