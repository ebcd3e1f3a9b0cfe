"""Pack the base encoder for `on_card`: `python -m research.training.pack_base --data DIR --out DIR`.

Only the words that the packed data contain keep their embeddings.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from research.training.carried import encode_12_bit, in_parts
from research.training.packed import read_arrays, write_arrays
from trivet.starter.assemble import base_tensors
from trivet.starter.base import base_model_dir

WORDS = "bert.embeddings.word_embeddings.weight"
PART_BYTES = 20_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the packed data")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    used = np.zeros(2**16, dtype=bool)
    for path in args.data.glob("*.xz"):
        arrays = read_arrays(path)
        if "pool_ids" in arrays:
            used[arrays["pool_ids"]] = True
    used[0] = True  # padding
    packed = encode_12_bit(base_tensors(base_model_dir()), {WORDS: np.flatnonzero(used)})
    args.out.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(in_parts(packed, PART_BYTES), start=1):
        path = args.out / f"base.{number}.xz"
        write_arrays(path, part)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print(f"{used.sum():,} of the words")


if __name__ == "__main__":
    main()
