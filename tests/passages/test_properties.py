"""Whatever the text: all of it is in the passages once, in order, within the limit, and the places are right."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.passages import counters
from trivet.passages import FORMATS, CountTokens, Passage, passages_of

VISIBLE = re.compile(r"[^\s\ufeff]")
FRAGMENTS = st.sampled_from(
    [
        "", " ", "\t", "    ", "\r", "\n\n", "x", "y = 1", "}", ")", "]);", "{", "(", "end", "else:", "} else {",
        "def f(a, b):", "    return a", "class A(B):", "  @property", "# a comment", "// a comment", '"""doc"""',
        "'''", '"""', "function f() {", "const f = () => {", "fn f() -> u8 {", "func f() {", "#if A", "#endif",
        "<<EOF", "EOF", "`${", "/*", "*/", "\0", "\ufeff", "\ud800", "日本語の文。次の文。",
        "Sentence one. Sentence two! Is this e.g. three?", "# Heading", "## Deeper", "Title", "=====", "-----",
        "```", "- item", "1. item", "| a | b |", "---", ".. note::", "a" * 300, "word " * 60, ")" * 80, "\x0b",
        "\x85", "🙂🙂🙂", "import os, sys", "key: value", "  - nested: 1", "x=>x=>",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=400), st.lists(FRAGMENTS, max_size=60).map("\n".join))
COUNTERS = st.sampled_from([counters.words, counters.with_spaces, counters.some_bytes])


@pytest.mark.slow
@example(text="0:0:0:0:0:0:0:0\r\ufeff0", kind="bash", count=counters.words, max_tokens=16)
@example(text="0))))))))))))))\ufeff}", kind="bash", count=counters.words, max_tokens=16)
@example(text="0:0:0:0:0:0:0;0{\ufeff", kind="bash", count=counters.words, max_tokens=16)
@given(text=TEXTS, kind=st.sampled_from(sorted(FORMATS)), count=COUNTERS, max_tokens=st.integers(16, 80))
def test_passages_cover_the_text_in_order_within_the_limit(
    text: str, kind: str, count: CountTokens, max_tokens: int
) -> None:
    passages = passages_of(text, count, max_tokens, kind=kind)
    check(text, passages, count, max_tokens)


def check(text: str, passages: list[Passage], count: CountTokens, max_tokens: int) -> None:
    at = 0
    for passage in passages:
        own = text[passage.start : passage.end]
        assert passage.start >= at
        assert not VISIBLE.search(text[at : passage.start])
        at = passage.end
        assert VISIBLE.search(own.split("\n")[0])
        assert VISIBLE.match(own[-1])
        assert VISIBLE.match(own) or text[: passage.start].rpartition("\n")[2] == "", "no blank space but indentation"
        assert len(own) == 1 or count([re.sub("[\ud800-\udfff]", "\ufffd", own)])[0] <= max_tokens
        assert passage.first_line == text.count("\n", 0, passage.start) + 1
        assert passage.last_line == text.count("\n", 0, passage.end) + 1
        assert passage.title is None or 0 < len(passage.title) <= 200
    assert not VISIBLE.search(text[at:])
    for before, passage in pairwise(passages):
        if text[passage.start : passage.end].lstrip()[:1] in (")", "]", "}"):
            run = re.search(r"[)\]}\s]*$", text[before.start : passage.start])
            rest = re.match(r"[)\]}\s]*", text[passage.start : passage.end])
            brackets = "".join((run[0] + rest[0]).split()) if run and rest else ""
            assert count([brackets])[0] > max_tokens / 4, "only within a long run of closing brackets"


def test_a_limit_too_low_to_work_with_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens is 15; a passage needs a limit of at least 16"):
        passages_of("x", counters.words, 15)


def test_a_blank_text_has_no_passages() -> None:
    for text in ("", " ", "\n\n\t\r\n", "\ufeff", "\ufeff\n \u2028"):
        assert passages_of(text, counters.words, 100) == []


def test_a_text_that_fits_is_one_passage() -> None:
    code = "import os\n\n\ndef f():\n    return 1\n\n\ndef g():\n    return 2\n"
    assert passages_of(code, counters.words, 100, path="x.py") == [Passage(0, len(code) - 1, 1, 9, "statements")]
