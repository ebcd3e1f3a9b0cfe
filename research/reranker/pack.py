"""Pack the reranker's queries and documents: `python -m research.reranker.pack --data DIR --out DIR`.

Neither negatives nor similarities are made here: `research.reranker.on_card` embeds everything on the device and finds
each query's neighbours there. Queries of a corpus meet documents of the same corpus only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from research.classifier.projects import Project, read_projects
from research.reranker.functions import Function
from research.reranker.mine import collect_functions
from research.reranker.queries import query_from_name, query_from_summary, without_name
from research.reranker.train import HELD_BACK_GROUPS, HELD_BACK_SEED
from research.training.datasets import by_first, read_boolq, read_qnli
from research.training.packed import CLS_PIECE, SEP_PIECE, ragged, write_arrays
from research.training.pieces import PiecePacker

QUERY_TOKENS = 48
DOCUMENT_TOKENS = 224
OWN_UNKNOWN = -1


@dataclass(slots=True)
class Draft:
    """A corpus in the making."""

    documents: dict[str, int] = field(default_factory=dict)
    """Text → position."""
    queries: list[tuple[str, dict[int, float], int]] = field(default_factory=list)
    """Query, what is known of documents (1 right, 0 wrong), the document it was made from."""
    held_back: list[int] = field(default_factory=list)
    """Queries that no training sees."""

    def add(self, document: str) -> int:
        return self.documents.setdefault(document, len(self.documents))

    def ask(self, query: str, known: dict[int, float], own: int = OWN_UNKNOWN) -> None:
        if len(query.split()) >= 2:
            self.queries.append((query, known, own))


def held_back_positions(queries: int) -> list[int]:
    """At most 500 and at most a twentieth, drawn as `research.reranker.train` draws them.

    Of QNLI they are the questions that no training of the shipped reranker has seen.
    """
    count = min(HELD_BACK_GROUPS, queries // 20)
    return np.random.default_rng(HELD_BACK_SEED).permutation(queries)[:count].tolist()


def qnli_corpus(data: Path) -> Draft:
    """Each question with its annotated sentences."""
    draft = Draft()
    groups = by_first(read_qnli(data / "qnli-train.tsv.gz"))
    held_back = set(held_back_positions(len(groups)))
    for number, rows in enumerate(groups):
        if number in held_back:
            draft.held_back.append(len(draft.queries))
        known = {draft.add(row.second): row.target for row in rows[:3]}
        right = [document for document, target in known.items() if target == 1.0]
        draft.ask(rows[0].first, known, right[0] if right else OWN_UNKNOWN)
    return draft


def boolq_corpus(data: Path) -> Draft:
    draft = Draft()
    for question, passage in read_boolq(data / "boolq-dev.jsonl.gz"):
        own = draft.add(passage)
        draft.ask(question, {own: 1.0}, own)
    return draft


ABOUT = ("{}", "{}", "what is {}", "explain {}", "documentation of {}", "how does {} work")


def sections_corpus(projects: Iterable[Project], rng: np.random.Generator) -> Draft:
    """A README's heading asks for its section, a docstring's first sentence for the rest of it."""
    draft = Draft()
    for project in projects:
        package = project.name.split("==")[0]
        for heading, body in project.sections:
            own = draft.add(body)
            asked = str(rng.choice(ABOUT)).format(heading.lower().strip(".:"))
            draft.ask(f"{asked} {package}" if rng.random() < 0.4 else asked, {own: 1.0}, own)
        for item in project.items:
            rest = item.docstring.partition(item.said[0])[2].strip(" .\n")
            if len(rest.split()) >= 20:
                own = draft.add(rest)
                draft.ask(query_from_summary(item.said[0], rng), {own: 1.0}, own)
    return draft


def code_corpora(functions: Sequence[Function], rng: np.random.Generator) -> dict[str, Draft]:
    """Functions in three forms, each asked for by what that form withholds; in the whole form by other functions'."""
    bare, whole, unnamed = Draft(), Draft(), Draft()
    for function in functions:
        asked = query_from_summary(function.summary, rng)
        own = bare.add(function.bare_code)
        bare.ask(asked, {own: 1.0}, own)
        # A documented function holds the very sentence that the query was made from: it stays out of its groups.
        own = whole.add(function.code)
        whole.ask(query_from_summary(function.summary, rng), {}, own)
        own = unnamed.add(without_name(function))
        unnamed.ask(query_from_name(function.name, rng), {own: 1.0}, own)
    return {"code-bare": bare, "code-whole": whole, "code-unnamed": unnamed}


