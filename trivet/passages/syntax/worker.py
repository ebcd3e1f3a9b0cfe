"""The process that parses. It answers requests on its standard input until that closes.

A request is a JSON array `[language, small_characters, text]`, an answer the block of the text as nested arrays; each
follows its length in bytes, as four bytes. The first answer is empty and says that the process has started.

The process gives itself little memory and, for each text, little processor time: tree-sitter needs gigabytes, and
seconds without any callback, for a few kilobytes that no compiler would take (`x=>x=>x=>…` as Java), and when memory
runs out it ends the process that it is in.
"""

import contextlib
import json
import math
import resource
import struct
import sys
import time
from typing import Any, BinaryIO

from tree_sitter import Language, Parser

from trivet.passages.block import Block
from trivet.passages.lines import Lines
from trivet.passages.syntax.languages import load
from trivet.passages.syntax.tree import blocks_of

_LENGTH = struct.Struct("!I")
_MEMORY_BYTES = 512 * 1024**2
"""A file of 1 MB needs about 100 MB."""
_PROCESSOR_S = 2
_PROCESSOR_S_PER_MB = 8
"""A slow core parses a megabyte in about a second. Time on the processor: a busy machine changes no result."""


def main() -> None:
    """Serve standard input and output."""
    _limit(resource.RLIMIT_AS, _MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)  # running out of time would leave a memory dump
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    _send(answers, b"")  # it has started
    languages: dict[str, Language] = {}
    while (request := _received(requests)) is not None:
        name, small_characters, text = request
        _limit(
            resource.RLIMIT_CPU, math.ceil(time.process_time() + _PROCESSOR_S + len(text) / 1e6 * _PROCESSOR_S_PER_MB)
        )
        language = languages.get(name) or languages.setdefault(name, load(name))
        root = Parser(language).parse(text.encode()).root_node
        _send(answers, json.dumps(_plain(blocks_of(root, Lines(text), small_characters))).encode())


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    with contextlib.suppress(ValueError, OSError):  # where the system lacks the limit, its reader's deadline remains
        resource.setrlimit(what, (value, hard))


def _received(source: BinaryIO) -> Any:
    head = source.read(_LENGTH.size)
    return json.loads(source.read(_LENGTH.unpack(head)[0])) if len(head) == _LENGTH.size else None


def _send(target: BinaryIO, answer: bytes) -> None:
    target.write(_LENGTH.pack(len(answer)) + answer)
    target.flush()


def _plain(block: Block) -> list[Any]:
    return [block.first, block.stop, block.kind, block.title, [_plain(part) for part in block.blocks]]


if __name__ == "__main__":
    main()
