"""The memory of every published layout can be estimated from its files, and a plan can be made of it."""

from __future__ import annotations

import pytest

from tests.models.conftest import Checkpoints
from tests.models.table import ROWS, Row
from trivet.checkpoint.memory import facts_from_directory
from trivet.vram.planning.planner import plan

pytestmark = pytest.mark.models

SERVED = [row for row in ROWS if row.torch.kind == "exact" and not row.question.pickled]


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row.model)
def test_facts_are_found(row: Row, written: Checkpoints) -> None:
    facts = facts_from_directory(written(row))
    assert 0 < facts.cpu_bytes("int8", 1024) < facts.cpu_bytes("bf16", 1024) < facts.cpu_bytes("fp32", 1024)
    assert facts.gpu_bytes("bf16", 16_384) > facts.weights_bytes("bf16")
    [planned] = plan([facts], 64 << 30).models
    assert planned.weights_bytes == facts.weights_bytes("bf16")
