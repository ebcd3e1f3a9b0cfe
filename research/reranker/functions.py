"""Documented Python functions from the standard library and permissively licensed installed packages, by AST.

Reads source files as text; nothing is imported or run.
"""

import ast
import re
import sysconfig
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from itertools import chain
from pathlib import Path

_PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|PSF|Python Software Foundation|ISC|HPND|Zlib|Unlicense)\b", re.IGNORECASE)
_RECIPROCAL = re.compile(r"GPL|General Public|MPL|Mozilla|EPL|CDDL|NonCommercial|proprietary", re.IGNORECASE)
_SKIPPED_PARTS = {"test", "tests", "testing", "idlelib", "lib2to3", "site-packages", "_vendor", "vendored", "vendor"}


@dataclass(frozen=True, slots=True)
class Origin:
    """A source of functions with the licence that allows learning from it."""

    name: str
    version: str
    licence: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A documented function. `code` still has its docstring; `bare_code` does not."""

    package: str
    name: str
    summary: str
    details: str
    """What the docstring says after its summary."""
    code: str
    bare_code: str


def standard_library() -> Origin:
    root = Path(sysconfig.get_paths()["stdlib"])
    return Origin("python", sysconfig.get_python_version(), "PSF-2.0", tuple(_python_files(root.rglob("*.py"), root)))


def permissive_packages(folder: Path | None = None) -> Iterator[Origin]:
    """Distributions, installed or in `folder`, whose metadata states a permissive licence and no reciprocal one.

    By name, each once; the installed one where both are there.
    """
    found = chain(distributions(), distributions(path=[str(folder)]) if folder else ())
    by_name: dict[str, Distribution] = {}
    for dist in found:
        by_name.setdefault(dist.name.lower(), dist)
    for _, dist in sorted(by_name.items()):
        licence = _licence(dist)
        if not _PERMISSIVE.search(licence) or _RECIPROCAL.search(licence):
            continue
        files = [Path(str(f.locate())) for f in dist.files or () if f.suffix == ".py"]
        root = Path(str(dist.locate_file("")))
        kept = tuple(sorted(_python_files((f for f in files if f.exists()), root)))
        if kept:
            yield Origin(dist.name, dist.version, licence, kept)


def documented_functions(path: Path, package: str) -> Iterator[Function]:
    """Functions of 4 to 60 lines with a docstring whose first sentence says something."""
    try:
        source = path.read_text(encoding="utf-8")
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):  # theirs to mend, not ours
            tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return  # templates, Python 2 leftovers and deliberately broken files are no source of functions
    lines = source.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = _function(node, lines, package)
            if function:
                yield function


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str], package: str) -> Function | None:
    docstring = ast.get_docstring(node)
    if not docstring or len(node.body) < 2 or node.name.startswith(("__", "test")):
        return None
    end = node.end_lineno or node.lineno
    if not 4 <= end - node.lineno + 1 <= 60:
        return None
    summary, details = _split_docstring(docstring)
    if not 3 <= len(summary.split()) <= 25 or not summary.isascii():
        return None
    document = node.body[0]
    before = lines[node.lineno - 1 : document.lineno - 1]
    after = lines[(document.end_lineno or document.lineno) : end]
    return Function(
        package=package,
        name=node.name,
        summary=summary,
        details=details,
        code=textwrap.dedent("\n".join(lines[node.lineno - 1 : end])),
        bare_code=textwrap.dedent("\n".join([*before, *after])),
    )


def _split_docstring(docstring: str) -> tuple[str, str]:
    paragraph, _, rest = docstring.strip().partition("\n\n")
    joined = " ".join(paragraph.split())
    sentence, dot, more = joined.partition(". ")
    return sentence.rstrip("."), " ".join(f"{more if dot else ''} {rest}".split())


def _licence(dist: Distribution) -> str:
    metadata = dist.metadata
    stated = metadata.get("License-Expression") or ""
    if not stated:
        classifiers = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier") or [] if c.startswith("License")]
        stated = "; ".join(classifiers) or (metadata.get("License") or "").splitlines()[0:1][0:1] or ""
    return stated if isinstance(stated, str) else "".join(stated)


def _python_files(paths: Iterator[Path] | list[Path], root: Path) -> Iterator[Path]:
    for path in sorted(paths):
        try:
            parts = path.relative_to(root).parts
        except ValueError:
            continue  # scripts that a distribution installs outside its library folder
        if not _SKIPPED_PARTS.intersection(parts) and not path.name.startswith("test_"):
            yield path
