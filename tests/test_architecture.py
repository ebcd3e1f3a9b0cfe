"""docs/architecture.md, the import contracts in pyproject.toml and the imports themselves agree."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]
PROGRAMS = {"__main__", "cli", "haproxy_program"}
"""Of the library, what may import the deployments."""
TOPS = ("trivet", "deployments")


def named_by(contract: Mapping[str, Any]) -> set[str]:
    """The modules that a contract limits."""
    listed = {*contract.get("source_modules", ()), *contract.get("modules", ())}
    for container in contract.get("containers", ()):
        listed |= {f"{container}.{name}" for layer in contract["layers"] for name in re.split(r"\W+", layer)}
    return listed


def uncovered(packages: set[str]) -> set[str]:
    """The packages that no contract limits."""
    return packages - set.union(*map(named_by, CONTRACTS))


def below(folder: Path) -> set[str]:
    """The packages and modules directly below a package."""
    return {
        path.stem
        for path in folder.iterdir()
        if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").exists())
    }


def packages() -> set[str]:
    """Every package of the library and of the deployments."""
    folders = [init.parent.relative_to(ROOT) for top in TOPS for init in (ROOT / top).rglob("__init__.py")]
    return {".".join(folder.parts) for folder in folders} - {"trivet", "deployments"}


def test_every_package_has_a_contract() -> None:
    assert uncovered(packages()) == set()


def test_a_new_package_has_none() -> None:
    assert uncovered({"trivet.new", "trivet.api", "deployments.new"}) == {"trivet.new", "deployments.new"}


@pytest.mark.parametrize("container", [*TOPS, "trivet.api", "trivet.engine"])
def test_the_layers_of_a_container_are_all_that_it_has(container: str) -> None:
    """import-linter itself then refuses a module without a layer."""
    [layers] = [one for one in CONTRACTS if one.get("containers") == [container]]
    assert layers["exhaustive"]
    assert {name.rpartition(".")[2] for name in named_by(layers)} == below(ROOT / container.replace(".", "/"))


def test_only_programs_may_import_the_deployments() -> None:
    [limited] = [one["source_modules"] for one in CONTRACTS if one.get("forbidden_modules") == ["deployments"]]
    assert set(limited) == {f"trivet.{name}" for name in below(ROOT / "trivet") - PROGRAMS}


def rows() -> dict[str, str]:
    """Package of the library → what it may import, from the first table of docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `trivet/(\w+)/` \| (.+?) \|", text, re.MULTILINE))


@pytest.mark.parametrize("package", [name for name, imports in rows().items() if not imports.startswith("all of")])
def test_a_package_imports_the_packages_that_its_row_names(package: str) -> None:
    others = rows().keys() - {package}
    found = {
        name
        for file in (ROOT / "trivet" / package).rglob("*.py")
        for name in re.findall(r"^ *(?:from|import) trivet\.(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found & others == set(re.findall(r"`(\w+)`", rows()[package])) & others


def test_a_set_of_words_is_defined_once() -> None:
    """Aliases such as `Lane` and `Task`. The client has its own of what it sends, since it imports no server code."""
    defined: dict[str, list[str]] = {}
    for top in TOPS:
        for file in (ROOT / top).rglob("*.py"):
            for name, words in re.findall(
                r"^(\w+)(?:: TypeAlias)? = (Literal\[[^\]]+\])$", file.read_text(encoding="utf-8"), re.MULTILINE
            ):
                if file.parent != ROOT / "trivet" / "client":
                    defined.setdefault(words, []).append(f"{file.relative_to(ROOT)}: {name}")
    assert len(defined) > 10
    assert [places for places in defined.values() if len(places) > 1] == []
