"""How many tokens an embedder reads, and what is left of a longer text, as sentence-transformers has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.models.conftest import Checkpoints
from tests.models.lanes import serve
from tests.models.library import SentenceTransformerReference
from tests.models.table import ROWS, Row
from tests.models.texts import short_texts
from trivet.messages import EmbedRequest, EmbedResult

pytestmark = pytest.mark.models

EMBEDDERS = [
    row
    for row in ROWS
    if row.question.reference is SentenceTransformerReference and row.torch.kind in ("exact", "wrong")
]


@pytest.mark.parametrize("row", EMBEDDERS, ids=lambda row: row.model)
def test_the_limit_and_truncation_equal_sentence_transformers(row: Row, written: Checkpoints, converted: Path) -> None:
    path = written(row)
    reference = SentenceTransformerReference(path)
    with serve("torch", path, "embedder", converted, row.question.settings) as served:
        ours = served.engine.card.max_tokens
        assert ours == reference.limit_tokens
        if row.torch.kind == "exact" and ours <= 512:
            text = ". ".join(short_texts(100))
            assert served.count_tokens(text) > ours
            for side in (None, "query") if row.question.sides else (None,):
                result = served(EmbedRequest((text,), input_type=side, long_input="truncate"))
                assert isinstance(result, EmbedResult)
                assert result.usage.truncated == (True,)
                np.testing.assert_allclose(result.vectors, reference.embed([text], side), atol=1e-4)
