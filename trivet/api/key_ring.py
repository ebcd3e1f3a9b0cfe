"""API keys: their file format, their hashes, and the caller that a key belongs to. Only hashes are stored.

A key file (or the environment variable `TRIVET_API_KEYS`, same format) has one key a line:

    NAME sha256:HEXDIGEST [requests_per_minute=N] [concurrent=N]

A plain SHA-256 is enough because keys are 256 random bits (`new_key`): there is nothing to guess, so a salt or a slow
hash would protect nothing. Passwords of people do not belong here.
"""

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from trivet.errors import ConfigError
from trivet.files import read_regular

ENVIRONMENT_VARIABLE = "TRIVET_API_KEYS"

LOOK_EVERY_S = 1.0
"""How often a key file is looked at, at most."""

logger = logging.getLogger(__name__)

_LINE = re.compile(r"(?P<name>\S+)\s+sha256:(?P<digest>[0-9a-fA-F]{64})(?P<limits>(\s+\w+=[1-9][0-9]{0,8})*)")
"""A limit has at most nine digits, far beyond what a machine answers in a minute."""
_MOST_BYTES = 16 * 1024**2
"""Of a key file: over 100,000 keys."""
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


class KeySource(Protocol):
    """Where the keys that may call now are found."""

    @property
    def ring(self) -> "KeyRing":
        """The keys that may call now."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys that may call."""

    keys: tuple[ApiKey, ...]

    @property
    def ring(self) -> "KeyRing":
        """Itself: keys from the environment stay as they are."""
        return self

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

    def find(self, presented: str) -> ApiKey | None:
        """Find the caller that a key belongs to, in the same time for every key; None if there is none."""
        digest = _digest(presented)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


class KeyFile:
    """The keys in a file, which is read again after a change: a key that is removed stops working at once.

    A file that becomes unreadable or wrong changes nothing, since a slip of its editor must not lock everyone out. The
    log says so, once.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. Raises ConfigError if it cannot be read or is wrong."""
        self._path = path
        self._clock = clock
        self._seen = self._state()
        self._ring = self._read()
        self._looked_s = clock()

    @property
    def ring(self) -> KeyRing:
        """The keys in the file, as of at most `LOOK_EVERY_S` ago."""
        now_s = self._clock()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            state = self._state()
            if state != self._seen:
                self._seen = state
                self._replace()
        return self._ring

    def _replace(self) -> None:
        try:
            self._ring = self._read()
        except ConfigError as error:
            logger.error("the keys stay as they were: %s", error.message)
        else:
            logger.info("the keys were read again from %s: %s callers", self._path, len(self._ring.keys))

    def _read(self) -> KeyRing:
        try:
            content = read_regular(self._path, _MOST_BYTES)
            if len(content) > _MOST_BYTES:
                raise ConfigError(f"the key file {self._path} is larger than {_MOST_BYTES} bytes")
            text = content.decode("utf-8")
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path that cannot be one
            raise ConfigError(f"the key file {self._path} cannot be read: {error}") from error
        return KeyRing.parse(text, origin=str(self._path))

    def _state(self) -> tuple[int, ...] | None:
        """What changes with the file's content; None if there is no such file."""
        try:
            status = self._path.stat()
        except (OSError, ValueError):
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


def open_keys(file: Path | None, environment: Mapping[str, str]) -> KeySource | None:
    """Return the keys in the file if there is one, else those in the environment variable; None if neither has keys.

    Raises:
        ConfigError: they cannot be read.
    """
    if file is not None:
        return KeyFile(file)
    listed = environment.get(ENVIRONMENT_VARIABLE)
    return KeyRing.parse(listed, origin=ENVIRONMENT_VARIABLE) if listed else None


def _parse_line(line: str, where: str) -> ApiKey:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ConfigError(f"{where}: expected `NAME sha256:HEXDIGEST [{'=N] ['.join(_LIMITS)}=N]`")
    limits = dict(pair.split("=") for pair in match["limits"].split())
    if unknown := set(limits) - set(_LIMITS):
        raise ConfigError(f"{where}: unknown limit {', '.join(sorted(unknown))}; there are {', '.join(_LIMITS)}")
    return ApiKey(match["name"], bytes.fromhex(match["digest"]), **{name: int(n) for name, n in limits.items()})
