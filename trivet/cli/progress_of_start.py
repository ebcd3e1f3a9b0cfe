"""What a person sees until the service is ready: how many models are, and which one it waits for."""

import time
from collections.abc import Mapping
from typing import Any

import httpx
from rich.console import Console

_REMIND_EVERY_S = 60.0
_TIMEOUT_S = 5.0


class StartProgress:
    """Asks the service whether it is ready, and prints what has changed since the last time."""

    def __init__(self, url: str, console: Console) -> None:
        self._url = url
        self._console = console
        self._printed: str | None = None
        self._printed_s = time.monotonic()

    def is_ready(self) -> bool:
        """Ask once. A service that does not listen yet is not ready."""
        try:
            # Without a proxy from the environment, which could not reach a port of this machine.
            answer = httpx.get(f"{self._url}/readyz", timeout=_TIMEOUT_S, trust_env=False)
            body = answer.json()
        except (httpx.TransportError, ValueError):
            return False
        if answer.status_code == httpx.codes.OK:
            return True
        line = describe(body)
        now_s = time.monotonic()
        if line is not None and (line != self._printed or now_s - self._printed_s > _REMIND_EVERY_S):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
            self._printed, self._printed_s = line, now_s
        return False


def describe(body: Any) -> str | None:
    """Describe an answer of /readyz in one line; None if it names no models, as the proxy's own answer. Pure."""
    models = body.get("models") if isinstance(body, Mapping) else None
    if not isinstance(models, Mapping) or not models:
        return None
    waiting = {task: _first_detail(state["lanes"]) for task, state in models.items() if not _answers(state["lanes"])}
    if not waiting:
        return None
    reasons = ", ".join(f"{task} ({detail})" if detail else task for task, detail in waiting.items())
    return f"{len(models) - len(waiting)} of {len(models)} models ready; waiting for: {reasons}"


def _answers(lanes: Mapping[str, Any]) -> bool:
    return any(lane["ready"] for lane in lanes.values())


def _first_detail(lanes: Mapping[str, Any]) -> str:
    return next((lane["detail"] for lane in lanes.values() if lane["detail"]), "")
