"""Every pooling mode equals sentence-transformers', over sequences end to end, in bins and padded."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.models.flat.support import lay_in_bins
from trivet.engine.models.pooling import Pooling
from trivet.engine.models.spans import BinSpans, FlatSpans
from trivet.errors import ModelError

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def _flat(lengths: list[int], fillers: int = 0, empty: int = 0) -> FlatSpans:
    bounds = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    bounds = torch.cat([bounds, bounds[-1:].expand(empty)])
    positions = torch.cat([*(torch.arange(length) for length in lengths), torch.zeros(fillers, dtype=torch.int64)])
    return FlatSpans(bounds, max(lengths), positions)


@pytest.mark.parametrize("mode", [*MODES, ("cls", "mean")])
def test_pooling_equals_sentence_transformers(mode: str | tuple[str, ...]) -> None:
    from sentence_transformers.sentence_transformer.modules.pooling import Pooling as Reference

    lengths = [11, 4, 1, 300]
    states = torch.randn(sum(lengths), 6, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.utils.rnn.pad_sequence(list(states.split(lengths)), batch_first=True, padding_value=9.0)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    features = {"token_embeddings": padded, "attention_mask": mask}
    expected = Reference(6, pooling_mode=mode)(features)["sentence_embedding"]
    head = Pooling((mode,) if isinstance(mode, str) else mode)
    torch.testing.assert_close(head(states, _flat(lengths)), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(head(padded.flatten(0, 1), BinSpans.of_padded(mask)), expected, rtol=0, atol=1e-6)


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8), bins=st.integers(1, 3), seed=st.integers(0, 99))
def test_both_layouts_agree(lengths: list[int], bins: int, seed: int) -> None:
    states = torch.randn(sum(lengths), 5, generator=torch.Generator().manual_seed(seed))
    layout = lay_in_bins(lengths, bins)
    spans, places = BinSpans(layout.sequence_ids, layout.positions, layout.first_token_indices), layout.places
    spread = torch.full((spans.sequence_ids.numel(), 5), 7.0)
    spread[places] = states
    head = Pooling(MODES)
    torch.testing.assert_close(head(spread, spans), head(states, _flat(lengths)), rtol=0, atol=1e-5)


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6), fillers=st.integers(0, 9), empty=st.integers(0, 4))
def test_fillers_and_empty_sequences_change_nothing(lengths: list[int], fillers: int, empty: int) -> None:
    """A batch of fixed size, for a captured graph: the rest is NaN here, as unwritten memory may be."""
    states = torch.randn(sum(lengths), 5, generator=torch.Generator().manual_seed(0))
    filled = torch.cat([states, torch.full((fillers, 5), torch.nan)])
    head = Pooling(MODES)
    ours = head(filled, _flat(lengths, fillers, empty))
    assert ours.shape[0] == len(lengths) + empty
    torch.testing.assert_close(ours[: len(lengths)], head(states, _flat(lengths)), rtol=0, atol=0)


def test_sums_run_in_fp32() -> None:
    states = torch.full((3000, 1), 1.001).to(torch.bfloat16)
    pooled = Pooling(("mean", "weightedmean"))(states, _flat([3000]))
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, states[:1].float().expand(1, 2), rtol=1e-5, atol=0)


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(ModelError, match="pooling mode attention is not supported"):
        Pooling(("mean", "attention"))
    with pytest.raises(ModelError, match=r"pooling mode \(none\)"):
        Pooling(())
