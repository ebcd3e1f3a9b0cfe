"""Relations of long texts: by passages against the exhaustive reading. `python -m bench.relations --out FILE`

Two sets, on the models of the default configuration, in this process:

- *imports*: files of packages that no starter model was trained on. A file depends on the files that it imports. The
  passages are read with the files' paths and without; the exhaustive reading takes none.
- *planted*: a statement, and a long note that holds its contradiction, or does not.

For each reading: edges found, how many are right, and the tokens that the models read.
"""

import argparse
import ast
import asyncio
import importlib.metadata as metadata
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig
from trivet.dispatch.local import LocalDispatcher

PACKAGES = {"httpx": "BSD-3-Clause", "h11": "MIT", "click": "BSD-3-Clause"}
"""Held out of all training (`research/relations/packages.py`), with their licences. No text of theirs is committed."""
NOTES = Path("research/notes")
SEED = 18
READINGS = ("passages", "passages and paths", "exhaustive")


@dataclass(frozen=True, slots=True)
class Case:
    """A source, its candidates, and those of them that have the relation."""

    name: str
    source: str
    candidates: tuple[str, ...]
    relation: str
    right: frozenset[int]
    paths: tuple[str, ...] = ()
    """Of the source and of each candidate."""


def import_cases(package: str, count: int, candidates: int, most_characters: int) -> list[Case]:
    """Draw files of a package with as many others of it, half of them imported if there are so many."""
    folder = Path(str(metadata.distribution(package).locate_file(package)))
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))}
    texts = {name: text for name, text in texts.items() if 500 < len(text) <= most_characters}
    draw = random.Random(f"{SEED} {package}")
    cases = []
    for name in draw.sample(sorted(texts), min(count, len(texts))):
        imported = sorted(imports_of(texts[name]) & texts.keys() - {name})
        others = sorted(texts.keys() - set(imported) - {name})
        chosen = draw.sample(imported, min(len(imported), candidates // 2))
        chosen += draw.sample(others, min(len(others), candidates - len(chosen)))
        draw.shuffle(chosen)
        right = frozenset(index for index, other in enumerate(chosen) if other in imported)
        if right:
            paths = tuple(f"{package}/{one}.py" for one in (name, *chosen))
            others_texts = tuple(texts[other] for other in chosen)
            cases.append(Case(f"{package}/{name}", texts[name], others_texts, "dependency", right, paths))
    return cases


def imports_of(text: str) -> set[str]:
    """Return the last parts of the modules that a file imports, and of the names that it imports from packages."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names |= {(node.module or "").rpartition(".")[2], *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name.rpartition(".")[2] for alias in node.names}
    return names


def planted_cases(count: int) -> list[Case]:
    """Make long notes of statements on other subjects; every second one holds the contradiction of the source."""
    pairs = [line.split("|") for line in _lines(NOTES / "contradictions.txt")]
    filler = _lines(NOTES / "notes.txt")
    draw = random.Random(SEED)
    cases = []
    for number, (first, second) in enumerate(pairs[:count]):
        notes = draw.sample(filler, 60)
        if number % 2 == 0:
            notes.insert(draw.randrange(10, 50), second.strip())
        paragraphs = ["\n".join(notes[start : start + 6]) for start in range(0, len(notes), 6)]
        right = frozenset({0}) if number % 2 == 0 else frozenset()
        cases.append(Case(f"planted/{number}", first.strip(), ("\n\n".join(paragraphs),), "contradiction", right))
    return cases


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


async def read(client: httpx.AsyncClient, cases: list[Case], reading: str) -> dict[str, Any]:
    """Relate each case, and count."""
    found = right = wanted = tokens = refused = 0
    started_s = time.process_time()
    for case in cases:
        body = {"source": case.source, "candidates": case.candidates, "evidence": reading.split()[0], "top_k": 16}
        if reading.endswith("paths"):
            body |= {"source_path": case.paths[0], "candidate_paths": case.paths[1:]}
        answer = await client.post("/v1/relations", json=body, headers={"cache-control": "no-store"})
        wanted += len(case.right)
        if answer.status_code == 400:
            refused += 1
            continue
        answer.raise_for_status()
        edges = {edge["target_index"] for edge in answer.json()["edges"] if edge["relation"] == case.relation}
        found += len(edges)
        right += len(edges & case.right)
        tokens += answer.json()["usage"]["total_tokens"]
    return {
        "cases": len(cases), "refused": refused, "wanted": wanted, "found": found, "right": right,
        "precision": round(right / found, 3) if found else None, "recall": round(right / wanted, 3) if wanted else None,
        "tokens": tokens, "cpu_s": round(time.process_time() - started_s, 1),
    }  # fmt: skip


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run both readings over both sets."""
    config = AppConfig()
    sets = {
        "imports": [c for p in PACKAGES for c in import_cases(p, args.files, args.candidates, args.most_characters)],
        "planted": planted_cases(args.notes),
    }
    figures: dict[str, Any] = {"licences": PACKAGES, "seed": SEED, "arguments": vars(args) | {"out": None}}
    async with LocalDispatcher(config) as dispatcher:
        app = create_app(dispatcher, ApiSettings.from_config(config))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://trivet", timeout=None) as client:
            for name, cases in sets.items():
                readings = [one for one in READINGS if cases[0].paths or not one.endswith("paths")]
                figures[name] = {reading: await read(client, cases, reading) for reading in readings}
                print(json.dumps({name: figures[name]}), flush=True)
    return figures


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=4, help="sources per package")
    parser.add_argument("--candidates", type=int, default=6, help="per source")
    parser.add_argument("--most-characters", type=int, default=12_000, help="of a file")
    parser.add_argument("--notes", type=int, default=40, help="planted cases")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    figures = asyncio.run(measure(args))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
