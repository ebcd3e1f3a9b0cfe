"""What a graph of a folder costs, and how right it is. `python -m bench.graph FOLDER --out FILE --sample FILE`

Runs the starter models in this process, and counts the tokens that each of them reads. `--graph FILE` judges a file of
`trivet graph -o FILE.json` instead. Two judges:

- imports of Python files, by their syntax trees: precision and recall of the dependencies between them;
- a reader: a seeded sample of edges with both passages, to be marked right or wrong one by one.
"""

import argparse
import ast
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trivet.api.settings import ApiSettings
from trivet.config import AppConfig
from trivet.dispatch.blending import BlendingDispatcher
from trivet.dispatch.local import LocalDispatcher
from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.folders.documents import Document as FolderDocument
from trivet.folders.documents import read_folder
from trivet.messages import Request, ResultT
from trivet.passages.estimate import passage_tokens
from trivet.relations.claims import Claim
from trivet.relations.division import Document, Excerpt
from trivet.relations.graph import GraphEdge, GraphRun
from trivet.relations.query import GraphQuery

SEED = 18
SHOWN_CHARACTERS = 700


class TokenCounter:
    """A dispatcher that counts the tokens and the inputs of each model."""

    def __init__(self, inner: Dispatcher) -> None:
        self.tokens: Counter[str] = Counter()
        self.inputs: Counter[str] = Counter()
        self._inner = inner

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        """Forward a request."""
        routed = await self._inner.call(request)
        self.tokens[request.task] += routed.result.usage.tokens
        self.inputs[request.task] += len(routed.result.usage.input_tokens)
        return routed


async def measure(folder: Path) -> dict[str, Any]:
    """Compute the graph of a folder as the server does by default, without a cache."""
    config = AppConfig()
    settings = ApiSettings.from_config(config)
    documents = [one for one in read_folder(folder, data=False) if isinstance(one, FolderDocument)]
    async with LocalDispatcher(config) as local:
        counter = TokenCounter(local)
        dispatcher = counter if settings.blend is None else BlendingDispatcher(counter, settings.blend)
        query = GraphQuery(
            relations=settings.relations,
            no_relation=settings.no_relation,
            symmetric=frozenset(settings.symmetric_relations),
            threshold=settings.threshold,
            min_relevance=settings.min_relevance,
            passage_tokens=passage_tokens(await local.models(), settings.passage_tokens),
            link_relation=settings.link_relation,
            clear_unrelated=settings.clear_unrelated,
        )
        run = GraphRun(dispatcher, [Document(one.text, one.path) for one in documents], query)
        started_s, started_cpu_s = time.monotonic(), time.process_time()
        edges = [event async for event in run.events() if isinstance(event, GraphEdge)]
    paths = [one.path for one in documents]
    return {
        "documents": len(documents),
        "characters": sum(len(one.text) for one in documents),
        "passages": run.counts.passages,
        "pairs_classified": run.counts.pairs_classified,
        "pairs_reranked": run.counts.pairs_reranked,
        "tokens": dict(counter.tokens) | {"all": counter.tokens.total()},
        "inputs": dict(counter.inputs),
        "seconds": round(time.monotonic() - started_s, 1),
        "cpu_s": round(time.process_time() - started_cpu_s, 1),
        "edges": [_edge(edge, paths) for edge in edges],
    }


def _edge(edge: GraphEdge, paths: list[str]) -> dict[str, Any]:
    about = {"relation": edge.relation, "directed": edge.directed, "confidence": edge.confidence}
    evidence = [_evidence(claim) for claim in edge.evidence]
    return {"source": paths[edge.source], "target": paths[edge.target], **about, "evidence": evidence}


def _evidence(claim: Claim) -> dict[str, Any]:
    return {"source": _span(claim.source), "target": _span(claim.target), "relevance": claim.relevance}


def _span(excerpt: Excerpt) -> dict[str, Any]:
    return {"start_line": excerpt.start_line, "end_line": excerpt.end_line, "text": excerpt.text}


def imports_in(folder: Path, part: str = "") -> set[tuple[str, str]]:
    """Return (file, imported file) of all Python files of a folder, or of a part of it.

    The paths within the folder are the modules' names.
    """
    files = sorted((folder / part).rglob("*.py"))
    modules = {".".join(_module(file.relative_to(folder))): file.relative_to(folder).as_posix() for file in files}
    found: set[tuple[str, str]] = set()
    for file in files:
        relative = file.relative_to(folder)
        path, package = relative.as_posix(), relative.parent.parts
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = _names(node, package)
            found |= {(path, modules[name]) for name in names if name in modules and modules[name] != path}
    return found


def _module(path: Path) -> tuple[str, ...]:
    parts = path.with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def _names(node: ast.AST, package: tuple[str, ...]) -> Iterable[str]:
    """Return the modules that a statement in a file of this package may import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        module = ".".join((*above, *([node.module] if node.module else [])))
        return [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return []


def judged_by_imports(edges: Iterable[Mapping[str, Any]], imports: set[tuple[str, str]]) -> dict[str, Any]:
    """Compare the dependencies between Python files with the imports."""
    claimed = {
        (edge["source"], edge["target"])
        for edge in edges
        if edge["relation"] == "dependency" and edge["source"].endswith(".py") and edge["target"].endswith(".py")
    }
    right = len(claimed & imports)
    return {
        "dependencies": len(claimed),
        "imports": len(imports),
        "right": right,
        "precision": round(right / len(claimed), 3) if claimed else None,
        "recall": round(right / len(imports), 3) if imports else None,
    }


def sample(edges: list[dict[str, Any]], imports: set[tuple[str, str]], count: int, seed: int) -> str:
    """Return `count` edges to read, each with its passages; dependencies that are imports are marked."""
    drawn = random.Random(seed).sample(edges, min(count, len(edges)))
    return "\n".join(_to_read(number, edge, imports) for number, edge in enumerate(drawn, start=1))


def _to_read(number: int, edge: dict[str, Any], imports: set[tuple[str, str]]) -> str:
    proved = edge["relation"] == "dependency" and (edge["source"], edge["target"]) in imports
    head = f"[{number}] {edge['relation']} {edge['confidence']:.2f}  {edge['source']} -> {edge['target']}"
    if proved:
        return f"{head}  (an import)\n"
    evidence = edge["evidence"][0]
    sides = [
        f"  {side} {evidence[side]['start_line']}-{evidence[side]['end_line']}:\n"
        + "\n".join(f"    | {line}" for line in evidence[side]["text"][:SHOWN_CHARACTERS].splitlines())
        for side in ("source", "target")
    ]
    return "\n".join([head, *sides, ""])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--graph", type=Path, help="judge this file of `trivet graph` instead of computing one")
    parser.add_argument("--out", type=Path, help="write the graph here")
    parser.add_argument("--sample", type=Path, help="write edges to read here")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    graph = json.loads(args.graph.read_text()) if args.graph else asyncio.run(measure(args.folder))
    edges, imports = graph["edges"], imports_in(args.folder)
    figures = {name: value for name, value in graph.items() if name not in ("edges", "documents") or args.graph is None}
    figures["edges"] = dict(Counter(edge["relation"] for edge in edges).most_common())
    print(json.dumps(figures | {"by imports": judged_by_imports(edges, imports)}, indent=1))
    if args.out:
        args.out.write_text(json.dumps(graph) + "\n", encoding="utf-8")
    if args.sample:
        args.sample.write_text(sample(edges, imports, args.count, args.seed), encoding="utf-8")


if __name__ == "__main__":
    main()
