"""Blocked local attention equals the dense reference at every length, with any padding."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tests.support.checkpoints import write_checkpoint
from trivet.engine.models import banded
from trivet.engine.models.banded import BandedAttention, BlockedMask, blocked_attention, blocked_local_mask

pytestmark = pytest.mark.slow

HEADS, HEAD_SIZE = 3, 8


@pytest.fixture(scope="module")
def modernbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint("ModernBERT-large-zeroshot-v2.0", "tiny", tmp_path_factory.mktemp("modernbert"), seed=7)


def _dense_reference(q: Tensor, k: Tensor, v: Tensor, tokens_mask: Tensor, sliding_window: int) -> Tensor:
    """Computes every score, then sets those outside the window and of padding to minus infinity."""
    tokens = q.shape[2]
    scores = q.double() @ k.double().transpose(2, 3) * HEAD_SIZE**-0.5
    for i in range(tokens):
        for j in range(tokens):
            if abs(i - j) > sliding_window:
                scores[:, :, i, j] = -torch.inf
    scores = scores.masked_fill(~tokens_mask[:, None, None, :], -torch.inf)
    return torch.nan_to_num(scores.softmax(-1)) @ v.double()


def _random(batch: int, tokens: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, batch, HEADS, tokens, HEAD_SIZE, generator=generator)
    return q, k, v


@settings(max_examples=60)
@given(
    tokens=st.integers(1, 40),
    sliding_window=st.integers(1, 9),
    padding=st.lists(st.integers(0, 39), min_size=1, max_size=3),
    seed=st.integers(0, 100),
)
@example(tokens=8, sliding_window=4, padding=[0], seed=0)  # whole blocks
@example(tokens=9, sliding_window=4, padding=[0, 5], seed=0)  # one token into the next block
@example(tokens=7, sliding_window=4, padding=[6], seed=0)  # a single token before padding
@example(tokens=3, sliding_window=9, padding=[0], seed=0)  # shorter than one block
def test_equals_the_dense_reference(tokens: int, sliding_window: int, padding: list[int], seed: int) -> None:
    lengths = torch.tensor([max(1, tokens - missing) for missing in padding])
    tokens_mask = torch.arange(tokens)[None, :] < lengths[:, None]  # (B, T)
    q, k, v = _random(len(padding), tokens, seed)
    blocked = blocked_attention(q, k, v, blocked_local_mask(tokens_mask, sliding_window, HEADS), scale=None)
    assert torch.isfinite(blocked).all(), "padded queries must not turn into NaN"
    expected = _dense_reference(q, k, v, tokens_mask, sliding_window)
    at_tokens = tokens_mask[:, None, :, None]
    torch.testing.assert_close(blocked * at_tokens, (expected * at_tokens).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 2, 63, 64, 65, 127, 128, 129, 191, 193, 255, 256, 257, 320])
def test_equals_pytorch_at_block_edges_of_the_real_window(tokens: int) -> None:
    tokens_mask = torch.ones(2, tokens, dtype=torch.bool)
    tokens_mask[1, tokens // 2 + 1 :] = False
    q, k, v = _random(2, tokens, seed=tokens)
    blocked = blocked_attention(q, k, v, blocked_local_mask(tokens_mask, 64, HEADS), scale=None)
    dense = functional.scaled_dot_product_attention(q, k, v, banded.dense_local_mask(tokens_mask, 64))
    at_tokens = tokens_mask[:, None, :, None]
    torch.testing.assert_close(blocked * at_tokens, dense * at_tokens, rtol=0, atol=1e-6)


def test_work_and_memory_grow_with_length_not_its_square() -> None:
    sizes = [
        blocked_local_mask(torch.ones(1, n, dtype=torch.bool), 64, 1).attn_mask.numel() for n in (1024, 2048, 4096)
    ]
    assert sizes == [1024 * 192, 2048 * 192, 4096 * 192]


def test_layout_follows_the_length() -> None:
    class Config:
        num_attention_heads = HEADS

    def mask(attention: BandedAttention, tokens: int, **kwargs: Any) -> Any:
        some = torch.ones(1, tokens, dtype=torch.bool)
        return attention.mask(1, tokens, tokens, attention_mask=some, config=Config(), **kwargs)

    adaptive, always = BandedAttention(dense_up_to_tokens=20), BandedAttention(dense_up_to_tokens=0)
    assert mask(adaptive, 20, local_size=4).shape == (1, 1, 20, 20)
    assert isinstance(mask(adaptive, 21, local_size=4), BlockedMask)
    assert isinstance(mask(always, 1, local_size=4), BlockedMask)
    assert mask(always, 500).shape == (1, 1, 1, 500), "global layers get a key mask, never T × T"
    assert always.mask(1, 500, 500) is None


def test_training_is_refused() -> None:
    q, k, v = _random(1, 4, 0)
    with pytest.raises(ValueError, match="inference"):
        BandedAttention(0).attend(torch.nn.Identity(), q, k, v, None, dropout=0.1)


@pytest.mark.parametrize("name", [banded.ADAPTIVE, banded.ALWAYS_BLOCKED])
def test_modernbert_equals_transformers_own_attention(modernbert: Path, name: str) -> None:
    from transformers import AutoModelForSequenceClassification

    banded.register()
    banded.register()  # twice is once
    own, ours = (
        AutoModelForSequenceClassification.from_pretrained(modernbert, attn_implementation=kind).eval()
        for kind in ("eager", name)
    )
    for tokens in (5, 64, 129, 256, 257, 400):
        ids = torch.randint(0, 1000, (3, tokens), generator=torch.Generator().manual_seed(tokens))
        mask = torch.ones_like(ids)
        mask[1, tokens // 2 :] = 0
        mask[2, 1:] = 0
        with torch.no_grad():
            torch.testing.assert_close(ours(ids, mask).logits, own(ids, mask).logits, rtol=0, atol=1e-5)


def test_a_query_sees_its_window_and_nothing_else() -> None:
    q, k, v = _random(1, 400, 0)
    mask = blocked_local_mask(torch.ones(1, 400, dtype=torch.bool), 64, HEADS)
    before = blocked_attention(q, k, v, mask, scale=None)
    v[:, :, 300] += 100.0
    changed = (blocked_attention(q, k, v, mask, scale=None) != before).any(-1).any(1)[0].nonzero().flatten()
    assert changed.tolist() == list(range(300 - 64, min(400, 300 + 64 + 1)))
