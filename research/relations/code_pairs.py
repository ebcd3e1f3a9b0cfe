"""Pairs whose label follows from a package's structure: who uses whom, and what a docstring belongs to.

Each rule yields at most `limit` pairs of one package. Which ones is decided by a hash of their names, so that
a package contributes the same pairs wherever it is installed.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from research.relations.corpus import Corpus
from research.relations.docs import paragraphs, prose_sentences, readme_sections, sentences, split_summary, unmark
from research.relations.edges import Edge, mentions
from research.relations.edits import contradict, is_factual, restate
from research.relations.pairs import MAX_CHARS, Label, Pair, seeded, stable_fraction
from research.relations.source import Definition, clip_lines

T = TypeVar("T")
_GENERIC = frozenset(
    [
        "self",
        "cls",
        "args",
        "kwargs",
        "data",
        "value",
        "values",
        "result",
        "name",
        "key",
        "path",
        "list",
        "dict",
        "type",
        "object",
        "get",
        "set",
        "run",
        "main",
    ]
)
_WORD = re.compile(r"[A-Za-z_]{3,}")


def sample(items: Iterable[T], key: Callable[[T], str], limit: int) -> list[T]:
    """The `limit` items whose keys hash lowest: stable when other items come or go."""
    return sorted(items, key=lambda item: (stable_fraction(key(item)), key(item)))[:limit]


def clip(text: str, limit: int = MAX_CHARS) -> str:
    """Cut prose at the last word that fits."""
    text = text.strip()
    return text if len(text) <= limit else text[:limit].rsplit(None, 1)[0]


class Maker:
    """Makes pairs of one package, all carrying its name and licence."""

    def __init__(self, corpus: Corpus, limit: int) -> None:
        self.corpus = corpus
        self.limit = limit
        self.rng = seeded("pairs", corpus.package.name)
        self.documented = [d for d in corpus.definitions() if d.docstring and d.kind != "constant"]

    def pair(self, label: Label, kind: str, first: str, second: str) -> Pair:
        package = self.corpus.package
        return Pair(label, kind, first, second, package.source, package.licence)

    def all(self) -> Iterator[Pair]:
        """Every rule in turn: positives first, then the unrelated pairs made in their image."""
        rules = (
            self.calls, self.constants, self.imports, self.doc_details, self.signatures, self.bodies, self.readme,
            self.edited_facts, self.restated_facts, self.defaults, self.unrelated_code, self.unrelated_docs,
        )  # fmt: skip
        for rule in rules:
            yield from rule()

    # dependency -------------------------------------------------------------------------------------------------

    def _edges(self, kinds: tuple[str, ...], *, imported: bool | None = None) -> list[Edge]:
        return [
            e
            for e in self.corpus.edges
            if e.used.kind in kinds
            and len(e.user.lines) >= 2
            and (imported is None or bool(e.import_line) == imported)
            and len(e.used.name) >= 3
            and (len(e.used.lines) >= 2 or e.used.kind == "constant")
        ]

    def _code_pair(self, edge: Edge, kind: str) -> Pair | None:
        first = clip_lines(edge.user.lines, MAX_CHARS, edge.spelled)
        second = clip_lines(edge.used.lines, MAX_CHARS)
        if not mentions(first, edge.spelled.split(".")[-1]):
            return None
        return self.pair("dependency", kind, first, second)

    def calls(self) -> Iterator[Pair]:
        found = self._edges(("function", "method", "class"))
        for edge in sample(found, lambda e: f"call {e.user.qualified} {e.used.qualified}", 2 * self.limit):
            if pair := self._code_pair(edge, f"uses-{edge.used.kind}"):
                yield pair

    def constants(self) -> Iterator[Pair]:
        for edge in sample(
            self._edges(("constant",)), lambda e: f"const {e.user.qualified} {e.used.qualified}", self.limit
        ):
            if pair := self._code_pair(edge, "uses-constant"):
                yield pair

    def imports(self) -> Iterator[Pair]:
        """An import line with the statements that use the name, against the definition."""
        found = self._edges(("function", "class", "constant"), imported=True)
        for edge in sample(found, lambda e: f"import {e.user.qualified} {e.used.qualified}", self.limit):
            uses = [line.strip() for line in edge.user.lines if mentions(line, edge.spelled.split(".")[-1])][:3]
            if uses:
                first = clip(edge.import_line + "\n\n" + "\n".join(uses))
                yield self.pair("dependency", "import", first, clip_lines(edge.used.lines, MAX_CHARS))

    # expansion --------------------------------------------------------------------------------------------------

    def doc_details(self) -> Iterator[Pair]:
        for d in sample(self.documented, lambda d: f"detail {d.qualified}", 2 * self.limit):
            if summary := split_summary(d.docstring):
                yield self.pair("expansion", "summary-detail", summary.head, clip(summary.rest))

    def signatures(self) -> Iterator[Pair]:
        functions = [d for d in self.documented if d.kind != "class" and len(d.docstring.split()) >= 8]
        for d in sample(functions, lambda d: f"signature {d.qualified}", self.limit):
            yield self.pair("expansion", "signature-docstring", clip(d.signature), clip(unmark(d.docstring)))

    def bodies(self) -> Iterator[Pair]:
        functions = [d for d in self.documented if d.kind != "class" and len(d.lines) >= 3]
        for d in sample(functions, lambda d: f"body {d.qualified}", self.limit):
            head = unmark(sentences(paragraphs(d.docstring)[0])[0])
            if 5 <= len(head.split()) <= 40:
                yield self.pair("expansion", "summary-body", head, clip_lines(d.lines, MAX_CHARS))

    def readme(self) -> Iterator[Pair]:
        for heading, body in sample(readme_sections(self.corpus.package.description), lambda s: s[0], self.limit):
            lead = sentences(paragraphs(body)[0])
            if len(paragraphs(body)) >= 2 and 5 <= len(lead[0].split()) <= 40:
                rest = body[body.find(lead[0][-12:]) + 12 :].strip()
                if len(rest.split()) >= 12:
                    yield self.pair("expansion", "readme-lead", f"{heading}: {lead[0]}", clip(rest))

    # contradiction and its counterparts ---------------------------------------------------------------------------

    def _facts(self) -> list[tuple[str, str]]:
        """(fact, the sentence after it) from running prose of docstrings; the follower may be empty."""
        found: dict[str, str] = {}
        for d in self.documented:
            said = prose_sentences(d.docstring)
            for sentence, after in zip(said, [*said, ""][1:], strict=True):
                if is_factual(sentence) and sentence not in found:
                    found[sentence] = after
        return sorted(found.items())

    def edited_facts(self) -> Iterator[Pair]:
        """A documented fact against its opposite, each of them sometimes in other words or with its context."""
        facts = [(fact, after) for fact, after in self._facts() if contradict(fact, seeded(fact))]
        for fact, after in sample(facts, lambda f: "edit " + f[0], 4 * self.limit):
            rng = seeded("edit", fact)
            edit = rng.choice(contradict(fact, rng))
            first, second = (fact, edit.text) if rng.random() < 0.5 else (edit.text, fact)
            if rng.random() < 0.4:
                first = restate(first, rng)
            if after and rng.random() < 0.35:
                second = f"{second} {after}"
            yield self.pair("contradiction", f"edit-{edit.rule}", clip(first), clip(second))

    def restated_facts(self) -> Iterator[Pair]:
        """The counterpart of `edited_facts`: just as close in words, but consistent and with more detail."""
        facts = [(fact, after) for fact, after in self._facts() if len(after.split()) >= 5]
        for fact, after in sample(facts, lambda f: "restate " + f[0], self.limit):
            rng = seeded("restate", fact)
            yield self.pair("expansion", "restated-fact", fact, clip(f"{restate(fact, rng)} {after}"))

    def defaults(self) -> Iterator[Pair]:
        """A sentence on a parameter's default against the signature that does or does not agree with it."""
        found = [
            (d, name, value)
            for d in self.corpus.definitions()
            if d.kind in ("function", "method")
            for name, value in plain_defaults(d.node)
        ]
        for d, name, value in sample(found, lambda f: f"default {f[0].qualified} {f[1]}", self.limit):
            rng = seeded("default", d.qualified, name)
            other = another_value(value, rng)
            wording = rng.choice(DEFAULT_WORDINGS)
            contradicts = rng.random() < 0.6
            sentence = wording.format(name=name, value=repr(other if contradicts else value), function=d.name)
            kind: Label = "contradiction" if contradicts else "expansion"
            shown = clip(d.signature)
            if re.search(rf"\b{re.escape(name)}\b[^,]*=", shown):  # else the cut has taken the evidence away
                yield self.pair(kind, f"default-{kind}", sentence, shown)

    # unrelated --------------------------------------------------------------------------------------------------

    def unrelated_code(self) -> Iterator[Pair]:
        """Hard: the forms of the dependency pairs within one package, but without an edge in either direction."""
        linked = {(e.user.qualified, e.used.qualified) for e in self.corpus.edges}
        pool = [d for d in self.corpus.definitions() if len(d.lines) >= 2 or d.kind == "constant"]
        users = self._edges(("function", "method", "class", "constant"))
        for edge in sample(users, lambda e: f"unrelated {e.user.qualified} {e.used.qualified}", 2 * self.limit):
            rng = seeded("unrelated", edge.user.qualified, edge.used.qualified)
            same_kind = [d for d in pool if d.kind == edge.used.kind]
            candidates = [d for d in rng.sample(same_kind, min(14, len(same_kind))) if not _touch(edge.user, d, linked)]
            if not candidates:
                continue
            other = max(candidates, key=lambda d: overlap(edge.user.code, d.code))
            as_import = edge.import_line and rng.random() < 0.4
            if as_import:
                uses = [line.strip() for line in edge.user.lines if mentions(line, edge.spelled.split(".")[-1])][:3]
                first = clip(edge.import_line + "\n\n" + "\n".join(uses))
            else:
                first = clip_lines(edge.user.lines, MAX_CHARS, edge.spelled)
            yield self.pair(
                "unrelated",
                "hard-import" if as_import else f"hard-{other.kind}",
                first,
                clip_lines(other.lines, MAX_CHARS),
            )

    def unrelated_docs(self) -> Iterator[Pair]:
        """Hard: the forms of the expansion and contradiction pairs, re-paired between different things."""
        chosen = sample(self.documented, lambda d: f"unrelated-doc {d.qualified}", 3 * self.limit)
        facts = [fact for fact, _ in self._facts()]
        for number, d in enumerate(chosen):
            rng = seeded("unrelated-doc", d.qualified)
            others = [o for o in rng.sample(self.documented, min(10, len(self.documented))) if _distinct(d, o)]
            if not others:
                continue
            other = max(others, key=lambda o: overlap(d.docstring, o.docstring))
            mine, theirs = split_summary(d.docstring), split_summary(other.docstring)
            head = unmark(sentences(paragraphs(d.docstring)[0])[0])
            match number % 4:
                case 0 if mine and theirs:
                    yield self.pair("unrelated", "hard-summary-detail", mine.head, clip(theirs.rest))
                case 1 if d.kind != "class" and len(other.docstring.split()) >= 8:
                    yield self.pair(
                        "unrelated", "hard-signature-docstring", clip(d.signature), clip(unmark(other.docstring))
                    )
                case 2 if other.kind != "class" and len(other.lines) >= 3 and 5 <= len(head.split()) <= 40:
                    yield self.pair("unrelated", "hard-summary-body", head, clip_lines(other.lines, MAX_CHARS))
                case 3 if len(facts) >= 2:
                    fact = facts[int(stable_fraction(d.qualified) * len(facts))]
                    pool = [f for f in rng.sample(facts, min(8, len(facts))) if f != fact and overlap(f, fact) < 0.5]
                    if pool:
                        yield self.pair("unrelated", "hard-facts", fact, max(pool, key=lambda f: overlap(f, fact)))
                case _:
                    continue


