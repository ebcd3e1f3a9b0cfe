"""A dispatcher whose answers wait for an event."""

import asyncio

from tests.support.dispatcher import FakeDispatcher
from trivet.dispatch.protocol import Routed
from trivet.messages import EmbedRequest, EmbedResult


class GatedDispatcher(FakeDispatcher):
    """Every embed call waits for `gate`; `entered` is set when one has started."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.given_up: list[EmbedRequest] = []
        """Calls that were cancelled while they waited."""

    async def embed(self, request: EmbedRequest) -> Routed[EmbedResult]:
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up.append(request)
            raise
        return await super().embed(request)
