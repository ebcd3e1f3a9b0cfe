"""What is known of every published layout from its files: its memory, a plan of it, and how a GPU computes it."""

from __future__ import annotations

import pytest

from tests.models.conftest import Checkpoints
from tests.models.table import ROWS, Row
from trivet.checkpoint.flat.model import padded_because
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


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row.model)
def test_a_gpu_computes_it_packed_or_says_why_not(row: Row, written: Checkpoints) -> None:
    question = row.question
    reason = padded_because(written(row), question.task, question.template or ("splade" if question.splade else None))
    assert row.padded in str(reason) if row.padded else reason is None, reason
