"""What decides about CUDA graphs, without a GPU: their sizes, and what fills a batch up."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.models.flat.support import write_family
from tests.support.checkpoints import write_checkpoint
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.graphs import Bucket, buckets_up_to, fill_up, split
from trivet.engine.cuda.programs import FlatProgram

TINY = ("bert", "modernbert-mean", "nomic-embed-text-v2-moe", "gte", "qwen3", "gemma3")
lengths_lists = st.lists(st.integers(1, 40), min_size=1, max_size=8)


def batch_of(lengths: list[int]) -> TokenBatch:
    rng = np.random.default_rng(sum(lengths))
    return TokenBatch.of(
        [rng.integers(1, 90, length).astype(np.int32) for length in lengths],
        types_from=[length // 2 for length in lengths],
    )


@given(lengths_lists)
def test_a_filled_batch_begins_with_the_batch_and_has_the_bucket_s_size(lengths: list[int]) -> None:
    batch, bucket = batch_of(lengths), Bucket(512, 512)
    ids, token_types, positions, boundaries = fill_up(batch, bucket)
    for filled, given_values in ((ids, batch.ids), (token_types, batch.token_types), (positions, batch.positions)):
        assert filled.shape == (512,)
        np.testing.assert_array_equal(filled[: batch.tokens], given_values)
    assert boundaries.shape == (bucket.sequences + 2,)
    np.testing.assert_array_equal(boundaries[: len(lengths) + 1], batch.cu_seqlens)
    assert set(boundaries[len(lengths) + 1 :]) == {512}


@pytest.mark.slow
@given(lengths_lists)
@pytest.mark.parametrize("name", TINY)
def test_fillers_change_no_result(tiny_programs: dict[str, FlatProgram], name: str, lengths: list[int]) -> None:
    program, batch, bucket = tiny_programs[name], batch_of(lengths), Bucket(512, 512)
    plain, filled = (
        program.forward([torch.from_numpy(array) for array in arrays], batch.max_len)
        for arrays in (program.arrays(batch), fill_up(batch, bucket))
    )
    torch.testing.assert_close(filled[: len(lengths)], plain, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def tiny_programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FlatProgram]:
    programs = {}
    for name in TINY:
        path = tmp_path_factory.mktemp(name)
        if name == "nomic-embed-text-v2-moe":
            write_checkpoint(name, "tiny", path, seed=3)
        else:
            write_family(name, path, labels=None)
        programs[name] = FlatProgram(path, "embedder", torch.float32, torch.device("cpu"))
        programs[name].load()
    return programs


@pytest.mark.parametrize("longest", [256, 512, 8192])
@pytest.mark.parametrize("most", [64, 100, 4096, 12215, 16384])
def test_buckets_end_at_the_budget_unless_long_sequences_are_read(most: int, longest: int) -> None:
    buckets = buckets_up_to(most, longest)
    sizes = [bucket.tokens for bucket in buckets]
    assert sizes == sorted(set(sizes))
    for bucket in buckets:
        assert bucket.max_len <= longest
        assert bucket.sequences >= max(8, bucket.tokens / 128)
    assert sizes[-1] == (most if longest <= 512 else min(most, 4096))


def test_a_bucket_of_a_short_model_holds_many_sequences() -> None:
    assert [Bucket(tokens, 512).sequences for tokens in (64, 256, 1024, 8192, 16384)] == [8, 8, 32, 256, 256]
    assert [Bucket(tokens, 8192).sequences for tokens in (64, 1024, 4096)] == [8, 32, 32]


def test_split_gives_the_arrays_back() -> None:
    arrays = (np.arange(6, dtype=np.int32).reshape(2, 3), np.arange(4, dtype=np.int32))
    flat = torch.from_numpy(np.concatenate([array.reshape(-1) for array in arrays]))
    for part, array in zip(split(flat, arrays), arrays, strict=True):
        np.testing.assert_array_equal(part.numpy(), array)
