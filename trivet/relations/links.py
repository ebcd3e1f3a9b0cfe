"""Finds which documents use what others define, from names and import statements. Pure.

It reads names, not syntax trees, so it serves any language that the passages know. An import of a document whose names
are used, directly or through the package that exports them, is certain. Where a text has no path, an import of a name
that only one other text defines is. A name alone only proposes two passages to the classifier and says which of them is
the first text.
"""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from trivet.passages.formats import LINES, format_of
from trivet.passages.program import looks_like_program
from trivet.passages.syntax.languages import GRAMMARS
from trivet.relations.division import Document, Excerpt

_DEFINITION = re.compile(
    r"^(?:export\s+|default\s+|public\s+|pub(?:\([a-z]+\))?\s+|static\s+|abstract\s+|final\s+|async\s+|inline\s+|const\s+)*"
    r"(?:def|class|function\*?|func|fn|struct|enum|trait|interface|type|object|record|let|var|val)\s+"
    r"(?:\([^)]*\)\s*)?([A-Za-z_$][\w$]{2,})"
    r"|^(?:export\s+)?(?:const\s+)?([A-Za-z_]\w{2,})\s*(?::[^=\n]{1,80})?=[^=]",
    re.MULTILINE,
)
"""Of a name at the beginning of a line: what is indented belongs to something else."""
_IS_REQUIRED = re.compile(r"(?:export\s+)?(?:const|let|var)\s+[\w$]+\s*=\s*(?:await\s+)?(?:require|import)\s*\(")
"""A name for what another file defines."""
_IMPORT = re.compile(
    r"^[ \t]*(?:from\s+(?P<python>[.\w]+)\s+import\b|import\s+(?P<module>[\w.]+)\s*(?:as\b|;|,|$)"
    r"|(?:import|export)\b[^'\"\n;]{0,400}?['\"](?P<script>[^'\"\n]+)['\"]|(?:pub\s+)?use\s+(?P<rust>[\w:]+)"
    r"|#include\s+[\"<](?P<header>[^\">\n]+)[\">]|using\s+(?P<csharp>[\w.]+)\s*;)"
    r"|require\(\s*['\"](?P<required>[^'\"\n]+)['\"]\s*\)",
    re.MULTILINE,
)
_IMPORT_STATEMENT = re.compile(
    r"^[ \t]*(?:from\s+[.\w]+\s+import\s*(?:\((?:[^()#]++|#[^\n]*+)*+\)|[^\n]*)"
    r"|(?:import|use|pub use|using|#include)\b[^\n]*)",
    re.MULTILINE,
)
"""A list in brackets holds names and comments. It ends at the next bracket of either kind: a text of brackets that do
not close would otherwise be searched to its end from each of them."""
_COMMENT = re.compile("#[^\n]*")
_NAMED_IMPORT = re.compile(
    r"^[ \t]*(?:from\s+[.\w]+\s+import\b|(?:import|export)\b[^'\"\n;]{0,400}?\bfrom\s*['\"])", re.MULTILINE
)
"""Only languages whose uses need imports write these."""
_SUFFIX = re.compile(r"\.(?:[cm]?[jt]sx?|h|hpp|hh)$")
"""Of a file's name in an import, where it may be left out."""
_NAME = re.compile(r"[A-Za-z_$][\w$]{2,}")
_USES_NEED_IMPORTS = frozenset({"javascript", "python", "tsx", "typescript"})
"""Languages in which a name that is not imported is not another file's, but happens to be the same."""
_WHOLE_FOLDER = frozenset({"__init__", "index", "mod", "lib"})
"""Files that an import of their folder means."""
_LEAST_CHARACTERS = 4
PAIRS_PER_LINK = 2

IMPORT_CONFIDENCE = 0.99
"""Share of links with an import that are right (bench/LOG.md): all of 1,187 in this project's Python code; where texts
have no paths, 4,061 of 4,088 in this project and four packages."""


@dataclass(frozen=True, slots=True)
class Link:
    """Document `source` uses what `target` defines; the passages where it does, by their positions in the document."""

    source: int
    target: int
    passages: tuple[tuple[int, int], ...]
    names: int
    """Number of names used."""
    imported: bool
    """Whether the source imports the target, or these names from a package that imports the target. Where one of them
    has no path: whether the source imports a name that only the target defines."""


