"""Admission: text in flight is bounded, refusals carry the measured time, and ended calls no longer count."""

import asyncio

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dispatcher import FakeDispatcher
from tests.support.gated import GatedDispatcher
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig
from trivet.dispatch.admission import (
    MAX_RETRY_S,
    MEMORY_S,
    MIN_RETRY_S,
    AdmittingDispatcher,
    DrainRate,
    Load,
    refusal,
)
from trivet.errors import Overloaded
from trivet.messages import ClassifyRequest, EmbedRequest, EngineRequest, PairText, PredictRequest, RerankRequest


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("request_", "characters"),
    [
        (EmbedRequest(("abc", "d")), 4),
        (RerankRequest("qq", ("abc", "d")), 6),
        (ClassifyRequest((PairText("ab", "c"), PairText("d")), {"x": "counted"}), 11),
        (PredictRequest((PairText("ab", "c"), PairText("d"))), 4),
    ],
)
def test_the_size_of_a_request(request_: EngineRequest, characters: int) -> None:
    assert request_.characters == characters


@pytest.mark.parametrize(
    ("open_characters", "characters", "refused"),
    [
        (0, 10, False),
        (0, 11, False),  # slow instead of impossible
        (4, 6, False),
        (4, 7, True),
        (10, 1, True),
        (12, 1, True),
    ],
)
def test_which_calls_are_refused(open_characters: int, characters: int, refused: bool) -> None:
    assert (refusal(Load(open_characters), characters, 10) is not None) == refused


@given(st.integers(1, 10**9), st.floats(0, 10**7))
def test_a_refusal_names_when_half_of_what_is_open_is_done(open_characters: int, rate: float) -> None:
    refused = refusal(Load(open_characters, rate), 1, 0)
    assert refused is not None
    assert MIN_RETRY_S <= refused.retry_after_s <= MAX_RETRY_S
    if rate and MIN_RETRY_S < refused.retry_after_s < MAX_RETRY_S:
        assert refused.retry_after_s * rate == pytest.approx(open_characters / 2)


@given(st.floats(10, 10_000), st.lists(st.floats(0.01, 5), min_size=1, max_size=30))
def test_the_rate_is_that_of_the_work_whatever_the_pauses(speed: float, durations: list[float]) -> None:
    clock = Clock()
    rate = DrainRate(clock)
    for duration in durations:
        rate.busy()
        clock.now_s += duration
        rate.drained(speed * duration)  # type: ignore[arg-type]
        rate.idle()
        clock.now_s += 1000
    assert rate.per_s == pytest.approx(speed)


def test_old_work_fades() -> None:
    clock = Clock()
    rate = DrainRate(clock)
    rate.busy()
    for speed in (1000, 10):
        for _ in range(60):
            clock.now_s += 1
            rate.drained(speed)
    assert 10 < rate.per_s < 10 + 1000 * 2.72 ** -(50 / MEMORY_S)


async def test_refusals_come_with_the_measured_time() -> None:
    clock, inner = Clock(), GatedDispatcher()
    admitting = AdmittingDispatcher(inner, 100, clock)
    first = asyncio.ensure_future(admitting.call(EmbedRequest(("x" * 80,))))
    await inner.entered.wait()
    with pytest.raises(Overloaded) as unmeasured:
        await admitting.call(EmbedRequest(("x" * 30,)))
    assert unmeasured.value.retry_after_s == MIN_RETRY_S
    clock.now_s += 16
    inner.gate.set()
    await first
    assert admitting.load("embedder") == Load(0, 5.0)
    inner.gate.clear()
    inner.entered.clear()
    second = asyncio.ensure_future(admitting.call(EmbedRequest(("x" * 90,))))
    await inner.entered.wait()
    with pytest.raises(Overloaded) as measured:
        await admitting.call(EmbedRequest(("x" * 30,)))
    assert measured.value.retry_after_s == 9.0
    await admitting.call(RerankRequest("q", ("x" * 90,)))  # another model's limit
    inner.gate.set()
    await second


async def test_what_ends_is_no_longer_open_however_it_ends() -> None:
    inner = GatedDispatcher()
    admitting = AdmittingDispatcher(inner, 100, Clock())
    leaving = asyncio.ensure_future(admitting.call(EmbedRequest(("x" * 80,))))
    await inner.entered.wait()
    assert admitting.load("embedder").open_characters == 80
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert admitting.load("embedder").open_characters == 0
    failing = AdmittingDispatcher(FakeDispatcher(error=Overloaded("full", retry_after_s=7)), 100, Clock())
    with pytest.raises(Overloaded) as refused:
        await failing.call(EmbedRequest(("x",)))
    assert refused.value.retry_after_s == 7
    assert failing.load("embedder").open_characters == 0


@pytest.mark.slow
async def test_over_http_it_is_429_with_retry_after() -> None:
    inner = GatedDispatcher()
    app = create_app(inner, ApiSettings(max_open_characters=10))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trivet") as client:
        first = asyncio.ensure_future(client.post("/v1/embeddings", json={"input": "x" * 9}))
        await inner.entered.wait()
        refused = await client.post("/v1/embeddings", json={"input": "xx"})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "overloaded"
        inner.gate.set()
        assert (await first).status_code == 200
        assert (await client.post("/v1/embeddings", json={"input": "xx"})).status_code == 200


def test_the_limit_comes_from_the_configuration() -> None:
    config = AppConfig.model_validate({"limits": {"max_open_characters": 5}})
    assert ApiSettings.from_config(config).max_open_characters == 5
