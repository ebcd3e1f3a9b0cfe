"""Reads from a checkpoint's sentence-transformers files how its token vectors are pooled. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trivet.checkpoint.files import inside, read_json
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


def read_pooling_modes(model_dir: Path) -> tuple[str, ...]:
    """Return the pooling modes, supported or not, in the order in which their vectors are concatenated.

    Without ``modules.json`` it is the mean over tokens, as sentence-transformers treats a plain encoder.

    Raises:
        ModelError: a module other than Transformer, Pooling and Normalize; the message names it.
    """
    modules_file = model_dir / "modules.json"
    if not modules_file.is_file():
        return ("mean",)
    modules = read_json(modules_file)
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelError(
            f"{modules_file} chains {' → '.join(kinds)}; supported is Transformer → Pooling, then Normalize or nothing"
        )
    if modules[0].get("path"):
        raise ModelError(f"{modules_file} keeps the encoder in {modules[0]['path']!r}; it must be in {model_dir}")
    file = inside(model_dir, modules[1]["path"], modules_file) / "config.json"
    config = read_json(file)
    if not config.get("include_prompt", True):
        raise ModelError(f"{file} leaves the prompt out of pooling (include_prompt: false), which is not supported")
    return _modes(config)


def ends_in_normalize(model_dir: Path) -> bool:
    """Whether the last of the checkpoint's modules scales vectors to length 1."""
    modules_file = model_dir / "modules.json"
    if not modules_file.is_file():
        return False
    modules = read_json(modules_file)
    return bool(modules) and str(modules[-1]["type"]).endswith("Normalize")


def _modes(config: dict[str, Any]) -> tuple[str, ...]:
    stated = config.get("pooling_mode")
    if stated is not None:
        return (stated,) if isinstance(stated, str) else tuple(stated)
    active = tuple(mode for flag, mode in _MODE_OF_FLAG.items() if config.get(flag))
    unknown = [
        flag for flag in config if flag.startswith("pooling_mode_") and config[flag] and flag not in _MODE_OF_FLAG
    ]
    return (*active, *unknown) or ("mean",)
