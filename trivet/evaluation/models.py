"""Opens the three models of a configuration in this process, behind the same client and HTTP code as a server's."""

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
async def local_models(config: AppConfig, *, timeout_s: float) -> AsyncIterator[AsyncClient]:
    """Open the models on the CPU, after converting those that are not converted yet.

    The service has no cache, so that repeated texts are computed every time, and requires no key.
    """
    settings = replace(ApiSettings.from_config(config), keys=None, cache=CacheConfig(memory=ByteSize(0)))
    async with LocalDispatcher(config) as dispatcher:
        transport = httpx.ASGITransport(create_app(dispatcher, settings))
        async with AsyncClient("http://in-process", timeout_s=timeout_s, transport=transport) as client:
            yield client
