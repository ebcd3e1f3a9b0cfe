"""docs/architecture.md lists the files that a text of `/v1/embeddings` passes, as a trace of one request finds them."""

import json
import pickle
import re
import sys
import threading
from collections.abc import Awaitable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from bench.serving.http_cost import request
from deployments.dispatcher import RayDispatcher
from deployments.embedder import Embedder
from deployments.replica import _Call
from tests.support.conversions import convert_here, shared_ir_cache
from tests.test_docs_site import expanded
from trivet.api.app import create_app
from trivet.api.middleware.telemetry import Telemetry
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig
from trivet.engine.engine import Engine, ResultFuture
from trivet.engine.open import open_cpu_engine
from trivet.errors import TrivetError
from trivet.messages import EngineRequest, Health
from trivet.metrics import NO_METRICS
from trivet.starter.base import base_model_dir

pytestmark = pytest.mark.slow  # converts and compiles a model

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
MOST_FILES = 45


def documented() -> set[str]:
    """The files in the table under "A request's path"."""
    section = PAGE.read_text(encoding="utf-8").split("## A request's path")[1].split("```mermaid")[0]
    rows = re.findall(r"^\| \*\*.*?\|(.*)\|$", section, re.MULTILINE)
    return {path for row in rows for quoted in re.findall(r"`([^`]+\.py)`", row) for path in expanded(quoted)}


class Trace:
    """The files of the library and the deployments whose functions run while it is on, in any thread."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.on = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if self.on and event == "call" and code.co_name != "<module>":
            for top in ("trivet", "deployments"):
                if code.co_filename.startswith(f"{ROOT / top}/"):
                    self.files.add(Path(code.co_filename).relative_to(ROOT).as_posix())

    @contextmanager
    def running(self) -> Iterator[None]:
        self.on = True
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            self.on = False


class Replica(Embedder):
    """A replica without Ray: its calls are not collected with others."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting_for_collector = {}

    async def _collect(self, call: _Call) -> ResultFuture | TrivetError:  # type: ignore[override]
        [future] = await self._engine.admit([call.request])
        call.admitted(future)
        return future


class Response:
    """What a Serve handle returns."""

    def __init__(self, work: Awaitable[object]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, object]:
        return self._work.__await__()


def handle(replica: Replica, engine: Engine) -> Any:
    """A Serve handle whose messages are pickled, as between processes."""

    async def run(message: EngineRequest) -> object:
        return pickle.loads(pickle.dumps(await replica.run(pickle.loads(pickle.dumps(message)))))

    async def health() -> Health:
        return Health(True, engine.device, "warm", engine.card)

    return SimpleNamespace(
        run=SimpleNamespace(remote=lambda message: Response(run(message))),
        run_all=None,  # a single request shares no call
        health=SimpleNamespace(remote=lambda: Response(health())),
    )


async def test_the_documented_path_is_the_one_taken(tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = shared_ir_cache(tmp_path_factory)
    convert_here(base_model_dir(), "embedder", "fp32", cache)
    config = AppConfig.model_validate(
        {"device": "cpu", "cpu": {"precision": "fp32"}, "serving": {"cache_dir": str(cache)}}
    )
    trace = Trace()
    threading.setprofile(trace)  # for the threads that the engine starts
    try:
        engine = open_cpu_engine(config, "embedder")
        engine.start()
        dispatcher = RayDispatcher({"embedder": {"cpu": handle(Replica(engine), engine)}}, None, config, NO_METRICS)
        app = create_app(dispatcher, ApiSettings.from_config(config), Telemetry())
        for number, text in enumerate(("the first request fetches the model's card", "how do I retry a request")):
            with trace.running():
                await request(app, "/v1/embeddings", json.dumps({"input": text}).encode(), {})
            if not number:
                trace.files.clear()
        await engine.close()
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
    assert sorted(trace.files) == sorted(documented())
    assert len(trace.files) <= MOST_FILES
