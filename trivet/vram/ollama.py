"""Asks an Ollama server which models hold the card, and, only where that is configured, to unload idle ones.

Speaks two documented calls: `GET /api/ps`, and `POST /api/generate` with `keep_alive: 0` and no prompt. What to unload
is decided by a pure function, `models_to_unload`; `OllamaClient` only carries it out. A server that does not answer is
`OllamaUnavailable`, which costs the attribution and nothing else.

How idleness is told: Ollama moves a model's `expires_at` forward with each request it finishes. A model whose expiry
has stood still for `idle_after_s` has finished nothing in that time. One that is in the middle of a single long
request looks the same; Ollama then finishes that request before it unloads. A model that never expires (`keep_alive`
below zero) is wanted there by its owner and left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

import httpx

from trivet.errors import TrivetError
from trivet.vram.text import format_bytes
from trivet.vram.types import Observation

UnloadMode = Literal["off", "idle"]

_NEVER_EXPIRES = timedelta(days=365)  # Ollama writes "never" as a moment centuries away


class OllamaUnavailable(TrivetError):
    """The Ollama server gave no usable answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaModel:
    """A model that Ollama has loaded. `vram_bytes` is the part on the GPU; `expires_at` has a time zone."""

    name: str
    vram_bytes: int
    expires_at: datetime


class OllamaClient:
    """A client of one server, such as `http://127.0.0.1:11434`. Close it, or use it as an async context manager.

    Proxies and credentials from the environment are not used: this is a neighbour on the same machine.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_s, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def loaded(self) -> tuple[OllamaModel, ...]:
        """Return the models that are loaded, those on the CPU included. Raises `OllamaUnavailable`."""
        answer = await self._json("GET", "/api/ps")
        try:
            return tuple(_model(entry) for entry in answer["models"])
        except (KeyError, TypeError, ValueError) as error:
            raise OllamaUnavailable(f"Ollama /api/ps: unexpected answer: {error!r}") from error

    async def unload(self, name: str) -> None:
        """Ask the server to drop a model as soon as it is idle. Raises `OllamaUnavailable`."""
        await self._json("POST", "/api/generate", {"model": name, "keep_alive": 0, "stream": False})

    async def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            response = await self._http.request(method, path, json=body)
            response.raise_for_status()
            return response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise OllamaUnavailable(f"Ollama {path}: {error or type(error).__name__}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadConfig:
    """When to ask for an unload. Off by default: the neighbour's models are not ours."""

    mode: UnloadMode = "off"
    idle_after_s: float = 60.0
    """How long a model's expiry must have stood still."""
    ask_again_after_s: float = 30.0
    """The least time between two requests for the same model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaHistory:
    """What was seen of each model: its expiry, since when it has stood still, and when an unload was last asked."""

    seen: Mapping[str, tuple[datetime, float]] = field(default_factory=dict)
    asked_s: Mapping[str, float] = field(default_factory=dict)


def models_to_unload(
    config: UnloadConfig,
    history: OllamaHistory,
    models: Sequence[OllamaModel],
    *,
    starving: bool,
    now_s: float,
    now: datetime,
) -> tuple[tuple[str, ...], OllamaHistory]:
    """Return which models to ask Ollama to unload now, and the history to pass in next time. Pure.

    `starving`: whether any of our models is kept off the GPU by memory (cause `low_memory` or `parked`). `now_s` is
    monotonic, `now` the calendar, against which expiries are read. None are named while `config.mode` is "off".
    """
    seen: dict[str, tuple[datetime, float]] = {}
    for model in models:
        before = history.seen.get(model.name)
        stands_still = before is not None and before[0] == model.expires_at
        seen[model.name] = before if before is not None and stands_still else (model.expires_at, now_s)
    asked = {name: at_s for name, at_s in history.asked_s.items() if name in seen}
    chosen: list[str] = []
    if config.mode == "idle" and starving:
        for model in models:
            never_expires = model.expires_at - now > _NEVER_EXPIRES
            idle = now_s - seen[model.name][1] >= config.idle_after_s
            waited = now_s - asked.get(model.name, float("-inf")) >= config.ask_again_after_s
            if model.vram_bytes > 0 and idle and waited and not never_expires:
                chosen.append(model.name)
                asked[model.name] = now_s
    return tuple(chosen), OllamaHistory(seen=seen, asked_s=asked)


def describe(observation: Observation, models: Sequence[OllamaModel]) -> str:
    """Return one line on who the strangers are: "foreign 5.2 GiB: ollama mistral:7b 4.8 GiB until 14:38:31Z"."""
    total = "unknown" if observation.foreign_bytes is None else format_bytes(observation.foreign_bytes)
    named = ", ".join(
        f"ollama {model.name} {format_bytes(model.vram_bytes)} until {model.expires_at.astimezone(UTC):%H:%M:%S}Z"
        for model in models
        if model.vram_bytes > 0
    )
    return f"foreign {total}: {named or 'none of it known to ollama'}"


def _model(entry: Mapping[str, Any]) -> OllamaModel:
    expires_at = datetime.fromisoformat(entry["expires_at"])
    return OllamaModel(
        name=str(entry["name"]),
        vram_bytes=int(entry.get("size_vram", 0)),
        expires_at=expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC),
    )
