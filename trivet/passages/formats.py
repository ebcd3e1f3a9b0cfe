"""What a text is written in: by the name of its file, by the kind its sender states, or by its look."""

import re
from pathlib import PurePosixPath
from typing import Final

from trivet.passages.program import looks_like_program
from trivet.passages.syntax.languages import GRAMMARS

MARKDOWN: Final = "markdown"
RESTRUCTURED: Final = "rst"
PLAIN: Final = "plain"
LINES: Final = "lines"

FORMATS = frozenset({*GRAMMARS, MARKDOWN, RESTRUCTURED, PLAIN, LINES})
"""Programming languages, three kinds of prose, and `lines` for everything else."""

_BY_SUFFIX = {
    suffix: name
    for name, suffixes in {
        "bash": "sh bash zsh ksh",
        "c": "c",
        # A header may be in either language, and C reads as C++.
        "cpp": "h cc cpp cxx c++ hh hpp hxx h++ ipp inl cu cuh",
        "csharp": "cs csx",
        "go": "go",
        "java": "java",
        "javascript": "js mjs cjs jsx",
        "kotlin": "kt kts",
        "lua": "lua",
        "php": "php phtml",
        "python": "py pyi pyw",
        "ruby": "rb rake gemspec",
        "rust": "rs",
        "scala": "scala sc sbt",
        "swift": "swift",
        "tsx": "tsx",
        "typescript": "ts mts cts",
        MARKDOWN: "md markdown mdx mkd qmd rmd",
        RESTRUCTURED: "rst rest",
        PLAIN: "txt text adoc asciidoc org tex log",
    }.items()
    for suffix in suffixes.split()
}
_BY_NAME = {
    **dict.fromkeys(("rakefile", "gemfile"), "ruby"),
    **dict.fromkeys(("readme", "changelog", "changes", "contributing"), MARKDOWN),
    **dict.fromkeys(("license", "licence", "copying", "notice", "authors", "todo"), PLAIN),
}
_BY_PROGRAM = {"python": "python", "bash": "bash", "sh": "bash", "node": "javascript", "ruby": "ruby", "php": "php"}
_SHEBANG = re.compile(r"#![^\n]{0,100}?/(?:env +(?:-S +)?)?([a-z]+)[\d.]*(?:\s|$)")
_LOOKED_AT_LINES = 200
_CODE_END = re.compile(r"[;{}(\[,]\s*$|^\s*(?:[)\]}@]|//|/\*)|\)\s*:\s*$|=>|\w\(\w*\)|^[\w.\[\]\"']+\s*[:=]\s*\S+$")
_CODE_SHARE = 0.4


def format_of(text: str, path: str | None = None, kind: str | None = None) -> str:
    """One of `FORMATS`.

    Args:
        text: the text itself, whose first lines decide when nothing else does.
        path: the file's path or name; both kinds of slashes separate.
        kind: one of `FORMATS`, or `code` or `prose`, which leave the choice among languages or among kinds of prose to
            the path; it outweighs the path.

    Raises:
        ValueError: the kind is not one of these.
    """
    if kind in FORMATS:
        return kind
    if kind not in (None, "code", "prose"):
        known = ", ".join(sorted(FORMATS))
        raise ValueError(f"kind is {kind!r}; it may be code, prose or one of {known}; omit it to go by path and text")
    by_path = _of_path(path)
    is_prose = by_path in (MARKDOWN, RESTRUCTURED, PLAIN)
    if kind == "prose":
        return by_path if by_path is not None and is_prose else MARKDOWN
    if by_path is not None and not (kind == "code" and is_prose):
        return by_path
    program = _SHEBANG.match(text)
    if program is not None:
        return _BY_PROGRAM.get(program[1], LINES)
    if kind == "code" or (path is not None and "." in PurePosixPath(path).name):
        return LINES
    return LINES if _looks_like_code(text) or looks_like_program(text) else MARKDOWN


def _of_path(path: str | None) -> str | None:
    if path is None:
        return None
    name = PurePosixPath(path.replace("\\", "/")).name.lower()
    stem, dot, suffix = name.rpartition(".")
    return _BY_SUFFIX.get(suffix) if dot and stem else _BY_NAME.get(name)


def _looks_like_code(text: str) -> bool:
    """Whether many of the first lines end or begin as lines of code do."""
    lines = [line[:200] for line in text[:20_000].split("\n")[:_LOOKED_AT_LINES] if line.strip()]
    return bool(lines) and sum(bool(_CODE_END.search(line)) for line in lines) >= _CODE_SHARE * len(lines)
