"""The patterns of `.gitignore`, matched as git matches them: byte by byte. Pure.

Written for Trivet because pathspec differs from git in brackets (`[[:alpha:]]`, `[]a]`, `a[`), in blank space at the
end of a line, and in names outside ASCII. A test compares with git itself, over random patterns.

A pattern becomes a regular expression that needs at most quadratic time: what lies between two stars is taken where it
first occurs, which is right because the second star takes any rest, and is never tried again (`(?>…)`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits, hexdigits, punctuation

_SLASH = ord("/")
_STAR = ord("*")
_ANYTHING = frozenset(range(256))
_LITERAL = re.compile(rb"[^*?\[\\]*")
_CLASSES = {
    b"alnum": ascii_letters + digits, b"alpha": ascii_letters, b"blank": " \t", b"digit": digits,
    b"cntrl": "".join(map(chr, [*range(32), 127])), b"graph": ascii_letters + digits + punctuation,
    b"lower": ascii_lowercase, b"print": ascii_letters + digits + punctuation + " ", b"punct": punctuation,
    b"space": " \t\n\r\f\v", b"upper": ascii_uppercase, b"xdigit": hexdigits,
}  # fmt: skip

_Token = frozenset[int] | None
"""The bytes that may stand at a place, or None for a star: any number of bytes other than slashes."""


class _Unmatchable(Exception):
    """git never finds this pattern, for instance because a bracket is not closed."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of a `.gitignore`."""

    is_negated: bool
    only_folders: bool
    by_name: bool
    """Whether the last part of a path is compared, not all of it."""
    expression: re.Pattern[bytes]

    def matches(self, path: bytes, is_folder: bool) -> bool:
        """Whether the line is about this path, which is relative to the file's folder."""
        if self.only_folders and not is_folder:
            return False
        return self.expression.fullmatch(path.rpartition(b"/")[2] if self.by_name else path) is not None


