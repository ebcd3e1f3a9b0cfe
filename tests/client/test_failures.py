"""Failures of the server, the network and the caller, and the errors that the client raises for them."""

import json
import pickle
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from starlette.responses import JSONResponse, Response

from deployments.haproxy.launcher import UNAVAILABLE_BODY
from tests.support.dispatcher import FakeDispatcher
from tests.support.serving import FailsAtFirst, Scripted, broken_connections, closed_port, served
from trivet.api.app import create_app
from trivet.api.key_ring import KeyRing, hash_key, new_key
from trivet.api.settings import ApiSettings
from trivet.client import (
    AsyncClient,
    Busy,
    Client,
    ClientError,
    Denied,
    MalformedAnswer,
    NotListening,
    Refused,
    Retries,
    ServerFailed,
    TimedOut,
    Unreachable,
)
from trivet.client.exchange import translated_errors
from trivet.client.retries import Attempts, Contact
from trivet.errors import EngineError, InputTooLong, Overloaded, Unavailable

QUICK = Retries(attempts=4, wait_initial_s=0.01, wait_max_s=0.05)


def busy(status: int, retry_after: str | None) -> Response:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return JSONResponse({"error": {"message": "full", "code": "overloaded"}}, status, headers)


@pytest.mark.slow
@pytest.mark.parametrize("error", [Overloaded("full", retry_after_s=0.5), Unavailable("no lane", retry_after_s=0.5)])
def test_waits_for_the_servers_retry_after(error: Overloaded | Unavailable) -> None:
    dispatcher = FailsAtFirst([error])
    with served(create_app(dispatcher, ApiSettings())) as url, Client(url, retries=QUICK) as client:
        started_s = time.monotonic()
        assert len(client.embed(["a"]).items) == 1
        waited_s = time.monotonic() - started_s
    assert waited_s >= 1.0  # Retry-After is in whole seconds; the client's default pause would be 0.01
    assert dispatcher.asked == 2


@pytest.mark.slow
async def test_waits_for_the_servers_retry_after_without_blocking() -> None:
    dispatcher = FailsAtFirst([Overloaded("full", retry_after_s=0.5)])
    with served(create_app(dispatcher, ApiSettings())) as url:
        async with AsyncClient(url, retries=QUICK) as client:
            started_s = time.monotonic()
            assert len((await client.embed(["a"])).items) == 1
    assert time.monotonic() - started_s >= 1.0
    assert dispatcher.asked == 2


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("retry_after", [None, "0", "soon"])
def test_gives_up_after_the_last_attempt(status: int, retry_after: str | None) -> None:
    server = Scripted(busy(status, retry_after))
    with served(server.app) as url, Client(url, retries=QUICK) as client, pytest.raises(Busy, match="full") as caught:
        client.embed(["a"])
    assert len(server.requests) == QUICK.attempts
    assert (caught.value.status, caught.value.code) == (status, "overloaded")


def test_does_not_wait_beyond_the_deadline() -> None:
    server = Scripted(busy(429, "60"))
    with served(server.app) as url, Client(url) as client:
        started_s = time.monotonic()
        with pytest.raises(Busy) as caught:
            client.embed(["a"], timeout_s=5)
    assert time.monotonic() - started_s < 5
    assert caught.value.retry_after_s == 60
    assert len(server.requests) == 1


@pytest.mark.slow
def test_each_attempt_sends_the_remaining_time() -> None:
    server = Scripted(busy(503, "0.3"), busy(503, "0.3"), busy(400, None))
    with served(server.app) as url, Client(url) as client, pytest.raises(Refused):
        client.embed(["a"], timeout_s=10)
    left_s = [float(request.headers["x-request-timeout-seconds"]) for request in server.requests]
    assert left_s[0] <= 10
    assert left_s[1] <= left_s[0] - 0.3
    assert left_s[2] <= left_s[1] - 0.3


def test_a_timeout_names_the_last_error() -> None:
    now_s = 0.0
    attempts = Attempts(QUICK, timeout_s=2.0, clock=lambda: now_s)
    assert attempts.left_s() == 2.0
    now_s = 1.5
    assert attempts.wait_after(Busy("full", retry_after_s=0.4)) == 0.4
    assert attempts.wait_after(Busy("full", retry_after_s=0.5)) is False
    now_s = 2.0
    with pytest.raises(TimedOut, match="no answer within 2 s; last error: full") as caught:
        attempts.left_s()
    assert isinstance(caught.value.__cause__, Busy)
    assert attempts.wait_after(caught.value) is False


def test_default_pauses_double_up_to_the_maximum() -> None:
    attempts = Attempts(Retries(wait_initial_s=0.2, wait_max_s=1.0), timeout_s=60.0, clock=lambda: 0.0)
    for least_s in (0.2, 0.4, 0.8, 1.0, 1.0):
        assert least_s <= attempts.wait_after(Unreachable("no server")) <= min(least_s + 0.05, 1.0)


