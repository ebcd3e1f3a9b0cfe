"""Decides which idle models to ask an Ollama server to unload while ours are starved. Pure; off by default.

How idleness is detected: Ollama moves a model's `expires_at` forward whenever it finishes a request. A model whose
expiry has not moved for `idle_after_s` has finished nothing in that time. A model in the middle of one long request
looks the same; Ollama then finishes that request before it unloads. A model that never expires (`keep_alive` below
zero) is pinned by its owner and left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from trivet.vram.types import Tenant

UnloadMode = Literal["never", "idle"]

_NEVER_EXPIRES = timedelta(days=365)  # Ollama writes "never" as a date centuries away


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadConfig:
    """When to ask for an unload. Off by default, because Ollama's models are not ours."""

    mode: UnloadMode = "never"
    idle_after_s: float = 60.0
    """How long a model's expiry must not have moved."""
    ask_again_after_s: float = 30.0
    """Minimum time between two requests to unload the same model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaHistory:
    """What previous ticks saw of each model."""

    seen: Mapping[str, tuple[datetime, float]] = field(default_factory=dict)
    """Per model: its expiry, and the time in seconds since when that has not moved."""
    asked_s: Mapping[str, float] = field(default_factory=dict)
    """Per model: when an unload was last requested."""


def models_to_unload(
    config: UnloadConfig,
    history: OllamaHistory,
    models: Sequence[Tenant],
    *,
    starving: bool,
    now_s: float,
    now: datetime,
) -> tuple[tuple[str, ...], OllamaHistory]:
    """Return the models that Ollama should unload now, and the history for the next call. Pure.

    `starving`: whether lack of memory keeps any of our models off the GPU (cause `low_memory` or `offloaded`). `now_s`
    is monotonic time; `now` is the wall-clock time that expiries are compared with. Returns no model while
    `config.mode` is "never".
    """
    seen: dict[str, tuple[datetime, float]] = {}
    for model in models:
        before = history.seen.get(model.name)
        unmoved = before is not None and before[0] == model.expires_at
        seen[model.name] = before if before is not None and unmoved else (model.expires_at, now_s)
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
