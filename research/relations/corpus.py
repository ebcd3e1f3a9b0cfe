"""One package read into memory: parsed modules, dependency edges and documented definitions."""

from __future__ import annotations

from dataclasses import dataclass, field

from research.relations.edges import Edge, edges
from research.relations.packages import Package
from research.relations.source import Definition, Module, parse_module


@dataclass(slots=True)
class Corpus:
    """What the pair rules read of one package."""

    package: Package
    modules: dict[str, Module] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def definitions(self) -> list[Definition]:
        """Every definition of the package, methods included, in module order."""
        found: list[Definition] = []
        for module in self.modules.values():
            found.extend(module.definitions.values())
            for methods in module.methods.values():
                found.extend(methods.values())
        return found


def read_corpus(package: Package) -> Corpus:
    """Parse the package's files; a file that is not UTF-8 or not Python of this version is left out."""
    corpus = Corpus(package)
    for name, path in package.files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        module = parse_module(name, text, is_package=path.name == "__init__.py")
        if module is not None:
            corpus.modules[name] = module
    for module in corpus.modules.values():
        corpus.edges.extend(edges(module, corpus.modules))
    return corpus
