"""The documentation is complete and leads somewhere: navigation, links, anchors, and the paths and targets it names."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
PACKAGES = sorted(path.parent for top in ("trivet", "deployments") for path in (ROOT / top).rglob("__init__.py"))


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, in which a tag names a Python function."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, suffix, node: suffix)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def in_navigation(entry: Any) -> Iterator[str]:
    """Paths of pages below an entry of `nav`."""
    match entry:
        case str():
            yield entry
        case dict():
            for below in entry.values():
                yield from in_navigation(below)
        case list():
            for below in entry:
                yield from in_navigation(below)


def test_every_page_is_in_the_navigation_once() -> None:
    nav = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)["nav"]
    assert sorted(in_navigation(nav)) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """Anchors of a page's headings, by the rules of Python-Markdown's `toc`."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    return frozenset(slug(heading) for heading in headings)


def slug(heading: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def links() -> list[tuple[Path, str]]:
    """(page, target) of every link and picture that stays inside the repository."""
    return [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page))
        if not re.match(r"[a-z]+:", target)
    ]


@pytest.mark.parametrize(
    ("page", "target"), links(), ids=lambda value: name(value) if isinstance(value, Path) else value
)
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    led_to = (page.parent / path).resolve() if path else page
    assert led_to.exists()
    # mkdocs publishes docs/ alone: a page there that points outside of it would point nowhere on the site.
    assert page.parent == ROOT or led_to.is_relative_to(DOCS)
    if anchor:
        assert anchor in anchors(led_to)


def folders() -> list[str]:
    """First cells of the rows of docs/architecture.md that name a folder or a file."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([\w./]+)` \|", text, re.MULTILINE)


@pytest.mark.parametrize("folder", folders())
def test_a_folder_of_the_architecture_exists(folder: str) -> None:
    assert (ROOT / folder).is_dir() if folder.endswith("/") else (ROOT / folder).is_file()


def test_no_folder_has_two_rows() -> None:
    assert sorted(set(folders())) == sorted(folders())


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != ROOT / "trivet"], ids=name)
def test_a_package_has_a_row_in_the_architecture(package: Path) -> None:
    assert f"{name(package)}/" in folders()


PATH_BEGINNINGS = ("trivet/", "deployments/", "bench/", "research/", "tests/", "ops/", "configs/", "docs/", "scripts/")


def named_paths() -> list[tuple[Path, str]]:
    """(page, path) of every path of the repository that stands in backticks; `{a,b}` is expanded as a shell does."""
    found = []
    for page in PAGES:
        for quoted in re.findall(r"`([\w./{},-]+)`", prose(page)):
            if quoted.startswith(PATH_BEGINNINGS):
                found += [(page, path) for path in expanded(quoted)]
    return found


def expanded(pattern: str) -> list[str]:
    parts = [part[1:-1].split(",") if part.startswith("{") else [part] for part in re.split(r"(\{[^}]*\})", pattern)]
    return ["".join(chosen) for chosen in product(*parts)]


@pytest.mark.parametrize(
    ("page", "path"), named_paths(), ids=lambda value: name(value) if isinstance(value, Path) else value
)
def test_a_path_that_is_named_exists(page: Path, path: str) -> None:
    assert (ROOT / path).exists()


RECIPES = DOCS / "contributing.md"


def recipe_steps() -> list[tuple[str, str]]:
    """(file, diff) of every step of a recipe that changes a file: the last file that the step names before the diff."""
    found = []
    text = RECIPES.read_text(encoding="utf-8")
    for diff in re.finditer(r"^    ```diff\n(.*?)^    ```$", text, re.MULTILINE | re.DOTALL):
        step = text[text.rindex("\n\n", 0, diff.start() - 1) : diff.start()]
        files = [path for path in re.findall(r"`([\w./]+)`", step) if (ROOT / path).is_file()]
        found.append((files[-1] if files else "", re.sub(r"^    ", "", diff[1], flags=re.MULTILINE)))
    return found


def test_every_step_that_shows_a_change_names_its_file() -> None:
    assert len(recipe_steps()) >= 10
    assert all(file for file, _ in recipe_steps())


@pytest.mark.parametrize(
    ("file", "diff"), recipe_steps(), ids=lambda value: value.splitlines()[0][:40] if value else ""
)
def test_a_recipe_changes_lines_that_exist(file: str, diff: str) -> None:
    lines = {line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()}
    before = [line[1:].strip() for line in diff.splitlines() if line[:1] in (" ", "-")]
    assert [line for line in before if line and line != "…" and line not in lines] == []
    added = "\n".join(line[1:] for line in diff.splitlines() if line[:1] == "+")
    called = set(re.findall(r"(?<![.\w])([a-z_]\w+)\(", added)) - {
        "nim_router"
    }  # which the recipe has the reader write
    assert {
        name for name in called if not re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8"))
    } == set()


def test_every_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z-]+)[ `]", page.read_text(encoding="utf-8")))
        assert named <= targets, name(page)


def test_braces_are_expanded() -> None:
    assert expanded("a/{b,c}.py") == ["a/b.py", "a/c.py"]
    assert expanded("a/b.py") == ["a/b.py"]


def test_a_heading_gives_an_anchor() -> None:
    assert slug("Errors & *limits* of `x_y`: [a](b.md)") == "errors-limits-of-x_y-a"
