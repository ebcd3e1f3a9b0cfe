"""Patterns that select files follow the rules of `.gitignore`."""

import pytest

from trivet.index import path_matcher

PATHS = ["a.py", "docs/a.md", "docs/deep/b.md", "src/docs/c.md", "#notes/d.md", "!e.md"]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        (".", PATHS),
        ("./", PATHS),
        ("*.py", ["a.py"]),
        ("docs", ["docs/a.md", "docs/deep/b.md", "src/docs/c.md"]),
        ("/docs/", ["docs/a.md", "docs/deep/b.md"]),
        ("./docs/deep", ["docs/deep/b.md"]),
        ("docs/**/b.*", ["docs/deep/b.md"]),
        ("a.py/", []),
        ("#notes", ["#notes/d.md"]),
        ("!e.md", ["!e.md"]),
    ],
)
def test_a_pattern_selects_files(pattern: str, matched: list[str]) -> None:
    assert list(filter(path_matcher(pattern), PATHS)) == matched


@pytest.mark.parametrize("pattern", ["[a", "   "])
def test_a_pattern_that_cannot_match_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="no path can match"):
        path_matcher(pattern)
