"""File names for display: the system allows any bytes in them, a terminal and a page should not get them all."""

import unicodedata
from pathlib import Path

_HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
"""Control characters, marks that change the direction of writing, ends of lines, and bytes that are not UTF-8."""
_SPELLING = frozenset("\u00ad\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u08e2\u200c\u200d")
"""Of these categories: soft hyphens, Arabic and Syriac signs that are visible, and what joins letters or keeps them
apart. In the name of a file each of them is shown, since two names that look alike would be taken for one."""


def shown(path: Path | str) -> str:
    r"""The path with every character that is not visible written as `\x1b`, `\u202e` and the like."""
    return "".join(
        _escaped(character) if unicodedata.category(character) in _HIDDEN else character for character in str(path)
    )


def shown_lines(text: str) -> list[str]:
    """The lines of a text for a terminal: tabs as spaces, and no character that the terminal would obey."""
    return [_shown_line(line.expandtabs(4).rstrip("\r")) for line in text.split("\n")]


def _shown_line(line: str) -> str:
    """The line, in which characters that are a part of spelling stay: Persian, Indic scripts and emoji need joiners."""
    return "".join(character if character in _SPELLING else shown(character) for character in line)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
