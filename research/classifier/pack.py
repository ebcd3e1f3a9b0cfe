"""Pack the classifier's examples as token arrays: `python -m research.classifier.pack --data DIR --out DIR`.

Needs what `research.classifier.prepare`, `.names` and `.projects` wrote. `research.training.on_card` trains on it.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from research.classifier import long_texts
from research.classifier.data import (
    Example,
    Mix,
    Rows,
    nli_examples,
    relation_example,
    snli_training_rows,
    topic_example,
    training_examples,
)
from research.classifier.defaults import default_examples, find_defaults
from research.classifier.inference import breaking_nli, med
from research.classifier.names import name_examples, read_uses
from research.classifier.prepare import read_topics
from research.classifier.projects import Project, read_projects
from research.classifier.topics import Topical, lexicon_hits
from research.relations.assemble import balance
from research.relations.hypotheses import PAIR_TEMPLATE
from research.relations.pairs import read_pairs, seeded
from research.relations.prose_pairs import passages, qnli_sentences
from research.training.datasets import read_qnli
from research.training.packed import CLS_PIECE, SEP_PIECE, Ragged, ragged, write_arrays
from research.training.pieces import PiecePacker

MAX_TOKENS = 512
PAIR_FIRST, PAIR_SECOND = PAIR_TEMPLATE.format(first="|", second="").split("|")

Examples = Iterator[Example | Rows | None]


def long_examples(
    projects: Sequence[Project], topics: Sequence[Topical], fillers: Sequence[str], scale: float, seed: str
) -> Examples:
    """Everything of `long_texts`; `scale` 1 is what a training gets."""
    rng = seeded("long texts", seed)

    def times(count: int) -> range:
        return range(max(1, round(count * scale)))

    facts = {project.name: long_texts.facts_of(project) for project in projects}
    # A package counts by the root of its facts: the largest must not crowd the others out.
    able = [project for project in projects if len(facts[project.name]) >= 5]
    weights = [len(facts[project.name]) ** 0.5 for project in able]
    for project in rng.choices(able, weights, k=len(times(16_000))):
        yield from long_texts.planted(project, rng.choice(facts[project.name]), rng)
    for project in rng.choices(able, weights, k=len(times(9_000))):
        yield long_texts.same_project(project, rng, long=False)
    for project in rng.choices(able, weights, k=len(times(5_000))):
        yield long_texts.same_project(project, rng, long=True)
    for project in rng.choices(able, weights, k=len(times(3_000))):
        yield long_texts.siblings(project, rng)
    for project in rng.choices(able, weights, k=len(times(7_000))):
        yield long_texts.same_module(project, rng)
    for project in rng.choices(able, weights, k=len(times(4_000))):
        yield long_texts.code_and_prose(project, rng)
    by_names: dict[tuple[str, ...], list[Topical]] = defaultdict(list)
    for labelled in topics:
        by_names[labelled.names].append(labelled)
    groups = [group for group in by_names.values() if len(group) >= 8]
    for _ in times(8_000):
        yield long_texts.long_topic(rng.choice(groups), fillers, rng, repeated=rng.random() < 0.25)


def all_examples(data: Path, prepared: Path, seed: int) -> Examples:
    """The mix of before, and what is long."""
    yield from training_examples(data, prepared, Mix(snli_repeats=8), seed)
    uses = read_uses(prepared / "names.jsonl.gz")
    yield from name_examples(uses, 12_000, seed, 0.5)
    pairs = read_pairs(prepared / "train.jsonl.gz")
    yield from default_examples(list(find_defaults(pairs)), 5_000, seeded("defaults", seed))
    rng = seeded("pack", seed)
    for pair in rng.sample(pairs, 9_000):
        yield long_texts.directed(pair, rng)
    for row in breaking_nli(data).training:
        yield rng.choice(list(nli_examples(row, rng, "breaking-nli")))
    for row in med(data).training:  # neutral there is whatever does not follow: no verdict of three
        yield next(iter(nli_examples(row, rng, "med")))
    sentences = [s for s in qnli_sentences(data, "train") if 6 <= len(s.split()) <= 45]
    fillers = rng.sample([s for s in sentences if not lexicon_hits(s)], 6_000)
    yield from long_examples(
        list(read_projects(prepared / "projects-train.jsonl.gz")),
        _with_general_others(read_topics(prepared / "topics.jsonl.gz")), fillers, 1.0, f"train {seed}",
    )  # fmt: skip
    for block in long_texts.read_notes():
        for _ in range(120):
            yield long_texts.notes_of_one_program(block, rng)
        for _ in range(30):
            yield long_texts.edited_note(block, rng)
    questions = read_qnli(data / "qnli-train.tsv.gz")
    for pair in rng.sample(questions, 5_000):
        yield long_texts.long_answer(pair.first, pair.second, pair.target > 0.5, fillers, rng)
    bodies = [passage for passage, _ in passages(data, "train")]
    for one in rng.sample(bodies, 1_500):  # two passages as they are: nothing in common, and no contradiction
        other = rng.choice(bodies)
        yield long_texts._nothing_in_common(one[:900], other[:900], rng, "passages")


def dev_examples(data: Path, prepared: Path) -> Examples:
    """What watches the training: dev packages, the pictures that watch, long texts of dev packages."""
    rng = seeded("dev")
    for pair in balance(read_pairs(prepared / "dev.jsonl.gz"), 100):
        yield relation_example(pair, rng, 3)
    for row in snli_training_rows(data, dev=True):
        yield from nli_examples(row, rng, "snli")
    topics = read_topics(prepared / "topics.jsonl.gz")
    for labelled in rng.sample(topics, 150):
        yield topic_example(labelled, rng, 5)
    sentences = [s for s in qnli_sentences(data, "dev") if 6 <= len(s.split()) <= 45]
    fillers = [s for s in sentences if not lexicon_hits(s)]
    projects = list(read_projects(prepared / "projects-dev.jsonl.gz"))
    yield from long_examples(projects, topics, fillers, 0.03, "dev")


def _with_general_others(topics: Sequence[Topical]) -> list[Topical]:
    """Topics of software docs get general ones as wrong ones, too: what is about security is not about cooking."""
    general = ("sports", "food", "cooking", "history", "medicine", "music", "law", "religion", "politics", "astronomy",
               "weather", "animals", "fashion", "agriculture", "entertainment", "psychology", "travel")  # fmt: skip
    found = []
    for one in topics:
        software = "cooking" not in one.others and "cooking" not in one.names
        found.append(Topical(one.text, one.names, (*one.others, *general)) if software else one)
    return found


def parts_of(text: str) -> list[str]:
    """Where a text may be divided: at the marks of a pair and at blank lines."""
    if text.startswith(PAIR_FIRST) and PAIR_SECOND in text:
        first, second = text.removeprefix(PAIR_FIRST).split(PAIR_SECOND, 1)
        return [PAIR_FIRST, *first.split("\n\n"), PAIR_SECOND, *second.split("\n\n")]
    return text.split("\n\n")


def pack(examples: Sequence[tuple[str, Example | Rows]], packer: PiecePacker) -> dict[str, np.ndarray]:
    """Arrays of (source, example); examples that do not fit the encoder are left out."""
    packer.learn([text for _, e in examples for row in e.rows for text in (row.first, row.second)])
    rows: list[list[int]] = []
    targets: list[int] = []
    groups: list[list[int]] = []
    sources: list[str] = []
    for source, example in examples:
        if any(packer.tokens(r.first) + packer.tokens(r.second) > MAX_TOKENS - 3 for r in example.rows):
            continue
        groups.append(list(range(len(rows), len(rows) + len(example.rows))))
        sources.append(source)
        for row in example.rows:
            rows.append([CLS_PIECE, *packer.pieces(row.first), SEP_PIECE, *packer.pieces(row.second), SEP_PIECE])
            targets.append(int(row.target))
    pool = packer.pool()
    pieces, grouped = ragged(rows), ragged(groups)
    names = sorted(set(sources))
    _describe(sources, grouped, pieces, pool.lengths)
    return {
        "pool_ids": pool.ids,
        "pool_starts": pool.starts,
        "piece_values": pieces.values,
        "piece_starts": pieces.starts,
        "targets": np.array(targets, dtype=np.uint8),
        "group_starts": grouped.starts,
        "group_sources": np.array([names.index(source) for source in sources], dtype=np.uint8),
        "source_names": np.array(names),
    }


def _describe(sources: Sequence[str], groups: Ragged, pieces: Ragged, lengths: np.ndarray) -> None:
    tokens = np.add.reduceat(np.add.reduceat(lengths[pieces.values], pieces.starts[:-1]), groups.starts[:-1])
    rows = np.diff(groups.starts)
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for source, of_group, of_rows in zip(sources, tokens.tolist(), rows.tolist(), strict=True):
        counted[source].update(groups=1, rows=of_rows, tokens=of_group)
    for source, count in sorted(counted.items()):
        per_row = count["tokens"] / count["rows"]
        print(f"{source:24s} {count['groups']:7,} groups {count['rows']:8,} rows {count['tokens']:11,} tokens "
              f"{per_row:4.0f} a row")  # fmt: skip
    print(f"{int(tokens.sum()):,} tokens in rows, {int(lengths.sum()):,} stored", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("research/data"))
    parser.add_argument("--prepared", type=Path, default=Path("research/runs/classifier-data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--draws", type=int, default=1, help="how often the mix is drawn, each time otherwise")
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.draws)
    training = [(e.source, e) for seed in seeds for e in all_examples(args.data, args.prepared, seed) if e]
    watching = [(f"dev-{e.source}", e) for e in dev_examples(args.data, args.prepared) if e]
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "classifier.xz"
    write_arrays(path, pack([*training, *watching], PiecePacker(parts_of)))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
