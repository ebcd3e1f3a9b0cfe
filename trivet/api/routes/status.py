"""`GET /v1/status`: GPUs, lanes with their reasons, and the traffic of the last two minutes."""

import time
from collections.abc import Callable

from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import TypedDict

import trivet
from trivet.api.answers import json_response
from trivet.api.errors.bodies import documented_errors
from trivet.api.json_route import JsonRoute
from trivet.api.settings import ApiSettings
from trivet.config import TASKS, Lane, Task
from trivet.dispatch.lane_readings import LaneReading
from trivet.dispatch.protocol import Readiness, ServiceInfo
from trivet.dispatch.readiness_cache import CachedReadiness
from trivet.dispatch.status import GpuStatus, ReplicaCount, ServiceStatus
from trivet.dispatch.traffic import Traffic
from trivet.messages import Health
from trivet.vram.types import Cause

PATH = "/v1/status"

_READINESS_MAX_AGE_S = 2.0


class PolicyAnswer(TypedDict):
    """The settings behind the decisions."""

    reroute_below_bytes: int
    resume_above_bytes: int
    dwell_s: float
    grace_s: float
    offload_after_s: float | None


class TenantAnswer(TypedDict):
    """Another process's model on the GPU. `expires_at` (ISO 8601) is when it is unloaded if it stays unused."""

    name: str
    vram_bytes: int
    expires_at: str


class GpuAnswer(TypedDict):
    """One GPU. Where it could not be read, sizes are 0 and `unknown_reason` says why."""

    device: str
    uuid: str | None
    simulated: bool
    age_s: float | None
    unknown_reason: str | None
    total_bytes: int
    free_bytes: int
    ours_bytes: dict[str, int]
    reusable_bytes: dict[str, int]
    external_bytes: int | None
    attribution_note: str | None
    tenants: list[TenantAnswer]


class LaneState(TypedDict):
    """What one replica reports of itself. `waiting_tokens` are queued."""

    ready: bool
    device: str
    detail: str
    rss_bytes: int
    waiting_tokens: int


class LastMinute(TypedDict):
    """The service's calls to a model within 60 s; latencies are None where none was answered."""

    calls: int
    failed: int
    rerouted: int
    tokens: int
    p50_ms: float | None
    p95_ms: float | None


class SecondBySecond(TypedDict):
    """One number per second, the oldest first."""

    calls: list[int]
    tokens: list[int]
    p50_ms: list[float | None]


class ReplicasAnswer(TypedDict):
    """CPU replicas of a model: how many run, None before that is known, and the bounds by load."""

    running: int | None
    min: int
    max: int


class ModelState(TypedDict):
    """Where a model's next request goes and why, and its recent traffic."""

    name: str | None
    precision: str | None
    lane: Lane
    cause: Cause | None
    reason: str
    lane_age_s: float | None
    offloaded: bool
    in_flight: int
    lanes: dict[Lane, LaneState]
    cpu_replicas: ReplicasAnswer | None
    last_minute: LastMinute
    seconds: SecondBySecond


class RerouteAnswer(TypedDict):
    """Requests of one model that went to the CPU for one reason; moments are Unix time."""

    model: str
    reason: str
    requests: int
    first_at_s: float
    last_at_s: float


class LimitsAnswer(TypedDict):
    """Limits of one request."""

    max_inputs: int
    max_body_bytes: int


class StatusAnswer(TypedDict):
    """`GET /v1/status`."""

    object: str
    version: str
    at_s: float
    gpus: list[GpuAnswer]
    cpu_only_reason: str | None
    policy: PolicyAnswer
    models: dict[str, ModelState]
    reroutes: list[RerouteAnswer]
    relations: dict[str, str]
    no_relation: str | None
    threshold: float
    min_relevance: float
    limits: LimitsAnswer
    ports: dict[str, int]


