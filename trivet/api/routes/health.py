"""Liveness, readiness, and the list of models."""

import time
from typing import Literal

from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import TypedDict

from trivet.api.answers import ModelEntry, ModelsAnswer, json_response, model_entry
from trivet.api.errors.bodies import documented_errors
from trivet.api.json_route import JsonRoute
from trivet.api.service import Service, find_by_name
from trivet.config import Lane
from trivet.dispatch.protocol import Readiness
from trivet.dispatch.readiness_cache import CachedReadiness

HEALTHZ_MAX_AGE_S = 1.0

Status = Literal["ready", "degraded", "starting", "unavailable"]


class AliveAnswer(TypedDict):
    """`GET /healthz`."""

    status: Literal["ok"]


class FailingAnswer(TypedDict):
    """`GET /healthz` while forwards fail."""

    status: Literal["failing"]
    models: dict[str, str]


class LaneAnswer(TypedDict):
    """One lane of one model."""

    ready: bool
    device: str
    detail: str


class ModelReadiness(TypedDict):
    """Where a model's requests go now and why, and its bound lanes."""

    route: str
    lanes: dict[Lane, LaneAnswer]


class ReadyAnswer(TypedDict):
    """`GET /readyz`."""

    status: Status
    models: dict[str, ModelReadiness]


def health_router(service: Service) -> APIRouter:
    """Build the routes that call no model."""
    router = APIRouter(route_class=JsonRoute)
    info = service.info
    lifecycle = _Lifecycle()
    readiness_cache = CachedReadiness(info.readiness, time.monotonic, HEALTHZ_MAX_AGE_S)
    errors = documented_errors("/v1/models")

    @router.get(
        "/v1/models", summary="The models served", tags=["models"], responses={200: {"model": ModelsAnswer}, **errors}
    )
    async def models() -> Response:
        return await listed()

    async def listed() -> Response:
        answer: ModelsAnswer = {"object": "list", "data": [model_entry(card) for card in await info.models()]}
        return json_response(answer)

    @router.get(
        "/v1/models/{model_id:path}",
        summary="One model, by any of its names",
        tags=["models"],
        responses={200: {"model": ModelEntry}, **errors},
    )
    async def model(model_id: str) -> Response:
        if not model_id:  # the list's path with a slash at its end
            return await listed()
        return json_response(model_entry(find_by_name(await info.models(), model_id, service.settings.model_aliases)))

    @router.get(
        "/healthz",
        summary="Is the process up, and do its models' forwards work",
        tags=["health"],
        responses={200: {"model": AliveAnswer}, 503: {"model": FailingAnswer}},
    )
    async def healthz() -> Response:
        # Never waits for a replica: a liveness check counts a late answer as a failure.
        failing = _failing_models(readiness_cache.known())
        if failing:
            answer = FailingAnswer(status="failing", models=failing)
            return json_response(answer, status=503, headers={"retry-after": "1"})
        return json_response(AliveAnswer(status="ok"))

    @router.get(
        "/readyz",
        summary="Can every model answer, and on which device",
        tags=["health"],
        responses={200: {"model": ReadyAnswer}, 503: {"model": ReadyAnswer}},
    )
    async def readyz() -> Response:
        readiness = await info.readiness()
        status = lifecycle.status(readiness)
        answer: ReadyAnswer = {"status": status, "models": _readiness_entries(readiness)}
        if status in ("ready", "degraded"):
            return json_response(answer)
        return json_response(answer, status=503, headers={"retry-after": "1"})

    return router


def _failing_models(readiness: Readiness | None) -> dict[str, str]:
    """Return the models whose forwards fail on every lane, and why. Starting or offloaded ones are not failing."""
    lanes_of = {} if readiness is None else readiness.lanes
    return {
        model: next(health.detail for health in lanes.values() if health.failing)
        for model, lanes in lanes_of.items()
        if any(health.failing for health in lanes.values()) and not any(health.ready for health in lanes.values())
    }


class _Lifecycle:
    """Distinguishes a service that has not answered yet from one that no longer does."""

    def __init__(self) -> None:
        self._has_served = False

    def status(self, readiness: Readiness) -> Status:
        """`degraded`: some lane does not answer, or not yet, and every model has another one that does."""
        if readiness.all_served:
            self._has_served = True
            return "ready" if readiness.all_ready else "degraded"
        return "unavailable" if self._has_served else "starting"


def _readiness_entries(readiness: Readiness) -> dict[str, ModelReadiness]:
    return {
        model: {
            "route": readiness.reasons[model],
            "lanes": {
                lane: {"ready": health.ready, "device": health.device, "detail": health.detail}
                for lane, health in lanes.items()
            },
        }
        for model, lanes in readiness.lanes.items()
    }
