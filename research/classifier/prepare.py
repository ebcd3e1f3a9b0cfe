"""Prepare the classifier's raw material once: `python -m research.classifier.prepare --data research/data`.

Reads the installed packages of the train and dev splits (minutes) and writes labelled pairs and topical sentences, so
that trials of the mix start in seconds. Nothing of it is committed: it is made from what is installed.
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import asdict
from pathlib import Path

from research.classifier.topics import Topical, label_folders, label_sentences
from research.relations.assemble import balance, collect, without_texts
from research.relations.corpus import read_corpus
from research.relations.packages import packages
from research.relations.pairs import Pair, read_pairs, write_pairs
from research.relations.prose_pairs import qnli_sentences

TRAIN_PER_LABEL = 7_000
DEV_PER_LABEL = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("research/data"), help="folder of the public data sets")
    parser.add_argument("--target", type=Path, default=Path("research/runs/classifier-data"))
    parser.add_argument(
        "--benchmark",
        type=Path,
        default=Path("research/relations/test.jsonl.gz"),
        help="the test pairs, no text of which may be trained on",
    )
    parser.add_argument(
        "--packages", nargs="+", help="of the train split, only these: enough for a run that rehearses, and quicker"
    )
    args = parser.parse_args()
    prepare(args.data, args.target, read_pairs(args.benchmark), set(args.packages) if args.packages else None)


def prepare(data: Path, target: Path, test: list[Pair], names: set[str] | None = None) -> None:
    """Write `train.jsonl.gz`, `dev.jsonl.gz` and `topics.jsonl.gz` into `target`.

    `names` narrows the packages of the train split.
    """
    train, used = collect("train", data, per_package=60, prose=2000, templates=2500, names=names)
    train = without_texts(train, test)
    write_pairs(target / "train.jsonl.gz", balance(train, TRAIN_PER_LABEL))
    dev, _ = collect("dev", data, per_package=40, prose=200, templates=200)
    # A dev text is never trained on either; the training side gives way less often this way round.
    write_pairs(target / "dev.jsonl.gz", balance(without_texts(without_texts(dev, test), train), DEV_PER_LABEL))
    topics = list(label_sentences(qnli_sentences(data, "train")))
    for package in packages("train"):
        if names is not None and package.name not in names:
            continue
        topics.extend(label_folders(read_corpus(package)))
    write_topics(target / "topics.jsonl.gz", topics)
    print(f"{len(train):,} pairs of {len(used)} packages before balancing, {len(topics):,} topical sentences")


def write_topics(path: Path, topics: list[Topical]) -> None:
    """Gzip JSON lines, one sentence each, with no time stamp inside."""
    lines = "".join(json.dumps(asdict(t), ensure_ascii=False) + "\n" for t in topics)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def read_topics(path: Path) -> list[Topical]:
    """Read what `write_topics` wrote."""
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    return [Topical(row["text"], tuple(row["names"]), tuple(row["others"])) for row in rows]


if __name__ == "__main__":
    main()