def test_default_pauses_end_before_the_deadline() -> None:
    attempts = Attempts(Retries(wait_initial_s=0.2), timeout_s=1.0, clock=lambda: 0.0)
    assert [bool(attempts.wait_after(Unreachable("no server"))) for _ in range(3)] == [True, True, True]
    assert attempts.wait_after(Unreachable("no server")) is False


def test_a_port_where_nothing_has_answered_yet_is_not_retried() -> None:
    error = NotListening("no server")
    contact = Contact()
    attempts = Attempts(Retries(), timeout_s=60.0, clock=lambda: 0.0, contact=contact)
    assert attempts.wait_after(error) is False
    contact.answered = True
    assert attempts.wait_after(error)


async def test_the_error_of_a_closed_port_says_what_to_do() -> None:
    with closed_port() as url:
        expected = f"nothing answers at {url} .*: start the service with `trivet serve`"
        with Client(url) as client, pytest.raises(NotListening, match=expected):
            client.models()
        async with AsyncClient(url) as async_client:
            with pytest.raises(NotListening, match=expected):
                await async_client.models()
    with pytest.raises(NotListening, match="check the address"), translated_errors("http://other-machine:8000", 1.0):
        raise httpx.ConnectError("refused")


@pytest.mark.slow
async def test_a_server_that_has_answered_is_waited_for_until_the_next_pause_would_exceed_the_deadline() -> None:
    retries = Retries(wait_initial_s=0.3)  # after pauses of 0.3 and 0.6 s the next one would be 1.2 s
    app = create_app(FakeDispatcher(), ApiSettings())
    with ExitStack() as stack:
        url = stack.enter_context(served(app))
        client = stack.enter_context(Client(url, timeout_s=2.0, retries=retries))
        async_client = AsyncClient(url, timeout_s=2.0, retries=retries)
        client.models()
        await async_client.models()
        stack.pop_all().close()
        started_s = time.monotonic()
        with Client(url, timeout_s=2.0, retries=retries) as fresh, pytest.raises(NotListening, match=url):
            fresh.models()
        async with async_client:
            with pytest.raises(NotListening, match=url):
                await async_client.models()
        assert 0.9 <= time.monotonic() - started_s < 2.0


@pytest.mark.slow
def test_a_server_that_never_answers() -> None:
    server = Scripted(JSONResponse({}), pause_s=4.0)
    with served(server.app) as url, Client(url) as client, pytest.raises(TimedOut) as caught:
        client.embed(["a"], timeout_s=0.2)
    assert caught.value.status is None


def test_the_servers_own_deadline() -> None:
    server = Scripted(JSONResponse({"error": {"message": "no answer within 1 s", "code": "deadline_exceeded"}}, 408))
    with served(server.app) as url, Client(url) as client, pytest.raises(TimedOut, match="within 1 s") as caught:
        client.embed(["a"])
    assert caught.value.status == 408
    assert len(server.requests) == 1


def test_a_closed_port_is_unreachable() -> None:
    with closed_port() as url, Client(url, retries=QUICK) as client, pytest.raises(Unreachable, match=url):
        client.embed(["a"])


@pytest.mark.slow
def test_a_broken_connection_is_retried() -> None:
    dispatcher = FakeDispatcher()
    app = create_app(dispatcher, ApiSettings())
    with broken_connections(2, app) as url, Client(url, retries=QUICK) as client:
        assert len(client.embed(["a"]).items) == 1
    with broken_connections(4, app) as url, Client(url, retries=QUICK) as client, pytest.raises(Unreachable):
        client.embed(["a"])


def test_a_server_error_is_not_retried() -> None:
    dispatcher = FakeDispatcher(error=EngineError("the forward failed"))
    app = create_app(dispatcher, ApiSettings())
    with served(app) as url, Client(url) as client, pytest.raises(ServerFailed, match="the forward failed") as caught:
        client.embed(["a"])
    assert caught.value.status == 500
    assert len(dispatcher.requests) == 1


def test_a_refusal_names_the_field(client: Client) -> None:
    with pytest.raises(Refused) as caught:
        client.rerank("q", ["a", ""])
    assert (caught.value.status, caught.value.param) == (400, "documents[1]")
    with pytest.raises(Refused) as caught:
        client.embed(["a"], model="another/model")
    assert (caught.value.status, caught.value.param, caught.value.code) == (404, "model", "model_not_found")


def test_a_lone_surrogate_is_refused_before_it_is_sent(client: Client, dispatcher: FakeDispatcher) -> None:
    with pytest.raises(Refused, match=r"surrogate.*\\ud83e"):
        client.embed(["fine", "half \ud83e a parrot"])
    assert dispatcher.requests == []


@pytest.mark.slow
def test_keys() -> None:
    key = new_key()
    ring = KeyRing.parse(f"me {hash_key(key)}", origin="test")
    with served(create_app(FakeDispatcher(), ApiSettings(keys=ring))) as url:
        with Client(url, key=key) as client:
            assert len(client.embed(["a"]).items) == 1
            assert key not in repr(vars(client))
        for wrong in (None, "tvt_unknown"):
            with Client(url, key=wrong) as client, pytest.raises(Denied) as caught:
                client.embed(["a"])
            assert caught.value.status == 401


