"""Batches hold every group once, whole, within the budget; tokenising keeps pairs recognisable."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from research.training.batches import CLS_ID, SEP_ID, Group, PairSequence, PairTokenizer, TextPair, collate, pack_epoch


def group(lengths: list[int]) -> Group:
    return Group(tuple(PairSequence(np.arange(1, n + 1, dtype=np.int32), n // 2, 0.0) for n in lengths))


groups_of_any_length = st.lists(st.lists(st.integers(3, 160), min_size=1, max_size=4).map(group), max_size=80)


@given(groups=groups_of_any_length, budget=st.integers(64, 2048), seed=st.integers(0, 99), window=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_an_epoch_holds_every_group_once_within_the_budget(
    groups: list[Group], budget: int, seed: int, window: int
) -> None:
    plan = pack_epoch(groups, token_budget=budget, seed=seed, epoch=0, window=window)

    assert sorted(i for batch in plan for i in batch) == list(range(len(groups)))
    for batch in plan:
        rows = sum(len(groups[i].sequences) for i in batch)
        padded = rows * max(groups[i].max_tokens for i in batch)
        assert padded <= budget or len(batch) == 1


def test_the_plan_follows_from_seed_and_epoch_alone() -> None:
    groups = [group([5 + i % 30]) for i in range(200)]
    plan = pack_epoch(groups, token_budget=256, seed=1, epoch=0)
    assert plan == pack_epoch(groups, token_budget=256, seed=1, epoch=0)
    assert plan != pack_epoch(groups, token_budget=256, seed=1, epoch=1)
    assert plan != pack_epoch(groups, token_budget=256, seed=2, epoch=0)


def test_little_of_a_batch_is_padding() -> None:
    rng = np.random.default_rng(0)
    groups = [group([int(n)]) for n in rng.integers(10, 160, size=2000)]
    plan = pack_epoch(groups, token_budget=2048, seed=0, epoch=0)
    real = sum(g.max_tokens for g in groups)
    padded = sum(len(batch) * max(groups[i].max_tokens for i in batch) for batch in plan)
    assert real / padded > 0.97


def test_padding_is_masked_and_the_second_text_has_its_type() -> None:
    batch = collate([group([4, 6]), group([5])])
    assert batch.input_ids.shape == (3, 6)
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]]
    assert batch.token_type_ids.tolist() == [[0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0]]
    assert torch.equal(batch.group_ids, torch.tensor([0, 0, 1]))


def test_a_pair_is_cut_at_the_longer_text() -> None:
    tokenizer = PairTokenizer(max_tokens=20)
    (sequence,) = tokenizer.encode([TextPair("what is bread", "flour and water " * 40, 1.0)])
    assert len(sequence.ids) == 20
    assert sequence.ids[0] == CLS_ID
    assert sequence.ids[-1] == SEP_ID
    assert sequence.ids[sequence.first_tokens - 1] == SEP_ID
    assert sequence.first_tokens == len(["what", "is", "bread"]) + 2


def test_two_long_texts_share_the_room() -> None:
    (sequence,) = PairTokenizer(max_tokens=23).encode([TextPair("tea " * 50, "salt " * 50, 0.0)])
    assert len(sequence.ids) == 23
    assert sequence.first_tokens == 12


def test_tokenising_a_pair_does_as_transformers_does() -> None:
    from transformers import AutoTokenizer

    from trivet.starter.base import base_model_dir

    reference = AutoTokenizer.from_pretrained(base_model_dir())
    pairs = [("How are requests retried?", "def retry(n=3): ..."), ("naïve café", "x" * 40)]
    for pair, sequence in zip(pairs, PairTokenizer(64).encode([TextPair(*p, 0.0) for p in pairs]), strict=True):
        expected = reference(*pair, truncation=True, max_length=64, padding=False)
        assert sequence.ids.tolist() == expected["input_ids"]
        types = [0] * sequence.first_tokens + [1] * (len(sequence.ids) - sequence.first_tokens)
        assert types == expected["token_type_ids"]


@given(lengths=st.lists(st.integers(3, 60), min_size=1, max_size=24))
@settings(max_examples=60, deadline=None)
def test_halves_hold_every_row_once_and_pad_no_more_than_the_whole(lengths: list[int]) -> None:
    batch = collate([group(lengths)])
    parts = batch.halves()
    assert sorted(torch.cat(parts).tolist()) == list(range(len(lengths)))
    padded = sum(batch.rows(part)["input_ids"].numel() for part in parts)
    assert padded <= batch.input_ids.numel()
    for part in parts:
        assert torch.equal(batch.rows(part)["attention_mask"].sum(1), batch.attention_mask[part].sum(1))
