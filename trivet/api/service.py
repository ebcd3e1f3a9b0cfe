"""What routes of every dialect share between body and answer: model names, counts, deadlines, concurrent calls."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from trivet.api.model_names import find_card
from trivet.api.options import CallOptions
from trivet.api.settings import ApiSettings
from trivet.config import Task
from trivet.dispatch.concurrency import bounded_as_completed
from trivet.dispatch.protocol import Dispatcher, Routed, ServiceInfo
from trivet.errors import DeadlineExceeded, InvalidInput
from trivet.messages import ModelCard, Request, ResultT

T = TypeVar("T")


class Service:
    """The models and settings that routes use."""

    def __init__(self, dispatcher: Dispatcher, info: ServiceInfo, settings: ApiSettings) -> None:
        self.dispatcher = dispatcher
        self.info = info
        self.settings = settings

    async def card(self, task: Task, asked: str | None = None) -> ModelCard:
        """The model of this task; InvalidInput (`model_not_found`) if the caller asked for another one."""
        return find_card(await self.info.models(), task, asked, self.settings.model_aliases)

    def check_count(self, count: int, field: str) -> None:
        """Refuse more inputs than one request may have."""
        limit = self.settings.max_inputs
        if count > limit:
            raise InvalidInput(
                f"{field} has {count} entries; the limit is {limit}", field=field, code="too_many_inputs"
            )

    def timeout_s(self, options: CallOptions) -> float:
        """The deadline of a request, from its start."""
        return options.timeout_s or self.settings.request_timeout_s

    async def call(self, request: Request[ResultT], options: CallOptions) -> Routed[ResultT]:
        """Call the dispatcher under the request's deadline."""
        return await self.in_time(self.dispatcher.call(request), self.timeout_s(options))

    async def in_time(self, work: Awaitable[T], timeout_s: float) -> T:
        """Await work; DeadlineExceeded after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {timeout_s:g} s") from None

    async def all(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Run calls, a bounded number at a time; results in the calls' order. The first error cancels the others."""
        results = {index: result async for index, result in bounded_as_completed(calls, self.settings.parallel_calls)}
        return [results[index] for index in range(len(calls))]