def parsed(content: bytes) -> list[Pattern]:
    """The patterns of a file, in order. Blank lines, comments and what git cannot match are passed over."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    *ended, last = content.split(b"\n")
    lines = [*(line.removesuffix(b"\r") for line in ended), last]
    return [pattern for line in lines for pattern in _pattern(line)]


def verdict(patterns: Sequence[Pattern], path: bytes, is_folder: bool) -> bool | None:
    """Whether the path is ignored; None if no pattern is about it. The last one that is decides."""
    for pattern in reversed(patterns):
        if pattern.matches(path, is_folder):
            return not pattern.is_negated
    return None


def _pattern(line: bytes) -> Iterator[Pattern]:
    if line.startswith(b"#"):
        return
    line = _without_spaces_at_end(line)
    is_negated = line.startswith(b"!")
    line = line[is_negated:]
    only_folders = line.endswith(b"/")
    line = line[: len(line) - only_folders]
    if not line:
        return
    by_name = b"/" not in line
    try:
        expression = _name(list(_tokens(line))) if by_name else _path(line.removeprefix(b"/"))
    except _Unmatchable:
        return
    yield Pattern(is_negated, only_folders, by_name, re.compile(expression, re.DOTALL))


def _without_spaces_at_end(line: bytes) -> bytes:
    """The line without the spaces at its end, unless a backslash is before the first of them."""
    end = at = 0
    while at < len(line):
        if line[at : at + 1] == b"\\":
            at += 1
            end = min(at + 1, len(line))
        elif line[at : at + 1] != b" ":
            end = at + 1
        at += 1
    return line[:end]


def _path(pattern: bytes) -> bytes:
    """The expression of a pattern with a slash in it; `**` alone between two slashes is any number of folders.

    git compares what is before the first special character first, and then takes `**` for the beginning: so do we.
    """
    literal = _LITERAL.match(pattern)
    prefix = b"" if literal is None else literal[0]
    blocks: list[list[bytes]] = [[]]
    parts = _split(pattern[len(prefix) :])
    for place, part in enumerate(parts):
        is_last = place + 1 == len(parts)
        if len(part) >= 2 and not part.strip(b"*") and not is_last:
            if blocks[-1] or len(blocks) == 1:
                blocks.append([])
        elif len(part) >= 2 and not part.strip(b"*"):
            blocks[-1].append(b".*")
        else:
            blocks[-1].append(_name(list(_tokens(part))))
    first, *rest = [b"/".join(block) for block in blocks]
    found = re.escape(prefix) + first
    if not rest:
        return found
    *between, last = rest
    found += b"/" if first else b""
    found += b"".join(b"(?>(?:[^/]*/)*?" + block + b"/)" for block in between)
    return found + b"(?:[^/]*/)*?" + last


def _split(pattern: bytes) -> list[bytes]:
    """The pattern at its slashes, except those in brackets, which match nothing in a path."""
    parts = [bytearray()]  # which grow in place: a line may have a megabyte
    at = 0
    while at < len(pattern):
        end = _bracket(pattern, at)[1] if pattern[at : at + 1] == b"[" else at + 1 + (pattern[at : at + 1] == b"\\")
        if pattern[at] == _SLASH:
            parts.append(bytearray())
        else:
            parts[-1] += pattern[at:end]
        at = end
    return [bytes(part) for part in parts]


def _name(tokens: Sequence[_Token]) -> bytes:
    """The expression of a pattern without slashes."""
    runs = [bytearray()]
    for token in tokens:
        if token is None:
            runs.append(bytearray())
        else:
            runs[-1] += _one_of(token)
    first, *rest = map(bytes, runs)
    if not rest:
        return first
    between = b"".join(b"(?>[^/]*?" + run + b")" for run in rest[:-1] if run)
    return first + between + b"[^/]*" + rest[-1]


def _one_of(allowed: frozenset[int]) -> bytes:
    if len(allowed) == 1:
        return re.escape(bytes(allowed))
    escaped = b"".join(b"\\x%02x" % value for value in sorted(allowed))
    return b"[" + escaped + b"]" if escaped else b"(?!)"


def _tokens(pattern: bytes) -> Iterator[_Token]:
    at = 0
    while at < len(pattern):
        value = pattern[at]
        if value == _STAR:
            yield None
            at += 1
        elif value == ord("?"):
            yield _ANYTHING - {_SLASH}
            at += 1
        elif value == ord("["):
            allowed, at = _bracket(pattern, at)
            yield allowed
        elif value == ord("\\"):
            if at + 1 == len(pattern):
                raise _Unmatchable
            yield frozenset({pattern[at + 1]})
            at += 2
        else:
            yield frozenset({value})
            at += 1


def _bracket(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """(bytes that a bracket allows, where it ends)."""
    at += 1
    is_negated = pattern[at : at + 1] in (b"!", b"^")
    at += is_negated
    allowed: set[int] = set()
    before: int | None = None
    begins = at
    while True:
        value = pattern[at : at + 1]
        if not value:
            raise _Unmatchable
        if value == b"]" and at > begins:
            break
        name = re.compile(rb"\[:([^\]]*):\]").match(pattern, at)
        if name is not None:
            if name[1] not in _CLASSES:
                raise _Unmatchable
            allowed.update(_CLASSES[name[1]].encode())
            before, at = None, name.end()
        elif value == b"-" and before is not None and pattern[at + 1 : at + 2] not in (b"", b"]"):
            last, at = _character(pattern, at + 1)
            allowed.update(range(before, last + 1))
            before = None
        else:
            before, at = _character(pattern, at)
            allowed.add(before)
    found = _ANYTHING - allowed if is_negated else frozenset(allowed)
    return found - {_SLASH}, at + 1


def _character(pattern: bytes, at: int) -> tuple[int, int]:
    """(a byte in a bracket, where the next one begins); a backslash before it is not part of it."""
    at += pattern[at : at + 1] == b"\\"
    if at >= len(pattern):
        raise _Unmatchable
    return pattern[at], at + 1
