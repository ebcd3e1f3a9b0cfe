"""The Ollama client, the unload decision and the watcher, against a fake server with Ollama's documented API."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.vram.fakes import GIB, Clock, look
from tests.vram.ollama_server import OllamaServer
from trivet.vram.ollama.client import MOST_ANSWER_BYTES, OllamaClient, OllamaUnavailable
from trivet.vram.ollama.unload import OllamaHistory, UnloadConfig, models_to_unload
from trivet.vram.ollama.watcher import OllamaWatcher, describe
from trivet.vram.policy import PolicyConfig, decide, initial_state
from trivet.vram.snapshot import next_snapshot
from trivet.vram.types import Snapshot, Tenant

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
IDLE = UnloadConfig(mode="idle", idle_after_s=60.0, ask_again_after_s=30.0)


MODEL = b'{"models": [{"name": "x", "expires_at": "2026-01-01T00:00:00Z", "size_vram": %s}]}'
ENTRY = b'{"name": "x", "expires_at": "2026-01-01T00:00:00Z", "size_vram": 1}'


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with OllamaServer() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


async def test_loaded_models_are_listed_with_their_expiry(server: OllamaServer) -> None:
    server.load("mistral:7b", 5 * GIB, "2024-06-04T14:38:31.837531234-07:00")
    server.load("tiny:latest", 0, "2024-06-04T14:38:31Z")
    async with OllamaClient(server.url) as client:
        mistral, tiny = await client.loaded()
    assert (mistral.name, mistral.vram_bytes) == ("mistral:7b", 5 * GIB)
    assert mistral.expires_at == datetime(2024, 6, 4, 21, 38, 31, 837531, tzinfo=UTC)
    assert tiny.vram_bytes == 0


async def test_unloading_reaches_the_server(server: OllamaServer) -> None:
    server.load("mistral:7b", 5 * GIB, "2024-06-04T14:38:31Z")
    async with OllamaClient(server.url) as client:
        await client.unload("mistral:7b")
        assert await client.loaded() == ()
        with pytest.raises(OllamaUnavailable, match="404"):
            await client.unload("mistral:7b")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"models": null}',
        b'{"models": [{"name": "x"}]}',
        b'{"models": [{"name": 1}, 2]}',
        MODEL % b"1e999",
        b'{"models": [' + b",".join([ENTRY] * 65) + b"]}",
        b"[" * 100_000,
        b" " * (MOST_ANSWER_BYTES + 1) + MODEL % b"1",
    ],
    ids=lambda body: body[:30].decode(),
)
async def test_an_answer_that_is_not_ollamas_is_unavailable(server: OllamaServer, body: bytes) -> None:
    server.broken_body = body
    async with OllamaClient(server.url) as client:
        with pytest.raises(OllamaUnavailable):
            await client.loaded()


async def test_no_server_is_unavailable(server: OllamaServer) -> None:
    url = server.url
    server.server_close()
    async with OllamaClient(url, timeout_s=0.5) as client:
        with pytest.raises(OllamaUnavailable, match="/api/ps"):
            await client.loaded()


def model(name: str = "mistral:7b", *, expires_in_s: float = 240.0, vram_bytes: int = 5 * GIB) -> Tenant:
    return Tenant(name=name, vram_bytes=vram_bytes, expires_at=NOW + timedelta(seconds=expires_in_s))


def ask(
    polls: list[tuple[float, list[Tenant]]], config: UnloadConfig = IDLE, *, starving: bool = True
) -> list[tuple[float, str]]:
    """Play a series of polls; return (time, model) of each unload request."""
    history = OllamaHistory()
    asked: list[tuple[float, str]] = []
    for now_s, models in polls:
        names, history = models_to_unload(config, history, models, starving=starving, now_s=now_s, now=NOW)
        asked.extend((now_s, name) for name in names)
    return asked


def test_a_model_is_unloaded_when_its_expiry_has_not_moved_for_long_enough() -> None:
    assert ask([(float(now_s), [model()]) for now_s in range(0, 100, 10)]) == [
        (60.0, "mistral:7b"),
        (90.0, "mistral:7b"),
    ]


def test_a_model_in_use_moves_its_expiry_and_stays() -> None:
    assert ask([(float(s), [model(expires_in_s=300.0 + s // 30)]) for s in range(0, 300, 10)]) == []


@pytest.mark.parametrize(
    ("models", "config", "starving"),
    [
        ([model()], UnloadConfig(), True),
        ([model()], IDLE, False),
        ([model(expires_in_s=290 * 365 * 86_400.0)], IDLE, True),
        ([model(vram_bytes=0)], IDLE, True),
    ],
    ids=["off by default", "our models are not starving", "pinned by its owner", "on the CPU anyway"],
)
def test_a_model_is_left_alone(models: list[Tenant], config: UnloadConfig, starving: bool) -> None:
    assert ask([(0.0, models), (1000.0, models)], config, starving=starving) == []


def test_a_model_that_was_unloaded_and_loaded_again_counts_as_new() -> None:
    assert ask([(0.0, [model()]), (50.0, []), (70.0, [model()]), (100.0, [model()])]) == []


def test_unloaded_models_are_removed_from_the_history() -> None:
    history = OllamaHistory()
    for now_s, models in ((0.0, [model()]), (60.0, [model()]), (61.0, [])):
        _, history = models_to_unload(IDLE, history, models, starving=True, now_s=now_s, now=NOW)
    assert history == OllamaHistory(), "otherwise a server with many models would grow it without limit"


def test_external_memory_is_described_in_one_line() -> None:
    observation = look(0.0, GIB)
    assert describe(observation, [model()]) == "external unknown: ollama mistral:7b 5 GiB until 12:04:00Z"
    assert describe(observation, []) == "external unknown: none of it known to ollama"


# ── the watcher: client and decision together ─────────────────────────────────────────────────────────────────────


def snapshot(free_bytes: int) -> Snapshot:
    observation = replace(look(0.0, free_bytes), external_bytes=6 * GIB)
    state = decide(PolicyConfig(), initial_state(["embedder"], 0.0), observation, 0.0)
    made = next_snapshot(None, state, observation, 0.0, heartbeat_s=1.0)
    assert made is not None
    return made


async def test_an_idle_model_is_unloaded_while_our_models_starve(
    server: OllamaServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trivet.vram.ollama.watcher")
    server.load("mistral:7b", 5 * GIB, (NOW + timedelta(minutes=4)).isoformat())
    clock = Clock()
    async with OllamaClient(server.url) as client:
        watcher = OllamaWatcher(client, IDLE, clock, lambda: NOW)
        for free_bytes in (0, 0, 4 * GIB):
            assert len(await watcher.tick(snapshot(free_bytes))) == 1
            clock.advance(40.0)
        assert "mistral:7b" in server.loaded, "at 40 s it is not idle yet, at 80 s our models do not starve"
        await watcher.tick(snapshot(0))
        assert server.loaded == {}
        assert await watcher.tick(snapshot(0)) == ()
    assert [record.getMessage() for record in caplog.records] == [
        "external 6 GiB: ollama mistral:7b 5 GiB until 12:04:00Z",
        "asking ollama to unload mistral:7b, which is idle while embedder has no room",
        "external 6 GiB: none of it known to ollama",
    ]


async def test_with_several_servers_models_and_log_lines_name_theirs(
    server: OllamaServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trivet.vram.ollama.watcher")
    server.load("mistral:7b", 5 * GIB, (NOW + timedelta(minutes=4)).isoformat())
    async with OllamaClient(server.url) as client:
        clock = Clock()
        watcher = OllamaWatcher(client, IDLE, clock, lambda: NOW, server=server.url)
        (tenant,) = await watcher.tick(snapshot(0))
        assert (tenant.name, tenant.label) == ("mistral:7b", f"mistral:7b at {server.url}")
        clock.advance(60.0)
        await watcher.tick(snapshot(0))
        assert server.loaded == {}, "it is unloaded by the name that its server knows"
        server.broken_body = b"<html>"
        await watcher.tick(snapshot(0))
    named, asked, silent = (record.getMessage() for record in caplog.records)
    assert named == f"external 6 GiB: ollama mistral:7b at {server.url} 5 GiB until 12:04:00Z"
    assert asked.startswith(f"asking ollama at {server.url} to unload mistral:7b, ")
    assert silent.startswith(f"{server.url} Ollama /api/ps: ")


async def test_a_silent_ollama_is_logged_once_and_raises_nothing(
    server: OllamaServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trivet.vram.ollama.watcher")
    server.broken_body = b"<html>"
    async with OllamaClient(server.url) as client:
        watcher = OllamaWatcher(client, UnloadConfig(), Clock(), lambda: NOW)
        for _ in range(3):
            assert await watcher.tick(snapshot(0)) == ()
        server.broken_body = None
        await watcher.tick(snapshot(0))
    first, back = (record.getMessage() for record in caplog.records)
    assert first.startswith("Ollama /api/ps: ")
    assert back == "external 6 GiB: none of it known to ollama"
