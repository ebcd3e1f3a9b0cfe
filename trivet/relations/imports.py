"""Finds which of some documents a document imports: by the names in import statements, and by paths. Pure."""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from trivet.passages.formats import LINES
from trivet.relations.division import Document

LEAST_CHARACTERS = 4
"""Of a name that tells something."""
NAME = re.compile(r"[A-Za-z_$][\w$]{2,}")
IMPORT_STATEMENT = re.compile(
    r"^[ \t]*(?:from\s+[.\w]+\s+import\s*(?:\((?:[^()#]++|#[^\n]*+)*+\)|[^\n]*)"
    r"|(?:import|use|pub use|using|#include)\b[^\n]*)",
    re.MULTILINE,
)
"""A list in brackets holds names and comments. It ends at the next bracket of either kind: a text of brackets that do
not close would otherwise be searched to its end from each of them."""
_COMMENT = re.compile("#[^\n]*")
_IMPORT = re.compile(
    r"^[ \t]*(?:from\s+(?P<python>[.\w]+)\s+import\b|import\s+(?P<module>[\w.]+)\s*(?:as\b|;|,|$)"
    r"|(?:import|export)\b[^'\"\n;]{0,400}?['\"](?P<script>[^'\"\n]+)['\"]|(?:pub\s+)?use\s+(?P<rust>[\w:]+)"
    r"|#include\s+[\"<](?P<header>[^\">\n]+)[\">]|using\s+(?P<csharp>[\w.]+)\s*;)"
    r"|require\(\s*['\"](?P<required>[^'\"\n]+)['\"]\s*\)",
    re.MULTILINE,
)
_EXTENSION = re.compile(r"\.(?:[cm]?[jt]sx?|h|hpp|hh)$")
_ROOT_ALIAS = re.compile(r"^[@~]/")
"""How scripts name the folder of all sources."""
_WHOLE_FOLDER = frozenset({"__init__", "index", "mod", "lib"})
"""Files that an import of their folder means."""
_FAMILIES = {
    **dict.fromkeys(("javascript", "typescript", "tsx"), "script"),
    **dict.fromkeys(("c", "cpp"), "c"),
    **dict.fromkeys(("java", "kotlin", "scala"), "jvm"),
}
"""Languages whose files import each other; any other language imports its own."""

_Parts = tuple[str, ...]
_Modules = Mapping[tuple[str, str], Sequence[tuple[_Parts, int]]]
"""The parts of each code document's path, by its family and the last part."""


class Imports:
    """What each document of code imports."""

    def __init__(self, documents: Sequence[Document], languages: Sequence[str | None]) -> None:
        """`languages` has None for documents that are no code."""
        modules = _modules(documents, languages)
        self._documents = [
            frozenset() if language is None else frozenset(_imported(document, index, language, modules))
            for index, (document, language) in enumerate(zip(documents, languages, strict=True))
        ]
        self._names = [
            frozenset()
            if language is None
            else frozenset(
                name for statement in IMPORT_STATEMENT.findall(document.text) for name in NAME.findall(statement)
            )
            for document, language in zip(documents, languages, strict=True)
        ]
        self._has_path = [document.path is not None for document in documents]
        folders = {index for index, document in enumerate(documents) if _is_whole_folder(_parts(document.path))}
        self._with_packages = [
            imported.union(*(self._documents[package] for package in imported & folders))
            for imported in self._documents
        ]

    def of(self, index: int, name: str) -> frozenset[int]:
        """Return the documents that a document imports; for a name that it imports, those behind packages, too."""
        return self._with_packages[index] if name in self._names[index] else self._documents[index]

    def names(self, index: int, target: int, name: str) -> bool:
        """Whether a document imports a name, and no path tells whether from another one, which defines it.

        Names in lower case without an underscore are too often those of modules or of local variables.
        """
        if self._has_path[index] and self._has_path[target]:
            return False
        return name in self._names[index] and (is_distinct(name) or name[0].isupper())


def is_distinct(name: str) -> bool:
    """Whether a name is hardly a word of everyday language: `read_text`, `PassagePair`, `MAX_SIZE`."""
    inner = name.strip("_$")
    return "_" in inner or (not inner.islower() and not inner.istitle() and len(inner) > LEAST_CHARACTERS)


def _modules(documents: Sequence[Document], languages: Sequence[str | None]) -> _Modules:
    modules: defaultdict[tuple[str, str], list[tuple[_Parts, int]]] = defaultdict(list)
    for index, (document, language) in enumerate(zip(documents, languages, strict=True)):
        parts = _module(_parts(document.path))
        if parts and language is not None:
            modules[_family(language), parts[-1]].append((parts, index))
    return modules


def _imported(document: Document, index: int, language: str, modules: _Modules) -> Iterator[int]:
    """Yield the documents that a text's import statements mean.

    A path that begins at the document's own folder means one place, any other the documents whose paths end like it.
    """
    families = {family for family, _ in modules} if language == LINES else {_family(language)}
    own = _parts(document.path)
    for match in _IMPORT.finditer(document.text):
        if language == "python" and _is_of_library(match):
            continue
        for relative, path in _wanted(match, own):
            for family in families if path else ():
                for known, target in modules.get((family, path[-1]), ()):
                    same = known == path if relative else known[-len(path) :] == path[-len(known) :]
                    if target != index and same:
                        yield target


def _wanted(match: re.Match[str], own: _Parts) -> Iterator[tuple[bool, _Parts]]:
    """Yield the paths of modules that an import statement may mean, and whether each begins at the root of all."""
    name = next(group for group in match.groups() if group)
    parts = tuple(part for part in re.split(r"[./:\\]+", _EXTENSION.sub("", _ROOT_ALIAS.sub("", name))) if part)
    paths = [parts, parts[:-1]] if match["rust"] or match["module"] else [parts]
    if match["python"]:
        paths = [parts, *((*parts, name) for name in _listed(match))]
    script = match["script"] or match["required"]
    up = _levels_up(name, python=match["python"] is not None, script=script is not None)
    if not own or up is None or up > len(own):
        yield from ((False, _module(path) if script else path) for path in paths)
    else:
        yield from ((True, _module((*own[: len(own) - up], *path))) for path in paths)


def _is_of_library(match: re.Match[str]) -> bool:
    """Whether a Python import is of Python's own library: `import json` is hardly ever of a file beside it."""
    name = match["python"] or match["module"] or ""
    return name.partition(".")[0] in sys.stdlib_module_names


def _listed(match: re.Match[str]) -> list[str]:
    """Return the names that a Python import lists, which may be modules."""
    statement = IMPORT_STATEMENT.match(match.string, match.start())
    listed = "" if statement is None else match.string[match.end() : statement.end()]
    return NAME.findall(_COMMENT.sub("", listed))


def _levels_up(name: str, *, python: bool, script: bool) -> int | None:
    """Return how many parts of its own path a relative import leaves out; None for others."""
    if python and name.startswith("."):
        return len(name) - len(name.lstrip("."))
    if script and name.startswith("."):
        return 1 + re.split(r"[/\\]", name).count("..")
    return None


def _family(language: str) -> str:
    return _FAMILIES.get(language, language)


def _parts(path: str | None) -> _Parts:
    return () if path is None else PurePosixPath(path.replace("\\", "/")).with_suffix("").parts


def _module(parts: _Parts) -> _Parts:
    """Return the path by which a file is imported: that of its folder if it stands for the folder."""
    return parts[:-1] if _is_whole_folder(parts) else parts


def _is_whole_folder(parts: _Parts) -> bool:
    return bool(parts) and parts[-1] in _WHOLE_FOLDER