ITEM = {"object": "embedding", "index": 0, "embedding": "AACAPw==", "windows": 1, "truncated": False}


def answer(*items: object, **fields: object) -> bytes:
    return json.dumps({"data": items, "model": "m", "usage": {"total_tokens": 1}, **fields}).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>gateway</html>", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"[]", "/v1/embeddings"),
        (answer(ITEM)[:-9], "Invalid JSON"),
        (answer(ITEM, usage={}), "usage"),
        (answer(ITEM, model=None), "model"),
        (answer({**ITEM, "embedding": "AACA"}), "not a vector"),
        (answer({**ITEM, "embedding": ""}), "not a vector"),
        (answer({**ITEM, "embedding": "not base64!"}), "data.0.embedding"),
        (answer({**ITEM, "embedding": [0.5]}), "must be base64"),
        (answer({**ITEM, "windows": "1"}), "data.0.windows"),
        (answer(), "2 inputs in order"),
        (answer({**ITEM, "index": 1}, ITEM), "2 inputs in order"),
        (answer(ITEM, {**ITEM, "index": 1, "embedding": "AACAPwAAgD8="}), "different lengths"),
    ],
)
def test_an_answer_of_another_server_is_malformed(content: bytes, message: str) -> None:
    server = Scripted(Response(content, media_type="application/json"))
    with served(server.app) as url, Client(url) as client, pytest.raises(MalformedAnswer) as caught:
        client.embed(["a", "b"])
    assert message in caught.value.message
    assert len(server.requests) == 1


def test_inconsistent_rankings_and_labels_are_malformed() -> None:
    result = {"relevance_score": 0.5, "windows": 1, "truncated": False}
    usage = {"model": "m", "usage": {"total_tokens": 1}}
    twice = Scripted(JSONResponse({"results": [{"index": 0, **result}, {"index": 0, **result}], **usage}))
    with served(twice.app) as url, Client(url) as client, pytest.raises(MalformedAnswer, match="ranks"):
        client.rerank("q", ["a", "b"])
    item = {"index": 0, "labels": [{"label": "z", "score": 1.0}], "windows": 1, "truncated": False}
    other = Scripted(JSONResponse({"data": [item], **usage}))
    with served(other.app) as url, Client(url) as client, pytest.raises(MalformedAnswer, match="requested labels"):
        client.classify(["a"], ["x"])


@pytest.fixture(params=["text/html", "application/json"])
def proxy_error(request: pytest.FixtureRequest) -> Iterator[str]:
    content = b"<html>Bad   gateway</html>" if request.param == "text/html" else b'{"error": "Bad gateway"}'
    with served(Scripted(Response(content, 502, media_type=request.param)).app) as url:
        yield url


def test_a_proxys_error_keeps_its_status_and_text(proxy_error: str) -> None:
    with Client(proxy_error) as client, pytest.raises(ServerFailed, match=r"status 502: .*Bad gateway"):
        client.models()


STARTING = JSONResponse({"status": "starting", "models": {}}, 503)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("response", "message"),
    [
        (Response(UNAVAILABLE_BODY, 503, {"retry-after": "0"}, "application/json"), "no ingress replica"),
        (Response("<html>Nobody there</html>", 503, media_type="text/html"), "status 503: <html>Nobody there"),
    ],
    ids=["Trivet's HAProxy", "another proxy"],
)
def test_a_proxys_503_is_not_a_readiness_answer(response: Response, message: str) -> None:
    server = Scripted(response, response, STARTING)
    with served(server.app) as url, Client(url, retries=QUICK) as client:
        assert client.ready().status == "starting"
    assert len(server.requests) == 3
    server = Scripted(response)
    with served(server.app) as url, Client(url, retries=QUICK) as client, pytest.raises(Busy, match=message) as caught:
        client.ready()
    assert caught.value.status == 503


def test_an_invalid_readiness_is_malformed() -> None:
    server = Scripted(JSONResponse({"status": "ready"}))
    with served(server.app) as url, Client(url) as client, pytest.raises(MalformedAnswer, match=r"/readyz.*models"):
        client.ready()


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("a"),
        TimedOut("b", status=408, code="deadline_exceeded"),
        MalformedAnswer("c"),
        Refused("d", status=400, param="input[1]", code="x"),
        Denied("e", status=401),
        ServerFailed("f", status=500),
        Busy("g", status=429, retry_after_s=2.5),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_keep_their_fields_when_pickled(error: ClientError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (copy.__dict__, str(copy)) == (error.__dict__, str(error))


def test_a_text_that_is_too_long_is_named() -> None:
    error = InputTooLong(field="input", index=0, tokens=9000, limit_tokens=512)
    app = create_app(FakeDispatcher(error=error), ApiSettings())
    with served(app) as url, Client(url) as client, pytest.raises(Refused, match="9000 tokens") as caught:
        client.embed(["long"], long_input="error")
    assert (caught.value.param, caught.value.code) == ("input[0]", "context_length_exceeded")
