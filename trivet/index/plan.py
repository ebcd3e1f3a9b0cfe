"""What has to be done for an index to be up to date. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FileState:
    """A file's content, by its digest; and the scheme by which it is, or was, divided into passages."""

    digest: str
    scheme: str
    """Any text. What was divided by another scheme counts as changed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Paths, sorted. Each path that there is now is in one of `added`, `changed`, `copied` and `unchanged`."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]
    copied: list[tuple[str, str]] = field(default_factory=list)
    """(path, the path in the index that has the same content): a file that was moved or copied. To be done before
    `removed`."""


def digest_of(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def plan(indexed: Mapping[str, FileState], found: Iterable[tuple[str, FileState]]) -> Plan:
    """Compare what an index holds with the files that there are now."""
    now = dict(found)
    added = sorted(now.keys() - indexed.keys())
    changed = sorted(path for path in now.keys() & indexed.keys() if now[path] != indexed[path])
    # A changed file is replaced, so what it had is not there to be copied.
    having = {state: path for path, state in sorted(indexed.items(), reverse=True) if now.get(path, state) == state}
    return Plan(
        added=[path for path in added if now[path] not in having],
        changed=changed,
        removed=sorted(indexed.keys() - now.keys()),
        unchanged=sorted(path for path in now.keys() & indexed.keys() if now[path] == indexed[path]),
        copied=[(path, having[now[path]]) for path in added if now[path] in having],
    )
