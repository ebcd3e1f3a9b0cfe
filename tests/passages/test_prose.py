"""Prose is divided at its headings, then between paragraphs, then between sentences."""

import pytest

from tests.passages import counters
from tests.passages.test_properties import check
from trivet.passages import Passage, division_steps, passages_of

SENTENCE = "One plain remark of six words. "
"""Seven tokens."""


def found(text: str, max_tokens: int = 40, path: str = "x.md") -> list[tuple[str, str | None]]:
    passages = passages_of(text, counters.words, max_tokens, path=path)
    check(text, passages, counters.words, max_tokens)
    return [(text[at.start : at.end].split("\n")[0], at.title) for at in passages]


def kinds(text: str, path: str = "x.md") -> list[str]:
    return [at.kind for at in passages_of(text, counters.words, 40, path=path)]


def paragraph(sentences: int) -> str:
    return (SENTENCE * sentences).strip() + "\n"


def test_sections_are_passages_and_their_headings_titles() -> None:
    text = (
        f"# Guide\n\n{paragraph(3)}\n## Install\n\n{paragraph(3)}\n### On Windows ###\n\n{paragraph(4)}\n{paragraph(4)}"
    )
    assert found(text) == [
        ("# Guide", None),
        ("## Install", "Guide"),
        ("### On Windows ###", "Guide › Install"),
        (paragraph(4).strip(), "Guide › Install › On Windows"),
    ]
    assert kinds(text) == ["section", "section", "section", "paragraphs"]


def test_a_section_that_fits_is_not_divided() -> None:
    text = f"{paragraph(5)}\n# One\n\n{paragraph(1)}\n## Two\n\n{paragraph(1)}\n"
    assert found(text) == [(paragraph(5).strip(), None), ("# One", None)]


def test_a_heading_is_never_alone() -> None:
    text = f"# One\n\n## Two\n\n### Three\n\n{paragraph(4)}\n{paragraph(4)}"
    assert [line for line, _ in found(text)] == ["# One", paragraph(4).strip()]


def test_underlined_headings_and_what_only_looks_like_one() -> None:
    text = f"Guide\n=====\n\n{paragraph(4)}\nInstall\n-------\n\n{paragraph(4)}\n---\n\n{paragraph(4)}"
    assert found(text) == [("Guide", None), ("Install", "Guide"), ("---", "Guide › Install")]


def test_a_hash_within_a_fence_is_no_heading() -> None:
    text = f"# Guide\n\n{paragraph(3)}\n```sh\n# not a heading\nmake test\n```\n\n{paragraph(4)}"
    assert all(title in (None, "Guide") for _, title in found(text))
    fence = "~~~ python\n" + "# no heading\n\n" * 3 + "~~~~\n"
    assert [title for _, title in found(f"# A\n\n{paragraph(4)}\n{fence}\n# B\n\n{paragraph(4)}")] == [None, "A", None]


def test_an_open_fence_lasts_to_the_end() -> None:
    assert all(title is None for _, title in found("```\n" + "# x\ncall(a, b)\n" * 30)[1:])


def test_front_matter_is_apart() -> None:
    text = f"---\ntitle: Guide\ntags: [a, b, c]\nauthor: somebody\n---\n\n# Guide\n\n{paragraph(5)}"
    assert [line for line, _ in found(text)] == ["---", "# Guide"]


def test_a_list_is_divided_between_its_items() -> None:
    items = "".join(f"- item {index} is about\n  some thing or other\n" for index in range(12))
    assert all(line.startswith("- item") for line, _ in found(items))


def test_a_table_is_divided_between_its_rows() -> None:
    rows = "| a | b |\n|---|---|\n" + "| some words | other words |\n" * 12
    assert all(line.startswith("|") for line, _ in found(rows))
    assert set(kinds(rows)) == {"lines"}


def test_a_long_paragraph_is_divided_between_its_sentences() -> None:
    lines = [line for line, _ in found(paragraph(20))]
    assert len(lines) == 4
    assert all(line.startswith("One plain") and line.endswith("words.") for line in lines)


def test_titles_of_people_and_abbreviations_end_no_sentence() -> None:
    text = "We asked Dr. Smith, e.g. The one of fig. 3 by J. Doe et al. Again and again, i.e. Often, we did. " * 5
    assert all(line.startswith("We asked") for line, _ in found(text))


def test_sentences_without_blank_space_between_them() -> None:
    text = "これは文です。次の文もあります。" * 12
    assert all(line.startswith(("これ", "次")) and line.endswith("。") for line, _ in found(text, 16))


def test_a_sentence_over_the_limit_is_divided_between_words() -> None:
    assert all(not line.startswith(("ord", "rd", "d ")) for line, _ in found("word " * 200))


def test_restructured_text() -> None:
    text = (
        f"=====\nGuide\n=====\n\n{paragraph(3)}\nInstall\n-------\n\n{paragraph(3)}\n"
        f".. code-block:: sh\n\n    make test\n\nUse\n---\n\n{paragraph(5)}"
    )
    assert found(text, path="x.rst") == [("=====", None), ("Install", "Guide"), ("Use", "Guide")]


def test_a_literal_block_stays_with_the_line_that_introduces_it() -> None:
    text = f"{paragraph(5)}\nRun this::\n\n    make test\n\n{paragraph(5)}"
    assert ("Run this::", None) in found(text, path="x.rst")
    assert all(not line.startswith("    make") for line, _ in found(text, path="x.rst"))


def test_plain_text_has_no_headings() -> None:
    text = f"# Guide\n\n{paragraph(4)}\n# More\n\n{paragraph(4)}"
    assert [title for _, title in found(text, path="x.txt")] == [None, None]


@pytest.mark.slow
def test_lines_are_counted_across_segments() -> None:
    text = "".join(f"line {index} of many in a long file\n" for index in range(60_000))
    assert len(text) > 2**20
    steps = list(division_steps(text, counters.words, 192, path="x.md"))
    assert sum(steps) == len(text)
    assert max(steps[1:]) <= 128 * 1024
    passages = passages_of(text, counters.words, 192, path="x.md")
    assert passages[-1].last_line == 60_000
    assert all(text[at.start : at.end].startswith(f"line {at.first_line - 1} ") for at in passages)


@pytest.mark.parametrize("path", ["x.md", "x.rst", "x.txt", "x.yaml"])
def test_the_first_passage_of_a_text_with_a_byte_order_mark(path: str) -> None:
    (passage,) = passages_of("\ufeff\nsome words", counters.words, 40, path=path)
    assert passage == Passage(2, 12, 2, 2, passage.kind, None)
