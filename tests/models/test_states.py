"""The state of every published layout is the one in the table.

A row that gets better fails here until `table.py` says so: change its state and run ``python -m tests.models.render``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.models.conftest import Checkpoints
from tests.models.lanes import LANES, Lane
from tests.models.observe import observe
from tests.models.render import PAGE, STATES_FILE, page_markdown, states_markdown
from tests.models.table import ROWS, Row

QUICK = {
    "all-MiniLM-L6-v2",
    "ms-marco-MiniLM-L6-v2",
    "stella_en_400M_v5",
    "embeddinggemma-2",
    "splade-v3",
    "colbertv2.0",
}
"""Rows whose torch path is run with the fast tests: a right one of two tasks, and refusals."""


def _name(row: Row) -> str:
    return row.model


def _parameters() -> list[object]:
    return [
        pytest.param(row, lane, id=f"{row.model}-{lane}", marks=() if _is_quick(row, lane) else pytest.mark.models)
        for lane in LANES
        for row in ROWS
    ]


def _is_quick(row: Row, lane: Lane) -> bool:
    return lane == "torch" and row.model in QUICK


@pytest.mark.slow
@pytest.mark.parametrize(("row", "lane"), _parameters())
def test_a_checkpoint_in_the_published_layout(row: Row, lane: Lane, written: Checkpoints, converted: Path) -> None:
    expected = row.state(lane)
    outcome = observe(lane, written(row), row.question, converted)
    advice = f"{row.model} on the {lane} path: {outcome.kind}, {outcome.detail}; the table says {expected}"
    assert outcome.kind == expected.kind, advice
    if expected.kind in ("refused", "fails"):
        assert expected.says in outcome.detail, advice


def test_states_md_is_made_from_the_table() -> None:
    assert STATES_FILE.read_text(encoding="utf-8") == states_markdown(), "run python -m tests.models.render"


def test_the_page_of_models_is_made_from_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_markdown(page), "run python -m tests.models.render"


def test_every_row_has_a_name_of_its_own() -> None:
    assert [name for name, times in Counter(map(_name, ROWS)).items() if times > 1] == []
    assert set(map(_name, ROWS)) >= QUICK


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_a_row_that_is_not_exact_says_why_and_what_it_needs(row: Row) -> None:
    for lane in LANES:
        state = row.state(lane)
        if state.kind != "exact":
            assert row.needs, row.model
            assert state.says, row.model
        if state.kind == "wrong":
            assert state.says, row.model
