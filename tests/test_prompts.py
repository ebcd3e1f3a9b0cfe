"""Which prompt stands in front of a text."""

import pytest

from trivet.prompts import named_prompt, prompt_for_type


@pytest.mark.parametrize(
    ("prompts", "default", "input_type", "expected"),
    [
        ({}, None, "query", None),
        ({"query": "q: "}, None, "query", "query"),
        ({"query": "q: "}, None, "document", None),
        ({"query": "q: "}, "query", "document", "query"),
        ({"search_query": "q: ", "passage": "p: "}, None, "document", "passage"),
        ({"query": "q: "}, None, None, None),
        ({"query": "q: "}, "query", None, "query"),
    ],
)
def test_by_type(prompts: dict[str, str], default: str | None, input_type: str | None, expected: str | None) -> None:
    assert prompt_for_type(prompts, default, input_type) == expected


def test_by_name() -> None:
    assert named_prompt({"document": "d: "}, "passage") == "document"
    assert named_prompt({"document": "d: "}, "code") is None
