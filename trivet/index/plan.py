"""What has to be done for an index to be up to date. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileState:
    """A file's content, by its digest; and the scheme by which it is, or was, divided into passages."""

    digest: str
    scheme: str
    """Any text. What was divided by another scheme counts as changed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Paths, each in one list, sorted."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]


def digest_of(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def plan(indexed: Mapping[str, FileState], found: Iterable[tuple[str, FileState]]) -> Plan:
    """Compare what an index holds with the files that there are now."""
    now = dict(found)
    return Plan(
        added=sorted(now.keys() - indexed.keys()),
        changed=sorted(path for path in now.keys() & indexed.keys() if now[path] != indexed[path]),
        removed=sorted(indexed.keys() - now.keys()),
        unchanged=sorted(path for path in now.keys() & indexed.keys() if now[path] == indexed[path]),
    )
