"""Split documentation into a summary and what elaborates on it. Pure text, no files."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!vs\.)\s+(?=[A-Z`:\"'(])")
_ROLE = re.compile(r":[a-z:]+:`~?([^`<]+?)(?:\s*<[^>]+>)?`")
_SECTION = re.compile(
    r"^(Parameters|Returns|Args|Arguments|Raises|Yields|Examples?|Notes?|See Also|References|Attributes)\b:?\s*$"
)
_CHANGELOG = re.compile(r"\bv?\d+\.\d+\.\d+\b|Bug ?fix|Related issues|Contributor|Deprecations", re.I)
_FIELD = re.compile(r"^\s*(:param|:return|:rtype|:raises|:type|>>>|\.\. |@param|@return)")


@dataclass(frozen=True, slots=True)
class Summary:
    """A docstring's first sentence and everything after it."""

    head: str
    rest: str


def unmark(text: str) -> str:
    """Drop reStructuredText roles and double backticks: readers and models see words, not markup."""
    return _ROLE.sub(r"\1", text).replace("``", "`")


def sentences(paragraph: str) -> list[str]:
    return [s.strip() for s in _SENTENCE_END.split(" ".join(paragraph.split())) if s.strip()]


def paragraphs(docstring: str) -> list[str]:
    return [p.strip("\n") for p in re.split(r"\n\s*\n", docstring) if p.strip()]


def prose_sentences(docstring: str) -> list[str]:
    """Sentences of the running-prose paragraphs; parameter lists, examples and tables are left out."""
    found: list[str] = []
    for paragraph in paragraphs(docstring):
        lines = paragraph.splitlines()
        if (
            _SECTION.match(lines[0])
            or any(_FIELD.match(line) for line in lines)
            or "---" in paragraph
            or "===" in paragraph
        ):
            continue
        found.extend(unmark(s) for s in sentences(paragraph))
    return found


def split_summary(docstring: str) -> Summary | None:
    """The first sentence against the rest, or None where either is too short to say anything."""
    blocks = paragraphs(docstring)
    if not blocks or _FIELD.match(blocks[0]) or _SECTION.match(blocks[0].splitlines()[0]):
        return None
    first = sentences(blocks[0])
    head = unmark(first[0])
    rest_of_block = unmark(" ".join(first[1:]))
    rest = "\n\n".join(part for part in (rest_of_block, *(unmark(b) for b in blocks[1:])) if part)
    if not 4 <= len(head.split()) <= 40 or len(rest.split()) < 10:
        return None
    return Summary(head, rest)


def readme_sections(text: str) -> list[tuple[str, str]]:
    """(heading, body) of a Markdown or reStructuredText page; code fences, badges and lists of links are dropped."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    text = re.sub(r"^\s*\.\. .*$|^\s*\[!\[.*$|^.*(?:img\.shields|badge).*$", "", text, flags=re.M)
    parts = re.split(r"^(?:#{1,4} +(.+)|([^\n#]{3,70})\n[=\-~^]{3,})\s*$", text, flags=re.M)
    found = []
    for i in range(1, len(parts) - 2, 3):
        heading = (parts[i] or parts[i + 1] or "").strip(" #")
        body = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", re.sub(r"<[^>]+>", "", parts[i + 2])).strip()
        if heading and len(body.split()) >= 25 and body.count("http") <= 2 and not _CHANGELOG.search(heading + body):
            found.append((heading, re.sub(r"\n{3,}", "\n\n", body)))
    return found
