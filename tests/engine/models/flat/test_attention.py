"""Every form of attention against plain softmax attention of each sequence by itself, in float64."""

import inspect
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.engine.models.flat.support import FAMILIES
from trivet.checkpoint import gpu_form
from trivet.checkpoint.flat.model import read_body
from trivet.engine.models.flat import attention
from trivet.engine.models.flat.attention import (
    PaddedAttention,
    Reach,
    attend_in_blocks,
    choose_attention,
    varlen_refusal,
)
from trivet.engine.models.spans import FlatSpans
from trivet.errors import ModelError

HEADS, SIZE = 4, 4
lengths_lists = st.lists(st.integers(1, 40), min_size=1, max_size=8)
bounds = st.integers(0, 50)
reaches = (
    st.just(Reach())
    | st.just(Reach(None, 0))
    | st.builds(Reach, bounds, st.just(0))
    | st.builds(Reach, st.none() | bounds, st.none() | bounds)
)


def _inputs(tokens: int, shared: int = 1, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """(N, h, D), and twice (N, h / shared, D)."""
    random = torch.Generator().manual_seed(seed)
    q = torch.randn(tokens, HEADS, SIZE, generator=random).mul(2.0)
    k, v = torch.randn(2, tokens, HEADS // shared, SIZE, generator=random).mul(2.0)
    return q, k, v


def _plain(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], reach: Reach) -> Tensor:
    mixed = torch.zeros_like(q, dtype=torch.float64)
    k, v = (each.repeat_interleave(HEADS // each.shape[1], dim=1) for each in (k, v))
    start = 0
    for length in lengths:
        at = slice(start, start + length)
        place = torch.arange(length)
        before, after = (length if bound is None else bound for bound in reach)
        behind = place - place[:, None]  # (queries, keys)
        near = (behind >= -before) & (behind <= after)
        scores = torch.einsum("qhd,khd->hqk", q[at].double(), k[at].double()) / SIZE**0.5
        weights = scores.masked_fill(~near, -torch.inf).softmax(-1)
        mixed[at] = torch.einsum("hqk,khd->qhd", weights, v[at].double())
        start += length
    return mixed.float()


def _spans(lengths: Sequence[int], max_len: int | None = None) -> FlatSpans:
    bounds = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return FlatSpans(bounds, max_len or max(lengths), positions)


def _close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@given(lengths=lengths_lists, reach=reaches, shared=st.sampled_from([1, 2, HEADS]))
def test_padded(lengths: list[int], reach: Reach, shared: int) -> None:
    q, k, v = _inputs(sum(lengths), shared)
    attend = PaddedAttention()(_spans(lengths))
    for _ in range(2):  # the second layer finds masks and indices made
        _close(attend(q, k, v, reach), _plain(q, k, v, lengths, reach))


@given(lengths=lengths_lists, before=bounds, after=bounds)
def test_blocks(lengths: list[int], before: int, after: int) -> None:
    q, k, v = _inputs(sum(lengths))
    ours = attend_in_blocks(q, k, v, _spans(lengths).sequence_of_token, before, after)
    _close(ours, _plain(q, k, v, lengths, Reach(before, after)))


def test_a_bound_that_no_sequence_reaches_is_none() -> None:
    assert Reach(9, 8).within(10) == Reach(None, 8)
    assert Reach(9, 0).within(11) == Reach(9, 0)
    assert Reach(0, 0).within(1) == Reach()


SOME = (Reach(), Reach(2, 2), Reach(None, 0), Reach(2, 0))


def test_a_longest_that_is_too_large_changes_nothing() -> None:
    lengths = [3, 9, 1]
    q, k, v = _inputs(13)
    for reach in SOME:
        _close(PaddedAttention()(_spans(lengths, max_len=40))(q, k, v, reach), _plain(q, k, v, lengths, reach))


def test_sequences_without_tokens_change_nothing() -> None:
    lengths = [3, 0, 9, 0, 0]
    q, k, v = _inputs(12)
    for reach in SOME:
        mixed = PaddedAttention()(_spans(lengths))(q, k, v, reach)
        _close(mixed, _plain(q, k, v, [3, 9], reach))


@pytest.mark.parametrize("reach", SOME)
def test_fillers_may_be_longer_than_the_longest_sequence(reach: Reach) -> None:
    q, k, v = _inputs(16)
    # Two sequences of up to 8 tokens would fill 16 places: that both have 8 does not follow.
    mixed = PaddedAttention()(_spans([3, 13], max_len=8))(q, k, v, reach)
    _close(mixed[:3], _plain(q[:3], k[:3], v[:3], [3], reach))
    assert torch.isfinite(mixed).all()


# ── which one ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cpu_pads() -> None:
    assert isinstance(choose_attention("auto", torch.device("cpu"), torch.float32, 64), PaddedAttention)
    with pytest.raises(ModelError, match="the device is cpu, not cuda"):
        choose_attention("varlen", torch.device("cpu"), torch.float32, 64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("capability", "dtype", "head_size", "reason"),
    [
        ((8, 6), torch.bfloat16, 64, None),
        ((12, 0), torch.float16, 32, None),
        ((8, 9), torch.bfloat16, 256, None),  # Gemma
        ((8, 0), torch.bfloat16, 72, None),
        ((7, 5), torch.float16, 64, "compute capability 7.5 is below 8.0"),
        ((9, 0), torch.float32, 64, "computes in fp32"),
        ((9, 0), torch.float64, 64, "computes in torch.float64"),
        ((9, 0), torch.bfloat16, 12, "12 channels"),
        ((9, 0), torch.bfloat16, 264, "264 channels"),
    ],
)
def test_what_flash_attention_cannot_run(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    dtype: torch.dtype,
    head_size: int,
    reason: str | None,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    refusal = varlen_refusal(torch.device("cuda"), dtype, head_size)
    assert refusal is None if reason is None else reason in str(refusal)
    chosen = choose_attention("auto", torch.device("cuda"), dtype, head_size)
    assert isinstance(chosen, attention.VarlenAttention if reason is None else PaddedAttention)


def test_a_torch_without_windows_is_recognised_by_its_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.nn.attention.varlen as installed

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(installed, "varlen_attn", lambda query, key, value, is_causal=False: query)
    reason = str(varlen_refusal(torch.device("cuda"), torch.bfloat16, 64))
    assert "knows no window_size in varlen_attn" in reason


def test_a_torch_whose_kernel_shares_no_heads_gets_keys_and_values_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """2.11, whose signature has windows and no `enable_gqa`, attends all the same."""
    import torch.nn.attention.varlen as installed

    calls = []

    def of_2_11(query: Tensor, key: Tensor, value: Tensor, *bounds: object, window_size: object = None) -> Tensor:
        calls.append((key.shape[1], value.shape[1]))
        return query

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(installed, "varlen_attn", of_2_11)
    chosen = choose_attention("auto", torch.device("cuda"), torch.bfloat16, 64)
    assert isinstance(chosen, attention.VarlenAttention)
    for shared in (1, 2, HEADS):
        chosen(_spans([3, 4]))(*_inputs(7, shared), Reach())
    assert calls == [(HEADS, HEADS)] * 3


@pytest.mark.parametrize(
    ("reach", "window"),
    [(Reach(), (-1, -1)), (Reach(64, 64), (64, 64)), (Reach(None, 0), (-1, 0)), (Reach(64, 0), (64, 0))],
)
@pytest.mark.parametrize("shared", [1, HEADS])
def test_varlen_gets_boundaries_window_and_shared_heads(reach: Reach, window: tuple[int, int], shared: int) -> None:
    calls = []
    varlen = attention.VarlenAttention()
    varlen._shares_heads = True
    varlen._kernel = lambda *args, **options: calls.append((args[3:], options)) or args[0]
    spans, (q, k, v) = _spans([3, 4]), _inputs(7, shared)
    varlen(spans)(q, k, v, reach)
    bounds = spans.cu_seqlens
    sharing = {"enable_gqa": True} if shared > 1 else {}
    assert calls == [((bounds, bounds, 4, 4), {"window_size": window, **sharing})]


def test_the_installed_kernel_takes_what_it_is_given() -> None:
    """It cannot run here, but its signature can be asked."""
    from torch.nn.attention.varlen import varlen_attn

    sharing = {"enable_gqa": True} if attention.VarlenAttention()._shares_heads else {}
    inspect.signature(varlen_attn).bind(*range(7), window_size=(-1, 0), **sharing)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_families_of_tests_gpu_have_heads_that_flash_attention_takes(name: str) -> None:
    config, _, _ = FAMILIES[name](1)
    assert gpu_form.varlen_refusal((8, 0), "bf16", read_body(config.to_dict()).head_size) is None
