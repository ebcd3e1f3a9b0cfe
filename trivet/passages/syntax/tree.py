"""From a syntax tree to blocks of whole lines: definitions, and the statements of those that are large.

A block is divided among the nodes that begin a line. Those that are inside the block's largest node count first: the
body of a function before its parameters. The first of them stays with the head above it, so that a function keeps its
docstring and a class its first line; comments and decorators stay with what they precede.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trivet.passages.block import Block, partition
from trivet.passages.lines import Lines
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
        definition = None if main is None else _definition(main)
        return Block(
            first,
            stop,
            "statements" if definition is None else "definition",
            None if definition is None else self._title(*definition),
            tuple(self._parts(first, stop, nodes, depth)),
            is_unit=definition is not None,
        )

    def _parts(self, first: int, stop: int, nodes: Sequence["Node"], depth: int) -> Iterator[Block]:
        starts = self._lines.starts
        if depth == _DEPTH or starts[stop] - starts[first] <= self._small_characters:
            return
        frontier = list(nodes)
        while True:
            several = [node for node in frontier if node.start_point.row < node.end_point.row]
            if not several:
                return
            largest = max(several, key=lambda node: node.end_byte - node.start_byte)
            children = largest.named_children
            cuts = self._cuts(children, first, stop)
            frontier = _replaced(frontier, largest, children)
            if cuts:
                break
        mains = _mains(children, [first, *cuts])
        for (start, end), main in zip(partition(first, stop, cuts), mains, strict=True):
            covering = [node for node in frontier if start <= node.start_point.row < end]
            if start == first:
                covering = [node for node in frontier if node.start_point.row < end and node.end_point.row >= first]
            yield self.block(start, end, main, covering, depth + 1)

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
        """The definition up to its body, on one line: `class Circle(Shape)`."""
        body = definition.child_by_field_name("body")
        row, column = named.start_point
        last = row if body is None else min(body.start_point.row, row + _TITLE_LINES)
        pieces = [self._lines[line].encode() for line in range(row, last + 1)]
        if body is not None and body.start_point.row == last:
            pieces[-1] = pieces[-1][: body.start_point.column]
        title = " ".join(b" ".join([pieces[0][column:], *pieces[1:]]).decode(errors="replace").split())
        return title.replace("( ", "(").replace(", )", ")")[:_TITLE_CHARACTERS].rstrip(" {:=>(")


def _replaced(frontier: list["Node"], node: "Node", children: Sequence["Node"]) -> list["Node"]:
    where = frontier.index(node)
    return [*frontier[:where], *children, *frontier[where + 1 :]]


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


def _definition(node: "Node") -> "tuple[Node, Node] | None":
    """What carries the name, and the definition itself: `area = (r) => r * r` and `(r) => r * r`."""
    named = node
    for _ in range(_WRAPPED):
        if node.type in DEFINITIONS or node.type in FUNCTION_VALUES:
            return named, node
        if not node.named_child_count:
            return None
        inner = node.named_child(node.named_child_count - 1)
        if node.type in WRAPPERS:
            named = inner
        elif node.type not in ASSIGNMENTS:
            return None
        node = inner
    return None
