"""Real texts for loads: code and prose from the sources of the standard library, with log-normal lengths. Seeded."""

import ast
import random
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

MEDIAN_WORDS = 90
"""About 120 tokens."""
SIGMA = 0.9
PACKAGES = ("fastapi", "httpx", "pydantic", "rich", "starlette", "typer")


@cache
def corpus() -> tuple[str, ...]:
    """Return functions and docstrings of the standard library's modules, in a fixed order."""
    return _segments(sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")))


@cache
def package_corpus(packages: tuple[str, ...] = PACKAGES) -> tuple[str, ...]:
    """Return functions and docstrings of installed packages, whose files are read but not imported."""
    site = Path(sysconfig.get_paths()["purelib"])
    return _segments([file for package in packages for file in sorted((site / package).rglob("*.py"))])


def _segments(files: Iterable[Path]) -> tuple[str, ...]:
    found: list[str] = []
    for file in files:
        source = file.read_text(encoding="utf-8", errors="replace")
        lines = source.encode().splitlines(keepends=True)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                segment = _segment(lines, node)
                found += [text for text in (segment, ast.get_docstring(node)) if text and len(text) > 40]
    return tuple(found)


def _segment(lines: list[bytes], node: ast.FunctionDef | ast.ClassDef) -> str:
    """Do the same as `ast.get_source_segment`, which would split the whole file again for every node."""
    wanted = lines[node.lineno - 1 : node.end_lineno]
    wanted[-1] = wanted[-1][: node.end_col_offset]
    wanted[0] = wanted[0][node.col_offset :]
    return b"".join(wanted).decode()


def texts(seed: int, *, median_words: int = MEDIAN_WORDS, max_words: int = 6000) -> Iterator[str]:
    """Yield texts without end whose numbers of words are log-normal around the median; long texts are joined ones."""
    rng = random.Random(seed)
    pieces = corpus()
    while True:
        wanted = min(max_words, max(3, round(rng.lognormvariate(0, SIGMA) * median_words)))
        words: list[str] = []
        while len(words) < wanted:
            words += rng.choice(pieces).split(" ")
        yield " ".join(words[:wanted])
