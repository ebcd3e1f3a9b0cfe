"""API keys: their file format, their hashes, and the caller that a key belongs to. Only hashes are stored.

A key file (or the environment variable `TRIVET_API_KEYS`, same format) has one key a line:

    NAME sha256:HEXDIGEST [requests_per_minute=N] [concurrent=N]

A plain SHA-256 is enough because keys are 256 random bits (`new_key`): there is nothing to guess, so a salt or a slow
hash would protect nothing. Passwords of people do not belong here.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from trivet.errors import ConfigError

ENVIRONMENT_VARIABLE = "TRIVET_API_KEYS"

_LINE = re.compile(r"(?P<name>\S+)\s+sha256:(?P<digest>[0-9a-fA-F]{64})(?P<limits>(\s+\w+=[1-9][0-9]*)*)")
_LIMITS = ("requests_per_minute", "concurrent")


def new_key() -> str:
    """Make a new key. It is shown once, to the person it is for, and never stored."""
    return f"tvt_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> str:
    """Hash a key for a key file: `sha256:…`."""
    return f"sha256:{_digest(key).hex()}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One caller. A limit of None means no limit."""

    name: str
    digest: bytes = field(repr=False)
    requests_per_minute: int | None = None
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys that may call."""

    keys: tuple[ApiKey, ...]

    @classmethod
    def parse(cls, text: str, *, origin: str) -> Self:
        """Parse a key file; ConfigError names `origin` and the line, never its content."""
        keys: list[ApiKey] = []
        for number, line in enumerate(text.splitlines(), start=1):
            line = line.partition("#")[0].strip()
            if line:
                keys.append(_parse_line(line, f"{origin}, line {number}"))
        names = [key.name for key in keys]
        if not keys or len(set(names)) != len(names):
            raise ConfigError(f"{origin} must hold at least one key, and no name twice")
        return cls(tuple(keys))

    @classmethod
    def load(cls, file: Path | None, environment: Mapping[str, str]) -> Self | None:
        """Load the file if there is one, else the environment variable; None if neither has keys."""
        if file is not None:
            try:
                text = file.read_text()
            except OSError as error:
                raise ConfigError(f"the key file cannot be read: {error}") from error
            return cls.parse(text, origin=str(file))
        listed = environment.get(ENVIRONMENT_VARIABLE)
        return cls.parse(listed, origin=ENVIRONMENT_VARIABLE) if listed else None

    def find(self, presented: str) -> ApiKey | None:
        """Find the caller that a key belongs to, in the same time for every key; None if there is none."""
        digest = _digest(presented)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def _parse_line(line: str, where: str) -> ApiKey:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ConfigError(f"{where}: expected `NAME sha256:HEXDIGEST [{'=N] ['.join(_LIMITS)}=N]`")
    limits = dict(pair.split("=") for pair in match["limits"].split())
    if unknown := set(limits) - set(_LIMITS):
        raise ConfigError(f"{where}: unknown limit {', '.join(sorted(unknown))}; there are {', '.join(_LIMITS)}")
    return ApiKey(match["name"], bytes.fromhex(match["digest"]), **{name: int(n) for name, n in limits.items()})
