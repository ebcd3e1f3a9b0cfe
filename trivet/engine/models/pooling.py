"""From hidden states to one vector per sequence, as the checkpoint's sentence-transformers files say.

Reads ``modules.json`` and the pooling module's ``config.json``. Normalisation is *not* done here: windows of a long
text are averaged first. Sequences are padded on the right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trivet.engine.models.checkpoint import read_json
from trivet.errors import ModelError

_MODE_OF_FLAG = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Flags of files written before sentence-transformers 6, in the order in which several modes are concatenated."""


class Pooling(nn.Module):
    """``forward(hidden (B, T, H), attention_mask (B, T)) -> (B, modes · H) fp32``, modes side by side."""

    def __init__(self, modes: tuple[str, ...]) -> None:
        super().__init__()
        unknown = [mode for mode in modes if mode not in _POOLERS]
        if unknown or not modes:
            raise ModelError(
                f"pooling mode {', '.join(unknown) or '(none)'} is not supported: {', '.join(_POOLERS)} are"
            )
        self.modes = modes

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Pooled vectors; sums run in fp32 whatever the hidden states' dtype."""
        mask = attention_mask.to(torch.float32)[..., None]  # (B, T, 1)
        return torch.cat([_POOLERS[mode](hidden.float(), mask) for mode in self.modes], dim=-1)


def _cls(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[:, 0]


def _max(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.masked_fill(mask == 0, float("-inf")).amax(dim=1)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)


def _mean_sqrt_len(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0).sqrt()


def _weighted_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Token t (from 1) weighs t: later tokens of a causal model have seen more."""
    weights = mask.cumsum(dim=1) * mask  # (B, T, 1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def _last_token(hidden: Tensor, mask: Tensor) -> Tensor:
    last = (mask.sum(dim=1, keepdim=True).clamp(min=1.0) - 1.0).to(torch.int64)  # (B, 1, 1)
    return hidden.gather(1, last.expand(-1, -1, hidden.shape[-1])).squeeze(1)


_POOLERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
}


def read_pooling(model_dir: Path) -> Pooling:
    """The pooling that a checkpoint's files ask for.

    Without ``modules.json`` it is the mean over tokens, which is what sentence-transformers makes of a plain encoder.

    Raises:
        ModelError: a module other than Transformer, Pooling and Normalize, or a pooling mode that is not supported;
            the message names it.
    """
    modules_file = model_dir / "modules.json"
    if not modules_file.is_file():
        return Pooling(("mean",))
    modules = read_json(modules_file)
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelError(
            f"{modules_file} chains {' → '.join(kinds)}; supported is Transformer → Pooling, then Normalize or nothing"
        )
    if modules[0].get("path"):
        raise ModelError(f"{modules_file} keeps the encoder in {modules[0]['path']!r}; it must be in {model_dir}")
    file = model_dir / modules[1]["path"] / "config.json"
    config = read_json(file)
    if not config.get("include_prompt", True):
        raise ModelError(f"{file} leaves the prompt out of pooling (include_prompt: false), which is not supported")
    return Pooling(_modes(config))


def _modes(config: dict[str, Any]) -> tuple[str, ...]:
    stated = config.get("pooling_mode")
    if stated is not None:
        return (stated,) if isinstance(stated, str) else tuple(stated)
    active = tuple(mode for flag, mode in _MODE_OF_FLAG.items() if config.get(flag))
    unknown = [
        flag for flag in config if flag.startswith("pooling_mode_") and config[flag] and flag not in _MODE_OF_FLAG
    ]
    return (*active, *unknown) or ("mean",)
