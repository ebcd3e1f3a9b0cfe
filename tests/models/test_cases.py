"""Cases 1, 2, 8 and 9 stand as the table of `cases.py` says; a case that is put right fails until it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.cases import CASES, Case
from tests.models.table import ROWS


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"case {case.number}", marks=pytest.mark.models if case.is_slow else ()) for case in CASES],
)
async def test_a_reported_input(case: Case, tmp_path: Path, converted: Path) -> None:
    outcome = await case.observe(tmp_path / "checkpoint", converted)
    assert outcome.kind == case.today.kind, f"case {case.number}: {outcome}; the table says {case.today}"


def test_every_case_of_wrong_results_is_here_or_a_row() -> None:
    rows = {row.case for row in ROWS if row.case is not None}
    assert rows | {case.number for case in CASES} == set(range(1, 10))
