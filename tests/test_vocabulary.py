"""Retired terms do not come back: in the documentation, the page, the configuration, the messages and the code.

docs/glossary.md has the terms that replace them. There is one test per area; it names the file, the line and the
replacement of every finding.
"""

import ast
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Term:
    """A retired term: a regular expression whose spaces also match line breaks, and what to write instead."""

    pattern: str
    instead: str
    allowed: str | None = None
    """What may surround a match: a regular expression that covers it."""

    def found_in(self, text: str) -> Iterator[re.Match[str]]:
        allowed = [] if self.allowed is None else [found.span() for found in _compiled(self.allowed).finditer(text)]
        for found in _compiled(self.pattern).finditer(text):
            if not any(start <= found.start() and found.end() <= end for start, end in allowed):
                yield found


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE)


TERMS = (
    Term(r"\bstrangers?\b", "another process, other programs, other users"),
    Term(r"\btwins?\b", "CPU replica, CPU fallback"),
    Term(r"\b(park|parks|parked|parking)\b", "offload"),
    Term(r"\bun-?park\w*\b", "reload"),
    Term(r"\bforeign\b", "external"),
    Term(r"\b(unfold|unfolds|unfolded|unfolding)\b", "expand"),
    Term(r"\banew\b", "again; name what is created"),
    Term(r"\bwhoever\b", "name the actor"),
    Term(r"\btakes nobody along\b", "does not affect the others"),
    Term(r"\bhis like\b", "similar-sized work"),
    Term(r"\bfor people\b", "human-readable"),
    Term(r"\bsay it and leave\b", "show the version and exit"),
    Term(r"\b(landed|flights)\b", "result; in-flight calls"),
    Term(r"\bshel(f|ves)\b", "disk worker"),
    Term(r"\btickets?\b", "future"),
    Term(r"\bleft_out\b", "omitted, skipped"),
    Term(r"\babsent[_ ](relation|label)\b", "no_relation"),
    Term(r"\btrios?\b", "the three models, a set of models", allowed=r"`trio`|^trio$"),
    Term(r"\b95 of (100|a hundred)\b", "p95"),
    Term(r"\btime to answer\b", "latency"),
    Term(r"\bbeing answered\b", "in flight"),
    Term(r"\bfor ever\b", "indefinitely"),
    Term(r"\bin (its|their|his|plain) (own )?words\b", "name the format or the field"),
    Term(r"\bby (its|their) place in what\b", "by index"),
)
"""Retired in every area."""

SECOND_MEANINGS = (
    Term(
        r"\bneighbou?r(s|ing)?\b",
        "another process, Ollama on the same GPU; consecutive windows",
        allowed=r"`neighbours`",  # a field of /v1/graph
    ),
    Term(r"\bcards?\b", "GPU", allowed=r"model(?:'s)? cards?|class(?:=|: )\"card[^\"]*\""),
)
"""Words with another meaning in the code: a `card` variable is a model card. Retired in everything that users read."""

HABITS = (
    Term(r"\bnobody\b", "name the actor: no request, no process, no user"),
    Term(r"\btold\b", "reported, configured, logged"),
    Term(r"\bof (its|their|his|your|our) own\b", "its own …, a separate …"),
    Term(r"\bwho asks\b", "name the actor"),
    Term(r"\btakes? (the|his|their) work along\b", "cancels the work"),
    Term(r"\bgives? (it|the work|its work) up\b", "cancel"),
)
"""Turns of phrase that readers stumbled over. Retired where users read: the documentation and the page."""

PASSAGES = (
    "nobody is overtaken by his like",
    "Errors name an input by its place in what was dispatched",
    "who leaves takes nobody along",
    "Hardly any CPU is booked",
    "the floor sends back who lacks it",
    "where it is first, it says so in plain words",
    "Who does it again depends on what died",
    "nor for one of 8,192 tokens that has begun",
    "Useful tokens per second of one core's time",
    "shape reads 3.6 times what infinity's torch engine does",
    "Debian splits `python3-venv` off its Python",
    "orders a public question set better than the starter embedder",
    "is necessity: the floor, blindness, weights or replica gone",
    "push lanes below the floor with no stranger in sight",
    "unread, last good reading at most `grace_s` ago (before the first one: the start)",
    "their bodies do not contradict each other",
    "since the body of a stranger is not read",
    "no cut-off spared much without losing related pairs",
    "the call ends when the last one who waits for any of its inputs has left",
    "now it leaves 76 % of 1.7 times as much",
    "between 75 and 85 of a hundred are right",
    "Of its time, how much a long forward may lose to shorter ones.",
    "what is left of the texts has not been looked at",
    "who asks whether the process lives takes silence for a no",
    "A caller who goes away takes the work along",
    "the application is gone, and so am I",
    "What a machine really gives to the service is",
    "which goes before the header",
    "How stubborn a client is.",
    "A node that stops talking counts as full",
    "does not begin with nothing, nor with the end of something",
)
"""Sentences that were replaced in all areas."""

IN_CODE = (*TERMS, *(Term(re.escape(passage).replace(r"\ ", " "), "plain English") for passage in PASSAGES))
IN_MESSAGES = (*IN_CODE, *SECOND_MEANINGS)
IN_PROSE = (*IN_MESSAGES, *HABITS)

