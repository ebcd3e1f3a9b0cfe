"""Read Python modules into definitions: functions, methods, classes and constants with their text.

Pure over source text: no import of the module that is read, no network, no execution.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import warnings
from dataclasses import dataclass, field
from typing import Literal

DefinitionKind = Literal["function", "method", "class", "constant"]


@dataclass(frozen=True, slots=True)
class Definition:
    """One named thing in a module. `lines` is its dedented source without the docstring."""

    module: str
    name: str
    owner: str  # the class a method belongs to, else ""
    kind: DefinitionKind
    lines: tuple[str, ...]
    signature: str
    docstring: str
    node: ast.AST = field(compare=False, repr=False)

    @property
    def qualified(self) -> str:
        return ".".join(part for part in (self.module, self.owner, self.name) if part)

    @property
    def code(self) -> str:
        return "\n".join(self.lines)


@dataclass(slots=True)
class Module:
    """A parsed module: its definitions and what its names mean through imports."""

    name: str
    is_package: bool
    text_lines: list[str]
    definitions: dict[str, Definition] = field(default_factory=dict)  # module-level name → definition
    methods: dict[str, dict[str, Definition]] = field(default_factory=dict)  # class → method name → definition
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)  # local name → (module, name)
    import_lines: dict[str, str] = field(default_factory=dict)  # local name → one import statement

    def callables(self) -> list[Definition]:
        """Functions and methods, in source order."""
        found = [d for d in self.definitions.values() if d.kind == "function"]
        for methods in self.methods.values():
            found.extend(methods.values())
        return found


def parse_module(name: str, text: str, *, is_package: bool = False) -> Module | None:
    """Parse one file; None where it is not valid Python of this interpreter's version."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    module = Module(name, is_package, text.splitlines())
    for node in tree.body:
        _read_statement(module, node)
    return module


def _read_statement(module: Module, node: ast.stmt) -> None:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            module.definitions[node.name] = _function(module, node, owner="")
        case ast.ClassDef():
            module.definitions[node.name] = _class(module, node)
            module.methods[node.name] = {
                child.name: _function(module, child, owner=node.name)
                for child in node.body
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            }
        case ast.Assign(targets=[ast.Name(id=target)]) | ast.AnnAssign(target=ast.Name(id=target)):
            if (constant := _constant(module, node, target)) is not None:
                module.definitions[target] = constant
        case ast.ImportFrom():
            _read_import_from(module, node)
        case ast.Import():
            for alias in node.names:
                if alias.asname:
                    module.imported[alias.asname] = (alias.name, "")
                    module.import_lines[alias.asname] = f"import {alias.name} as {alias.asname}"
        case ast.If() | ast.Try():
            for child in node.body:
                _read_statement(module, child)


def _read_import_from(module: Module, node: ast.ImportFrom) -> None:
    origin = _absolute(module, node)
    for alias in node.names:
        if alias.name == "*":
            continue
        local = alias.asname or alias.name
        module.imported[local] = (origin, alias.name)
        suffix = f" as {alias.asname}" if alias.asname else ""
        module.import_lines[local] = f"from {origin} import {alias.name}{suffix}"


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    keep = len(parts) - node.level + (1 if module.is_package else 0)
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _function(module: Module, node: ast.FunctionDef | ast.AsyncFunctionDef, owner: str) -> Definition:
    docstring = inspect.cleandoc(ast.get_docstring(node) or "")
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    body_start = node.body[0].lineno - 1
    signature = _dedent(module.text_lines[first : max(body_start, first + 1)])
    return Definition(
        module.name,
        node.name,
        owner,
        "method" if owner else "function",
        tuple(_without_docstring(module.text_lines, node, first, last)),
        "\n".join(line for line in signature if line.strip()),
        docstring,
        node,
    )


def _class(module: Module, node: ast.ClassDef) -> Definition:
    """A class is represented by its head and up to a dozen lines: enough to know what it is."""
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    lines = _without_docstring(module.text_lines, node, first, last)[:12]
    docstring = inspect.cleandoc(ast.get_docstring(node) or "")
    return Definition(module.name, node.name, "", "class", tuple(lines), lines[0], docstring, node)


def _constant(module: Module, node: ast.Assign | ast.AnnAssign, target: str) -> Definition | None:
    """A module-level assignment of a plain value; dunders and one-letter names say too little to be a fact."""
    if target.startswith("__") or len(target) < 3 or node.value is None:
        return None
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    lines = module.text_lines[first:last]
    if len(lines) > 12 or (
        not target.isupper() and not isinstance(node.value, ast.Constant | ast.Dict | ast.List | ast.Tuple | ast.Set)
    ):
        return None
    return Definition(module.name, target, "", "constant", tuple(lines), lines[0], "", node)


def _without_docstring(
    text_lines: list[str], node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, first: int, last: int
) -> list[str]:
    kept = list(range(first, last))
    if ast.get_docstring(node, clean=False) is not None:
        doc = node.body[0]
        dropped = range(doc.lineno - 1, doc.end_lineno or doc.lineno)
        if doc.lineno - 1 > first:  # a docstring on the `def` line itself cannot be cut out by lines
            kept = [i for i in kept if i not in dropped]
    return [line for line in _dedent([text_lines[i] for i in kept]) if line.strip()]


def _dedent(lines: list[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).splitlines()


def clip_lines(lines: tuple[str, ...], limit: int, around: str = "") -> str:
    """Cut code to `limit` characters at line ends, keeping the head and the first line that contains `around`."""
    if sum(len(line) + 1 for line in lines) <= limit:
        return "\n".join(lines)
    anchor = next((i for i, line in enumerate(lines) if i > 0 and around and around in line), 0)
    kept = {0, anchor}
    size = sum(len(lines[i]) + 1 for i in kept)
    grown = False
    # Grow from the anchor forwards and backwards in turn, so that the use stays in view.
    for distance in range(1, len(lines)):
        grown = False
        for i in (anchor + distance, anchor - distance):
            if 0 < i < len(lines) and i not in kept and size + len(lines[i]) + 5 <= limit:
                kept.add(i)
                size += len(lines[i]) + 1
                grown = True
        if not grown:
            break
    out: list[str] = []
    previous = -1
    for i in sorted(kept):
        if i != previous + 1:
            out.append("    ...")
        out.append(lines[i])
        previous = i
    return "\n".join(out)[:limit]
