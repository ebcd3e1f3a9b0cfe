"""docs/integrations.md: every Python example runs and prints what stands below it."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.clients

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
ADDRESS = "http://127.0.0.1:8000"
EXAMPLE = re.compile(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = dict(EXAMPLE.findall(PAGE.read_text(encoding="utf-8")))


def test_every_example_is_found() -> None:
    assert len(EXAMPLES) == PAGE.read_text(encoding="utf-8").count("```python\n") > 5


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_prints_what_the_page_says(base_url: str, title: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = EXAMPLES[title]
    shown = re.search(r"(?:^# .*\n)+\Z", code, re.MULTILINE)
    assert shown is not None, "the example does not show its output"
    exec(compile(code.replace(ADDRESS, base_url), f"{PAGE.name}: {title}", "exec"), {})
    assert capsys.readouterr().out == re.sub(r"^# ", "", shown.group(), flags=re.MULTILINE)
