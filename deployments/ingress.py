"""The HTTP ingress: the library's FastAPI application over a dispatcher of Serve handles."""

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.dispatcher import RayDispatcher
from deployments.observability.logs import WRITE_EVERY_S, RequestLines, send_library_logs_to_serve
from deployments.observability.metrics import RaySink
from deployments.observability.sampler import Sampler
from deployments.samples import IngressSample
from deployments.shared_folder import shared_folder
from deployments.vram.feed import ClusterFeed
from trivet.api.app import create_app
from trivet.api.middleware.telemetry import Telemetry
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig, Lane, Task


@serve.ingress()
class Ingress:
    """Parses, validates, chooses the lane and composes; holds no model."""

    async def __init__(  # type: ignore[misc]
        self, config: AppConfig, handles: dict[Task, dict[Lane, DeploymentHandle[object]]], run_id: str
    ) -> None:
        """Follow the VRAM decisions where a GPU lane is bound."""
        send_library_logs_to_serve()
        self._config = config
        self._sink = RaySink()
        self._feed: ClusterFeed | None = None
        if any("gpu" in lanes for lanes in handles.values()):
            self._feed = ClusterFeed(serve.get_replica_context().app_name, config, run_id)
            self._feed.start()
        self._dispatcher = RayDispatcher(_pickling(handles), self._feed, config, self._sink)
        self._lines = RequestLines()
        self._sampler = Sampler(IngressSample(self._sink, self._dispatcher))
        self._sampler.start()
        self._log_writer = Sampler(self._lines.write, every_s=WRITE_EVERY_S)
        self._log_writer.start()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the application; Serve calls this once the constructor is done."""
        log = self._lines if self._config.telemetry.request_log else None
        # Serve's proxy puts the request id on the answer.
        telemetry = Telemetry(self._sink, log, answer_request_id=False)
        settings = ApiSettings.from_config(self._config)
        return create_app(self._dispatcher, settings, telemetry, shared_folder=shared_folder())

    def __del__(self) -> None:
        if hasattr(self, "_sampler"):  # absent where the constructor failed
            self._sampler.stop()
            self._log_writer.stop()
            self._lines.write()


def _pickling(
    handles: dict[Task, dict[Lane, DeploymentHandle[object]]],
) -> dict[Task, dict[Lane, DeploymentHandle[object]]]:
    """Make the handles' gRPC calls use pickle, which suffices for our messages and is several times as fast.

    Without `RAY_SERVE_USE_GRPC_BY_DEFAULT` calls go through the object store, and the option has no effect.
    """
    return {
        task: {
            lane: handle.options(request_serialization="pickle", response_serialization="pickle")
            for lane, handle in lanes.items()
        }
        for task, lanes in handles.items()
    }
