"""A model cut at its attentions equals the whole model at every length around every cut."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.conversions import convert_here
from trivet.config import AppConfig
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.models.load import SequenceClassifier, load_torch_model
from trivet.engine.open import open_cpu_engine
from trivet.engine.openvino.open import open_ir
from trivet.engine.openvino.sectioned_backend import (
    DENSE_LOCAL_TOKENS,
    GLOBAL_QUERIES,
    LOCAL_QUERIES,
    SLICE_TOKENS,
    UNCUT_TOKENS,
    SectionedBackend,
    slices,
    window_mask,
    windows,
)
from trivet.messages import ClassifyRequest, ClassifyResult, PairText

SLIDING_WINDOW = 64


@given(tokens=st.integers(1, 5000))
def test_slices_cover_all_tokens_once_and_come_in_few_sizes(tokens: int) -> None:
    cut = slices(tokens)
    assert [part.start for part in cut] == list(range(0, tokens, SLICE_TOKENS))
    assert cut[-1].start < tokens <= cut[-1].stop
    sizes = {part.stop - part.start for part in cut}
    assert all(size <= SLICE_TOKENS and size % (8 if size <= 64 else 32) == 0 for size in sizes)
    assert cut[-1].stop - tokens < (8 if tokens % SLICE_TOKENS <= 64 else 32)


@given(tokens=st.integers(1, 2000), sliding_window=st.one_of(st.none(), st.integers(1, 200)))
def test_windows_let_every_query_see_just_the_keys_in_its_window(tokens: int, sliding_window: int | None) -> None:
    seen = 0
    for queries, keys in windows(tokens, sliding_window):
        mask = window_mask(queries, keys, sliding_window)[0, 0]  # (queries or 1, keys)
        assert queries.start == seen
        seen = queries.stop
        for query in (queries.start, queries.stop - 1):
            visible = np.arange(keys.start, keys.stop)[mask[(query - queries.start) % len(mask)]]
            reach = tokens if sliding_window is None else sliding_window
            first, last = max(0, query - reach), min(tokens - 1, query + reach)
            assert (visible[0], visible[-1], len(visible)) == (first, last, last - first + 1)
    assert seen == tokens


@pytest.fixture(scope="module")
def checkpoint(checkpoints: dict[str, Path]) -> Path:
    return checkpoints["ModernBERT-large-zeroshot-v2.0"]


@pytest.fixture(scope="module")
def backend(checkpoint: Path, ir_cache: Path) -> SectionedBackend:
    ir_dir = convert_here(checkpoint, "classifier", "fp32", ir_cache)
    opened = open_ir(ir_dir, "fp32", threads=2, token_budget=1024)
    assert isinstance(opened, SectionedBackend)
    return opened


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> SequenceClassifier:
    model = load_torch_model(checkpoint, "classifier")
    assert isinstance(model, SequenceClassifier)
    return model


def batch_of(*lengths: int) -> TokenBatch:
    rng = np.random.default_rng(sum(lengths))
    return TokenBatch.of([rng.integers(5, 900, size=length, dtype=np.int32) for length in lengths], pad_id=1)


EDGES = (
    1,
    8,
    9,
    63,
    64,
    65,
    LOCAL_QUERIES,
    DENSE_LOCAL_TOKENS,
    DENSE_LOCAL_TOKENS + 1,
    2 * LOCAL_QUERIES + SLIDING_WINDOW,
)
LONG_EDGES = (SLICE_TOKENS - 1, SLICE_TOKENS, SLICE_TOKENS + 1, GLOBAL_QUERIES + 1, 2 * SLICE_TOKENS + 7)


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [*EDGES, *LONG_EDGES])
def test_logits_equal_torch_in_one_piece(tokens: int, backend: SectionedBackend, reference: SequenceClassifier) -> None:
    for batch in (batch_of(tokens), batch_of(tokens, max(1, tokens - 50), max(1, tokens // 3))):
        padded = {name: torch.tensor(array) for name, array in batch.padded().items()}
        expected = reference(padded["input_ids"], padded["attention_mask"]).numpy()
        np.testing.assert_allclose(backend.launch(batch).result(), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 700), min_size=1, max_size=4))
def test_sequences_of_one_batch_do_not_change_one_another(lengths: list[int], backend: SectionedBackend) -> None:
    batch = batch_of(*lengths)
    together = backend.launch(batch).result()
    for index, ids in enumerate(np.split(batch.ids, batch.cu_seqlens[1:-1])):
        np.testing.assert_allclose(together[index], backend.launch(TokenBatch.of([ids])).result()[0], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_another_batch_between_any_two_steps_changes_neither(backend: SectionedBackend) -> None:
    long, short = batch_of(700), batch_of(30, 20)
    expected_long, expected_short = backend.launch(long).result(), backend.launch(short).result()
    pauses = 0
    pending = backend.launch(long)
    while (outputs := pending.step()) is None:
        pauses += 1
        np.testing.assert_array_equal(backend.launch(short).result(), expected_short)
    assert pauses > 4 * len(slices(700))
    np.testing.assert_array_equal(outputs, expected_long)


@pytest.mark.slow
def test_only_batches_worth_an_interruption_are_cut(backend: SectionedBackend) -> None:
    assert backend.launch(batch_of(UNCUT_TOKENS)).step() is not None
    assert backend.launch(batch_of(UNCUT_TOKENS + 1)).step() is None


@pytest.mark.slow
async def test_a_short_text_is_classified_while_a_long_one_is_under_way(checkpoint: Path, ir_cache: Path) -> None:
    settings_of = {"classifier": {"model": str(checkpoint)}, "serving": {"cache_dir": str(ir_cache)}}
    convert_here(checkpoint, "classifier", "fp32", ir_cache)
    engine = open_cpu_engine(AppConfig.model_validate(settings_of | {"cpu": {"precision": "fp32"}}), "classifier")
    engine.start()
    labels = {"a": "This is a.", "b": "This is b."}
    short = ClassifyRequest((PairText("a few words"),), labels)
    long = ClassifyRequest((PairText("many words " * 700),), labels)
    quiet_short, quiet_long = await engine.run(short), await engine.run(long)
    [under_way] = await engine.admit([long])
    assert isinstance(under_way, asyncio.Future)
    beside = await engine.run(short)
    assert not under_way.done()
    for quiet, later in ((quiet_short, beside), (quiet_long, await under_way)):
        assert isinstance(quiet, ClassifyResult)
        assert isinstance(later, ClassifyResult)
        np.testing.assert_array_equal(quiet.scores, later.scores)
    await engine.close()
