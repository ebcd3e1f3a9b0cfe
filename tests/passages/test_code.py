"""Code is divided where a reader would divide it: each language's sample, by the first lines of its passages."""

import re
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.passages import counters
from tests.passages.test_properties import check
from trivet.passages import Passage, passages_of
from trivet.passages.syntax.languages import GRAMMARS

SAMPLES = Path(__file__).parent / "samples"
ROOT = Path(__file__).parents[2]

EXPECTED: dict[str, list[tuple[str, str | None]]] = {
    "Shapes.cs": [
        ("using System;", None),
        ("public Circle(double radius)", "namespace Example.Shapes › public sealed class Circle"),
        ("/// <summary>The surface that", "namespace Example.Shapes › public sealed class Circle"),
    ],
    "Shapes.java": [
        ("package org.example.shapes;", None),
        ("/**", None),
        ("/** All points at one distance", None),
        ("Circle(double radius) {", "final class Circle implements Shape"),
        ("@Override", "final class Circle implements Shape"),
        ("/** The circle with the largest", "final class Circle implements Shape"),
        (
            ".filter(circle -> circle.radius",  # the statement alone is over the limit
            "final class Circle implements Shape › static Optional<Circle> largest(List<Circle> circles)",
        ),
    ],
    "Shapes.kt": [
        ("package org.example.shapes", None),
        ("/** All points at one distance", None),
        ("override val area: Double", "data class Circle(val radius: Double) : Shape"),
        ("fun largest(circles: List<Circle", None),
    ],
    "Shapes.scala": [
        ("package org.example.shapes", None),
        ("/** All points at one distance", None),
        ("/** The circle with a radius", "final case class Circle(radius: Double) extends Shape"),
        ("object Circle {", None),
    ],
    "Shapes.swift": [
        ("import Foundation", None),
        ("/// All points at one distance", None),
        ("init(radius: Double) throws {", "struct Circle: Shape"),
        ("/// The surface that the circle", "struct Circle: Shape"),
        ("func largest(_ circles: [Circle", None),
    ],
    "shapes.c": [
        ("#include <math.h>", None),
        ("/* All points at one distance", None),
        ("/* The surface that the circle", None),
        ("static int compare(const void", None),
    ],
    "shapes.cpp": [
        ("#include <cmath>", None),
        ("// All points at one distance", "namespace shapes"),
        ("double area() const override", "namespace shapes › class Circle : public Shape"),
        ("template <typename T>", "namespace shapes"),
    ],
    "shapes.go": [
        ("// Package shapes measures", None),
        ("// Circle is all points at one", None),
        ("// Area returns the surface", None),
        ("return math.Pi * c.Radius", "func (c Circle) Area() (float64, error)"),
        ("func largest(circles []Circle)", None),
    ],
    "shapes.js": [
        ("'use strict';", None),
        ("/** All points at one distance", None),
        ("/**", None),
        ("for (const circle of circles)", "const largest = (circles)"),
        ("exports.load = function (path)", None),
    ],
    "shapes.lua": [
        ("-- Plane figures.", None),
        ("-- A circle with the given", None),
        ("-- The surface that the circle", None),
        ("local function largest(circles)", None),
    ],
    "shapes.php": [
        ("<?php", None),
        ("/** All points at one distance", None),
        ("/** The surface that the circle", "final class Circle"),
        ("function largest(Circle", None),
    ],
    "shapes.py": [
        ('"""Plane figures."""', None),
        ("class Circle(Shape):", None),
        ("@classmethod", "class Circle(Shape)"),
        ("@property", "class Circle(Shape)"),
        ("# The larger the factor, the", "class Circle(Shape)"),
        ("async def load(path):", None),
    ],
    "shapes.rb": [
        ("require 'json'", None),
        ("def initialize(radius)", "module Shapes › class Circle"),
        ("# The surface that the circle", "module Shapes › class Circle"),
        ("def self.load(path)", "module Shapes › class Circle"),
    ],
    "shapes.rs": [
        ("//! Plane figures.", None),
        ("/// All points at one distance", None),
        ("impl Circle {", None),
        ("/// A circle whose radius is", "impl Circle"),
        ("#[cfg(test)]", None),
        ("#[test]", "mod tests"),
    ],
    "shapes.sh": [
        ("#!/usr/bin/env bash", None),
        ("# The surface of a circle with", None),
        ("if [[ $radius -lt 0 ]]; then", "area()"),
        ("# The surfaces of all circles", None),
    ],
    "shapes.ts": [
        ('import { readFile } from "node', None),
        ("/** Marks a class as one that", None),
        ('@registered("circle")', None),
        ("get area(): number {", "class Circle implements Shape"),
        ("// The circle with a radius", "class Circle implements Shape"),
        ("export async function load", None),
    ],
}


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.iterdir()))
def test_a_sample_is_divided_where_its_reader_would_divide_it(name: str) -> None:
    text = (SAMPLES / name).read_text()
    passages = passages_of(text, counters.words, 64, path=name)
    check(text, passages, counters.words, 64)
    lines = text.split("\n")
    found = [(lines[passage.first_line - 1].strip(), passage.title) for passage in passages]
    assert [title for _, title in found] == [title for _, title in EXPECTED[name]]
    for (line, _), (begin, _) in zip(found, EXPECTED[name], strict=True):
        assert line.startswith(begin)