Text = tuple[Path, int, str]
"""A file, the line on which a text begins in it, and the text."""


def whole(*patterns: str) -> Iterator[Text]:
    """Whole files."""
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            yield path, 1, path.read_text(encoding="utf-8")


def documentation() -> Iterator[Text]:
    yield from whole("README.md", "docs/**/*.md", "mkdocs.yml")


def configuration() -> Iterator[Text]:
    yield from whole("serve_config.yaml", "configs/*.yaml", "compose.yaml", "deployments/environment/ray.env")


def operations() -> Iterator[Text]:
    """Dashboard, alerts, manifests, and the targets of `make help`."""
    yield from whole("ops/**/*.json", "ops/**/*.yaml", "Makefile")


def page() -> Iterator[Text]:
    yield from whole("trivet/api/ui/**/*.js", "trivet/api/ui/**/*.html")


def python_files() -> list[Path]:
    return [path for package in ("trivet", "deployments") for path in sorted((ROOT / package).rglob("*.py"))]


METRICS_FILE = ROOT / "trivet" / "metrics.py"


def metrics() -> Iterator[Text]:
    """All strings of the declarations: names, descriptions, labels."""
    for line, text in strings(METRICS_FILE, docstrings=False):
        yield METRICS_FILE, line, text


def messages() -> Iterator[Text]:
    """All string literals that may reach a user; docstrings are a separate area."""
    for path in python_files():
        if path != METRICS_FILE:
            for line, text in strings(path, docstrings=False):
                yield path, line, text


def docstrings() -> Iterator[Text]:
    """Docstrings of modules, classes, functions and attributes."""
    for path in python_files():
        for line, text in strings(path, docstrings=True):
            yield path, line, text


def comments() -> Iterator[Text]:
    for path in python_files():
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type == tokenize.COMMENT:
                    yield path, token.start[0], token.string


def strings(path: Path, *, docstrings: bool) -> Iterator[tuple[int, str]]:
    """The string literals of a module: those that stand alone as a statement, or all others."""
    for line, text, alone in _literals(path):
        if alone == docstrings:
            yield line, text


@cache
def _literals(path: Path) -> list[tuple[int, str, bool]]:
    """Line, text, and whether it stands alone, of every string literal.

    Former configuration keys (`RENAMED = {former: present}`) are not read: they have to name what was retired.
    """
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    former = {
        id(inner)
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "RENAMED"
        for inner in ast.walk(node)
    }
    return [
        (node.lineno, node.value, id(node) in alone)
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in former
    ]


def findings(texts: Iterable[Text], terms: tuple[Term, ...]) -> list[str]:
    """`file:line: "what was found": write …` for each use of a retired term."""
    found = []
    any_term = _compiled("|".join(term.pattern for term in terms))
    for path, first_line, text in texts:
        for term in terms if any_term.search(text) else ():
            for match in term.found_in(text):
                line = first_line + text.count("\n", 0, match.start())
                words = " ".join(match[0].split())
                found.append(f'{path.relative_to(ROOT)}:{line}: "{words}": write {term.instead}')
    return found


AREAS: tuple[tuple[Callable[[], Iterator[Text]], tuple[Term, ...]], ...] = (
    (documentation, IN_PROSE),
    (configuration, IN_PROSE),
    (operations, IN_MESSAGES),
    (page, IN_PROSE),
    (metrics, IN_MESSAGES),
    (messages, IN_MESSAGES),
    (docstrings, IN_CODE),
    (comments, IN_CODE),
)


@pytest.mark.slow
@pytest.mark.parametrize(("texts", "terms"), AREAS, ids=[texts.__name__ for texts, _ in AREAS])
def test_no_retired_term_is_used(texts: Callable[[], Iterator[Text]], terms: tuple[Term, ...]) -> None:
    found = findings(texts(), terms)
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def in_a_text(text: str) -> list[str]:
    return findings([(ROOT / "README.md", 1, text)], IN_PROSE)


@pytest.mark.parametrize(
    "text",
    ["A stranger took it.", "Twins answer", "parked", "takes nobody\n    along", "`left_out`", "the card is full"],
)
def test_a_retired_term_is_found(text: str) -> None:
    assert in_a_text(text)


@pytest.mark.parametrize(
    "text", ["a spark", "park_after_s", "calls in flight", "the model card says", "a tale", "between", "`trio`"]
)
def test_other_words_are_not(text: str) -> None:
    assert in_a_text(text) == []


def test_a_finding_names_its_line() -> None:
    assert in_a_text("one\ntwo\nparked\n") == ['README.md:3: "parked": write offload']


def glossary() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", text, re.MULTILINE)


def test_the_glossary_is_short_and_sorted() -> None:
    terms = [term for term, _ in glossary()]
    assert 10 <= len(terms) <= 20
    assert terms == sorted(terms, key=str.casefold)


def test_a_term_is_explained_in_one_or_two_sentences() -> None:
    for term, meaning in glossary():
        assert meaning.endswith("."), term
        assert 1 <= len(re.findall(r"\.(?: |$)", meaning)) <= 2, term
