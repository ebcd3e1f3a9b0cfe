"""The lines of a text, and where a cut between two of them hurts least."""

import re
from itertools import accumulate

_TAB_COLUMNS = 4
_VISIBLE = re.compile(r"[^\s\ufeff]")
_CLOSERS = (")", "]", "}", "</")
_CLOSING_WORD = re.compile(
    r"end\b(?!\s*[=,(\[+*/-])|(?:else|elif|elsif|elseif|except|finally|catch|rescue|ensure|fi|done|esac)\b(?!\s*=)"
)
_CONTINUATIONS = (".", "?.", "&&", "||", "? ", ": ")
_DOCSTRINGS = ('"""', "'''", 'r"""')
_INTRODUCTIONS = ("#", "//", "/*", "*", "--", ";;", "@")
_OPENERS = (":", "{", "(", "[")
_BEFORE_ELEMENT = (",", ";", "{", "}", "[", "]", "(", ">")

Seam = tuple[bool, int, bool]
"""The price of a cut: whether it tears something apart, the indentation at which it happens, and whether no blank line
is there. The lower the better."""


class Lines:
    """A text by lines, counted from 0. Only a line feed ends a line; a carriage return before it is blank space."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = text.split("\n")
        self.starts: list[int] = [0, *accumulate(len(line) + 1 for line in self._lines)]
        """Where each line begins in the text, and where the text ends."""
        self.starts[-1] -= 1  # no line feed follows the last line

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, line: int) -> str:
        """The line without its line feed."""
        return self._lines[line]

    def is_blank(self, line: int) -> bool:
        """Whether nothing is on the line, or it is not there."""
        return not 0 <= line < len(self._lines) or is_blank(self._lines[line])

    def first_in(self, first: int, stop: int) -> int | None:
        """The first of these lines that is not blank."""
        return next((line for line in range(first, stop) if not self.is_blank(line)), None)

    def indentation(self, line: int) -> int:
        """Columns before the line's first character that is not blank."""
        text = self._lines[line]
        width = len(text) - len(text.lstrip(" \t"))
        return len(text[:width].expandtabs(_TAB_COLUMNS))

    def seam(self, line: int) -> Seam:
        """What a cut before this line costs; the line is not blank."""
        tears = self.tears(line) or self._is_introduced(line)
        return tears, self.indentation(line), not self.is_blank(line - 1)

    def tears(self, line: int) -> bool:
        """Whether a cut before the line leaves an end without its beginning, or a beginning without what follows it."""
        words = self._lines[line].strip()
        if closes(words):
            return True
        before = self._before(line)
        if words.startswith("{"):  # a body whose bracket has its own line, not an element of a list
            return bool(before) and not before.endswith(_BEFORE_ELEMENT)
        return before.endswith(_OPENERS)

    def continues(self, line: int) -> bool:
        """Whether the line of code goes on with, or describes, a statement that began above it."""
        words = self._lines[line].lstrip()
        return words.startswith(_CONTINUATIONS) or (words.startswith(_DOCSTRINGS) and not self.is_blank(line - 1))

    def trimmed(self, start: int, end: int) -> tuple[int, int]:
        """The range without blank space at its ends, except the indentation of a first line that is all in it."""
        found = _VISIBLE.search(self.text, start, end)
        if found is None:
            return start, start
        while not _VISIBLE.match(self.text, end - 1):
            end -= 1
        line_start = self.text.rfind("\n", 0, found.start()) + 1
        return line_start if line_start >= start else found.start(), end

    def _is_introduced(self, line: int) -> bool:
        """Whether a comment or decorator directly above the line is about it."""
        above = self._lines[line - 1].lstrip() if line > 0 else ""
        return above.startswith(_INTRODUCTIONS) and not self._lines[line].lstrip().startswith(_INTRODUCTIONS)

    def _before(self, line: int) -> str:
        """The last line above that is not blank, past one blank line at most."""
        for above in (line - 1, line - 2):
            if above >= 0 and not self.is_blank(above):
                return self._lines[above].rstrip()
        return ""


def is_blank(text: str) -> bool:
    """Whether the text has no visible character. A byte order mark counts as blank space."""
    return _VISIBLE.search(text) is None


def closes(words: str) -> bool:
    """Whether a line or sentence that starts like this belongs to what is before it."""
    return words.startswith(_CLOSERS) or _CLOSING_WORD.match(words) is not None