def status_router(
    info: ServiceInfo, traffic: Traffic, settings: ApiSettings, unix_clock: Callable[[], float] = time.time
) -> APIRouter:
    """Build the route."""
    router = APIRouter(route_class=JsonRoute, tags=["health"])

    async def ask_lanes() -> Readiness:
        answered = await info.readiness()
        traffic.lanes.note(answered)
        return answered

    readiness = CachedReadiness(ask_lanes, time.monotonic, _READINESS_MAX_AGE_S)

    @router.get(
        PATH,
        summary="The GPU, the lanes and why, recent traffic",
        responses={200: {"model": StatusAnswer}, **documented_errors(PATH)},
    )
    async def status() -> Response:
        service = info.status()
        lanes = await readiness.latest()
        answer: StatusAnswer = {
            "object": "status",
            "version": trivet.__version__,
            "at_s": unix_clock(),
            "gpus": [gpu_answer(gpu) for gpu in service.gpus],
            "cpu_only_reason": service.cpu_only_reason,
            "policy": _policy(service),
            "models": {task: _model(task, service, lanes, traffic) for task in TASKS},
            "reroutes": [
                {
                    "model": reroute.model,
                    "reason": reroute.reason,
                    "requests": reroute.requests,
                    "first_at_s": reroute.first_at_s,
                    "last_at_s": reroute.last_at_s,
                }
                for reroute in traffic.reroutes.newest_first()
            ],
            "relations": dict(settings.relations),
            "no_relation": settings.no_relation,
            "threshold": settings.threshold,
            "min_relevance": settings.min_relevance,
            "limits": {"max_inputs": settings.max_inputs, "max_body_bytes": settings.max_body_bytes},
            "ports": dict(service.ports),
        }
        return json_response(answer, headers={"cache-control": "no-store"})

    return router


def _policy(service: ServiceStatus) -> PolicyAnswer:
    policy = service.policy
    return {
        "reroute_below_bytes": int(policy.reroute_below),
        "resume_above_bytes": int(policy.resume_above),
        "dwell_s": policy.dwell_s,
        "grace_s": policy.grace_s,
        "offload_after_s": policy.offload_after_s,
    }


def gpu_answer(gpu: GpuStatus) -> GpuAnswer:
    """Describe one GPU for `/v1/status`."""
    seen = gpu.observation
    return {
        "device": gpu.device,
        "uuid": gpu.gpu.uuid if gpu.gpu else None,
        "simulated": gpu.simulated,
        "age_s": gpu.age_s,
        "unknown_reason": "no reading has arrived yet" if seen is None else seen.unknown_reason,
        "total_bytes": seen.total_bytes if seen else 0,
        "free_bytes": seen.free_bytes if seen else 0,
        "ours_bytes": dict(seen.ours_bytes) if seen else {},
        "reusable_bytes": dict(seen.reusable_bytes) if seen else {},
        "external_bytes": seen.external_bytes if seen else None,
        "attribution_note": seen.attribution_note if seen else None,
        "tenants": [
            {"name": tenant.label, "vram_bytes": tenant.vram_bytes, "expires_at": tenant.expires_at.isoformat()}
            for tenant in gpu.tenants
        ],
    }


def _model(task: Task, service: ServiceStatus, readiness: Readiness, traffic: Traffic) -> ModelState:
    healths = readiness.lanes.get(task, {})
    named = next((health.card for health in healths.values() if health.card is not None), None)
    # Several GPUs serve a model as one: it is on the GPU as long as any of them takes it.
    # A GPU that has no replica of it explains least why it is on the CPU.
    chosen = min(
        service.gpus,
        key=lambda gpu: (gpu.decisions[task].lane != "gpu", gpu.decisions[task].cause == "absent"),
        default=None,
    )
    decision = chosen.decisions[task] if chosen else None
    calls = traffic.models[task]
    summary = calls.rolling.summary()
    series = calls.rolling.series()
    return {
        "name": named.name if named else None,
        "precision": named.precision if named else None,
        "lane": decision.lane if decision else "cpu",
        "cause": decision.cause if decision else None,
        "reason": decision.reason if decision else service.cpu_only_reason or "only the cpu lane is bound",
        "lane_age_s": chosen.lane_age_s[task] if chosen else None,
        "offloaded": decision.offloaded if decision else False,
        "in_flight": calls.in_flight,
        "lanes": {lane: _lane(health, traffic.lanes.newest(task, lane, health)) for lane, health in healths.items()},
        "cpu_replicas": _replicas(service.cpu_replicas.get(task)),
        "last_minute": {
            "calls": summary.calls,
            "failed": summary.failed,
            "rerouted": summary.rerouted,
            "tokens": summary.tokens,
            "p50_ms": _ms(summary.p50_s),
            "p95_ms": _ms(summary.p95_s),
        },
        "seconds": {
            "calls": list(series.calls),
            "tokens": list(series.tokens),
            "p50_ms": [_ms(p50_s) for p50_s in series.p50_s],
        },
    }


def _replicas(count: ReplicaCount | None) -> ReplicasAnswer | None:
    return None if count is None else {"running": count.running, "min": count.bounds.min, "max": count.bounds.max}


def _lane(health: Health, reading: LaneReading) -> LaneState:
    return {
        "ready": health.ready,
        "device": health.device,
        "detail": health.detail,
        "rss_bytes": reading.rss_bytes,
        "waiting_tokens": reading.waiting_tokens,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