DEFAULT_WORDINGS = (
    "`{name}` defaults to {value}.", "By default, {name} is {value}.",
    "{function}: the default of `{name}` is {value}.",
    "Unless given, `{name}` is {value}.", "If you leave out `{name}`, {value} is used.",
    "# {name} is {value} by default",
    "{name} (default {value})", "`{function}` assumes {name}={value} when it is not passed.",
)  # fmt: skip


def plain_defaults(node: ast.AST) -> list[tuple[str, bool | int | float | str]]:
    """(parameter, default) where the default is a literal truth value, number or short word."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    positional = [*node.args.posonlyargs, *node.args.args]
    with_default = [*zip(positional[len(positional) - len(node.args.defaults) :], node.args.defaults, strict=True)]
    with_default += [(a, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d is not None]
    found = []
    for argument, default in with_default:
        if isinstance(default, ast.Constant) and isinstance(default.value, bool | int | float | str):
            value = default.value
            if not isinstance(value, str) or (2 <= len(value) <= 20 and value.isprintable()):
                found.append((argument.arg, value))
    return found


def another_value(value: bool | int | float | str, rng: random.Random) -> bool | int | float | str:
    """A different plausible value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice([v for v in (value + 1, value * 2, value * 10, value + 5, 0) if v != value])
    return rng.choice(
        [
            w
            for w in ("auto", "none", "strict", "utf-16", "fast", "linear", "ignore", "json", "max")
            if w != value.lower()
        ]
    )


