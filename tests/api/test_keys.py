"""Bearer keys: which callers are admitted, how often, and that no key is logged."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.environment.exposure import exposure_warning
from tests.api.conftest import Connect, client_of
from tests.support.dispatcher import FakeDispatcher
from trivet.api.app import create_app
from trivet.api.key_ring import (
    ENVIRONMENT_VARIABLE,
    LOOK_EVERY_S,
    ApiKey,
    KeyFile,
    KeyRing,
    hash_key,
    new_key,
    open_keys,
)
from trivet.api.settings import ApiSettings
from trivet.config import CacheConfig
from trivet.errors import ConfigError

KEY = new_key()
RING = KeyRing.parse(
    f"# people\nann {hash_key(KEY)}\n\nbob {hash_key(new_key())} concurrent=1  # a robot\n", origin="t"
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def guarded(connect: Connect) -> httpx.AsyncClient:
    return connect(FakeDispatcher(), ApiSettings(keys=RING))


def _with(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_a_known_key_gets_in(guarded: httpx.AsyncClient) -> None:
    for scheme in ("Bearer", "bearer"):
        response = await guarded.post(
            "/v1/embeddings", json={"input": "a"}, headers={"authorization": f"{scheme} {KEY}"}
        )
        assert response.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        _with(""),
        _with("wrong"),
        _with(KEY[:-1]),
        {"authorization": KEY},
        {"authorization": f"Basic {KEY}"},
        {"api-key": "wrong"},
        {"x-api-key": ""},
    ],
    ids=["none", "empty", "wrong", "shortened", "no scheme", "basic", "another header", "another header, empty"],
)
async def test_anything_else_does_not(guarded: httpx.AsyncClient, headers: dict[str, str]) -> None:
    response = await guarded.post("/v1/embeddings", json={"input": "a"}, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("header", ["api-key", "x-api-key", "X-API-Key"])
async def test_a_key_in_another_apis_header_is_taken(guarded: httpx.AsyncClient, header: str) -> None:
    response = await guarded.post("/v1/embeddings", json={"input": "a"}, headers={header: KEY})
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/info", "/version", "/reranker/info", "/docsx", "/nothing/here"])
async def test_nothing_but_health_and_pages_is_open(guarded: httpx.AsyncClient, path: str) -> None:
    assert (await guarded.get(path)).status_code == 401


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/health", "/ping", "/", "/reranker", "/embedder/", "/classifier/health"]
)
async def test_health_is_open(guarded: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await guarded.request(method, path)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/embedder", "/embedder/"])
async def test_embedding_on_a_path_of_health_needs_a_key(guarded: httpx.AsyncClient, path: str) -> None:
    assert (await guarded.post(path, json={"inputs": "a"})).status_code == 401


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
async def test_the_description_of_the_api_is_open(guarded: httpx.AsyncClient, path: str) -> None:
    assert (await guarded.get(path)).status_code == 200


async def test_the_body_of_a_caller_without_a_key_is_not_read(guarded: httpx.AsyncClient) -> None:
    read = False

    async def body() -> Any:
        nonlocal read
        read = True
        yield b"{}"

    assert (await guarded.post("/v1/embeddings", content=body())).status_code == 401
    assert not read


async def test_no_key_is_ever_logged(guarded: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for key in (KEY, "a-wrong-key-of-somebody"):
        await guarded.post("/v1/embeddings", json={"input": "a"}, headers=_with(key))
        assert key not in caplog.text
    assert KEY not in repr(RING)
    assert RING.keys[0].digest.hex() not in repr(RING)


async def test_over_its_rate_a_key_gets_a_retry_after(connect: Connect) -> None:
    ring = KeyRing.parse(f"ann {hash_key(KEY)} requests_per_minute=2", origin="t")
    client = connect(FakeDispatcher(), ApiSettings(keys=ring))
    statuses = [(await client.get("/v1/models", headers=_with(KEY))).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    response = await client.post("/embed", json={"inputs": "a"}, headers=_with(KEY))
    assert response.json()["error_type"] == "Overloaded"
    assert 1 <= int(response.headers["retry-after"]) <= 30


@pytest.mark.slow
async def test_two_applications_of_one_service_count_a_key_together(tmp_path: Path) -> None:
    ring = KeyRing.parse(f"ann {hash_key(KEY)} requests_per_minute=5", origin="t")
    apps = [create_app(FakeDispatcher(), ApiSettings(keys=ring), shared_folder=tmp_path) for _ in range(2)]
    clients = [client_of(app) for app in apps]
    statuses = [(await clients[n % 2].get("/v1/models", headers=_with(KEY))).status_code for n in range(7)]
    assert statuses == [200] * 5 + [429] * 2


def test_keys_come_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ann {hash_key(KEY)} requests_per_minute=60 concurrent=4\n")
    ring = open_keys(file, {})
    assert ring is not None
    ring = ring.ring
    assert ring.keys[0] == ApiKey("ann", ring.keys[0].digest, 60, 4)
    assert ring.find(KEY) is ring.keys[0]
    assert open_keys(None, {ENVIRONMENT_VARIABLE: f"bob {hash_key(KEY)}"}) is not None
    assert open_keys(None, {}) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nobody",
        f"ann {KEY}",
        f"ann {hash_key(KEY)} requests_per_minute=0",
        f"ann {hash_key(KEY)} requests_per_hour=5",
        f"ann {hash_key(KEY)}\nann {hash_key(new_key())}",
    ],
    ids=["empty", "only a comment", "a key itself", "zero", "unknown limit", "a name twice"],
)
def test_a_wrong_key_file_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        KeyRing.parse(text, origin="the file")
    assert "the file" in refused.value.message
    assert KEY not in refused.value.message


def test_a_missing_key_file_is_an_error_and_admits_nobody(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        open_keys(tmp_path / "absent", {})


async def test_a_key_that_is_removed_from_the_file_stops_working(connect: Connect, tmp_path: Path) -> None:
    file, clock, other = tmp_path / "keys", Clock(), new_key()
    file.write_text(f"ann {hash_key(KEY)}\n", encoding="utf-8")
    client = connect(FakeDispatcher(), ApiSettings(keys=KeyFile(file, clock)))

    async def status(key: str) -> int:
        return (await client.post("/v1/embeddings", json={"input": "a"}, headers=_with(key))).status_code

    assert [await status(KEY), await status(other)] == [200, 401]
    file.write_text(f"bob {hash_key(other)}\n", encoding="utf-8")
    clock.now_s += LOOK_EVERY_S
    assert [await status(KEY), await status(other)] == [401, 200]


def test_a_slip_in_the_file_locks_nobody_out_and_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, clock = tmp_path / "keys", Clock()
    file.write_text(f"ann {hash_key(KEY)}\n", encoding="utf-8")
    keys = KeyFile(file, clock)
    for slip in (lambda: file.write_text("ann oops", encoding="utf-8"), file.unlink):
        slip()
        clock.now_s += LOOK_EVERY_S
        assert keys.ring.find(KEY) is not None
        assert keys.ring.find(KEY) is not None
    assert len([record for record in caplog.records if "the keys stay as they were" in record.message]) == 2
    file.write_text(f"bob {hash_key(new_key())}\n", encoding="utf-8")
    clock.now_s += LOOK_EVERY_S
    assert keys.ring.find(KEY) is None


@pytest.mark.timeout(20)
def test_what_takes_the_place_of_the_file_locks_nobody_out_and_blocks_nobody(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", Clock()
    line = f"ann {hash_key(KEY)}"
    file.write_text(line, encoding="utf-8")
    keys = KeyFile(file, clock)
    places: list[Callable[[], object]] = [
        lambda: os.mkfifo(file),
        file.mkdir,
        file.touch,
        lambda: file.write_text(f"{line} requests_per_minute={'9' * 5000}", encoding="utf-8"),
        lambda: file.write_text(f"{line} requests_per_minute={'9' * 400}", encoding="utf-8"),
        lambda: file.write_bytes(b"\xff\xfe\x00"),
    ]
    for place in places:
        if file.is_dir():
            file.rmdir()
        else:
            file.unlink()
        place()
        clock.now_s += LOOK_EVERY_S
        found = keys.ring.find(KEY)
        assert found is not None
        assert found.requests_per_minute is None


@pytest.mark.parametrize("name", ["pipe", "folder", "zero\0byte"])
def test_a_key_file_that_is_none_is_named(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        open_keys(tmp_path / name, {})


async def test_a_key_that_stays_keeps_its_count(connect: Connect, tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", Clock()
    line = f"ann {hash_key(KEY)} requests_per_minute=1\n"
    file.write_text(line, encoding="utf-8")
    client = connect(FakeDispatcher(), ApiSettings(keys=KeyFile(file, clock)))
    assert (await client.get("/v1/models", headers=_with(KEY))).status_code == 200
    file.write_text(f"{line}bob {hash_key(new_key())}\n", encoding="utf-8")
    clock.now_s += LOOK_EVERY_S
    assert (await client.get("/v1/models", headers=_with(KEY))).status_code == 429


async def test_a_caller_learns_nothing_of_what_another_key_sent(connect: Connect) -> None:
    other = new_key()
    keys = KeyRing.parse(f"ann {hash_key(KEY)}\nbob {hash_key(other)}\n", origin="t")
    dispatcher = FakeDispatcher()
    client = connect(dispatcher, ApiSettings(keys=keys, cache=CacheConfig()))

    async def use(key: str) -> str:
        answer = await client.post("/v1/embeddings", json={"input": "a secret"}, headers=_with(key))
        return answer.headers["x-trivet-cache"]

    assert [await use(KEY), await use(KEY), await use(other), await use(other)] == ["miss", "hit", "miss", "hit"]
    assert len(dispatcher.requests) == 2  # nor does the time tell: the second caller's text was computed


def test_keys_are_long_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert min(len(key) for key in keys) >= 43


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_this_machine_alone_is_no_exposure(host: str) -> None:
    assert exposure_warning(host, has_keys=False) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_a_network_without_keys_is_warned_of(host: str) -> None:
    assert exposure_warning(host, has_keys=True) is None
    assert "WITHOUT API KEYS" in str(exposure_warning(host, has_keys=False))
