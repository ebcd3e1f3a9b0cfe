"""Finds which documents use what others define, from names and import statements. Pure.

It reads names, not syntax trees, so it serves any language that the passages know. An import of a document whose names
are used, directly or through the package that exports them, is certain. Where a text has no path, an import of a name
that only one other text defines is. A name alone only proposes two passages to the classifier and says which of them is
the first text.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from trivet.passages.formats import LINES, format_of
from trivet.passages.program import looks_like_program
from trivet.passages.syntax.languages import GRAMMARS
from trivet.relations.division import Document, Excerpt
from trivet.relations.imports import IMPORT_STATEMENT, LEAST_CHARACTERS, NAME, Imports, is_distinct

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
_NAMED_IMPORT = re.compile(
    r"^[ \t]*(?:from\s+[.\w]+\s+import\b|(?:import|export)\b[^'\"\n;]{0,400}?\bfrom\s*['\"])", re.MULTILINE
)
"""Only languages whose uses need imports write these."""
_USES_NEED_IMPORTS = frozenset({"javascript", "python", "tsx", "typescript"})
"""Languages in which a name that is not imported is not another file's, but happens to be the same."""
_MOST_DEFINERS = 8
"""Of the documents that one imports: where more define a name, it does not tell which of them is meant."""
PAIRS_PER_LINK = 2

IMPORT_CONFIDENCE = 0.99
"""Share of links with an import that are right (`bench.links`, bench/LOG.md), in this project and five packages: with
paths 2,357 of 2,359, without paths 2,128 of 2,140."""


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
    definers: defaultdict[str, set[int]] = defaultdict(set)
    for index, names in enumerate(defined):
        for name in names:
            definers[name].add(index)
    imports = Imports(documents, languages)
    found: list[Link] = []
    for index, of_document in enumerate(passages):
        uses = _uses(of_document, definers, defined[index], imports, index)
        for target, used in uses.items():
            imported = any(target in imports.of(index, name) or imports.names(index, target, name) for name in used)
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
            if len(name) >= LEAST_CHARACTERS or name.isupper():
                names.setdefault(name, number)
    return names


def _uses(
    passages: Sequence[Excerpt],
    definers: Mapping[str, Set[int]],
    own: Mapping[str, int],
    imports: Imports,
    index: int,
) -> dict[int, dict[str, Counter[int]]]:
    """Return the names of each other document that occur, and how often in which passage."""
    found: defaultdict[int, dict[str, Counter[int]]] = defaultdict(dict)
    for number, passage in enumerate(passages):
        others = set(NAME.findall(IMPORT_STATEMENT.sub("", passage.text)))
        for name, count in Counter(NAME.findall(passage.text)).items():
            where = definers.get(name)
            if where is None or name in own:
                continue
            imported = where & imports.of(index, name)
            if len(imported) > _MOST_DEFINERS:
                continue
            # A passage that does more than import the name shows better what it is for.
            weight = count + (4 if name in others else 0)
            alone = len(where) == 1 and (is_distinct(name) or imports.names(index, next(iter(where)), name))
            for target in sorted(imported or (where if alone else ())):
                found[target].setdefault(name, Counter())[number] += weight
    return found


def _is_telling(names: Uses) -> bool:
    return any(is_distinct(name) for name in names)


def _best_passages(names: Uses, defined: Mapping[str, int]) -> tuple[tuple[int, int], ...]:
    """Return the pairs of a passage that uses and one that defines, those with most names in common first."""
    pairs: Counter[tuple[int, int]] = Counter()
    for name, numbers in names.items():
        for number, count in numbers.items():
            pairs[number, defined[name]] += 3 + min(count, 8)
    return tuple(pair for pair, _ in pairs.most_common(PAIRS_PER_LINK))