def test_every_language_has_a_sample() -> None:
    alike = {"tsx": "typescript", "csharp": "cs"}
    suffixes = {path.suffix[1:] for path in SAMPLES.iterdir()}
    names = {
        "kt": "kotlin",
        "rs": "rust",
        "py": "python",
        "js": "javascript",
        "ts": "typescript",
        "rb": "ruby",
        "sh": "bash",
    }
    assert {names.get(suffix, suffix) for suffix in suffixes} == {alike.get(name, name) for name in GRAMMARS}


@pytest.mark.slow
@pytest.mark.parametrize("max_tokens", [48, 192])
@pytest.mark.parametrize(
    "path",
    [
        Path(sysconfig.get_path("stdlib"), name)
        for name in ("argparse.py", "asyncio/base_events.py", "locale.py", "this.py", "test/test_grammar.py")
    ]
    + [
        ROOT / name
        for name in ("trivet/vram/policy.py", "trivet/api/ui/api.js", "serve_config.yaml", "pyproject.toml", "Makefile",
                     "docs/api.md", "docs/caching.md", "Dockerfile", "LICENSE", "constraints.txt")
    ],
    ids=lambda path: path.name,
)  # fmt: skip
def test_real_files(path: Path, max_tokens: int) -> None:
    if not path.exists():  # some distributions leave Python's tests out
        assert path.name == "test_grammar.py"
        return
    text = path.read_text(encoding="utf-8")
    passages = passages_of(text, counters.words, max_tokens, path=str(path))
    check(text, passages, counters.words, max_tokens)
    if text.count("\n") > 200:
        assert (
            sum(counters.words([text[at.start : at.end]])[0] < max_tokens / 4 for at in passages)
            <= len(passages) * 0.15
        )


def passages(code: str, max_tokens: int = 40, path: str = "x.py") -> list[str]:
    return [code[at.start : at.end] for at in passages_of(code, counters.words, max_tokens, path=path)]


BODY = "".join(f"    step_{index}(a, b)\n" for index in range(4))


def test_a_decorator_a_comment_and_a_docstring_stay_with_their_definition() -> None:
    code = f'def first(a, b):\n{BODY}\n# Why it is here.\n@cached\ndef second(a, b):\n    """Doc."""\n{BODY}'
    first, second = passages(code, 60)
    assert first.startswith("def first")
    assert second.startswith('# Why it is here.\n@cached\ndef second(a, b):\n    """Doc."""\n    step_0')


def test_a_comment_apart_from_the_definition_below_does_not_have_to_stay_with_it() -> None:
    code = f"def first(a, b):\n{BODY}\n# The second half.\n\ndef second(a, b):\n{BODY}"
    assert [text.split("\n")[0] for text in passages(code)] == ["def first(a, b):", "# The second half."]


