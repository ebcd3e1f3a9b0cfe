"""The failures that the stress test reports, and how it evaluates memory over time."""

import pytest

from bench.load.http import Answer
from bench.resilience.stress import Sample, complaints, growth, growth_by_role_mib, slope_mib_per_s, timeline
from bench.resilience.stress_load import Class, Outcome, Writer


def outcome(kind: Class, status: int, *, took_s: float = 1.0, retry_after: str = "", sent_s: float = 0.0) -> Outcome:
    return Outcome(kind, Answer("/v1/embeddings", sent_s, took_s, status, retry_after=retry_after))


@pytest.mark.parametrize(
    ("one", "complaint"),
    [
        (outcome("short", 200), None),
        (outcome("short", 408), None),
        (outcome("medium", 429, retry_after="1"), None),
        (outcome("medium", 429), "no Retry-After"),
        (outcome("long", 503, retry_after="5"), None),
        (outcome("long", 503), "5xx"),
        (outcome("short", 500), "5xx"),
        (outcome("short", 400), "valid request refused"),
        (outcome("malformed", 400), None),
        (outcome("malformed", 200), "malformed request accepted"),
        (outcome("malformed", 500), "5xx"),
        (outcome("leaver", -1), None),
        (outcome("leaver", 500), "5xx"),
        (outcome("short", 0), "broken"),
        (outcome("short", 200, took_s=70), "hung"),
    ],
)
def test_what_must_not_happen(one: Outcome, complaint: str | None) -> None:
    found = complaints([one], deadline_s=60)
    if complaint is None:
        assert found == []
    else:
        assert len(found) == 1
        assert found[0].startswith(complaint)


def test_growth_leaves_out_the_warm_up() -> None:
    samples = [Sample(at_s, 500 if at_s < 30 else 1000 + at_s, {}) for at_s in range(0, 230, 10)]
    assert growth(samples) == pytest.approx((1205 - 1045) / 1045, abs=0.01)
    assert slope_mib_per_s(samples) == pytest.approx(1.0)


def test_growth_is_told_by_part() -> None:
    samples = [Sample(at_s, 0.0, {"ingress": 100.0, "embedder-cpu": 200.0 + at_s}) for at_s in range(0, 230, 10)]
    assert growth_by_role_mib(samples) == {"embedder-cpu": pytest.approx(160, abs=10)}


def test_the_timeline_counts_by_the_end_of_a_request() -> None:
    rows = timeline(
        [outcome("short", 200, sent_s=103), outcome("short", 200, sent_s=104), outcome("long", 429, sent_s=106)], 100, 5
    )
    assert [(row["at_s"], row["answered"]) for row in rows] == [(0, 1), (5, 1)]
    assert rows[0]["short_p50_ms"] == 1000


@pytest.mark.slow
def test_the_same_seed_writes_the_same_requests() -> None:
    first, again = Writer(7), Writer(7)
    assert [first.next() for _ in range(50)] == [again.next() for _ in range(50)]


@pytest.mark.slow
def test_every_kind_of_request_is_written() -> None:
    writer = Writer(0)
    asked = [writer.next() for _ in range(600)]
    assert {one.kind for one in asked} == {"short", "medium", "long", "malformed", "leaver"}
    sense = [one for one in asked if one.kind != "malformed"]
    assert {one.path for one in sense} == {"/v1/embeddings", "/v1/rerank", "/v1/classify", "/v1/relations"}
    assert all((one.patience_s is not None) == (one.kind == "leaver") for one in asked)
