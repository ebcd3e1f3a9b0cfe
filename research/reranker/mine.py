"""Prepare ranking groups for the reranker: `python -m research.reranker.mine --data research/data`.

Writes, beside the downloaded sets,
- `qnli-groups.jsonl.gz`: question → sentences of its paragraph, and for some questions one sentence from elsewhere;
- `boolq-groups.jsonl.gz`: question → passage;
- `code-groups.jsonl.gz`: query → function, from the standard library and installed permissive packages;
- `code-origins.json`: every package read, with version, licence and number of functions used.

Most negatives are documents that the base embedder wrongly ranks high. A candidate that is nearly the same as the right
document is not taken as a negative, because it may be a right answer too. Some negatives are random: with hard
negatives alone a model does not learn about texts on another subject. Every pair has the embedder's similarity as a
target for the training. It is the only target in groups without the right function, which have no label.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from research.reranker.functions import Function, Origin, documented_functions, permissive_packages, standard_library
from research.reranker.mined import MinedGroup, write_mined
from research.reranker.queries import query_from_name, query_from_summary, without_name
from research.training.datasets import by_first, read_boolq, read_cosqa, read_qnli
from research.training.embedding import Embedder
from research.training.runtime import seed_everything, tune_process

Embed = Callable[[list[str]], np.ndarray]
"""Texts to unit vectors.  # (N, D)"""

DOCUMENT_TOKENS = 160
NEIGHBOURS = 30
FALSE_NEGATIVE_COSINE = 0.8
"""Texts, or descriptions of functions, nearer than this are taken to mean the same."""


Form = Callable[[Function], str]
"""How much of a function a document shows."""


@dataclass(frozen=True, slots=True)
class QueryKind:
    """Queries made from one thing, over documents that withhold it."""

    share: float
    form: Form


def _undocumented(function: Function) -> str:
    return function.bare_code


def _whole(function: Function) -> str:
    return function.code


KINDS = {
    "summary→body": QueryKind(0.25, _undocumented),
    "name→documented": QueryKind(0.2, without_name),
    "summary→documented": QueryKind(0.1, _whole),
    "summary→others": QueryKind(0.45, _whole),
}
"""A query from a summary finds that summary again in a documented function, which no person's query does. So most of
these groups leave the function itself out, and hold its neighbours."""

SOURCES = ("qnli", "boolq", "code")


def main() -> None:
    args = _arguments()
    tune_process(threads=args.threads, niceness=args.nice)
    seed_everything(args.seed)
    rngs = {name: np.random.default_rng((args.seed, index)) for index, name in enumerate(SOURCES)}
    embed = Embedder(max_tokens=DOCUMENT_TOKENS)
    if "qnli" in args.sources:
        count = write_mined(args.data / "qnli-groups.jsonl.gz", qnli_groups(args, embed, rngs["qnli"]))
        print(f"qnli: {count:,} groups")
    if "boolq" in args.sources:
        count = write_mined(args.data / "boolq-groups.jsonl.gz", boolq_groups(args, embed, rngs["boolq"]))
        print(f"boolq: {count:,} groups")
    if "code" not in args.sources:
        return
    functions, origins = collect_functions(args, rngs["code"])
    count = write_mined(args.data / "code-groups.jsonl.gz", code_groups(functions, args, embed, rngs["code"]))
    print(f"code: {count:,} groups from {len(origins)} packages")
    (args.data / "code-origins.json").write_text(json.dumps(origins, indent=1) + "\n", encoding="utf-8")


def qnli_groups(args: argparse.Namespace, embed: Embed, rng: np.random.Generator) -> Iterable[MinedGroup]:
    """Each question with its annotated sentences; some with one more, as often near as drawn blindly."""
    rows = by_first(read_qnli(args.data / "qnli-train.tsv.gz"))
    sentences = list(dict.fromkeys(pair.second for pairs in rows for pair in pairs))
    position = {text: i for i, text in enumerate(sentences)}
    questions, vectors = embed([pairs[0].first for pairs in rows]), embed(sentences)
    for pairs, question in zip(rows, questions, strict=True):
        own = [position[pair.second] for pair in pairs]
        added: list[int] = []
        if rng.random() < args.added_share:
            found = _nearest(question, vectors) if rng.random() < 0.5 else rng.integers(len(sentences), size=8).tolist()
            others = [i for i in found if (vectors[own] @ vectors[i] < FALSE_NEGATIVE_COSINE).all()]
            added = [int(rng.choice(others[:10]))] if others else []
        documents = [*own, *added]
        yield MinedGroup(
            query=pairs[0].first,
            documents=[sentences[i] for i in documents],
            targets=[*(pair.target for pair in pairs), *(0.0 for _ in added)],
            similarities=_rounded(vectors[documents] @ question),
            added=len(added),
        )


