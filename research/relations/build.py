"""Write the benchmark: `python -m research.relations.build --data research/data`.

Reads the installed packages and the public data sets, and writes `test.jsonl.gz`, `manifest.json` (what was read, in
which version, under which licence, how many pairs of which kind) and, where there is none, the empty sheet of 200
pairs to be judged by a person. Given the same package versions it writes the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from research.relations.assemble import balance, collect, counts
from research.relations.packages import Package
from research.relations.pairs import Pair, stable_fraction, write_pairs

HERE = Path(__file__).parent
PER_LABEL = 1_100
SHEET_ROWS = 200
MAX_BYTES = 2_000_000


def build(data: Path, target: Path, *, per_label: int = PER_LABEL) -> list[Pair]:
    """Write the benchmark into `target` and return its pairs."""
    pairs, used = collect("test", data, per_package=40, prose=300, templates=260)
    chosen = balance(pairs, per_label)
    write_pairs(target / "test.jsonl.gz", chosen)
    size_bytes = (target / "test.jsonl.gz").stat().st_size
    if size_bytes > MAX_BYTES:
        raise SystemExit(f"{target / 'test.jsonl.gz'} has {size_bytes:,} bytes; at most {MAX_BYTES:,} may be committed")
    (target / "manifest.json").write_text(json.dumps(manifest(chosen, used), indent=1) + "\n", encoding="utf-8")
    return chosen


def manifest(pairs: list[Pair], used: list[Package]) -> dict[str, object]:
    return {
        "pairs": len(pairs),
        "by_label_and_kind": counts(pairs),
        "packages": [{"name": p.name, "version": p.version, "licence": p.licence} for p in used],
        "datasets": [
            {"name": name, "licence": licence}
            for name, licence in sorted({(p.source, p.licence) for p in pairs if "==" not in p.source})
        ],
    }


def draw_sheet(pairs: list[Pair], rows: int = SHEET_ROWS) -> list[Pair]:
    """The pairs to be read and judged one by one: drawn by a hash of their texts, not picked.

    A hash instead of a shuffle keeps most of the drawn pairs when a rule changes some of the others.
    """
    return sorted(pairs, key=lambda p: stable_fraction("sheet " + p.key))[:rows]


def write_empty_sheet(path: Path, pairs: list[Pair]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "label", "verdict", "note"))
        writer.writerows((p.key, p.label, "", "") for p in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("research/data"))
    parser.add_argument("--target", type=Path, default=HERE)
    args = parser.parse_args()
    pairs = build(args.data, args.target)
    sheet = args.target / "sheet.csv"
    if not sheet.exists():
        write_empty_sheet(sheet, draw_sheet(pairs))
    print(json.dumps(counts(pairs), indent=1))


if __name__ == "__main__":
    main()
