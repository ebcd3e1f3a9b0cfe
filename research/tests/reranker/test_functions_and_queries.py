"""Functions are read without running them, and queries do not give away what the document withholds."""

from pathlib import Path

import numpy as np
import pytest

from research.reranker.functions import Function, documented_functions
from research.reranker.queries import identifier_words, query_from_name, query_from_summary, without_name

SOURCE = '''
raise RuntimeError("reading must not run this")

class Client:
    @retry(times=3)
    async def fetch_json(self, url, timeout=5):
        """Returns the decoded JSON body of a URL. Follows redirects.

        Longer talk about it.
        """
        reply = await self.get(url, timeout=timeout)
        reply.raise_for_status()
        return reply.json()

    def __repr__(self):
        """Say what this client is talking to."""
        return "Client"

def undocumented(a):
    b = a
    c = b
    return c
'''


@pytest.fixture
def function(tmp_path: Path) -> Function:
    path = tmp_path / "client.py"
    path.write_text(SOURCE)
    (found,) = documented_functions(path, "example")
    return found


def test_only_documented_named_functions_are_taken(function: Function) -> None:
    assert function.name == "fetch_json"
    assert function.summary == "Returns the decoded JSON body of a URL"
    assert function.details == "Follows redirects. Longer talk about it."
    assert function.code.startswith("async def fetch_json")


def test_the_bare_code_has_lost_its_docstring_and_nothing_else(function: Function) -> None:
    assert "decoded" not in function.bare_code
    assert "reply.raise_for_status()" in function.bare_code
    assert function.bare_code.startswith("async def fetch_json(self, url, timeout=5):")


def test_a_file_that_is_not_python_yields_nothing(tmp_path: Path) -> None:
    (tmp_path / "template.py").write_text("def {{ name }}(:")
    assert list(documented_functions(tmp_path / "template.py", "example")) == []


def test_a_query_from_the_summary_asks_in_the_imperative(function: Function) -> None:
    query = query_from_summary(function.summary, np.random.default_rng(0))
    assert "returns" not in query
    assert "return" in query
    assert query == query.lower()


def test_a_document_for_a_query_from_the_name_does_not_hold_the_name(function: Function) -> None:
    assert "fetch_json" not in without_name(function)
    assert "decoded JSON body" in without_name(function)


def test_short_names_make_no_query() -> None:
    rng = np.random.default_rng(0)
    assert query_from_name("run", rng) == ""
    assert query_from_name("parse_http_date", rng).endswith("parse http date")


@pytest.mark.parametrize(
    ("name", "words"),
    [("parse_httpDate2", ["parse", "http", "date2"]), ("HTTPServer", ["http", "server"]), ("_x", ["x"])],
)
def test_identifier_words(name: str, words: list[str]) -> None:
    assert identifier_words(name) == words
