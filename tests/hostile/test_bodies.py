"""Bodies that expand, that have a million values, or that have no words. A caller with another key goes on."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from tests.hostile.conftest import MIB, Guarded, calling, grown, within
from tests.hostile.test_connections import BEGUN, connections

pytestmark = [pytest.mark.hostile, pytest.mark.ray, pytest.mark.slow]

ALLOWED_GROWTH = 300 * MIB
KEPT_AFTERWARDS = 100 * MIB

EXPANDING = {
    "a template of 4,000 places": (
        "/v1/classify",
        json.dumps({"input": "a", "labels": ["x" * 1_000_000], "hypothesis_template": "{}" * 4000}),
    ),
    "labels of 2 MB for 2,048 inputs": (
        "/v1/classify",
        json.dumps({"input": ["a"] * 2048, "labels": {"x" * 2_000_000: "h", "b": "h"}}),
    ),
    "a source of 1 MB for 2,048 candidates": (
        "/v1/relations",
        json.dumps({"source": "word " * 200_000, "candidates": ["c"] * 2048, "top_k": 2048}),
    ),
    "one field named 30,000 times": (
        "/v1/rerank",
        json.dumps({"query": "q", "documents": [{"a": "x" * 100_000}], "rank_fields": ["a"] * 30_000}),
    ),
}
MANY_VALUES = {
    "empty strings": '{"input": [' + ",".join(['""'] * 1_300_000) + "]}",
    "nulls": '{"input": [' + ",".join(["null"] * 1_500_000) + "]}",
    "lists": '{"input": ' + "[" + ",".join(["[]"] * 1_300_000) + "]}",
}
WITHOUT_WORDS = {
    "exclamation marks": json.dumps({"input": "!" * 7_800_000}),
    "one letter": json.dumps({"input": "a" * 7_800_000}),
    "short words": json.dumps({"input": "a " * 3_900_000}),
}


def send(guarded: Guarded, path: str, body: str, **headers: str) -> int:
    answer = httpx.post(
        f"{guarded.service.url}{path}",
        content=body,
        headers={**guarded.hostile_headers, **headers},
        timeout=120,
        trust_env=False,
    )
    return answer.status_code


@pytest.mark.parametrize("kind", EXPANDING)
def test_a_body_that_expands_is_refused_before_it_is_built(guarded: Guarded, kind: str) -> None:
    path, body = EXPANDING[kind]
    before = guarded.rss_by_role()
    assert send(guarded, path, body) == 400
    assert grown(before, guarded.rss_by_role(), KEPT_AFTERWARDS) == {}


@pytest.mark.parametrize("kind", MANY_VALUES)
def test_bodies_of_a_million_values_delay_no_one(guarded: Guarded, kind: str) -> None:
    before = guarded.rss_by_role()
    with calling(guarded) as caller, ThreadPoolExecutor(6) as attackers:
        time.sleep(1)
        statuses = set(attackers.map(lambda _: send(guarded, "/v1/embeddings", MANY_VALUES[kind]), range(18)))
        time.sleep(1)
    assert statuses == {400}
    assert caller.failures == []
    assert caller.p99_s <= 1.0
    assert grown(before, guarded.rss_by_role(), ALLOWED_GROWTH) == {}


@pytest.mark.parametrize("policy", ["window", "truncate", "error"])
@pytest.mark.parametrize("kind", WITHOUT_WORDS)
def test_texts_without_words_delay_no_one_and_leave_no_memory(guarded: Guarded, kind: str, policy: str) -> None:
    before = guarded.rss_by_role()
    with calling(guarded) as caller, ThreadPoolExecutor(3) as attackers:
        time.sleep(1)
        headers = {"x-trivet-long-input": policy, "cache-control": "no-store"}
        body = WITHOUT_WORDS[kind]
        statuses = set(attackers.map(lambda _: send(guarded, "/v1/embeddings", body, **headers), range(3)))
        time.sleep(1)
    assert statuses <= ({200} if policy == "truncate" else {200, 400})
    assert caller.failures == []
    assert caller.p99_s <= 1.0
    assert within(10, lambda: grown(before, guarded.rss_by_role(), KEPT_AFTERWARDS) == {}), grown(
        before, guarded.rss_by_role(), KEPT_AFTERWARDS
    )


@contextmanager
def again_and_again(guarded: Guarded, path: str, body: str) -> Iterator[list[int]]:
    """An attacker who sends the same body during the whole block."""
    ended = threading.Event()
    statuses: list[int] = []

    def attack() -> None:
        while not ended.is_set():
            try:
                statuses.append(send(guarded, path, body))
            except httpx.HTTPError:
                statuses.append(0)

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        thread.join()


def invented_methods(guarded: Guarded, ended: threading.Event) -> None:
    with httpx.Client(base_url=guarded.service.url, trust_env=False) as client:
        number = 0
        while not ended.wait(0.02):
            number += 1
            client.request(f"METHOD{number}", "/v1/embeddings")


def test_everything_at_once_delays_no_one(guarded: Guarded, record_property: Callable[[str, object], None]) -> None:
    """Rows 1 to 6 of the review at the same time."""
    before = guarded.rss_by_role()
    ended = threading.Event()
    methods = threading.Thread(target=invented_methods, args=(guarded, ended))
    with calling(guarded) as caller, ExitStack() as attacks:
        attacks.enter_context(connections(guarded, 600, b""))
        attacks.enter_context(connections(guarded, 600, BEGUN))
        for path, body in [
            *EXPANDING.values(),
            ("/v1/embeddings", MANY_VALUES["nulls"]),
            ("/v1/embeddings", WITHOUT_WORDS["exclamation marks"]),
        ]:
            attacks.enter_context(again_and_again(guarded, path, body))
        methods.start()
        peak = before
        until_s = time.monotonic() + 20
        while time.monotonic() < until_s:
            now = guarded.rss_by_role()
            peak = {role: max(now.get(role, 0), peak.get(role, 0)) for role in {*now, *peak}}
            time.sleep(0.5)
        ended.set()
        methods.join()
    growth = grown(before, peak, 0)
    record_property("p99_s", round(caller.p99_s, 3))
    record_property("calls", len(caller.latencies_s))
    record_property("largest_growth_mib", growth)
    assert caller.failures == []
    assert len(caller.latencies_s) > 50
    assert caller.p99_s <= 1.0
    assert grown(before, peak, ALLOWED_GROWTH) == {}


def test_a_key_that_is_removed_stops_working_without_a_restart(guarded: Guarded) -> None:
    text = guarded.keys_file.read_text(encoding="utf-8")
    remaining, removed = text.splitlines()
    ask = json.dumps({"input": "a"})
    assert send(guarded, "/v1/embeddings", ask) == 200
    try:
        guarded.keys_file.write_text(f"{remaining}\n", encoding="utf-8")
        assert removed.startswith("hostile ")
        assert within(5, lambda: {send(guarded, "/v1/embeddings", ask) for _ in range(8)} == {401})
    finally:
        guarded.keys_file.write_text(text, encoding="utf-8")
    assert within(5, lambda: {send(guarded, "/v1/embeddings", ask) for _ in range(8)} == {200})


def test_the_line_of_a_request_is_on_disk_within_a_second(guarded: Guarded) -> None:
    record_id = "hostile-row-12"
    assert send(guarded, "/v1/embeddings", json.dumps({"input": "a"}), **{"x-request-id": record_id}) == 200
    [run] = guarded.run_folders()
    logs = [*run.glob("ray/session_*/logs/serve/*ingress*.log")]
    assert logs
    assert within(1.0, lambda: any(record_id in log.read_text(encoding="utf-8", errors="replace") for log in logs))
