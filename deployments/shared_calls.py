"""Lets small requests that arrive together share one call of a replica, which costs more than the texts in it.

Nothing waits for a call to fill up: what the event loop has ready at the same moment goes together. So the request of a
single caller goes alone and at once, and under load a call carries several.
"""

import asyncio
from collections.abc import Awaitable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Protocol

from deployments.router import REPLICAS
from trivet.errors import TrivetError
from trivet.messages import EngineRequest, EngineResult, Priority

Reply = EngineResult | TrivetError
"""An error of the request itself is a value, as everywhere between ingress and replica."""

SMALL_CHARACTERS = 512
"""Of a request that may share a call: about 128 tokens, which share a forward with others in any case."""
MOST_CHARACTERS = 2048
"""Of the requests of one call: each is answered with the last of them."""


class Response(Awaitable[Any], Protocol):
    """What a Serve handle returns for a call."""

    def cancel(self) -> None:
        """Tell the replica that no caller waits."""


class Method(Protocol):
    """A method of a Serve handle."""

    def remote(self, *args: Any, **kwargs: Any) -> Response:
        """Call it on a replica."""


_Key = tuple[Priority, tuple[str, ...]]
"""What the requests of a call have in common: their priority, since one would wait with bulk work, and the replicas."""


@dataclass(slots=True, eq=False)
class _Shared:
    """The requests of one call, and the futures that their callers wait for."""

    requests: list[EngineRequest] = field(default_factory=list)
    futures: "list[asyncio.Future[Reply]]" = field(default_factory=list)
    characters: int = 0
    left: int = 0
    """Callers who no longer wait."""

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()

    def fail(self, error: Exception) -> None:
        for future in self.futures:
            if not future.done():
                future.set_exception(error)


class SharedCalls:
    """This process's calls of one deployment."""

    def __init__(self, run: Method, run_all: Method, *, sharing: bool = True) -> None:
        """Call `run` with one request, and `run_all` with several; never several without `sharing`."""
        self._run = run
        self._run_all = run_all
        self._sharing = sharing
        self._open: dict[_Key, _Shared] = {}

    async def call(self, request: EngineRequest, replicas: tuple[str, ...] = ()) -> Reply:
        """Return the answer of a replica, one of `replicas` if there are any; raises what the call raises.

        If it is cancelled, the request is withdrawn.
        """
        characters = request.characters
        if not self._sharing or characters > SMALL_CHARACTERS:
            reply: Reply = await call_once(self._run, request, replicas)
            return reply
        key = (request.priority, replicas)
        shared = self._open.get(key)
        if shared is None or shared.characters + characters > MOST_CHARACTERS:
            shared = self._open[key] = _Shared()
            loop = asyncio.get_running_loop()
            # Twice: requests that were read together need two rounds of the loop at most to come here.
            loop.call_soon(loop.call_soon, self._send, key, shared)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        shared.requests.append(request)
        shared.futures.append(future)
        shared.characters += characters
        return await future

    def _send(self, key: _Key, shared: _Shared) -> None:
        if self._open.get(key) is shared:
            del self._open[key]
        if all(future.cancelled() for future in shared.futures):
            return
        # Serve cancels the calls that were made in the context of a request when that request's caller leaves.
        context = None if len(shared.requests) == 1 else Context()
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._answer(shared, key[1]), name="shared call", context=context)

        def ended(future: "asyncio.Future[Reply]") -> None:
            shared.left += future.cancelled()
            if shared.left == len(shared.futures):
                task.cancel()

        for future in shared.futures:
            future.add_done_callback(ended)

    async def _answer(self, shared: _Shared, replicas: tuple[str, ...]) -> None:
        try:
            if len(shared.requests) == 1:
                replies = [await call_once(self._run, shared.requests[0], replicas)]
            else:
                replies = await call_once(self._run_all, tuple(shared.requests), replicas)
        except asyncio.CancelledError:  # by the last caller who left, or by Serve
            shared.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised where the callers wait
            shared.fail(error)
            return
        for future, reply in zip(shared.futures, replies, strict=True):
            if not future.done():
                future.set_result(reply)


async def call_once(method: Method, request: object, replicas: tuple[str, ...] = ()) -> Any:
    """Return a replica's answer; cancel the call if the caller is cancelled (disconnected, or out of time)."""
    response = method.remote(request, **{REPLICAS: replicas}) if replicas else method.remote(request)
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()  # without it the replica would go on working
        raise
