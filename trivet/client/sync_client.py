"""The blocking client. Safe to share between threads."""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
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
from trivet.client.methods import method
from trivet.client.retries import Attempts, Retries
from trivet.json_lines import LineSplitter


class Client:
    """Calls a Trivet server. Close it, or use it with `with`.

    Args:
        url: URL of the server. None: `TRIVET_URL`, else `http://127.0.0.1:8000`.
        key: Bearer key. None: `TRIVET_API_KEY`, else no key.
        timeout_s: Default deadline of a call in seconds, including retries.
        priority: Default priority of a call.
        retries: How often and after which pauses calls are retried. None: the defaults of `Retries`.

    Raises:
        ValueError: `url` is not an HTTP URL, or `timeout_s` is out of range.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout_s: float = 300.0,
        priority: Priority = "interactive",
        retries: Retries | None = None,
    ) -> None:
        self._connection = connection(url, key, timeout_s=timeout_s, priority=priority, retries=retries or Retries())
        self._http = httpx.Client(**self._connection.http_options())
        self._http.event_hooks = {"response": [self._connection.note_answer]}

    embed = method(calls.embed)
    embed_quantized = method(calls.embed_quantized)
    embed_sparse = method(calls.embed_sparse)
    embed_tokens = method(calls.embed_tokens)
    rerank = method(calls.rerank)
    classify = method(calls.classify)
    relate = method(calls.relate)
    count_tokens = method(calls.count_tokens)
    models = method(calls.models)
    ready = method(calls.ready)

    def send(self, call: Call[AnswerT]) -> AnswerT:
        """Send one call, with retries where they can help. Raises ClientError if there is no answer."""
        attempts = self._connection.attempts(call)
        content = call.content()
        for attempt in stamina.retry_context(**attempts.policy()):
            with attempt:
                left_s = attempts.left_s()
                with translated_errors(self._connection.url, left_s):
                    response = self._http.request(**self._connection.request_options(call, content, left_s))
                return answer_in(call, response)
        raise AssertionError("stamina raises the last error")

    def lines(self, call: Call[AnswerT]) -> Generator[str, None, None]:
        """Send one call whose answer is a stream, and yield its lines as they arrive. Use it with `closing`.

        It is retried until the stream begins, not after. Raises ClientError.
        """
        attempts = self._connection.attempts(call)
        opened = closing(self._opened(call, attempts))
        with opened as response, translated_errors(self._connection.url, attempts.left_s()):
            splitter = LineSplitter()
            for chunk in response.iter_bytes():
                yield from splitter.lines(chunk)
            yield from splitter.rest()

    def graph(
        self, documents: Sequence[GraphDocument], **options: Unpack[GraphOptions]
    ) -> Generator[GraphEvent, None, None]:
        """Do the same as `AsyncClient.graph`. Use it with `closing`."""
        ended = False
        with closing(self.lines(graph(documents, **options))) as lines:
            for line in lines:
                event = event_of(line)
                if event is not None:
                    ended = isinstance(event, GraphSummary)
                    yield event
        if not ended:
            raise Unreachable("the stream of relations broke before its summary")

    def _opened(self, call: Call[AnswerT], attempts: Attempts) -> httpx.Response:
        content = call.content()
        for attempt in stamina.retry_context(**attempts.policy()):
            with attempt:
                left_s = attempts.left_s()
                request = self._http.build_request(**self._connection.request_options(call, content, left_s))
                with translated_errors(self._connection.url, left_s):
                    response = self._http.send(request, stream=True)
                    if response.status_code != HTTPStatus.OK:
                        response.read()
                        response.close()
                if response.status_code != HTTPStatus.OK:
                    raise error_in(call, response)
                return response
        raise AssertionError("stamina raises the last error")

    def send_all(self, many: Iterable[Call[AnswerT]], *, parallel: int = 4) -> Generator[AnswerT, None, None]:
        """Send calls, `parallel` at a time, and yield the answers in the calls' order. Stops at the first error.

        Reads `many` only slightly ahead of the answers, so `many` can be a long or endless generator.
        """
        with ThreadPoolExecutor(parallel, thread_name_prefix="trivet-client") as pool:
            waiting: deque[Future[AnswerT]] = deque()
            try:
                for call in many:
                    # Twice as many as run in parallel, so that a slow first answer does not stall the others.
                    if len(waiting) >= 2 * parallel:
                        yield waiting.popleft().result()
                    waiting.append(pool.submit(self.send, call))
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def embed_batches(
        self,
        texts: Iterable[str],
        *,
        limits: BatchLimits | None = None,
        parallel: int = 4,
        **options: Unpack[EmbedOptions],
    ) -> Generator[Batch, None, None]:
        """Embed any number of texts in several requests, and yield the answers in order as they arrive."""
        start = 0
        with closing(self.send_all(embed_calls(texts, limits or BatchLimits(), options), parallel=parallel)) as answers:
            for answer in answers:
                yield Batch(start, answer)
                start += len(answer.items)

    def embed_many(
        self,
        texts: Sequence[str],
        *,
        limits: BatchLimits | None = None,
        parallel: int = 4,
        on_progress: OnProgress | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embeddings:
        """Embed any number of texts in parallel requests, and return one answer.

        Args:
            texts: Non-empty texts. Errors call them `input[0]`, `input[1]`, … by their position among all texts.
            limits: Maximum size of each request.
            parallel: Maximum number of open requests.
            on_progress: Called after each answer, in this thread.
            **options: The options of `embed`; `priority` is `bulk` by default.
        """
        joining = Joining(len(texts), on_progress)
        with closing(self.embed_batches(texts, limits=limits, parallel=parallel, **options)) as batches:
            for batch in batches:
                joining.add(batch)
        return joining.joined()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
