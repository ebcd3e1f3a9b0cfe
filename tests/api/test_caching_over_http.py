"""The cache as callers see it: headers of the answer, and `Cache-Control: no-store` in the request."""

from pathlib import Path

import httpx
import pytest
from pydantic import ByteSize

from tests.support.dispatcher import FakeDispatcher
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig, CacheConfig

MIB = 1024**2


def client_of(
    dispatcher: FakeDispatcher, cache: CacheConfig, folder: Path = Path(), *, shared_folder: Path | None = None
) -> httpx.AsyncClient:
    app = create_app(dispatcher, ApiSettings(cache=cache, cache_folder=folder), shared_folder=shared_folder)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trivet")


async def embed(client: httpx.AsyncClient, *texts: str, **headers: str) -> httpx.Response:
    answer = await client.post("/v1/embeddings", json={"input": list(texts)}, headers=headers)
    assert answer.status_code == 200
    return answer


def outcome(answer: httpx.Response) -> tuple[str | None, str | None]:
    return answer.headers.get("x-trivet-cache"), answer.headers.get("x-trivet-cache-hits")


MEMORY = CacheConfig(memory=ByteSize(MIB))


async def test_the_answer_counts_the_hits() -> None:
    client = client_of(FakeDispatcher(), MEMORY)
    first = await embed(client, "a", "b")
    second = await embed(client, "a", "b")
    assert outcome(first) == ("miss", "0/2")
    assert outcome(second) == ("hit", "2/2")
    assert outcome(await embed(client, "a", "c", "d")) == ("partial", "1/3")
    assert second.json() == first.json()
    assert second.headers["x-trivet-device"] == first.headers["x-trivet-device"]


@pytest.mark.parametrize("value", ["no-store", "max-age=0, No-Store", "no-cache,no-store"])
async def test_no_store_neither_reads_nor_writes(value: str) -> None:
    dispatcher = FakeDispatcher()
    client = client_of(dispatcher, MEMORY)
    for _ in range(2):
        assert outcome(await embed(client, "a", **{"cache-control": value})) == (None, None)
    assert outcome(await embed(client, "a")) == ("miss", "0/1")
    assert outcome(await embed(client, "a", **{"cache-control": value})) == (None, None)
    assert len(dispatcher.requests) == 4


async def test_other_directives_are_no_refusal() -> None:
    client = client_of(FakeDispatcher(), MEMORY)
    await embed(client, "a")
    assert outcome(await embed(client, "a", **{"cache-control": "no-cache"})) == ("hit", "1/1")


async def test_without_a_cache_nothing_is_said() -> None:
    client = client_of(FakeDispatcher(), CacheConfig(memory=ByteSize(0)))
    for _ in range(2):
        assert outcome(await embed(client, "a")) == (None, None)


@pytest.mark.slow
async def test_another_process_finds_it_on_disk(tmp_path: Path) -> None:
    disk = CacheConfig(memory=ByteSize(0), disk=ByteSize(MIB))
    for expected in ("miss", "hit"):
        app = create_app(FakeDispatcher(), ApiSettings(cache=disk, cache_folder=tmp_path))
        async with (
            app.router.lifespan_context(app),  # its end writes what waits
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trivet") as client,
        ):
            assert (await embed(client, "a")).headers["x-trivet-cache"] == expected


async def test_relations_count_the_hits_of_both_calls() -> None:
    client = client_of(FakeDispatcher(), MEMORY)
    body = {"source": "a b", "candidates": ["a b", "a"], "min_relevance": 0}
    first, second = [await client.post("/v1/relations", json=body) for _ in range(2)]
    assert outcome(first) == ("miss", "0/4")
    assert outcome(second) == ("hit", "4/4")
    assert second.json()["edges"] == first.json()["edges"]
    assert second.json()["usage"] == first.json()["usage"]


def test_what_else_results_depend_on_is_in_the_settings(tmp_path: Path) -> None:
    def computed_with(**args: object) -> str:
        return ApiSettings.from_config(AppConfig.model_validate(args)).computed_with

    assert computed_with() == computed_with(limits={"max_inputs": 5}, cache={"dir": str(tmp_path)})
    others = [
        computed_with(windows={"overlap_tokens": 0}),
        computed_with(cpu={"precision": "int8"}),
        computed_with(gpu={"dtype": "fp16"}),
    ]
    assert len({computed_with(), *others}) == 4


def test_the_file_is_with_the_other_caches_unless_configured_otherwise(tmp_path: Path) -> None:
    def folder(**args: object) -> Path:
        return ApiSettings.from_config(AppConfig.model_validate(args)).cache_folder

    assert folder(serving={"cache_dir": str(tmp_path)}) == tmp_path / "results"
    assert folder(cache={"dir": str(tmp_path / "x")}) == tmp_path / "x"


DISK = CacheConfig(memory=ByteSize(0), disk=ByteSize(MIB))


@pytest.mark.slow
@pytest.mark.parametrize("cache", [MEMORY, DISK], ids=["memory", "disk"])
async def test_equal_requests_to_two_applications_of_one_service_are_computed_once(
    cache: CacheConfig, tmp_path: Path
) -> None:
    dispatcher = FakeDispatcher()
    clients = [client_of(dispatcher, cache, tmp_path / "disk", shared_folder=tmp_path / "shared") for _ in range(2)]
    outcomes = [outcome(await embed(clients[number % 2], "a", "b")) for number in range(3)]
    assert outcomes == [("miss", "0/2"), ("hit", "2/2"), ("hit", "2/2")]
    assert outcome(await embed(clients[1], "b", "c")) == ("partial", "1/2")
    assert outcome(await embed(clients[0], "c")) == ("hit", "1/1")
    assert len(dispatcher.requests) == 2


@pytest.mark.slow
async def test_a_service_without_a_cache_shares_none(tmp_path: Path) -> None:
    none = CacheConfig(memory=ByteSize(0))
    clients = [client_of(FakeDispatcher(), none, shared_folder=tmp_path / "shared") for _ in range(2)]
    assert [outcome(await embed(client, "a")) for client in clients] == [(None, None)] * 2
    assert list((tmp_path / "shared").glob("results*")) == []
