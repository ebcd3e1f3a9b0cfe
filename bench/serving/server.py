"""Runs one contender of `bench.serving.compare`: `python -m bench.serving.server KIND ENGINE PORT`.

Prints `ready` and the seconds until then, and runs until its standard input is closed. Ray's variables are those of
the environment.
"""

import asyncio
import sys
import time
from typing import TYPE_CHECKING

from trivet.config import AppConfig

if TYPE_CHECKING:
    import socket

    import uvicorn

STARTED_S = time.perf_counter()
CONFIG = {"device": "cpu", "telemetry": {"request_log": True}}


def say_ready() -> None:
    sys.stdout.write(f"ready {time.perf_counter() - STARTED_S:.2f}\n")
    sys.stdout.flush()


def serve_with_ray(engine: str, port: int, replicas: int) -> None:
    import ray
    from ray import serve
    from ray.serve.schema import LoggingConfig

    import app
    from bench.serving import noop_app

    config = AppConfig.model_validate({**CONFIG, "serving": {"ingress_replicas": replicas}})
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port, "request_timeout_s": 310})
        built = noop_app.build(config) if engine == "noop" else app.build(config)
        serve.run(built, name="bench", logging_config=LoggingConfig(encoding="JSON", enable_access_log=False))
        say_ready()
        sys.stdin.read()
        serve.shutdown()
    finally:
        ray.shutdown()


async def serve_bare(port: int) -> None:
    import uvicorn

    from bench.serving.noop import NoopDispatcher
    from trivet.api.app import create_app
    from trivet.api.settings import ApiSettings

    config = AppConfig.model_validate(CONFIG)

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: "list[socket.socket] | None" = None) -> None:
            await super().startup(sockets)
            say_ready()

    async with NoopDispatcher(config) as dispatcher:
        http = create_app(dispatcher, ApiSettings.from_config(config))
        server = Announcing(uvicorn.Config(http, port=port, log_level="warning", access_log=False))
        closing = asyncio.create_task(_close_with_stdin(server))
        await server.serve()
        await closing


async def _close_with_stdin(server: "uvicorn.Server") -> None:
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True


def main() -> None:
    kind, engine, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    replicas = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    if kind == "ray":
        serve_with_ray(engine, port, replicas)
    else:
        import uvloop

        uvloop.run(serve_bare(port))


if __name__ == "__main__":
    main()
