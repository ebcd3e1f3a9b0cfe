"""Recognises a program by what it imports and defines, where no file name tells its language."""

import re

_LOOKED_AT_CHARACTERS = 20_000
_DEFINITION = re.compile(
    r"^(?:export\s+|default\s+|public\s+|private\s+|pub(?:\([a-z]+\))?\s+|static\s+|abstract\s+|final\s+|async\s+|inline\s+)*"
    r"(?:def|class|function\*?|func|fn|struct|enum|trait|impl|interface|record|object|module|namespace|type)\b"
    r"[^\n]*[:{(\[,;=][ \t]*$"
    r"|^[ \t]+(?:async\s+)?def\s+\w+\([^\n]*$"
    r"|^(?:export\s+)?(?:const|let|var|val|static)\s+[A-Za-z_$][\w$]*[^\n]*="
    r"|^[A-Z][A-Z0-9_]{2,}\s*(?::[^=\n]{1,80})?=[^=]"
    r"|^@[A-Za-z_][\w.]*(?:\([^\n]*)?$",
    re.MULTILINE,
)
"""A line that defines something and ends as code does; prose may begin with the same word."""
_IMPORT = re.compile(
    r"^(?:from\s+[.\w]+\s+import\s+[\w(*]|import\s+[\w.]+(?:\s+as\s+\w+)?(?:\s*,\s*[\w.]+)*\s*;?[ \t]*$"
    r"|(?:import|export)\s[^'\"\n;]{0,400}?\bfrom\s+['\"]|import\s+['\"]|(?:pub\s+)?use\s+\w+(?:::[\w{*]+)+"
    r"|#include\s+[\"<]|using\s+[\w.]+\s*;|package\s+[\w.]+\s*;?[ \t]*$|(?:const|let|var)\s[^\n]{0,200}require\()",
    re.MULTILINE,
)
_MARKUP = re.compile(r"^(?:```|~~~|##+ \w|[=~^-]{4,}[ \t]*$)", re.MULTILINE)
"""Prose with code in it has headings, or fences around the code."""
_SENTENCE = re.compile(r"[\s>*#/-]*(?:[A-Za-z][\w'’`.-]*[,;:.)]?\s+){6}")
_MOST_PROSE = 0.5


def looks_like_program(text: str) -> bool:
    """Whether a text imports or defines something, and less than half of its lines are prose, such as comments."""
    beginning = text[:_LOOKED_AT_CHARACTERS]
    if _MARKUP.search(beginning) or not (_DEFINITION.search(beginning) or _IMPORT.search(beginning)):
        return False
    lines = [line[:200] for line in beginning.split("\n") if line.strip()]
    return sum(bool(_SENTENCE.match(line)) for line in lines) < _MOST_PROSE * len(lines)
