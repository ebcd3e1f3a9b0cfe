"""All three models in this process, without Ray: for notebooks, scripts, and tests of the HTTP side."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from trivet.config import TASKS, AppConfig, Task
from trivet.dispatch.protocol import Readiness, Routed
from trivet.dispatch.status import ServiceStatus
from trivet.engine.engine import Engine
from trivet.engine.open import open_cpu_engine
from trivet.messages import (
    DetokenizeRequest,
    DetokenizeResult,
    Health,
    ModelCard,
    Request,
    ResultT,
    TokenizeRequest,
    TokenizeResult,
)


class LocalDispatcher:
    """A `trivet.dispatch.protocol.ModelServer` over CPU engines of this process.

    Use it as an async context manager; opening converts models on first use, which takes a while.
    """

    def __init__(self, config: AppConfig) -> None:
        self._config = config
        self._engines: dict[Task, Engine] = {}

    async def __aenter__(self) -> Self:
        for task in TASKS:
            engine = open_cpu_engine(self._config, task)
            engine.warm_up()
            engine.start()
            self._engines[task] = engine
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for engine in self._engines.values():
            await engine.close()

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        """Answer a request by its task's engine."""
        return Routed(request.checked(await self._engines[request.task].run(request)), "cpu")

    async def models(self) -> Sequence[ModelCard]:
        """Return the three cards."""
        return [engine.card for engine in self._engines.values()]

    async def readiness(self) -> Readiness:
        """Report every engine as ready: an open one has run a forward."""
        return Readiness(
            lanes={
                task: {
                    "cpu": Health(
                        True,
                        engine.device,
                        "warm",
                        engine.card,
                        os.getpid(),
                        waiting_tokens=engine.scheduler.waiting_tokens,
                    )
                }
                for task, engine in self._engines.items()
            },
            reasons=dict.fromkeys(self._engines, "only the cpu lane is bound"),
        )

    def status(self) -> ServiceStatus:
        """No GPU: this dispatcher has CPU lanes only."""
        return ServiceStatus(
            cpu_only_reason="The models run in one process, which has CPU lanes only.", policy=self._config.vram
        )

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        """Split texts into tokens."""
        return await self._engines[request.task].tokenize(request)

    async def detokenize(self, request: DetokenizeRequest) -> DetokenizeResult:
        """Turn token ids into texts."""
        return await self._engines[request.task].detokenize(request)
