"""One model on one device: puts tokenizer, tasks, scheduler and backend together."""

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

from trivet.checkpoint.card import StatedFacts, weights_bytes
from trivet.checkpoint.description import ModelFiles
from trivet.checkpoint.flat.model import padded_because
from trivet.config import Task
from trivet.engine.backend import Backend
from trivet.engine.batch.token_batch import build_batch
from trivet.engine.scheduling.finite import NOT_FINITE, broken_rows
from trivet.engine.scheduling.jobs import Job
from trivet.engine.scheduling.scheduler import Scheduler
from trivet.engine.tasks.base import EngineLimits, TaskBase
from trivet.engine.tasks.classify import ClassifyTask
from trivet.engine.tasks.embed import EmbedTask
from trivet.engine.tasks.late_rerank import LateRerankTask
from trivet.engine.tasks.predict import PredictTask
from trivet.engine.tasks.rerank import RerankTask
from trivet.engine.tasks.warm_up import warm_up_request
from trivet.engine.text.memory import MemoryReturn
from trivet.engine.text.segments import SEGMENT_CHARACTERS
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import EngineError, InvalidInput, TrivetError
from trivet.messages import (
    ClassifyRequest,
    DetokenizeRequest,
    DetokenizeResult,
    EmbedRequest,
    EngineRequest,
    EngineResult,
    ModelCard,
    PredictRequest,
    RerankRequest,
    TokenizeRequest,
    TokenizeResult,
)
from trivet.turns import Steps, T, Turns

ResultFuture = asyncio.Future[EngineResult]

_TASKS: dict[Task, dict[type[EngineRequest], type[TaskBase[Any]]]] = {
    "embedder": {EmbedRequest: EmbedTask},
    "reranker": {RerankRequest: RerankTask},
    "classifier": {ClassifyRequest: ClassifyTask, PredictRequest: PredictTask},
}


def _tasks_of(files: ModelFiles) -> dict[type[EngineRequest], type[TaskBase[Any]]]:
    """The kinds of requests that a model answers, and how."""
    if files.task == "reranker" and files.late is not None:
        return {RerankRequest: LateRerankTask}
    return _TASKS[files.task]


def _first_that_fit(requests: Sequence[EngineRequest], threads: int) -> list[list[int]]:
    """The indices of the smallest requests that so many threads tokenise in little time, a group for each thread."""
    sizes = [request.characters for request in requests]
    smallest_first = sorted(range(len(sizes)), key=sizes.__getitem__)
    sums = accumulate(sizes[index] for index in smallest_first)
    fit = sum(characters <= SEGMENT_CHARACTERS * threads for characters in sums)
    groups = (smallest_first[first:fit:threads] for first in range(threads))
    return [sorted(group) for group in groups if group]


_MOST_TOKENIZE_THREADS = 4
"""More of them take the interpreter from the thread that launches kernels: on an H200, 8 read a tenth less. The
tokenizer uses the other cores for the texts of one request."""


