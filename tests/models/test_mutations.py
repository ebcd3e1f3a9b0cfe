"""A published layout with one thing changed is right or refused by name; see `mutations.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.mutations import MUTATIONS, Mutation
from tests.models.observe import observe

pytestmark = pytest.mark.models


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_changed_layout_is_right_or_refused_by_name(mutation: Mutation, tmp_path: Path, converted: Path) -> None:
    folder = tmp_path / "checkpoint"
    mutation.make(folder)
    outcome = observe("torch", folder, mutation.question, converted)
    assert outcome.kind == mutation.expected.kind, outcome
    if mutation.expected.kind in ("refused", "fails"):
        assert mutation.expected.says in outcome.detail, outcome
