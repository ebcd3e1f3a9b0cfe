"""One model on one device: puts tokenizer, tasks, scheduler and backend together."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from trivet.checkpoint.description import ModelFiles
from trivet.config import Task
from trivet.engine.backend import Backend
from trivet.engine.batch.token_batch import build_batch
from trivet.engine.scheduling.jobs import Job
from trivet.engine.scheduling.scheduler import Scheduler
from trivet.engine.tasks.base import EngineLimits, TaskBase
from trivet.engine.tasks.classify import ClassifyTask
from trivet.engine.tasks.embed import EmbedTask
from trivet.engine.tasks.predict import PredictTask
from trivet.engine.tasks.rerank import RerankTask
from trivet.engine.tasks.warm_up import warm_up_request
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import TrivetError
from trivet.messages import (
    ClassifyRequest,
    EmbedRequest,
    EngineRequest,
    EngineResult,
    ModelCard,
    PredictRequest,
    RerankRequest,
    TokenizeRequest,
    TokenizeResult,
)

ResultFuture = asyncio.Future[EngineResult]

_TASKS: dict[Task, dict[type[EngineRequest], type[TaskBase[Any]]]] = {
    "embedder": {EmbedRequest: EmbedTask},
    "reranker": {RerankRequest: RerankTask},
    "classifier": {ClassifyRequest: ClassifyTask, PredictRequest: PredictTask},
}


class Engine:
    """Answers the requests of one model. Create it, `start` it inside the event loop, `close` it."""

    def __init__(
        self,
        files: ModelFiles,
        backend: Backend,
        *,
        name: str,
        revision: str,
        precision: str,
        limits: EngineLimits,
        max_queued_tokens: int,
    ) -> None:
        self._files = files
        self._backend = backend
        self._tokenizer = TextTokenizer.from_dir(files.path, pad_id=files.architecture.pad_id)
        self._tasks = {
            kind: task(files, self._tokenizer, limits, backend.device) for kind, task in _TASKS[files.task].items()
        }
        # Tokenising a long document takes milliseconds, during which the event loop has other requests to serve.
        self._tokenize_thread = ThreadPoolExecutor(1, thread_name_prefix="tokenize")
        self.scheduler = Scheduler(
            backend,
            self._tokenizer.special.pad_id,
            max_queued_tokens=max_queued_tokens,
            clock=time.monotonic,
        )
        self.has_answered = False
        """Whether the warm-up's forward has succeeded."""
        self.card = ModelCard(
            task=files.task,
            name=name,
            revision=revision,
            max_tokens=files.max_tokens,
            dimensions=files.dimensions or None,
            labels=files.labels if files.task == "classifier" else {},
            precision=precision,
            prompts=files.prompts,
            default_prompt_name=files.default_prompt_name,
            trained_dimensions=files.trained_dimensions,
            pooling="+".join(files.pooling) or None,
        )

    @property
    def device(self) -> str:
        """Human-readable name of the device."""
        return self._backend.device

    @property
    def fault(self) -> str | None:
        """Why this process must be replaced; None if it can answer."""
        return self._backend.fault

    def start(self) -> None:
        """Start the scheduler on the running event loop."""
        self.scheduler.start()

    async def admit(self, requests: Sequence[EngineRequest]) -> list[ResultFuture | TrivetError]:
        """Tokenise requests together and queue them. Returns, for each, a future of its result or its error."""
        started_s = time.monotonic()
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self._tokenize_thread, self._prepare, requests)
        tokenize_s = time.monotonic() - started_s
        return [self._submit(job, tokenize_s) for job in prepared]

    def _prepare(self, requests: Sequence[EngineRequest]) -> list[Job | TrivetError]:
        return [self._tasks[type(request)].prepare_one(request) for request in requests]

    def _submit(self, job: Job | TrivetError, tokenize_s: float) -> ResultFuture | TrivetError:
        if isinstance(job, TrivetError):
            return job
        job.tokenize_s = tokenize_s
        try:
            return self.scheduler.submit(job)
        except TrivetError as error:
            return error

    async def run(self, request: EngineRequest) -> EngineResult:
        """Queue one request and wait for its result. Raises the `TrivetError` that it ends in."""
        [future] = await self.admit([request])
        if isinstance(future, TrivetError):
            raise future
        return await future

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        """Return texts as this model's tokens; needs no forward."""

        def tokens() -> TokenizeResult:
            shown = self._tokenizer.tokens(request.texts, add_special_tokens=request.add_special_tokens)
            return TokenizeResult(tuple(shown))

        return await asyncio.get_running_loop().run_in_executor(self._tokenize_thread, tokens)

    def warm_up(self) -> None:
        """Run one forward, blocking. A replica is ready only once this has worked."""
        request = warm_up_request(self._files.task)
        [job] = self._prepare([request])
        if isinstance(job, TrivetError):
            raise job
        batch, _ = build_batch(job.sequences, self._tokenizer.special.pad_id)
        self._backend.launch(batch).result()
        self.has_answered = True

    async def close(self) -> None:
        """Stop the scheduler, fail the waiting jobs and release the device."""
        await self.scheduler.close()
        self._tokenize_thread.shutdown()
        self._backend.close()