def mixed_corpus(drafts: Sequence[Draft], per_draft: int, rng: np.random.Generator) -> Draft:
    """Queries of all corpora over passages of all of them."""
    mixed = Draft()
    for draft in drafts:
        documents = list(draft.documents)
        answered = [q for q in draft.queries if 1.0 in q[1].values()]
        for position in rng.permutation(len(answered))[:per_draft].tolist():
            query, known, own = answered[position]
            moved = {d: mixed.add(documents[d]) for d in known}
            mixed.ask(query, {moved[d]: target for d, target in known.items()}, moved.get(own, OWN_UNKNOWN))
    return mixed


def pack(drafts: dict[str, Draft], packer: PiecePacker) -> dict[str, np.ndarray]:
    """Arrays of the corpora, in their order."""
    for draft in drafts.values():
        packer.learn([*draft.documents, *(query for query, _, _ in draft.queries)])
    documents, queries, given, targets, own, held_back = [], [], [], [], [], []
    document_starts, query_starts = [0], [0]
    for draft in drafts.values():
        first = document_starts[-1]
        documents += [[*packer.pieces(text, DOCUMENT_TOKENS), SEP_PIECE] for text in draft.documents]
        queries += [[CLS_PIECE, *packer.pieces(query, QUERY_TOKENS), SEP_PIECE] for query, _, _ in draft.queries]
        given += [[first + d for d in known] for _, known, _ in draft.queries]
        targets += [target for _, known, _ in draft.queries for target in known.values()]
        own += [first + d if d >= 0 else d for _, _, d in draft.queries]
        held_back += [query_starts[-1] + q for q in draft.held_back or held_back_positions(len(draft.queries))]
        document_starts.append(len(documents))
        query_starts.append(len(queries))
    pool = packer.pool()
    packed_queries, packed_documents, packed_given = ragged(queries), ragged(documents), ragged(given)
    for name, draft in drafts.items():
        print(f"{name:14s} {len(draft.queries):8,} queries {len(draft.documents):8,} documents")
    print(f"{int(pool.lengths.sum()):,} tokens stored, "
          f"{int(pool.lengths[packed_documents.values].sum()):,} in documents", flush=True)  # fmt: skip
    return {
        "pool_ids": pool.ids,
        "pool_starts": pool.starts,
        "query_values": packed_queries.values,
        "query_starts": packed_queries.starts,
        "document_values": packed_documents.values,
        "document_starts": packed_documents.starts,
        "given_documents": packed_given.values,
        "given_starts": packed_given.starts,
        "given_targets": np.array(targets, dtype=np.float16),
        "own": np.array(own, dtype=np.int32),
        "held_back": np.array(held_back, dtype=np.int32),
        "corpus_names": np.array(list(drafts)),
        "corpus_query_starts": np.array(query_starts, dtype=np.int64),
        "corpus_document_starts": np.array(document_starts, dtype=np.int64),
    }


def lines_of(text: str) -> list[str]:
    """A document's lines: two forms of one function share most of them."""
    return text.split("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("research/data"))
    parser.add_argument("--prepared", type=Path, default=Path("research/runs/classifier-data"))
    parser.add_argument("--packages", type=Path, help="folder of more packages to read, beside the installed ones")
    parser.add_argument("--package-limit", type=int, default=700, help="functions taken from one package")
    parser.add_argument("--standard-library-limit", type=int, default=3_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=41)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    functions, origins = collect_functions(args, rng)
    print(f"{len(functions):,} functions of {len(origins)} packages", flush=True)
    projects = [p for split in ("train", "dev") for p in read_projects(args.prepared / f"projects-{split}.jsonl.gz")]
    qnli, boolq, sections = qnli_corpus(args.data), boolq_corpus(args.data), sections_corpus(projects, rng)
    code = code_corpora(functions, rng)
    mixed = mixed_corpus([qnli, boolq, sections, code["code-bare"]], 3_000, rng)
    drafts = {"qnli": qnli, "boolq": boolq, "sections": sections, **code, "mixed": mixed}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "code-origins.json").write_text(json.dumps(origins, indent=1) + "\n", encoding="utf-8")
    path = args.out / "reranker.xz"
    write_arrays(path, pack(drafts, PiecePacker(lines_of)))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
