"""A client for two documented Ollama calls: list the loaded models, and unload one.

These are `GET /api/ps`, and `POST /api/generate` with `keep_alive: 0` and no prompt. `trivet.vram.ollama.unload`
decides what to unload. Every failure of the server is raised as `OllamaUnavailable`, also an answer that is too large,
too slow or no sense: while Ollama does not run, any user of the machine may listen on its port.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

import httpx

from trivet.errors import TrivetError
from trivet.vram.types import Tenant

MOST_ANSWER_BYTES = 1024**2
_MOST_MODELS = 64
"""Each becomes a series of metrics."""
_MOST_NAME_CHARACTERS = 256
_WHOLE_ANSWERS = 2.0
"""Times the timeout of one read."""


class OllamaUnavailable(TrivetError):
    """The Ollama server gave no usable answer."""


class OllamaClient:
    """A client of one server, such as `http://127.0.0.1:11434`. Close it, or use it as an async context manager.

    Ignores proxies and credentials from the environment, because the server runs on the same machine.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        headers = {"accept-encoding": "identity"}
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_s, trust_env=False, headers=headers)
        self._most_s = timeout_s * _WHOLE_ANSWERS

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def loaded(self) -> tuple[Tenant, ...]:
        """Return the loaded models, including those on the CPU. Raises `OllamaUnavailable`."""
        answer = await self._json("GET", "/api/ps")
        try:
            models = tuple(_model(entry) for entry in answer["models"])
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise OllamaUnavailable(f"Ollama /api/ps: unexpected answer: {error!r}") from error
        if len(models) > _MOST_MODELS:
            raise OllamaUnavailable(f"Ollama /api/ps: {len(models)} models in memory; the limit is {_MOST_MODELS}")
        return models

    async def unload(self, name: str) -> None:
        """Ask the server to unload a model as soon as it is idle. Raises `OllamaUnavailable`."""
        await self._json("POST", "/api/generate", {"model": name, "keep_alive": 0, "stream": False})

    async def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            async with asyncio.timeout(self._most_s), self._http.stream(method, path, json=body) as response:
                response.raise_for_status()
                content = bytearray()
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > MOST_ANSWER_BYTES:
                        raise OllamaUnavailable(f"Ollama {path}: an answer of more than {MOST_ANSWER_BYTES} bytes")
            return json.loads(content)
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError) as error:
            raise OllamaUnavailable(f"Ollama {path}: {error or type(error).__name__}") from error


def _model(entry: Mapping[str, Any]) -> Tenant:
    expires_at = datetime.fromisoformat(entry["expires_at"])
    return Tenant(
        name=str(entry["name"])[:_MOST_NAME_CHARACTERS],
        vram_bytes=int(entry.get("size_vram", 0)),
        expires_at=expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC),
    )
