"""Chunks are whole lines, within the limit, nothing lost, and cut where a reader would cut."""

from hypothesis import given
from hypothesis import strategies as st

from trivet.relations.chunking import chunks_of

LINES = st.lists(
    st.sampled_from(["", "x", "    y = 1", "\tz", "}", "a much longer line of text than the others", "\r"])
)
TEXTS = st.one_of(st.text(), LINES.map("\n".join))


@given(text=TEXTS, limit=st.integers(1, 120))
def test_nothing_is_lost_and_lines_are_counted_as_editors_do(text: str, limit: int) -> None:
    chunks = list(chunks_of(text, limit))
    assert "".join(chunk.text for chunk in chunks) == text
    lines = text.split("\n")
    expected = 1
    for chunk in chunks:
        assert chunk.start_line == expected
        assert chunk.text.rstrip("\n").split("\n")[0] == lines[chunk.start_line - 1] or not chunk.text.strip("\n")
        count = chunk.end_line - chunk.start_line + 1
        assert chunk.text.count("\n") in (count, count - 1)
        assert len(chunk.text) <= limit or count == 1
        expected = chunk.end_line + 1


CODE = """\
import math


def area(r):
    if r < 0:
        raise ValueError(r)

    return math.pi * r * r


class Circle:
    def __init__(self, r):
        self.r = r

    def area(self):
        return area(self.r)
"""


def starts_of(text: str, limit: int) -> list[str]:
    return [text.splitlines()[chunk.start_line - 1].strip() for chunk in chunks_of(text, limit)]


def test_code_is_cut_before_definitions() -> None:
    assert starts_of(CODE, 140) == ["import math", "class Circle:"]


def test_a_head_stays_with_its_body() -> None:
    assert starts_of(CODE, 80) == ["import math", "return math.pi * r * r", "class Circle:", "def area(self):"]


def test_prose_is_cut_between_paragraphs() -> None:
    paragraph = "One line of prose.\nAnother line of prose.\n"
    chunks = list(chunks_of("\n".join([paragraph] * 6), 120))
    assert all(chunk.text.startswith("One line") for chunk in chunks)
    assert len(chunks) == 3


def test_a_closing_bracket_stays_with_what_it_closes() -> None:
    code = "f(\n" + "    1,\n" * 6 + ")\n" + "g(\n" + "    1,\n" * 6 + ")\n"
    chunks = list(chunks_of(code, 48))
    assert [chunk.text.split("\n")[0] for chunk in chunks] == ["f(", "g("]
