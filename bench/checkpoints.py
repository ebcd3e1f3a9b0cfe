"""Writes checkpoints of the flagship models' shapes with random weights: `python -m bench.checkpoints --out DIR`."""

import argparse
from pathlib import Path

from tests.support.checkpoints import KINDS, SIZES, write_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, action="append", help="repeatable; all three when not given")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--out", type=Path, required=True, help="one sub-folder per kind is written below it")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for kind in args.kind or KINDS:
        print(write_checkpoint(kind, args.size, args.out / kind, args.seed))


if __name__ == "__main__":
    main()
