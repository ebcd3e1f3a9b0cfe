"""Parameter defaults: one signature beside the sentence that agrees with it and the one that does not.

As with names (`research.classifier.names`), only one value differs between the two premises of a group, so that nothing
but comparing the sentence with the signature can tell them apart. Signatures are those of the training pairs.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass

from research.classifier.data import ENTAILED, NOT_ENTAILED, Rows, wording
from research.classifier.wordings import pair_premise
from research.relations.code_pairs import DEFAULT_WORDINGS, another_value, plain_defaults
from research.relations.pairs import Pair
from research.training.batches import TextPair

Value = bool | int | float | str

_WORDINGS = (
    *DEFAULT_WORDINGS, ":param {name}: see above, default {value}", "{name}: optional (default={value})",
    "When `{name}` is omitted it is taken to be {value}.",
)  # fmt: skip
_SHOWN_PARAMETERS = (1, 2, 3, 4, 6, 9)


@dataclass(frozen=True, slots=True)
class Default:
    """A parameter of a signature and the value it has when it is not passed."""

    function: ast.FunctionDef | ast.AsyncFunctionDef
    name: str
    value: Value


def find_defaults(pairs: list[Pair]) -> Iterator[Default]:
    """The plain defaults of every signature that stands whole in a pair (a cut one does not parse)."""
    signatures = {
        text for pair in pairs for text in (pair.first, pair.second) if text.startswith(("def ", "async def "))
    }
    for text in sorted(signatures):
        try:
            (node, *_) = ast.parse(f"{text}\n    pass" if text.rstrip().endswith(":") else text).body
        except (SyntaxError, ValueError):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for name, value in plain_defaults(node):
                yield Default(node, name, value)


def default_examples(found: list[Default], count: int, rng: random.Random) -> list[Rows]:
    """`count` groups; a default comes again, shown in another way, when all have had their turn."""
    groups: list[Rows] = []
    while found and len(groups) < count:
        groups.extend(_group(each, rng) for each in rng.sample(found, len(found)))
    return groups[:count]


def _group(default: Default, rng: random.Random) -> Rows:
    """The two premises under one hypothesis, or one of the premises under its true and a false one."""
    other = another_value(default.value, rng)
    text = rng.choice(_WORDINGS)
    agrees, conflicts = (
        text.format(name=default.name, value=repr(value), function=default.function.name)
        for value in (default.value, other)
    )
    layout = rng.getrandbits(32)
    edited = shown = signature(default, default.value, random.Random(layout))
    if rng.random() < 0.4:  # the sentence stays and the signature changes
        conflicts, edited = agrees, signature(default, other, random.Random(layout))
    premises = {"expansion": pair_premise(agrees, shown), "contradiction": pair_premise(conflicts, edited)}
    true, false = rng.sample(("expansion", "contradiction"), 2)
    if rng.random() < 0.6:
        asked = wording(true, rng)
        rows = (TextPair(premises[true], asked, ENTAILED), TextPair(premises[false], asked, NOT_ENTAILED))
    else:
        wrong = "dependency" if rng.random() < 0.2 else false
        rows = (
            TextPair(premises[true], wording(true, rng), ENTAILED),
            TextPair(premises[true], wording(wrong, rng), NOT_ENTAILED),
        )
    return Rows(rows, "defaults")


def signature(default: Default, value: Value, rng: random.Random) -> str:
    """The signature with that value, some of its parameters left out, on one line or with one parameter a line."""
    node = default.function
    arguments = node.args
    first_default = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    parts: list[tuple[str, str]] = []
    for index, argument in enumerate([*arguments.posonlyargs, *arguments.args]):
        given = arguments.defaults[index - first_default] if index >= first_default else None
        parts.append((argument.arg, _parameter(argument, given, default, value)))
    if arguments.kwonlyargs:
        parts.append(("*", "*"))
    for argument, given in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parts.append((argument.arg, _parameter(argument, given, default, value)))
    wanted = rng.choice(_SHOWN_PARAMETERS)
    others = [name for name, _ in parts if name not in (default.name, "*")]
    kept = {default.name, *rng.sample(others, min(wanted - 1, len(others)))}
    shown = [text for name, text in parts if name in kept or (name == "*" and rng.random() < 0.8)]
    if shown and shown[-1] == "*":
        shown.pop()
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None and rng.random() < 0.7 else ""
    head = f"def {node.name}("
    if len(shown) > 2 and rng.random() < 0.5:
        return head + "\n    " + ",\n    ".join(shown) + f",\n){returns}:"
    return f"{head}{', '.join(shown)}){returns}:"


def _parameter(argument: ast.arg, given: ast.expr | None, default: Default, value: Value) -> str:
    note = f": {ast.unparse(argument.annotation)}" if argument.annotation is not None else ""
    if given is None:
        return f"{argument.arg}{note}"
    stated = repr(value) if argument.arg == default.name else ast.unparse(given)
    return f"{argument.arg}{note} = {stated}" if note else f"{argument.arg}={stated}"
