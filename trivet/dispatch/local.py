"""All three models in this process, without Ray: for notebooks, scripts, and tests of the HTTP side."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

from trivet.config import TASKS, AppConfig, Task
from trivet.dispatch.protocol import Readiness, Routed
from trivet.dispatch.status import ServiceStatus
from trivet.engine.engine import Engine
from trivet.engine.open import open_cpu_engine
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    EngineRequest,
    Health,
    ModelCard,
    PredictRequest,
    PredictResult,
    RerankRequest,
    RerankResult,
    TokenizeRequest,
    TokenizeResult,
)

ResultT = TypeVar("ResultT", EmbedResult, RerankResult, ClassifyResult, PredictResult)


class LocalDispatcher:
    """A `trivet.dispatch.protocol.Dispatcher` over CPU engines of this process.

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

    async def embed(self, request: EmbedRequest) -> Routed[EmbedResult]:
        """Embed texts."""
        return Routed(await self._run("embedder", request, EmbedResult), "cpu")

    async def rerank(self, request: RerankRequest) -> Routed[RerankResult]:
        """Score documents against a query."""
        return Routed(await self._run("reranker", request, RerankResult), "cpu")

    async def classify(self, request: ClassifyRequest) -> Routed[ClassifyResult]:
        """Score hypotheses about premises."""
        return Routed(await self._run("classifier", request, ClassifyResult), "cpu")

    async def predict(self, request: PredictRequest) -> Routed[PredictResult]:
        """Score the classifier's own classes."""
        return Routed(await self._run("classifier", request, PredictResult), "cpu")

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        """Show texts as tokens."""
        return await self._engines[request.task].tokenize(request)

    async def _run(self, task: Task, request: EngineRequest, kind: type[ResultT]) -> ResultT:
        result = await self._engines[task].run(request)
        assert isinstance(result, kind)
        return result

    async def readiness(self) -> Readiness:
        """Every engine that is open has run a forward."""
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

    async def models(self) -> Sequence[ModelCard]:
        """The three cards."""
        return [engine.card for engine in self._engines.values()]

    def status(self) -> ServiceStatus:
        """No card: this dispatcher has CPU lanes only."""
        return ServiceStatus(
            cpu_only_reason="The models run in one process, which has CPU lanes only.", policy=self._config.vram
        )
