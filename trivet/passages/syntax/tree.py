"""From a syntax tree to blocks of whole lines: definitions, and the statements of those that are large.

A block is divided among the nodes that begin a line. Those that are inside the block's largest node count first: the
body of a function before its parameters. The first of them stays with the head above it, so that a function keeps its
docstring and a class its first line; comments and decorators stay with what they precede.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trivet.passages.block import SCOPES, Block, partition
from trivet.passages.lines import Lines
from trivet.passages.passage import PassageKind
from trivet.passages.syntax.languages import ASSIGNMENTS, DEFINITIONS, FUNCTION_VALUES, PREFIXES, WRAPPERS

if TYPE_CHECKING:
    from tree_sitter import Node

_DEPTH = 40
"""Blocks within blocks. Deeper ones are read line by line: `a + b + c + …` nests as deep as it is long."""
_TITLE_CHARACTERS = 100
_TITLE_LINES = 12
_WRAPPED = 6
"""Nodes around a definition: an exported constant whose value is a function has four."""


def blocks_of(root: "Node", lines: Lines, small_characters: int) -> Block:
    """The whole text as a block. Blocks of at most `small_characters` are not divided."""
    return _Reader(lines, small_characters).block(0, len(lines), None, [root], 0)


class _Reader:
    """What stays the same through the recursion."""

    def __init__(self, lines: Lines, small_characters: int) -> None:
        self._lines = lines
        self._small_characters = small_characters

    def block(self, first: int, stop: int, main: "Node | None", nodes: Sequence["Node"], depth: int) -> Block:
        """The lines from `first` to `stop`, which `nodes` cover; `main` is what the block is about."""
        named, definition = (None, None) if main is None else _definition(main)
        titles = [] if named is None or definition is None else [self._title(named, definition)]
        starts = self._lines.starts
        inner: list[Node] = []
        parts: list[Block] = []
        if depth < _DEPTH and starts[stop] - starts[first] > self._small_characters:
            inner, parts = self._parts(first, stop, nodes, depth)
        titles += [self._title(node, node) for node in inner if node not in (named, definition)]
        kind: PassageKind = "statements" if definition is None else "definition"
        title = SCOPES.join(titles) or None
        return Block(first, stop, kind, title, tuple(parts), is_unit=definition is not None)

    def _parts(self, first: int, stop: int, nodes: Sequence["Node"], depth: int) -> tuple[list["Node"], list[Block]]:
        """The block's parts, and the definitions that all of them are in, such as the only class of a namespace."""
        frontier = list(nodes)
        inner: list[Node] = []
        while True:
            several = [node for node in frontier if node.start_point.row < node.end_point.row]
            if not several:
                return inner, []
            largest = max(several, key=lambda node: node.end_byte - node.start_byte)
            inner += [largest] if largest.type in DEFINITIONS and largest.parent is not None else []
            children = largest.named_children
            cuts = self._cuts(children, first, stop)
            frontier = _replaced(frontier, largest, children)
            if cuts:
                break
        mains = _mains(children, [first, *cuts])
        shares = _shares(frontier, [first, *cuts], stop)
        parts = zip(partition(first, stop, cuts), mains, shares, strict=True)
        return inner, [self.block(start, end, main, share, depth + 1) for (start, end), main, share in parts]

    def _cuts(self, children: Sequence["Node"], first: int, stop: int) -> list[int]:
        """The lines before which the block may be cut, ascending."""
        cuts: list[int] = []
        begins: int | None = None  # where comments and decorators begin that wait for their node
        prefix_ends = -1
        is_first = True
        for node in children:
            line = node.start_point.row
            if not (first <= line < stop and self._leads(node)):
                continue
            is_prefix = node.type in PREFIXES
            if begins is not None and "comment" in node.type and self._lines.is_blank(line - 1):
                cuts += [begins] if not is_first else []
                begins, is_first = None, False
            if is_prefix:
                begins = line if begins is None else begins
                prefix_ends = node.end_point.row
                continue
            apart = begins is not None and self._lines.is_blank(prefix_ends + 1) and prefix_ends < line
            where = [line] if begins is None else [begins, line] if apart else [begins]
            cuts += where[1:] if is_first else where
            begins, is_first = None, False
        if begins is not None and not is_first:
            cuts.append(begins)
        return sorted({line for line in cuts if line > first and not self._tears(line)})

    def _leads(self, node: "Node") -> bool:
        """Whether nothing but blank space is before the node on its line."""
        text = self._lines[node.start_point.row]
        blank = text[: len(text) - len(text.lstrip())]
        return node.start_point.column == len(blank.encode())

    def _tears(self, line: int) -> bool:
        return self._lines.is_blank(line) or self._lines.tears(line) or self._lines.continues(line)

    def _title(self, named: "Node", definition: "Node") -> str:
        """The definition's head on one line, without its body: `class Circle(Shape)`."""
        row, column = named.start_point
        body = definition.child_by_field_name("body")
        body_row, body_column = (row + _TITLE_LINES, 0) if body is None else body.start_point
        title = ""
        for line in range(row, min(body_row + 1, row + _TITLE_LINES, len(self._lines))):
            text = (
                self._lines[line].encode()[column : body_column if line == body_row else None].decode(errors="replace")
            )
            title = f"{title} {text.strip()}".strip()
            column = 0
            if title.count("(") <= title.count(")"):  # the list of parameters, if there is any, is complete
                break
        return title.replace("( ", "(").replace(", )", ")")[:_TITLE_CHARACTERS].rstrip(" {:=>(")


def _replaced(frontier: list["Node"], node: "Node", children: Sequence["Node"]) -> list["Node"]:
    where = frontier.index(node)
    return [*frontier[:where], *children, *frontier[where + 1 :]]


def _shares(nodes: Sequence["Node"], starts: Sequence[int], stop: int) -> list[list["Node"]]:
    """The nodes that begin in each part; in the first, also those that began before it."""
    shares: list[list[Node]] = [[] for _ in starts]
    for node in nodes:
        row = node.start_point.row
        if row < stop and node.end_point.row >= starts[0]:
            shares[max(0, bisect_right(starts, row) - 1)].append(node)
    return shares


def _mains(children: Sequence["Node"], starts: Sequence[int]) -> list["Node | None"]:
    """For each part, the first node in it that is more than a comment or decorator."""
    mains: list[Node | None] = [None] * len(starts)
    part = 0
    for node in children:
        while part + 1 < len(starts) and node.start_point.row >= starts[part + 1]:
            part += 1
        if mains[part] is None and node.type not in PREFIXES and (part > 0 or node.start_point.row >= starts[0]):
            mains[part] = node
    return mains


def _definition(node: "Node") -> "tuple[Node, Node] | tuple[None, None]":
    """What carries the name, and the definition itself: `area = (r) => r * r` and `(r) => r * r`."""
    named = node
    for _ in range(_WRAPPED):
        if node.type in DEFINITIONS or node.type in FUNCTION_VALUES:
            return named, node
        if not node.named_child_count:
            return None, None
        inner = node.named_child(node.named_child_count - 1)
        if node.type in WRAPPERS:
            named = inner
        elif node.type not in ASSIGNMENTS:
            return None, None
        node = inner
    return None, None
