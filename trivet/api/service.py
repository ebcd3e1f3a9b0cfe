"""What routes of every dialect share between body and answer: names, counts, deadlines, many calls at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from trivet.api.model_names import find_card
from trivet.api.options import CallOptions
from trivet.api.settings import ApiSettings
from trivet.config import Task
from trivet.dispatch.concurrency import as_finished
from trivet.dispatch.protocol import Dispatcher
from trivet.errors import DeadlineExceeded, InvalidInput
from trivet.messages import ModelCard

T = TypeVar("T")


class Service:
    """A dispatcher as the routes see it, under the settings."""

    def __init__(self, dispatcher: Dispatcher, settings: ApiSettings) -> None:
        self.dispatcher = dispatcher
        self.settings = settings

    async def card(self, task: Task, asked: str | None = None) -> ModelCard:
        """The model of this task; InvalidInput (`model_not_found`) if the caller asked for another one."""
        return find_card(await self.dispatcher.models(), task, asked, self.settings.model_aliases)

    def check_count(self, count: int, param: str) -> None:
        """Refuse more inputs than one request may have."""
        limit = self.settings.max_inputs
        if count > limit:
            raise InvalidInput(
                f"{param} has {count} entries; the limit is {limit}", param=param, code="too_many_inputs"
            )

    def timeout_s(self, options: CallOptions) -> float:
        """The deadline of a request, from its start."""
        return options.timeout_s or self.settings.request_timeout_s

    async def in_time(self, work: Awaitable[T], options: CallOptions) -> T:
        """Await under the request's deadline."""
        timeout_s = self.timeout_s(options)
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {timeout_s:g} s") from None

    async def all(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Run calls, a bounded number at a time; results in the calls' order. The first error ends the others."""
        results = {index: result async for index, result in as_finished(calls, self.settings.parallel_calls)}
        return [results[index] for index in range(len(calls))]