def boolq_groups(args: argparse.Namespace, embed: Embed, rng: np.random.Generator) -> Iterable[MinedGroup]:
    """Each question with its passage and one wrong passage that the embedder likes."""
    rows = read_boolq(args.data / "boolq-dev.jsonl.gz")
    questions, passages = embed([q for q, _ in rows]), embed([p for _, p in rows])
    for index, (question, passage) in enumerate(rows[: args.boolq_groups]):
        near = _nearest(questions[index], passages)
        wrong = [i for i in near if rows[i][1] != passage and passages[i] @ passages[index] < FALSE_NEGATIVE_COSINE]
        if wrong:
            documents = [index, int(rng.choice(wrong[:8]))]
            yield MinedGroup(
                query=question,
                documents=[rows[i][1] for i in documents],
                targets=[1.0, 0.0],
                similarities=_rounded(passages[documents] @ questions[index]),
            )


def collect_functions(
    args: argparse.Namespace, rng: np.random.Generator
) -> tuple[list[Function], list[dict[str, str | int]]]:
    """A sample of functions, few enough per package that none sets the tone, none that an evaluation set holds."""
    origins: Iterable[Origin] = chain([standard_library()], permissive_packages(args.packages))
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
    functions: list[Function], args: argparse.Namespace, embed: Embed, rng: np.random.Generator
) -> Iterable[MinedGroup]:
    """Queries of four kinds, each over functions in the form that withholds what the query was made from.

    As in search, the candidates are those whose text the embedder puts near the query.
    """
    summaries = embed([f.summary for f in functions])
    drafts: dict[str, list[tuple[int, str]]] = {kind: [] for kind in KINDS}
    for index in rng.permutation(len(functions))[: args.code_groups].tolist():
        function = functions[index]
        kind = str(rng.choice(list(KINDS), p=[one.share for one in KINDS.values()]))
        query = query_from_name(function.name, rng) if kind == "name→documented" else ""
        if not query:
            kind = "summary→others" if kind == "name→documented" else kind
            query = query_from_summary(function.summary, rng)
        if len(query.split()) >= 2:
            drafts[kind].append((index, query))
    print({kind: len(found) for kind, found in drafts.items()})
    kept: dict[Form, tuple[list[str], np.ndarray]] = {}
    for kind, found in drafts.items():
        form = KINDS[kind].form
        if form not in kept:
            documents = [form(f) for f in functions]
            kept[form] = documents, embed(documents)
        documents, vectors = kept[form]
        for (index, query), vector in zip(found, embed([query for _, query in found]), strict=True):
            others = [i for i in _nearest(vector, vectors) if functions[i].name != functions[index].name]
            if kind == "summary→others":
                right, chosen = [], others
            else:
                right, chosen = [index], [i for i in others if summaries[i] @ summaries[index] < FALSE_NEGATIVE_COSINE]
            if len(chosen) < args.negatives:
                continue
            chosen = [*right, *rng.choice(chosen, size=args.negatives, replace=False).tolist()]
            if rng.random() < args.added_share:
                chosen.append(int(rng.integers(len(functions))))
            chosen = list(dict.fromkeys(chosen))
            yield MinedGroup(
                query=query,
                documents=[documents[i] for i in chosen],
                targets=[float(i == index) if right else math.nan for i in chosen],
                similarities=_rounded(vectors[chosen] @ vector),
            )


def _rounded(similarities: np.ndarray) -> list[float]:
    return [round(float(s), 4) for s in similarities]


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
    parser.add_argument("--data", type=Path, default=Path("research/data"), help="folder of the data sets")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--packages", type=Path, help="folder of more packages to read, beside the installed ones")
    parser.add_argument("--boolq-groups", type=int, default=1_000)
    parser.add_argument("--code-groups", type=int, default=16_000)
    parser.add_argument("--negatives", type=int, default=7, help="per function query")
    parser.add_argument("--added-share", type=float, default=0.25, help="share of the groups with a document added")
    parser.add_argument("--package-limit", type=int, default=150, help="functions taken from one package")
    parser.add_argument("--standard-library-limit", type=int, default=1_500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--seed", type=int, default=17)
    return parser.parse_args()


if __name__ == "__main__":
    main()
