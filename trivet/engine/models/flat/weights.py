"""Reads weights strictly from safetensors, by their published names, straight to where they run.

A module is built on the meta device and takes its tensors from the files: each goes to its device and dtype by itself,
so that never more than one of them is held twice. On the CPU, at the files' own dtype, tensors stay mapped from the
file; only those that are joined from several are copied.

A tensor that the module needs and the files lack, one that the files hold and nothing takes, a shape that config.json
contradicts, and numbers that are no floating point are refused by name. Left unread are only what an encoder's file may
hold for other uses: heads, a pooler, stored indices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from trivet.checkpoint.files import CheckpointMismatch, find_weight_files
from trivet.errors import ModelError

OTHER_USES: Final = re.compile(
    r"(^|\.)(cls|lm_head|classifier|head|decoder|pooler|score|mlm_head|vocab_\w+|qa_outputs|pre_classifier"
    r"|discriminator_predictions|generator_\w+)\."
    r"|(^|\.)(position_ids|inv_freq|token_type_ids)$"
)
"""Tensors that an encoder's file may hold for other uses."""

_FLOATING: Final = frozenset({"F64", "F32", "F16", "BF16"})
_LEGACY_LEAVES: Final = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
_NAMES_IN_MESSAGE: Final = 8


@dataclass(frozen=True, slots=True)
class Naming:
    """How the files of one architecture name what a module of ours holds."""

    prefixes: tuple[str, ...]
    """What a file may put before the encoder's names."""
    sources: Callable[[Collection[str]], Mapping[str, tuple[str, ...]]]
    """From the names in the files, without prefixes: module (or parameter) of ours → published modules (or tensors)
    whose tensors, one below the other, are its own."""
    other_uses: re.Pattern[str] | None = OTHER_USES
    """What may be there and is not read; None: nothing."""
    read_elsewhere: frozenset[str] = frozenset()
    """Tensors, without prefixes, that a head of its own reads."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """One tensor of the files."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Tensor]


def load_weights(
    module: nn.Module,
    model_dir: Path,
    naming: Naming,
    *,
    what: str,
    device: torch.device,
    dtype_of: Callable[[str], torch.dtype],
) -> None:
    """Give every parameter of a module built on the meta device its tensor.

    Args:
        module: its buffers, if any, hold real values; they are moved to the device as they are.
        model_dir: the checkpoint directory.
        naming: of the architecture.
        what: the thing that config.json describes, for messages.
        device: where the parameters are to be.
        dtype_of: the dtype for the parameter of this name.

    Raises:
        CheckpointMismatch: tensors are missing, unexpected, misshapen or not floating point; the message names them.
        ModelError: files are missing, or the checkpoint is a pickle.
    """
    with ExitStack() as opened:
        stored, problems = _stored_tensors(find_weight_files(model_dir), naming.prefixes, opened)
        sources = naming.sources(stored.keys())
        parts = {name: _parts_of(name, sources) for name, _ in module.named_parameters()}
        problems += _problems(dict(module.named_parameters()), parts, stored, naming)
        if problems:
            raise CheckpointMismatch(
                f"{model_dir} does not hold the {what} its config.json describes: {'; '.join(problems)}"
            )
        state = {
            name: _joined([stored[part].read for part in parts[name]], parameter.shape, device, dtype_of(name))
            for name, parameter in module.named_parameters()
        }
    module.load_state_dict(state, strict=True, assign=True)
    module.to(device)  # the buffers: parameters are there already


def _stored_tensors(
    files: Iterable[Path], prefixes: tuple[str, ...], opened: ExitStack
) -> tuple[dict[str, _Stored], list[str]]:
    """Tensors by their names without prefix and in today's spelling; and what is wrong with the names."""
    stored: dict[str, _Stored] = {}
    twice: list[str] = []
    for file in files:
        try:
            handle: Any = opened.enter_context(safe_open(file, framework="pt"))
        except SafetensorError as error:
            raise ModelError(f"{file} is no safetensors file, or not a whole one: {error}") from error
        for name in handle.keys():  # noqa: SIM118 - not a dict
            plain = _plain_name(name, prefixes)
            if plain in stored:
                twice.append(f"{stored[plain].name} and {name}")
            view = handle.get_slice(name)
            stored[plain] = _Stored(name, tuple(view.get_shape()), view.get_dtype(), partial(handle.get_tensor, name))
    return stored, [f"twice the same tensor: {_abridged(twice)}"] if twice else []


def _plain_name(name: str, prefixes: tuple[str, ...]) -> str:
    for prefix in prefixes:
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    for old, new in _LEGACY_LEAVES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _parts_of(parameter: str, sources: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if parameter in sources:
        return sources[parameter]
    module, _, leaf = parameter.rpartition(".")
    return tuple(f"{source}.{leaf}" for source in sources[module])


def _problems(
    parameters: Mapping[str, nn.Parameter],
    parts: Mapping[str, tuple[str, ...]],
    stored: Mapping[str, _Stored],
    naming: Naming,
) -> list[str]:
    needed = {part for names in parts.values() for part in names}
    other_uses = naming.other_uses
    missing = sorted(needed - stored.keys())
    unexpected = sorted(
        tensor.name
        for plain, tensor in stored.items()
        if plain not in needed | naming.read_elsewhere and not (other_uses and other_uses.search(plain))
    )
    misshapen, mistyped = [], []
    for name, parameter in parameters.items():
        rows, *rest = parameter.shape
        shape = (rows // len(parts[name]), *rest)
        for part in parts[name]:
            tensor = stored.get(part)
            if tensor is not None and tensor.shape != shape:
                misshapen.append(f"{tensor.name} is {tensor.shape}, config.json says {shape}")
            if tensor is not None and tensor.dtype not in _FLOATING:
                mistyped.append(f"{tensor.name} is {tensor.dtype}")
    return [
        f"{kind}: {_abridged(names)}"
        for kind, names in (
            ("missing tensors", missing),
            ("unexpected tensors", unexpected),
            ("wrong shapes", misshapen),
            ("not floating point", mistyped),
        )
        if names
    ]


def _joined(readers: list[Callable[[], Tensor]], shape: torch.Size, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One tensor of the files as it is to be, or several below each other."""
    if len(readers) == 1:
        return readers[0]().to(device, dtype)
    joined = torch.empty(shape, device=device, dtype=dtype)
    for target, read in zip(joined.chunk(len(readers)), readers, strict=True):
        target.copy_(read())
    return joined


def _abridged(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_IN_MESSAGE])
    return shown if len(names) <= _NAMES_IN_MESSAGE else f"{shown} and {len(names) - _NAMES_IN_MESSAGE} more"
