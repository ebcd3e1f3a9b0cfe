"""A service that asks for keys, as its users start it, and a caller with a key who must not notice any of it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from bench.support.served import Served, served
from deployments.service.record import RecordFile
from trivet.api.key_ring import hash_key, new_key
from trivet.paths import cache_dir

MIB = 1024**2


@dataclass(frozen=True)
class Guarded:
    """A running service, the keys of a caller and of an attacker, and the file that has them."""

    service: Served
    key: str
    hostile_key: str
    keys_file: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    @property
    def hostile_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.hostile_key}", "content-type": "application/json"}

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.service.url.removeprefix("http://").partition(":")
        return host, int(port)

    def run_folders(self) -> list[Path]:
        """The folder of the service's files."""
        record = RecordFile(cache_dir(None), self.address[1]).read()
        return [] if record is None else [Path(record.folder)]

    def rss_by_role(self) -> dict[str, int]:
        """The largest process of each role, in bytes."""
        found: dict[str, int] = {}
        for one in self.service.memory():
            found[one.role] = max(found.get(one.role, 0), one.rss_bytes)
        return found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    key, hostile_key = new_key(), new_key()
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"somebody {hash_key(key)}\nhostile {hash_key(hostile_key)}\n", encoding="utf-8")
    with served({"device": "cpu", "api": {"keys_file": str(keys)}}) as service:
        yield Guarded(service, key, hostile_key, keys)


@dataclass
class Caller:
    """Sends a short text again and again, one at a time, and keeps how long each answer took."""

    guarded: Guarded
    latencies_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def run(self, ended: threading.Event) -> None:
        number = 0
        with httpx.Client(base_url=self.guarded.service.url, headers=self.guarded.headers, timeout=60) as client:
            while not ended.is_set():
                number += 1
                began_s = time.monotonic()
                try:
                    answer = client.post("/v1/embeddings", json={"input": f"short text {number}"})
                    if answer.status_code != 200:
                        self.failures.append(f"{answer.status_code} {answer.text[:200]}")
                except httpx.HTTPError as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                self.latencies_s.append(time.monotonic() - began_s)
                ended.wait(0.02)

    @property
    def p99_s(self) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


def grown(before: dict[str, int], after: dict[str, int], allowed: int) -> dict[str, int]:
    """The roles whose largest process has grown by more, in MiB."""
    growth = {role: after[role] - before.get(role, 0) for role in after if role in before}
    return {role: size // MIB for role, size in growth.items() if size > allowed}


@contextmanager
def calling(guarded: Guarded) -> Iterator[Caller]:
    """A caller with a key, at work during the whole block."""
    caller, ended = Caller(guarded), threading.Event()
    thread = threading.Thread(target=caller.run, args=(ended,))
    thread.start()
    try:
        yield caller
    finally:
        ended.set()
        thread.join()


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold in that time."""
    deadline_s = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.2)
    return True
