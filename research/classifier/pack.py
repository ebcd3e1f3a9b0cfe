"""Pack the classifier's examples as token arrays: `python -m research.classifier.pack --data DIR --out DIR`.

Needs what `research.classifier.prepare`, `.names` and `.projects` wrote. `research.training.on_card` trains on it.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from research.classifier.data import Example, Rows
from research.classifier.mixture import dev_examples, training_examples
from research.relations.hypotheses import PAIR_TEMPLATE
from research.training.packed import CLS_PIECE, SEP_PIECE, Ragged, ragged, write_arrays
from research.training.pieces import PiecePacker

MAX_TOKENS = 512
PAIR_FIRST, PAIR_SECOND = PAIR_TEMPLATE.format(first="|", second="").split("|")


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
    training = [(e.source, e) for seed in seeds for e in training_examples(args.data, args.prepared, seed)]
    watching = [(f"dev-{e.source}", e) for e in dev_examples(args.data, args.prepared)]
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "classifier.xz"
    write_arrays(path, pack([*training, *watching], PiecePacker(parts_of)))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
