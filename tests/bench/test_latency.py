"""New figures of a case replace the earlier figures of that case, and no others."""

import json
from pathlib import Path

from bench.engine.latency import keep


def test_a_case_is_kept_once(tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    pair, other = ({"case": "pair", "library": "trivet", "precision": p} for p in ("bf16", "int8"))
    keep(file, pair, {"p50_ms": 1.0})
    keep(file, other, {"p50_ms": 2.0})
    keep(file, pair, {"p50_ms": 3.0})
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["cases"] == [other | {"p50_ms": 2.0}, pair | {"p50_ms": 3.0}]
    assert kept["machine"]["cores"] >= 1