def test_a_long_function_is_divided_between_its_statements_and_keeps_its_head() -> None:
    body = "".join(f"    if a > {index}:\n        call(a,\n             {index})\n" for index in range(8))
    parts = passages_of(f"def long(a, *,\n         b):\n{body}", counters.words, 40, path="x.py")
    assert [part.title for part in parts] == [None, *["def long(a, *, b)"] * (len(parts) - 1)]
    assert all(
        f"def long(a, *,\n         b):\n{body}"[part.start : part.end].lstrip().startswith("if") for part in parts[1:]
    )


def test_a_constant_between_two_functions_joins_the_second() -> None:
    code = f"def first(a, b):\n{BODY}\nLIMIT = 3\n\ndef second(a, b):\n{BODY}"
    assert [text.split("\n")[0] for text in passages(code, 44)] == ["def first(a, b):", "LIMIT = 3"]


def test_the_rest_of_a_long_function_does_not_join_the_next_one() -> None:
    code = f"def first(a, b):\n{BODY}{BODY}    done()\n\ndef second(a, b):\n    done()\n"
    assert [text for text in passages(code) if "second" in text] == ["def second(a, b):\n    done()"]


def test_the_string_below_an_attribute_describes_it() -> None:
    code = "".join(f'LIMIT_{index} = {index}\n"""What it limits: {index}."""\n\n' for index in range(9))
    assert all(text.startswith("LIMIT") for text in passages(code))


def test_else_and_closing_brackets_stay_with_what_they_close() -> None:
    code = "def f(a, b):\n    if a:\n" + "        call(a)\n" * 7 + "    else:\n" + "        call(b)\n" * 7
    assert all(not text.strip().startswith(("else", ")")) for text in passages(code))
    c = (
        "int f(int a)\n{\n    if (a)\n    {\n"
        + "        call(a);\n" * 8
        + "    }\n    else\n    {\n"
        + "        call(a);\n" * 8
    )
    assert all(not text.strip().startswith(("{", "}", "else")) for text in passages(c + "    }\n}\n", 48, "x.c"))


def test_broken_code_is_divided_all_the_same() -> None:
    text = (SAMPLES / "shapes.ts").read_text()
    for cut in range(0, len(text), 97):
        broken = text[:cut] + "\n)}]> <<<<<<< HEAD\n" + text[cut + 40 :]
        check(broken, passages_of(broken, counters.words, 40, path="x.ts"), counters.words, 40)


def test_line_ends_of_other_systems_change_nothing() -> None:
    text = (SAMPLES / "shapes.go").read_text()
    unix = passages_of(text, counters.words, 64, path="x.go")
    windows = passages_of(text.replace("\n", "\r\n"), counters.words, 64, path="x.go")
    assert [lines_of(passage) for passage in unix] == [lines_of(passage) for passage in windows]
    marked = passages_of("\ufeff" + text, counters.words, 64, path="x.go")
    assert [lines_of(passage) for passage in unix] == [lines_of(passage) for passage in marked]


def test_characters_of_several_bytes_move_nothing() -> None:
    text = (SAMPLES / "shapes.py").read_text()
    wide = text.replace("radius", "半径_радиус_🙂")
    plain = text.replace("radius", "a23456_a23456")
    assert [lines_of(at) for at in passages_of(wide, counters.words, 64, path="x.py")] == [
        lines_of(at) for at in passages_of(plain, counters.words, 64, path="x.py")
    ]


def lines_of(passage: Passage) -> tuple[int, int, str | None]:
    title = None if passage.title is None else re.sub(r"半径_радиус_🙂|a23456_a23456", "radius", passage.title)
    return passage.first_line, passage.last_line, title


def test_python_is_read_without_importing_tree_sitter_here() -> None:
    passages_of((SAMPLES / "shapes.py").read_text(), counters.words, 64, path="x.py")
    assert "tree_sitter" not in sys.modules