def links(documents: Sequence[Document], passages: Sequence[Sequence[Excerpt]]) -> list[Link]:
    """Return the links between documents, each ordered pair once; prose defines nothing, but it may use names.

    Args:
        documents: whose paths resolve imports.
        passages: of each document.
    """
    languages = [_language(document) for document in documents]
    code = [language is not None for language in languages]
    needs_imports = {
        index
        for index, (document, language) in enumerate(zip(documents, languages, strict=True))
        if (document.path is not None and language in _USES_NEED_IMPORTS)
        or (language == LINES and _NAMED_IMPORT.search(document.text))
    }
    defined = [
        _definitions(of_document) if of_code else {} for of_code, of_document in zip(code, passages, strict=True)
    ]
    definers: defaultdict[str, list[int]] = defaultdict(list)
    for index, names in enumerate(defined):
        for name in names:
            definers[name].append(index)
    imports = _Imports(documents, code)
    found: list[Link] = []
    for index, of_document in enumerate(passages):
        uses = _uses(of_document, definers, defined[index], imports, index)
        for target, used in uses.items():
            imported = any(imports.has(index, target, name) or imports.names(index, target, name) for name in used)
            if imported or (index not in needs_imports if code[index] else _is_telling(used)):
                found.append(Link(index, target, _best_passages(used, defined[target]), len(used), imported))
    return found


def is_code(document: Document) -> bool:
    """Whether a document is in a programming language whose names are read, or looks like it and has no path."""
    return _language(document) is not None


def _language(document: Document) -> str | None:
    """Return the language of code; `lines` where only its look says that it is code, since it has no path."""
    of_format = format_of(document.text, document.path, document.kind)
    if of_format in GRAMMARS:
        return of_format
    unnamed = document.path is None and of_format == LINES
    return LINES if unnamed and looks_like_program(document.text) else None


Uses = Mapping[str, Counter[int]]
"""How often each passage has each name."""


def _definitions(passages: Sequence[Excerpt]) -> dict[str, int]:
    """Return the passage that first defines each name."""
    names: dict[str, int] = {}
    for number, passage in enumerate(passages):
        for match in _DEFINITION.finditer(passage.text):
            name = match[1] or match[2]
            if _IS_REQUIRED.match(passage.text, match.start()):
                continue
            if len(name) >= _LEAST_CHARACTERS or name.isupper():
                names.setdefault(name, number)
    return names


def _uses(
    passages: Sequence[Excerpt],
    definers: Mapping[str, Sequence[int]],
    own: Mapping[str, int],
    imports: "_Imports",
    index: int,
) -> dict[int, dict[str, Counter[int]]]:
    """Return the names of each other document that occur, and how often in which passage."""
    found: defaultdict[int, dict[str, Counter[int]]] = defaultdict(dict)
    for number, passage in enumerate(passages):
        others = set(_NAME.findall(_IMPORT_STATEMENT.sub("", passage.text)))
        for name, count in Counter(_NAME.findall(passage.text)).items():
            where = definers.get(name)
            if where is None or name in own:
                continue
            imported = [target for target in where if imports.has(index, target, name)]
            # A passage that does more than import the name shows better what it is for.
            weight = count + (4 if name in others else 0)
            alone = len(where) == 1 and (_is_distinct(name) or imports.names(index, where[0], name))
            for target in imported or (where if alone else []):
                found[target].setdefault(name, Counter())[number] += weight
    return found


def _is_distinct(name: str) -> bool:
    """Whether a name is hardly a word of everyday language: `read_text`, `PassagePair`, `MAX_SIZE`."""
    inner = name.strip("_$")
    return "_" in inner or (not inner.islower() and not inner.istitle() and len(inner) > _LEAST_CHARACTERS)


def _is_telling(names: Uses) -> bool:
    return any(_is_distinct(name) for name in names)


def _best_passages(names: Uses, defined: Mapping[str, int]) -> tuple[tuple[int, int], ...]:
    """Return the pairs of a passage that uses and one that defines, those with most names in common first."""
    pairs: Counter[tuple[int, int]] = Counter()
    for name, numbers in names.items():
        for number, count in numbers.items():
            pairs[number, defined[name]] += 3 + min(count, 8)
    return tuple(pair for pair, _ in pairs.most_common(PAIRS_PER_LINK))


class _Imports:
    """What each document of code imports."""

    def __init__(self, documents: Sequence[Document], code: Sequence[bool]) -> None:
        modules = _modules(documents, code)
        texts = [document.text if of_code else "" for document, of_code in zip(documents, code, strict=True)]
        self._documents = [
            _imported(text, index, modules, _folder(document.path))
            for index, (text, document) in enumerate(zip(texts, documents, strict=True))
        ]
        self._names = [
            frozenset(name for statement in _IMPORT_STATEMENT.findall(text) for name in _NAME.findall(statement))
            for text in texts
        ]
        self._has_path = [document.path is not None for document in documents]
        folders = {index for index, document in enumerate(documents) if _is_whole_folder(document.path)}
        self._through_packages = [
            frozenset().union(*(self._documents[package] for package in imported & folders))
            for imported in self._documents
        ]

    def has(self, index: int, target: int, name: str) -> bool:
        """Whether a document imports another one that defines a name, or the name from a package that imports it."""
        if target in self._documents[index]:
            return True
        return name in self._names[index] and target in self._through_packages[index]

    def names(self, index: int, target: int, name: str) -> bool:
        """Whether a document imports a name, and no path tells whether from another one, which defines it.

        Names in lower case without an underscore are too often those of modules or of local variables.
        """
        if self._has_path[index] and self._has_path[target]:
            return False
        return name in self._names[index] and (_is_distinct(name) or name[0].isupper())


