"""Dependency edges by AST: which definition of the same package a function or a snippet uses.

A name that the function binds itself (argument, assignment, loop, `with`, `except`) is never an edge.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from research.relations.source import Definition, Module


@dataclass(frozen=True, slots=True)
class Edge:
    """`user` needs `used`; `spelled` is how the use reads in the user's code (`self.parse`, `PI`)."""

    user: Definition
    used: Definition
    spelled: str
    import_line: str  # "" where both live in the same module


def bound_names(function: ast.AST) -> set[str]:
    """Names the function makes for itself: arguments and everything it stores to."""
    names: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.arg(arg=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.ExceptHandler(name=str(name)):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update(alias.asname or alias.name.split(".")[0] for alias in aliases)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                if node is not function:
                    names.add(name)
    return names


def edges(module: Module, others: Mapping[str, Module]) -> Iterator[Edge]:
    """Every edge out of the module's functions and methods, each used definition once per user."""
    for user in module.callables():
        seen: set[str] = set()
        local = bound_names(user.node)
        for node in _body_nodes(user.node):
            found = _resolve(node, user, module, others, local)
            if found and found.used.qualified not in seen and found.used.qualified != user.qualified:
                seen.add(found.used.qualified)
                yield found


def _body_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes of the body only: a decorator or an annotation is not a use that the reader sees in the code."""
    for statement in getattr(function, "body", []):
        yield from ast.walk(statement)


def _resolve(
    node: ast.AST, user: Definition, module: Module, others: Mapping[str, Module], local: set[str]
) -> Edge | None:
    match node:
        case ast.Name(id=name, ctx=ast.Load()) if name not in local:
            if name in module.definitions:
                return Edge(user, module.definitions[name], name, "")
            if name in module.imported:
                origin, original = module.imported[name]
                target = others.get(origin)
                if target and original in target.definitions:
                    return Edge(user, target.definitions[original], name, module.import_lines[name])
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attr)) if user.owner:
            method = module.methods.get(user.owner, {}).get(attr)
            if method is not None:
                return Edge(user, method, f".{attr}", "")
        case ast.Attribute(value=ast.Name(id=alias), attr=attr) if alias not in local and alias in module.imported:
            origin, original = module.imported[alias]
            target = others.get(f"{origin}.{original}" if original else origin)
            if target and attr in target.definitions:
                return Edge(user, target.definitions[attr], f"{alias}.{attr}", module.import_lines[alias])
    return None


def mentions(text: str, name: str) -> bool:
    """Whether a text holds the name as a whole word, which is what rules an `unrelated` pair out."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None
