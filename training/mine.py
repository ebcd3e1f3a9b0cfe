"""Prepare ranking groups with hard negatives: `python -m training.mine --data training/data`.

Writes, beside the downloaded sets,
- `code-groups.jsonl.gz`: query → function, from the standard library and installed permissive packages;
- `boolq-groups.jsonl.gz`: question → passage;
- `code-origins.json`: every package read, with version, licence and number of functions used.

Negatives are what the base embedder ranks high and is wrong about. A candidate is not taken as a negative when its own
description is nearly the query's, because then it may well be a right answer.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from training.datasets import read_boolq, read_cosqa
from training.embedding import Embedder
from training.functions import Function, Origin, documented_functions, permissive_packages, standard_library
from training.mined import write_mined
from training.queries import query_from_name, query_from_summary, without_name
from training.runtime import seed_everything, tune_process

DOCUMENT_TOKENS = 96
NEIGHBOURS = 30
FALSE_NEGATIVE_COSINE = 0.8
"""Descriptions nearer than this are taken to mean the same."""


def main() -> None:
    args = _arguments()
    tune_process(threads=args.threads, niceness=args.nice)
    seed_everything(args.seed)
    rng = np.random.default_rng(args.seed)
    embed = Embedder(max_tokens=DOCUMENT_TOKENS)
    if "boolq" in args.sources:
        count = write_mined(args.data / "boolq-groups.jsonl.gz", boolq_groups(args, embed, rng))
        print(f"boolq: {count:,} groups")
    if "code" not in args.sources:
        return
    functions, origins = collect_functions(args, rng)
    count = write_mined(args.data / "code-groups.jsonl.gz", code_groups(functions, args, embed, rng))
    print(f"code: {count:,} groups from {len(origins)} packages")
    (args.data / "code-origins.json").write_text(json.dumps(origins, indent=1) + "\n", encoding="utf-8")


def boolq_groups(
    args: argparse.Namespace, embed: Embedder, rng: np.random.Generator
) -> Iterable[tuple[str, str, list[str]]]:
    """Each question with its passage and one wrong passage that the embedder likes."""
    rows = read_boolq(args.data / "boolq-dev.jsonl.gz")
    questions, passages = embed([q for q, _ in rows]), embed([p for _, p in rows])
    for index, (question, passage) in enumerate(rows[: args.boolq_groups]):
        near = _nearest(questions[index], passages)
        wrong = [i for i in near if rows[i][1] != passage and passages[i] @ passages[index] < FALSE_NEGATIVE_COSINE]
        if wrong:
            yield question, passage, [rows[int(rng.choice(wrong[:8]))][1]]


def collect_functions(
    args: argparse.Namespace, rng: np.random.Generator
) -> tuple[list[Function], list[dict[str, str | int]]]:
    """A sample of functions, few enough per package that none sets the tone, none that an evaluation set holds."""
    origins: Iterable[Origin] = chain([standard_library()], permissive_packages())
    held_out = _evaluation_functions(args.data)
    seen: set[str] = set()
    functions: list[Function] = []
    report: list[dict[str, str | int]] = []
    for origin in origins:
        limit = args.standard_library_limit if origin.name == "python" else args.package_limit
        kept: list[Function] = []
        for path in rng.permutation(np.array(origin.files, dtype=object)):  # whole files, in random order
            for function in documented_functions(path, origin.name):
                keys = {_normalised(function.bare_code), _normalised(function.summary)}
                if not keys & seen and _normalised(function.code) not in held_out:
                    seen |= keys
                    kept.append(function)
            if len(kept) >= limit:
                break
        kept = kept[:limit]
        functions += kept
        if kept:
            report.append(
                {"name": origin.name, "version": origin.version, "licence": origin.licence, "functions": len(kept)}
            )
    return functions, report


def code_groups(
    functions: list[Function], args: argparse.Namespace, embed: Embedder, rng: np.random.Generator
) -> Iterable[tuple[str, str, list[str]]]:
    """Queries of three kinds, each with the document form that withholds what the query was made from."""
    # Functions are compared by what they say they do: a tenth of the tokens of their code, and less noise.
    summaries = embed([f.summary for f in functions])
    chosen = rng.permutation(len(functions))[: args.code_groups]
    kinds = Counter[str]()
    drafts: list[tuple[int, str, str]] = []
    for index in chosen.tolist():
        function = functions[index]
        kind = str(rng.choice(("summary→body", "name→documented", "summary→documented"), p=(0.35, 0.3, 0.35)))
        query = query_from_name(function.name, rng) if kind == "name→documented" else ""
        if not query:
            kind = "summary→documented" if kind == "name→documented" else kind
            query = query_from_summary(function.summary, rng)
        if len(query.split()) >= 2:
            drafts.append((index, query, kind))
            kinds[kind] += 1
    print(dict(kinds))
    queries = embed([query for _, query, _ in drafts])
    for (index, query, kind), vector in zip(drafts, queries, strict=True):
        wrong = [
            i
            for i in _nearest(vector, summaries)
            if functions[i].name != functions[index].name and summaries[i] @ summaries[index] < FALSE_NEGATIVE_COSINE
        ]
        if len(wrong) >= args.negatives:
            picked = rng.choice(wrong[:15], size=min(args.negatives, len(wrong)), replace=False)
            yield query, _document(functions[index], kind), [_document(functions[int(i)], kind) for i in picked]


def _document(function: Function, kind: str) -> str:
    match kind:
        case "summary→body":
            return function.bare_code
        case "name→documented":
            return without_name(function)
        case _:
            return function.code


def _nearest(query: np.ndarray, documents: np.ndarray) -> list[int]:
    """Indices of the `NEIGHBOURS` nearest documents, nearest first."""
    similarity = documents @ query  # (N,)
    top = np.argpartition(-similarity, NEIGHBOURS)[:NEIGHBOURS]
    return top[np.argsort(-similarity[top])].tolist()


def _evaluation_functions(data: Path) -> set[str]:
    """Functions that CoSQA evaluates on, so that training never meets them. Nothing else is read from it."""
    _, functions = read_cosqa(data / "cosqa-retrieval-dev.json.gz", data / "cosqa-code-idx.txt.gz")
    return {_normalised(code) for code in functions}


def _normalised(code: str) -> str:
    return "".join(code.split()).lower()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("training/data"), help="folder of the data sets")
    parser.add_argument("--sources", nargs="+", choices=("boolq", "code"), default=["boolq", "code"])
    parser.add_argument("--boolq-groups", type=int, default=2_000)
    parser.add_argument("--code-groups", type=int, default=5_000)
    parser.add_argument("--negatives", type=int, default=2, help="per function query")
    parser.add_argument("--package-limit", type=int, default=160, help="functions taken from one package")
    parser.add_argument("--standard-library-limit", type=int, default=2_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--seed", type=int, default=17)
    return parser.parse_args()


if __name__ == "__main__":
    main()