def _tokenize_threads(backend: Backend) -> int:
    """Return how many requests are tokenised at a time.

    Where forwards run on the CPU, they need its cores, and one thread keeps up with them. A device that computes on its
    own reads more tokens a second than one thread writes, and leaves the cores free.
    """
    if backend.in_flight == 1:
        return 1
    return max(1, min(_MOST_TOKENIZE_THREADS, (os.cpu_count() or 1) // 2))


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
        cpu_bytes: int | None = None,
        gpu_bytes: int | None = None,
        stuck_after_s: float | None = None,
    ) -> None:
        self._files = files
        self._backend = backend
        self._tokenizer = TextTokenizer.from_dir(
            files.path, pad_id=files.architecture.pad_id, markers=files.late.markers.values() if files.late else ()
        )
        self._tokenizer.check_ids(files.architecture.vocab_size, files.path)
        self._tasks = {
            kind: task(files, self._tokenizer, limits, backend.device) for kind, task in _tasks_of(files).items()
        }
        # Tokenising a long document takes milliseconds, during which the event loop has other requests to serve.
        self._threads = _tokenize_threads(backend)
        self._tokenize_threads = ThreadPoolExecutor(self._threads, thread_name_prefix="tokenize")
        # A document of megabytes takes seconds, during which the threads above have other requests to tokenise.
        self._turns = Turns(self._threads, "tokenize-long")
        self._memory = MemoryReturn()
        self.scheduler = Scheduler(
            backend,
            self._tokenizer.special.pad_id,
            max_queued_tokens=max_queued_tokens,
            clock=time.monotonic,
            stuck_after_s=stuck_after_s if backend.falls_back else None,
        )
        self.has_answered = False
        """Whether the warm-up's forward has succeeded."""
        stated = StatedFacts.read(files.path)
        self.card = ModelCard(
            task=files.task,
            name=name,
            revision=revision,
            max_tokens=files.max_tokens,
            dimensions=files.dimensions or None,
            labels=files.labels if files.task == "classifier" else {},
            precision=precision,
            prompts=files.prompts,
            padded_because=padded_because(files.path, files.task, files.recipe),
            gpu=backend.gpu,
            outputs=files.outputs,
            weights_bytes=weights_bytes(files.path),
            cpu_bytes=cpu_bytes,
            gpu_bytes=gpu_bytes,
            licence=stated.licence,
            languages=stated.languages,
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
        """Tokenise requests together and queue them. Returns, for each, a future of its result or its error.

        Requests of much text are tokenised and queued later, so that the others need not wait for them.
        """
        started_s = time.monotonic()
        loop = asyncio.get_running_loop()
        groups = _first_that_fit(requests, self._threads)
        together = {index for group in groups for index in group}
        admitted: dict[int, ResultFuture | TrivetError] = {
            index: loop.create_task(self._run_long(request, started_s), name="long text")
            for index, request in enumerate(requests)
            if index not in together
        }

        async def admit_together(group: list[int]) -> None:
            chosen = [requests[index] for index in group]
            prepared = await loop.run_in_executor(self._tokenize_threads, self._prepare, chosen)
            tokenize_s = time.monotonic() - started_s
            for index, job in zip(group, prepared, strict=True):
                admitted[index] = self._submit(job, tokenize_s)

        if len(groups) == 1:
            await admit_together(groups[0])
        elif groups:
            await asyncio.gather(*map(admit_together, groups))
        return [admitted[index] for index in range(len(requests))]

    def _prepare(self, requests: Sequence[EngineRequest]) -> list[Job | TrivetError]:
        return [self._tasks[type(request)].prepare_one(request) for request in requests]

    async def _run_long(self, request: EngineRequest, started_s: float) -> EngineResult:
        """Tokenise one request in turns with others, and wait for its result."""
        job = await self._in_turns(self._tasks[type(request)].prepare_steps(request))
        future = self._submit(job, time.monotonic() - started_s)
        if isinstance(future, TrivetError):
            raise future
        try:
            return await future
        finally:
            self._memory.soon()  # the texts were held until now

    async def _in_turns(self, steps: Steps[T]) -> T:
        """Do long work in turns with others."""
        try:
            return await asyncio.wrap_future(self._turns.submit(steps))
        finally:
            self._memory.soon()

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

        def tokens() -> Steps[TokenizeResult]:
            shown = []
            for text in request.texts:
                yield len(text)
                shown += self._tokenizer.tokens([text], add_special_tokens=request.add_special_tokens)
            return TokenizeResult(tuple(shown))

        return await self._in_turns(tokens())

    async def detokenize(self, request: DetokenizeRequest) -> DetokenizeResult:
        """Return the texts of this model's token ids; needs no forward. InvalidInput: it has no such id."""

        def texts() -> Steps[DetokenizeResult]:
            found = []
            for ids in request.ids:
                yield len(ids)
                unknown = self._tokenizer.first_unknown(ids)
                if unknown is not None:
                    raise InvalidInput(
                        f"the tokenizer of {self.card.name} has no token {unknown}", field=request.ids_field
                    )
                found.append(self._tokenizer.text(ids, skip_special_tokens=request.skip_special_tokens))
            return DetokenizeResult(tuple(found))

        return await self._in_turns(texts())

    def warm_up(self) -> None:
        """Run one forward, blocking. A replica is ready only once this has worked.

        Raises:
            EngineError: the model computes numbers that are not finite.
        """
        request = warm_up_request(self._files)
        [job] = self._prepare([request])
        if isinstance(job, TrivetError):
            raise job
        batch, _ = build_batch(job.sequences, self._tokenizer.special.pad_id, per_token=job.per_token)
        outputs = self._backend.launch(batch).result()
        if broken_rows(outputs[: batch.tokens if batch.per_token else len(batch.lengths)]) is not None:
            raise EngineError(NOT_FINITE)
        self.has_answered = True

    async def close(self) -> None:
        """Stop the scheduler, fail the waiting jobs and release the device."""
        await self.scheduler.close()
        self._tokenize_threads.shutdown()
        self._turns.close()
        self._memory.close()
        self._backend.close()