def _modules(documents: Sequence[Document], code: Sequence[bool]) -> dict[str, list[tuple[tuple[str, ...], int]]]:
    """Return the parts of each code document's path, by its last part."""
    modules: defaultdict[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
    for index, (document, of_code) in enumerate(zip(documents, code, strict=True)):
        if document.path is None or not of_code:
            continue
        parts = _parts(document.path)
        if _is_whole_folder(document.path):
            parts = parts[:-1]
        if parts:
            modules[parts[-1]].append((parts, index))
    return modules


def _parts(path: str) -> tuple[str, ...]:
    return PurePosixPath(path.replace("\\", "/")).with_suffix("").parts


def _folder(path: str | None) -> tuple[str, ...] | None:
    return None if path is None else _parts(path)[:-1]


def _is_whole_folder(path: str | None) -> bool:
    parts = _parts(path) if path is not None else ()
    return bool(parts) and parts[-1] in _WHOLE_FOLDER


def _imported(
    text: str,
    index: int,
    modules: Mapping[str, Sequence[tuple[tuple[str, ...], int]]],
    folder: tuple[str, ...] | None,
) -> frozenset[int]:
    """Return the documents that a text's import statements name.

    A relative import names one file, beside the folder of its text. Another names all whose paths end as it does.
    """
    found: set[int] = set()
    for match in _IMPORT.finditer(text):
        relative = [] if folder is None else _relative(match, text, folder)
        is_same = _is_same if relative else _ends_alike
        for path in relative or _absolute(match, text):
            for known, target in modules.get(path[-1], ()) if path else ():
                if target != index and is_same(known, path):
                    found.add(target)
    return frozenset(found)


def _absolute(match: re.Match[str], text: str) -> list[tuple[str, ...]]:
    """Return the ends of paths that an import may mean, without its dots at the beginning; none of Python's library."""
    name = _SUFFIX.sub("", _imported_name(match))
    parts = tuple(part for part in re.split(r"[./:\\]+", name) if part)
    if (match["python"] or match["module"]) and parts and parts[0] in sys.stdlib_module_names:
        return []  # `import json` is hardly ever of a file beside it
    if match["python"]:
        return [parts, *((*parts, name) for name in _names_after(match, text))]
    return [parts, parts[:-1]] if match["rust"] or match["module"] else [parts]


def _relative(match: re.Match[str], text: str, folder: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the paths that a relative import may mean; none if it is another, or leads out of all paths."""
    name = _imported_name(match)
    if not name.startswith("."):
        return []
    if match["python"]:
        inner = name.lstrip(".")
        base = _joined(folder, [".."] * (len(name) - len(inner) - 1) + inner.split("."))
        return [] if base is None else [base, *((*base, name) for name in _names_after(match, text))]
    path = _joined(folder, _SUFFIX.sub("", name).split("/"))
    if not path:
        return []
    return [path, path[:-1]] if path[-1] in _WHOLE_FOLDER else [path]


def _joined(folder: tuple[str, ...], parts: Sequence[str]) -> tuple[str, ...] | None:
    """Return the path that relative parts lead to; None if it cannot be known."""
    path = list(folder)
    for part in parts:
        if part not in ("", ".", ".."):
            path.append(part)
        elif part == ".." and (not path or path.pop() in ("..", "/")):
            return None
    return tuple(path)


def _imported_name(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group)


def _names_after(match: re.Match[str], text: str) -> list[str]:
    """Return the names that a Python import lists, which may be modules."""
    statement = _IMPORT_STATEMENT.match(text, match.start())
    listed = "" if statement is None else text[match.end() : statement.end()]
    return _NAME.findall(_COMMENT.sub("", listed))


def _is_same(known: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether two paths are one, also if only one of them is absolute."""
    shorter, longer = sorted((known, path), key=len)
    return known == path or (longer[0] == "/" and shorter[0] != "/" and longer[-len(shorter) :] == shorter)


def _ends_alike(known: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return known[-len(path) :] == path[-len(known) :]
