"""Decides which idle models to ask an Ollama server to unload while ours starve. Pure; off by default.

How idleness is told: Ollama moves a model's `expires_at` forward with each request it finishes. A model whose expiry
has stood still for `idle_after_s` has finished nothing in that time. One that is in the middle of a single long
request looks the same; Ollama then finishes that request before it unloads. A model that never expires (`keep_alive`
below zero) is wanted there by its owner and left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from trivet.vram.types import Tenant

UnloadMode = Literal["never", "idle"]

_NEVER_EXPIRES = timedelta(days=365)  # Ollama writes "never" as a moment centuries away


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadConfig:
    """When to ask for an unload. Off by default: the neighbour's models are not ours."""

    mode: UnloadMode = "never"
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
    models: Sequence[Tenant],
    *,
    starving: bool,
    now_s: float,
    now: datetime,
) -> tuple[tuple[str, ...], OllamaHistory]:
    """Return which models to ask Ollama to unload now, and the history to pass in next time. Pure.

    `starving`: whether any of our models is kept off the GPU by memory (cause `low_memory` or `offloaded`). `now_s` is
    monotonic, `now` the calendar, against which expiries are read. None are named while `config.mode` is "never".
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
