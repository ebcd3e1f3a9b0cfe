import pytest

from bench.engine.report import BEGIN, END, grouped, markdown, replace_between, svg

FIGURES = {
    "sequences_per_s": 10.0,
    "tokens_per_s": 1000.0,
    "tokens_per_cpu_s": 500.0,
    "p50_ms": None,
    "p99_ms": None,
    "peak_rss_mib": 900,
    "useful_gflops": 50.0,
    "own_cores": 2.0,
    "other_cores": 0.1,
}
RESULTS = {
    "machine": {
        "cores": 2,
        "processor": "P",
        "family_model": "1/2",
        "flags": ["avx2"],
        "memory_gib": 8,
        "libraries": {"torch": "2"},
    },
    "threads": 2,
    "gemm_gflops": [{"bf16": 80.0}, {"bf16": 100.0}],
    "cells": {
        "small | mixed | trivet-bf16": FIGURES,
        "small | mixed | naive-fp32": FIGURES | {"tokens_per_s": 250.0, "tokens_per_cpu_s": 125.0},
        "small | mixed | infinity-fp32": {"unavailable": "not installed"},
    },
}


def test_ratios_are_to_peers_that_were_measured() -> None:
    page = markdown(RESULTS)
    assert "4.0× the best peer (naive-fp32) by the clock" in page
    assert "50%" in page
    assert "- infinity-fp32: not installed" in page
    assert "× infinity" not in page


def test_cells_are_grouped_by_shape_and_workload() -> None:
    assert list(grouped(RESULTS["cells"])) == [("small", "mixed")]  # type: ignore[arg-type]


def test_bars_are_in_proportion() -> None:
    picture = svg(RESULTS)
    assert 'width="430"' in picture
    assert 'width="108"' in picture


def test_the_page_keeps_what_is_outside_the_markers() -> None:
    assert replace_between(f"a {BEGIN} old {END} z", "new") == f"a {BEGIN}\n\nnew\n\n{END} z"
    with pytest.raises(ValueError, match="lacks"):
        replace_between("no markers", "new")
