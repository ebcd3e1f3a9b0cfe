"""The client for asyncio. It has the same methods and parameters as `Client`."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from http import HTTPStatus
from types import TracebackType
from typing import Self, Unpack

import httpx
import stamina

from trivet.client import calls
from trivet.client.answers import Embeddings
from trivet.client.bulk import Batch, BatchLimits, EmbedOptions, Joining, OnProgress, embed_calls
from trivet.client.calls import AnswerT, Call, Priority
from trivet.client.errors import Unreachable
from trivet.client.exchange import answer_in, connection, error_in, translated_errors
from trivet.client.graph import GraphDocument, GraphEvent, GraphOptions, GraphSummary, event_of, graph
from trivet.client.methods import async_method
from trivet.client.retries import Attempts, Retries
from trivet.json_lines import LineSplitter


class AsyncClient:
    """Calls a Trivet server. Close it, or use it with `async with`. Arguments and errors are those of `Client`.

    In addition, `headers` are sent with every request, and `transport` can replace the network, for example with an
    application in this process (`httpx.ASGITransport`).
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout_s: float = 300.0,
        priority: Priority = "interactive",
        retries: Retries | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = connection(url, key, timeout_s=timeout_s, priority=priority, retries=retries or Retries())
        self._http = httpx.AsyncClient(**self._connection.http_options(), transport=transport)
        self._http.headers.update(headers or {})
        self._http.event_hooks = {"response": [self._connection.note_answer_async]}

    embed = async_method(calls.embed)
    embed_quantized = async_method(calls.embed_quantized)
    embed_sparse = async_method(calls.embed_sparse)
    embed_tokens = async_method(calls.embed_tokens)
    rerank = async_method(calls.rerank)
    classify = async_method(calls.classify)
    relate = async_method(calls.relate)
    count_tokens = async_method(calls.count_tokens)
    models = async_method(calls.models)
    ready = async_method(calls.ready)

    async def send(self, call: Call[AnswerT]) -> AnswerT:
        """Send one call, with retries where they can help. Raises ClientError if there is no answer."""
        attempts = self._connection.attempts(call)
        content = call.content()
        async for attempt in stamina.retry_context(**attempts.policy()):
            with attempt:
                left_s = attempts.left_s()
                with translated_errors(self._connection.url, left_s):
                    response = await self._http.request(**self._connection.request_options(call, content, left_s))
                return answer_in(call, response)
        raise AssertionError("stamina raises the last error")

    async def lines(self, call: Call[AnswerT]) -> AsyncGenerator[str, None]:
        """Send one call whose answer is a stream, and yield its lines as they arrive. Use it with `aclosing`.

        It is retried until the stream begins, not after. Raises ClientError.
        """
        attempts = self._connection.attempts(call)
        response = await self._opened(call, attempts)
        try:
            with translated_errors(self._connection.url, attempts.left_s()):
                splitter = LineSplitter()
                async for chunk in response.aiter_bytes():
                    for line in splitter.lines(chunk):
                        yield line
                for line in splitter.rest():
                    yield line
        finally:
            await response.aclose()

    async def _opened(self, call: Call[AnswerT], attempts: Attempts) -> httpx.Response:
        content = call.content()
        async for attempt in stamina.retry_context(**attempts.policy()):
            with attempt:
                left_s = attempts.left_s()
                request = self._http.build_request(**self._connection.request_options(call, content, left_s))
                with translated_errors(self._connection.url, left_s):
                    response = await self._http.send(request, stream=True)
                    if response.status_code != HTTPStatus.OK:
                        await response.aread()
                        await response.aclose()
                if response.status_code != HTTPStatus.OK:
                    raise error_in(call, response)
                return response
        raise AssertionError("stamina raises the last error")

    async def graph(
        self, documents: Sequence[GraphDocument], **options: Unpack[GraphOptions]
    ) -> AsyncGenerator[GraphEvent, None]:
        """Find the relations between documents; yield edges and progress as they are found. Use it with `aclosing`.

        The last event is a `GraphSummary`. If the stream breaks, call it again with the ids of all `DocumentDone`
        as `done`. See `trivet.client.graph.graph` for the options.

        Raises:
            ClientError: the request was refused, or the stream ended before its summary.
        """
        ended = False
        async with aclosing(self.lines(graph(documents, **options))) as lines:
            async for line in lines:
                event = event_of(line)
                if event is not None:
                    ended = isinstance(event, GraphSummary)
                    yield event
        if not ended:
            raise Unreachable("the stream of relations broke before its summary")

    async def send_all(self, many: Iterable[Call[AnswerT]], *, parallel: int = 4) -> AsyncGenerator[AnswerT, None]:
        """Send calls, `parallel` at a time, and yield the answers in the calls' order. Stops at the first error.

        Reads `many` only slightly ahead of the answers. Use it with `aclosing`, so that leaving the loop early cancels
        the open requests.
        """
        gate = asyncio.Semaphore(parallel)

        async def send(call: Call[AnswerT]) -> AnswerT:
            async with gate:
                return await self.send(call)

        waiting: deque[asyncio.Task[AnswerT]] = deque()
        try:
            for call in many:
                # Twice as many as run in parallel, so that a slow first answer does not stall the others.
                if len(waiting) >= 2 * parallel:
                    yield await waiting.popleft()
                waiting.append(asyncio.create_task(send(call)))
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def embed_batches(
        self,
        texts: Iterable[str],
        *,
        limits: BatchLimits | None = None,
        parallel: int = 4,
        **options: Unpack[EmbedOptions],
    ) -> AsyncGenerator[Batch, None]:
        """Do the same as `Client.embed_batches`. Use it with `aclosing`."""
        start = 0
        many = embed_calls(texts, limits or BatchLimits(), options)
        async with aclosing(self.send_all(many, parallel=parallel)) as answers:
            async for answer in answers:
                yield Batch(start, answer)
                start += len(answer.items)

    async def embed_many(
        self,
        texts: Sequence[str],
        *,
        limits: BatchLimits | None = None,
        parallel: int = 4,
        on_progress: OnProgress | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embeddings:
        """Do the same as `Client.embed_many`."""
        joining = Joining(len(texts), on_progress)
        async with aclosing(self.embed_batches(texts, limits=limits, parallel=parallel, **options)) as batches:
            async for batch in batches:
                joining.add(batch)
        return joining.joined()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
