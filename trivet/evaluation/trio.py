"""A configured trio in this process, asked through the same client and the same HTTP side as a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
from pydantic import ByteSize

from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.client import AsyncClient
from trivet.config import AppConfig, CacheConfig
from trivet.dispatch.local import LocalDispatcher


@asynccontextmanager
async def local_trio(config: AppConfig, *, timeout_s: float) -> AsyncIterator[AsyncClient]:
    """Open the models on the CPU; converts them first where that was never done.

    Nothing is cached, or a second look at a text would be timed instead of the model, and no key is asked for.
    """
    settings = replace(ApiSettings.from_config(config), keys=None, cache=CacheConfig(memory=ByteSize(0)))
    async with LocalDispatcher(config) as dispatcher:
        transport = httpx.ASGITransport(create_app(dispatcher, settings))
        async with AsyncClient("http://in-process", timeout_s=timeout_s, transport=transport) as client:
            yield client
