"""File names for display: the system allows any bytes in them, a terminal and a page should not get them all."""

import unicodedata
from pathlib import Path

_HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
"""Control characters, marks that change the direction of writing, ends of lines, and bytes that are not UTF-8."""


def shown(path: Path | str) -> str:
    r"""The path with every character that is not visible written as `\x1b`, `\u202e` and the like."""
    return "".join(
        _escaped(character) if unicodedata.category(character) in _HIDDEN else character for character in str(path)
    )


def shown_lines(text: str) -> list[str]:
    """The lines of a text for a terminal: tabs as spaces, and no character that the terminal would obey."""
    return [shown(line.expandtabs(4).rstrip("\r")) for line in text.split("\n")]


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
