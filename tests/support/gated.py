"""A dispatcher that answers when its gate is opened."""

import asyncio

from tests.support.dispatcher import FakeDispatcher
from trivet.dispatch.protocol import Routed
from trivet.messages import EmbedRequest, Request, ResultT


class GatedDispatcher(FakeDispatcher):
    """Every embed call waits for `gate`; `entered` is set when one has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.cancelled: list[EmbedRequest] = []
        """Calls that were cancelled before they were answered."""

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        if isinstance(request, EmbedRequest):
            self.entered.set()
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled.append(request)
                raise
        return await super().call(request)
