"""Polls an Ollama server: lists its models, and sends the unload requests that `trivet.vram.ollama.unload` decides.

Never raises because of the server: without an answer, external memory is merely not attributed to its models. Logs when
the set of loaded models changes, when the server stops or starts answering, and each unload request.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from trivet.units import format_bytes
from trivet.vram.ollama.client import OllamaClient, OllamaUnavailable
from trivet.vram.ollama.unload import OllamaHistory, UnloadConfig, models_to_unload
from trivet.vram.types import Cause, Observation, Snapshot, Tenant

log = logging.getLogger(__name__)

_STARVED: frozenset[Cause] = frozenset({"low_memory", "offloaded"})


def wall_clock() -> datetime:
    """Return the current date and time, in UTC."""
    return datetime.now(UTC)


class OllamaWatcher:
    """Watches one Ollama server.

    `clock` returns monotonic seconds; `now` returns the wall-clock time that expiries are compared with. `server` names
    the server in the log and with its models, where there are several.
    """

    def __init__(
        self,
        client: OllamaClient,
        config: UnloadConfig,
        clock: Callable[[], float],
        now: Callable[[], datetime] = wall_clock,
        *,
        server: str = "",
    ) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._now = now
        self._server = server
        self._history = OllamaHistory()
        self._logged: str | None = None

    async def tick(self, snapshot: Snapshot) -> tuple[Tenant, ...]:
        """Return the server's models after requesting any due unloads; empty if the server does not answer."""
        try:
            models = tuple(replace(model, server=self._server) for model in await self._client.loaded())
            self._note(", ".join(sorted(model.name for model in models)), describe(snapshot.observation, models))
            await self._unload(snapshot, models)
        except OllamaUnavailable as error:
            self._note(error.message, f"{self._server} {error.message}".lstrip())
            return ()
        return models

    async def _unload(self, snapshot: Snapshot, models: Sequence[Tenant]) -> None:
        starving = sorted(name for name, decision in snapshot.decisions.items() if decision.cause in _STARVED)
        names, self._history = models_to_unload(
            self._config,
            self._history,
            models,
            starving=bool(starving),
            now_s=self._clock(),
            now=self._now(),
        )
        for name in names:
            at_server = f" at {self._server}" if self._server else ""
            log.warning(
                "asking ollama%s to unload %s, which is idle while %s has no room", at_server, name, ", ".join(starving)
            )
            await self._client.unload(name)

    def _note(self, state: str, line: str) -> None:
        """Log `line` when `state` has changed. (The numbers in `line` change with every poll.)"""
        if state != self._logged:
            self._logged = state
            log.info("%s", line)


def describe(observation: Observation, models: Sequence[Tenant]) -> str:
    """Describe the external memory in one line: "external 5.2 GiB: ollama mistral:7b 4.8 GiB until 14:38:31Z"."""
    total = "unknown" if observation.external_bytes is None else format_bytes(observation.external_bytes)
    named = ", ".join(
        f"ollama {model.label} {format_bytes(model.vram_bytes)} until {model.expires_at.astimezone(UTC):%H:%M:%S}Z"
        for model in models
        if model.vram_bytes > 0
    )
    return f"external {total}: {named or 'none of it known to ollama'}"
