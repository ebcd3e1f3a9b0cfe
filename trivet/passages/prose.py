"""Prose by headings and paragraphs: Markdown, reStructuredText and plain text, read as tolerantly as people do."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from trivet.passages.block import Block
from trivet.passages.lines import Lines
from trivet.passages.passage import PassageKind

_TITLE_CHARACTERS = 100
_HEADING_CHARACTERS = 1000
"""Longer lines are not headings; this also bounds the time that the patterns need."""
_DEEPEST = 30
"""Levels of headings; reStructuredText invents one with each new underline."""

_FENCE = re.compile(r"\s*(?:[-*+>]\s+|\d{1,9}[.)]\s+)?(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*\r?$")
_SETEXT = re.compile(r" {0,3}(?:(=+)|(-+))[ \t]*\r?$")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,9}[.)]|[a-z][.)]|:?\[[ xX\d]\])[ \t]+\S")
_QUOTE_OR_ROW = re.compile(r"\s*[>|]")
_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}[ \t]*\r?$")


@dataclass(slots=True)
class _Part:
    """Lines from `first` to the next part: a heading with what follows it, a paragraph, or lines that are no prose."""

    first: int
    kind: PassageKind
    level: int = 0
    """Of its heading, from 1; 0 without one."""
    title: str = ""


@dataclass(slots=True)
class _Section:
    first: int
    level: int
    title: str | None
    inner: list["_Part | _Section"] = field(default_factory=list)


def markdown(lines: Lines) -> Block:
    """CommonMark's headings, both kinds; fences, lists, tables and front matter are kept apart."""
    return _tree(lines, list(_markdown_parts(lines)))


def restructured(lines: Lines) -> Block:
    """Titles by their underlines, whose levels follow from their first appearance."""
    return _tree(lines, list(_restructured_parts(lines)))


def plain(lines: Lines) -> Block:
    """Paragraphs and list items."""
    return _tree(lines, list(_paragraphs(lines, 0, len(lines))))


def _markdown_parts(lines: Lines) -> Iterator[_Part]:
    line = _front_matter(lines)
    if line:
        yield _Part(0, "lines")
    paragraph = line
    while line < len(lines):
        fence = _FENCE.match(lines[line])
        heading = _HEADING.match(lines[line]) if len(lines[line]) <= _HEADING_CHARACTERS and fence is None else None
        is_setext = fence is None and heading is None and _is_setext(lines, paragraph, line)
        if fence is None and heading is None and not is_setext:
            line += 1
            continue
        yield from _paragraphs(lines, paragraph, line - 1 if is_setext else line)
        if fence is not None:
            yield _Part(line, "lines")
            line = _after_fence(lines, line, fence[1])
        elif heading is not None:
            yield _Part(line, "section", len(heading[1]), (heading[2] or "").strip())
            line += 1
        else:
            yield _Part(line - 1, "section", 1 if "=" in lines[line] else 2, lines[line - 1].strip())
            line += 1
        paragraph = line
    yield from _paragraphs(lines, paragraph, len(lines))


def _front_matter(lines: Lines) -> int:
    """The lines of the metadata at the top, between two lines of dashes."""
    if lines[0].strip("\ufeff \r") != "---":
        return 0
    ends = (line for line in range(1, min(len(lines), 200)) if lines[line].rstrip() in ("---", "..."))
    return next(ends, -1) + 1


def _is_setext(lines: Lines, paragraph: int, line: int) -> bool:
    """Whether the line underlines a heading of one line."""
    if line <= paragraph or _SETEXT.match(lines[line]) is None or lines.is_blank(line - 1):
        return False
    above = lines[line - 1]
    alone = line - 1 == paragraph or lines.is_blank(line - 2)
    return alone and not _ITEM.match(above) and not _QUOTE_OR_ROW.match(above) and len(above) <= 200


def _after_fence(lines: Lines, line: int, fence: str) -> int:
    closing = re.compile(rf"[\s>]*{re.escape(fence)}{re.escape(fence[0])}*\s*$")
    return next((end + 1 for end in range(line + 1, len(lines)) if closing.match(lines[end])), len(lines))


def _restructured_parts(lines: Lines) -> Iterator[_Part]:
    levels: dict[tuple[str, bool], int] = {}
    paragraph = line = 0
    while line < len(lines):
        title, overlined = _rst_title(lines, line)
        if title is None:
            line += 1
            continue
        yield from _paragraphs(lines, paragraph, line)
        mark = lines[title + 1].strip()[0]
        level = levels.setdefault((mark, overlined), len(levels) + 1)
        yield _Part(line, "section", min(level, _DEEPEST), lines[title].strip())
        paragraph = line = title + 2
    yield from _paragraphs(lines, paragraph, len(lines))


def _rst_title(lines: Lines, line: int) -> tuple[int | None, bool]:
    """(line of the title, whether it is overlined too), if a title's block begins at this line."""
    if lines.is_blank(line) or not lines.is_blank(line - 1):
        return None, False
    overlined = _UNDERLINE.match(lines[line]) is not None
    title = line + 1 if overlined else line
    if title + 1 >= len(lines) or lines.is_blank(title):
        return None, False
    under = _UNDERLINE.match(lines[title + 1])
    words = lines[title].rstrip()
    fits = under is not None and len(lines[title + 1].rstrip()) >= len(words.strip())
    starts_right = overlined or not words[:1].isspace()
    same = not overlined or (under is not None and lines[line].strip()[0] == under[1])
    return (title, overlined) if fits and starts_right and same else (None, False)


def _paragraphs(lines: Lines, first: int, stop: int) -> Iterator[_Part]:
    """What blank lines separate, and each item of a list."""
    for line in range(first, stop):
        if lines.is_blank(line):
            continue
        text = lines[line]
        if line == first or lines.is_blank(line - 1) or _ITEM.match(text):
            is_table = _QUOTE_OR_ROW.match(text) is not None and "|" in text[:8]
            yield _Part(line, "lines" if is_table else "paragraphs")


def _tree(lines: Lines, parts: list[_Part]) -> Block:
    """Sections within sections, by the levels of their headings."""
    root = _Section(0, 0, None)
    path = [root]
    for part in parts:
        if part.level:
            while path[-1].level >= part.level:
                path.pop()
            section = _Section(part.first, part.level, part.title[:_TITLE_CHARACTERS] or None)
            path[-1].inner.append(section)
            path.append(section)
        else:
            path[-1].inner.append(part)
    return _block(root, len(lines), "paragraphs")


def _block(section: _Section, stop: int, kind: PassageKind) -> Block:
    ends = [*(part.first for part in section.inner), stop][1:]
    blocks = [
        _block(part, end, "section") if isinstance(part, _Section) else Block(part.first, end, part.kind)
        for part, end in zip(section.inner, ends, strict=True)
    ]
    if blocks and blocks[0].first > section.first:
        blocks[0] = _with_head(section.first, blocks[0], kind)
    return Block(section.first, stop, kind, section.title, tuple(blocks), is_unit=kind == "section")


def _with_head(first: int, block: Block, kind: PassageKind) -> Block:
    """The block and the heading above it: a heading is never alone."""
    inner = block.blocks and (_with_head(first, block.blocks[0], kind), *block.blocks[1:])
    is_paragraph = block.kind == "paragraphs"
    return replace(block, first=first, kind=kind if is_paragraph else block.kind, blocks=inner)