def overlap(one: str, other: str) -> float:
    """Jaccard similarity of the two texts' words: 0 = nothing shared."""
    a, b = ({w.lower() for w in _WORD.findall(t)} for t in (one, other))
    return len(a & b) / max(len(a | b), 1)


def _touch(user: Definition, other: Definition, linked: set[tuple[str, str]]) -> bool:
    """Whether anything suggests a relation: an edge, a mention, one name, one class and its method."""
    return (
        (user.qualified, other.qualified) in linked
        or (other.qualified, user.qualified) in linked
        or user.name == other.name
        or mentions(user.code, other.name)
        or mentions(other.code, user.name)
        or (other.owner != "" and (mentions(user.code, other.owner) or user.owner == other.owner))
        or (user.owner != "" and (mentions(other.code, user.owner) or user.owner == other.name))
    )  # fmt: skip


def _distinct(one: Definition, other: Definition) -> bool:
    """Whether two documented things surely differ: other name, other owner, no mention, wording not shared."""
    names_apart = (
        one.name != other.name and one.name not in _GENERIC and one.owner not in (other.owner or "-", other.name)
    )
    return (
        names_apart
        and other.owner != one.name
        and not mentions(other.docstring, one.name)
        and not mentions(one.docstring, other.name)
        and overlap(one.docstring, other.docstring) < 0.45
    )
